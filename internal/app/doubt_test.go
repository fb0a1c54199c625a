package app_test

import (
	"fmt"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// patient is for writes that land late, by the test's own hand: a busy machine takes its time
// until then, and what lands after the window is nobody's.
var patient = options{env: map[string]string{"DOUBT_WINDOW": "6s"}}

// The write is applied at A; B is promoted; then the commit: it is never acknowledged, and found.
func TestAWriteWhoseCommitFindsANewerEpochIsRefusedAndFound(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"put", "delete"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{env: map[string]string{"REGION_TIMEOUT": "20s"}})
			g.put("k", "old")
			g.awaitSettled("k")
			gate := make(chan struct{})
			hangs := onWrites("k", regiontest.Fault{Hang: gate, Apply: true})
			g.A.SetFaults(hangs)
			answer := make(chan response, 1)
			go func() {
				if op == "put" {
					answer <- g.PUT("k", []byte("new"))
				} else {
					answer <- g.DELETE("k")
				}
			}()
			g.eventually(func() error { return happened(bytesOf(g.A, bucketA, "k") != "old", "A applies the write") })
			// Down, so that the promotion does not wait for the write.
			g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
				if q.Operation == "HeadBucket" {
					return regiontest.Fault{Status: 500}
				}
				return hangs(q)
			})
			g.awaitHealth("primary", "down")
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
			g := newPair(t, patient)
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
			o := options{}
			if lands {
				o = patient
			}
			g := newPair(t, o)
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

// A write without an answer lands in A once B is active: it goes forward where the key has not
// changed since, else it is a conflict's loser.
func TestWriteThatLandsAfterThePromotionGoesForwardOrIsAConflict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ first, then, want, kept string }{
		{"put", "", "first", ""},
		{"delete", "", "", ""},
		{"put", "put", "then", "first"},
		{"put", "delete", "", "first"},
		{"delete", "put", "then", "a delete"},
	} {
		t.Run(c.first+" then "+c.then, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, patient)
			g.put("k", "old", header("Content-Type", "text/plain"))
			g.awaitSettled("k")
			late := make(chan struct{})
			g.A.SetFaults(onWrites("k", regiontest.Fault{ApplyLater: late}))
			send := func(what, data string) response {
				if what == "delete" {
					return g.DELETE("k")
				}
				return g.PUT("k", []byte(data), header("X-Amz-Meta-N", data), header("X-Amz-Tagging", "t="+data))
			}
			if r := send(c.first, "first"); r.Status != 503 {
				t.Fatalf("the first: got %v, want 503", r)
			}
			g.A.SetFaults(nil)
			if f := g.mustPromote("secondary"); f.InDoubt != 1 || f.AtRisk != 0 {
				t.Errorf("promoted: %+v, want one in doubt", f)
			}
			if c.then != "" {
				if r := send(c.then, "then"); r.Status >= 300 {
					t.Fatalf("the second: got %v, want it acknowledged", r)
				}
			}
			close(late)
			g.A.WaitLate()
			g.awaitClosed()
			g.wantRead("k", c.want)
			if c.kept == "" {
				g.wantEntry(2, "k", "in-doubt", "recovered")
				if found := g.conflicts("k"); len(found) > 0 {
					t.Errorf("conflicts %+v, want none", found)
				}
				return
			}
			g.wantEntry(2, "k", "in-doubt", "conflict")
			loser := g.awaitKept("k")
			if c.kept == "a delete" {
				if !loser.Deleted || loser.KeptKey != "" {
					t.Errorf("conflict %+v, want the delete that lost", loser)
				}
				return
			}
			o, _ := g.B.Object(bucketB, loser.KeptKey)
			if string(o.Data) != "first" || o.Metadata["n"] != "first" || o.Tags["t"] != "first" {
				t.Errorf("kept %+v, want the first write, as it was", o)
			}
		})
	}
}

// A write that never was applied leaves an entry that says so.
func TestAWriteThatNeverLandsIsClosedAsNotApplied(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "old")
	g.awaitSettled("k")
	g.A.SetFaults(onWrites("k", regiontest.Fault{CutBefore: true}))
	if r := g.PUT("k", []byte("new")); r.Status != 503 {
		t.Fatalf("got %v, want 503", r)
	}
	if r := g.PUT("fresh", []byte("new")); r.Status != 201 {
		t.Fatalf("got %v, want 201", r)
	}
	g.down("primary")
	g.mustPromote("secondary")
	g.wantEntry(2, "k", "in-doubt", "open")
	g.A.SetFaults(nil)
	g.up("primary")
	g.awaitClosed()
	g.wantEntry(2, "k", "in-doubt", "not-applied")
	g.wantObject("k", "old")
}

// A copy into B hangs; B is promoted, and the key written or deleted there; then it lands.
func TestALateCopyDoesNotOverwriteTheNewActive(t *testing.T) {
	t.Parallel()
	for _, traits := range []regiontest.Options{{}, {IgnoreConditions: true}} {
		for _, exists := range []bool{false, true} {
			for _, then := range []string{"put", "delete"} {
				t.Run(fmt.Sprintf("ignores=%v/exists=%v/%s", traits.IgnoreConditions, exists, then), func(t *testing.T) {
					t.Parallel()
					g := newPair(t, options{b: traits, env: patient.env})
					if exists {
						g.put("k", "old")
						g.awaitSettled("k")
					}
					late := make(chan struct{})
					rule, sent := first("PutObject", "k", regiontest.Fault{ApplyLater: late})
					g.B.SetFaults(rule)
					g.put("k", "copied late")
					g.eventually(func() error { return happened(sent.Load() > 0, "the copy is sent") })
					g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
						if isWrite(q, "k") && sent.Load() < 100 {
							return regiontest.Fault{Code: "SlowDown"}
						}
						return regiontest.Fault{}
					})
					g.down("primary")
					g.mustPromote("secondary")
					sent.Store(100)
					want := map[string]string{"put": "newest", "delete": ""}[then]
					write := func() error {
						var r response
						if want == "" {
							r = g.DELETE("k")
						} else {
							r = g.PUT("k", []byte(want))
						}
						return happened(r.Status < 300, r.String())
					}
					// What the copy would overwrite is not acknowledged before that has landed, or cannot.
					isRefused := write() != nil
					if traits.IgnoreConditions && want != "" && !isRefused {
						t.Error("a write that the copy would overwrite was acknowledged")
					}
					close(late)
					g.B.WaitLate()
					if isRefused {
						g.eventually(write)
					}
					for range 5 {
						r := g.GET("k")
						if isRight := r.Status == 200 && string(r.Body) == want || r.Status == 404 && want == ""; !isRight && r.Status != 503 {
							t.Errorf("once the copy landed: got %v (%v), want %q", r, r.Header, want)
						}
					}
					g.up("primary")
					g.awaitClosed()
					g.wantRead("k", want)
				})
			}
		}
	}
}

// A write of a key in doubt in A, from before B's term, lands on a newer write that A has
// acknowledged since it is active again.
func TestAWriteFromTwoPromotionsAgoLandsOnANewerOneOfItsRegion(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{env: map[string]string{"DOUBT_WINDOW": "1s"}})
	g.put("k", "old")
	g.awaitSettled("k")
	late := make(chan struct{})
	g.A.SetFaults(onWrites("k", regiontest.Fault{ApplyLater: late}))
	if r := g.PUT("k", []byte("in doubt")); r.Status != 503 {
		t.Fatalf("got %v, want 503", r)
	}
	g.A.SetFaults(nil)
	g.mustPromote("secondary")
	g.put("k", "in B")
	g.mustPromote("primary")
	g.put("k", "newest")
	g.wantObject("k", "newest")
	close(late)
	g.A.WaitLate()
	g.awaitClosed()
	// The region holds what landed last, and that is the truth; nothing that it displaced could
	// be had elsewhere.
	if r := g.GET("k"); r.Status != 200 {
		t.Errorf("got %v, want the key to be readable", r)
	}
	g.wantEntry(3, "k", "at-risk", "conflict")
}

// Writes overlapped in A; B is promoted and the key written there; A is promoted again, and
// takes a write of the key before it was known which of the first it holds.
func TestWritesThatOverlappedBeforeTwoPromotionsAreAccountedFor(t *testing.T) {
	t.Parallel()
	for _, rewritten := range []bool{true, false} {
		t.Run(fmt.Sprintf("rewritten=%v", rewritten), func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "old")
			g.awaitSettled("k")
			refuse(g.B, "k")
			h := g.holdInA("k", 2, false, "PutObject")
			answers := []<-chan response{
				h.begin(func() response { return g.PUT("k", []byte("one")) }), h.begin(func() response { return g.PUT("k", []byte("two")) }),
			}
			g.A.SetFaults(onKey("HeadObject", "k", regiontest.Fault{Code: "SlowDown"})) // it is not read again
			for i, answer := range answers {
				close(h.gates[i])
				if r := <-answer; r.Status != 201 {
					t.Fatalf("write %d: got %v", i, r)
				}
			}
			if f := g.mustPromote("secondary"); f.AtRisk != 1 {
				t.Errorf("promoted %+v, want one at risk", f)
			}
			g.B.SetFaults(nil)
			g.put("k", "in B")
			g.mustPromote("primary")
			want := "in B"
			if rewritten {
				want = "newest"
				g.put("k", want)
			}
			g.A.SetFaults(nil)
			g.awaitClosed()
			g.wantObject("k", want)
			if !rewritten {
				if c := g.awaitKept("k"); bytesOf(g.A, bucketA, c.KeptKey) != "two" {
					t.Errorf("conflict %+v keeps %q, want what A held", c, bytesOf(g.A, bucketA, c.KeptKey))
				}
			}
		})
	}
}
