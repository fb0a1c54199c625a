package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gnew/tandem/internal/apiclient"
)

func newHead(env environment) *cobra.Command {
	var flags transferFlags
	var allowsStale bool
	cmd := &cobra.Command{
		Use:   "head KEY",
		Short: "Show what is known of an object, without its bytes",
		Long: `Show what is known of an object, without its bytes: size, ETag, content type, metadata, the version and
the region that answered, and how fresh that answer is.
` + keyHelp + clientHelp,
		Example:           "  tandem head docs/readme.md",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeAt(0, keysOf(env, "")),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.parallel = 1
			t, err := newTransfers(env, flags, words{}, true)
			if err != nil {
				return err
			}
			o, err := t.client.Head(cmd.Context(), args[0], apiclient.ReadOptions{AllowStale: allowsStale})
			if err != nil {
				return objectError(err)
			}
			t.noteFreshness(plain(o.Key), o.Freshness, o.Region)
			if flags.asJSON {
				data, err := json.Marshal(describe(&o))
				if err == nil {
					_, err = env.stdout.Write(append(data, '\n'))
				}
				return failed(err)
			}
			return failed(printObject(env.stdout, &o))
		},
	}
	flags.addCommon(cmd, quickRetries)
	addAllowStale(cmd, &allowsStale)
	return cmd
}

// objectJSON is an object as commands print it.
type objectJSON struct {
	Key          string            `json:"key"`
	ETag         string            `json:"etag"`
	Size         int64             `json:"size"`
	ContentType  string            `json:"contentType"`
	LastModified string            `json:"lastModified,omitempty"`
	Version      string            `json:"version,omitempty"`
	Region       string            `json:"region"`
	Freshness    string            `json:"freshness"`
	Fallback     bool              `json:"fallback"`
	Metadata     map[string]string `json:"metadata,omitempty"`
}

func describe(o *apiclient.Object) objectJSON {
	d := objectJSON{
		Key: o.Key, ETag: o.ETag, Size: o.Size, ContentType: o.ContentType, Version: o.Version,
		Region: o.Region, Freshness: o.Freshness, Fallback: o.Fallback, Metadata: o.Metadata(),
	}
	if !o.LastModified.IsZero() {
		d.LastModified = o.LastModified.UTC().Format(jsonTime)
	}
	return d
}

func printObject(w io.Writer, o *apiclient.Object) error {
	d := describe(o)
	t := newTable(w)
	fmt.Fprintf(t, "key\t%s\n", plain(d.Key))
	fmt.Fprintf(t, "size\t%d (%s)\n", d.Size, formatBytes(d.Size))
	fmt.Fprintf(t, "etag\t%s\n", plain(d.ETag))
	fmt.Fprintf(t, "content type\t%s\n", orDash(&d.ContentType))
	fmt.Fprintf(t, "last modified\t%s\n", orDash(&d.LastModified))
	fmt.Fprintf(t, "version\t%s\n", orDash(&d.Version))
	fallback := ""
	if d.Fallback {
		fallback = ", for the active did not answer"
	}
	fmt.Fprintf(t, "region\t%s%s\n", d.Region, fallback)
	fmt.Fprintf(t, "freshness\t%s\n", d.Freshness)
	for _, name := range slices.Sorted(maps.Keys(d.Metadata)) {
		fmt.Fprintf(t, "metadata\t%s=%s\n", plain(name), plain(d.Metadata[name]))
	}
	return t.Flush()
}
