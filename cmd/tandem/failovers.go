package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// failoverAnswer is a promotion, as the gateway tells of it.
type failoverAnswer struct {
	Epoch                              int64
	From, To, At                       string
	Automatic, Forced                  bool
	Actor, Reason                      string
	AtRisk, AtRiskBytes, InDoubt, Open int64
	Closed                             map[string]int64
}

// by says who promoted.
func (f *failoverAnswer) by() string {
	by := f.Actor
	if f.Automatic {
		by = "the gateway"
	}
	if f.Forced {
		by += " (forced)"
	}
	return by
}

func newFailovers(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "failovers",
		Short: "Show the promotions so far, and the writes that each put at risk",
		Long:  "Show the promotions so far, and the writes that each put at risk.\n" + clientHelp,
	}
	cmd.AddCommand(newFailoversList(env), newFailoversShow(env))
	return cmd
}

func newFailoversList(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the promotions, the newest first",
		Long:    "List the promotions, the newest first.\n" + clientHelp,
		Example: "  tandem failovers list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := newClient(env).get(cmd.Context(), "/admin/failovers")
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			var list struct{ Failovers []failoverAnswer }
			if err := parse(data, &list); err != nil {
				return err
			}
			if len(list.Failovers) == 0 {
				fmt.Fprintln(env.stdout, "there was no failover yet")
				return nil
			}
			t := newTable(env.stdout)
			fmt.Fprintln(t, "EPOCH\tAT\tFROM\tTO\tBY\tAT RISK\tIN DOUBT\tOPEN")
			for _, f := range list.Failovers {
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", f.Epoch, f.At, f.From, f.To, f.by(), f.AtRisk, f.InDoubt, f.Open)
			}
			return failed(t.Flush())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

func newFailoversShow(env environment) *cobra.Command {
	var show failoverShow
	cmd := &cobra.Command{
		Use:   "show EPOCH",
		Short: "Show a promotion with its ledger: the writes that it put at risk or left in doubt",
		Long: `Show the promotion that began an epoch, with its ledger: each write that it put at risk (it was
acknowledged, and only the old active had it) or left in doubt (it was not acknowledged, and may be
there), and what became of it.

  recovered    another region has it
  superseded   it was overwritten in its own region before it was copied
  conflict     a later write never saw it, so both are kept: tandem conflicts list
  not-applied  it was in doubt, and had not happened
  lost         no region has it
  -            open: its region has not come back
` + clientHelp,
		Example: `  tandem failovers show 2 --open
  tandem failovers show 2 --csv ledger.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show.path = "/admin/failovers/" + args[0]
			if _, err := parseID("EPOCH", args[0]); err != nil {
				return err
			}
			return show.run(cmd, env)
		},
	}
	cmd.Flags().BoolVar(&show.ledgerOnly, "ledger", false, "print the ledger alone")
	cmd.Flags().BoolVar(&show.openOnly, "open", false, "of the ledger, show what is open still")
	cmd.Flags().StringVar(&show.csv, "csv", "", "write the ledger to a new `FILE` as CSV; - prints it")
	cmd.Flags().BoolVar(&show.asJSON, "json", false, "print the gateway's JSON; with --ledger that of each entry, one a line")
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	cmd.MarkFlagsMutuallyExclusive("csv", "open")
	return cmd
}

type failoverShow struct {
	path                         string
	ledgerOnly, openOnly, asJSON bool
	csv                          string
}

func (s *failoverShow) run(cmd *cobra.Command, env environment) error {
	c := newClient(env)
	if s.csv != "" {
		return writeNew(env, s.csv, func(w io.Writer) error {
			return c.stream(cmd.Context(), s.path+"/ledger?format=csv", w)
		})
	}
	if !s.ledgerOnly {
		data, err := c.get(cmd.Context(), s.path)
		if err != nil {
			return err
		}
		if s.asJSON {
			_, err := env.stdout.Write(data)
			return failed(err)
		}
		var f failoverAnswer
		if err := parse(data, &f); err != nil {
			return err
		}
		f.print(env.stdout)
	}
	table := bucketTable{columns: []string{"KIND", "KEY", "VERSION", "OP", "SIZE", "REGION", "OUTCOME", "REASON"}}
	_, err := c.pages(cmd.Context(), s.path+"/ledger", "entries", 0, 0, func(raw []json.RawMessage) error {
		if !s.asJSON {
			if err := table.look(cmd.Context(), c, raw); err != nil {
				return err
			}
		}
		return s.printPage(env.stdout, raw, &table)
	})
	return err
}

type ledgerAnswer struct {
	Kind, Bucket, Key, Version, Operation string
	Size                                  int64
	Region                                string
	Outcome, Reason                       *string
}

func (s *failoverShow) printPage(w io.Writer, raw []json.RawMessage, table *bucketTable) error {
	t := newTable(w)
	var chosen []json.RawMessage
	for _, data := range raw {
		var e ledgerAnswer
		if err := parse(data, &e); err != nil {
			return err
		}
		if s.openOnly && e.Outcome != nil {
			continue
		}
		chosen = append(chosen, data)
		table.row(t, e.Bucket, e.Kind, plain(e.Key), orDash(&e.Version), e.Operation, formatBytes(e.Size), e.Region, orDash(e.Outcome), orDash(e.Reason))
	}
	if s.asJSON {
		return writeLines(w, chosen)
	}
	return t.Flush()
}

func (f *failoverAnswer) print(w io.Writer) {
	fmt.Fprintf(w, "epoch %d: %s was promoted at %s by %s, %s was active\n", f.Epoch, f.To, f.At, f.by(), f.From)
	if f.Reason != "" {
		fmt.Fprintf(w, "reason: %s\n", plain(f.Reason))
	}
	var closed []string
	for _, outcome := range slices.Sorted(maps.Keys(f.Closed)) {
		closed = append(closed, fmt.Sprintf(", %d %s", f.Closed[outcome], outcome))
	}
	fmt.Fprintf(w, "at risk: %s, %s; in doubt: %s; of these %d open%s\n", count(f.AtRisk, "key", "keys"), formatBytes(f.AtRiskBytes),
		count(f.InDoubt, "write", "writes"), f.Open, strings.Join(closed, ""))
}
