package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// watchInterval is how often --watch asks.
const watchInterval = 2 * time.Second

func newStats(env environment) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what a running gateway did, by region and for its journal",
		Long: `Show what a running gateway did since it started, and in the last minute, hour and day: for each
region what it was asked and how far it is behind, and the rows, sizes and commits of the journal.

  reads, writes, deletes, listings  of clients, that were taken to the region
  fallbacks  reads and listings of them that it answered, or finished, in the active's place
  copies     objects and deletes brought to the region, repairs included
  repairs    what the region had to be given back while it was the active
  requests   everything that was sent to it but probes; errors are those without an answer, or with a 5xx
  sent       bytes of objects that went to the region; received: that came from it
` + clientHelp,
		Example: `  tandem stats
  tandem stats --watch
  tandem stats --json --watch`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := func(ctx context.Context, w io.Writer) error { return showStats(ctx, env, w, asJSON) }
			if watch {
				return watchStats(cmd.Context(), env, show)
			}
			return show(cmd.Context(), env.stdout)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the gateway's JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it every two seconds: in place on a terminal, else one after the other")
	return cmd
}

func showStats(ctx context.Context, env environment, w io.Writer, asJSON bool) error {
	data, err := newClient(env).get(ctx, "/admin/stats")
	if err != nil {
		return err
	}
	if asJSON {
		_, err := w.Write(data)
		return failed(err)
	}
	var s statsAnswer
	if err := parse(data, &s); err != nil {
		return err
	}
	return failed(s.print(w))
}

// watchStats shows it until ctx ends, which is no failure. The first answer has to come; after that a gateway that
// restarts is waited for.
func watchStats(ctx context.Context, env environment, show func(context.Context, io.Writer) error) error {
	terminal := asTerminal(env.stdout)
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for first := true; ; first = false {
		var text bytes.Buffer
		err := show(ctx, &text)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			text.Reset()
			fmt.Fprintln(&text, "tandem:", err)
		}
		shown := text.Bytes()
		if terminal != nil {
			_, height, err := term.GetSize(int(terminal.Fd()))
			if err != nil {
				return failed(fmt.Errorf("read the size of the terminal: %w", err))
			}
			shown = frame(shown, height)
		}
		if _, err := env.stdout.Write(shown); err != nil {
			return failed(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// frame draws text over what a terminal of that height shows, without clearing that first, for it would flicker.
func frame(text []byte, height int) []byte {
	const home, toEndOfLine, toEndOfScreen = "\x1b[H", "\x1b[K", "\x1b[J"
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if room := height - 1; len(lines) > room && room > 0 { // the cursor takes the last
		lines = append(lines[:room-1:room-1], fmt.Appendf(nil, "(%d more lines: make the window taller)", len(lines)-room+1))
	}
	drawn := []byte(home)
	for _, line := range lines {
		drawn = append(append(drawn, line...), toEndOfLine+"\n"...)
	}
	return append(drawn, toEndOfScreen...)
}

// perWindow is one value for each window.
type perWindow[T any] struct{ SinceStart, LastMinute, LastHour, LastDay T }

// cells are the columns of a table, in the order of statsHeading.
func (p perWindow[T]) cells(format func(T) string) string {
	return format(p.LastMinute) + "\t" + format(p.LastHour) + "\t" + format(p.LastDay) + "\t" + format(p.SinceStart)
}

const statsHeading = "LAST MINUTE\tLAST HOUR\tLAST DAY\tSINCE START"

// statsAnswer is what GET /admin/stats answers.
type statsAnswer struct {
	StartedAt string
	Seconds   perWindow[float64]
	CountedAt *string
	Regions   []regionStatsAnswer
	Journal   struct {
		Commits, Changes, FailedCommits perWindow[int64]
		CommitsPerSecond                perWindow[float64]
		ChangesPerCommit                perWindow[*float64]
		Rows                            *struct {
			Objects, PendingCopies, OpenIntents, IntentsInDoubt, OpenLedger, OpenConflicts, AuditEntries int64
		}
		DatabaseBytes, WALBytes *int64
	}
}

type regionStatsAnswer struct {
	Name, Role                                 string
	Reads, Writes, Deletes, Listings           perWindow[int64]
	Fallbacks, Copies, FailedCopies, Repairs   perWindow[int64]
	Requests, Errors, SentBytes, ReceivedBytes perWindow[int64]
	Lag                                        *struct {
		Keys, Bytes, Failing, Unreplicable int64
		Seconds                            *float64
	}
}

func (s *statsAnswer) print(w io.Writer) error {
	fmt.Fprintf(w, "since %s (%s)\n", s.StartedAt, time.Duration(s.Seconds.SinceStart*float64(time.Second)).Round(time.Second))
	for _, r := range s.Regions {
		if err := r.print(w); err != nil {
			return err
		}
	}
	return s.printJournal(w)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func (r *regionStatsAnswer) print(w io.Writer) error {
	lag := "lag not known: the journal cannot be read"
	if r.Lag != nil {
		behind := "unknown (never compared)"
		if r.Lag.Seconds != nil {
			behind = formatSeconds(*r.Lag.Seconds)
		}
		lag = fmt.Sprintf("lag %s, %s pending, %s", behind, count(r.Lag.Keys, "key", "keys"), formatBytes(r.Lag.Bytes))
		if r.Lag.Failing > 0 {
			lag += fmt.Sprintf(", %d failing", r.Lag.Failing)
		}
		if r.Lag.Unreplicable > 0 {
			lag += fmt.Sprintf(", %d unreplicable", r.Lag.Unreplicable)
		}
	}
	fmt.Fprintf(w, "\n%s (%s): %s\n", r.Name, r.Role, lag)
	t := newTable(w)
	fmt.Fprintln(t, "\t"+statsHeading)
	for _, row := range []struct {
		name   string
		values perWindow[int64]
		format func(int64) string
	}{
		{"reads", r.Reads, decimal}, {"writes", r.Writes, decimal}, {"deletes", r.Deletes, decimal}, {"listings", r.Listings, decimal},
		{"fallbacks", r.Fallbacks, decimal}, {"copies", r.Copies, decimal}, {"failed copies", r.FailedCopies, decimal}, {"repairs", r.Repairs, decimal},
		{"requests", r.Requests, decimal}, {"errors", r.Errors, decimal}, {"sent", r.SentBytes, formatBytes}, {"received", r.ReceivedBytes, formatBytes},
	} {
		fmt.Fprintf(t, "%s\t%s\n", row.name, row.values.cells(row.format))
	}
	return t.Flush()
}

func (s *statsAnswer) printJournal(w io.Writer) error {
	j := &s.Journal
	if j.Rows == nil {
		fmt.Fprint(w, "\njournal: it cannot be read, so its rows are not known; the gateway's log says why\n")
	} else {
		fmt.Fprintf(w, "\njournal: %s and %s of WAL\n", formatSize(j.DatabaseBytes), formatSize(j.WALBytes))
	}
	t := newTable(w)
	fmt.Fprintln(t, "\t"+statsHeading)
	fmt.Fprintf(t, "commits\t%s\n", j.Commits.cells(decimal))
	fmt.Fprintf(t, "commits/s\t%s\n", j.CommitsPerSecond.cells(func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }))
	fmt.Fprintf(t, "changes\t%s\n", j.Changes.cells(decimal))
	fmt.Fprintf(t, "changes/commit\t%s\n", j.ChangesPerCommit.cells(func(x *float64) string {
		if x == nil {
			return "-"
		}
		return strconv.FormatFloat(*x, 'f', 2, 64)
	}))
	fmt.Fprintf(t, "failed commits\t%s\n", j.FailedCommits.cells(decimal))
	if err := t.Flush(); err != nil || j.Rows == nil {
		return err
	}
	fmt.Fprintf(w, "\nrows, counted at %s\n", orDash(s.CountedAt))
	t = newTable(w)
	for _, row := range []struct {
		name string
		n    int64
	}{
		{"objects", j.Rows.Objects}, {"copies pending", j.Rows.PendingCopies}, {"intents open", j.Rows.OpenIntents}, {"intents in doubt", j.Rows.IntentsInDoubt},
		{"ledger entries open", j.Rows.OpenLedger}, {"conflicts open", j.Rows.OpenConflicts}, {"audit entries", j.Rows.AuditEntries},
	} {
		fmt.Fprintf(t, "%s\t%d\n", row.name, row.n)
	}
	return t.Flush()
}

// formatSize is a size that may not be known.
func formatSize(n *int64) string {
	if n == nil {
		return "an unknown size"
	}
	return formatBytes(*n)
}
