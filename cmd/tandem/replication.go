package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

const (
	defaultWait = 5 * time.Minute
	// A copy takes a moment, or until a region is back.
	firstPoll   = 50 * time.Millisecond
	longestPoll = 2 * time.Second
)

// copies is what a command line of replication asks for.
type copies struct {
	flags transferFlags
	wait  time.Duration
}

func newReplication(env environment) *cobra.Command {
	var c copies
	cmd := &cobra.Command{
		Use:   "replication KEY [--wait[=TIMEOUT]]",
		Short: "Show the state of each region's copy of a key",
		Long: `Show the state of each region's copy of a key. With --wait it waits until all are current, and exits with 1
where that takes longer (--wait=30s; ` + defaultWait.String() + ` without a time), or can never be.

  current       the region has the key's version
  pending       it is to be copied there
  missing       the region has lost it
  unreplicable  the region can never hold it
` + keyHelp + clientHelp,
		Example: `  tandem replication docs/readme.md
  tandem replication docs/readme.md --wait=30s`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeAt(0, keysOf(env, "")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, env, args[0])
		},
	}
	cmd.Flags().DurationVar(&c.wait, "wait", 0, "wait until all copies are current, for so long at most")
	cmd.Flags().Lookup("wait").NoOptDefVal = defaultWait.String()
	c.flags.addCommon(cmd, quickRetries)
	return cmd
}

func (c *copies) run(cmd *cobra.Command, env environment, key string) error {
	isWaiting := cmd.Flags().Changed("wait")
	if isWaiting && c.wait <= 0 {
		return fmt.Errorf("--wait is %s; allowed: more than 0s", c.wait)
	}
	c.flags.parallel = 1
	t, err := newTransfers(env, c.flags, words{}, true)
	if err != nil {
		return err
	}
	r, err := t.client.Replication(cmd.Context(), key)
	var unmet error
	if err == nil && isWaiting {
		r, unmet, err = c.await(cmd.Context(), t.client, r)
	}
	if err != nil {
		return objectError(err)
	}
	if c.flags.asJSON {
		_, err = env.stdout.Write(r.JSON)
	} else {
		err = printCopies(env.stdout, &r)
	}
	return failed(errors.Join(err, unmet))
}

// await asks until all copies are current. unmet is why they are not.
func (c *copies) await(ctx context.Context, client *apiclient.Client, r apiclient.Replication) (_ apiclient.Replication, unmet, err error) {
	late := time.NewTimer(c.wait)
	defer late.Stop()
	for pause := firstPoll; ; pause = min(2*pause, longestPoll) {
		left, hopeless := behind(&r)
		switch {
		case left == "":
			return r, nil, nil
		case hopeless:
			return r, fmt.Errorf("region %s can never hold this key", left), nil
		}
		next := time.NewTimer(pause)
		select {
		case <-next.C:
		case <-late.C:
			next.Stop()
			return r, fmt.Errorf("after %s, region %s is not current yet", c.wait, left), nil
		case <-ctx.Done():
			next.Stop()
			return r, nil, context.Cause(ctx)
		}
		if r, err = client.Replication(ctx, r.Key); err != nil {
			return r, nil, err
		}
	}
}

// behind is the first region whose copy is not current, "" where all are; hopeless where it never will be.
func behind(r *apiclient.Replication) (region string, hopeless bool) {
	for _, c := range r.Regions {
		switch c.State {
		case "current":
		case "unreplicable":
			return c.Region, true
		default:
			region = c.Region
		}
	}
	if region == "" && !r.Settled && len(r.Regions) > 0 {
		region = r.Regions[0].Region // it is being read again
	}
	return region, false
}

func printCopies(w io.Writer, r *apiclient.Replication) error {
	t := newTable(w)
	fmt.Fprintln(t, "REGION\tSTATE\tVERSION\tATTEMPTS\tNEXT TRY\tLAST ERROR")
	for _, c := range r.Regions {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", c.Region, c.State, c.Version, c.Attempts, orDash(c.NextTry), orDash(c.LastError))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	what := formatBytes(r.Size)
	if r.Deleted {
		what = "deleted"
	}
	settled := ""
	if !r.Settled {
		settled = "; not settled: what the active holds is being read again"
	}
	_, err := fmt.Fprintf(w, "%s: version %s, %s%s\n", plain(r.Key), r.Version, what, settled)
	return err
}
