package sqlite_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/journaltest"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// newJournal opens the file, which is closed when the test ends.
func newJournal(t testing.TB, cfg sqlite.Config) *sqlite.Journal {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	j, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func TestConformance(t *testing.T) {
	type file struct {
		*sqlite.Journal
		path string
	}
	open := func(t *testing.T, path string) journal.Journal {
		return file{newJournal(t, sqlite.Config{Path: path}), path}
	}
	// What is on disk is copied while the first journal still has it open.
	crash := func(t *testing.T, j journal.Journal) journal.Journal {
		path := filepath.Join(t.TempDir(), "journal.db")
		for _, suffix := range []string{"", "-wal"} {
			content, err := os.ReadFile(j.(file).path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+suffix, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return open(t, path)
	}
	// Migrations take most of the time of a test, so they are run once.
	migrated := filepath.Join(t.TempDir(), "journal.db")
	if err := newJournal(t, sqlite.Config{Path: migrated}).Close(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(migrated)
	if err != nil {
		t.Fatal(err)
	}
	journaltest.Run(t, func(t *testing.T) journal.Journal {
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		return open(t, path)
	}, crash)
}
