package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const defaultURL = "http://127.0.0.1:8110"

func newStatus(env environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the regions of a running gateway",
		Long: `Show the regions of a running gateway.

TANDEM_URL says where it is (` + defaultURL + `), TANDEM_TOKEN is the admin token where it has one.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := fetch(cmd.Context(), env, "/admin/state")
			if err != nil {
				return err
			}
			if asJSON {
				_, err := env.stdout.Write(data)
				return failed(err)
			}
			return failed(printState(env.stdout, data))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	return cmd
}

// clientTimeout bounds a question to a gateway; maxAnswerBytes its answer.
const (
	clientTimeout  = 15 * time.Second
	maxAnswerBytes = 16 << 20
)

// fetch asks a running gateway.
func fetch(ctx context.Context, env environment, path string) ([]byte, error) {
	base, _ := env.getenv("TANDEM_URL")
	base = strings.TrimSuffix(cmp.Or(base, defaultURL), "/")
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("TANDEM_URL %q is not a URL: %w", base, err)}
	}
	if token, ok := env.getenv("TANDEM_TOKEN"); ok && token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, &exitError{exitUnreachable, fmt.Errorf("no gateway answers at %s (set TANDEM_URL to another): %w", base, err)}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return nil, &exitError{exitUnreachable, fmt.Errorf("read the gateway's answer: %w", err)}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &exitError{exitUnreachable, refusal(resp.Status, data)}
	}
	return data, nil
}

func refusal(status string, data []byte) error {
	var problem struct{ Detail string }
	if json.Unmarshal(data, &problem) != nil || problem.Detail == "" {
		return fmt.Errorf("the gateway answered %s", status)
	}
	return fmt.Errorf("the gateway answered %s: %s", status, problem.Detail)
}

func printState(w io.Writer, data []byte) error {
	var state struct {
		Epoch   int64
		Mode    string
		Regions []struct {
			Name, Role, Endpoint, Bucket string
			Compared                     bool
			Pending                      struct{ Keys, Bytes, Failing, Unreplicable int64 }
			LagSeconds                   *float64
		}
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	fmt.Fprintf(w, "epoch %d, failover mode %s\n", state.Epoch, state.Mode)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REGION\tROLE\tBUCKET\tENDPOINT\tPENDING KEYS\tBYTES\tFAILING\tLAG")
	for _, r := range state.Regions {
		lag := "unknown (never compared)"
		if r.LagSeconds != nil {
			lag = time.Duration(*r.LagSeconds * float64(time.Second)).Round(time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", r.Name, r.Role, r.Bucket, r.Endpoint, r.Pending.Keys, r.Pending.Bytes, r.Pending.Failing, lag)
	}
	return t.Flush()
}
