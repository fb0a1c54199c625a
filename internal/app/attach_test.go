package app_test

import (
	"fmt"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// What is pending when the gateway ends is copied by its next start.
func TestCopiesGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("overwritten", "old")
	g.put("removed", "old")
	g.awaitConverged()
	g.B.SetDown(true)
	for i := range 30 {
		g.put(fmt.Sprintf("new/%d", i), fmt.Sprint(i), header("X-Amz-Meta-N", fmt.Sprint(i)))
	}
	w := g.put("overwritten", "new")
	g.remove("removed")
	g.restart(nil)
	for _, r := range g.state().Regions {
		if want := map[string]int64{"primary": 0, "secondary": 32}[r.Name]; r.Pending.Keys != want {
			t.Errorf("after a restart %d keys are pending in %s, want %d", r.Pending.Keys, r.Name, want)
		}
	}
	if s := g.status("overwritten"); s.Version != w.Version || s.in("secondary").State != "pending" {
		t.Errorf("after a restart: %+v, want version %s, pending in the secondary", s, w.Version)
	}
	g.B.SetDown(false)
	g.awaitConverged()
	if held := objects(g.B, bucketB); len(held) != 31 {
		t.Errorf("B holds %d objects, want 31", len(held))
	}
}

// A region that is added to a gateway with a past is filled with all that the index
// knows, and answers for it only then.
func TestRegionAddedLaterIsFilled(t *testing.T) {
	t.Parallel()
	second := []string{"SECONDARY_S3_ENDPOINT", "SECONDARY_S3_BUCKET", "SECONDARY_S3_ACCESS_KEY", "SECONDARY_S3_SECRET_KEY"}
	without, with := make(map[string]string), make(map[string]string)
	for _, name := range second {
		without[name] = ""
	}
	g := newGateway(t, options{env: without, wrapB: func(_ *testing.T, endpoint string) string {
		with["SECONDARY_S3_ENDPOINT"] = endpoint
		return endpoint
	}})
	with["SECONDARY_S3_BUCKET"], with["SECONDARY_S3_ACCESS_KEY"], with["SECONDARY_S3_SECRET_KEY"] = bucketB, "key-b", "secret-b"
	for i := range 20 {
		w := g.put(fmt.Sprint(i), "content", header("X-Amz-Meta-N", fmt.Sprint(i)), header("X-Amz-Tagging", "a=1"))
		if len(w.Replication) > 0 {
			t.Errorf("a replica of one region: %+v", w)
		}
	}
	g.remove("0")
	if len(g.B.Requests()) > 0 {
		t.Fatal("a region that is not configured was asked")
	}

	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		return regiontest.Fault{Status: map[bool]int{true: 503}[q.Operation == "PutObject"]}
	})
	g.restart(with)
	g.awaitCompared()
	for _, r := range g.state().Regions {
		if r.Name == "secondary" && (r.Pending.Keys != 20 || r.LagSeconds == nil) {
			t.Errorf("a region just added: %+v, want 20 keys pending, and a lag", r)
		}
	}
	wantHeaders(t, g.wantObject("1", "content", query("prefer", "replica")), "primary", "current", false)
	g.B.SetFaults(nil)
	g.awaitConverged()
	g.A.SetDown(true)
	wantHeaders(t, g.wantObject("1", "content"), "secondary", "current", true)
	wantProblem(t, g.GET("0"), 404, "NoSuchKey")
}

// A bucket that is not there is the region's fault: nothing is absent on its account,
// and nothing is written.
func TestMissingBucketIsNoAbsence(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "content")
	g.awaitConverged()
	gone := func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Code: "NoSuchBucket"} }
	g.A.SetFaults(gone)
	g.B.SetFaults(gone)
	for name, r := range map[string]response{
		"GET": g.GET("k"), "GET of what never was": g.GET("never was"), "PUT": g.PUT("new", []byte("x")), "DELETE": g.DELETE("k"),
		"unsized PUT": g.PUT("new", make([]byte, 100<<10), unsized), "listing": g.do("GET", "/objects", nil),
	} {
		if r.Status != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %v, want 503", name, r)
		}
	}
	for _, key := range []string{"k", "never was"} {
		if r := g.HEAD(key); r.Status != 503 {
			t.Errorf("HEAD %q: got %v, want 503", key, r)
		}
	}
	g.A.SetFaults(nil)
	g.B.SetFaults(nil)
	g.wantObject("k", "content")
	if s := g.status("k"); s.in("primary").State != "current" || s.in("secondary").State != "current" {
		t.Errorf("got %+v, want it current in both regions", s)
	}
	wantProblem(t, g.GET("new"), 404, "NoSuchKey")
}
