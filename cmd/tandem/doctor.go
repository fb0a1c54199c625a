package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/doctor"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

func newDoctor(env environment) *cobra.Command {
	var x examination
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what each region's S3 can do, and what Tandem does where it cannot",
		Long: `Ask each region of the configuration, past any gateway, for all that Tandem does with one: whether it is
reached and lets itself be written to, what its S3 honours, refuses or ignores, and how the bucket is set up.
Where there are several buckets, each is examined in each region that has it.
Each line says what was seen; where it is not as Tandem wants it, the next says what Tandem does instead,
or what to do about it.

It may run before the first start, and beside a running gateway. It writes small objects and one of 5 MiB
below .tandem/doctor/, and removes them also when it is interrupted. Embedded regions that no
gateway serves are served meanwhile, and made where they are not there yet, as by "tandem serve"; a gateway does
not start as long.

It exits with 0 where nothing has failed, warnings or not, else with 1.
` + exitHelp,
		Example: `  tandem doctor
  tandem doctor --region secondary --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(env.getenv)
			if err != nil {
				return err
			}
			if x.timeout <= 0 {
				return fmt.Errorf("--timeout is %v; allowed: more than 0, such as 10s", x.timeout)
			}
			chosen := cfg.Regions
			if len(x.regions) > 0 {
				chosen = nil
			}
			for _, name := range x.regions {
				c, err := configured(cfg, name)
				if err != nil {
					return err
				}
				chosen = append(chosen, c)
			}
			return failed(x.run(cmd.Context(), env, cfg, chosen))
		},
	}
	cmd.Flags().StringArrayVar(&x.regions, "region", nil, "examine the region `NAME` only (as often as you like)")
	cmd.Flags().DurationVar(&x.timeout, "timeout", 10*time.Second, "how long a region may make no progress on a request")
	cmd.Flags().BoolVar(&x.asJSON, "json", false, "print JSON")
	return cmd
}

type examination struct {
	regions []string
	timeout time.Duration
	asJSON  bool
}

func (x *examination) run(ctx context.Context, env environment, cfg config.Config, chosen []config.Region) (err error) {
	targets, stop, err := openTargets(ctx, cfg, chosen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	d, err := doctor.New(doctor.Config{Targets: targets, Timeout: x.timeout, Progress: showProgress(env)})
	if err != nil {
		return err
	}
	report := d.Run(ctx)
	if f := asTerminal(env.stderr); f != nil {
		fmt.Fprint(f, clearLine)
	}
	if x.asJSON {
		err = json.NewEncoder(env.stdout).Encode(report)
	} else {
		err = printReport(env.stdout, report)
	}
	switch {
	case err != nil:
		return err
	case report.Interrupted:
		return errors.New("the examination was interrupted; what it wrote is removed, unless the report says otherwise")
	case report.Status == doctor.Failed:
		return errors.New("not every region can be used as it is")
	}
	return nil
}

// clearLine takes what is on a terminal's line away.
const clearLine = "\r\x1b[K"

// showProgress tells a person at a terminal what is examined; it says nothing to a program.
func showProgress(env environment) func(what, check string) {
	f := asTerminal(env.stderr)
	if f == nil {
		return nil
	}
	return func(what, check string) { fmt.Fprintf(f, "%s%s: %s …", clearLine, what, check) }
}

// openTargets says how each bucket of each region is reached. Embedded ones are started where no gateway has the
// journal; it is locked meanwhile, so that none starts them as well. stop ends what was started.
func openTargets(ctx context.Context, cfg config.Config, chosen []config.Region) (_ []doctor.Target, stop func() error, err error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program's file: %w", err)
	}
	e := &embeddedRegions{cfg: cfg, command: []string{executable, regionServer}}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stop())
		}
	}()
	var targets []doctor.Target
	for _, c := range chosen {
		t := doctor.Target{Region: regionConfig(cfg, c), Embedded: c.Embedded()}
		if c.Embedded() {
			if err := e.open(ctx, c, &t); err != nil {
				return nil, nil, err
			}
		}
		for _, b := range cfg.Buckets {
			name := b.In(c.Name)
			if name == "" {
				continue
			}
			t.Region.Bucket = name
			if len(cfg.Buckets) > 1 {
				t.Bucket = b.Name
			}
			targets = append(targets, t)
		}
	}
	return targets, e.stop, nil
}

// embeddedRegions serves those that no gateway serves.
type embeddedRegions struct {
	cfg     config.Config
	command []string
	// unlock gives the journal back, nil where it was not taken.
	unlock func() error
	cancel []context.CancelFunc
	runs   errgroup.Group
}

// regionStart is how long an embedded region may take to serve.
const regionStart = 15 * time.Second

func (e *embeddedRegions) open(ctx context.Context, c config.Region, t *doctor.Target) (err error) {
	if e.unlock == nil {
		e.unlock, err = sqlite.Lock(e.cfg.DatabasePath)
	}
	switch {
	case errors.Is(err, sqlite.ErrLocked):
		t.Note = "served by the running gateway"
		if _, err := embeddedRegion(e.cfg, c, &t.Region, e.command); err != nil {
			t.Unavailable = err
		}
		return nil
	case err != nil:
		return err
	}
	t.Note = "served for this examination; no gateway runs"
	if err := os.MkdirAll(c.EmbeddedDir, 0o700); err != nil {
		t.Unavailable = err
		return nil
	}
	local, err := embeddedRegion(e.cfg, c, &t.Region, e.command)
	if err != nil {
		t.Unavailable = err
		return nil
	}
	// It outlives ctx: an interrupted examination is cleaned up.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = append(e.cancel, cancel)
	e.runs.Go(func() error { return local.Run(running) })
	starting, cancelStart := context.WithTimeout(ctx, regionStart)
	defer cancelStart()
	t.Unavailable = local.WaitReady(starting)
	return nil
}

func (e *embeddedRegions) stop() error {
	for _, cancel := range e.cancel {
		cancel()
	}
	err := e.runs.Wait()
	if e.unlock != nil {
		err = errors.Join(err, e.unlock())
	}
	return err
}

// symbols stand before each line, and need no colour.
var symbols = map[doctor.Status]string{doctor.OK: "✓", doctor.Warning: "!", doctor.Failed: "✗", doctor.NotSupported: "–", doctor.Skipped: "·"}

func printReport(w io.Writer, r doctor.Report) error {
	var b strings.Builder
	for _, region := range r.Regions {
		fmt.Fprintf(&b, "%s  %s, bucket %s", region.Title(), plain(region.Endpoint), region.Bucket)
		if region.Embedded {
			b.WriteString(", embedded")
		}
		if region.Note != "" {
			b.WriteString(", " + region.Note)
		}
		b.WriteByte('\n')
		printFindings(&b, region.Findings)
	}
	if len(r.Across) > 0 {
		b.WriteString("across the regions\n")
		printFindings(&b, r.Across)
	}
	var counts []string
	for _, status := range []doctor.Status{doctor.OK, doctor.Warning, doctor.NotSupported, doctor.Failed, doctor.Skipped} {
		counts = append(counts, fmt.Sprintf("%s %d %s", symbols[status], r.Counts[status], status))
	}
	fmt.Fprintf(&b, "%s: %s\n", strings.Join(counts, "  "), verdictOf(r))
	_, err := io.WriteString(w, b.String())
	return err
}

func verdictOf(r doctor.Report) string {
	switch {
	case r.Interrupted:
		return "interrupted"
	case r.Status == doctor.Failed:
		return "not every region can be used as it is"
	case r.Status == doctor.Warning:
		return "the regions can be used, within the limits above"
	}
	return "the regions can be used"
}

func printFindings(b *strings.Builder, findings []doctor.Finding) {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	for _, f := range findings {
		fmt.Fprintf(b, "  %s %-*s  %s\n", symbols[f.Status], width, f.Check, plain(f.Found))
		for _, line := range wrap(f.Advice, adviceColumns) {
			fmt.Fprintf(b, "      %s\n", line)
		}
	}
	b.WriteByte('\n')
}

// adviceColumns is how many characters of an advice are on a line.
const adviceColumns = 110

// wrap breaks a text into lines of at most so many bytes, but for longer words.
func wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > columns {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
