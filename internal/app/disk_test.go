package app_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// With too little room on the disk every write is refused before anything is touched;
// reads go on, so the gateway stays ready.
func TestLowDiskRefusesWritesAndServesReads(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	w := g.put("k", "content")
	g.awaitConverged()
	g.restart(map[string]string{"MIN_FREE_BYTES": "1024TiB"})
	asked := writesOf(g.A)
	for name, r := range map[string]response{
		"PUT": g.PUT("k", []byte("other")), "unsized PUT": g.PUT("new", make([]byte, 100<<10), unsized), "DELETE": g.DELETE("k"),
		"POST": g.do(http.MethodPost, "/objects", strings.NewReader(`{"dataBase64": "aGk=", "key": "new"}`)),
	} {
		p := wantProblem(t, r, 503, "InsufficientStorage")
		if !strings.Contains(p.Detail, "MIN_FREE_BYTES") || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %q (Retry-After %q), want the setting named", name, p.Detail, r.Header.Get("Retry-After"))
		}
	}
	if got := writesOf(g.A); got != asked {
		t.Errorf("A was sent %d writes", got-asked)
	}
	wantHeaders(t, g.wantObject("k", "content"), "primary", "current", false)
	g.A.SetDown(true)
	wantHeaders(t, g.wantObject("k", "content"), "secondary", "current", true)
	g.A.SetDown(false)
	wantProblem(t, g.GET("new"), 404, "NoSuchKey")
	if got := g.listKeys(""); fmt.Sprint(got) != "[k]" {
		t.Errorf("listed %q, want k", got)
	}
	if s := g.status("k"); s.Version != w.Version || !s.Settled {
		t.Errorf("got %+v, want the version %s, settled", s, w.Version)
	}
	for _, path := range []string{"/readyz", "/livez", "/healthz"} {
		if r := g.do(http.MethodGet, path, nil); r.Status != 200 {
			t.Errorf("%s: got %v, want 200", path, r)
		}
	}
	g.restart(map[string]string{"MIN_FREE_BYTES": "0"})
	g.put("k", "other")
	g.awaitConverged()
}

// The room that counts is also that of the journal's own file system.
func TestDiskOfTheJournalIsWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/elsewhere"
	g := newGateway(t, options{env: map[string]string{"DATABASE_URL": dir + "/journal.db", "MIN_FREE_BYTES": "1"}})
	g.put("k", "content")
	if err := os.Rename(dir, dir+" moved"); err != nil {
		t.Fatal(err)
	}
	g.eventually(func() error {
		r := g.PUT("k", []byte("other"))
		return happened(r.Status == http.StatusServiceUnavailable && strings.Contains(string(r.Body), "disk"), "writes are refused")
	})
	if err := os.Rename(dir+" moved", dir); err != nil {
		t.Fatal(err)
	}
	g.awaitConverged()
}

// writesOf counts the writes of clients' keys that a region was sent.
func writesOf(s *regiontest.Server) (n int) {
	for _, q := range s.Requests() {
		if q.Operation == "PutObject" && !strings.HasPrefix(q.Key, ".tandem/") {
			n++
		}
	}
	return n
}
