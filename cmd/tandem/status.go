package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newStatus(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the regions of a running gateway",
		Long: `Show the regions of a running gateway: which is active, how they are, how far each is behind,
and why nothing is promoted where the active is down.
` + clientHelp,
		Example: `  tandem status
  TANDEM_URL=http://10.0.0.5:8110 tandem status --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := newClient(env).get(cmd.Context(), "/admin/state")
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			var s stateAnswer
			if err := parse(data, &s); err != nil {
				return err
			}
			return failed(s.print(env.stdout))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

// stateAnswer is what GET /admin/state answers.
type stateAnswer struct {
	Active    string
	Replicas  []string
	Epoch     int64
	Mode      string
	BlockedBy []objection
	Regions   []regionAnswer
}

type regionAnswer struct {
	Name, Role, Endpoint, Bucket, Health string
	HealthSince, LastError               *string
	Compared, Regressed                  bool
	NeverCompared                        *int64
	Pending                              struct{ Keys, Bytes, Failing, Unreplicable int64 }
	LagSeconds                           *float64
}

// condition is the region's health, with what is not to be overlooked beside it.
func (r *regionAnswer) condition() string {
	if r.Regressed {
		return r.Health + ", regressed"
	}
	return r.Health
}

func (s *stateAnswer) print(w io.Writer) error {
	fmt.Fprintf(w, "epoch %d, failover mode %s\n", s.Epoch, s.Mode)
	t := newTable(w)
	fmt.Fprintln(t, "REGION\tROLE\tHEALTH\tBUCKET\tENDPOINT\tPENDING KEYS\tBYTES\tFAILING\tLAG")
	for _, r := range s.Regions {
		lag := "unknown (never compared)"
		if r.LagSeconds != nil {
			lag = formatSeconds(*r.LagSeconds)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n",
			r.Name, r.Role, r.condition(), r.Bucket, r.Endpoint, r.Pending.Keys, r.Pending.Bytes, r.Pending.Failing, lag)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range s.Regions {
		switch {
		case r.LastError == nil:
		case r.Health == "up":
			fmt.Fprintf(w, "%s is up, and its last probe failed: %s\n", r.Name, plain(*r.LastError))
		default:
			fmt.Fprintf(w, "%s is %s since %s: %s\n", r.Name, r.Health, orDash(r.HealthSince), plain(*r.LastError))
		}
		if r.Regressed {
			fmt.Fprintf(w, "%s came back older than it was: each of its copies is verified before it is relied on\n", r.Name)
		}
		if r.NeverCompared != nil && *r.NeverCompared > 0 {
			fmt.Fprintf(w, "%s holds %s never compared and not replicated; how far it is behind is not known\n",
				r.Name, count(*r.NeverCompared, "key that was", "keys that were"))
		}
		if r.Pending.Unreplicable > 0 {
			fmt.Fprintf(w, "%s cannot hold %s, so no copy of them is made there\n", r.Name, count(r.Pending.Unreplicable, "key", "keys"))
		}
	}
	if len(s.BlockedBy) > 0 {
		fmt.Fprintf(w, "nothing is promoted, although %s is down:\n", s.Active)
		for _, o := range s.BlockedBy {
			fmt.Fprintf(w, "  %s: %s\n", o.Region, plain(o.Message))
		}
	}
	return nil
}
