package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// promotion is what POST /admin/failover/promote is sent.
type promotion struct {
	Region string `json:"region"`
	Force  bool   `json:"force"`
	DryRun bool   `json:"dryRun"`
	Reason string `json:"reason"`
}

func newPromote(env environment) *cobra.Command {
	var p promotion
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "promote [REGION]",
		Short: "Make a replica the active region, or say what that would cost",
		Long: `Make a replica the active region: the one that is named, or the first of which nothing
speaks against it. A promotion against which something speaks is refused, unless it is forced.

With --dry-run nothing is promoted: it prints what a promotion would put at risk now, and exits
with 0 where nothing speaks against it, else with 1. A small object is written to the region,
read and deleted, in both cases.
` + clientHelp,
		Example: `  tandem promote --dry-run
  tandem promote secondary --reason "primary is on fire"`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeAt(0, regionsOf(env)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Region = strings.Join(args, "")
			data, err := newClient(env).call(cmd.Context(), http.MethodPost, "/admin/failover/promote", p)
			if err != nil {
				return orForce(err, p)
			}
			if asJSON {
				if _, err := env.stdout.Write(data); err != nil {
					return failed(err)
				}
			}
			if p.DryRun {
				return printDryRun(env.stdout, data, asJSON)
			}
			if asJSON {
				return nil
			}
			return printPromotion(env.stdout, data)
		},
	}
	cmd.Flags().BoolVar(&p.Force, "force", false, "promote whatever speaks against it")
	cmd.Flags().BoolVar(&p.DryRun, "dry-run", false, "say what it would cost, and promote nothing")
	cmd.Flags().StringVar(&p.Reason, "reason", "", "why, for the record")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

// isFinal reports whether --force changes nothing: the region lacks a bucket.
func isFinal(objections []objection) bool {
	return slices.ContainsFunc(objections, func(o objection) bool { return o.Code == "lacks-bucket" })
}

// orForce says what can be done about a refusal.
func orForce(err error, p promotion) error {
	if refused, ok := errors.AsType[*refusedError](err); ok && len(refused.objections) > 0 && !isFinal(refused.objections) {
		refused.hint = fmt.Sprintf("to promote it all the same: tandem promote %s --force", cmp.Or(p.Region, refused.objections[0].Region))
	}
	return err
}

func printPromotion(w io.Writer, data []byte) error {
	var f failoverAnswer
	if err := parse(data, &f); err != nil {
		return err
	}
	forced := ""
	if f.Forced {
		forced = ", forced"
	}
	fmt.Fprintf(w, "promoted %s: epoch %d (%s was active%s)\n", f.To, f.Epoch, f.From, forced)
	fmt.Fprintf(w, "at risk: %s, %s; in doubt: %s\n", count(f.AtRisk, "key", "keys"), formatBytes(f.AtRiskBytes), count(f.InDoubt, "write", "writes"))
	if f.AtRisk+f.InDoubt > 0 {
		fmt.Fprintf(w, "see: tandem failovers show %d\n", f.Epoch)
	}
	return nil
}

// dryRunAnswer is what a dry run is answered.
type dryRunAnswer struct {
	From, To             string
	Allowed              bool
	Objections           []objection
	AtRisk               struct{ Keys, Bytes int64 }
	InDoubt              int64
	OldestPendingSeconds *float64
	WritesInFlight       int64
	Canary               struct {
		OK             bool
		Error          string
		ElapsedSeconds float64
	}
	NeverCompared map[string]*int64
}

// printDryRun ends in an error where something speaks against it; isQuiet prints nothing else.
func printDryRun(w io.Writer, data []byte, isQuiet bool) error {
	var d dryRunAnswer
	if err := parse(data, &d); err != nil {
		return err
	}
	if !isQuiet {
		if err := d.print(w); err != nil {
			return failed(err)
		}
	}
	switch {
	case d.Allowed:
	case isFinal(d.Objections):
		return failed(fmt.Errorf("%s cannot be promoted: it lacks a bucket", d.To))
	default:
		return failed(fmt.Errorf("something speaks against promoting %s (--force promotes it all the same)", d.To))
	}
	return nil
}

func (d *dryRunAnswer) print(w io.Writer) error {
	fmt.Fprintf(w, "promoting %s now, with %s active, would mean\n", d.To, d.From)
	t := newTable(w)
	fmt.Fprintf(t, "  at risk\t%s, %s\n", count(d.AtRisk.Keys, "key", "keys"), formatBytes(d.AtRisk.Bytes))
	fmt.Fprintf(t, "  in doubt\t%s\n", count(d.InDoubt, "write", "writes"))
	oldest := "no copy is pending"
	if d.OldestPendingSeconds != nil {
		oldest = formatSeconds(*d.OldestPendingSeconds)
	}
	fmt.Fprintf(t, "  oldest pending\t%s\n", oldest)
	fmt.Fprintf(t, "  in flight\t%s\n", count(d.WritesInFlight, "write", "writes"))
	canary := "written, read and deleted in " + formatSeconds(d.Canary.ElapsedSeconds)
	if !d.Canary.OK {
		canary = "failed: " + plain(d.Canary.Error)
	}
	fmt.Fprintf(t, "  canary\t%s\n", canary)
	for _, region := range slices.Sorted(maps.Keys(d.NeverCompared)) {
		keys := "an unknown number of keys, they are not counted yet"
		if n := d.NeverCompared[region]; n != nil {
			keys = count(*n, "key", "keys")
		}
		fmt.Fprintf(t, "  never compared\t%s in %s\n", keys, region)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if d.Allowed {
		fmt.Fprintln(w, "nothing speaks against it; nothing was promoted")
		return nil
	}
	fmt.Fprintln(w, "this speaks against it; nothing was promoted:")
	for _, o := range d.Objections {
		fmt.Fprintf(w, "  %s: %s\n", o.Region, plain(o.Message))
	}
	return nil
}
