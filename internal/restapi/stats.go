package restapi

import (
	"net/http"
	"time"

	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/stats"
)

// overWindows is one value for each stretch of time.
type overWindows[T any] struct {
	SinceStart T `json:"sinceStart"`
	LastMinute T `json:"lastMinute"`
	LastHour   T `json:"lastHour"`
	LastDay    T `json:"lastDay"`
}

type counted = overWindows[int64]

type statsBody struct {
	StartedAt string               `json:"startedAt" format:"date-time"`
	Seconds   overWindows[float64] `json:"seconds" doc:"How far each window really reaches back."`
	CountedAt *string              `json:"countedAt" format:"date-time" doc:"When lag and rows were counted; null where they could not be."`
	Regions   []regionStatsBody    `json:"regions"`
	Journal   journalStatsBody     `json:"journal"`
}

type regionStatsBody struct {
	Name          string   `json:"name"`
	Role          string   `json:"role" enum:"active,replica"`
	Reads         counted  `json:"reads"`
	Writes        counted  `json:"writes"`
	Deletes       counted  `json:"deletes"`
	Listings      counted  `json:"listings"`
	Fallbacks     counted  `json:"fallbacks" doc:"Reads and listings that it answered because the active did not."`
	Copies        counted  `json:"copies"`
	FailedCopies  counted  `json:"failedCopies"`
	Repairs       counted  `json:"repairs"`
	Requests      counted  `json:"requests" doc:"All that were sent to it."`
	Errors        counted  `json:"errors"`
	SentBytes     counted  `json:"sentBytes"`
	ReceivedBytes counted  `json:"receivedBytes"`
	Lag           *lagBody `json:"lag" doc:"Null where the journal could not be read."`
}

type lagBody struct {
	Keys         int64    `json:"keys"`
	Bytes        int64    `json:"bytes"`
	Failing      int64    `json:"failing"`
	Unreplicable int64    `json:"unreplicable"`
	Seconds      *float64 `json:"seconds" doc:"The age of the copy that has waited longest; null where the bucket was never compared, for then nobody knows."`
}

type journalStatsBody struct {
	Commits          counted               `json:"commits"`
	CommitsPerSecond overWindows[float64]  `json:"commitsPerSecond"`
	Changes          counted               `json:"changes"`
	ChangesPerCommit overWindows[*float64] `json:"changesPerCommit" doc:"Null where there was no commit."`
	FailedCommits    counted               `json:"failedCommits"`
	Rows             *rowsBody             `json:"rows" doc:"Null where the journal could not be read."`
	DatabaseBytes    *int64                `json:"databaseBytes"`
	WALBytes         *int64                `json:"walBytes"`
}

type rowsBody struct {
	Objects        int64 `json:"objects"`
	PendingCopies  int64 `json:"pendingCopies"`
	OpenIntents    int64 `json:"openIntents"`
	IntentsInDoubt int64 `json:"intentsInDoubt"`
	OpenLedger     int64 `json:"openLedger"`
	OpenConflicts  int64 `json:"openConflicts"`
	AuditEntries   int64 `json:"auditEntries"`
}

func (a *API) getStats(w http.ResponseWriter, r *http.Request) error {
	report, err := a.Stats(r.Context())
	if err != nil {
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the statistics cannot be read; try again", err)
	}
	body := statsBody{
		StartedAt: formatTime(report.StartedAt),
		Seconds: overWindows[float64]{
			report.Spans.SinceStart.Seconds(), report.Spans.LastMinute.Seconds(), report.Spans.LastHour.Seconds(), report.Spans.LastDay.Seconds(),
		},
		Regions: []regionStatsBody{},
		Journal: describeJournal(report),
	}
	if report.Rows != nil {
		body.CountedAt = new(formatTime(report.CountedAt))
	}
	active := a.first().Gateway.State().Active
	for _, region := range report.Regions {
		body.Regions = append(body.Regions, describeRegionStats(region, active, report.Rows))
	}
	writeJSON(w, "application/json", http.StatusOK, body)
	return nil
}

func describeRegionStats(r stats.Region, active string, rows *stats.Rows) regionStatsBody {
	body := regionStatsBody{
		Name: r.Name, Role: "replica",
		Reads: counted(r.Reads), Writes: counted(r.Writes), Deletes: counted(r.Deletes), Listings: counted(r.Listings),
		Fallbacks: counted(r.Fallbacks), Copies: counted(r.Copies), FailedCopies: counted(r.FailedCopies), Repairs: counted(r.Repairs),
		Requests: counted(r.Requests), Errors: counted(r.Errors), SentBytes: counted(r.SentBytes), ReceivedBytes: counted(r.ReceivedBytes),
	}
	if r.Name == active {
		body.Role = "active"
	}
	if rows == nil {
		return body
	}
	for _, known := range rows.Regions {
		if known.Name == r.Name {
			lag := known.Lag
			body.Lag = &lagBody{lag.Keys, lag.Bytes, lag.Failing, lag.Unreplicable, lagSeconds(known.Compared, lag.OldestPending)}
		}
	}
	return body
}

func describeJournal(report stats.Report) journalStatsBody {
	j := report.Journal
	perSecond := func(commits int64, span time.Duration) float64 {
		if span <= 0 {
			return 0
		}
		return float64(commits) / span.Seconds()
	}
	perCommit := func(changes, commits int64) *float64 {
		if commits == 0 {
			return nil
		}
		return new(float64(changes) / float64(commits))
	}
	body := journalStatsBody{
		Commits: counted(j.Commits), Changes: counted(j.Changes), FailedCommits: counted(j.FailedCommits),
		CommitsPerSecond: overWindows[float64]{
			perSecond(j.Commits.SinceStart, report.Spans.SinceStart), perSecond(j.Commits.LastMinute, report.Spans.LastMinute),
			perSecond(j.Commits.LastHour, report.Spans.LastHour), perSecond(j.Commits.LastDay, report.Spans.LastDay),
		},
		ChangesPerCommit: overWindows[*float64]{
			perCommit(j.Changes.SinceStart, j.Commits.SinceStart), perCommit(j.Changes.LastMinute, j.Commits.LastMinute),
			perCommit(j.Changes.LastHour, j.Commits.LastHour), perCommit(j.Changes.LastDay, j.Commits.LastDay),
		},
	}
	if report.Rows != nil {
		c := report.Rows.Counts
		body.Rows = &rowsBody{c.Objects, c.Pending, c.Intents, c.InDoubt, c.Ledger, c.Conflicts, c.Audit}
		body.DatabaseBytes, body.WALBytes = &c.DatabaseBytes, &c.WALBytes
	}
	return body
}
