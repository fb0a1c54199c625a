package restapi

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/s3op"
)

// Failover is what the front needs of who decides on the active.
type Failover interface {
	Promote(ctx context.Context, r failover.Request) (failover.Result, error)
	Remove(ctx context.Context, region, actor, reason string) error
	Blocked() []failover.Objection
}

// adminActor is who the audit names for what is asked of the admin API.
const adminActor = "admin"

type promoteBody struct {
	Region string `json:"region,omitzero" doc:"Which replica. Left out, the one that there is."`
	Force  bool   `json:"force,omitzero" doc:"Promote it whatever speaks against it."`
	DryRun bool   `json:"dryRun,omitzero" doc:"Tell what a promotion would meet and cost, and make none."`
	Reason string `json:"reason,omitzero" doc:"For the record."`
}

const promoteForm = `send {"region"?: …, "force"?: …, "dryRun"?: …, "reason"?: …}, or nothing`

type objectionBody struct {
	Region  string        `json:"region"`
	Code    failover.Code `json:"code" example:"at-risk"`
	Message string        `json:"message"`
}

func describeObjections(objections []failover.Objection) []objectionBody {
	bodies := []objectionBody{}
	for _, o := range objections {
		bodies = append(bodies, objectionBody{o.Region, o.Code, o.Message})
	}
	return bodies
}

type dryRunBody struct {
	DryRun               bool              `json:"dryRun" doc:"Always true."`
	From                 string            `json:"from"`
	To                   string            `json:"to"`
	Allowed              bool              `json:"allowed" doc:"Whether it would be made without force."`
	Objections           []objectionBody   `json:"objections"`
	AtRisk               riskBody          `json:"atRisk" doc:"Acknowledged writes that no healthy region but the active has."`
	InDoubt              int64             `json:"inDoubt" doc:"Writes of which nobody knows whether they were applied."`
	OpenURLs             int64             `json:"openUrls" doc:"Those of inDoubt that are presigned PUTs to the active which may yet be used."`
	OldestPendingSeconds *float64          `json:"oldestPendingSeconds" doc:"The age of the copy that has waited longest; null where none waits."`
	WritesInFlight       int               `json:"writesInFlight"`
	Canary               canaryBody        `json:"canary" doc:"A write to the replica that was tried."`
	NeverCompared        map[string]*int64 `json:"neverCompared" doc:"For each region that was not compared, the keys that the index does not know; null while they are not counted. atRisk says nothing of them."`
}

type riskBody struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"`
}

type canaryBody struct {
	OK             bool    `json:"ok"`
	Error          string  `json:"error,omitempty"`
	ElapsedSeconds float64 `json:"elapsedSeconds"`
}

func describeDryRun(r failover.Result) dryRunBody {
	body := dryRunBody{
		DryRun: true, From: r.From, To: r.To, Allowed: len(r.Objections) == 0, Objections: describeObjections(r.Objections),
		AtRisk: riskBody{r.Risk.Keys, r.Risk.Bytes}, InDoubt: r.Risk.InDoubt, OpenURLs: r.Risk.OpenURLs, WritesInFlight: r.WritesInFlight,
		Canary: canaryBody{OK: r.Canary.Err == nil, ElapsedSeconds: r.Canary.Elapsed.Seconds()}, NeverCompared: make(map[string]*int64),
	}
	if !r.Risk.OldestPending.IsZero() {
		body.OldestPendingSeconds = new(time.Since(r.Risk.OldestPending).Seconds())
	}
	if r.Canary.Err != nil {
		body.Canary.Error = r.Canary.Err.Error()
	}
	for name, u := range r.Uncompared {
		body.NeverCompared[name] = nil
		if u.Known {
			body.NeverCompared[name] = &u.Keys
		}
	}
	return body
}

func (a *API) postPromote(w http.ResponseWriter, r *http.Request) error {
	var body promoteBody
	if r.ContentLength != 0 { // the length of a chunked body is not known, so that has to hold something
		if err := a.readJSON(w, r, &body, promoteForm); err != nil {
			return err
		}
	}
	result, err := a.Failover.Promote(r.Context(), failover.Request{
		Region: body.Region, Force: body.Force, DryRun: body.DryRun, Reason: body.Reason, Actor: adminActor,
	})
	switch {
	case errors.Is(err, failover.ErrNoRegion):
		return s3op.WrapError(s3op.NotFound, "NoSuchRegion", err.Error(), err)
	case errors.Is(err, failover.ErrIsActive):
		return s3op.WrapError(s3op.Conflict, "AlreadyActive", err.Error(), err)
	case errors.Is(err, failover.ErrEpoch):
		return s3op.WrapError(s3op.Conflict, "Overtaken", "another promotion came first, and nothing was done; GET /admin/state says which region is active", err)
	case err != nil:
		if _, ok := errors.AsType[*failover.RefusedError](err); ok {
			return err
		}
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable",
			"the promotion was not made, or is not known to be; GET /admin/state says which region is active", err)
	case body.DryRun:
		writeJSON(w, "application/json", http.StatusOK, describeDryRun(result))
		return nil
	}
	writeJSON(w, "application/json", http.StatusOK, describeFailover(*result.Failover))
	return nil
}

type failoverBody struct {
	Epoch       int64            `json:"epoch" doc:"The epoch that it began."`
	From        string           `json:"from"`
	To          string           `json:"to"`
	At          string           `json:"at" format:"date-time"`
	Automatic   bool             `json:"automatic" doc:"Whether the gateway decided it by itself."`
	Forced      bool             `json:"forced"`
	Actor       string           `json:"actor"`
	Reason      string           `json:"reason"`
	AtRisk      int64            `json:"atRisk" doc:"Acknowledged writes that no healthy region but the old active had."`
	AtRiskBytes int64            `json:"atRiskBytes"`
	InDoubt     int64            `json:"inDoubt" doc:"Writes of which nobody knew whether they were applied."`
	Open        int64            `json:"open" doc:"Entries of the ledger whose outcome is not known yet."`
	Closed      map[string]int64 `json:"closed" doc:"The others by their outcome: recovered, superseded, conflict, not-applied, lost."`
}

type failoversBody struct {
	Failovers []failoverBody `json:"failovers" doc:"The newest first."`
}

func describeFailover(f failover.Record) failoverBody {
	body := failoverBody{
		Epoch: f.Epoch, From: f.From, To: f.To, At: formatTime(f.At), Automatic: f.Automatic, Forced: f.Forced, Actor: f.Actor,
		Reason: f.Reason, AtRisk: f.AtRisk, AtRiskBytes: f.AtRiskBytes, InDoubt: f.InDoubt, Open: f.Open, Closed: make(map[string]int64),
	}
	for outcome, n := range f.Outcomes {
		body.Closed[string(outcome)] = n
	}
	return body
}

func (a *API) getFailovers(w http.ResponseWriter, r *http.Request) error {
	all, err := a.Records.Failovers(r.Context())
	if err != nil {
		return unreadable(err)
	}
	bodies := []failoverBody{}
	for _, f := range all {
		if f.From != "" { // the first epoch was no failover
			bodies = append(bodies, describeFailover(f))
		}
	}
	writeJSON(w, "application/json", http.StatusOK, failoversBody{bodies})
	return nil
}

func unreadable(err error) error {
	return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the index cannot be read; try again", err)
}

func (a *API) failover(ctx context.Context, epoch int64) (failover.Record, error) {
	all, err := a.Records.Failovers(ctx)
	if err != nil {
		return failover.Record{}, unreadable(err)
	}
	for _, f := range all {
		if f.Epoch == epoch && f.From != "" {
			return f, nil
		}
	}
	return failover.Record{}, s3op.NewError(s3op.NotFound, "NoSuchFailover", fmt.Sprintf("no failover began epoch %d; see /admin/failovers", epoch))
}

func (a *API) getFailover(w http.ResponseWriter, r *http.Request, epoch int64) error {
	f, err := a.failover(r.Context(), epoch)
	if err != nil {
		return err
	}
	writeJSON(w, "application/json", http.StatusOK, describeFailover(f))
	return nil
}

type entryBody struct {
	ID        int64   `json:"id"`
	Kind      string  `json:"kind" enum:"at-risk,in-doubt"`
	Bucket    string  `json:"bucket"`
	Key       string  `json:"key"`
	Version   string  `json:"version"`
	Operation string  `json:"operation"`
	Size      int64   `json:"size" doc:"In bytes."`
	ETag      string  `json:"etag"`
	At        string  `json:"at" format:"date-time"`
	Region    string  `json:"region"`
	Outcome   *string `json:"outcome" doc:"What became of the write: recovered, superseded, conflict, not-applied or lost; null while that is open."`
	ClosedAt  *string `json:"closedAt" format:"date-time"`
	Reason    *string `json:"reason"`
}

type ledgerPage struct {
	Entries []entryBody `json:"entries"`
	Next    *int64      `json:"next" doc:"What after is for the next page; null on the last one."`
}

func describeEntry(e failover.Entry) entryBody {
	body := entryBody{
		ID: e.ID, Kind: string(e.Kind), Bucket: e.Bucket, Key: e.Key, Version: e.Version.String(), Operation: string(e.Operation), Size: e.Size, ETag: e.ETag,
		At: formatTime(e.At), Region: e.Region,
	}
	if e.Outcome != "" {
		body.Outcome, body.ClosedAt, body.Reason = new(string(e.Outcome)), new(formatTime(e.ClosedAt)), &e.Reason
	}
	return body
}

// adminPage is how many rows of the journal are read at once, and the most that a page has.
const adminPage = 1000

// getLedger answers a page of JSON, or the whole ledger as CSV.
func (a *API) getLedger(w http.ResponseWriter, r *http.Request, epoch int64) error {
	if _, err := a.failover(r.Context(), epoch); err != nil {
		return err
	}
	switch format := r.URL.Query().Get("format"); {
	case format == "csv", format == "" && strings.Contains(r.Header.Get("Accept"), "text/csv"):
		return a.writeLedgerCSV(w, r, epoch)
	case format != "" && format != "json":
		return s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("format is %q; allowed: json, csv", format))
	}
	after, limit, err := pageOf(r)
	if err != nil {
		return err
	}
	entries, err := a.Records.Ledger(r.Context(), epoch, after, limit)
	if err != nil {
		return unreadable(err)
	}
	page := ledgerPage{Entries: []entryBody{}}
	for _, e := range entries {
		page.Entries = append(page.Entries, describeEntry(e))
	}
	if len(entries) == limit {
		page.Next = &entries[limit-1].ID
	}
	writeJSON(w, "application/json", http.StatusOK, page)
	return nil
}

// pageOf reads ?after= and ?limit=.
func pageOf(r *http.Request) (after int64, limit int, err error) {
	limit = adminPage
	if text := r.URL.Query().Get("after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			return 0, 0, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("after is %q; allowed: the `next` of the page before", text))
		}
	}
	if text := r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > adminPage {
			return 0, 0, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("limit is %q; allowed: 1 to %d", text, adminPage))
		}
	}
	return after, limit, nil
}

// writeLedgerCSV streams: however long a ledger is, a page of it is in memory. Every field is
// as it is, also where a spreadsheet would take it for a formula.
func (a *API) writeLedgerCSV(w http.ResponseWriter, r *http.Request, epoch int64) error {
	entries, err := a.Records.Ledger(r.Context(), epoch, 0, adminPage)
	if err != nil {
		return unreadable(err)
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="ledger-%d.csv"`, epoch))
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	out := csv.NewWriter(w)
	_ = out.Write([]string{"id", "kind", "key", "version", "operation", "size", "etag", "at", "region", "outcome", "closedAt", "reason", "bucket"})
	for {
		for _, e := range entries {
			_ = out.Write(ledgerRecord(e))
		}
		out.Flush()
		if err := out.Error(); err != nil || len(entries) < adminPage {
			return err
		}
		if entries, err = a.Records.Ledger(r.Context(), epoch, entries[len(entries)-1].ID, adminPage); err != nil {
			return unreadable(err)
		}
	}
}

func ledgerRecord(e failover.Entry) []string {
	closed := ""
	if e.Outcome != "" {
		closed = formatTime(e.ClosedAt)
	}
	return []string{
		strconv.FormatInt(e.ID, 10), string(e.Kind), e.Key, e.Version.String(), string(e.Operation), strconv.FormatInt(e.Size, 10), e.ETag,
		formatTime(e.At), e.Region, string(e.Outcome), closed, e.Reason, e.Bucket,
	}
}

func (a *API) removeRegion(w http.ResponseWriter, r *http.Request, name string) error {
	err := a.Failover.Remove(r.Context(), name, adminActor, r.URL.Query().Get("reason"))
	switch {
	case errors.Is(err, failover.ErrNotRemovable):
		return s3op.WrapError(s3op.Conflict, "NotRemovable", err.Error(), err)
	case err != nil:
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the region was not removed; try again", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// describeHealth is a region's health in one word: what is wrong where it is not up.
func describeHealth(s health.Status) string {
	if s.Problem != "" {
		return s.Problem
	}
	return string(s.State)
}
