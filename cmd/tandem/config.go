package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/config"
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
			buckets := ""
			if n := len(cfg.Buckets); n > 1 {
				buckets = fmt.Sprintf(" %d buckets,", n)
			}
			fmt.Fprintf(env.stdout, "The configuration is right: %d region(s),%s listening on %s.\n", len(cfg.Regions), buckets, cfg.Address())
			return nil
		},
	}, newConfigShow(env, file))
	return cmd
}

// shownConfig is what "config show --json" prints.
type shownConfig struct {
	Settings []config.Setting `json:"settings"`
	Buckets  []config.Bucket  `json:"buckets"`
}

// printBuckets prints a line for each bucket in each region.
func printBuckets(w io.Writer, buckets []config.Bucket) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nCLIENTS' BUCKET\tREGION\tBUCKET THERE\tSTALE READS\tLARGEST OBJECT")
	for _, b := range buckets {
		for _, r := range b.Regions {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", b.Name, r.Region, r.Bucket, b.StaleReads, config.SizeText(b.MaxObjectBytes))
		}
	}
	return t.Flush()
}

func newConfigShow(env environment, file *configFile) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every setting with its value and where that comes from, and the buckets; secrets are masked",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			if asJSON {
				return failed(json.NewEncoder(env.stdout).Encode(shownConfig{cfg.Settings(), cfg.Buckets}))
			}
			t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "VARIABLE\tVALUE\tSOURCE\tALLOWED")
			for _, s := range cfg.Settings() {
				source := strings.TrimSpace(string(s.Source) + " " + s.File)
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, s.Value, source, s.Allowed)
			}
			if err := t.Flush(); err != nil {
				return failed(err)
			}
			return failed(printBuckets(env.stdout, cfg.Buckets))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
