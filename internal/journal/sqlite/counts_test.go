package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

func TestCountsAreThoseOfTheRows(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	for _, key := range []string{"a", "b", "a"} {
		if _, err := put(t, j, key); err != nil {
			t.Fatal(err)
		}
	}
	var open []int64
	for range 3 {
		id, err := j.Open(t.Context(), journal.Intent{Bucket: "bucket", Key: "c", Region: "alpha", Operation: journal.Put, Epoch: 1})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, id)
	}
	if err := j.Doubt(t.Context(), open[0], time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := j.Abandon(t.Context(), open[1]); err != nil {
		t.Fatal(err)
	}
	entries, err := j.AuditEntries(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	got, err := j.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.DatabaseBytes == 0 || got.WALBytes == 0 {
		t.Errorf("got files of %d and %d bytes, want more", got.DatabaseBytes, got.WALBytes)
	}
	got.DatabaseBytes, got.WALBytes = 0, 0
	want := journal.Counts{Objects: 2, Pending: 2, Intents: 2, InDoubt: 1, Audit: int64(len(entries))}
	if got != want || want.Audit == 0 {
		t.Errorf("got %+v, want %+v", got, want)
	}

	// A promotion puts both keys at risk, and one of them is written again.
	if _, err := j.Promote(t.Context(), journal.Promotion{After: 1, Region: "beta"}); err != nil {
		t.Fatal(err)
	}
	id, err := j.Open(t.Context(), journal.Intent{Bucket: "bucket", Key: "a", Region: "beta", Operation: journal.Put, Epoch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Commit(t.Context(), id, journal.Written{ETag: "of another write"}); err != nil {
		t.Fatal(err)
	}
	got, err = j.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Conflicts != 1 || got.Ledger == 0 {
		t.Errorf("after a promotion and a write that never saw the one at risk: got %+v, want 1 conflict and an open ledger", got)
	}
}

// BenchmarkCounts is what the statistics ask, with as many keys, none of whose copies is made.
func BenchmarkCounts(b *testing.B) {
	for _, keys := range []int{100_000, 1_000_000} {
		j := newWritable(b, sqlite.Config{})
		if err := sqlite.AddWrites(j, "bucket", keys); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("counts/%d", keys), func(b *testing.B) {
			for b.Loop() {
				if c, err := j.Counts(b.Context()); err != nil || c.Objects != int64(keys) || c.Pending != int64(keys) {
					b.Fatalf("got %+v, %v", c, err)
				}
			}
		})
		b.Run(fmt.Sprintf("lag/%d", keys), func(b *testing.B) {
			for b.Loop() {
				if _, err := j.Lag(b.Context(), "bucket", "beta"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
