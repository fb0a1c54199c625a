package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan is hidden: packages are made with it.
func newMan(env environment) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages of all commands into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed(fmt.Errorf("make the folder: %w", err))
			}
			b := readBuild()
			header := &doc.GenManHeader{Title: "TANDEM", Section: "1", Source: "Tandem " + b.Version, Manual: "Tandem"}
			if t, err := time.Parse(time.RFC3339, b.BuildDate); err == nil {
				header.Date = &t
			}
			// A tree of its own: it is written in another form.
			root := newRoot(env)
			root.DisableAutoGenTag = true
			root.InitDefaultCompletionCmd()
			forManual(root)
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return failed(fmt.Errorf("write the manual pages: %w", err))
			}
			return nil
		},
	}
}

// forManual writes the help of each command as the Markdown that manual pages are made of:
// what is indented is kept in its lines.
func forManual(cmd *cobra.Command) {
	if cmd.Long != "" && cmd.Name() != "bash" && cmd.Name() != "zsh" && cmd.Name() != "fish" && cmd.Name() != "powershell" {
		cmd.Long = markdown(cmd.Long)
	}
	for _, sub := range cmd.Commands() {
		forManual(sub)
	}
}

func markdown(help string) string {
	var b strings.Builder
	wasTable := false
	for line := range strings.Lines(help) {
		isTable := strings.HasPrefix(line, "  ")
		if isTable != wasTable && b.Len() > 0 {
			b.WriteByte('\n')
		}
		if wasTable = isTable; isTable {
			line = "  " + line
		} else {
			line = strings.NewReplacer("*", `\*`, "_", `\_`, "<", "&lt;").Replace(line)
		}
		b.WriteString(line)
	}
	return b.String()
}
