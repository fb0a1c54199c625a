package sqlite_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// hotPath is what a gateway does all day.
func hotPath(t *testing.T, j *sqlite.Journal, active, replica string, epoch int64) {
	t.Helper()
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(key string, op journal.Operation) int64 {
		t.Helper()
		id, err := j.Open(ctx, journal.Intent{
			Bucket: "bucket", Key: key, Region: active, Operation: op, Epoch: epoch, OpenedAt: time.Now(), DoubtUntil: time.Now(),
		})
		ok(err)
		return id
	}
	for _, key := range []string{"a", "b", "c"} {
		_, err := j.Commit(ctx, write(key, journal.Put), journal.Written{ETag: key})
		ok(err)
	}
	ok(j.Abandon(ctx, write("d", journal.Put)))
	id := write("c", journal.Delete)
	ok(j.Doubt(ctx, id, time.Time{}))
	o, err := j.Lookup(ctx, "bucket", "c")
	ok(err)
	_, err = j.Settle(ctx, journal.Observation{
		Bucket: "bucket", Key: "c", Region: active, Epoch: epoch, Version: o.Version, Intents: []int64{id}, ReadAt: time.Now().Add(time.Hour),
	})
	ok(err)
	for i := range 3 {
		tasks, err := j.Claim(ctx, "bucket", replica, journal.Claim{Limit: 1, Lease: time.Hour, Conditional: true})
		ok(err)
		if len(tasks) == 0 {
			break
		}
		ok(j.Renew(ctx, tasks[0], time.Hour))
		if i == 0 {
			ok(j.Fail(ctx, tasks[0], journal.Failure{Reason: "no", State: journal.Missing, SourceChanged: true, Late: &journal.LateCopy{}}))
			continue
		}
		_, err = j.Finish(ctx, tasks[0], tasks[0].Object.ETag)
		ok(err)
	}
	o, err = j.Lookup(ctx, "bucket", "b")
	ok(err)
	_, err = j.Request(ctx, "bucket", "b", replica, o.Version)
	ok(err)
	ok(j.MarkMissing(ctx, "bucket", "b", replica, o.Version))
}

// noScan checks that no statement which the writer has run since goes through a whole table or
// index; those that do so on purpose are in allowed.
func noScan(t *testing.T, j *sqlite.Journal, before map[string][]string, allowed ...string) {
	t.Helper()
	plans, err := sqlite.Plans(j)
	if err != nil {
		t.Fatal(err)
	}
	for query, plan := range plans {
		if before[query] != nil {
			continue
		}
		for _, step := range plan {
			isSmall := step == "SCAN CONSTANT ROW" || strings.HasPrefix(step, "SCAN json_each")
			for _, a := range allowed {
				isSmall = isSmall || strings.HasPrefix(step, a)
			}
			if strings.HasPrefix(step, "SCAN") && !isSmall {
				t.Errorf("%s\n%s", query, strings.Join(plan, "\n"))
				break
			}
		}
	}
}

func TestNothingOnTheWayOfAWriteGoesThroughATable(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	before, err := sqlite.Plans(j)
	if err != nil {
		t.Fatal(err)
	}
	hotPath(t, j, "alpha", "beta", 1)
	noScan(t, j, before)
	without, err := sqlite.Plans(j)
	if err != nil {
		t.Fatal(err)
	}
	for query := range without {
		if before[query] == nil && (strings.Contains(query, "ledger") || strings.Contains(query, "conflicts")) {
			t.Errorf("a ledger that has no entries is asked:\n%s", query)
		}
	}

	// With entries and losers, each question is one to an index.
	for _, key := range []string{"x", "y", "b"} {
		if _, err := put(t, j, key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Promote(t.Context(), journal.Promotion{After: 1, Region: "beta"}); err != nil {
		t.Fatal(err)
	}
	before, err = sqlite.Plans(j)
	if err != nil {
		t.Fatal(err)
	}
	// The first that is due in alpha holds a loser, and is not copied.
	id, err := j.Open(t.Context(), journal.Intent{Bucket: "bucket", Key: "x", Region: "beta", Operation: journal.Put, Epoch: 2})
	if err == nil {
		_, err = j.Commit(t.Context(), id, journal.Written{ETag: "x"})
	}
	if err != nil {
		t.Fatal(err)
	}
	hotPath(t, j, "beta", "alpha", 2)
	if conflicts, err := j.Conflicts(t.Context(), 0, 10, false); err != nil || len(conflicts) == 0 {
		t.Fatalf("got %+v, %v, want a conflict", conflicts, err)
	}
	noScan(t, j, before)
}

// A promotion goes through what is behind, and through what is open; never through all keys.
func TestAPromotionGoesThroughWhatIsBehindAlone(t *testing.T) {
	j := newWritable(t, sqlite.Config{})
	for _, key := range []string{"x", "y"} {
		if _, err := put(t, j, key); err != nil {
			t.Fatal(err)
		}
	}
	before, err := sqlite.Plans(j)
	if err != nil {
		t.Fatal(err)
	}
	for epoch, region := range []string{1: "beta", 2: "alpha", 3: "beta"} {
		if region == "" {
			continue
		}
		if _, err := j.Promote(t.Context(), journal.Promotion{After: int64(epoch), Region: region}); err != nil {
			t.Fatal(err)
		}
	}
	noScan(t, j, before,
		"SCAN intents", "SCAN r", "SCAN bucket_regions", "SCAN late_copies", "SCAN copies USING INDEX copies_claimed",
		"SCAN objects USING INDEX objects_unsettled", "SCAN objects USING COVERING INDEX objects_unsettled", "SCAN ledger USING INDEX ledger_")
}
