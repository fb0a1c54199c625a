package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/region/localregion"
)

// regionServer is the hidden command that serves an embedded region.
const regionServer = "region-server"

func newServe(env environment) *cobra.Command {
	var repair, forgetKeys bool
	file := newConfigFile(env)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway until SIGTERM or Ctrl-C, then drain.

Everything is configured by environment variables, by a YAML file, or by both; "tandem config show"
lists all settings. With nothing set, two embedded regions under data/regions are used.

Every region's bucket has a mark of the journal that uses it. Where one is newer than the
journal, because that was restored from a backup, or another journal's, the gateway does not
start. With --repair it takes the regions over as they are: every key is read again in the active
region, and no region counts as compared. Make sure first that no other gateway runs.

The secrets of access keys are sealed in the journal under the master key (MASTER_KEY, or master.key in
DATA_DIR). Where that is lost or another one, the gateway does not start. With --forget-access-keys it
disables the keys whose secrets it cannot open, until they are given others by tandem keys rotate.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := file.load()
			if err != nil {
				return err
			}
			executable, err := os.Executable()
			if err != nil {
				return failed(fmt.Errorf("find this program's file: %w", err))
			}
			var a *app.App
			a, err = app.New(cmd.Context(), cfg, app.Options{
				RegionCommand: []string{executable, regionServer},
				Repair:        repair, ForgetAccessKeys: forgetKeys,
				Version: readBuild().Version,
				Started: func(urls app.URLs) { greet(env.stdout, urls, a) },
				Logger:  newLogger(env.stderr, cfg),
			})
			if err != nil {
				return failed(err)
			}
			return failed(a.Run(cmd.Context()))
		},
	}
	file.add(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "take over regions that know of more than the journal")
	cmd.Flags().BoolVar(&forgetKeys, "forget-access-keys", false, "disable the access keys whose secrets the master key does not open")
	return cmd
}

// greet says what runs, and what to try.
func greet(w io.Writer, urls app.URLs, a *app.App) {
	fmt.Fprintf(w, "Tandem serves %s\n  S3 clients take %s, and their access key from %s\n", urls.REST, urls.S3, a.AccessKeyPlace())
	a.Describe(w)
	fmt.Fprintf(w, `Try:
  curl -X PUT --data-binary @README.md -H "Content-Type: text/markdown" %[1]s/objects/docs/readme.md
  curl -s %[1]s/objects/docs/readme.md -o out.md && cmp README.md out.md
  curl -s %[1]s/replication/docs/readme.md
  tandem status
`, urls.REST)
}

func newLogger(w io.Writer, cfg config.Config) *slog.Logger {
	format := cfg.LogFormat
	if format == config.LogAuto {
		format = config.LogJSON
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			format = config.LogText
		}
	}
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if format == config.LogText {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func newRegionServer(env environment) *cobra.Command {
	return &cobra.Command{
		Use:    regionServer + " DIR",
		Short:  "Serve an embedded region (the gateway starts this itself)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// The parent decides when this ends, by closing stdin.
			return failed(localregion.Serve(cmd.Context(), env.stdin, env.stdout, env.stderr, args[0]))
		},
	}
}
