package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

// A shell waits for completions: few are asked for, and not for long.
const (
	completionTimeout = 2 * time.Second
	completionKeys    = 200
)

// completer gives what an argument can be.
type completer = func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective)

// keysOf completes keys, folder by folder, each behind mark.
func keysOf(env environment, mark string) completer {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		typed, isKey := strings.CutPrefix(typed, mark)
		if !isKey {
			return nil, directive
		}
		ctx, cancel := context.WithTimeout(commandContext(cmd), completionTimeout)
		defer cancel()
		client, err := newObjects(env, 0, nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var found []cobra.Completion
		for e, err := range client.List(ctx, apiclient.ListInput{
			Prefix: typed, Delimiter: "/", PageEntries: completionKeys, ReadOptions: apiclient.ReadOptions{AllowStale: true},
		}) {
			if err != nil || len(found) == completionKeys {
				break
			}
			// What a terminal cannot show, or takes for a description, cannot be typed there.
			if name := e.Key + e.Prefix; plain(name) == name {
				found = append(found, mark+name)
			}
		}
		if len(found) == 1 && !strings.HasSuffix(found[0], "/") {
			return found, cobra.ShellCompDirectiveNoFileComp
		}
		return found, directive
	}
}

// regionsOf completes the names of the gateway's regions.
func regionsOf(env environment) completer {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(commandContext(cmd), completionTimeout)
		defer cancel()
		client, err := newObjects(env, 0, nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := client.Regions(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		slices.Sort(names)
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, typed) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// commandContext is the command's, which a completion may lack.
func commandContext(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// completeAt completes one argument by its place, and leaves those before it to the shell, which
// knows of files.
func completeAt(place int, complete completer) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == place {
			return complete(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

// completePathsOr completes the keys of cp, and leaves what is none to the shell.
func completePathsOr(complete completer) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) < 2 && strings.HasPrefix(typed, keyMark) {
			return complete(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}
