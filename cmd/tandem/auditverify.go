package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

func newAuditVerify(env environment) *cobra.Command {
	var v verification
	file := newConfigFile(env)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify the audit chain, from the journal itself",
		Long: `Verify the audit chain. It opens the journal of the configuration (DATABASE_URL) for reading, whether a
gateway runs or not, and says which entry is the first that is not as it was recorded.

The chain alone does not show that its newest entries were cut off, or that all of it was made anew.
Checkpoints from outside the journal do, for what they cover: --checkpoint takes one from a file (a
signed note, or JSON that has one: what "tandem status --json" prints, a mark, a line of the gateway's
log), --region the one in the region's mark. An embedded region has to be running for that.

The key that verifies checkpoints is audit.pub in DATA_DIR, or --key, for one that was kept elsewhere.

It exits with 0 where the chain is whole and each checkpoint agrees, else with 1. What it could not
prove it says in any case.
` + exitHelp,
		Example: `  tandem audit verify
  tandem audit verify --checkpoint kept/2026-03-01.note --region secondary`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			for _, name := range v.regions {
				if _, err := configured(cfg, name); err != nil {
					return err
				}
			}
			return v.run(cmd.Context(), env, cfg)
		},
	}
	file.add(cmd)
	cmd.Flags().StringArrayVar(&v.files, "checkpoint", nil, "compare with the checkpoint in the `FILE` (as often as you like)")
	cmd.Flags().StringArrayVar(&v.regions, "region", nil, "compare with the checkpoint in the mark of the region `NAME` (as often as you like)")
	cmd.Flags().StringVar(&v.keyFile, "key", "", "verify checkpoints with the key in the `FILE`, instead of audit.pub in DATA_DIR")
	cmd.Flags().BoolVar(&v.asJSON, "json", false, "print JSON")
	return cmd
}

type verification struct {
	files, regions []string
	keyFile        string
	asJSON         bool
}

// verdict is what a verification found, as --json prints it.
type verdict struct {
	OK      bool       `json:"ok"`
	Journal string     `json:"journal"`
	Entries int64      `json:"entries"`
	Intact  int64      `json:"intact"`
	Head    audit.Hash `json:"head"`
	// Broken is the first entry that is not as it was recorded, null where there is none.
	Broken      *brokenEntry `json:"broken"`
	Checkpoints []compared   `json:"checkpoints"`
	// Wrong is what else is wrong.
	Wrong     []string `json:"wrong"`
	NotProven []string `json:"notProven"`
}

type brokenEntry struct {
	Index int64           `json:"index"`
	Kind  audit.BreakKind `json:"kind"`
	Text  string          `json:"text"`
}

// compared is what a checkpoint says of the chain.
type compared struct {
	Source string `json:"source"`
	// Size and At are the checkpoint's; 0 and null where it cannot be used.
	Size   int64      `json:"size"`
	At     *time.Time `json:"at"`
	Agrees bool       `json:"agrees"`
	Text   string     `json:"text"`
}

func (v *verification) run(ctx context.Context, env environment, cfg config.Config) error {
	key, err := v.key(cfg)
	if err != nil {
		return failed(err)
	}
	// Checkpoints come first: what is recorded meanwhile is then newer than they are.
	witnesses, unusable := v.witnesses(ctx, cfg, key)
	var report audit.Report
	err = sqlite.ReadAudit(ctx, cfg.DatabasePath, func(journalID string, entries iter.Seq2[audit.Linked, error]) (err error) {
		p := newProgress(env, "verifying the audit chain")
		defer p.end()
		report, err = audit.Verify(journalID, watch(entries, p), witnesses)
		return err
	})
	if err != nil {
		return failed(err)
	}
	result := judge(report, unusable, key)
	if v.asJSON {
		err = json.NewEncoder(env.stdout).Encode(result)
	} else {
		err = result.print(env.stdout)
	}
	if err == nil && !result.OK {
		err = errors.New("the audit chain did not pass the verification")
	}
	return failed(err)
}

// key is nil where none is needed and none is there.
func (v *verification) key(cfg config.Config) (note.Verifier, error) {
	path := v.keyFile
	if path == "" {
		path = filepath.Join(cfg.DataDir, audit.VerifierFile)
	}
	key, err := audit.ReadVerifier(path)
	if err != nil && v.keyFile == "" && len(v.files)+len(v.regions) == 0 {
		return nil, nil
	}
	return key, err
}

// witnesses reads the checkpoints. One that cannot be used keeps no other from being compared.
func (v *verification) witnesses(ctx context.Context, cfg config.Config, key note.Verifier) (usable []audit.Witness, unusable []compared) {
	take := func(source string, read func() ([]byte, error)) {
		data, err := read()
		var c audit.Checkpoint
		if err == nil {
			c, err = audit.OpenCheckpoint(data, key)
		}
		if err != nil {
			unusable = append(unusable, compared{Source: source, Text: fmt.Sprintf("the checkpoint of %s cannot be used: %v", source, err)})
			return
		}
		usable = append(usable, audit.Witness{Checkpoint: c, Source: source})
	}
	for _, path := range v.files {
		take("file "+path, func() ([]byte, error) { return checkpointOfFile(path) })
	}
	for _, name := range v.regions {
		take("region "+name, func() ([]byte, error) { return checkpointOfRegion(ctx, cfg, name) })
	}
	return usable, unusable
}

// watch tells how far a walk is.
func watch(entries iter.Seq2[audit.Linked, error], p *progress) iter.Seq2[audit.Linked, error] {
	return func(yield func(audit.Linked, error) bool) {
		n := int64(0)
		for e, err := range entries {
			n++
			p.reached(n)
			if !yield(e, err) {
				return
			}
		}
	}
}

func judge(r audit.Report, unusable []compared, key note.Verifier) verdict {
	v := verdict{
		OK: r.OK() && len(unusable) == 0, Journal: r.JournalID, Entries: r.Entries, Intact: r.Intact, Head: r.Head,
		Checkpoints: append([]compared{}, unusable...), Wrong: []string{}, NotProven: r.Unproven(),
	}
	if r.Broken != nil {
		v.Broken = &brokenEntry{r.Broken.Index, r.Broken.Kind, r.Broken.Text}
	}
	for _, f := range r.Findings {
		v.Checkpoints = append(v.Checkpoints, compared{f.Witness.Source, f.Witness.Size, &f.Witness.At, f.Agrees, f.Text})
	}
	if key != nil && !strings.HasSuffix(key.Name(), "/"+r.JournalID) {
		v.OK = false
		v.Wrong = append(v.Wrong, fmt.Sprintf("the key is of %s, and the journal says that it is %s: one of the two is another's, or was replaced", key.Name(), r.JournalID))
	}
	return v
}

func (v *verdict) print(w io.Writer) error {
	fmt.Fprintf(w, "journal %s: %s, head %s\n", plain(v.Journal), count(v.Entries, "entry", "entries"), v.Head)
	t := newTable(w)
	say := func(ok bool, text string) {
		word := "WRONG"
		if ok {
			word = "ok"
		}
		fmt.Fprintf(t, "%s\t%s\n", word, plain(text))
	}
	if v.Broken == nil {
		say(true, "each entry is as it was recorded after the one before it")
	} else {
		say(false, v.Broken.Text)
	}
	for _, c := range v.Checkpoints {
		say(c.Agrees, c.Text)
	}
	for _, text := range v.Wrong {
		say(false, text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, text := range v.NotProven {
		fmt.Fprintf(w, "Not proven: %s.\n", plain(text))
	}
	return nil
}
