package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// signing is what POST /sign is sent.
type signing struct {
	Op          string `json:"op"`
	Key         string `json:"key"`
	Region      string `json:"region,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	ExpiresSec  *int64 `json:"expiresSec,omitempty"`
}

type signedAnswer struct {
	URL, Method, Region, ExpiresAt string
	Headers                        map[string]string
	Notes                          []string
}

func newSign(env environment) *cobra.Command {
	var s signing
	var expires time.Duration
	var asJSON, asCurl bool
	cmd := &cobra.Command{
		Use:   "sign get|put KEY",
		Short: "Make a presigned URL, with which a client reads or writes an object in a region directly",
		Long: `Make a presigned URL, with which a client without credentials reads or writes one object in a
region directly, past the gateway, until it expires. What is uploaded is noticed, indexed and replicated.

The URL goes to standard output, and what is to be known of it to standard error.
` + keyHelp + clientHelp,
		Example: `  tandem sign get docs/readme.md
  tandem sign put photos/1.jpg --content-type image/jpeg --expires 1h --curl`,
		Args:      cobra.ExactArgs(2),
		ValidArgs: []string{"get", "put"},
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Op, s.Key = args[0], args[1]
			if cmd.Flags().Changed("expires") {
				s.ExpiresSec = new(int64(expires.Round(time.Second) / time.Second))
			}
			c := newClient(env)
			data, err := c.call(cmd.Context(), http.MethodPost, c.inBucket("/sign"), s)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			var a signedAnswer
			if err := parse(data, &a); err != nil {
				return err
			}
			for _, note := range a.Notes {
				fmt.Fprintln(env.stderr, note)
			}
			text := a.URL
			if asCurl {
				text = a.curl()
			} else if len(a.Headers) > 0 {
				fmt.Fprintln(env.stderr, "To be sent with it:", strings.Join(a.headers(), ", "))
			}
			_, err = fmt.Fprintln(env.stdout, text)
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&s.Region, "region", "", "the region it leads to (default: the active)")
	cmd.Flags().StringVar(&s.ContentType, "content-type", "", "the content type that a put has to be sent with")
	cmd.Flags().DurationVar(&expires, "expires", 15*time.Minute, "how long it is good for, 1s to 168h (default: PRESIGN_EXPIRES)")
	cmd.Flags().Lookup("expires").DefValue = ""
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	cmd.Flags().BoolVar(&asCurl, "curl", false, "print a command line of curl's that uses it")
	cmd.MarkFlagsMutuallyExclusive("json", "curl")
	return cmd
}

func (a signedAnswer) headers() (list []string) {
	for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
		list = append(list, name+": "+a.Headers[name])
	}
	return list
}

// curl is a line for a shell. Curl is kept from tidying up the path, which would no longer be what was signed.
func (a signedAnswer) curl() string {
	words := []string{"curl", "--fail", "--path-as-is"}
	if a.Method == http.MethodPut {
		words = append(words, "--upload-file", "FILE")
	}
	for _, h := range a.headers() {
		words = append(words, "--header", quoted(h))
	}
	return strings.Join(append(words, quoted(a.URL)), " ")
}

// quoted is one word of a shell's.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
