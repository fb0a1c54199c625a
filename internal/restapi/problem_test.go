package restapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/stats"
)

// newAPI returns a front whose gateway is only there for what gives it methods.
func newAPI(t *testing.T, g Gateway) *API {
	t.Helper()
	a, err := New(Config{
		Buckets: []Bucket{{Name: "bucket", Gateway: g}}, Regions: func() []string { return nil },
		Failover: noFailover{}, Records: noRecords{}, Keys: noKeys{}, Health: func() []health.Status { return nil }, Access: NewAccess("", nil, true), Ready: func() error { return nil }, MaxJSONBytes: 1 << 20,
		Stats:          func(context.Context) (stats.Report, error) { return stats.Report{}, nil },
		MetricsHandler: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// noGateway is for requests that do not get as far.
type noGateway struct{ Gateway }

type (
	noFailover struct{ Failover }
	noRecords  struct{ Records }
	noKeys     struct{ Keys }
)

// answer is how a front renders an error.
func answer(t *testing.T, err error) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	rec := pace.NewWriter(w, time.Second)
	newAPI(t, noGateway{}).problem(rec, httptest.NewRequest(http.MethodGet, "/objects/k", nil), err)
	return w.Result()
}

const secret = "secret of the inside"

func TestAnErrorIsAProblemWithItsStatusAndCode(t *testing.T) {
	t.Parallel()
	inside := errors.New(secret)
	of := func(kind s3op.Kind) error { return s3op.WrapError(kind, "Code", "what is wrong", inside) }
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
		header string // that must be there
	}{
		"Invalid":        {of(s3op.Invalid), 400, "Code", ""},
		"Denied":         {of(s3op.Denied), 403, "Code", ""},
		"NotFound":       {of(s3op.NotFound), 404, "Code", ""},
		"Conflict":       {of(s3op.Conflict), 409, "Code", ""},
		"Precondition":   {of(s3op.Precondition), 412, "Code", ""},
		"Range":          {of(s3op.Range), 416, "Code", ""},
		"TooLarge":       {of(s3op.TooLarge), 413, "Code", ""},
		"Unavailable":    {of(s3op.Unavailable), 503, "Code", "Retry-After"},
		"NotImplemented": {of(s3op.NotImplemented), 501, "Code", ""},
		"Internal":       {of(s3op.Internal), 500, "Code", ""},
		"wrapped":        {fmt.Errorf("%s: %w", secret, of(s3op.NotFound)), 404, "Code", ""},
		"unclassified":   {inside, 500, "InternalError", ""},
		"method":         {&methodError{"PATCH", map[string]operation{"PUT": {}, "GET": {}}}, 405, "MethodNotAllowed", "Allow"},
		"token":          {&authError{"a token is needed"}, 401, "Unauthorized", "Www-Authenticate"},
	} {
		resp := answer(t, c.err)
		var p problemBody
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if resp.StatusCode != c.status || p.Status != c.status || p.Code != c.code {
			t.Errorf("%s: got status %d and %+v, want status %d and code %s", name, resp.StatusCode, p, c.status, c.code)
		}
		if p.Type != "about:blank" || p.Title != http.StatusText(c.status) || p.Detail == "" {
			t.Errorf("%s: got %+v, want type, title and detail", name, p)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s: got Content-Type %q", name, got)
		}
		if c.header != "" && resp.Header.Get(c.header) == "" {
			t.Errorf("%s: got %v, want %s", name, resp.Header, c.header)
		}
		if whole := fmt.Sprint(p, resp.Header); strings.Contains(whole, secret) {
			t.Errorf("%s: the client is told of the inside: %s", name, whole)
		}
	}
}

func TestAProblemNamesTheRegionAndItsAge(t *testing.T) {
	t.Parallel()
	resp := answer(t, &s3op.Error{Kind: s3op.Unavailable, Code: "NotYetReplicated", Message: "behind", Region: "b", Age: 1500 * time.Millisecond})
	var got problemBody
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := problemBody{
		Type: "about:blank", Title: "Service Unavailable", Status: 503, Detail: "behind", Code: "NotYetReplicated", Region: "b", AgeSeconds: 1.5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
}

func TestNotModifiedHasNoBodyAndOnlyItsHeaders(t *testing.T) {
	t.Parallel()
	from := http.Header{"Etag": {`"e"`}, "Cache-Control": {"max-age=1"}, "X-Amz-Id-2": {secret}, "Content-Length": {"7"}}
	resp := answer(t, &s3op.Error{Kind: s3op.NotModified, Header: from})
	if resp.StatusCode != 304 {
		t.Errorf("got status %d, want 304", resp.StatusCode)
	}
	if diff := cmp.Diff(http.Header{"Etag": {`"e"`}, "Cache-Control": {"max-age=1"}}, resp.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

// An error behind the beginning of an answer can only be shown by cutting it.
func TestAnErrorInTheMiddleCutsTheAnswer(t *testing.T) {
	t.Parallel()
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("got panic %v, want %v", got, http.ErrAbortHandler)
		}
	}()
	rec := pace.NewWriter(httptest.NewRecorder(), time.Second)
	rec.WriteHeader(http.StatusOK)
	newAPI(t, noGateway{}).problem(rec, httptest.NewRequest(http.MethodGet, "/objects/k", nil), errors.New("cut"))
}
