package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/region/regiontest"
)

const (
	bucketA = "bucket-a"
	bucketB = "bucket-b"
	// patience bounds every wait for something that happens in the background.
	patience = time.Minute
)

// options are what a test wants otherwise than newGateway has it.
type options struct {
	// env overrides variables of the configuration; an empty value takes one out.
	env map[string]string
	// a and b are the traits of the regions.
	a, b regiontest.Options
	// prepare acts on the regions before the gateway is started.
	prepare func(a, b *regiontest.Server)
	// wrapB puts something before B's endpoint and returns its URL.
	wrapB func(t *testing.T, endpoint string) string
	// unknown: a region holds what the index does not know, so that it is never compared.
	unknown bool
}

// rig is a gateway in front of two regions in memory.
type rig struct {
	t    *testing.T
	URL  string
	S3   string // the URL of the S3 API
	A, B *regiontest.Server

	env    map[string]string
	client *http.Client
	stop   func() error
}

// newGateway starts a gateway with A, the active, and B. Everything ends with the test.
func newGateway(t *testing.T, o options) *rig {
	t.Helper()
	o.a.Buckets, o.a.AccessKey = append(o.a.Buckets, bucketA), "key-a"
	o.b.Buckets, o.b.AccessKey = append(o.b.Buckets, bucketB), "key-b"
	g := &rig{t: t, A: regiontest.NewServer(o.a), B: regiontest.NewServer(o.b)}
	if o.prepare != nil {
		o.prepare(g.A, g.B)
	}
	g.env = map[string]string{
		"PORT": "0", "S3_PORT": "0", "DATA_DIR": t.TempDir(), "MIN_FREE_BYTES": "0", "DRAIN_TIMEOUT": "1500ms",
		"REGION_TIMEOUT": "1s", "DOUBT_WINDOW": "300ms", "FAILOVER_MODE": "manual",
		// Health and marks are for the tests that ask for them.
		"HEALTH_INTERVAL": "1h", "MARK_INTERVAL": "1h",
		"PRIMARY_S3_ENDPOINT": regiontest.Start(t, g.A), "PRIMARY_S3_BUCKET": bucketA,
		"PRIMARY_S3_ACCESS_KEY": "key-a", "PRIMARY_S3_SECRET_KEY": "secret-a",
		"SECONDARY_S3_ENDPOINT": regiontest.Start(t, g.B), "SECONDARY_S3_BUCKET": bucketB,
		"SECONDARY_S3_ACCESS_KEY": "key-b", "SECONDARY_S3_SECRET_KEY": "secret-b",
	}
	if o.wrapB != nil {
		g.env["SECONDARY_S3_ENDPOINT"] = o.wrapB(t, g.env["SECONDARY_S3_ENDPOINT"])
	}
	maps.Copy(g.env, o.env)
	transport := &http.Transport{DisableCompression: true}
	g.client = &http.Client{Transport: transport, Timeout: 2 * patience}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := g.stop(); err != nil {
			t.Errorf("stop the gateway: %v", err)
		}
	})
	g.start()
	if !o.unknown {
		g.awaitCompared()
	}
	return g
}

// start runs a gateway on what the data folder holds.
func (g *rig) start() {
	g.t.Helper()
	cfg, err := config.Load(func(name string) (string, bool) {
		value, ok := g.env[name]
		return value, ok
	})
	if err != nil {
		g.t.Fatal(err)
	}
	started := make(chan app.URLs, 1)
	a, err := app.New(g.t.Context(), cfg, app.Options{
		Started: func(urls app.URLs) { started <- urls }, Logger: newLogger(g.t),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	g.stop = func() error {
		cancel()
		err := <-ended
		ended <- nil // whoever stops it again
		return err
	}
	select {
	case urls := <-started:
		g.URL, g.S3 = urls.REST, urls.S3
	case err := <-ended:
		g.t.Fatalf("run the gateway: %v", err)
	}
}

// newLogger shows the log of a test under -v with TANDEM_TEST_LOG=1.
func newLogger(t testing.TB) *slog.Logger {
	if os.Getenv("TANDEM_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// restart ends the gateway, cutting what is under way, and starts it anew on the
// same data folder.
func (g *rig) restart(env map[string]string) {
	g.t.Helper()
	_ = g.stop() // what was cut is an error, and meant
	g.client.CloseIdleConnections()
	maps.Copy(g.env, env)
	g.start()
}

// eventually asks until ask returns nil.
func (g *rig) eventually(ask func() error) {
	g.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("after %v: %v", patience, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (g *rig) awaitCompared() {
	g.t.Helper()
	g.eventually(func() error {
		for _, r := range g.state().Regions {
			if !r.Compared {
				return fmt.Errorf("region %s is not compared", r.Name)
			}
		}
		return nil
	})
}

// response is an answer, read to its end; err says why that was not reached.
type response struct {
	Status int
	Header http.Header
	Body   []byte
	err    error
}

func (r response) String() string { return fmt.Sprintf("%d %s (%v)", r.Status, r.Body, r.err) }

// edit changes a request before it is sent.
type edit func(*http.Request)

func header(name, value string) edit {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// unsized leaves the length of the body out.
func unsized(r *http.Request) { r.ContentLength = -1 }

// sized says how long the body is.
func sized(n int64) edit {
	return func(r *http.Request) { r.ContentLength = n }
}

func (g *rig) do(method, path string, body io.Reader, edits ...edit) response {
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.URL+path, body)
	if err != nil {
		return response{err: err}
	}
	for _, e := range edits {
		e(req)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return response{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil {
		g.wantDocumented(method, path, resp, data)
	}
	return response{Status: resp.StatusCode, Header: resp.Header, Body: data, err: err}
}

func (g *rig) PUT(key string, data []byte, edits ...edit) response {
	return g.do(http.MethodPut, "/objects/"+escape(key), bytes.NewReader(data), edits...)
}

func (g *rig) GET(key string, edits ...edit) response {
	return g.do(http.MethodGet, "/objects/"+escape(key), nil, edits...)
}

func (g *rig) HEAD(key string, edits ...edit) response {
	return g.do(http.MethodHead, "/objects/"+escape(key), nil, edits...)
}

func (g *rig) DELETE(key string, edits ...edit) response {
	return g.do(http.MethodDelete, "/objects/"+escape(key), nil, edits...)
}

// query adds a parameter.
func query(name, value string) edit {
	return func(r *http.Request) {
		q := r.URL.Query()
		q.Set(name, value)
		r.URL.RawQuery = q.Encode()
	}
}

// escape writes a key into a path: everything but letters, digits, "-._~" and the
// slash is percent-encoded.
func escape(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// written is the answer to a PUT or POST.
type written struct {
	Bucket, Key, ETag, ContentType, Region, Version string
	Size                                            int64
	Replication                                     map[string]string
}

// put writes an object, which must succeed.
func (g *rig) put(key, data string, edits ...edit) written {
	g.t.Helper()
	r := g.PUT(key, []byte(data), edits...)
	if r.Status != http.StatusCreated {
		g.t.Fatalf("PUT %q: got %v, want 201", key, r)
	}
	return decode[written](g.t, r)
}

// remove deletes a key, which must succeed.
func (g *rig) remove(key string) {
	g.t.Helper()
	if r := g.DELETE(key); r.Status != http.StatusNoContent {
		g.t.Fatalf("DELETE %q: got %v, want 204", key, r)
	}
}

func decode[T any](t testing.TB, r response) T {
	t.Helper()
	var v T
	decoder := json.NewDecoder(bytes.NewReader(r.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("decode %v: %v", r, err)
	}
	return v
}

// problem is an error as the gateway answers it.
type problem struct {
	Type, Title, Detail, Code, Region string
	Status                            int
	AgeSeconds                        float64
	Objections                        []objection
}

// wantProblem checks an error's status and code, and that it says what is wrong.
func wantProblem(t testing.TB, r response, status int, code string) problem {
	t.Helper()
	if r.Status != status || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %v (%s), want a problem with status %d and code %s", r, r.Header.Get("Content-Type"), status, code)
		return problem{}
	}
	p := decode[problem](t, r)
	if p.Code != code || p.Status != status || p.Detail == "" || p.Type == "" || p.Title == "" {
		t.Errorf("got problem %+v, want status %d, code %s and a detail", p, status, code)
	}
	return p
}

// wantObject checks what a key reads as.
func (g *rig) wantObject(key, data string, edits ...edit) response {
	g.t.Helper()
	r := g.GET(key, edits...)
	if r.Status != http.StatusOK || r.err != nil || string(r.Body) != data {
		g.t.Errorf("GET %q: got %d with %d bytes (%v) %.80q, want 200 with %.80q", key, r.Status, len(r.Body), r.err, r.Body, data)
	}
	return r
}

// replication is the answer to GET /replication/{key}.
type replication struct {
	Bucket, Key, Version, ETag, ContentType, LastRegion, CreatedAt, UpdatedAt string
	Deleted, Settled                                                          bool
	Size                                                                      int64
	Regions                                                                   []copyState
}

type copyState struct {
	Region, State, Version, ETag string
	Attempts                     int
	LastError, NextTry           *string
}

// in returns the copy of a region.
func (r replication) in(region string) copyState {
	for _, c := range r.Regions {
		if c.Region == region {
			return c
		}
	}
	return copyState{Region: region, State: "no such region"}
}

// status is what the index knows of a key; the zero value where that is nothing.
func (g *rig) status(key string) replication {
	g.t.Helper()
	r := g.do(http.MethodGet, "/replication/"+escape(key), nil)
	if r.Status == http.StatusNotFound {
		return replication{}
	}
	if r.Status != http.StatusOK {
		g.t.Fatalf("GET /replication/%q: got %v, want 200", key, r)
	}
	return decode[replication](g.t, r)
}

// awaitState waits until the key's copy in a region has the state.
func (g *rig) awaitState(key, region, state string) copyState {
	g.t.Helper()
	var c copyState
	g.eventually(func() error {
		if c = g.status(key).in(region); c.State != state {
			return fmt.Errorf("key %q in %s is %s, want %s: %+v", key, region, c.State, state, c)
		}
		return nil
	})
	return c
}

// awaitSettled waits until the key is settled and current in both regions.
func (g *rig) awaitSettled(keys ...string) {
	g.t.Helper()
	for _, key := range keys {
		g.eventually(func() error {
			s := g.status(key)
			for _, c := range s.Regions {
				if !s.Settled || c.State != "current" {
					return fmt.Errorf("key %q is not settled and current in %s: %+v", key, c.Region, s)
				}
			}
			return nil
		})
	}
}

type gatewayState struct {
	Active, Mode, Checkpoint string
	Replica                  *string
	Replicas                 []string
	Epoch                    int64
	BlockedBy                []objection
	Regions                  []struct {
		Name, Role, Endpoint, Bucket string
		Health                       string
		HealthSince, LastError       *string
		Compared, Regressed          bool
		NeverCompared                *int64
		Pending                      struct{ Keys, Bytes, Failing, Unreplicable int64 }
		LagSeconds                   *float64
		OpenURLs                     struct {
			Count int64
			Until *time.Time
		}
		Buckets []struct {
			Name, Bucket        string
			Compared, Regressed bool
			NeverCompared       *int64
			Pending             struct{ Keys, Bytes, Failing, Unreplicable int64 }
			LagSeconds          *float64
			OpenURLs            struct {
				Count int64
				Until *time.Time
			}
		}
	}
}

type objection struct{ Region, Code, Message string }

func (g *rig) state() gatewayState {
	g.t.Helper()
	return decode[gatewayState](g.t, g.do(http.MethodGet, "/admin/state", nil))
}

// objects is what a region holds for clients.
func objects(s *regiontest.Server, bucket string) map[string]regiontest.State {
	held := s.Snapshot()[bucket]
	maps.DeleteFunc(held, func(key string, _ regiontest.State) bool { return strings.HasPrefix(key, ".tandem/") })
	return held
}

// awaitConverged waits until nothing is pending and B holds what A holds.
func (g *rig) awaitConverged() {
	g.t.Helper()
	g.eventually(func() error {
		for _, r := range g.state().Regions {
			if r.Pending.Keys > 0 {
				return fmt.Errorf("region %s has %d keys pending", r.Name, r.Pending.Keys)
			}
		}
		if diff := cmp.Diff(objects(g.A, bucketA), objects(g.B, bucketB)); diff != "" {
			return fmt.Errorf("A and B differ (-A +B):\n%s", diff)
		}
		return nil
	})
}

// wantNothing checks that neither region holds anything of a client's.
func (g *rig) wantNothing() {
	g.t.Helper()
	if held := slices.Sorted(maps.Keys(objects(g.A, bucketA))); len(held) > 0 {
		g.t.Errorf("A holds %q, want nothing", held)
	}
	if held := slices.Sorted(maps.Keys(objects(g.B, bucketB))); len(held) > 0 {
		g.t.Errorf("B holds %q, want nothing", held)
	}
	isProbe := func(u regiontest.Upload) bool { return strings.HasPrefix(u.Key, ".tandem/") }
	if open := slices.DeleteFunc(g.A.Uploads(bucketA), isProbe); len(open) > 0 {
		g.t.Errorf("A has unfinished uploads: %+v", open)
	}
}

// onKey is a fault rule for one operation on one key.
func onKey(operation, key string, f regiontest.Fault) func(regiontest.Request) regiontest.Fault {
	return func(q regiontest.Request) regiontest.Fault {
		if q.Operation != operation || q.Key != key {
			return regiontest.Fault{}
		}
		return f
	}
}
