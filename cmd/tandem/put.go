package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
	"github.com/gnew/tandem/internal/s3op"
)

// putOptions are what is stored with an object, and on which condition.
type putOptions struct {
	contentType          string
	metadata             map[string]string
	ifMatch, ifNoneMatch string
}

func (o *putOptions) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.contentType, "content-type", "", "the media type (default: by the file's name)")
	cmd.Flags().StringToStringVar(&o.metadata, "metadata", nil, "NAME=VALUE, stored with the object; may be repeated")
	cmd.Flags().StringVar(&o.ifMatch, "if-match", "", "write only over the object that has this ETag")
	cmd.Flags().StringVar(&o.ifNoneMatch, "if-none-match", "", "with '*': write only where there is no object")
}

// metadataName is what can be the end of a header's name.
var metadataName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (o *putOptions) check(isRecursive bool) error {
	switch {
	case o.ifNoneMatch != "" && o.ifNoneMatch != "*":
		return fmt.Errorf("--if-none-match is %q; allowed: '*'", o.ifNoneMatch)
	case o.ifMatch != "" && isRecursive:
		return errors.New("--if-match is for one object, and --recursive for many")
	case o.ifMatch != "" && o.ifNoneMatch != "":
		return errors.New("--if-match and --if-none-match cannot both hold")
	}
	for _, name := range slices.Sorted(maps.Keys(o.metadata)) {
		value := o.metadata[name]
		if !metadataName.MatchString(name) {
			return fmt.Errorf("--metadata has the name %q; allowed: letters, digits, '-', '_' and '.'", name)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimSpace(value) != value {
			return fmt.Errorf("--metadata %s is %q; allowed: printable ASCII, without spaces at the ends", name, value)
		}
	}
	return nil
}

// header is that of a PUT of a file with this name; stored is what a copy takes along.
func (o *putOptions) header(name, key string, stored http.Header) http.Header {
	h := make(http.Header)
	maps.Copy(h, stored)
	for _, n := range []string{name, key} {
		if h.Get("Content-Type") == "" {
			if byName := mime.TypeByExtension(filepath.Ext(n)); byName != "" {
				h.Set("Content-Type", byName)
			}
		}
	}
	if o.contentType != "" {
		h.Set("Content-Type", o.contentType)
	}
	for name, value := range o.metadata {
		h.Set(s3op.MetadataPrefix+name, value)
	}
	if o.ifMatch != "" {
		h.Set("If-Match", s3op.QuoteETag(s3op.TrimETag(o.ifMatch)))
	}
	if o.ifNoneMatch != "" {
		h.Set("If-None-Match", o.ifNoneMatch)
	}
	return h
}

var uploading = words{"uploading", "uploaded"}

func newPut(env environment) *cobra.Command {
	var flags transferFlags
	var options putOptions
	cmd := &cobra.Command{
		Use:   "put FILE|- [KEY]",
		Short: "Upload a file, a folder or stdin",
		Long: `Upload a file, or stdin where that is "-". Without a KEY, and with one that ends in "/", the file's
name ends the key. A missing answer is not taken for a failure: where the end of the file was sent and
nothing came back, it says so, and does not send it again.

With --recursive, FILE is a folder and KEY a prefix: "tandem put -r site www" makes www/index.html of
site/index.html. A link to a file is that file; a link to a folder is left out, and so is what is no file.
` + keyHelp + transferHelp + clientHelp,
		Example: `  tandem put ./readme.md docs/readme.md
  tar c . | tandem put - backup/today.tar --content-type application/x-tar
  tandem put report.pdf reports/ --metadata author=ada --if-none-match '*'
  tandem put --recursive --parallel 8 site www`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeAt(1, keysOf(env, "")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return upload(cmd.Context(), env, flags, options, args[0], strings.Join(args[1:], ""))
		},
	}
	flags.add(cmd, "upload a folder, below a prefix", defaultRetries)
	options.add(cmd)
	return cmd
}

// upload is put, and cp from a path to a key.
func upload(ctx context.Context, env environment, flags transferFlags, options putOptions, from, key string) error {
	if err := options.check(flags.isRecursive); err != nil {
		return err
	}
	t, err := newTransfers(env, flags, uploading, false)
	if err != nil {
		return err
	}
	switch {
	case flags.isRecursive && from == "-":
		return errors.New("stdin is no folder: --recursive uploads one")
	case flags.isRecursive:
		if info, err := os.Stat(from); err != nil || !info.IsDir() {
			return failed(errors.Join(err, fmt.Errorf("%s is no folder: --recursive uploads one", plain(from))))
		}
		return t.all(ctx, t.uploads(from, folder(key), options))
	case from == "-":
		if key == "" || strings.HasSuffix(key, "/") {
			return fmt.Errorf("the key is %q: what comes from stdin has no name that could end it", key)
		}
		return t.one(ctx, work{key, -1, t.uploadStdin(key, options)})
	}
	if key == "" || strings.HasSuffix(key, "/") {
		key += filepath.Base(from)
	}
	return t.one(ctx, t.upload(from, key, options))
}

// uploaded is the JSON of an upload.
type uploaded struct {
	apiclient.Written
	Source string `json:"source"`
}

func (t *transfers) upload(from, key string, options putOptions) work {
	w := work{key: key, size: -1}
	info, err := os.Stat(from)
	if err == nil && info.Mode().IsRegular() {
		w.size = info.Size()
	}
	w.run = func(ctx context.Context, progress func(done, size int64)) (any, error) {
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			return nil, fmt.Errorf("%s is a folder: --recursive uploads it", plain(from))
		}
		in := apiclient.PutInput{
			Header: options.header(from, key, nil), Size: w.size, Reopens: w.size >= 0,
			Open:     func() (io.ReadCloser, error) { return os.Open(from) },
			Progress: func(sent int64) { progress(sent, w.size) },
		}
		written, err := t.client.Put(ctx, key, in)
		if err != nil {
			return nil, err
		}
		if after, err := os.Stat(from); w.size >= 0 && (err != nil || after.Size() != w.size || !after.ModTime().Equal(info.ModTime())) {
			t.note(fmt.Sprintf("warning: %s was changed while it was sent; upload it again", plain(from)))
		}
		return uploaded{written, from}, nil
	}
	return w
}

func (t *transfers) uploadStdin(key string, options putOptions) func(context.Context, func(done, size int64)) (any, error) {
	return func(ctx context.Context, progress func(done, size int64)) (any, error) {
		written, err := t.client.Put(ctx, key, apiclient.PutInput{
			Header: options.header("", key, nil), Size: -1,
			Open:     func() (io.ReadCloser, error) { return io.NopCloser(t.env.stdin), nil },
			Progress: func(sent int64) { progress(sent, -1) },
		})
		if err != nil {
			return nil, err
		}
		return uploaded{written, "-"}, nil
	}
}

// uploads gives work for each file below a folder.
func (t *transfers) uploads(dir, prefix string, options putOptions) iter.Seq2[work, error] {
	return func(yield func(work, error) bool) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // it ends in what is returned here
			rel, relErr := filepath.Rel(dir, path)
			key := prefix + filepath.ToSlash(rel)
			if err = errors.Join(err, relErr); err != nil {
				if !yield(failing(key, err), nil) {
					return fs.SkipAll
				}
				return nil
			}
			if d.IsDir() {
				return nil
			}
			if why := t.leftOut(path, d); why != "" {
				t.note(fmt.Sprintf("left out: %s: %s", plain(path), why))
				return nil
			}
			if !yield(t.upload(path, key, options), nil) {
				return fs.SkipAll
			}
			return nil
		})
	}
}

// leftOut says why a file of a folder is not uploaded, "" where it is.
func (t *transfers) leftOut(path string, d fs.DirEntry) string {
	switch mode := d.Type(); {
	case apiclient.IsPart(d.Name()):
		return "a download under way"
	case mode&fs.ModeSymlink != 0:
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return "a link to what is no file"
		}
	case !mode.IsRegular():
		return "no file"
	}
	return ""
}

// failing is work that cannot be done.
func failing(key string, err error) work {
	return work{key, -1, func(context.Context, func(done, size int64)) (any, error) { return nil, err }}
}
