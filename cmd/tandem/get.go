package main

import (
	"cmp"
	"context"
	"crypto/md5" // what S3 makes the ETag of a single PUT from
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

// getOptions choose what a download takes.
type getOptions struct{ allowsStale, ignoresChecksum bool }

func (o *getOptions) add(cmd *cobra.Command) {
	addAllowStale(cmd, &o.allowsStale)
	cmd.Flags().BoolVar(&o.ignoresChecksum, "ignore-checksum", false, "take the bytes although their MD5 is not the ETag")
}

func addAllowStale(cmd *cobra.Command, allowsStale *bool) {
	cmd.Flags().BoolVar(allowsStale, "allow-stale", false, "take an older version rather than none")
}

func (o getOptions) read() apiclient.ReadOptions {
	return apiclient.ReadOptions{AllowStale: o.allowsStale}
}

var downloading = words{"downloading", "downloaded"}

func newGet(env environment) *cobra.Command {
	var flags transferFlags
	var options getOptions
	cmd := &cobra.Command{
		Use:   "get KEY [FILE|DIR/|-]",
		Short: "Download an object, or all below a prefix",
		Long: `Download an object into a file, by default one with the name that ends the key, here; into a
folder; or to stdout, where that is "-". A file that is there is replaced.

The bytes go into FILE` + apiclient.PartSuffix + `, and get the file's name once they are all there, have the size and,
where the ETag is an MD5, the MD5 that they should have, and are on disk. A download that was cut goes
on where it was: by itself, or when it is run again, if the object is still the same.

With --recursive, KEY is a prefix that ends at a "/": "tandem get -r www site" makes site/index.html of
www/index.html. A key that cannot be a path below the folder is reported, and left out.
` + keyHelp + transferHelp + clientHelp,
		Example: `  tandem get docs/readme.md
  tandem get backup/today.tar - | tar t
  tandem get --recursive www site`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeAt(0, keysOf(env, "")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return download(cmd.Context(), env, flags, options, args[0], strings.Join(args[1:], ""))
		},
	}
	flags.add(cmd, "download all below a prefix", defaultRetries)
	options.add(cmd)
	return cmd
}

// download is get, and cp from a key to a path.
func download(ctx context.Context, env environment, flags transferFlags, options getOptions, key, to string) error {
	t, err := newTransfers(env, flags, downloading, to == "-")
	switch {
	case err != nil:
		return err
	case flags.isRecursive && to == "-":
		return errors.New("stdout is no folder: --recursive downloads into one")
	case flags.isRecursive:
		return t.downloadAll(ctx, folder(key), cmp.Or(to, "."), options)
	case to == "-" && flags.asJSON:
		return errors.New("--json would stand among the object's bytes: leave out one of --json and -")
	case to == "-":
		return t.one(ctx, work{key, -1, t.downloadTo(key, env.stdout, options)})
	}
	dir, name, err := target(key, to)
	if err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return t.downloadToDevice(ctx, key, filepath.Join(dir, name), options)
	}
	root, err := makeFolder(dir)
	if err != nil {
		return failed(err)
	}
	defer root.Close()
	return t.one(ctx, work{key, -1, t.download(key, root, name, options)})
}

// target is where an object goes that was asked for by itself.
func target(key, to string) (dir, name string, err error) {
	info, statErr := os.Stat(to)
	if isFolder := to == "" || os.IsPathSeparator(to[len(to)-1]) || statErr == nil && info.IsDir(); !isFolder {
		if named, err := filepath.EvalSymlinks(to); err == nil {
			to = named // what a link leads to is replaced, and not the link
		}
		return filepath.Dir(to), filepath.Base(to), nil
	}
	name = lastSegment(key)
	if !isFileName(name) {
		return "", "", fmt.Errorf("the key %s has no name at its end that a file could have: say which file", plain(key))
	}
	return cmp.Or(to, "."), name, nil
}

// isFileName reports whether a path below a folder means there what it says.
func isFileName(name string) bool {
	return filepath.IsLocal(name) && path.Clean(name) == name && name != "." && !strings.Contains(name, "\x00")
}

func makeFolder(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder: %w", err)
	}
	return root, nil
}

// downloaded is the JSON of a download.
type downloaded struct {
	objectJSON
	File string `json:"file"`
}

func (t *transfers) download(key string, root *os.Root, name string, options getOptions) func(context.Context, func(done, size int64)) (any, error) {
	return func(ctx context.Context, progress func(done, size int64)) (any, error) {
		o, err := t.client.Download(ctx, key, root, name, apiclient.DownloadInput{
			ReadOptions: options.read(), IgnoreChecksum: options.ignoresChecksum, Progress: progress,
		})
		if err != nil {
			return nil, err
		}
		t.noteFreshness(plain(key), o.Freshness, o.Region)
		return downloaded{describe(&o), filepath.Join(root.Name(), name)}, nil
	}
}

func (t *transfers) downloadTo(key string, w io.Writer, options getOptions) func(context.Context, func(done, size int64)) (any, error) {
	return func(ctx context.Context, progress func(done, size int64)) (any, error) {
		r, err := t.client.Open(ctx, key, "", 0, options.read())
		if err != nil {
			return nil, err
		}
		defer r.Close()
		t.noteFreshness(plain(key), r.Freshness, r.Region)
		sum := md5.New()
		if err := streamTo(io.MultiWriter(w, sum), r, r.Size, progress); err != nil {
			return nil, err
		}
		got := hex.EncodeToString(sum.Sum(nil))
		if !options.ignoresChecksum && apiclient.IsMD5(r.ETag) && got != r.ETag {
			return nil, fmt.Errorf("%w: their MD5 is %s, the ETag %s", apiclient.ErrCorrupt, got, r.ETag)
		}
		return downloaded{describe(&r.Object), "-"}, nil
	}
}

// downloadToDevice writes into what cannot be replaced by a file, such as /dev/null or a pipe.
func (t *transfers) downloadToDevice(ctx context.Context, key, name string, options getOptions) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return failed(err)
	}
	err = t.one(ctx, work{key, -1, t.downloadTo(key, f, options)})
	if closing := f.Close(); err == nil {
		err = failed(closing)
	}
	return err
}

func (t *transfers) downloadAll(ctx context.Context, prefix, dir string, options getOptions) error {
	root, err := makeFolder(dir)
	if err != nil {
		return failed(err)
	}
	defer root.Close()
	t.isEmptyWrong = true
	return t.all(ctx, t.downloads(ctx, prefix, root, options))
}

func (t *transfers) downloads(ctx context.Context, prefix string, root *os.Root, options getOptions) iter.Seq2[work, error] {
	return t.listed(ctx, prefix, options.read(), func(e apiclient.Entry) work {
		name := strings.TrimPrefix(e.Key, prefix)
		if e.Size == 0 && (name == "" || strings.HasSuffix(name, "/")) {
			return work{e.Key, 0, makeMarked(root, name)}
		}
		if !isFileName(name) {
			return failing(e.Key, errors.New("it cannot be a path below the folder; download it by itself, into a file with another name"))
		}
		return work{e.Key, e.Size, func(ctx context.Context, progress func(done, size int64)) (any, error) {
			if err := root.MkdirAll(path.Dir(name), 0o777); err != nil {
				return nil, fmt.Errorf("make the folder: %w", err)
			}
			return t.download(e.Key, root, name, options)(ctx, progress)
		}}
	})
}

// makeMarked makes the folder that an empty object with a "/" at its end stands for.
func makeMarked(root *os.Root, name string) func(context.Context, func(done, size int64)) (any, error) {
	return func(context.Context, func(done, size int64)) (any, error) {
		name := strings.TrimSuffix(name, "/")
		if name == "" {
			return nil, nil
		}
		if !isFileName(name) {
			return nil, errors.New("it cannot be a folder below the folder")
		}
		return nil, root.MkdirAll(name, 0o777)
	}
}
