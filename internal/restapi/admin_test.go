package restapi_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/stats"
)

const (
	adminToken = "admin-token"
	apiToken   = "api-token"
)

var errInside = errors.New("secret of the inside")

// at is when everything happened.
var at = time.Date(2026, 3, 1, 12, 0, 0, 123_456_000, time.UTC)

// fakeFailover answers as its test says, and knows what it was asked.
type fakeFailover struct {
	asked   []failover.Request
	removed []string
	result  failover.Result
	err     error
}

func (f *fakeFailover) Promote(_ context.Context, r failover.Request) (failover.Result, error) {
	f.asked = append(f.asked, r)
	return f.result, f.err
}

func (f *fakeFailover) Remove(_ context.Context, region, actor, reason string) error {
	f.removed = append(f.removed, region+" by "+actor+": "+reason)
	return f.err
}

func (f *fakeFailover) Blocked() []failover.Objection { return nil }

// fakeGateway resolves conflicts.
type fakeGateway struct {
	restapi.Gateway
	resolved []gateway.Resolution
	err      error
}

func (g *fakeGateway) Resolve(_ context.Context, r gateway.Resolution) error {
	g.resolved = append(g.resolved, r)
	return g.err
}

// fakeRecords are a journal's in memory. failFrom is the page, from 1, from which it fails;
// 0 is never.
type fakeRecords struct {
	failovers []failover.Record
	ledger    []failover.Entry
	conflicts []failover.Conflict
	entries   []audit.Linked
	failFrom  int
	pages     int
}

func (r *fakeRecords) turn() error {
	if r.pages++; r.failFrom > 0 && r.pages >= r.failFrom {
		return errInside
	}
	return nil
}

// page returns what has an id after the one given.
func page[T any](all []T, id func(T) int64, after int64, limit int) []T {
	if limit < 1 || limit > 1000 {
		panic(fmt.Sprintf("a page of %d", limit))
	}
	all = slices.DeleteFunc(slices.Clone(all), func(e T) bool { return id(e) <= after })
	return all[:min(limit, len(all))]
}

func (r *fakeRecords) Failovers(context.Context) ([]failover.Record, error) {
	if r.failFrom < 0 {
		return nil, errInside
	}
	return r.failovers, nil
}

func (r *fakeRecords) Ledger(_ context.Context, epoch, after int64, limit int) ([]failover.Entry, error) {
	if epoch != 2 {
		return nil, nil
	}
	return page(r.ledger, func(e failover.Entry) int64 { return e.ID }, after, limit), r.turn()
}

func (r *fakeRecords) Conflicts(_ context.Context, after int64, limit int, all bool) ([]failover.Conflict, error) {
	list := slices.DeleteFunc(slices.Clone(r.conflicts), func(c failover.Conflict) bool { return !all && c.State == journal.ConflictResolved })
	return page(list, func(c failover.Conflict) int64 { return c.ID }, after, limit), r.turn()
}

func (r *fakeRecords) Conflict(_ context.Context, id int64) (failover.Conflict, error) {
	for _, c := range r.conflicts {
		if c.ID == id {
			return c, r.turn()
		}
	}
	return failover.Conflict{}, failover.ErrNotFound
}

func (r *fakeRecords) AuditEntries(_ context.Context, after int64, limit int) ([]audit.Linked, error) {
	return page(r.entries, func(e audit.Linked) int64 { return e.Index }, after, limit), r.turn()
}

// front is the admin API with nothing real behind it.
type front struct {
	*restapi.API
	t        *testing.T
	failover *fakeFailover
	gateway  *fakeGateway
	records  *fakeRecords
	keys     *fakeKeys
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{t: t, failover: &fakeFailover{}, gateway: &fakeGateway{}, records: &fakeRecords{}, keys: &fakeKeys{}}
	f.records.failovers = []failover.Record{
		{
			Epoch: 3, From: "b", To: "a", At: at, Automatic: true, Actor: "failover", Reason: "the active is down", AtRisk: 2, AtRiskBytes: 20, InDoubt: 1,
			Open: 1, Outcomes: map[journal.Outcome]int64{journal.Recovered: 1, journal.IsLost: 1},
		},
		{Epoch: 2, From: "a", To: "b", At: at, Forced: true, Actor: "admin"},
		{Epoch: 1, To: "a", At: at},
	}
	api, err := restapi.New(restapi.Config{
		Buckets: []restapi.Bucket{{Name: fuzzBucket, Gateway: f.gateway}}, Regions: func() []string { return []string{"a", "b"} },
		Failover: f.failover, Records: f.records, Keys: f.keys, Health: func() []health.Status { return nil },
		Stats:      func(context.Context) (stats.Report, error) { return stats.Report{}, errInside },
		Checkpoint: func() string { return "signed" }, Access: restapi.NewAccess(adminToken, []string{apiToken}, true),
		Ready: func() error { return nil }, MaxJSONBytes: 1 << 10, MetricsHandler: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.API = api
	return f
}

// do asks as an administrator.
func (f *front) do(method, path, body string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	wantDocumented(f.t, f, r, w)
	return w
}

// want checks an answer: its status, and its body as JSON.
func (f *front) want(w *httptest.ResponseRecorder, status int, body string) {
	f.t.Helper()
	var got, want any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		f.t.Fatalf("got %d, %q: %v", w.Code, w.Body, err)
	}
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		f.t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || w.Code != status {
		f.t.Errorf("got status %d, want %d; body (-want +got):\n%s", w.Code, status, diff)
	}
}

// wantProblem checks an answer that is an error.
func (f *front) wantProblem(w *httptest.ResponseRecorder, status int, code string) {
	f.t.Helper()
	var p struct {
		Status int
		Code   string
		Detail string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		f.t.Fatalf("got %d, %q: %v", w.Code, w.Body, err)
	}
	if w.Code != status || p.Status != status || p.Code != code || p.Detail == "" {
		f.t.Errorf("got status %d and %+v, want %d with code %s", w.Code, p, status, code)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		f.t.Errorf("got Content-Type %q, want that of a problem", got)
	}
	if strings.Contains(w.Body.String(), errInside.Error()) {
		f.t.Errorf("the client is told of the inside: %s", w.Body)
	}
}

func TestPromoteTakesWhatItIsSent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body string
		want failover.Request
	}{
		"nothing":      {"", failover.Request{Actor: "admin"}},
		"an object":    {"{}", failover.Request{Actor: "admin"}},
		"all of it":    {`{"region": "b", "force": true, "reason": "a is on fire"}`, failover.Request{Region: "b", Force: true, Reason: "a is on fire", Actor: "admin"}},
		"a dry run":    {`{"dryRun": true}`, failover.Request{DryRun: true, Actor: "admin"}},
		"with nothing": {` {"region": ""} `, failover.Request{Actor: "admin"}},
	} {
		f := newFront(t)
		f.failover.result = failover.Result{From: "a", To: "b", Failover: &failover.Record{Epoch: 2, From: "a", To: "b"}}
		w := f.do("POST", "/admin/failover/promote", tt.body)
		if diff := cmp.Diff([]failover.Request{tt.want}, f.failover.asked, cmp.AllowUnexported(failover.Request{})); diff != "" || w.Code != http.StatusOK {
			t.Errorf("%s: got status %d; asked (-want +got):\n%s", name, w.Code, diff)
		}
	}
}

func TestPromoteRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"region": "b", "forced": true}`, `{"dry_run": true}`, `{"region": 1}`, `{"force": "yes"}`, `[]`, `"b"`, `{`, `{} {}`, " ",
		`{"reason": "` + "\xff" + `"}`,
	} {
		f := newFront(t)
		f.wantProblem(f.do("POST", "/admin/failover/promote", body), 400, "MalformedJSON")
		if len(f.failover.asked) > 0 {
			t.Errorf("%s: something was asked for: %+v", body, f.failover.asked)
		}
	}
	f := newFront(t)
	f.wantProblem(f.do("POST", "/admin/failover/promote", `{"reason": "`+strings.Repeat("x", 1<<10)+`"}`), 413, "EntityTooLarge")
}

func TestPromotionThatWasMadeIsDescribed(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.failover.result.Failover = &f.records.failovers[0]
	f.want(f.do("POST", "/admin/failover/promote", ""), 200, `{
		"epoch": 3, "from": "b", "to": "a", "at": "2026-03-01T12:00:00.123Z", "automatic": true, "forced": false, "actor": "failover",
		"reason": "the active is down", "atRisk": 2, "atRiskBytes": 20, "inDoubt": 1, "open": 1, "closed": {"recovered": 1, "lost": 1}
	}`)
}

func TestRefusedPromotionSaysWhatSpeaksAgainstIt(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.failover.err = fmt.Errorf("promote: %w", &failover.RefusedError{Objections: []failover.Objection{
		{Region: "b", Code: failover.NotCompared, Message: "5 keys"}, {Region: "b", Code: failover.AtRisk, Message: "2 writes"},
	}})
	f.want(f.do("POST", "/admin/failover/promote", `{"region": "b"}`), 409, `{
		"type": "about:blank", "title": "Conflict", "status": 409, "code": "PromotionRefused",
		"detail": "not promoted: b: 5 keys; b: 2 writes; to promote it all the same, force it",
		"objections": [{"region": "b", "code": "not-compared", "message": "5 keys"}, {"region": "b", "code": "at-risk", "message": "2 writes"}]
	}`)
}

func TestForceIsNotOfferedWhereItChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.failover.err = &failover.RefusedError{Objections: []failover.Objection{{Region: "b", Code: failover.LacksBucket, Message: "no logs"}}}
	f.want(f.do("POST", "/admin/failover/promote", `{"region": "b", "force": true}`), 409, `{
		"type": "about:blank", "title": "Conflict", "status": 409, "code": "PromotionRefused", "detail": "not promoted: b: no logs",
		"objections": [{"region": "b", "code": "lacks-bucket", "message": "no logs"}]
	}`)
}

func TestErrorsOfAPromotionAreToldApart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("%w: d", failover.ErrNoRegion), 404, "NoSuchRegion"},
		{fmt.Errorf("%w: a", failover.ErrIsActive), 409, "AlreadyActive"},
		{fmt.Errorf("%w: 3", failover.ErrEpoch), 409, "Overtaken"},
		{errInside, 503, "ServiceUnavailable"},
	} {
		for _, body := range []string{"", `{"dryRun": true}`} {
			f := newFront(t)
			f.failover.err = tt.err
			w := f.do("POST", "/admin/failover/promote", body)
			f.wantProblem(w, tt.status, tt.code)
			// To ask once more, unasked, could promote the other region back.
			if hasRetry := w.Header().Get("Retry-After") != ""; hasRetry != (tt.status == 503) {
				t.Errorf("%v: got Retry-After %v", tt.err, hasRetry)
			}
		}
	}
}

func TestDryRunIsDescribed(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.failover.result = failover.Result{
		From: "a", To: "b", Risk: journal.Risk{Keys: 3, Bytes: 30, InDoubt: 1}, WritesInFlight: 7, Canary: failover.Canary{Elapsed: 250 * time.Millisecond},
		Uncompared: map[string]failover.Uncompared{"a": {Keys: 5, Known: true}, "b": {}},
	}
	f.want(f.do("POST", "/admin/failover/promote", `{"dryRun": true}`), 200, `{
		"dryRun": true, "from": "a", "to": "b", "allowed": true, "objections": [], "atRisk": {"keys": 3, "bytes": 30}, "inDoubt": 1, "openUrls": 0,
		"oldestPendingSeconds": null, "writesInFlight": 7, "canary": {"ok": true, "elapsedSeconds": 0.25}, "neverCompared": {"a": 5, "b": null}
	}`)
	f.failover.result = failover.Result{
		From: "a", To: "b", Canary: failover.Canary{Err: errors.New("status 507")},
		Objections: []failover.Objection{{Region: "b", Code: failover.NotWritable, Message: "status 507"}},
	}
	f.want(f.do("POST", "/admin/failover/promote", `{"dryRun": true}`), 200, `{
		"dryRun": true, "from": "a", "to": "b", "allowed": false, "objections": [{"region": "b", "code": "not-writable", "message": "status 507"}],
		"atRisk": {"keys": 0, "bytes": 0}, "inDoubt": 0, "openUrls": 0, "oldestPendingSeconds": null, "writesInFlight": 0,
		"canary": {"ok": false, "error": "status 507", "elapsedSeconds": 0}, "neverCompared": {}
	}`)
	f.failover.result = failover.Result{Risk: journal.Risk{OldestPending: time.Now().Add(-time.Minute)}}
	var body struct{ OldestPendingSeconds float64 }
	if err := json.Unmarshal(f.do("POST", "/admin/failover/promote", `{"dryRun": true}`).Body.Bytes(), &body); err != nil || body.OldestPendingSeconds < 60 {
		t.Errorf("got %+v (%v), want a copy that waits for a minute", body, err)
	}
}

func TestFailoversAreThePromotionsTheNewestFirst(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	const second = `{"epoch": 2, "from": "a", "to": "b", "at": "2026-03-01T12:00:00.123Z", "automatic": false, "forced": true, "actor": "admin",
		"reason": "", "atRisk": 0, "atRiskBytes": 0, "inDoubt": 0, "open": 0, "closed": {}}`
	f.want(f.do("GET", "/admin/failovers", ""), 200, `{"failovers": [{
		"epoch": 3, "from": "b", "to": "a", "at": "2026-03-01T12:00:00.123Z", "automatic": true, "forced": false, "actor": "failover",
		"reason": "the active is down", "atRisk": 2, "atRiskBytes": 20, "inDoubt": 1, "open": 1, "closed": {"recovered": 1, "lost": 1}
	}, `+second+`]}`)
	f.want(f.do("GET", "/admin/failovers/2", ""), 200, second)
	f.records.failovers = f.records.failovers[2:]
	f.want(f.do("GET", "/admin/failovers", ""), 200, `{"failovers": []}`)
	f.records.failFrom = -1
	for _, path := range []string{"/admin/failovers", "/admin/failovers/2", "/admin/failovers/2/ledger"} {
		f.wantProblem(f.do("GET", path, ""), 503, "ServiceUnavailable")
	}
}

// The first epoch was no failover, and the others were not yet.
func TestFailoverThatThereIsNotIsNotFound(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	for _, path := range []string{"/admin/failovers/1", "/admin/failovers/4", "/admin/failovers/1/ledger", "/admin/failovers/4/ledger?format=csv"} {
		f.wantProblem(f.do("GET", path, ""), 404, "NoSuchFailover")
	}
	for _, path := range []string{
		"/admin/failovers/", "/admin/failovers/x", "/admin/failovers/0", "/admin/failovers/-2", "/admin/failovers/2/", "/admin/failovers/2/x",
		"/admin/failovers/2/ledger/", "/admin/failovers/99999999999999999999",
	} {
		f.wantProblem(f.do("GET", path, ""), 404, "NoSuchPath")
	}
}

// entries are n writes of a ledger; every second one is closed.
func entries(n int64) []failover.Entry {
	var all []failover.Entry
	for id := int64(1); id <= n; id++ {
		e := failover.Entry{
			ID: id, Failover: 2, Kind: journal.AtRisk, Bucket: fuzzBucket, Key: fmt.Sprint("key ", id), Version: journal.Version{Epoch: 1, Sequence: id},
			Operation: journal.Put, ETag: "e", Size: id, At: at, Region: "a",
		}
		if id%2 == 0 {
			e.Outcome, e.ClosedAt, e.Reason = journal.Recovered, at.Add(time.Minute), "another region has it"
		}
		all = append(all, e)
	}
	return all
}

func TestLedgerIsReadPageByPage(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.records.ledger = entries(3)
	const open = `{"id": 1, "kind": "at-risk", "bucket": "tandem", "key": "key 1", "version": "1-1", "operation": "put", "size": 1, "etag": "e",
		"at": "2026-03-01T12:00:00.123Z", "region": "a", "outcome": null, "closedAt": null, "reason": null}`
	const closed = `{"id": 2, "kind": "at-risk", "bucket": "tandem", "key": "key 2", "version": "1-2", "operation": "put", "size": 2, "etag": "e",
		"at": "2026-03-01T12:00:00.123Z", "region": "a", "outcome": "recovered", "closedAt": "2026-03-01T12:01:00.123Z", "reason": "another region has it"}`
	f.want(f.do("GET", "/admin/failovers/2/ledger?limit=1", ""), 200, `{"entries": [`+open+`], "next": 1}`)
	f.want(f.do("GET", "/admin/failovers/2/ledger?limit=1&after=1&format=json", ""), 200, `{"entries": [`+closed+`], "next": 2}`)
	f.want(f.do("GET", "/admin/failovers/2/ledger?after=3", ""), 200, `{"entries": [], "next": null}`)
	f.want(f.do("GET", "/admin/failovers/3/ledger", ""), 200, `{"entries": [], "next": null}`)
	f.records.ledger = entries(2500)
	wantPages(f, "/admin/failovers/2/ledger", "entries", "id", 2500)
}

// wantPages follows next from the beginning to the end, and checks that each is there once.
func wantPages(f *front, path, list, id string, want int64) {
	f.t.Helper()
	var last, pages int64
	for next := any(0.0); next != nil; pages++ {
		w := f.do("GET", fmt.Sprintf("%s?after=%.0f", path, next), "")
		var page map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK {
			f.t.Fatalf("%s: got %d, %v", path, w.Code, err)
		}
		for _, e := range page[list].([]any) {
			if last++; e.(map[string]any)[id] != float64(last) {
				f.t.Fatalf("%s: got %v, want number %d", path, e, last)
			}
		}
		next = page["next"]
	}
	if last != want || pages != want/1000+1 {
		f.t.Errorf("%s: got %d in %d pages, want %d in pages of 1000", path, last, pages, want)
	}
}

func TestPageThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	for _, path := range []string{"/admin/failovers/2/ledger", "/admin/conflicts", "/admin/audit"} {
		for _, query := range []string{"limit=0", "limit=-1", "limit=1001", "limit=x", "after=-1", "after=x", "after=1.5"} {
			f.wantProblem(f.do("GET", path+"?"+query, ""), 400, "InvalidArgument")
		}
		if w := f.do("GET", path+"?limit=1000&after=0", ""); w.Code != http.StatusOK {
			t.Errorf("%s: got %d of the largest page", path, w.Code)
		}
	}
	f.wantProblem(f.do("GET", "/admin/failovers/2/ledger?format=xml", ""), 400, "InvalidArgument")
	f.wantProblem(f.do("GET", "/admin/conflicts?all=maybe", ""), 400, "InvalidArgument")
}

// A key may hold whatever a file of commas and lines does not expect.
func TestLedgerAsCSVHasEveryKeyAsItIs(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.records.ledger = entries(2)
	keys := []string{
		"a,b", `a "quoted" b`, "two\nlines", "=1+1", "+1", "-1", "@x", " blank ", "", "café 🙂", `\.`, "tab\there", `"`, `""`, ",", "#",
	}
	for i, key := range keys {
		f.records.ledger = append(f.records.ledger, failover.Entry{ID: int64(i + 3), Kind: journal.InDoubt, Bucket: fuzzBucket, Key: key, Operation: journal.Delete, At: at, Region: "a"})
	}
	w := f.do("GET", "/admin/failovers/2/ledger?format=csv", "")
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != "text/csv; charset=utf-8; header=present" {
		t.Errorf("got %d, Content-Type %q", w.Code, got)
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="ledger-2.csv"` {
		t.Errorf("got Content-Disposition %q", got)
	}
	head, _, _ := strings.Cut(w.Body.String(), "\n3,")
	if want := `id,kind,key,version,operation,size,etag,at,region,outcome,closedAt,reason,bucket
1,at-risk,key 1,1-1,put,1,e,2026-03-01T12:00:00.123Z,a,,,,tandem
2,at-risk,key 2,1-2,put,2,e,2026-03-01T12:00:00.123Z,a,recovered,2026-03-01T12:01:00.123Z,another region has it,tandem`; head != want {
		t.Errorf("got\n%s\nwant\n%s", head, want)
	}
	records, err := csv.NewReader(w.Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records[3:] {
		got = append(got, r[2])
	}
	if diff := cmp.Diff(keys, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestLedgerAsCSVIsWhole(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 999, 1000, 1001, 2500} {
		f := newFront(t)
		f.records.ledger = entries(n)
		r := httptest.NewRequest("GET", "/admin/failovers/2/ledger", nil)
		r.Header.Set("Authorization", "Bearer "+adminToken)
		r.Header.Set("Accept", "text/csv")
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		records, err := csv.NewReader(w.Body).ReadAll()
		if err != nil || int64(len(records)) != n+1 || n > 0 && records[n][0] != fmt.Sprint(n) {
			t.Errorf("got %d records (%v), want a header and %d", len(records), err, n)
		}
	}
}

// A ledger that cannot be read to its end is not taken for a whole one.
func TestLedgerAsCSVThatFailsIsNoLedger(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.records.ledger, f.records.failFrom = entries(2500), 1
	w := f.do("GET", "/admin/failovers/2/ledger?format=csv", "")
	f.wantProblem(w, 503, "ServiceUnavailable")
	if got := w.Header().Get("Content-Disposition"); got != "" {
		t.Errorf("a problem is to be saved as a file: %q", got)
	}
	f.records.pages, f.records.failFrom = 0, 3
	s := httptest.NewServer(f)
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/admin/failovers/2/ledger?format=csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil || bytes.Count(data, []byte("\n")) > 2001 {
		t.Errorf("got %d lines and no error, want the answer cut", bytes.Count(data, []byte("\n")))
	}
}

// conflicts are one in each state.
func conflicts() []failover.Conflict {
	return []failover.Conflict{
		{
			ID: 1, Bucket: fuzzBucket, Key: "k", Loser: journal.Version{Epoch: 1, Sequence: 5}, Winner: journal.Version{Epoch: 2, Sequence: 6}, Operation: journal.Put, ETag: "e",
			Size: 7, ContentType: "text/plain", Region: "a", FoundAt: at, State: journal.ConflictFound, KeptKey: ".tandem/conflicts/x/1-5", LastError: "locked",
		},
		{ID: 2, Bucket: fuzzBucket, Key: "k", Operation: journal.Delete, Deleted: true, Region: "a", FoundAt: at, State: journal.ConflictKept},
		{
			ID: 3, Bucket: fuzzBucket, Key: "k", Operation: journal.Put, Region: "a", FoundAt: at, State: journal.ConflictResolved, Resolution: "both (copy)",
			ResolvedAt: at.Add(time.Minute), ResolvedBy: "admin",
		},
	}
}

const (
	foundConflict = `{"id": 1, "bucket": "tandem", "key": "k", "state": "found", "loser": "1-5", "winner": "2-6", "operation": "put", "deleted": false, "etag": "e", "size": 7,
		"contentType": "text/plain", "region": "a", "foundAt": "2026-03-01T12:00:00.123Z", "keptKey": ".tandem/conflicts/x/1-5", "lastError": "locked",
		"resolution": null, "resolvedAt": null, "resolvedBy": null}`
	keptConflict = `{"id": 2, "bucket": "tandem", "key": "k", "state": "kept", "loser": "", "winner": "", "operation": "delete", "deleted": true, "etag": "", "size": 0,
		"contentType": "", "region": "a", "foundAt": "2026-03-01T12:00:00.123Z", "keptKey": "", "lastError": null,
		"resolution": null, "resolvedAt": null, "resolvedBy": null}`
	resolvedConflict = `{"id": 3, "bucket": "tandem", "key": "k", "state": "resolved", "loser": "", "winner": "", "operation": "put", "deleted": false, "etag": "", "size": 0,
		"contentType": "", "region": "a", "foundAt": "2026-03-01T12:00:00.123Z", "keptKey": "", "lastError": null,
		"resolution": "both (copy)", "resolvedAt": "2026-03-01T12:01:00.123Z", "resolvedBy": "admin"}`
)

func TestConflictsAreListedUntilTheyAreResolved(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.want(f.do("GET", "/admin/conflicts", ""), 200, `{"conflicts": [], "next": null}`)
	f.records.conflicts = conflicts()
	f.want(f.do("GET", "/admin/conflicts", ""), 200, `{"conflicts": [`+foundConflict+`, `+keptConflict+`], "next": null}`)
	f.want(f.do("GET", "/admin/conflicts?all=1&after=2", ""), 200, `{"conflicts": [`+resolvedConflict+`], "next": null}`)
	f.want(f.do("GET", "/admin/conflicts?limit=1", ""), 200, `{"conflicts": [`+foundConflict+`], "next": 1}`)
	f.want(f.do("GET", "/admin/conflicts/3", ""), 200, resolvedConflict)
	f.wantProblem(f.do("GET", "/admin/conflicts/4", ""), 404, "NoSuchConflict")
	for _, path := range []string{"/admin/conflicts/", "/admin/conflicts/x", "/admin/conflicts/0", "/admin/conflicts/1/", "/admin/conflicts/1/x"} {
		f.wantProblem(f.do("GET", path, ""), 404, "NoSuchPath")
	}
	f.records.pages, f.records.failFrom = 0, 1
	f.wantProblem(f.do("GET", "/admin/conflicts", ""), 503, "ServiceUnavailable")
	f.wantProblem(f.do("GET", "/admin/conflicts/1", ""), 503, "ServiceUnavailable")
	f.records.failFrom, f.records.conflicts = 0, nil
	for id := range int64(2500) {
		f.records.conflicts = append(f.records.conflicts, failover.Conflict{ID: id + 1, State: journal.ConflictKept})
	}
	wantPages(f, "/admin/conflicts", "conflicts", "id", 2500)
}

func TestConflictIsResolvedAndShown(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.records.conflicts = conflicts()
	f.want(f.do("POST", "/admin/conflicts/3/resolve", `{"keep": "both", "key": "copy"}`), 200, resolvedConflict)
	want := []gateway.Resolution{{ID: 3, Keep: gateway.KeepBoth, Key: "copy", Actor: "admin"}}
	if diff := cmp.Diff(want, f.gateway.resolved); diff != "" {
		t.Errorf("resolved (-want +got):\n%s", diff)
	}
	f.gateway.err = s3op.NewError(s3op.Conflict, "NotKeptYet", "the loser is not kept yet")
	f.wantProblem(f.do("POST", "/admin/conflicts/1/resolve", `{"keep": "winner"}`), 409, "NotKeptYet")
	f.gateway.err = s3op.WrapError(s3op.NotFound, "NoSuchConflict", "there is none", errInside)
	f.wantProblem(f.do("POST", "/admin/conflicts/9/resolve", `{"keep": "winner"}`), 404, "NoSuchConflict")
	asked := len(f.gateway.resolved)
	for _, body := range []string{"", `{"keep": "winner", "Region": "a"}`, `{"keep": 1}`, `[]`} {
		f.wantProblem(f.do("POST", "/admin/conflicts/1/resolve", body), 400, "MalformedJSON")
	}
	if len(f.gateway.resolved) != asked {
		t.Errorf("something was resolved: %+v", f.gateway.resolved[asked:])
	}
}

func TestAuditIsReadPageByPageWithTheNewestCheckpoint(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.want(f.do("GET", "/admin/audit", ""), 200, `{"entries": [], "next": null, "checkpoint": "signed"}`)
	head := audit.Genesis("journal")
	for i := range int64(2500) {
		e := audit.Entry{Index: i + 1, At: at, Action: audit.Write, Actor: "client", Bucket: fuzzBucket, Key: "k", Version: "1-1", Region: "a", Detail: "{}"}
		if i == 1 {
			e = audit.Entry{Index: 2, At: at.Truncate(time.Second), Action: audit.Promote, Actor: "admin"}
		}
		head = audit.Link(head, e)
		f.records.entries = append(f.records.entries, audit.Linked{Entry: e, Hash: head})
	}
	first, second := f.records.entries[0], f.records.entries[1]
	f.want(f.do("GET", "/admin/audit?limit=2", ""), 200, `{"entries": [
		{"index": 1, "at": "2026-03-01T12:00:00.123456Z", "action": "`+string(audit.Write)+`", "actor": "client", "bucket": "tandem", "key": "k", "version": "1-1",
			"region": "a", "detail": "{}", "hash": "`+first.Hash.String()+`"},
		{"index": 2, "at": "2026-03-01T12:00:00.000000Z", "action": "`+string(audit.Promote)+`", "actor": "admin", "hash": "`+second.Hash.String()+`"}
	], "next": 2, "checkpoint": "signed"}`)
	wantPages(f, "/admin/audit", "entries", "index", 2500)
	f.records.pages, f.records.failFrom = 0, 1
	f.wantProblem(f.do("GET", "/admin/audit", ""), 503, "ServiceUnavailable")
}

func TestRegionIsRemovedByItsName(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	w := f.do("DELETE", "/admin/regions/eu%2Dwest%201?reason=burnt+down", "")
	if w.Code != http.StatusNoContent || w.Body.Len() > 0 || !slices.Equal(f.failover.removed, []string{"eu-west 1 by admin: burnt down"}) {
		t.Errorf("got %d, %q, removed %q", w.Code, w.Body, f.failover.removed)
	}
	f.failover.err = fmt.Errorf("remove: %w", failover.ErrNotRemovable)
	f.wantProblem(f.do("DELETE", "/admin/regions/a", ""), 409, "NotRemovable")
	f.failover.err = errInside
	f.wantProblem(f.do("DELETE", "/admin/regions/b", ""), 503, "ServiceUnavailable")
}

// adminPaths are what only an administrator may ask, with the methods that there are.
var adminPaths = map[string][]string{
	"/admin/state":               {"GET", "HEAD"},
	"/admin/stats":               {"GET", "HEAD"},
	"/admin/failover/promote":    {"POST"},
	"/admin/failovers":           {"GET", "HEAD"},
	"/admin/failovers/2":         {"GET", "HEAD"},
	"/admin/failovers/2/ledger":  {"GET", "HEAD"},
	"/admin/conflicts":           {"GET", "HEAD"},
	"/admin/conflicts/1":         {"GET", "HEAD"},
	"/admin/conflicts/1/resolve": {"POST"},
	"/admin/regions/b":           {"DELETE"},
	"/admin/audit":               {"GET", "HEAD"},
}

func TestOnlyTheAdminTokenOpensTheAdminAPI(t *testing.T) {
	t.Parallel()
	for path, methods := range adminPaths {
		for _, method := range methods {
			for token, want := range map[string]int{apiToken: http.StatusForbidden, "nobody's": http.StatusUnauthorized, "": http.StatusUnauthorized} {
				f := newFront(t)
				r := httptest.NewRequest(method, path, strings.NewReader(`{"keep": "winner"}`))
				if token != "" {
					r.Header.Set("Authorization", "Bearer "+token)
				}
				w := httptest.NewRecorder()
				f.ServeHTTP(w, r)
				if w.Code != want {
					t.Errorf("%s %s with token %q: got %d, want %d", method, path, token, w.Code, want)
				}
				if len(f.failover.asked)+len(f.failover.removed)+len(f.gateway.resolved)+f.records.pages > 0 {
					t.Errorf("%s %s with token %q: something was done", method, path, token)
				}
			}
		}
	}
}

func TestOtherMethodsAreNotAllowed(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	for path, allowed := range adminPaths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if slices.Contains(allowed, method) {
				continue
			}
			w := f.do(method, path, "")
			f.wantProblem(w, 405, "MethodNotAllowed")
			if got := w.Header().Get("Allow"); got != strings.Join(allowed, ", ") {
				t.Errorf("%s %s: got Allow %q, want %q", method, path, got, allowed)
			}
		}
	}
}

// HEAD is GET without the body, over a real connection.
func TestHeadAnswersAsGetDoes(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.records.ledger, f.records.conflicts = entries(2500), conflicts()
	s := httptest.NewServer(f)
	defer s.Close()
	ask := func(method, path string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+adminToken)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, data
	}
	for _, path := range []string{
		"/admin/failovers", "/admin/failovers/2", "/admin/failovers/9", "/admin/failovers/2/ledger", "/admin/failovers/2/ledger?format=csv",
		"/admin/failovers/2/ledger?format=xml", "/admin/conflicts", "/admin/conflicts/1", "/admin/conflicts/9", "/admin/audit",
	} {
		get, body := ask("GET", path)
		f.records.pages = 0
		head, none := ask("HEAD", path)
		if head.StatusCode != get.StatusCode || len(none) > 0 || len(body) == 0 {
			t.Errorf("%s: got %d with %d bytes, want %d without a body", path, head.StatusCode, len(none), get.StatusCode)
		}
		for _, name := range []string{"Content-Type", "Content-Disposition"} {
			if got, want := head.Header.Get(name), get.Header.Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", path, name, got, want)
			}
		}
		if f.records.pages > 1 {
			t.Errorf("%s: %d pages were read for no body", path, f.records.pages)
		}
	}
}
