package sqlite_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

func TestAFullDiskRefusesWritesAndLosesNone(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	begun, err := open(t, j, "begun before")
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlite.FillDisk(j); err != nil {
		t.Fatal(err)
	}
	written := make(map[string]journal.Version)
	refused := ""
	for i := 0; refused == ""; i++ {
		key := strconv.Itoa(i)
		v, err := put(t, j, key)
		switch {
		case err == nil && i < 10_000:
			written[key] = v
		case errors.Is(err, journal.ErrUnavailable):
			refused = key
		default:
			t.Fatalf("put %d: got %v, want ErrUnavailable once the disk is full", i, err)
		}
	}
	for n := range 200 { // what little room is left goes to the smallest change
		if _, err = open(t, j, "small "+strconv.Itoa(n)); err != nil {
			break
		}
	}
	if !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("an intent on the full disk: got %v, want ErrUnavailable", err)
	}
	if o, err := j.Lookup(t.Context(), "bucket", refused); err == nil && !o.Version.IsZero() {
		t.Errorf("the refused write is there: %+v", o)
	}
	if _, err := j.State(t.Context()); err != nil {
		t.Errorf("the state on a full disk: %v", err)
	}

	if err := sqlite.FreeDisk(j); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Commit(t.Context(), begun, journal.Written{ETag: "a"}); err != nil {
		t.Errorf("the write that was begun before: %v", err)
	}
	v, err := put(t, j, "after")
	if err != nil {
		t.Fatal(err)
	}
	for key, w := range written {
		if o, err := j.Lookup(t.Context(), "bucket", key); err != nil || o.Version != w || v.Compare(w) <= 0 {
			t.Errorf("%s: got %+v, %v, want version %v, before %v", key, o, err, w, v)
		}
	}
}

func TestACommitOfUnknownOutcomeLeavesWhatIsOnDisk(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	first, err := put(t, j, "k")
	if err != nil {
		t.Fatal(err)
	}
	before, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := open(t, j, "k")
	if err != nil {
		t.Fatal(err)
	}

	if err := sqlite.FailCommits(j, 3); err != nil {
		t.Fatal(err)
	}
	unknown := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, journal.ErrUnknown) || errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnknown", what, err)
		}
	}
	_, err = j.BeginEpoch(t.Context(), 1, "beta")
	unknown("begin an epoch", err)
	_, err = j.Commit(t.Context(), id, journal.Written{ETag: "b"})
	unknown("commit", err)
	unknown("attach", j.Attach(t.Context(), "bucket", []string{"gamma"}))

	if state, err := j.State(t.Context()); err != nil || state != before {
		t.Errorf("got %+v, %v, want %+v as on disk", state, err, before)
	}
	c, err := j.Commit(t.Context(), id, journal.Written{ETag: "b"})
	if err != nil || c.Version.Sequence != first.Sequence+1 {
		t.Errorf("got %+v, %v, want the sequence after %v", c, err, first)
	}
	o, err := j.Lookup(t.Context(), "bucket", "k")
	if err != nil || len(o.Copies) != 2 || o.ETag != "b" {
		t.Errorf("got %+v, %v, want copies in the two regions that are attached", o, err)
	}
}
