package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// bucketHelp is for the help of each command that is about a bucket.
const bucketHelp = `
TANDEM_BUCKET, or --bucket, names the bucket; without it the first that the gateway has is meant.
`

// addBucket gives a command --bucket. An empty name is refused: it is a variable that a script has forgotten to
// set, and the first bucket would be written, or emptied, in the place of another.
func addBucket(cmd *cobra.Command, env environment) {
	cmd.Flags().Func("bucket", "the bucket's `NAME` (TANDEM_BUCKET; default: the gateway's first)", func(name string) error {
		if name == "" {
			return errors.New("it names no bucket; leave it out where the gateway's first is meant")
		}
		*env.bucket = name
		return nil
	})
	if err := cmd.RegisterFlagCompletionFunc("bucket", bucketsOf(env)); err != nil {
		panic(err) // only a mistake in our own flags
	}
}

// inBucket is a path about the bucket that the command is about.
func (c client) inBucket(path string) string {
	if c.bucket == "" {
		return path
	}
	return path + "?" + url.Values{"bucket": {c.bucket}}.Encode()
}

// ofBucket says of which bucket something is, where one was named.
func ofBucket(name string) string {
	if name == "" {
		return ""
	}
	return " of bucket " + plain(name)
}

// buckets are the names of the gateway's buckets, in the order of its regions.
func (s *stateAnswer) buckets() (names []string) {
	for _, r := range s.Regions {
		for _, b := range r.Buckets {
			if !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
	}
	return names
}

// bucketTable has a column for the bucket before that of the key, where there is more than one.
type bucketTable struct {
	columns    []string
	hasBuckets bool
	isLooked   bool
	isBegun    bool
}

// look finds out, once, whether there is more than one bucket: by what the gateway serves, and by what is to be
// shown, which may be of a bucket that is not configured any more.
func (t *bucketTable) look(ctx context.Context, c client, rows []json.RawMessage) error {
	if t.isLooked || len(rows) == 0 {
		return nil
	}
	var s stateAnswer
	if err := c.read(ctx, "/admin/state", &s); err != nil {
		return err
	}
	names := s.buckets()
	for _, data := range rows {
		var row struct{ Bucket string }
		if err := parse(data, &row); err != nil {
			return err
		}
		if row.Bucket != "" && !slices.Contains(names, row.Bucket) {
			names = append(names, row.Bucket)
		}
	}
	t.isLooked, t.hasBuckets = true, len(names) > 1
	return nil
}

// row writes cells, the first of them under the heading.
func (t *bucketTable) row(w io.Writer, bucket string, cells ...string) {
	if !t.isBegun {
		t.isBegun = true
		fmt.Fprintln(w, strings.Join(t.withBucket("BUCKET", t.columns), "\t"))
	}
	fmt.Fprintln(w, strings.Join(t.withBucket(plain(bucket), cells), "\t"))
}

func (t *bucketTable) withBucket(bucket string, cells []string) []string {
	if !t.hasBuckets {
		return cells
	}
	return slices.Insert(slices.Clone(cells), slices.Index(t.columns, "KEY"), bucket)
}

// bucketsOf completes the names of the gateway's buckets.
func bucketsOf(env environment) completer {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(commandContext(cmd), completionTimeout)
		defer cancel()
		var s stateAnswer
		if err := newClient(env).read(ctx, "/admin/state", &s); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := slices.DeleteFunc(s.buckets(), func(name string) bool { return !strings.HasPrefix(name, typed) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
