package sqlite_test

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// offline reads a chain as it is stored.
func offline(t *testing.T, path string) (id string, links []audit.Linked) {
	t.Helper()
	err := sqlite.ReadAudit(t.Context(), path, func(journalID string, entries iter.Seq2[audit.Linked, error]) error {
		id = journalID
		for l, err := range entries {
			if err != nil {
				return err
			}
			links = append(links, l)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, links
}

func TestTheChainIsReadOfflineWhileTheJournalIsOpenAndAfter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal of ours?.db")
	j := newWritable(t, sqlite.Config{Path: path})
	for _, key := range []string{"a", "größe", "b\x00\xff"} {
		if _, err := put(t, j, key); err != nil {
			t.Fatal(err)
		}
	}
	want, err := j.AuditEntries(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	state, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		id, got := offline(t, path)
		if id != state.JournalID {
			t.Errorf("%s: got journal %q, want %q", when, id, state.JournalID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: entries differ (-journal +offline):\n%s", when, diff)
		}
	}
	check("while it is open")

	// As a process that is killed leaves it: all in the -wal.
	crashed := filepath.Join(t.TempDir(), "journal.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := path
	path = crashed
	check("after a crash")
	path = open

	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check("after it was closed")
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("reading changed the file")
	}
}

// A reader sees one moment, however long it takes, and holds no writer up.
func TestWritesGoOnWhileTheChainIsReadOffline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := newWritable(t, sqlite.Config{Path: path})
	if _, err := put(t, j, "before"); err != nil {
		t.Fatal(err)
	}
	size, _, err := j.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = sqlite.ReadAudit(t.Context(), path, func(_ string, entries iter.Seq2[audit.Linked, error]) error {
		n := int64(0)
		for _, err := range entries {
			if err != nil {
				return err
			}
			if _, err := put(t, j, "meanwhile"); err != nil {
				return err
			}
			n++
		}
		if n != size {
			t.Errorf("got %d entries, want the %d of the moment at which it began", n, size)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadingOfflineMakesNoJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	unused := func(string, iter.Seq2[audit.Linked, error]) error {
		t.Error("got a chain of no journal")
		return nil
	}
	if err := sqlite.ReadAudit(t.Context(), path, unused); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want that it does not exist", err)
	}
	if err := os.WriteFile(path, []byte("something else entirely"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.ReadAudit(t.Context(), path, unused); err == nil {
		t.Error("got no error of a file that is no journal")
	}
	enough := errors.New("enough")
	path = filepath.Join(t.TempDir(), "journal.db")
	newWritable(t, sqlite.Config{Path: path})
	if err := sqlite.ReadAudit(t.Context(), path, func(string, iter.Seq2[audit.Linked, error]) error { return enough }); err != enough {
		t.Errorf("got error %v, want the one that was returned", err)
	}
}
