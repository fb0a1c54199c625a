package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// A lock is created at A and is at risk; B, which lacks it, is not to say who may have it.
func TestConditionalWriteIsNotJudgedByARegionThatLacksTheKey(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	refuse(g.B, "lock")
	if r := g.PUT("lock", []byte("first holder"), header("If-None-Match", "*")); r.Status != 201 {
		t.Fatalf("got %v, want 201", r)
	}
	g.down("primary")
	g.B.SetFaults(nil)
	if f := g.mustPromote("secondary"); f.AtRisk != 1 || f.AtRiskBytes != int64(len("first holder")) || f.Open != 1 {
		t.Errorf("promoted: %+v, want one key at risk", f)
	}
	wantProblem(t, g.PUT("lock", []byte("second holder"), header("If-None-Match", "*")), 503, "NotYetReplicated")
	wantProblem(t, g.DELETE("lock", header("If-Match", "*")), 503, "NotYetReplicated")
	wantProblem(t, g.GET("lock"), 503, "NotYetReplicated")
	g.wantEntry(2, "lock", "at-risk", "open")
	g.up("primary")
	g.awaitClosed()
	g.wantEntry(2, "lock", "at-risk", "recovered")
	g.wantObject("lock", "first holder")
	wantProblem(t, g.PUT("lock", []byte("second holder"), header("If-None-Match", "*")), 412, "PreconditionFailed")
}

// The write is applied at A; B is promoted; then the commit: it is never acknowledged, and found.
func TestAWriteWhoseCommitFindsANewerEpochIsRefusedAndFound(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"put", "delete"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "old")
			g.awaitSettled("k")
			gate := make(chan struct{})
			g.A.SetFaults(onWrites("k", regiontest.Fault{Hang: gate, Apply: true}))
			answer := make(chan response, 1)
			go func() {
				if op == "put" {
					answer <- g.PUT("k", []byte("new"))
				} else {
					answer <- g.DELETE("k")
				}
			}()
			g.eventually(func() error { return happened(bytesOf(g.A, bucketA, "k") != "old", "A applies the write") })
			f := g.mustPromote("secondary")
			if r := <-answer; r.Status != 503 {
				t.Errorf("the write: got %v, want 503", r)
			}
			close(gate)
			if f.InDoubt != 1 || f.AtRisk != 0 {
				t.Errorf("promoted: %+v, want one write in doubt", f)
			}
			g.A.SetFaults(nil)
			g.awaitClosed()
			want := map[string]string{"put": "new", "delete": ""}[op]
			g.wantRead("k", want)
			g.wantEntry(2, "k", "in-doubt", "recovered")
		})
	}
}

// in-doubt writes of the new active do not make its older object the acknowledged one.
func TestAWriteInDoubtDoesNotHideThatTheActiveIsBehind(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"put", "delete"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "old")
			g.awaitSettled("k")
			g.atRisk("k", "acknowledged")
			g.mustPromote("secondary")
			late := make(chan struct{})
			g.B.SetFaults(onWrites("k", regiontest.Fault{ApplyLater: late}))
			write := func() response { return g.PUT("k", []byte("in doubt")) }
			if op == "delete" {
				write = func() response { return g.DELETE("k") }
			}
			if r := write(); r.Status != 503 {
				t.Errorf("the write: got %v, want 503", r)
			}
			g.B.SetFaults(nil)
			for range 5 {
				if r := g.GET("k"); r.Status != 503 {
					t.Errorf("got %v (%v), want 503: B holds an older object", r, r.Header)
				}
			}
			r := g.GET("k", header("X-Tandem-Allow-Stale", "true"))
			if r.Status != 200 || r.Header.Get("X-Tandem-Freshness") != "stale" {
				t.Errorf("allowing stale: got %v (%v), want 200 and said to be stale", r, r.Header)
			}
			close(late)
			g.B.WaitLate()
			want := map[string]string{"put": "in doubt", "delete": ""}[op]
			g.up("primary")
			g.awaitClosed()
			g.wantRead("k", want)
			g.awaitKept("k")
		})
	}
}

// A PUT times out at A; B is promoted and takes a write; A is promoted again before the first
// is known to be applied or not.
func TestAWriteInDoubtFromTwoPromotionsAgoIsNotTheAcknowledged(t *testing.T) {
	t.Parallel()
	for _, lands := range []bool{true, false} {
		t.Run(fmt.Sprintf("lands=%v", lands), func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "old")
			g.awaitSettled("k")
			late := make(chan struct{})
			g.A.SetFaults(onWrites("k", regiontest.Fault{ApplyLater: late}))
			if r := g.PUT("k", []byte("in doubt")); r.Status != 503 {
				t.Errorf("the write: got %v, want 503", r)
			}
			g.A.SetFaults(nil)
			g.mustPromote("secondary")
			g.put("k", "acknowledged")
			g.mustPromote("primary")
			for range 5 {
				if r := g.GET("k"); r.Status != 503 && string(r.Body) != "acknowledged" {
					t.Errorf("got %v (%v), want the acknowledged one or 503", r, r.Header)
				}
			}
			if lands {
				close(late)
				g.A.WaitLate()
			}
			for range 5 {
				if r := g.GET("k"); r.Status != 503 && string(r.Body) != "acknowledged" {
					t.Errorf("once it landed: got %v (%v), want the acknowledged one or 503", r, r.Header)
				}
			}
			g.awaitClosed()
			g.wantObject("k", "acknowledged")
			if lands {
				c := g.awaitKept("k")
				if got := bytesOf(g.A, bucketA, c.KeptKey); got != "in doubt" {
					t.Errorf("kept %q, want what landed", got)
				}
			}
		})
	}
}

var _ = errors.New
var _ = http.MethodGet
