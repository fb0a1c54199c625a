package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newAudit(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show, export or verify the audit chain",
		Long: `Show, export or verify the audit chain: everything that changed what Tandem holds. "list" and "export"
ask a running gateway; "verify" reads the journal itself, and needs none.
` + clientHelp,
	}
	cmd.AddCommand(newAuditList(env), newAuditExport(env), newAuditVerify(env))
	return cmd
}

const auditPath = "/admin/audit"

// auditAnswer is an entry, as the gateway tells of it.
type auditAnswer struct {
	Index                                                   int64
	At, Action, Actor, Bucket, Key, Version, Region, Detail string
}

func newAuditList(env environment) *cobra.Command {
	var after, limit int64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List entries, the oldest first",
		Long:  "List entries, the oldest first.\n" + clientHelp,
		Example: `  tandem audit list
  tandem audit list --after 100 --limit 20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if after < 0 || limit < 1 {
				return fmt.Errorf("--after is %d and --limit is %d; allowed: 0 or more, and 1 or more", after, limit)
			}
			heading := "INDEX\tAT\tACTION\tACTOR\tREGION\tVERSION\tKEY\tDETAIL\n"
			next, err := newClient(env).pages(cmd.Context(), auditPath, "entries", after, limit, func(raw []json.RawMessage) error {
				if asJSON {
					return writeLines(env.stdout, raw)
				}
				return printAudit(env.stdout, raw, &heading)
			})
			if err == nil && next > 0 && !asJSON {
				fmt.Fprintf(env.stdout, "more: tandem audit list --after %d --limit %d\n", next, limit)
			}
			return err
		},
	}
	cmd.Flags().Int64Var(&after, "after", 0, "begin after this entry")
	cmd.Flags().Int64Var(&limit, "limit", 100, "list as many at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON of each entry, one a line")
	return cmd
}

func printAudit(w io.Writer, raw []json.RawMessage, heading *string) error {
	t := newTable(w)
	for _, data := range raw {
		var e auditAnswer
		if err := parse(data, &e); err != nil {
			return err
		}
		fmt.Fprintf(t, "%s%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", *heading, e.Index, e.At, e.Action, e.Actor,
			orDash(&e.Region), orDash(&e.Version), orDash(&e.Key), orDash(&e.Detail))
		*heading = ""
	}
	return t.Flush()
}

func newAuditExport(env environment) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write every entry as JSON, one a line",
		Long: `Write every entry as JSON, one a line, with its hash: docs/audit.md says how anybody recomputes them.
It is read from a running gateway page by page, however long the chain is.
` + clientHelp,
		Example: "  tandem audit export --output audit.jsonl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entries := int64(0)
			err := writeNew(env, output, func(w io.Writer) error {
				p := newProgress(env, "exporting the audit chain")
				defer p.end()
				_, err := newClient(env).pages(cmd.Context(), auditPath, "entries", 0, 0, func(raw []json.RawMessage) error {
					entries += int64(len(raw))
					p.reached(entries)
					return writeLines(w, raw)
				})
				return err
			})
			if err == nil && output != "-" {
				fmt.Fprintf(env.stdout, "exported %s to %s\n", count(entries, "entry", "entries"), output)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&output, "output", "-", "the new `FILE` to write; - prints it")
	return cmd
}
