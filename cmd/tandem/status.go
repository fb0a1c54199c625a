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
and why nothing is promoted where the active is down. Where there is more than one bucket, there is a
line for each bucket of each region.
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
	Pending                              pendingAnswer
	LagSeconds                           *float64
	Buckets                              []bucketAnswer
}

type pendingAnswer struct{ Keys, Bytes, Failing, Unreplicable int64 }

// bucketAnswer is a bucket of a region: Name is what clients see, Bucket what it is called there.
type bucketAnswer struct {
	Name, Bucket  string
	NeverCompared *int64
	Regressed     bool
	Pending       pendingAnswer
	LagSeconds    *float64
}

// parts have a line each: the region's buckets, or the region as a whole.
func (r *regionAnswer) parts(hasBuckets bool) []bucketAnswer {
	if hasBuckets {
		return r.Buckets
	}
	return []bucketAnswer{{Bucket: r.Bucket, NeverCompared: r.NeverCompared, Regressed: r.Regressed, Pending: r.Pending, LagSeconds: r.LagSeconds}}
}

// condition is a region's health, with what is not to be overlooked beside it.
func condition(health string, isRegressed bool) string {
	if isRegressed {
		return health + ", regressed"
	}
	return health
}

func (s *stateAnswer) print(w io.Writer) error {
	fmt.Fprintf(w, "epoch %d, failover mode %s\n", s.Epoch, s.Mode)
	hasBuckets := len(s.buckets()) > 1
	if err := s.printTable(w, hasBuckets); err != nil {
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
		for _, b := range r.parts(hasBuckets) {
			b.printWarnings(w, r.Name, hasBuckets)
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

func (s *stateAnswer) printTable(w io.Writer, hasBuckets bool) error {
	t := newTable(w)
	called := "BUCKET"
	if hasBuckets {
		called = "BUCKET\tCALLED THERE"
	}
	fmt.Fprintf(t, "REGION\tROLE\tHEALTH\t%s\tENDPOINT\tPENDING KEYS\tBYTES\tFAILING\tLAG\n", called)
	for _, r := range s.Regions {
		for _, b := range r.parts(hasBuckets) {
			lag, called := "unknown (never compared)", b.Bucket
			if b.LagSeconds != nil {
				lag = formatSeconds(*b.LagSeconds)
			}
			if hasBuckets {
				called = b.Name + "\t" + b.Bucket
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n",
				r.Name, r.Role, condition(r.Health, b.Regressed), called, r.Endpoint, b.Pending.Keys, b.Pending.Bytes, b.Pending.Failing, lag)
		}
	}
	return t.Flush()
}

// printWarnings says what the table cannot.
func (b *bucketAnswer) printWarnings(w io.Writer, region string, hasBuckets bool) {
	if hasBuckets {
		region = "bucket " + b.Name + " in " + region
	}
	if b.Regressed {
		fmt.Fprintf(w, "%s came back older than it was: each of its copies is verified before it is relied on\n", region)
	}
	if b.NeverCompared != nil && *b.NeverCompared > 0 {
		fmt.Fprintf(w, "%s holds %s never compared and not replicated; how far it is behind is not known\n",
			region, count(*b.NeverCompared, "key that was", "keys that were"))
	}
	if b.Pending.Unreplicable > 0 {
		fmt.Fprintf(w, "%s cannot hold %s, so no copy of them is made there\n", region, count(b.Pending.Unreplicable, "key", "keys"))
	}
}
