package sqlite_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestOneOwnerAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := newJournal(t, sqlite.Config{Path: path})
	if _, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: discard()}); !errors.Is(err, sqlite.ErrLocked) {
		t.Errorf("opened twice: got %v, want ErrLocked", err)
	}
	if _, err := j.State(t.Context()); err != nil {
		t.Errorf("the first after the second was refused: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	newJournal(t, sqlite.Config{Path: path})
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "journal.db")
	newWritable(t, sqlite.Config{Path: path})
	for name, want := range map[string]os.FileMode{"": 0o600, "-wal": 0o600, "-shm": 0o600, ".lock": 0o600, "/..": 0o700} {
		name := filepath.Clean(path + name)
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestCloseLeavesOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := newWritable(t, sqlite.Config{Path: path})
	if _, err := put(t, j, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Lookup(t.Context(), "bucket", "k"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the write-ahead log is still there: %v", err)
	}
	if _, err := put(t, j, "k"); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("a write after Close: got %v, want ErrUnavailable", err)
	}
	j = newJournal(t, sqlite.Config{Path: path})
	if o, err := j.Lookup(t.Context(), "bucket", "k"); err != nil || o.Version.IsZero() {
		t.Errorf("after a clean stop: got %+v, %v", o, err)
	}
}

func TestAnyPathWillDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%41&e;f:é", "journal?x=1&_pragma=query_only(1).db")
	j := newWritable(t, sqlite.Config{Path: path})
	if _, err := put(t, j, "k"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("got %v, %v, want the database there", info, err)
	}
	if err := sqlite.Backup(t.Context(), path, path+"?.backup"); err != nil {
		t.Error(err)
	}
}

func TestARelativePathWillDo(t *testing.T) {
	t.Chdir(t.TempDir())
	newWritable(t, sqlite.Config{Path: "journal.db"})
	if _, err := os.Stat("journal.db"); err != nil {
		t.Error(err)
	}
}

func TestAWrongConfigIsRefused(t *testing.T) {
	for _, cfg := range []sqlite.Config{{}, {Path: filepath.Join(t.TempDir(), "journal.db")}, {Logger: discard()}} {
		if _, err := sqlite.Open(t.Context(), cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// refusedTwice checks that a file is refused with a reason, left as it is, and not
// kept locked.
func refusedTwice(t *testing.T, path, reason string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: discard()})
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("got error %v, want one about %q", err, reason)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed (%v)", err)
	}
}

func TestAFileThatIsNotADatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("This is a letter. ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	refusedTwice(t, path, "is it a SQLite file of ours?")
}

func TestANewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := newJournal(t, sqlite.Config{Path: path}).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refusedTwice(t, path, "was written by a newer one")
}

func TestAMigratedFileIsNotMigratedAgain(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	path := filepath.Join(t.TempDir(), "journal.db")
	var ids []string
	for range 2 {
		j, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		state, err := j.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, state.JournalID)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "journal migrated"); n != 6 || ids[0] != ids[1] {
		t.Errorf("%d migrations ran, want each of six once; ids %v:\n%s", n, ids, log.String())
	}
}
