package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

type counted struct{ SinceStart, LastMinute, LastHour, LastDay int64 }

type rates struct{ SinceStart, LastMinute, LastHour, LastDay *float64 }

type regionStats struct {
	Name, Role                                                                                                             string
	Reads, Writes, Deletes, Listings, Fallbacks, Copies, FailedCopies, Repairs, Requests, Errors, SentBytes, ReceivedBytes counted
	Lag                                                                                                                    *struct {
		Keys, Bytes, Failing, Unreplicable int64
		Seconds                            *float64
	}
}

type statistics struct {
	StartedAt string
	Seconds   rates
	CountedAt *string
	Regions   []regionStats
	Journal   struct {
		Commits, Changes, FailedCommits    counted
		CommitsPerSecond, ChangesPerCommit rates
		Rows                               *struct {
			Objects, PendingCopies, OpenIntents, IntentsInDoubt, OpenLedger, OpenConflicts, AuditEntries int64
		}
		DatabaseBytes, WALBytes *int64
	}
}

func (g *rig) stats() statistics {
	g.t.Helper()
	s := decode[statistics](g.t, g.do(http.MethodGet, "/admin/stats", nil))
	for i := range s.Regions {
		r := &s.Regions[i]
		for _, c := range []*counted{
			&r.Reads, &r.Writes, &r.Deletes, &r.Listings, &r.Fallbacks, &r.Copies, &r.FailedCopies, &r.Repairs, &r.Requests, &r.Errors,
			&r.SentBytes, &r.ReceivedBytes,
		} {
			if c.LastMinute > c.LastHour {
				g.t.Errorf("more in the last minute than in the last hour: %+v", r)
			}
			c.LastMinute = 0 // a test may take longer
		}
	}
	return s
}

// times is a count of what happened so often within the hour.
func times(n int64) counted { return counted{SinceStart: n, LastHour: n, LastDay: n} }

func TestStatisticsAreWhatWasDone(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("a", "12345")
	g.put("b", "1234567")
	g.put("a", "123")
	g.remove("b")
	g.awaitConverged()
	g.awaitSettled("a", "b")

	g.wantObject("a", "123")
	g.HEAD("a")
	g.GET("none")
	g.wantObject("a", "123", query("prefer", "replica"))
	g.do(http.MethodGet, "/objects?prefix=a", nil)
	before := g.stats()

	// The active loses a key: the replica answers for it, and it is written back.
	g.A.Remove(bucketA, "a")
	g.wantObject("a", "123", query("repair", "1"))
	g.awaitSettled("a")
	g.awaitConverged()
	// The active is gone for a moment.
	g.A.SetDown(true)
	g.wantObject("a", "123")
	g.do(http.MethodGet, "/objects", nil)
	g.A.SetDown(false)
	// The replica refuses a copy.
	g.B.SetFaults(onKey("PutObject", "c", regiontest.Fault{Code: "AccessDenied"}))
	g.put("c", "waiting")
	var got statistics
	g.eventually(func() error {
		got = g.stats()
		if got.Regions[0].Copies.SinceStart == 0 {
			return errors.New("the repair is not counted as a copy yet")
		}
		if lag := got.Regions[1].Lag; got.Regions[1].FailedCopies.SinceStart == 0 || lag == nil || lag.Keys != 1 || lag.Failing != 1 {
			return fmt.Errorf("no copy has failed, or it is not counted yet: %+v, lag %+v", got.Regions[1], lag)
		}
		return nil
	})

	type known struct{ Reads, Writes, Deletes, Listings, Fallbacks, Repairs, SentBytes counted }
	of := func(r regionStats) known {
		return known{r.Reads, r.Writes, r.Deletes, r.Listings, r.Fallbacks, r.Repairs, r.SentBytes}
	}
	a, b := got.Regions[0], got.Regions[1]
	if n := before.Regions[0].Reads; n != times(3) {
		t.Errorf("after a GET, a HEAD and a GET of nothing: got %+v reads in the active, want three", n)
	}
	// Then one that found the object lost, which asks again once the index was asked, and one without an answer.
	if diff := cmp.Diff(known{
		Reads: times(6), Writes: times(4), Deletes: times(1), Listings: times(2), Repairs: times(1),
		SentBytes: times(5 + 7 + 3 + 3 + 7), // four writes and a repair
	}, of(a)); diff != "" {
		t.Errorf("the active (-want +got):\n%s", diff)
	}
	wantB := of(b)
	wantB.Reads, wantB.Listings, wantB.Fallbacks = times(3), times(1), times(3) // preferred, and two in the active's place; and a listing
	wantB.Writes, wantB.Deletes, wantB.Repairs = counted{}, counted{}, counted{}
	if diff := cmp.Diff(wantB, of(b)); diff != "" {
		t.Errorf("the replica (-want +got):\n%s", diff)
	}
	if a.Name != "primary" || a.Role != "active" || b.Name != "secondary" || b.Role != "replica" {
		t.Errorf("got %s %s, %s %s", a.Name, a.Role, b.Name, b.Role)
	}
	// Of two writes of a key there may have been one copy.
	if n := b.Copies.SinceStart; n < 2 || n > 4 || b.Copies != times(n) {
		t.Errorf("got %+v copies to the replica, want one of each key, and four at most", b.Copies)
	}
	if a.Copies != times(1) || a.Repairs != times(1) {
		t.Errorf("got %+v copies to the active, of which %+v were repairs, want one of one", a.Copies, a.Repairs)
	}
	if a.Errors.SinceStart < 2 || a.Requests.SinceStart <= a.Errors.SinceStart || b.Errors != (counted{}) {
		t.Errorf("got %+v requests and %+v errors in the active, %+v in the replica, want the active's two at least", a.Requests, a.Errors, b.Errors)
	}
	if got.CountedAt == nil || a.Lag.Seconds == nil || *a.Lag.Seconds != 0 || b.Lag.Seconds == nil || *b.Lag.Seconds <= 0 || b.Lag.Bytes != 7 {
		t.Errorf("got lags %+v and %+v", a.Lag, b.Lag)
	}

	j := got.Journal
	if j.Rows == nil || j.Rows.Objects != 3 || j.Rows.PendingCopies != 1 || j.Rows.OpenIntents != 0 || j.Rows.AuditEntries == 0 ||
		j.DatabaseBytes == nil || *j.DatabaseBytes == 0 || j.WALBytes == nil || *j.WALBytes == 0 {
		t.Errorf("got rows %+v of %v and %v bytes, want three keys, one of which waits", j.Rows, j.DatabaseBytes, j.WALBytes)
	}
	if j.Commits.SinceStart == 0 || j.Changes.SinceStart < j.Commits.SinceStart || *j.ChangesPerCommit.SinceStart < 1 || *j.CommitsPerSecond.SinceStart <= 0 {
		t.Errorf("got %+v", j)
	}
}

// What /metrics and /admin/stats say comes from the same counters.
func TestStatisticsAgreeWithMetrics(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, key := range []string{"a", "b", "c"} {
		g.put(key, strings.Repeat(key, 100<<10))
		g.GET(key)
	}
	g.awaitConverged()
	g.eventually(func() error { // what runs in the background may count between the two
		metrics, s := g.scrape(), g.stats()
		for series, want := range map[string]int64{
			`tandem_region_operations_total{op="write",region="primary"}`: s.Regions[0].Writes.SinceStart,
			`tandem_region_operations_total{op="read",region="primary"}`:  s.Regions[0].Reads.SinceStart,
			`tandem_region_sent_bytes_total{region="primary"}`:            s.Regions[0].SentBytes.SinceStart,
			`tandem_region_sent_bytes_total{region="secondary"}`:          s.Regions[1].SentBytes.SinceStart,
			`tandem_region_received_bytes_total{region="primary"}`:        s.Regions[0].ReceivedBytes.SinceStart,
			`tandem_copies_total{outcome="current",region="secondary"}`:   s.Regions[1].Copies.SinceStart,
			`tandem_journal_commits_total{}`:                              s.Journal.Commits.SinceStart,
			`tandem_journal_changes_total{}`:                              s.Journal.Changes.SinceStart,
		} {
			if got := parseMetric(metrics[series]); got != want || want == 0 {
				return fmt.Errorf("%s is %s, and the statistics say %d", series, metrics[series], want)
			}
		}
		return nil
	})
	if got := g.stats().Regions[1]; got.SentBytes != times(3*100<<10) || got.ReceivedBytes != (counted{}) {
		t.Errorf("replica: got %+v bytes sent and %+v received, want three objects and none: marks and probes are not counted", got.SentBytes, got.ReceivedBytes)
	}
	if got := g.stats().Regions[0]; got.SentBytes != times(3*100<<10) || got.ReceivedBytes != times(2*3*100<<10) {
		t.Errorf("active: got %+v bytes sent and %+v received, want three objects, and these twice: read and copied", got.SentBytes, got.ReceivedBytes)
	}
}

func parseMetric(text string) int64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return -1
	}
	return int64(n)
}
