package main

import (
	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/config"
)

// configFile is the flag of the commands that read the configuration.
type configFile struct {
	env  environment
	path string
}

func newConfigFile(env environment) *configFile { return &configFile{env: env} }

// add gives the command, and those below it, the flag.
func (f *configFile) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&f.path, "config", "", "read the configuration `FILE` (YAML) rather than the one that CONFIG names; what the environment sets wins over it")
}

func (f *configFile) load() (config.Config, error) {
	return config.Load(func(name string) (string, bool) {
		if name == "CONFIG" && f.path != "" {
			return f.path, true
		}
		return f.env.getenv(name)
	})
}
