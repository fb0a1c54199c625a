package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// conflictAnswer is a conflict, as the gateway tells of it.
type conflictAnswer struct {
	ID                           int64
	Bucket                       string
	Key, State, Loser, Winner    string
	Operation                    string
	Deleted                      bool
	ETag                         string
	Size                         int64
	ContentType, Region, FoundAt string
	KeptKey                      string
	LastError                    *string
	Resolution, ResolvedAt       *string
	ResolvedBy                   *string
}

func newConflicts(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conflicts",
		Short: "Show the writes that a later one never saw, and decide on them",
		Long: `Show the writes that a later one never saw, and decide on them. After a failover the old active may
hold acknowledged writes of keys that were written again since. The later one wins; the loser is kept
until somebody decides.
` + clientHelp,
	}
	cmd.AddCommand(newConflictsList(env), newConflictsShow(env), newConflictsResolve(env))
	return cmd
}

func newConflictsList(env environment) *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the conflicts that nobody has decided yet, the oldest first",
		Long:    "List the conflicts that nobody has decided yet, the oldest first.\n" + clientHelp,
		Example: "  tandem conflicts list --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "/admin/conflicts"
			if all {
				path += "?all=true"
			}
			c := newClient(env)
			table := bucketTable{columns: []string{"ID", "KEY", "STATE", "LOSER", "WINNER", "OP", "SIZE", "REGION", "FOUND", "RESOLUTION"}}
			isEmpty := true
			_, err := c.pages(cmd.Context(), path, "conflicts", 0, 0, func(raw []json.RawMessage) error {
				isEmpty = isEmpty && len(raw) == 0
				if asJSON {
					return writeLines(env.stdout, raw)
				}
				if err := table.look(cmd.Context(), c, raw); err != nil {
					return err
				}
				return printConflicts(env.stdout, raw, &table)
			})
			if err == nil && isEmpty && !asJSON {
				fmt.Fprintln(env.stdout, "there is no conflict to decide")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that were decided too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON of each conflict, one a line")
	return cmd
}

func printConflicts(w io.Writer, raw []json.RawMessage, table *bucketTable) error {
	t := newTable(w)
	for _, data := range raw {
		var c conflictAnswer
		if err := parse(data, &c); err != nil {
			return err
		}
		table.row(t, c.Bucket, fmt.Sprint(c.ID), plain(c.Key), c.State, c.Loser, c.Winner, c.Operation, formatBytes(c.Size), c.Region, c.FoundAt,
			orDash(c.Resolution))
	}
	return t.Flush()
}

func newConflictsShow(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a conflict",
		Long:    "Show a conflict.\n" + clientHelp,
		Example: "  tandem conflicts show 1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID("ID", args[0])
			if err != nil {
				return err
			}
			client := newClient(env)
			data, err := client.get(cmd.Context(), fmt.Sprintf("/admin/conflicts/%d", id))
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			var c conflictAnswer
			if err := parse(data, &c); err != nil {
				return err
			}
			var table bucketTable
			if err := table.look(cmd.Context(), client, []json.RawMessage{data}); err != nil {
				return err
			}
			return failed(c.print(env.stdout, table.hasBuckets))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

func (c *conflictAnswer) print(w io.Writer, hasBuckets bool) error {
	t := newTable(w)
	fmt.Fprintf(t, "conflict\t%d, found at %s\n", c.ID, c.FoundAt)
	if hasBuckets {
		fmt.Fprintf(t, "bucket\t%s\n", plain(c.Bucket))
	}
	fmt.Fprintf(t, "key\t%s\n", plain(c.Key))
	fmt.Fprintf(t, "winner\t%s\n", c.Winner)
	if c.Deleted {
		fmt.Fprintf(t, "loser\t%s, a delete in %s\n", c.Loser, c.Region)
	} else {
		fmt.Fprintf(t, "loser\t%s, a %s in %s: %s, %s, ETag %s\n", c.Loser, c.Operation, c.Region, formatBytes(c.Size), plain(c.ContentType), plain(c.ETag))
	}
	switch {
	case c.Resolution != nil:
		fmt.Fprintf(t, "state\tresolved at %s by %s: %s\n", orDash(c.ResolvedAt), orDash(c.ResolvedBy), plain(*c.Resolution))
	case c.LastError != nil:
		fmt.Fprintf(t, "state\t%s, the loser is not kept yet: %s\n", c.State, plain(*c.LastError))
	case c.State == "found":
		fmt.Fprintf(t, "state\tfound, the loser is kept once %s answers\n", c.Region)
	default:
		fmt.Fprintf(t, "state\t%s; decide with: tandem conflicts resolve %d --keep winner|loser|both\n", c.State, c.ID)
	}
	return t.Flush()
}

func newConflictsResolve(env environment) *cobra.Command {
	var keep, key string
	var asJSON bool
	sides := []string{"winner", "loser", "both"}
	cmd := &cobra.Command{
		Use:   "resolve ID --keep winner|loser|both [--key KEY]",
		Short: "Decide a conflict",
		Long: `Decide a conflict.

  winner  the key stays as it is, and the loser is deleted
  loser   the loser becomes the key's newest version
  both    the key stays as it is, and the loser gets the new key that --key names
` + clientHelp,
		Example: "  tandem conflicts resolve 1 --keep both --key docs/readme.old.md",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID("ID", args[0])
			switch {
			case err != nil:
				return err
			case !slices.Contains(sides, keep):
				return fmt.Errorf("--keep is %q; allowed: %s", keep, strings.Join(sides, ", "))
			case (keep == "both") != (key != ""):
				return fmt.Errorf("--key is %q; it names where the loser goes with --keep both, and is for nothing else", key)
			}
			data, err := newClient(env).call(cmd.Context(), http.MethodPost, fmt.Sprintf("/admin/conflicts/%d/resolve", id),
				map[string]string{"keep": keep, "key": key})
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			var c conflictAnswer
			if err := parse(data, &c); err != nil {
				return err
			}
			fmt.Fprintf(env.stdout, "resolved conflict %d of %s: kept %s\n", c.ID, plain(c.Key), orDash(c.Resolution))
			return nil
		},
	}
	cmd.Flags().StringVar(&keep, "keep", "", "winner, loser or both")
	cmd.Flags().StringVar(&key, "key", "", "with both: the new key of the loser")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}
