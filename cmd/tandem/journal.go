package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/journal/sqlite"
)

func newJournal(env environment) *cobra.Command {
	file := newConfigFile(env)
	cmd := &cobra.Command{Use: "journal", Short: "Look after the journal", Long: "Look after the journal.\n" + exitHelp}
	cmd.AddCommand(&cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the journal to a new file, also while the gateway runs",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			if err := sqlite.Backup(cmd.Context(), cfg.DatabasePath, args[0]); err != nil {
				return failed(err)
			}
			fmt.Fprintf(env.stdout, "Copied %s to %s.\n", cfg.DatabasePath, args[0])
			return nil
		},
	})
	file.add(cmd)
	return cmd
}
