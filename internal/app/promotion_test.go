package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

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
