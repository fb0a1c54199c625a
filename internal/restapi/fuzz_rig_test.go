package restapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/stats"
)

// Secrets that no answer may have in it.
const (
	fuzzAdminToken = "4dm1n-c4n4ry-0123456789"
	fuzzAPIToken   = "4p1-c4n4ry-0123456789"
	fuzzRegionKey  = "r3g10n-c4n4ry-0123456789"
)

// fuzzBucket is called as the examples of the document have it.
const fuzzBucket = "tandem"

// rowsInMemory is a journal of one region that is always there. What it has no method for
// is not asked of it.
type rowsInMemory struct {
	gateway.Journal
	rows     map[string]*journal.Object
	open     map[int64]journal.Intent
	last     int64
	doubtful int
	signed   []journal.SignedURL
	conflict *journal.Conflict
}

func (j *rowsInMemory) Sign(_ context.Context, u journal.SignedURL) (journal.SignedURL, error) {
	if u.Operation == journal.PresignedPut {
		j.last++
		u.ID = j.last
		j.signed = append(j.signed, u)
	}
	return u, nil
}

func (j *rowsInMemory) SignedURLs(_ context.Context, _ string, after int64, limit int) (list []journal.SignedURL, err error) {
	for _, u := range j.signed {
		if u.ID > after && len(list) < limit {
			list = append(list, u)
		}
	}
	return list, nil
}

func (j *rowsInMemory) OpenURLs(context.Context, string) (map[string]journal.OpenURLs, error) {
	open := make(map[string]journal.OpenURLs)
	for _, u := range j.signed {
		open[u.Region] = journal.OpenURLs{Count: open[u.Region].Count + 1, Until: u.OpenUntil}
	}
	return open, nil
}

func (j *rowsInMemory) Open(_ context.Context, i journal.Intent) (int64, error) {
	j.last++
	j.open[j.last] = i
	return j.last, nil
}

func (j *rowsInMemory) Commit(_ context.Context, id int64, w journal.Written) (journal.Committed, error) {
	i := j.open[id]
	delete(j.open, id)
	v := journal.Version{Epoch: i.Epoch, Sequence: id}
	j.rows[i.Key] = &journal.Object{
		Bucket: i.Bucket, Key: i.Key, Version: v, Operation: i.Operation, Deleted: i.Operation == journal.Delete, ETag: w.ETag, Size: w.Size,
		ContentType: w.ContentType, LastRegion: i.Region, CreatedAt: at, UpdatedAt: at,
		Copies: []journal.Copy{{Region: i.Region, State: journal.Current, Version: v, ETag: w.ETag}},
	}
	return journal.Committed{Version: v, Settled: true}, nil
}

func (j *rowsInMemory) Abandon(_ context.Context, id int64) error {
	delete(j.open, id)
	return nil
}

func (j *rowsInMemory) Doubt(context.Context, int64, time.Time) error {
	j.doubtful++
	return nil
}

func (j *rowsInMemory) MarkMissing(context.Context, string, string, string, journal.Version) error {
	j.doubtful++
	return nil
}

func (j *rowsInMemory) Lookup(_ context.Context, _, key string) (*journal.Object, error) {
	o := j.rows[key]
	if o == nil {
		return nil, journal.ErrNotFound
	}
	row := *o
	row.Copies = slices.Clone(o.Copies)
	return &row, nil
}

func (j *rowsInMemory) Differing(context.Context, string, string, string, string, int) ([]*journal.Object, error) {
	return nil, nil
}

func (j *rowsInMemory) Lag(context.Context, string, string) (journal.Lag, error) {
	return journal.Lag{}, nil
}

func (j *rowsInMemory) Conflict(context.Context, int64) (journal.Conflict, error) {
	if j.conflict == nil {
		return journal.Conflict{}, journal.ErrNotFound
	}
	return *j.conflict, nil
}

// inProcess hands requests to a region in memory.
type inProcess struct{ *regiontest.Server }

func (s inProcess) RoundTrip(q *http.Request) (answer *http.Response, err error) {
	w := httptest.NewRecorder()
	q = q.Clone(q.Context())
	if q.Body == nil {
		q.Body = http.NoBody
	}
	defer func() {
		if cut := recover(); cut != nil {
			if cut != http.ErrAbortHandler {
				panic(cut)
			}
			answer, err = nil, errors.New("the region hung up")
		}
	}()
	s.ServeHTTP(w, q)
	return w.Result(), nil
}

// whole is the front, the gateway and a region, with nothing between them but calls.
type whole struct {
	*restapi.API
	t        *testing.T
	region   *regiontest.Server
	journal  *rowsInMemory
	failover *fakeFailover
	records  *fakeRecords
	keys     *fakeKeys
	changes  []string // the clients' keys that a request changed in the region
}

func newWhole(t *testing.T, spool string) *whole {
	t.Helper()
	g := &whole{
		t: t, region: regiontest.NewServer(regiontest.Options{Buckets: []string{fuzzBucket}, SmallParts: true}),
		journal: &rowsInMemory{rows: make(map[string]*journal.Object), open: make(map[int64]journal.Intent)},
		keys:    &fakeKeys{}, failover: &fakeFailover{}, records: &fakeRecords{conflicts: conflicts(), ledger: entries(3),
			failovers: []failover.Record{{Epoch: 2, From: "a", To: "b", At: at}, {Epoch: 1, To: "a", At: at}}},
	}
	g.failover.result.Failover = &g.records.failovers[0]
	g.region.OnApply(func(q regiontest.Request, before, after *regiontest.Object) {
		if !s3op.IsReserved(q.Key) && (before != nil || after != nil) {
			g.changes = append(g.changes, q.Key)
		}
	})
	log := slog.New(slog.DiscardHandler)
	r, err1 := region.New(t.Context(), region.Config{
		Name: "a", Endpoint: "http://127.0.0.1", Bucket: fuzzBucket, AccessKey: "key", SecretKey: fuzzRegionKey, Transport: inProcess{g.region},
	})
	core, err2 := gateway.New(gateway.Config{
		Bucket: fuzzBucket, Regions: []*region.Region{r}, Journal: g.journal, State: journal.State{Epoch: 1, Active: "a"},
		MaxObjectBytes: 1 << 20, PartBytes: 64 << 10, SpoolDir: spool, Logger: log,
	})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	core.SetCompared([]string{"a"})
	g.API, err1 = restapi.New(restapi.Config{
		Buckets: []restapi.Bucket{{Name: fuzzBucket, Gateway: core}}, Regions: core.Regions,
		Failover: g.failover, Records: g.records, Keys: g.keys, Health: func() []health.Status { return []health.Status{{Region: "a", State: health.Up}} },
		Access: restapi.NewAccess(fuzzAdminToken, []string{fuzzAPIToken}, true), Ready: func() error { return nil }, MaxJSONBytes: 4 << 10,
		Stats: func(context.Context) (stats.Report, error) { return stats.Report{}, nil },
		MetricsHandler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		}), Logger: log,
	})
	if err1 != nil {
		t.Fatal(err1)
	}
	return g
}

// requestOf is what net/http's server makes of a request; nil where it would not hand it on.
func requestOf(method, target, header, body string, isChunked bool) *http.Request {
	text := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + strings.ReplaceAll(header, "\n", "\r\n")
	in := bufio.NewReader(strings.NewReader(strings.TrimSuffix(text, "\r\n") + "\r\n\r\n"))
	r, err := http.ReadRequest(in)
	if err != nil || in.Buffered() > 0 || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || !isSendable(r.Header) || len(text) > 16<<10 {
		return nil
	}
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	if isChunked {
		r.ContentLength = -1
	}
	return r
}

// isSendable says what the server checks of a header before it hands it on.
func isSendable(h http.Header) bool {
	for name, values := range h {
		isToken := name != "" && !strings.ContainsFunc(name, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
		})
		if !isToken || slices.ContainsFunc(values, isUnsendable) {
			return false
		}
	}
	return true
}

func isUnsendable(value string) bool {
	return strings.Trim(value, " \t") != value || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func (g *whole) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	wantDocumented(g.t, g, r, w)
	return w
}

// ask asks as an administrator.
func (g *whole) ask(method, target, body string, header http.Header) *httptest.ResponseRecorder {
	g.t.Helper()
	r := requestOf(method, target, "", body, false)
	if r == nil {
		g.t.Fatalf("%s %s is no request", method, target)
	}
	maps.Copy(r.Header, header)
	r.Header.Set("Authorization", "Bearer "+fuzzAdminToken)
	return g.serve(r)
}

// wantRefusal checks that an answer refuses, as one that a client can read, and that nothing was done.
func (g *whole) wantRefusal(w *httptest.ResponseRecorder) {
	g.t.Helper()
	var p struct {
		Type, Title, Detail, Code, Region string
		Status                            int
		AgeSeconds                        float64
		Objections                        []any
	}
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil || p.Status != w.Code || p.Code == "" || p.Detail == "" || p.Title != http.StatusText(w.Code) || p.Type == "" {
		g.t.Errorf("status %d with %+v (%v)", w.Code, p, err)
	}
	isOurs := w.Code >= 500 && (w.Code != http.StatusNotImplemented || p.Code != "NotImplemented")
	if w.Code < 400 || isOurs || w.Header().Get("Content-Type") != "application/problem+json" {
		g.t.Errorf("refused with status %d, code %s (%s)", w.Code, p.Code, w.Header().Get("Content-Type"))
	}
	if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") == "" || w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		g.t.Errorf("status %d without the header that belongs to it", w.Code)
	}
	if len(g.changes) > 0 || len(g.failover.asked)+len(g.failover.removed)+len(g.keys.asked) > 0 {
		g.t.Errorf("refused with code %s, and done: %q changed, %v, %v", p.Code, g.changes, g.failover, g.keys.asked)
	}
}

// wantNothingOpen checks that no request left anything unfinished.
func (g *whole) wantNothingOpen() {
	g.t.Helper()
	if open := g.region.Uploads(fuzzBucket); len(open)+len(g.journal.open)+g.journal.doubtful > 0 {
		g.t.Errorf("left open: uploads %+v, intents %+v, %d in doubt", open, g.journal.open, g.journal.doubtful)
	}
}

// wantSecretsKept looks for what no client may see.
func (g *whole) wantSecretsKept(w *httptest.ResponseRecorder) {
	g.t.Helper()
	var answer bytes.Buffer
	if err := w.Result().Header.Write(&answer); err != nil {
		g.t.Error(err)
	}
	for name, values := range w.Header() {
		if slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, "\r\n\x00") }) {
			g.t.Errorf("header %s is %q", name, values)
		}
	}
	answer.Write(w.Body.Bytes())
	for _, secret := range []string{fuzzAdminToken, fuzzAPIToken, fuzzRegionKey} {
		if bytes.Contains(answer.Bytes(), []byte(secret)) {
			g.t.Errorf("a secret is in the answer: %q", &answer)
		}
	}
	if strings.HasSuffix(w.Header().Get("Content-Type"), "json") && !utf8.Valid(w.Body.Bytes()) {
		g.t.Errorf("the JSON is not UTF-8: %q", w.Body)
	}
}

func decodeInto[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("got %d, %q: %v", w.Code, w.Body, err)
	}
	return v
}
