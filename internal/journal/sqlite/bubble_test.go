package sqlite_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

func TestLeasesAndRestsEndToTheInstant(t *testing.T) {
	path := t.TempDir() + "/journal.db"
	synctest.Test(t, func(t *testing.T) {
		j := newWritable(t, sqlite.Config{Path: path, RestInterval: 7 * time.Second})
		if _, err := put(t, j, "k"); err != nil {
			t.Fatal(err)
		}
		claim := func(want int) journal.Task {
			t.Helper()
			tasks, err := j.Claim(t.Context(), "bucket", "beta", journal.Claim{Limit: 10, Lease: time.Minute, Conditional: true})
			if err != nil || len(tasks) != want {
				t.Fatalf("claimed %d copies, %v, want %d", len(tasks), err, want)
			}
			return append(tasks, journal.Task{})[0]
		}
		due := func(want time.Time) {
			t.Helper()
			if got, err := j.NextDue(t.Context(), "bucket", "beta"); err != nil || !got.Equal(want) {
				t.Errorf("due at %v, %v, want %v", got, err, want)
			}
		}
		first := claim(1)
		due(time.Now().Add(time.Minute))
		time.Sleep(time.Minute - time.Microsecond)
		claim(0)
		if err := j.Renew(t.Context(), first, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - time.Microsecond)
		claim(0)
		time.Sleep(time.Microsecond)
		second := claim(1)

		if _, err := open(t, j, "k"); err != nil {
			t.Fatal(err)
		}
		if state, err := j.Finish(t.Context(), second, "a"); err != nil || state != journal.Pending {
			t.Fatalf("got %q, %v, want it pending: the key is being written", state, err)
		}
		due(time.Now().Add(7 * time.Second))
		time.Sleep(7*time.Second - time.Microsecond)
		claim(0)
		time.Sleep(time.Microsecond)
		third := claim(1)

		late := &journal.LateCopy{Expects: journal.AnyETag, ETag: "a", Until: time.Now().Add(15 * time.Minute)}
		again := time.Now().Add(3 * time.Second)
		if err := j.Fail(t.Context(), third, journal.Failure{Reason: "no answer", NextTry: again, Late: late}); err != nil {
			t.Fatal(err)
		}
		due(again)
		time.Sleep(3*time.Second - time.Microsecond)
		claim(0)
		time.Sleep(time.Microsecond)
		isLate := func(l journal.LateCopy) bool { return l.ETag == "a" && l.Until.Equal(late.Until) }
		if fourth := claim(1); !slices.ContainsFunc(fourth.Late, isLate) {
			t.Errorf("got late copies %+v, want %+v among them", fourth.Late, late)
		}
	})
}
