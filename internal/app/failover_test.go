package app_test

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// What was deleted stays deleted: when B that lacks the delete is promoted, and when A comes
// back with the object.
func TestDeletedKeyStaysDeletedAfterFailover(t *testing.T) {
	t.Parallel()
	t.Run("the delete was not copied to B", func(t *testing.T) {
		t.Parallel()
		g := newPair(t, options{})
		g.put("k", "content")
		g.awaitSettled("k")
		refuse(g.B, "k")
		g.remove("k")
		g.down("primary")
		if f := g.mustPromote("secondary"); f.AtRisk != 1 {
			t.Errorf("promoted: %+v, want the delete at risk", f)
		}
		for _, e := range []edit{query("prefer", "active"), query("prefer", "replica"), query("repair", "1"), header("X-Tandem-Allow-Stale", "true")} {
			wantProblem(t, g.GET("k", e), 404, "NoSuchKey")
		}
		if keys := g.listKeys(""); len(keys) > 0 {
			t.Errorf("listed %q, want nothing", keys)
		}
		if r := g.PUT("k", []byte("mine"), header("If-None-Match", "*")); r.Status != 503 && r.Status != 201 {
			t.Errorf("If-None-Match: * on a deleted key: got %v, want 503 until B lacks it", r)
		}
		g.B.SetFaults(nil)
		g.up("primary")
		g.awaitClosed()
	})
	t.Run("A comes back with the object", func(t *testing.T) {
		t.Parallel()
		g := newPair(t, options{})
		g.put("k", "content")
		g.awaitSettled("k")
		g.down("primary")
		g.mustPromote("secondary")
		g.remove("k")
		g.up("primary")
		wantProblem(t, g.GET("k", query("prefer", "replica")), 404, "NoSuchKey")
		g.wantDeleted("k")
		g.mustPromote("primary")
		wantProblem(t, g.GET("k"), 404, "NoSuchKey")
		g.wantNothing()
	})
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
			g := newPair(t, options{})
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
					g := newPair(t, options{b: traits, env: map[string]string{"DOUBT_WINDOW": "1500ms"}})
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

// Once A is known to be down, what needs it is refused at once, although A would hang.
func TestTheBreakerAnswersAtOnce(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{env: map[string]string{"REGION_TIMEOUT": "20s"}})
	g.put("k", "content")
	g.awaitSettled("k")
	g.behindB("behind", "new")
	hang := make(chan struct{})
	defer close(hang)
	g.A.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Hang: hang, Early: true} })
	g.awaitHealth("primary", "down")
	began := time.Now()
	for _, r := range []response{
		g.PUT("k", []byte("new")), g.PUT("new", make([]byte, 2<<20)), g.PUT("new", make([]byte, 100<<10), unsized), g.DELETE("k"),
		g.PUT("k", []byte("new"), header("If-None-Match", "*")),
	} {
		wantProblem(t, r, 503, "ServiceUnavailable")
		if r.Header.Get("Retry-After") == "" {
			t.Errorf("got %v, want Retry-After", r.Header)
		}
	}
	wantHeaders(t, g.wantObject("k", "content"), "secondary", "current", true)
	wantProblem(t, g.GET("behind"), 503, "NotYetReplicated")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the answers took %v, want them at once", took)
	}
	g.B.SetFaults(nil)
}

// The journal knows who is active; the configuration decides only the first time.
func TestTheStoredStateWinsOverACTIVE_REGION(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "content")
	g.awaitSettled("k")
	g.mustPromote("secondary")
	g.restart(map[string]string{"ACTIVE_REGION": "primary"})
	if s := g.state(); s.Active != "secondary" || s.Epoch != 2 {
		t.Errorf("got %s in epoch %d, want secondary in 2", s.Active, s.Epoch)
	}
	if w := g.put("k", "new"); w.Region != "secondary" || w.Version[:2] != "2-" {
		t.Errorf("written: %+v, want it in secondary, in epoch 2", w)
	}
	g.awaitClosed()
}

func (g *rig) wantObjection(region, code string) {
	g.t.Helper()
	r := g.promote(promotion{Region: region})
	p := wantProblem(g.t, r, 409, "PromotionRefused")
	if !slices.ContainsFunc(p.Objections, func(o objection) bool { return o.Region == region && o.Code == code && o.Message != "" }) {
		g.t.Errorf("objections %+v, want %s of %s", p.Objections, code, region)
	}
	if s := g.state(); s.Active == region {
		g.t.Errorf("%s was promoted all the same", region)
	}
}

// Whatever speaks against a promotion is said, and only force gets past it.
func TestPromotionIsRefusedWithReasons(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "content")
	g.awaitSettled("k")
	wantProblem(t, g.promote(promotion{Region: "primary"}), 409, "AlreadyActive")
	wantProblem(t, g.promote(promotion{Region: "elsewhere"}), 404, "NoSuchRegion")
	g.down("secondary")
	g.wantObjection("secondary", "unhealthy")
	g.up("secondary")
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Key == ".tandem/canary" && q.Operation == "PutObject" {
			return regiontest.Fault{Code: "AccessDenied"}
		}
		return regiontest.Fault{}
	})
	g.wantObjection("secondary", "not-writable")
	g.B.SetFaults(nil)

	g.atRisk("risk", "only in A")
	g.mustPromote("secondary")
	g.B.SetFaults(onWrites("risk", regiontest.Fault{Code: "SlowDown"}))
	g.up("primary")
	g.wantObjection("primary", "at-risk")
	f := g.promote(promotion{Region: "primary", Force: true, Reason: "it is right"})
	if f.Status != 200 {
		t.Fatalf("forced: got %v", f)
	}
	if made := decode[promoted](t, f); !made.Forced || made.Reason != "it is right" || made.Actor != "admin" || made.Automatic || made.Epoch != 3 {
		t.Errorf("promoted %+v, want it forced, by the admin, with the reason", made)
	}
	g.wantObject("risk", "only in A")
	g.wantEntry(2, "risk", "at-risk", "recovered")
	g.B.SetFaults(nil)
	g.awaitClosed()
}

func TestPromotionOfARegionThatWasNotComparedIsRefused(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{unknown: true, prepare: func(a, _ *regiontest.Server) { a.Put(bucketA, "past", []byte("from before")) }})
	g.eventually(func() error {
		return happened(strings.Contains(string(g.promote(promotion{Region: "secondary"}).Body), "1 keys of the active"), "the keys are counted")
	})
	g.wantObjection("secondary", "not-compared")
	dry := decode[dryRun](t, g.promote(promotion{DryRun: true}))
	if n := dry.NeverCompared["primary"]; dry.Allowed || n == nil || *n != 1 {
		t.Errorf("dry run %+v, want one key of primary never compared", dry)
	}
}

// A region promoted by force, never compared, has nothing to say of what it lacks.
func TestAForcedPromotionToAnEmptyRegionDeniesNothing(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{unknown: true, prepare: func(a, _ *regiontest.Server) { a.Put(bucketA, "past", []byte("from before")) }})
	g.put("known", "content")
	g.awaitSettled("known")
	g.down("primary")
	r := g.promote(promotion{Region: "secondary", Force: true})
	if r.Status != 200 || !decode[promoted](t, r).Forced {
		t.Fatalf("forced: got %v", r)
	}
	wantStill := func() {
		t.Helper()
		for _, key := range []string{"past", "never was"} {
			if r := g.GET(key); r.Status != 503 {
				t.Errorf("GET %q: got %v, want 503", key, r)
			}
		}
		g.wantObject("known", "content")
		if r := g.list(nil); r.Status == 200 && r.Header.Get("X-Tandem-Freshness") == "current" {
			t.Errorf("listing: got %v (%v), want it of unknown freshness", r, r.Header)
		}
	}
	wantStill()
	g.restart(nil)
	g.awaitHealth("primary", "down")
	wantStill()
	g.up("primary")
	wantHeaders(t, g.wantObject("past", "from before"), "primary", "unknown", true)
	if r := g.GET("never was"); r.Status == 200 {
		t.Errorf("got %v", r)
	}
}

type dryRun struct {
	DryRun, Allowed      bool
	From, To             string
	Objections           []objection
	AtRisk               struct{ Keys, Bytes int64 }
	InDoubt              int64
	OldestPendingSeconds *float64
	WritesInFlight       int
	Canary               struct {
		OK             bool
		Error          string
		ElapsedSeconds float64
	}
	NeverCompared map[string]*int64
}

// A dry run says what a promotion would cost, and changes nothing.
func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "content")
	g.awaitSettled("k")
	g.behindB("behind", "newer")
	before := objects(g.B, bucketB)
	r := decode[dryRun](t, g.promote(promotion{DryRun: true}))
	if !r.DryRun || !r.Allowed || r.From != "primary" || r.To != "secondary" || r.AtRisk.Keys != 1 || r.AtRisk.Bytes != int64(len("newer")) ||
		r.InDoubt != 0 || r.OldestPendingSeconds == nil || !r.Canary.OK || len(r.NeverCompared) > 0 {
		t.Errorf("dry run: %+v", r)
	}
	if s := g.state(); s.Active != "primary" || s.Epoch != 1 {
		t.Errorf("state after a dry run: %+v", s)
	}
	if diff := cmp.Diff(before, objects(g.B, bucketB)); diff != "" {
		t.Errorf("a dry run changed B (-before +after):\n%s", diff)
	}
	if _, isLeft := g.B.Object(bucketB, ".tandem/canary"); isLeft {
		t.Error("the canary was left in B")
	}
	if f := g.failovers(); len(f) > 0 {
		t.Errorf("failovers %+v, want none", f)
	}
	if f := g.mustPromote(""); f.AtRisk != r.AtRisk.Keys || f.AtRiskBytes != r.AtRisk.Bytes {
		t.Errorf("promoted %+v, the dry run said %+v", f, r)
	}
	g.B.SetFaults(nil)
	g.awaitClosed()
}

// The ledger lists what was acknowledged and is not at hand, and no more; each entry is closed
// with its reason, and the answer is the same as JSON and as CSV.
func TestTheLedgerIsExactAndEachEntryIsClosed(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	for _, key := range []string{"copied", "overwritten in A", "deleted in A"} {
		g.put(key, "old "+key)
	}
	g.awaitConverged()
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "PutObject" || q.Operation == "DeleteObject" {
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	g.put("new in A", "new")
	g.put("overwritten in A", "newer")
	g.remove("deleted in A")
	g.put("rewritten in B", "loser")
	g.put("deleted in B", "loser too")
	g.down("primary")
	g.B.SetFaults(nil)
	if f := g.mustPromote("secondary"); f.AtRisk != 5 || f.Open != 5 || f.InDoubt != 0 {
		t.Errorf("promoted %+v, want 5 at risk", f)
	}
	g.put("rewritten in B", "winner")
	g.remove("deleted in B")
	g.up("primary")
	g.awaitClosed()
	for key, outcome := range map[string]string{
		"new in A": "recovered", "overwritten in A": "recovered", "deleted in A": "recovered", "rewritten in B": "conflict", "deleted in B": "conflict",
	} {
		if e := g.wantEntry(2, key, "at-risk", outcome); e.Reason == nil || *e.Reason == "" || e.ClosedAt == nil {
			t.Errorf("%v, want it with a reason and a time", e)
		}
	}
	for key, data := range map[string]string{
		"copied": "old copied", "new in A": "new", "overwritten in A": "newer", "deleted in A": "", "rewritten in B": "winner", "deleted in B": "",
	} {
		g.wantRead(key, data)
	}
	csv := g.do("GET", "/admin/failovers/2/ledger?format=csv", nil)
	if lines := strings.Count(string(csv.Body), "\n"); csv.Status != 200 || lines != 6 {
		t.Errorf("CSV: got %v, want a header and 5 lines", csv)
	}
}

// A listing after a failover shows what was acknowledged, not what B has.
func TestListingAfterAFailoverShowsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	for _, key := range []string{"deleted", "kept", "overwritten", "dir/deleted"} {
		g.put(key, "old")
	}
	g.awaitConverged()
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "PutObject" || q.Operation == "DeleteObject" {
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	g.remove("deleted")
	g.remove("dir/deleted")
	g.put("overwritten", "newer and longer")
	g.put("new", "new")
	g.put("other/new", "new")
	want := g.list(nil)
	wantDirs := g.list(url.Values{"delimiter": {"/"}})
	g.down("primary")
	g.mustPromote("secondary")
	for params, before := range map[string]response{"": want, "delimiter=/": wantDirs} {
		values, _ := url.ParseQuery(params)
		r := g.list(values)
		if r.Status != 200 || r.Header.Get("X-Tandem-Region") != "secondary" || r.Header.Get("X-Tandem-Freshness") != "current" {
			t.Fatalf("list %q: got %v (%v)", params, r, r.Header)
		}
		if diff := cmp.Diff(withoutTimes(t, before), withoutTimes(t, r)); diff != "" {
			t.Errorf("list %q differs from before (-before +after):\n%s", params, diff)
		}
	}
	g.B.SetFaults(nil)
	g.up("primary")
	g.awaitClosed()
}

func withoutTimes(t *testing.T, r response) listing {
	t.Helper()
	l := decode[listing](t, r)
	for i := range l.Objects {
		l.Objects[i].LastModified = ""
	}
	return l
}

// Tandem's own keys are no client's business.
func TestOwnKeysAreRefusedAndNotListedYetReplicated(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.atRisk("k", "loser")
	g.mustPromote("secondary")
	g.put("k", "winner")
	g.up("primary")
	g.awaitClosed()
	c := g.awaitKept("k")
	for _, key := range []string{c.KeptKey, ".tandem/region", ".tandem/new"} {
		for _, r := range []response{g.GET(key), g.PUT(key, []byte("mine")), g.DELETE(key), g.do("GET", "/replication/"+escape(key), nil)} {
			wantProblem(t, r, 403, "AccessDenied")
		}
	}
	if keys := g.listKeys(""); !slices.Equal(keys, []string{"k"}) {
		t.Errorf("listed %q, want only the client's key", keys)
	}
	if keys := g.listAll(url.Values{"delimiter": {"/"}}); !slices.Equal(keys, []string{"k"}) {
		t.Errorf("listed %q, want no prefix of Tandem's", keys)
	}
	if keys := g.listKeys(".tandem/"); len(keys) > 0 {
		t.Errorf("listed %q below .tandem/", keys)
	}
	for _, r := range []struct {
		s      *regiontest.Server
		bucket string
	}{{g.A, bucketA}, {g.B, bucketB}} {
		if got := bytesOf(r.s, r.bucket, c.KeptKey); got != "loser" {
			t.Errorf("%s keeps %q, want the loser in both regions", r.bucket, got)
		}
	}
}

// A region that was taken out stays out, whatever the configuration says.
func TestRemovedRegionStaysOut(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "content")
	g.awaitSettled("k")
	g.atRisk("lost", "only in A")
	wantProblem(t, g.do("DELETE", "/admin/regions/primary", nil), 409, "NotRemovable") // it is the active
	g.mustPromote("secondary")
	if r := g.do("DELETE", "/admin/regions/primary?reason=burnt", nil); r.Status != 204 {
		t.Fatalf("remove: got %v, want 204", r)
	}
	wantProblem(t, g.do("DELETE", "/admin/regions/elsewhere", nil), 409, "NotRemovable")
	g.wantEntry(2, "lost", "at-risk", "lost")
	g.A.SetDown(false)
	check := func() {
		t.Helper()
		seen := len(g.A.Requests())
		g.put("k", "new")
		g.wantObject("k", "new")
		if s := g.state(); len(s.Regions) != 1 || s.Regions[0].Name != "secondary" || s.Replica != nil {
			t.Errorf("state %+v, want secondary alone", s)
		}
		// It is lost, on the record, and what B holds is the truth once that was read again.
		g.eventually(func() error { r := g.GET("lost"); return happened(r.Status == 404, r.String()) })
		for _, q := range g.A.Requests()[seen:] {
			if q.Operation != "HeadBucket" && q.Key != ".tandem/region" {
				t.Errorf("a request to the removed region: %+v", q)
			}
		}
	}
	check()
	g.restart(nil)
	check()
	if got := bytesOf(g.A, bucketA, "k"); got != "content" {
		t.Errorf("A holds %q, want what it had when it was taken out", got)
	}
	g.put("lost", "again")
	g.wantObject("lost", "again")
}

// Regions that honour no conditions fail over too: what is copied forward waits for nobody's
// writes, and overwrites none.
func TestARegionWithoutConditionsFailsOver(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]options{
		"A ignores them": {a: regiontest.Options{IgnoreConditions: true}}, "B ignores them": {b: regiontest.Options{IgnoreConditions: true}},
		"A refuses them": {a: regiontest.Options{NoConditions: true}}, "B refuses them": {b: regiontest.Options{NoConditions: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, o)
			g.put("gone", "old")
			g.put("changed", "old")
			g.awaitConverged()
			g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
				if q.Operation == "PutObject" || q.Operation == "DeleteObject" {
					return regiontest.Fault{Code: "SlowDown"}
				}
				return regiontest.Fault{}
			})
			g.put("new", "only in A")
			g.put("changed", "only in A")
			g.put("both", "loser")
			g.remove("gone")
			g.down("primary")
			g.B.SetFaults(nil)
			g.mustPromote("secondary")
			g.put("both", "winner")
			g.up("primary")
			g.awaitClosed()
			for key, data := range map[string]string{"new": "only in A", "changed": "only in A", "both": "winner", "gone": ""} {
				g.wantRead(key, data)
			}
			if c := g.awaitKept("both"); bytesOf(g.B, bucketB, c.KeptKey) != "loser" {
				t.Errorf("conflict %+v does not keep the loser", c)
			}
			g.mustPromote("primary")
			g.put("both", "again")
			g.awaitClosed()
			g.wantRead("both", "again")
		})
	}
}

// While a write of A's is copied forward into a region that would overwrite whatever it holds,
// no client's write of the key is let in.
func TestACopyForwardWithoutConditionsOverwritesNoClientsWrite(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{b: regiontest.Options{IgnoreConditions: true}})
	g.atRisk("k", "only in A")
	g.mustPromote("secondary")
	late := make(chan struct{})
	rule, sent := first("PutObject", "k", regiontest.Fault{ApplyLater: late})
	g.B.SetFaults(rule)
	g.up("primary")
	g.eventually(func() error { return happened(sent.Load() > 0, "the copy is sent") })
	wantProblem(t, g.PUT("k", []byte("newer")), 503, "ServiceUnavailable")
	close(late)
	g.B.WaitLate()
	g.awaitClosed()
	g.wantObject("k", "only in A")
	g.put("k", "newer")
	g.awaitClosed()
	g.wantObject("k", "newer")
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

// The returned region dies again in the middle of what is copied from it.
func TestAReturnedRegionThatDiesAgain(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{env: map[string]string{"REPLICATION_WORKERS": "1"}})
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "PutObject" && q.Key[0] == 'k' {
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	for i := range 12 {
		g.put(fmt.Sprintf("k%d", i), fmt.Sprint("content ", i))
	}
	g.down("primary")
	g.B.SetFaults(nil)
	if f := g.mustPromote("secondary"); f.AtRisk != 12 {
		t.Errorf("promoted %+v, want 12 at risk", f)
	}
	for i := range 4 {
		g.put(fmt.Sprintf("k%d", i), fmt.Sprint("winner ", i))
	}
	var n atomic.Int32
	for range 3 {
		stop := n.Load() + 3
		g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
			if q.Operation == "GetObject" && q.Key[0] == 'k' && n.Add(1) == stop {
				go g.A.SetDown(true)
			}
			return regiontest.Fault{}
		})
		g.A.SetDown(false)
		g.eventually(func() error { return happened(n.Load() >= stop, "A is read from") })
		g.awaitHealth("primary", "down")
	}
	g.A.SetFaults(nil)
	g.up("primary")
	g.awaitClosed()
	for i := range 12 {
		want := fmt.Sprint("content ", i)
		if i < 4 {
			want = fmt.Sprint("winner ", i)
			c := g.awaitKept(fmt.Sprintf("k%d", i))
			if got := bytesOf(g.A, bucketA, c.KeptKey); got != fmt.Sprint("content ", i) {
				t.Errorf("conflict %+v keeps %q", c, got)
			}
		}
		g.wantObject(fmt.Sprintf("k%d", i), want)
	}
}

// The gateway is ended at moments of a failover, and started again.
func TestARestartInTheMiddleOfAFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	for name, moment := range map[string]func(g *rig){
		"after the promotion":         func(*rig) {},
		"once the loser is overtaken": func(g *rig) { g.put("both", "winner") },
		"while A is down": func(g *rig) {
			g.put("both", "winner")
			g.remove("k")
		},
		"while the loser is being kept": func(g *rig) {
			g.put("both", "winner")
			hang := make(chan struct{})
			g.t.Cleanup(func() { close(hang) })
			var held atomic.Bool
			g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
				if q.Operation == "PutObject" && strings.HasPrefix(q.Key, ".tandem/conflicts/") {
					held.Store(true)
					return regiontest.Fault{Hang: hang, Apply: true}
				}
				return regiontest.Fault{}
			})
			g.up("primary")
			g.eventually(func() error { return happened(held.Load(), "the loser is written") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{})
			g.put("k", "old")
			g.awaitSettled("k")
			g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
				if q.Operation == "PutObject" && !strings.HasPrefix(q.Key, ".tandem/") {
					return regiontest.Fault{Code: "SlowDown"}
				}
				return regiontest.Fault{}
			})
			g.put("k", "only in A")
			g.put("both", "loser")
			g.down("primary")
			g.B.SetFaults(nil)
			g.mustPromote("secondary")
			moment(g)
			g.restart(nil)
			g.B.SetFaults(nil)
			if s := g.state(); s.Active != "secondary" || s.Epoch != 2 {
				t.Errorf("state %+v, want secondary in epoch 2", s)
			}
			if name != "while A is down" {
				if r := g.GET("k"); r.Status != 503 && string(r.Body) != "only in A" {
					t.Errorf("got %v, want 503 or what was acknowledged", r)
				}
			}
			g.up("primary")
			g.awaitClosed()
			if name == "after the promotion" {
				g.wantObject("both", "loser")
				g.wantObject("k", "only in A")
				return
			}
			g.wantObject("both", "winner")
			if c := g.awaitKept("both"); bytesOf(g.A, bucketA, c.KeptKey) != "loser" {
				t.Errorf("conflict %+v does not keep the loser", c)
			}
		})
	}
}

// Clients read and write while one region after the other is promoted. Whatever is answered
// without saying that it is stale was the last acknowledged, or under way.
func TestReadsDuringAPromotionAreNeverStale(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	// Copies into both regions are slow and often fail, so that each promotion finds keys behind.
	var n atomic.Uint32
	slow := func(q regiontest.Request) regiontest.Fault {
		isCopy := q.Operation == "PutObject" && q.Header.Get("If-Match")+q.Header.Get("If-None-Match") != "" && q.Key[0] == 'k'
		if isCopy && n.Add(1)%3 == 0 {
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	}
	g.A.SetFaults(slow)
	g.B.SetFaults(slow)
	stop := make(chan struct{})
	var running sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		running.Wait()
	})
	defer end()
	var reads, refused, writes atomic.Int64
	var last atomic.Pointer[response]
	// Whoever is refused waits a little: the machine is not to be busy with refusals.
	rest := func() { time.Sleep(3 * time.Millisecond) }
	for k := range 4 {
		key := fmt.Sprintf("k%d", k)
		g.put(key, "0")
		// What was acknowledged last, and what was last sent.
		var acknowledged, sent atomic.Int64
		running.Go(func() {
			for i := int64(1); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				sent.Store(i)
				r := g.PUT(key, []byte(strconv.FormatInt(i, 10)))
				last.Store(&r)
				if r.Status == 201 {
					acknowledged.Store(i)
					writes.Add(1)
				} else if r.Status != 503 {
					t.Errorf("PUT: got %v", r)
				}
				rest()
			}
		})
		for range 2 {
			running.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					least := acknowledged.Load()
					r := g.GET(key)
					if r.Status == 503 {
						refused.Add(1)
						rest()
						continue
					}
					got, err := strconv.ParseInt(string(r.Body), 10, 64)
					if most := sent.Load(); r.Status != 200 || err != nil || got < least || got > most {
						t.Errorf("GET %q: got %v (%v), want one of %d to %d", key, r, r.Header, least, most)
					}
					reads.Add(1)
				}
			})
		}
	}
	regions := []string{"secondary", "primary"}
	for i := range 8 {
		before := writes.Load()
		g.eventually(func() error { return happened(writes.Load() > before+6, "clients write: "+last.Load().String()) })
		g.mustPromote(regions[i%2])
	}
	end()
	g.A.SetFaults(nil)
	g.B.SetFaults(nil)
	t.Logf("%d reads, %d refused, %d writes", reads.Load(), refused.Load(), writes.Load())
	if reads.Load() < 100 {
		t.Errorf("%d reads, want more", reads.Load())
	}
	g.awaitClosed()
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
