package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// These are set by the linker: -ldflags "-X main.version=v1.2.3 -X main.commit=… -X main.buildDate=…".
// Without the latter two, what Go knows of the source tree is shown.
var (
	version   = "dev"
	commit    = ""
	buildDate = "" // RFC 3339
)

// build is what this program was made of. What is not known is "".
type build struct {
	Version   string `json:"version"`
	Commit    string `json:"commit"`
	BuildDate string `json:"buildDate"`
	Go        string `json:"go"`
	Platform  string `json:"platform"`
}

// readBuild takes the time of the commit where nobody said when it was built: the same sources
// then give the same program.
func readBuild() build {
	b := build{version, commit, buildDate, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if b.Commit == "" {
		b.Commit = settings["vcs.revision"]
		if settings["vcs.modified"] == "true" {
			b.Commit += "-dirty"
		}
	}
	if b.BuildDate == "" {
		b.BuildDate = settings["vcs.time"]
	}
	return b
}

func newVersion(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version",
		Long:    "Show the version, the commit and the date of the build, and the Go that made it.\n" + exitHelp,
		Example: "  tandem version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if asJSON {
				data, err := json.Marshal(b)
				if err == nil {
					_, err = env.stdout.Write(append(data, '\n'))
				}
				return failed(err)
			}
			line := "tandem " + b.Version
			if b.Commit != "" {
				line += " (" + b.Commit + ")"
			}
			if b.BuildDate != "" {
				line += ", built " + b.BuildDate
			}
			_, err := fmt.Fprintf(env.stdout, "%s, %s %s\n", line, b.Go, b.Platform)
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}
