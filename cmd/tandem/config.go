package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newConfig(env environment) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or show the configuration", Long: "Check or show the configuration.\n" + exitHelp}
	file := newConfigFile(env)
	file.add(cmd)
	cmd.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with the configuration",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			fmt.Fprintf(env.stdout, "The configuration is right: %d region(s), listening on %s.\n", len(cfg.Regions), cfg.Address())
			return nil
		},
	}, newConfigShow(env, file))
	return cmd
}

func newConfigShow(env environment, file *configFile) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every setting with its value and where that comes from; secrets are masked",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			if asJSON {
				return failed(json.NewEncoder(env.stdout).Encode(cfg.Settings()))
			}
			t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "VARIABLE\tVALUE\tSOURCE\tALLOWED")
			for _, s := range cfg.Settings() {
				source := strings.TrimSpace(string(s.Source) + " " + s.File)
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, s.Value, source, s.Allowed)
			}
			return failed(t.Flush())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
