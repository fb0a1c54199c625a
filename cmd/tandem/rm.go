package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

var removing = words{done: "removed"}

// removal is what a command line of rm asks for.
type removal struct {
	flags              transferFlags
	isDry, isSure, all bool
}

func newRm(env environment) *cobra.Command {
	var r removal
	cmd := &cobra.Command{
		Use:   "rm KEY... [--recursive]",
		Short: "Remove objects",
		Long: `Remove objects. A key that is not there is no error.

With --recursive, each KEY is a prefix that ends at a "/": "tandem rm -r docs" removes what is below docs/, and
nothing of docs2/. It asks first; where nobody can be asked, --yes is needed. --all stands for every
object there is. With --dry-run nothing is removed: it lists what would be.

An object that could not be removed is reported, the others go on, and the exit code is 1.
` + keyHelp + clientHelp,
		Example: `  tandem rm docs/readme.md docs/old.md
  tandem rm --recursive --dry-run docs`,
		Args: func(_ *cobra.Command, keys []string) error {
			switch {
			case r.all && len(keys) > 0:
				return errors.New("--all stands for every object, and no key can be named beside it")
			case r.all && !r.flags.isRecursive:
				return errors.New("--all is for --recursive")
			case !r.all && len(keys) == 0:
				return errors.New("which keys? (with --recursive, --all stands for every object)")
			}
			if slices.Contains(keys, "") {
				return errors.New("a key is empty (with --recursive, --all stands for every object)")
			}
			return nil
		},
		ValidArgsFunction: keysOf(env, ""),
		RunE: func(cmd *cobra.Command, keys []string) error {
			if r.all {
				keys = []string{""}
			}
			return r.run(cmd.Context(), env, keys)
		},
	}
	r.flags.add(cmd, "remove all below a prefix", quickRetries)
	cmd.Flags().BoolVar(&r.isDry, "dry-run", false, "remove nothing, and list what would be removed")
	cmd.Flags().BoolVarP(&r.isSure, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&r.all, "all", false, "with --recursive: every object there is")
	return cmd
}

func (r *removal) run(ctx context.Context, env environment, keys []string) error {
	said := removing
	if r.isDry {
		said.done = "would remove"
	}
	t, err := newTransfers(env, r.flags, said, true)
	if err != nil {
		return err
	}
	if !r.flags.isRecursive {
		if len(keys) == 1 {
			return t.one(ctx, work{keys[0], -1, t.remove(keys[0], r.isDry)})
		}
		return t.all(ctx, func(yield func(work, error) bool) {
			for _, key := range keys {
				if !yield(work{key, -1, t.remove(key, r.isDry)}, nil) {
					return
				}
			}
		})
	}
	if !r.isDry && !r.isSure {
		if err := agree(ctx, env, "remove "+described(keys)+ofBucket(newClient(env).bucket)); err != nil {
			return err
		}
	}
	return t.all(ctx, func(yield func(work, error) bool) {
		for _, key := range keys {
			for w, err := range t.removals(ctx, folder(key), r.isDry) {
				if !yield(w, err) || err != nil {
					return
				}
			}
		}
	})
}

// described are the prefixes whose objects are to go.
func described(prefixes []string) string {
	if len(prefixes) == 1 && prefixes[0] == "" {
		return "every object there is"
	}
	var names []string
	for _, p := range prefixes {
		names = append(names, plain(folder(p)))
	}
	return "all below " + strings.Join(names, ", ")
}

// removed is the JSON of a removal.
type removed struct {
	apiclient.Deleted
	DryRun bool `json:"dryRun,omitzero"`
}

func (t *transfers) remove(key string, isDry bool) func(context.Context, func(done, size int64)) (any, error) {
	return func(ctx context.Context, _ func(done, size int64)) (any, error) {
		gone := removed{apiclient.Deleted{Key: key}, isDry}
		if !isDry {
			var err error
			if gone.Deleted, err = t.client.Delete(ctx, key); err != nil {
				return nil, err
			}
		}
		if !t.flags.asJSON && (isDry || !t.flags.isQuiet) {
			t.mu.Lock()
			defer t.mu.Unlock()
			_, err := fmt.Fprintf(t.env.stdout, "%s %s\n", t.words.done, plain(key))
			t.mu.printing = errors.Join(t.mu.printing, err)
		}
		return gone, nil
	}
}

func (t *transfers) removals(ctx context.Context, prefix string, isDry bool) iter.Seq2[work, error] {
	return t.listed(ctx, prefix, apiclient.ReadOptions{}, func(e apiclient.Entry) work {
		return work{e.Key, -1, t.remove(e.Key, isDry)}
	})
}

// agree asks whoever sits at the terminal.
func agree(ctx context.Context, env environment, what string) error {
	if asTerminal(env.stdin) == nil {
		return fmt.Errorf("there is no terminal to ask at: --yes does it without asking (%s)", what)
	}
	fmt.Fprintf(env.stderr, "%s? [y/N] ", what)
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(env.stdin).ReadString('\n') // what is no yes is no consent
		typed <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-typed:
		if line == "y" || line == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(env.stderr)
	}
	return failed(errors.New("nothing was removed"))
}
