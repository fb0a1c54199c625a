package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

// keyMark begins an argument of cp that is a key.
const keyMark = "tandem:"

var copying = words{"copying", "copied"}

func newCp(env environment) *cobra.Command {
	var flags transferFlags
	var reading getOptions
	var writing putOptions
	cmd := &cobra.Command{
		Use:   "cp SRC DST",
		Short: "Copy between files and keys, or from key to key",
		Long: `Copy. An argument that begins with "` + keyMark + `" is a key, "-" is stdin or stdout, and everything else is a
path; "./` + keyMark + `x" is the path of a file with such a name. At least one of the two is a key.

From a path to a key it is put, from a key to a path it is get, with all that they promise. From key to
key the object passes through here, in a stream, with its content type and its metadata. Where DST ends
in "/", the name at the end of SRC is put behind it.
` + keyHelp + transferHelp + clientHelp,
		Example: `  tandem cp ./readme.md tandem:docs/readme.md
  tandem cp tandem:docs/readme.md -
  tandem cp tandem:docs/readme.md tandem:docs/readme.old.md
  tandem cp --recursive tandem:www tandem:www.old`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completePathsOr(keysOf(env, keyMark)),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, isFromKey := strings.CutPrefix(args[0], keyMark)
			to, isToKey := strings.CutPrefix(args[1], keyMark)
			switch {
			case isFromKey && isToKey:
				return copyKeys(cmd.Context(), env, flags, reading, writing, from, to)
			case isToKey:
				return upload(cmd.Context(), env, flags, writing, from, to)
			case isFromKey:
				return download(cmd.Context(), env, flags, reading, from, to)
			}
			return fmt.Errorf("neither %q nor %q is a key: one of them has to begin with %q", args[0], args[1], keyMark)
		},
	}
	flags.add(cmd, "copy all below a folder or prefix", defaultRetries)
	reading.add(cmd)
	writing.add(cmd)
	return cmd
}

func copyKeys(ctx context.Context, env environment, flags transferFlags, reading getOptions, writing putOptions, from, to string) error {
	if err := writing.check(flags.isRecursive); err != nil {
		return err
	}
	t, err := newTransfers(env, flags, copying, false)
	if err != nil {
		return err
	}
	if !flags.isRecursive {
		if to == "" || strings.HasSuffix(to, "/") {
			to += lastSegment(from)
		}
		if from == to {
			return fmt.Errorf("%s is the same key twice", plain(from))
		}
		return t.one(ctx, work{from, -1, t.copyKey(from, to, reading, writing)})
	}
	from, to = folder(from), folder(to)
	if strings.HasPrefix(to, from) {
		return fmt.Errorf("%s is below %s: the copies would be copied, without an end", plain(to), plain(from))
	}
	t.isEmptyWrong = true
	return t.all(ctx, t.listed(ctx, from, reading.read(), func(e apiclient.Entry) work {
		return work{e.Key, e.Size, t.copyKey(e.Key, to+strings.TrimPrefix(e.Key, from), reading, writing)}
	}))
}

// copyKey streams an object from one key to another. What is written is one version of it: an object that changes
// meanwhile is not copied.
func (t *transfers) copyKey(from, to string, reading getOptions, writing putOptions) func(context.Context, func(done, size int64)) (any, error) {
	return func(ctx context.Context, progress func(done, size int64)) (any, error) {
		r, err := t.client.Open(ctx, from, "", 0, reading.read())
		if err != nil {
			return nil, err
		}
		t.noteFreshness(plain(from), r.Freshness, r.Region)
		source := r.Object
		written, err := t.client.Put(ctx, to, apiclient.PutInput{
			Header: writing.header("", "", source.StoredHeader()), Size: source.Size, Reopens: source.ETag != "",
			Open: reopened(ctx, t.client, r, reading), Progress: func(sent int64) { progress(sent, source.Size) },
		})
		if err != nil {
			return nil, fmt.Errorf("to %s: %w", plain(to), err)
		}
		if apiclient.IsMD5(source.ETag) && apiclient.IsMD5(written.ETag) && source.ETag != written.ETag && !reading.ignoresChecksum {
			return nil, fmt.Errorf("%w: of %s it is %s, of the copy %s", apiclient.ErrCorrupt, plain(from), source.ETag, written.ETag)
		}
		return uploaded{written, keyMark + from}, nil
	}
}

// reopened gives the object that r is of: r itself at first, and then others of the same ETag.
func reopened(ctx context.Context, c *apiclient.Client, r *apiclient.Reader, options getOptions) func() (io.ReadCloser, error) {
	isFirst, key, etag := true, r.Key, r.ETag
	return func() (io.ReadCloser, error) {
		if isFirst {
			isFirst = false
			return closing{r}, nil
		}
		next, err := c.Open(ctx, key, etag, 0, options.read())
		if errors.Is(err, apiclient.ErrChanged) {
			err = fmt.Errorf("%w; nothing was written", err)
		}
		if err != nil {
			return nil, err
		}
		return closing{next}, nil
	}
}

// closing is a Reader as the transport wants it.
type closing struct{ *apiclient.Reader }

// Close ends the download.
func (c closing) Close() error {
	c.Reader.Close()
	return nil
}
