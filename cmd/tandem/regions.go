package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newRegions(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "regions",
		Short: "List the regions, or take one out for good",
		Long:  "List the regions, or take one out for good.\n" + clientHelp,
	}
	cmd.AddCommand(newRegionsList(env), newRegionsRemove(env))
	return cmd
}

func newRegionsList(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the regions with their health",
		Long:    "List the regions with their health.\n" + clientHelp,
		Example: "  tandem regions list",
		Args:    cobra.NoArgs,
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
			t := newTable(env.stdout)
			fmt.Fprintln(t, "REGION\tROLE\tHEALTH\tCOMPARED\tREGRESSED\tPENDING KEYS\tBYTES")
			for _, r := range s.Regions {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\n", r.Name, r.Role, r.Health, yesNo(r.Compared), yesNo(r.Regressed), r.Pending.Keys, r.Pending.Bytes)
			}
			return failed(t.Flush())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON, that of its state")
	return cmd
}

func newRegionsRemove(env environment) *cobra.Command {
	var reason string
	var isSure bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a replica that never returns out, for good",
		Long: `Take a replica that never returns out, for good. Nothing is copied there any more, and writes
that only it held are closed as lost, on the record. Its bucket is not touched. It stays out also when
the gateway starts anew; take it out of the configuration.

It says first what would be lost, and asks; where nobody can be asked, --yes is needed.
` + clientHelp,
		Example:           `  tandem regions remove secondary --reason "the provider has closed"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeAt(0, regionsOf(env)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, name := newClient(env), args[0]
			if err := explainRemoval(cmd.Context(), c, env.stderr, name); err != nil {
				return err
			}
			if !isSure {
				if err := confirm(cmd.Context(), env, name); err != nil {
					return err
				}
			}
			path := "/admin/regions/" + url.PathEscape(name) + "?reason=" + url.QueryEscape(reason)
			if _, err := c.call(cmd.Context(), http.MethodDelete, path, nil); err != nil {
				return err
			}
			fmt.Fprintf(env.stdout, "removed %s: take it out of the configuration (its variables, %s_S3_…, or its place in the file)\n", name, strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().BoolVar(&isSure, "yes", false, "do not ask")
	return cmd
}

// explainRemoval says what is lost with a region.
func explainRemoval(ctx context.Context, c client, w io.Writer, name string) error {
	var s stateAnswer
	if err := c.read(ctx, "/admin/state", &s); err != nil {
		return err
	}
	switch {
	case name == s.Active:
		return &exitError{exitUnreachable, fmt.Errorf("%s is the active region, which cannot be removed: promote another first (tandem promote)", name)}
	case len(s.Replicas) == 0:
		return &exitError{exitUnreachable, fmt.Errorf("there is no replica %q, nor any other", name)}
	case !slices.Contains(s.Replicas, name):
		return &exitError{exitUnreachable, fmt.Errorf("there is no replica %q; the replicas are: %s", name, strings.Join(s.Replicas, ", "))}
	}
	var list struct{ Failovers []failoverAnswer }
	if err := c.read(ctx, "/admin/failovers", &list); err != nil {
		return err
	}
	fmt.Fprintf(w, "removing %s is for good: nothing is copied there any more\n", name)
	isAnyOpen := false
	for _, f := range list.Failovers {
		if f.From == name && f.Open > 0 {
			isAnyOpen = true
			fmt.Fprintf(w, "lost with it: what only %s has of %s (tandem failovers show %d --open)\n",
				name, count(f.Open, "open write", "open writes"), f.Epoch)
		}
	}
	if !isAnyOpen {
		fmt.Fprintf(w, "no failover has an open write there\n")
	}
	return nil
}

// confirm asks whoever sits at the terminal.
func confirm(ctx context.Context, env environment, name string) error {
	if asTerminal(env.stdin) == nil {
		return errors.New("there is no terminal to ask at: --yes removes the region without asking")
	}
	fmt.Fprintf(env.stderr, "type the region's name to remove it: ")
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(env.stdin).ReadString('\n') // what is no name is no consent
		typed <- strings.TrimSpace(line)
	}()
	select {
	case line := <-typed:
		if line == name {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(env.stderr)
	}
	return failed(errors.New("nothing was removed"))
}
