package restapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/stats"
)

// activeA has a as its active.
type activeA struct{ restapi.Gateway }

func (activeA) State() gateway.State { return gateway.State{Active: "a", Epoch: 1} }

// report has numbers in each place that differ from those in any other.
func report() stats.Report {
	n := int64(0)
	next := func() stats.Count {
		n += 4
		return stats.Count{SinceStart: n, LastMinute: n - 3, LastHour: n - 2, LastDay: n - 1}
	}
	region := func(name string) stats.Region {
		return stats.Region{
			Name: name, Reads: next(), Writes: next(), Deletes: next(), Listings: next(), Fallbacks: next(), Copies: next(),
			FailedCopies: next(), Repairs: next(), Requests: next(), Errors: next(), SentBytes: next(), ReceivedBytes: next(),
		}
	}
	return stats.Report{
		StartedAt: at, Spans: stats.Spans{SinceStart: 4 * time.Second, LastMinute: time.Second, LastHour: 2 * time.Second, LastDay: 3 * time.Second},
		Regions: []stats.Region{region("a"), region("b")},
		Journal: stats.Journal{
			Commits: stats.Count{SinceStart: 8, LastHour: 1, LastDay: 6}, Changes: stats.Count{SinceStart: 20, LastHour: 1, LastDay: 9},
			FailedCommits: stats.Count{SinceStart: 1},
		},
	}
}

// wanted is what report looks like from outside, with the lag of each region and what the journal holds.
func wanted(countedAt, lagA, lagB, rows, database, wal string) string {
	n := 0
	next := func() string {
		n += 4
		return fmt.Sprintf(`{"sinceStart": %d, "lastMinute": %d, "lastHour": %d, "lastDay": %d}`, n, n-3, n-2, n-1)
	}
	region := func(name, role, lag string) string {
		fields := []string{fmt.Sprintf(`{"name": %q, "role": %q, "lag": %s`, name, role, lag)}
		for _, field := range []string{
			"reads", "writes", "deletes", "listings", "fallbacks", "copies", "failedCopies", "repairs", "requests", "errors", "sentBytes", "receivedBytes",
		} {
			fields = append(fields, fmt.Sprintf(`%q: %s`, field, next()))
		}
		return strings.Join(fields, ", ") + "}"
	}
	return `{"startedAt": "2026-03-01T12:00:00.123Z", "countedAt": ` + countedAt + `,
		"seconds": {"sinceStart": 4, "lastMinute": 1, "lastHour": 2, "lastDay": 3},
		"regions": [` + region("a", "active", lagA) + "," + region("b", "replica", lagB) + `],
		"journal": {
			"commits": {"sinceStart": 8, "lastMinute": 0, "lastHour": 1, "lastDay": 6},
			"commitsPerSecond": {"sinceStart": 2, "lastMinute": 0, "lastHour": 0.5, "lastDay": 2},
			"changes": {"sinceStart": 20, "lastMinute": 0, "lastHour": 1, "lastDay": 9},
			"changesPerCommit": {"sinceStart": 2.5, "lastMinute": null, "lastHour": 1, "lastDay": 1.5},
			"failedCommits": {"sinceStart": 1, "lastMinute": 0, "lastHour": 0, "lastDay": 0},
			"rows": ` + rows + `, "databaseBytes": ` + database + `, "walBytes": ` + wal + `}}`
}

func TestStatisticsKeepTheirFields(t *testing.T) {
	f := newFront(t)
	f.Buckets[0].Gateway = activeA{}
	f.Stats = func(context.Context) (stats.Report, error) {
		r := report()
		r.CountedAt = at
		r.Rows = &stats.Rows{
			Regions: []stats.RegionRows{
				{Name: "a", Compared: true},
				{Name: "b", Lag: journal.Lag{Keys: 1, Bytes: 2, Failing: 3, Unreplicable: 4, OldestPending: at}},
			},
			Counts: journal.Counts{
				Objects: 1, Pending: 2, Intents: 3, InDoubt: 4, Ledger: 5, Conflicts: 6, Audit: 7, DatabaseBytes: 8, WALBytes: 9,
			},
		}
		return r, nil
	}
	f.want(f.do("GET", "/admin/stats", ""), http.StatusOK, wanted(`"2026-03-01T12:00:00.123Z"`,
		`{"keys": 0, "bytes": 0, "failing": 0, "unreplicable": 0, "seconds": 0}`,
		`{"keys": 1, "bytes": 2, "failing": 3, "unreplicable": 4, "seconds": null}`, // it was never compared
		`{"objects": 1, "pendingCopies": 2, "openIntents": 3, "intentsInDoubt": 4, "openLedger": 5, "openConflicts": 6, "auditEntries": 7}`, "8", "9"))
}

func TestStatisticsGoOnWithoutTheJournal(t *testing.T) {
	f := newFront(t)
	f.Buckets[0].Gateway = activeA{}
	f.Stats = func(context.Context) (stats.Report, error) { return report(), nil }
	f.want(f.do("GET", "/admin/stats", ""), http.StatusOK, wanted("null", "null", "null", "null", "null", "null"))
}

func TestStatisticsThatFailSayNothingOfTheInside(t *testing.T) {
	f := newFront(t)
	f.wantProblem(f.do("GET", "/admin/stats", ""), http.StatusServiceUnavailable, "ServiceUnavailable")
}
