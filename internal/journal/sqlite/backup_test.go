package sqlite_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

func TestABackupOfAJournalInUseHasAllThatWasAcknowledged(t *testing.T) {
	folder := t.TempDir()
	path, copied := filepath.Join(folder, "journal.db"), filepath.Join(folder, "copy.db")
	j := newWritable(t, sqlite.Config{Path: path})
	rows := make(map[string]*journal.Object)
	for i := range 50 {
		key := strconv.Itoa(i)
		if _, err := put(t, j, key); err != nil {
			t.Fatal(err)
		}
		o, err := j.Lookup(t.Context(), "bucket", key)
		if err != nil {
			t.Fatal(err)
		}
		rows[key] = o
	}
	before, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	done := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if _, err := put(t, j, "meanwhile "+strconv.Itoa(w)+" "+strconv.Itoa(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	err = sqlite.Backup(t.Context(), path, copied)
	close(done)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}

	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info, err)
	}
	c := newJournal(t, sqlite.Config{Path: copied})
	if state, err := c.State(t.Context()); err != nil || state != before {
		t.Errorf("got state %+v, %v, want %+v", state, err, before)
	}
	for key, want := range rows {
		got, err := c.Lookup(t.Context(), "bucket", key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("row of %s in the copy (-want +got):\n%s", key, diff)
		}
	}
	if _, err := put(t, c, "in the copy"); err != nil {
		t.Error(err)
	}
	if _, err := put(t, j, "in the original"); err != nil {
		t.Error(err)
	}
}

func TestABackupOverwritesNothing(t *testing.T) {
	folder := t.TempDir()
	path, taken := filepath.Join(folder, "journal.db"), filepath.Join(folder, "taken")
	newWritable(t, sqlite.Config{Path: path})
	for _, content := range []string{"", "something of somebody's"} {
		if err := os.WriteFile(taken, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := sqlite.Backup(t.Context(), path, taken); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v, want fs.ErrExist", err)
		}
		if got, err := os.ReadFile(taken); err != nil || string(got) != content {
			t.Errorf("the file is %q now, %v", got, err)
		}
	}
	if err := sqlite.Backup(t.Context(), path, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto itself: got %v, want fs.ErrExist", err)
	}
}

func TestABackupThatCannotBeMadeLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	destination := filepath.Join(folder, "copy.db")
	nothingIsLeft := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: it was made", what)
		}
		if _, err := os.Stat(destination); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left: %v", what, err)
		}
	}
	err := sqlite.Backup(t.Context(), filepath.Join(folder, "missing.db"), destination)
	nothingIsLeft("no journal", err)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	letter := filepath.Join(folder, "letter.txt")
	if err := os.WriteFile(letter, []byte(strings.Repeat("This is a letter. ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	nothingIsLeft("no database", sqlite.Backup(t.Context(), letter, destination))
	if err := sqlite.Backup(t.Context(), letter, filepath.Join(folder, "missing", "copy.db")); err == nil {
		t.Error("it was made in a folder that is not there")
	}
}
