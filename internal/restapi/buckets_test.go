package restapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/s3op"
)

// memory is a gateway of one bucket in memory. It knows what it was asked.
type memory struct {
	restapi.Gateway
	objects  map[string]string
	asked    []string
	resolved []gateway.Resolution
	statuses []gateway.RegionStatus
	err      error
}

func (m *memory) ask(what, key string) { m.asked = append(m.asked, what+" "+key) }

func (m *memory) Put(_ context.Context, key string, in gateway.PutInput) (gateway.Result, error) {
	m.ask("put", key)
	data, err := io.ReadAll(in.Body)
	m.objects[key] = string(data)
	return gateway.Result{Key: key, Region: "a", Version: journal.Version{Epoch: 1, Sequence: 1}, Size: int64(len(data)), ETag: "e"}, err
}

func (m *memory) Delete(_ context.Context, key string, _ http.Header) (gateway.Result, error) {
	m.ask("delete", key)
	delete(m.objects, key)
	return gateway.Result{Key: key, Region: "a", Version: journal.Version{Epoch: 1, Sequence: 2}}, nil
}

func (m *memory) Read(_ context.Context, key string, _ gateway.ReadInput) (*gateway.Read, error) {
	m.ask("read", key)
	data, ok := m.objects[key]
	if !ok {
		return nil, s3op.NewError(s3op.NotFound, "NoSuchKey", "the key does not exist")
	}
	return &gateway.Read{
		Attributes: region.Attributes{Status: http.StatusOK, Header: http.Header{"Etag": {`"e"`}}}, Region: "a", Freshness: "current",
		Body: io.NopCloser(strings.NewReader(data)),
	}, nil
}

func (m *memory) List(_ context.Context, in gateway.ListInput) (*gateway.Listing, error) {
	m.ask("list", in.Prefix)
	page := &gateway.Listing{Region: "a", Freshness: "current"}
	for key := range m.objects {
		page.Objects = append(page.Objects, region.ListedObject{Key: key, LastModified: at})
	}
	return page, nil
}

func (m *memory) Status(_ context.Context, key string) (*gateway.KeyStatus, error) {
	m.ask("status", key)
	return &gateway.KeyStatus{Key: key, CreatedAt: at, UpdatedAt: at}, nil
}

func (m *memory) Sign(_ context.Context, in gateway.SignInput) (*gateway.Signed, error) {
	m.ask("sign", in.Key)
	return &gateway.Signed{Presigned: region.Presigned{URL: "https://a/" + in.Key, Method: in.Method, ExpiresAt: at}, Region: "a", Notes: []string{}}, nil
}

func (m *memory) SignedURLs(context.Context, int64, int) ([]gateway.SignedURL, error) {
	m.ask("presigned", "")
	return []gateway.SignedURL{{ID: 1, Key: "k", Region: "a", Epoch: 1, SignedAt: at, ExpiresAt: at, OpenUntil: at}}, nil
}

func (m *memory) RegionStatuses(context.Context) ([]gateway.RegionStatus, error) {
	return m.statuses, m.err
}

func (m *memory) Resolve(_ context.Context, r gateway.Resolution) error {
	m.resolved = append(m.resolved, r)
	return nil
}

func (m *memory) State() gateway.State { return gateway.State{Active: "a", Epoch: 7} }

func (m *memory) Regions() []string { return []string{"a"} }

// newTwo is a front with the buckets photos, which is the first, and logs.
func newTwo(t *testing.T) (f *front, photos, logs *memory) {
	t.Helper()
	f = newFront(t)
	photos, logs = &memory{objects: make(map[string]string)}, &memory{objects: make(map[string]string)}
	f.Buckets = []restapi.Bucket{{Name: "photos", Gateway: photos}, {Name: "logs", Gateway: logs}}
	return f, photos, logs
}

// ofABucket are the requests that are about one bucket, each with what its gateway is asked.
var ofABucket = []struct{ id, method, path, body, asks string }{
	{"PutObject", "PUT", "/objects/k", "data", "put k"},
	{"GetObject", "GET", "/objects/k", "", "read k"},
	{"HeadObject", "HEAD", "/objects/k", "", "read k"},
	{"DeleteObject", "DELETE", "/objects/k", "", "delete k"},
	{"ListObjects", "GET", "/objects", "", "list "},
	{"PostObject", "POST", "/objects", `{"dataBase64": "aGk=", "key": "k"}`, "put k"},
	{"Sign", "POST", "/sign", `{"op": "put", "key": "k"}`, "sign k"},
	{"GetReplication", "GET", "/replication/k", "", "status k"},
	{"ListPresigned", "GET", "/admin/presigned", "", "presigned "},
	{"HeadPresigned", "HEAD", "/admin/presigned", "", "presigned "},
}

func TestARequestReachesItsBucketAlone(t *testing.T) {
	t.Parallel()
	for _, c := range ofABucket {
		for query, isFirst := range map[string]bool{"": true, "?bucket=photos": true, "?bucket=logs": false, "?a=b&bucket=%6cogs": false} {
			f, photos, logs := newTwo(t)
			photos.objects["k"], logs.objects["k"] = "a photo", "a log"
			w := f.do(c.method, c.path+query, c.body)
			asked, other := photos, logs
			if !isFirst {
				asked, other = logs, photos
			}
			if w.Code < 200 || w.Code > 299 || !slices.Equal(asked.asked, []string{c.asks}) || len(other.asked) > 0 {
				t.Errorf("%s%s: got %d, %s; its bucket was asked %q, the other %q", c.id, query, w.Code, w.Body, asked.asked, other.asked)
			}
		}
	}
}

// One key is an object of its own in each bucket, and every answer that names the key names its bucket.
func TestBucketsHaveKeysOfTheirOwn(t *testing.T) {
	t.Parallel()
	f, _, _ := newTwo(t)
	for _, name := range []string{"photos", "logs"} {
		query := "?bucket=" + name
		for _, w := range []*httptest.ResponseRecorder{
			f.do("PUT", "/objects/k"+query, "of "+name), f.do("GET", "/replication/k"+query, ""),
			f.do("POST", "/objects"+query, `{"dataBase64": "aGk=", "key": "a/b"}`),
		} {
			if got := decodeInto[map[string]any](t, w); got["bucket"] != name {
				t.Errorf("got %v, want bucket %s", got, name)
			}
		}
		if got := f.do("GET", "/objects/k"+query, "").Body.String(); got != "of "+name {
			t.Errorf("got %q from %s", got, name)
		}
		var listed struct{ Presigned []struct{ Bucket string } }
		if err := json.Unmarshal(f.do("GET", "/admin/presigned"+query, "").Body.Bytes(), &listed); err != nil || len(listed.Presigned) != 1 || listed.Presigned[0].Bucket != name {
			t.Errorf("got %+v (%v), want an upload to %s", listed, err, name)
		}
	}
	f.do("DELETE", "/objects/k", "")
	if w := f.do("GET", "/objects/k?bucket=photos", ""); w.Code != http.StatusNotFound {
		t.Errorf("got %d of what was deleted from the first bucket", w.Code)
	}
	if w := f.do("GET", "/objects/k?bucket=logs", ""); w.Code != http.StatusOK {
		t.Errorf("got %d of the other bucket's object", w.Code)
	}
}

// A client that follows Location gets what it has stored, whatever bucket that is in.
func TestLocationLeadsToTheBucket(t *testing.T) {
	t.Parallel()
	f, _, _ := newTwo(t)
	for query, want := range map[string]string{"": "/objects/a%20b", "?bucket=logs": "/objects/a%20b?bucket=logs"} {
		location := f.do("POST", "/objects"+query, `{"dataBase64": "aGk=", "key": "a b"}`).Header().Get("Location")
		if w := f.do("GET", location, ""); location != want || w.Body.String() != "hi" {
			t.Errorf("POST /objects%s: got %q, with %q behind it", query, location, w.Body)
		}
	}
}

func TestUnknownBucketIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range ofABucket {
		for query, want := range map[string]struct {
			status int
			code   string
		}{
			"bucket=nosuch":                 {404, "NoSuchBucket"},
			"bucket=":                       {404, "NoSuchBucket"},
			"bucket":                        {404, "NoSuchBucket"},
			"bucket=Logs":                   {404, "NoSuchBucket"},
			"bucket=logs%20":                {404, "NoSuchBucket"},
			"bucket=logs&bucket=photos":     {400, "InvalidArgument"},
			"bucket=logs&bucket=logs":       {400, "InvalidArgument"},
			"bucket=logs&a=1&%62ucket=logs": {400, "InvalidArgument"},
			"bucket=lo;gs":                  {400, "InvalidURI"},
			"bucket=%zz":                    {400, "InvalidURI"},
			"a;bucket=logs":                 {400, "InvalidURI"},
		} {
			f, photos, logs := newTwo(t)
			w := f.do(c.method, c.path+"?"+query, c.body)
			f.wantProblem(w, want.status, want.code)
			if len(photos.asked)+len(logs.asked) > 0 {
				t.Errorf("%s?%s: %q and %q were asked", c.id, query, photos.asked, logs.asked)
			}
			if isTold := strings.Contains(w.Body.String(), "photos, logs"); isTold != (want.status == 404) {
				t.Errorf("%s?%s: got %s, want the names of the buckets: %v", c.id, query, w.Body, want.status == 404)
			}
		}
	}
}

// Who may not ask learns neither which buckets there are nor whether there is one.
func TestBucketsAreNotToldToStrangers(t *testing.T) {
	t.Parallel()
	for _, c := range ofABucket {
		for _, token := range []string{"", "nobody's", apiToken} {
			if token == apiToken && !strings.HasPrefix(c.path, "/admin/") {
				continue // it may ask
			}
			var answers []string
			for _, query := range []string{"?bucket=logs", "?bucket=nosuch", "?bucket=logs&bucket=photos", ""} {
				f, _, _ := newTwo(t)
				r := httptest.NewRequest(c.method, c.path+query, strings.NewReader(c.body))
				if token != "" {
					r.Header.Set("Authorization", "Bearer "+token)
				}
				w := httptest.NewRecorder()
				f.ServeHTTP(w, r)
				if w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden {
					t.Errorf("%s%s with token %q: got %d", c.id, query, token, w.Code)
				}
				answers = append(answers, fmt.Sprint(w.Code, w.Body))
			}
			if len(slices.Compact(answers)) != 1 {
				t.Errorf("%s with token %q: the answers differ: %q", c.id, token, answers)
			}
		}
	}
}

func TestTheDocumentHasTheBucketWhereOneCanBeNamed(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, c := range ofABucket {
		want = append(want, c.id)
	}
	for _, o := range theDocument(t, newFront(t)).Operations() {
		for _, p := range o.Parameters {
			if p.Name == "bucket" && p.In == "query" && !p.Required {
				got = append(got, o.ID)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations with the parameter (-want +got):\n%s", diff)
	}
}

func TestAConflictIsResolvedInItsBucket(t *testing.T) {
	t.Parallel()
	f, photos, logs := newTwo(t)
	f.records.conflicts = []failover.Conflict{
		{ID: 1, Bucket: "photos", Key: "k", Operation: journal.Put, State: journal.ConflictKept, FoundAt: at},
		{ID: 2, Bucket: "logs", Key: "k", Operation: journal.Put, State: journal.ConflictKept, FoundAt: at},
		{ID: 3, Bucket: "gone", Key: "k", Operation: journal.Put, State: journal.ConflictKept, FoundAt: at},
	}
	// What the query says of a bucket is nothing to a conflict: it has its own.
	w := f.do("POST", "/admin/conflicts/2/resolve?bucket=photos", `{"keep": "loser"}`)
	if got := decodeInto[map[string]any](t, w); w.Code != http.StatusOK || got["bucket"] != "logs" {
		t.Errorf("got %d, %v", w.Code, got)
	}
	if want := []gateway.Resolution{{ID: 2, Keep: gateway.KeepLoser, Actor: "admin"}}; !slices.Equal(logs.resolved, want) || len(photos.resolved) > 0 {
		t.Errorf("logs resolved %+v, photos %+v", logs.resolved, photos.resolved)
	}
	if w := f.do("POST", "/admin/conflicts/1/resolve", `{"keep": "winner"}`); w.Code != http.StatusOK || len(photos.resolved) != 1 || len(logs.resolved) != 1 {
		t.Errorf("got %d; logs resolved %+v, photos %+v", w.Code, logs.resolved, photos.resolved)
	}
}

func TestAConflictOfABucketThatIsNotConfiguredSaysWhatToDo(t *testing.T) {
	t.Parallel()
	f, photos, logs := newTwo(t)
	f.records.conflicts = []failover.Conflict{{ID: 3, Bucket: "gone", Key: "k", Operation: journal.Put, State: journal.ConflictKept, FoundAt: at}}
	w := f.do("POST", "/admin/conflicts/3/resolve", `{"keep": "winner"}`)
	f.wantProblem(w, 409, "BucketNotConfigured")
	if text := w.Body.String(); !strings.Contains(text, `gone`) || !strings.Contains(text, "configure it again") || len(photos.resolved)+len(logs.resolved) > 0 {
		t.Errorf("got %s; photos resolved %+v, logs %+v", text, photos.resolved, logs.resolved)
	}
	f.wantProblem(f.do("POST", "/admin/conflicts/4/resolve", `{"keep": "winner"}`), 404, "NoSuchConflict")
	if w := f.do("GET", "/admin/conflicts/3", ""); decodeInto[map[string]any](t, w)["bucket"] != "gone" {
		t.Errorf("got %s, want it shown all the same", w.Body)
	}
}

// number is at a place of an answer, nil where null is.
func number(t *testing.T, v any) any {
	t.Helper()
	n, ok := v.(float64)
	if v != nil && !ok {
		t.Fatalf("got %v, want a number or null", v)
	}
	if !ok {
		return nil
	}
	return n
}

// region a has both buckets, b has photos alone, c has logs alone, and d was removed meanwhile.
func TestAStateAddsUpTheBucketsOfARegion(t *testing.T) {
	t.Parallel()
	f, photos, logs := newTwo(t)
	f.Regions = func() []string { return []string{"c", "a", "d", "b"} }
	f.Health = func() []health.Status { return []health.Status{{Region: "a", State: health.Up}} }
	now := time.Now()
	photos.statuses = []gateway.RegionStatus{
		{Name: "a", Endpoint: "https://a", Bucket: "photos-a", IsActive: true, Compared: true, OpenURLs: journal.OpenURLs{Count: 1, Until: at}},
		{Name: "b", Endpoint: "https://b", Bucket: "photos-b", Compared: true, Lag: journal.Lag{Keys: 1, OldestPending: now.Add(-time.Minute)}},
	}
	logs.statuses = []gateway.RegionStatus{
		{Name: "a", Endpoint: "https://a", Bucket: "logs-a", IsActive: true, Compared: true, Regressed: true, OpenURLs: journal.OpenURLs{Count: 2, Until: at.Add(time.Hour)},
			Lag: journal.Lag{Keys: 1, Bytes: 20, Failing: 3, Unreplicable: 4, OldestPending: now.Add(-time.Hour)}},
		{Name: "c", Endpoint: "https://c", Bucket: "logs-c"},
	}
	photos.statuses[0].Lag = journal.Lag{Keys: 10, Bytes: 200, Failing: 30, Unreplicable: 40, OldestPending: now.Add(-time.Minute)}
	state := decodeInto[struct {
		Active   string
		Epoch    int64
		Replicas []string
		Regions  []map[string]any
	}](t, f.do("GET", "/admin/state", ""))
	if state.Active != "a" || state.Epoch != 7 || !slices.Equal(state.Replicas, []string{"c", "b"}) || len(state.Regions) != 3 {
		t.Fatalf("got %+v", state)
	}
	c, a, b := state.Regions[0], state.Regions[1], state.Regions[2]
	if lag, _ := a["lagSeconds"].(float64); lag < 3600 || lag > 3700 {
		t.Errorf("got a lag of %v, want that of the oldest copy", a["lagSeconds"])
	}
	var names []string
	for _, of := range a["buckets"].([]any) {
		one := of.(map[string]any)
		names = append(names, fmt.Sprint(one["name"], " ", one["bucket"], " ", one["regressed"], " ", one["pending"].(map[string]any)["keys"]))
		delete(one, "lagSeconds")
	}
	if want := []string{"photos photos-a false 10", "logs logs-a true 1"}; !slices.Equal(names, want) {
		t.Errorf("got the buckets %q, want %q", names, want)
	}
	delete(a, "lagSeconds")
	delete(a, "buckets")
	want := map[string]any{
		"name": "a", "role": "active", "endpoint": "https://a", "bucket": "photos-a", "health": "up", "healthSince": nil, "lastError": nil,
		"compared": true, "regressed": true, "neverCompared": nil,
		"pending":  map[string]any{"keys": 11.0, "bytes": 220.0, "failing": 33.0, "unreplicable": 44.0},
		"openUrls": map[string]any{"count": 3.0, "until": "2026-03-01T13:00:00.123Z"},
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("region a (-want +got):\n%s", diff)
	}
	if len(b["buckets"].([]any)) != 1 || len(c["buckets"].([]any)) != 1 || c["bucket"] != "logs-c" || c["compared"] != false || c["lagSeconds"] != nil {
		t.Errorf("got b as %v, c as %v", b, c)
	}
	logs.err = errors.New("closed")
	f.wantProblem(f.do("GET", "/admin/state", ""), 503, "ServiceUnavailable")
}

func TestAStateTellsWhatWasNeverComparedOnlyWhereAllOfItIsKnown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		photosCompared, logsCompared bool
		counted                      map[string]int64
		photos, logs, both           any
	}{
		"both counted":     {false, false, map[string]int64{"photos": 3, "logs": 4}, 3.0, 4.0, 7.0},
		"one not counted":  {false, false, map[string]int64{"logs": 4}, nil, 4.0, nil},
		"none counted":     {false, false, nil, nil, nil, nil},
		"one was compared": {true, false, map[string]int64{"photos": 3, "logs": 4}, nil, 4.0, 4.0},
		"both were":        {true, true, map[string]int64{"photos": 3, "logs": 4}, nil, nil, nil},
		"none is there":    {false, true, map[string]int64{"photos": 0}, 0.0, nil, 0.0},
	} {
		f, photos, logs := newTwo(t)
		f.Uncompared = func(bucket, region string) (int64, bool) {
			keys, known := tt.counted[bucket]
			return keys, known && region == "a"
		}
		photos.statuses = []gateway.RegionStatus{{Name: "a", Compared: tt.photosCompared}}
		logs.statuses = []gateway.RegionStatus{{Name: "a", Compared: tt.logsCompared}}
		state := decodeInto[struct{ Regions []map[string]any }](t, f.do("GET", "/admin/state", ""))
		region := state.Regions[0]
		got := []any{region["compared"]}
		for _, of := range append(region["buckets"].([]any), region) {
			got = append(got, number(t, of.(map[string]any)["neverCompared"]))
		}
		want := []any{tt.photosCompared && tt.logsCompared, tt.photos, tt.logs, tt.both}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: compared, and never compared of photos, logs and both (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheHealthOfARegionOfAnyBucketIsTold(t *testing.T) {
	t.Parallel()
	f, _, _ := newTwo(t)
	f.Regions = func() []string { return []string{"a", "b"} }
	f.Health = func() []health.Status {
		return []health.Status{{Region: "a", State: health.Up}, {Region: "b", State: health.Down}, {Region: "removed", State: health.Down}}
	}
	f.want(f.do("GET", "/healthz", ""), 200, `{"status": "degraded", "active": "a", "regions": {"a": "up", "b": "down"}}`)
}

func TestBucketsThatCannotBeToldApartAreRefused(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	g := f.Buckets[0].Gateway
	for name, buckets := range map[string][]restapi.Bucket{
		"none": nil, "no name": {{Gateway: g}}, "no gateway": {{Name: "a"}}, "twice": {{Name: "a", Gateway: g}, {Name: "b", Gateway: g}, {Name: "a", Gateway: g}},
	} {
		cfg := f.Config
		cfg.Buckets = buckets
		if _, err := restapi.New(cfg); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	if _, err := restapi.New(f.Config); err != nil {
		t.Error(err)
	}
}
