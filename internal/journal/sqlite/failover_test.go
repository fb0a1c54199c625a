package sqlite_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// change is one of those that keep something in the writer's memory too.
type change struct {
	name string
	// first is what is to be done before it, if anything.
	first func(t *testing.T, j *sqlite.Journal)
	run   func(t *testing.T, j *sqlite.Journal) error
}

// changes are in an order in which each has something to do.
func changes() []change {
	promote := func(after int64, region string) func(*testing.T, *sqlite.Journal) error {
		return func(t *testing.T, j *sqlite.Journal) error {
			_, err := j.Promote(t.Context(), journal.Promotion{After: after, Region: region, Actor: "operator"})
			return err
		}
	}
	var id int64
	open := func(key, region string, epoch int64) func(*testing.T, *sqlite.Journal) {
		return func(t *testing.T, j *sqlite.Journal) {
			var err error
			id, err = j.Open(t.Context(), journal.Intent{
				Bucket: "bucket", Key: key, Region: region, Operation: journal.Put, Epoch: epoch, OpenedAt: time.Now(), DoubtUntil: time.Now(),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	commit := func(t *testing.T, j *sqlite.Journal) error {
		_, err := j.Commit(t.Context(), id, journal.Written{ETag: "etag"})
		return err
	}
	onConflict := func(f func(t *testing.T, j *sqlite.Journal, id int64) error) func(*testing.T, *sqlite.Journal) error {
		return func(t *testing.T, j *sqlite.Journal) error {
			list, err := j.Conflicts(t.Context(), 0, 1, false)
			if err != nil || len(list) != 1 {
				t.Fatalf("got %+v, %v, want a conflict", list, err)
			}
			return f(t, j, list[0].ID)
		}
	}
	return []change{
		{"attach", nil, func(t *testing.T, j *sqlite.Journal) error { return j.Attach(t.Context(), "bucket", []string{"gamma"}) }},
		{"compare", nil, func(t *testing.T, j *sqlite.Journal) error {
			return j.SetCompared(t.Context(), "bucket", []string{"alpha"})
		}},
		{"write", open("k", "alpha", 1), commit},
		{"write another", open("other", "alpha", 1), commit},
		{"promote", nil, promote(1, "beta")},
		{"write over what is at risk", open("k", "beta", 2), commit},
		{"keep", nil, onConflict(func(t *testing.T, j *sqlite.Journal, id int64) error { return j.Keep(t.Context(), id) })},
		{"resolve", nil, onConflict(func(t *testing.T, j *sqlite.Journal, id int64) error {
			return j.Resolve(t.Context(), id, journal.Resolution{Actor: "operator"})
		})},
		{"regress", nil, func(t *testing.T, j *sqlite.Journal) error { return j.Regress(t.Context(), "bucket", "gamma", "older") }},
		{"write over what else is at risk", open("other", "beta", 2), commit},
		{"promote again", nil, promote(2, "alpha")},
		{"detach", nil, func(t *testing.T, j *sqlite.Journal) error {
			return j.Detach(t.Context(), "gamma", "operator", "gone")
		}},
		{"detach another", nil, func(t *testing.T, j *sqlite.Journal) error {
			return j.Detach(t.Context(), "beta", "operator", "gone")
		}},
	}
}

// chain verifies the audit chain, and returns its length.
func chain(t *testing.T, j *sqlite.Journal) int64 {
	t.Helper()
	state, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size, head, err := j.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.AuditEntries(t.Context(), 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(state.JournalID, func(yield func(audit.Linked, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}, nil)
	if err != nil || !report.OK() || report.Entries != size || report.Head != head {
		t.Fatalf("got %+v, %v, want %d entries that verify, with head %v", report, err, size, head)
	}
	return size
}

// remembers checks that the writer knows what is on disk.
func remembers(t *testing.T, j *sqlite.Journal, when string) {
	t.Helper()
	now, onDisk, err := sqlite.Remembered(j)
	if err != nil || now != onDisk {
		t.Fatalf("%s: the writer believes\n%s, and on disk is\n%s (%v)", when, now, onDisk, err)
	}
}

func TestAFailedTransactionLeavesNoEntryAndNoMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := newWritable(t, sqlite.Config{Path: path})
	for _, c := range changes() {
		if c.first != nil {
			c.first(t, j)
		}
		before := chain(t, j)
		if err := sqlite.FailCommits(j, 1); err != nil {
			t.Fatal(err)
		}
		if err := c.run(t, j); !errors.Is(err, journal.ErrUnknown) {
			t.Fatalf("%s: got %v, want ErrUnknown", c.name, err)
		}
		remembers(t, j, c.name+", failed")
		if after := chain(t, j); after != before {
			t.Errorf("%s: %d entries after it failed, %d before", c.name, after, before)
		}
		if err := c.run(t, j); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		remembers(t, j, c.name)
		if after := chain(t, j); after <= before {
			t.Errorf("%s: %d entries after it, %d before", c.name, after, before)
		}
	}
	size := chain(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = newJournal(t, sqlite.Config{Path: path})
	if after := chain(t, j); after != size {
		t.Errorf("%d entries after a restart, %d before", after, size)
	}
}
