package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

// listing is what a command line of ls asks for.
type listing struct {
	isRecursive, isExact, asJSON, allowsStale bool
	retries                                   int
}

func newLs(env environment) *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use:   "ls [PREFIX]",
		Short: "List keys",
		Long: `List the keys that begin with PREFIX, in byte order, with the time of their last change and their size.
What is below a "/" behind the prefix is shown as one folder; --recursive lists each key.

With --json each line is an object: {"key", "etag", "size", "lastModified"}, or {"prefix"} for a folder.
` + keyHelp + clientHelp,
		Example: `  tandem ls
  tandem ls docs/
  tandem ls --recursive --json docs/ | jq .size`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: keysOf(env, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.run(cmd.Context(), env, strings.Join(args, ""))
		},
	}
	cmd.Flags().BoolVarP(&l.isRecursive, "recursive", "r", false, "list each key instead of folders")
	cmd.Flags().BoolVar(&l.isExact, "bytes", false, "show sizes in bytes")
	cmd.Flags().BoolVar(&l.asJSON, "json", false, "print one JSON object for each key or folder")
	addAllowStale(cmd, &l.allowsStale)
	cmd.Flags().IntVar(&l.retries, "retries", quickRetries, "how often in a row to try again what brought nothing")
	return cmd
}

func (l *listing) run(ctx context.Context, env environment, prefix string) error {
	if l.retries < 0 {
		return fmt.Errorf("--retries is %d; allowed: 0 or more", l.retries)
	}
	client, err := newObjects(env, l.retries, func(err error, delay time.Duration) {
		fmt.Fprintf(env.stderr, "%v; trying again in %s\n", err, delay.Round(time.Millisecond))
	})
	if err != nil {
		return err
	}
	in := apiclient.ListInput{Prefix: prefix, Delimiter: "/", ReadOptions: apiclient.ReadOptions{AllowStale: l.allowsStale}}
	if l.isRecursive {
		in.Delimiter = ""
	}
	out := bufio.NewWriter(env.stdout)
	warned := ""
	in.Page = func(freshness, region string) {
		if line := staleness("the listing", freshness, region); line != warned && line != "" {
			warned = line
			fmt.Fprintln(env.stderr, line)
		}
	}
	for e, err := range client.List(ctx, in) {
		if err == nil {
			err = l.print(out, &e)
		}
		if err != nil {
			_ = out.Flush() // what was listed is of use; the error is told in any case
			return objectError(err)
		}
	}
	return failed(out.Flush())
}

// listedJSON is the JSON of a key or a folder.
type listedJSON struct {
	Key          string  `json:"key,omitempty"`
	ETag         *string `json:"etag,omitempty"`
	Size         *int64  `json:"size,omitempty"`
	LastModified string  `json:"lastModified,omitempty"`
	Prefix       string  `json:"prefix,omitempty"`
}

const (
	listTime  = "2006-01-02 15:04:05"
	jsonTime  = "2006-01-02T15:04:05.000Z07:00"
	sizeWidth = 10
	// exactWidth has room for the largest size that S3 takes.
	exactWidth = 14
)

func (l *listing) print(out *bufio.Writer, e *apiclient.Entry) error {
	if l.asJSON {
		line := listedJSON{Prefix: e.Prefix}
		if e.Prefix == "" {
			line = listedJSON{Key: e.Key, ETag: &e.ETag, Size: &e.Size, LastModified: e.LastModified.UTC().Format(jsonTime)}
		}
		data, err := json.Marshal(line)
		if err == nil {
			_, err = out.Write(append(data, '\n'))
		}
		return err
	}
	width, size := sizeWidth, formatBytes(e.Size)
	if l.isExact {
		width, size = exactWidth, fmt.Sprint(e.Size)
	}
	when := e.LastModified.Local().Format(listTime)
	if e.Prefix != "" {
		when, size = "", "-"
	}
	_, err := fmt.Fprintf(out, "%-*s  %*s  %s\n", len(listTime), when, width, size, plain(e.Key+e.Prefix))
	return err
}
