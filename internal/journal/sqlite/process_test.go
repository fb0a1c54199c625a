package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// childPath names the journal that this program, started by its own test as a
// process of its own, writes to until it is killed.
const childPath = "TANDEM_TEST_JOURNAL_OF_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := writeUntilKilled(path, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeUntilKilled says on out what was acknowledged, once it was.
func writeUntilKilled(path string, out io.Writer) error {
	ctx := context.Background()
	j, err := sqlite.Open(ctx, sqlite.Config{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := j.Attach(ctx, "bucket", []string{"alpha", "beta"}); err != nil {
		return err
	}
	if _, err := j.BeginEpoch(ctx, 0, "alpha"); err != nil {
		return err
	}
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d-%d", w, n)
				id, err := j.Open(ctx, journal.Intent{
					Bucket: "bucket", Key: key, Region: "alpha", Operation: journal.Put, Epoch: 1, DoubtUntil: time.Now().Add(time.Hour),
				})
				if err != nil {
					return
				}
				fmt.Fprintf(out, "open %s %d\n", key, id)
				c, err := j.Commit(ctx, id, journal.Written{ETag: key})
				if err != nil {
					return
				}
				fmt.Fprintf(out, "written %s %s\n", key, c.Version)
				if n%5 == 4 { // leave something to be taken up
					_, _ = j.Claim(ctx, "bucket", "beta", journal.Claim{Limit: 2, Lease: time.Hour, Conditional: true})
				}
			}
		})
	}
	writers.Wait()
	return errors.New("the writers have ended")
}

func TestAKilledProcessLosesNothingAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childPath+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Wait() }()
	defer func() { _ = child.Process.Kill() }()

	written, opened := make(map[string]string), make(map[string]bool)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			break // the last line was cut short
		}
		if f[0] == "open" {
			opened[f[1]] = true
			continue
		}
		written[f[1]] = f[2]
		if len(written) == 100 {
			_, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: slog.New(slog.DiscardHandler)})
			if !errors.Is(err, sqlite.ErrLocked) {
				t.Errorf("while another process has it: got %v, want ErrLocked", err)
			}
		}
		if len(written) == 300 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait()
	if len(written) < 300 {
		t.Fatalf("the child wrote %d keys and ended", len(written))
	}
	checkAfterKill(t, newJournal(t, sqlite.Config{Path: path}), written, opened)
}

func checkAfterKill(t *testing.T, j *sqlite.Journal, written map[string]string, opened map[string]bool) {
	t.Helper()
	versions := make(map[string]bool)
	for key, v := range written {
		o, err := j.Lookup(t.Context(), "bucket", key)
		if err != nil || o.Version.String() != v || o.ETag != key || len(o.Intents) != 0 {
			t.Errorf("%s: got %+v, %v, want version %s", key, o, err, v)
		}
		if versions[v] {
			t.Errorf("version %s was given twice", v)
		}
		versions[v] = true
	}
	for key := range opened {
		o, err := j.Lookup(t.Context(), "bucket", key)
		if err != nil {
			t.Errorf("%s: %v, want it written or in doubt", key, err)
			continue
		}
		for _, i := range o.Intents {
			if !i.InDoubt {
				t.Errorf("%s: got %+v, want it in doubt", key, i)
			}
		}
	}
	lag, err := j.Lag(t.Context(), "bucket", "beta")
	if err != nil || lag.Keys < int64(len(written)) {
		t.Errorf("got %+v, %v, want every key pending", lag, err)
	}
	// A claim of an hour ended with its process.
	tasks, err := j.Claim(t.Context(), "bucket", "beta", journal.Claim{Limit: int(lag.Keys) + 1, Lease: time.Hour, Conditional: true})
	if err != nil || len(tasks) != int(lag.Keys) {
		t.Errorf("claimed %d copies, %v, want all %d", len(tasks), err, lag.Keys)
	}
}
