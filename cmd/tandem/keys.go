package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// accessKeyAnswer is an access key, as the gateway tells of it.
type accessKeyAnswer struct {
	ID, Name, Role, Source           string
	Buckets, Prefixes                []string
	Enabled, LostSecret              bool
	CreatedAt, RotatedAt, DisabledAt *string
}

// issuedKeyAnswer is one with its secret.
type issuedKeyAnswer struct {
	Key    accessKeyAnswer
	Secret string
}

func newKeys(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list, disable and rotate the access keys of S3 clients",
		Long: `Make, list, disable and rotate the access keys of S3 clients. A change is in force, everywhere and for
presigned URLs too, once the command has ended. The key that the configuration has is listed, and
changed there.
` + clientHelp,
	}
	cmd.AddCommand(newKeysCreate(env), newKeysList(env), newKeysDisable(env), newKeysEnable(env), newKeysRotate(env))
	return cmd
}

func newKeysCreate(env environment) *cobra.Command {
	var wish struct {
		Name     string   `json:"name,omitempty"`
		Role     string   `json:"role"`
		Buckets  []string `json:"buckets,omitempty"`
		Prefixes []string `json:"prefixes,omitempty"`
	}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an access key, and show its secret for the only time",
		Long: `Make an access key, and show its secret for the only time: it goes to standard output, as a file that
AWS's tools read (AWS_SHARED_CREDENTIALS_FILE), and nothing tells it again.

  read-only   reads and lists
  read-write  writes and deletes as well
  admin       the same; what changes buckets will be for this role alone

A key is good for all buckets, or for those that are named; in these for all objects, or for those
whose keys begin with one of the prefixes. The prefix docs is that of docs.old/x too: end it with a
slash. A client with such a key has to list below one of its prefixes.
` + clientHelp,
		Example: `  tandem keys create --name website --role read-only --bucket tandem --prefix site/`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := newClient(env).call(cmd.Context(), http.MethodPost, "/admin/keys", wish)
			if err != nil {
				return err
			}
			return printIssued(env, data, asJSON)
		},
	}
	cmd.Flags().StringVar(&wish.Name, "name", "", "what the key is for, for people")
	cmd.Flags().StringVar(&wish.Role, "role", "read-write", "admin, read-write or read-only")
	cmd.Flags().StringArrayVar(&wish.Buckets, "bucket", nil, "a bucket that it opens, once for each; without it all")
	cmd.Flags().StringArrayVar(&wish.Prefixes, "prefix", nil, "what the keys of objects that it opens begin with, once for each; without it anything")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

// printIssued shows a secret, in the form that AWS's tools read.
func printIssued(env environment, data []byte, asJSON bool) error {
	if asJSON {
		_, err := env.stdout.Write(data)
		return failed(err)
	}
	var issued issuedKeyAnswer
	if err := parse(data, &issued); err != nil {
		return err
	}
	fmt.Fprintln(env.stderr, "the secret is shown here, and never again")
	if !issued.Key.Enabled {
		fmt.Fprintf(env.stderr, "the key is disabled; tandem keys enable %s\n", issued.Key.ID)
	}
	_, err := fmt.Fprintf(env.stdout, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", issued.Key.ID, issued.Secret)
	return failed(err)
}

func newKeysList(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the access keys, without their secrets",
		Long:    "List the access keys, without their secrets.\n" + clientHelp,
		Example: "  tandem keys list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := newClient(env).get(cmd.Context(), "/admin/keys")
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			var list struct{ Keys []accessKeyAnswer }
			if err := parse(data, &list); err != nil {
				return err
			}
			return failed(printKeys(env.stdout, list.Keys))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

func printKeys(w io.Writer, keys []accessKeyAnswer) error {
	t := newTable(w)
	fmt.Fprintln(t, "ID\tNAME\tROLE\tBUCKETS\tPREFIXES\tSTATE\tCREATED\tROTATED\tSOURCE")
	for _, k := range keys {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(k.ID), orDash(&k.Name), plain(k.Role), listed(k.Buckets), listed(k.Prefixes), k.state(),
			orDash(k.CreatedAt), orDash(k.RotatedAt), plain(k.Source))
	}
	return t.Flush()
}

// listed are bounds; none is all.
func listed(bounds []string) string {
	if len(bounds) == 0 {
		return "all"
	}
	var shown []string
	for _, b := range bounds {
		shown = append(shown, plain(b))
	}
	return strings.Join(shown, ",")
}

func (k *accessKeyAnswer) state() string {
	switch {
	case k.LostSecret:
		return "secret lost"
	case !k.Enabled:
		return "disabled"
	}
	return "enabled"
}

func newKeysDisable(env environment) *cobra.Command {
	return keyChange(env, "disable", "Disable an access key: no request is let in by it any more", "disabled %s\n")
}

func newKeysEnable(env environment) *cobra.Command {
	return keyChange(env, "enable", "Enable an access key that was disabled", "enabled %s\n")
}

// keyChange is the command that asks for what its name says.
func keyChange(env environment, name, short, done string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     name + " ID",
		Short:   short,
		Long:    short + ".\n" + clientHelp,
		Example: "  tandem keys " + name + " TANDEMEXAMPLEEXAMPLE",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := newClient(env).call(cmd.Context(), http.MethodPost, keyPath(args[0], name), nil)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			fmt.Fprintf(env.stdout, done, plain(args[0]))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

func keyPath(id, change string) string {
	return "/admin/keys/" + url.PathEscape(id) + "/" + change
}

func newKeysRotate(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Give an access key another secret, and show it for the only time",
		Long: `Give an access key another secret, and show it for the only time. The old one ends at once, with all
that was presigned by it. For clients that may not be interrupted, make a second key, move them, and
disable the first.
` + clientHelp,
		Example: "  tandem keys rotate TANDEMEXAMPLEEXAMPLE",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := newClient(env).call(cmd.Context(), http.MethodPost, keyPath(args[0], "rotate"), nil)
			if err != nil {
				return err
			}
			return printIssued(env, data, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}
