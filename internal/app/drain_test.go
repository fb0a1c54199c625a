package app_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// begin sends a write whose answer the active keeps back, and returns where the
// answer will show.
func (g *rig) begin(key, data string, f regiontest.Fault) <-chan response {
	g.t.Helper()
	g.A.SetFaults(onKey("PutObject", key, f))
	answer := make(chan response, 1)
	go func() { answer <- g.PUT(key, []byte(data)) }()
	g.eventually(func() error {
		for _, q := range g.A.Requests() {
			if q.Operation == "PutObject" && q.Key == key {
				return nil
			}
		}
		return errors.New("the write has not reached A")
	})
	return answer
}

// end stops the gateway, and returns where the end of its run will show.
func (g *rig) end() <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- g.stop() }()
	return ended
}

// While it drains the gateway says that it is not ready and serves; then it takes no
// more, answers what is under way, and ends.
func TestDrainAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"DRAIN_TIMEOUT": "20s", "REGION_TIMEOUT": "20s"}})
	if r := g.do(http.MethodGet, "/readyz", nil); r.Status != 200 {
		t.Fatalf("readyz: got %v, want 200", r)
	}
	gate := make(chan struct{})
	answer := g.begin("k", "content", regiontest.Fault{Hang: gate})
	ended := g.end()
	g.eventually(func() error {
		r := g.do(http.MethodGet, "/readyz", nil)
		if r.Status == 503 {
			wantProblem(t, r, 503, "NotReady")
			return nil
		}
		return errors.New("still ready: " + r.String())
	})
	if r := g.do(http.MethodGet, "/livez", nil); r.Status != 200 {
		t.Errorf("livez while draining: got %v, want 200", r)
	}
	g.put("while draining", "content")
	g.eventually(func() error {
		if r := g.do(http.MethodGet, "/readyz", nil); r.err == nil {
			return errors.New("still taking connections: " + r.String())
		}
		return nil
	})
	close(gate)
	r := <-answer
	if r.Status != http.StatusCreated {
		t.Fatalf("the write under way: got %v, want 201", r)
	}
	if err := <-ended; err != nil {
		t.Fatalf("got %v, want an end without an error", err)
	}
	g.start()
	g.wantObject("while draining", "content")
	got := g.wantObject("k", "content")
	if v := g.status("k").Version; v != decode[written](t, r).Version || got.Header.Get("X-Tandem-Region") != "primary" {
		t.Errorf("got version %s after the restart, acknowledged was %s", v, r)
	}
	g.awaitConverged()
}

// A write that the drain cuts is not acknowledged, and the next start finds out what
// became of it.
func TestWriteThatTheDrainCutsIsSettled(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]regiontest.Fault{
		"applied": {Hang: make(chan struct{}), Apply: true}, "not applied": {Hang: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, options{env: map[string]string{"DRAIN_TIMEOUT": "1s", "REGION_TIMEOUT": "3s"}})
			g.put("k", "old")
			g.awaitConverged()
			answer := g.begin("k", "new", f)
			if err := <-g.end(); err == nil || !strings.Contains(err.Error(), "DRAIN_TIMEOUT") {
				t.Errorf("got %v, want an error that names the setting", err)
			}
			if r := <-answer; r.err == nil && r.Status < 500 {
				t.Errorf("the write that was cut: got %v, want no acknowledgement", r)
			}
			g.A.SetDown(true) // what is cut when the process ends
			g.A.SetDown(false)
			g.A.SetFaults(nil)
			g.start()
			g.awaitSettled("k")
			want := map[bool]string{true: "new", false: "old"}[f.Apply]
			g.wantObject("k", want)
			g.awaitConverged()
			wantHeaders(t, g.wantObject("k", want, query("prefer", "replica")), "secondary", "current", false)
		})
	}
}
