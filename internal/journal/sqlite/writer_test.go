package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// until gives the other goroutines the processor until f is true.
func until(t *testing.T, f func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatal("20 s are over")
		}
	}
}

func TestReadsDoNotWaitForTheWriter(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	v, err := put(t, j, "k")
	if err != nil {
		t.Fatal(err)
	}
	release := sqlite.Hold(j)
	defer release()
	ctx := t.Context()
	if o, err := j.Lookup(ctx, "bucket", "k"); err != nil || o.Version != v {
		t.Errorf("lookup: got %+v, %v", o, err)
	}
	if rows, err := j.Differing(ctx, "bucket", "beta", "", "", 10); err != nil || len(rows) != 1 {
		t.Errorf("differing: got %+v, %v", rows, err)
	}
	if rows, err := j.Unsettled(ctx, "bucket", "", 10); err != nil || len(rows) != 0 {
		t.Errorf("unsettled: got %+v, %v", rows, err)
	}
	if l, err := j.Lag(ctx, "bucket", "beta"); err != nil || l.Keys != 1 {
		t.Errorf("lag: got %+v, %v", l, err)
	}
	if due, err := j.NextDue(ctx, "bucket", "beta"); err != nil || due.IsZero() {
		t.Errorf("next due: got %v, %v", due, err)
	}
}

func TestACancelledContextChangesNothing(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the client left")
	cancel(cause)
	for range 20 {
		_, err := j.Open(ctx, journal.Intent{Bucket: "bucket", Key: "k", Region: "alpha", Operation: journal.Put, Epoch: 1})
		if !errors.Is(err, journal.ErrUnavailable) || !errors.Is(err, cause) {
			t.Fatalf("got %v, want ErrUnavailable and the cause", err)
		}
	}
	if o, err := j.Lookup(t.Context(), "bucket", "k"); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("got %+v, %v, want nothing", o, err)
	}
}

func TestAContextBoundsTheWaitForAPlaceAndNoMore(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	release := sqlite.Hold(j)
	ctx, cancel := context.WithCancel(t.Context())
	taken := make(chan error)
	go func() {
		_, err := j.Open(ctx, journal.Intent{Bucket: "bucket", Key: "taken up", Region: "alpha", Operation: journal.Put, Epoch: 1})
		taken <- err
	}()
	waiting := func(want int) func() bool {
		return func() bool {
			n, _ := sqlite.Waiting(j)
			return n >= want
		}
	}
	until(t, waiting(1))
	_, limit := sqlite.Waiting(j)
	var others sync.WaitGroup
	for range limit - 1 {
		others.Go(func() {
			if _, err := j.State(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, waiting(limit))
	late := make(chan error)
	go func() {
		_, err := j.Open(ctx, journal.Intent{Bucket: "bucket", Key: "too late", Region: "alpha", Operation: journal.Put, Epoch: 1})
		late <- err
	}()
	cancel()
	if err := <-late; !errors.Is(err, journal.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("without a place: got %v, want ErrUnavailable", err)
	}
	release()
	if err := <-taken; err != nil {
		t.Errorf("taken up before: %v", err)
	}
	others.Wait()
}

func TestCloseCarriesThroughWhatWasTakenUp(t *testing.T) {
	j := newWritable(t, sqlite.Config{Path: t.TempDir() + "/journal.db"})
	release := sqlite.Hold(j)
	const changes = 10
	results := make(chan error, changes)
	for i := range changes {
		go func() {
			_, err := open(t, j, strconv.Itoa(i))
			results <- err
		}()
	}
	until(t, func() bool {
		n, _ := sqlite.Waiting(j)
		return n == changes
	})
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	release()
	for range changes {
		if err := <-results; err != nil {
			t.Errorf("taken up before Close: %v", err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestAttachFillsInAnyNumberOfKeys(t *testing.T) {
	const keys = 6001
	path := t.TempDir() + "/journal.db"
	j := newWritable(t, sqlite.Config{Path: path})
	if err := sqlite.AddObjects(j, "bucket", keys); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.AttachPartly(j, "bucket", "gamma"); err != nil {
		t.Fatal(err)
	}
	if l, err := j.Lag(t.Context(), "bucket", "gamma"); err != nil || l.Keys == 0 || l.Keys == keys {
		t.Errorf("got %+v, %v, want part of the keys", l, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = newJournal(t, sqlite.Config{Path: path})
	if err := j.Attach(t.Context(), "bucket", []string{"gamma", "delta"}); err != nil {
		t.Fatal(err)
	}
	for _, region := range []string{"gamma", "delta"} {
		if l, err := j.Lag(t.Context(), "bucket", region); err != nil || l.Keys != keys {
			t.Errorf("%s: got %+v, %v, want %d keys", region, l, err, keys)
		}
	}
	last, err := j.Lookup(t.Context(), "bucket", fmt.Sprintf("object-%06d", keys-1))
	if err != nil || len(last.Copies) != 2 {
		t.Errorf("got %+v, %v, want copies in both", last, err)
	}
}

// Whoever was told an id may still end it, so nobody else is given it.
func TestAnIDOfAFailedCommitIsNotGivenAgain(t *testing.T) {
	j := newWritable(t, sqlite.Config{Path: t.TempDir() + "/journal.db"})
	if err := sqlite.FailCommits(j, 1); err != nil {
		t.Fatal(err)
	}
	lost, err := open(t, j, "one")
	if !errors.Is(err, journal.ErrUnknown) || lost == 0 {
		t.Fatalf("got %d, %v, want an id of unknown outcome", lost, err)
	}
	id, err := open(t, j, "two")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Abandon(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Commit(t.Context(), id, journal.Written{ETag: "a"}); err != nil {
		t.Errorf("the other's intent: %v", err)
	}
}
