package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// wantHeaders checks the headers that say where an answer comes from.
func wantHeaders(t *testing.T, r response, region, freshness string, fallback bool) {
	t.Helper()
	want := map[string]string{"X-Tandem-Region": region, "X-Tandem-Freshness": freshness, "X-Tandem-Fallback": ""}
	if fallback {
		want["X-Tandem-Fallback"] = "true"
	}
	for name, value := range want {
		if got := r.Header.Get(name); got != value {
			t.Errorf("got %s %q, want %q", name, got, value)
		}
	}
}

// behindB writes a key so that B has only "old", and takes B's refusal of writes away
// with the test.
func (g *rig) behindB(key, data string) {
	g.t.Helper()
	g.put(key, "old")
	g.awaitSettled(key)
	g.B.SetFaults(onKey("PutObject", key, regiontest.Fault{Code: "SlowDown"}))
	g.put(key, data)
}

func TestReadFallsBackToAReplicaThatIsCurrent(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	w := g.put("k", "content", header("x-amz-meta-n", "1"))
	g.put("gone", "content")
	g.remove("gone")
	g.awaitConverged()
	for name, fault := range map[string]func(){
		"down": func() { g.A.SetDown(true) },
		"error": func() {
			g.A.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Status: 500} })
		},
		"unavailable": func() {
			g.A.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Code: "SlowDown"} })
		},
		"hangs": func() {
			g.A.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Hang: make(chan struct{})} })
		},
	} {
		fault()
		r := g.wantObject("k", "content")
		wantHeaders(t, r, "secondary", "current", true)
		if got := r.Header.Get("X-Tandem-Version"); got != w.Version {
			t.Errorf("%s: got version %q, want %q", name, got, w.Version)
		}
		if r.Header.Get("X-Amz-Meta-N") != "1" {
			t.Errorf("%s: metadata is missing: %v", name, r.Header)
		}
		wantHeaders(t, g.HEAD("k"), "secondary", "current", true)
		wantProblem(t, g.GET("gone"), 404, "NoSuchKey")
		wantProblem(t, g.GET("never was"), 404, "NoSuchKey") // both were compared
		if r := g.GET("k", header("If-None-Match", `"`+w.ETag+`"`)); r.Status != 304 {
			t.Errorf("%s: conditional GET: got %v, want 304", name, r)
		}
		if r := g.GET("k", header("Range", "bytes=0-2")); r.Status != 206 || string(r.Body) != "con" {
			t.Errorf("%s: range: got %v, want 206", name, r)
		}
		g.A.SetDown(false)
		g.A.SetFaults(nil)
		wantHeaders(t, g.wantObject("k", "content"), "primary", "current", false)
	}
}

func TestNoOlderVersionIsReadInSilence(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.behindB("k", "new")
	g.A.SetDown(true)
	for _, method := range []string{"GET", "HEAD"} {
		if r := g.do(method, "/objects/k", nil); r.Status != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %v %v, want 503 with Retry-After", method, r, r.Header)
		}
	}
	p := wantProblem(t, g.GET("k"), 503, "NotYetReplicated")
	if p.Region != "secondary" || p.AgeSeconds <= 0 {
		t.Errorf("got %+v, want the region that is behind, and for how long", p)
	}
	r := g.wantObject("k", "old", header("X-Tandem-Allow-Stale", "true"))
	wantHeaders(t, r, "secondary", "stale", true)
	if got, now := r.Header.Get("X-Tandem-Version"), g.status("k").Version; got == "" || got == now {
		t.Errorf("got version %q of the older object, the acknowledged is %q", got, now)
	}
	g.A.SetDown(false)
	wantHeaders(t, g.wantObject("k", "new", query("prefer", "replica")), "primary", "current", false)
	g.B.SetFaults(nil)
	g.awaitConverged()
}

func TestStaleReadsAreServedWhereConfigured(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"STALE_READS": "serve"}})
	g.behindB("k", "new")
	g.A.SetDown(true)
	wantHeaders(t, g.wantObject("k", "old"), "secondary", "stale", true)
	g.A.SetDown(false)
	wantHeaders(t, g.wantObject("k", "new"), "primary", "current", false)
	g.B.SetFaults(nil)
	g.awaitConverged()
}

func TestPreferredReplicaAnswersWhereItIsCurrent(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "content")
	g.put("gone", "content")
	g.awaitConverged()
	g.remove("gone")
	wantHeaders(t, g.wantObject("k", "content", query("prefer", "replica")), "secondary", "current", false)
	wantProblem(t, g.GET("gone", query("prefer", "replica")), 404, "NoSuchKey")
	g.behindB("late", "new")
	wantHeaders(t, g.wantObject("late", "new", query("prefer", "replica")), "primary", "current", false)
	g.B.SetDown(true)
	wantHeaders(t, g.wantObject("k", "content", query("prefer", "replica")), "primary", "current", false)
}

// What was deleted stays deleted, whatever a region holds.
func TestTombstoneIsAnAbsenceWhateverTheRegionsHold(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "content")
	g.awaitSettled("k")
	g.B.SetFaults(onKey("DeleteObject", "k", regiontest.Fault{Code: "SlowDown"}))
	g.remove("k")
	if _, held := g.B.Object(bucketB, "k"); !held {
		t.Fatal("B does not hold the object that it was to keep")
	}
	wantProblem(t, g.GET("k", query("prefer", "replica")), 404, "NoSuchKey")
	g.A.SetDown(true)
	for _, e := range []edit{query("prefer", "active"), header("X-Tandem-Allow-Stale", "true"), query("repair", "1")} {
		wantProblem(t, g.GET("k", e), 404, "NoSuchKey")
	}
	if got := g.listKeys(""); len(got) > 0 {
		t.Errorf("listed %q, want nothing", got)
	}
	g.A.SetDown(false)
	g.restart(nil)
	g.A.SetDown(true)
	wantProblem(t, g.GET("k"), 404, "NoSuchKey")
	g.A.SetDown(false)
	g.B.SetFaults(nil)
	g.awaitConverged()
	g.wantNothing()
}

// Only a 404 says that something is not there.
func TestRefusalOfTheActiveIsNoAbsence(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "content")
	g.awaitSettled("k")
	for _, f := range []regiontest.Fault{{Code: "AccessDenied"}, {Code: "InvalidAccessKeyId"}, {Code: "NoSuchBucket"}} {
		g.A.SetFaults(func(regiontest.Request) regiontest.Fault { return f })
		for _, key := range []string{"k", "never was"} {
			wantProblem(t, g.GET(key), 503, "ServiceUnavailable")
			if r := g.HEAD(key); r.Status != 503 {
				t.Errorf("HEAD %q while A says %s: got %v, want 503", key, f.Code, r)
			}
		}
		g.A.SetFaults(nil)
		if s := g.status("k"); s.in("primary").State != "current" {
			t.Errorf("after %s: %+v", f.Code, s)
		}
	}
	g.wantObject("k", "content")
}

func TestKeyThatTheActiveLostIsReadFromTheReplicaAndRepaired(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, method := range []string{"GET", "HEAD"} {
		w := g.put(method, "content", header("x-amz-meta-n", "1"), header("x-amz-tagging", "a=1"))
		g.awaitSettled(method)
		g.A.Remove(bucketA, method)
		wantHeaders(t, g.do(method, "/objects/"+method, nil), "secondary", "current", true)
		if s := g.status(method); s.in("primary").State != "missing" || s.Version != w.Version {
			t.Errorf("got %+v, want missing in the primary", s)
		}
		r := g.do(method, "/objects/"+method+"?repair=1", nil)
		want := map[string]string{"GET": "queued", "HEAD": "done"}[method]
		if got := r.Header.Get("X-Tandem-Repair"); r.Status != 200 || got != want {
			t.Errorf("%s: got %v with repair %q, want %s", method, r, got, want)
		}
		g.awaitState(method, "primary", "current")
		wantHeaders(t, g.wantObject(method, "content"), "primary", "current", false)
		if s := g.status(method); s.Version != w.Version {
			t.Errorf("a repair made a new version: %+v", s)
		}
		r = g.do(method, "/objects/"+method+"?repair=1", nil)
		if got := r.Header.Get("X-Tandem-Repair"); got != "none" {
			t.Errorf("%s: got repair %q of a sound key, want none", method, got)
		}
	}
	g.awaitConverged()
}

// A repair that is asked for while the active is down waits for it.
func TestRepairIsQueuedUntilTheActiveIsBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "content")
	g.awaitSettled("k")
	g.A.SetDown(true)
	g.A.Remove(bucketA, "k")
	if r := g.wantObject("k", "content", query("repair", "1")); r.Header.Get("X-Tandem-Repair") != "queued" {
		t.Errorf("got repair %q, want queued", r.Header.Get("X-Tandem-Repair"))
	}
	g.A.SetDown(false)
	g.awaitSettled("k")
	g.awaitConverged()
	wantHeaders(t, g.wantObject("k", "content"), "primary", "current", false)
}

// A download that one region breaks off is finished by another, byte for byte.
func TestDownloadGoesOnInAnotherRegion(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	data := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	g.put("k", data)
	g.awaitSettled("k")
	for name, f := range map[string]regiontest.Fault{
		"at once": {CutBodyAfter: -1}, "after a byte": {CutBodyAfter: 1}, "half-way": {CutBodyAfter: 500_000}, "before the last byte": {CutBodyAfter: 1<<20 - 1},
	} {
		g.A.SetFaults(onKey("GetObject", "k", f))
		g.wantObject("k", data)
		r := g.GET("k", header("Range", "bytes=100-899999"))
		if r.Status != 206 || r.err != nil || string(r.Body) != data[100:900_000] {
			t.Errorf("%s: range: got %d with %d bytes (%v)", name, r.Status, len(r.Body), r.err)
		}
	}
}

// Where nobody can go on, the client sees that the download broke off.
func TestDownloadThatCannotGoOnIsCut(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	data := strings.Repeat("0123456789abcdef", 64<<10)
	g.behindB("behind", data)
	g.put("cut twice", data)
	g.put("changed", data)
	g.awaitSettled("cut twice", "changed")
	g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "GetObject" {
			return regiontest.Fault{CutBodyAfter: 400_000}
		}
		return regiontest.Fault{}
	})
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		switch {
		case q.Operation == "GetObject" && q.Key == "cut twice":
			return regiontest.Fault{CutBodyAfter: 100_000}
		case q.Operation == "PutObject" && q.Key == "behind":
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	g.B.Put(bucketB, "changed", []byte(strings.Repeat("x", len(data))))
	for _, key := range []string{"behind", "cut twice", "changed"} {
		if r := g.GET(key); r.err == nil || !strings.HasPrefix(data, string(r.Body)) {
			t.Errorf("%s: got %d with %d bytes and no error, want the download to break off", key, r.Status, len(r.Body))
		}
	}
}

// A bucket with a past: nobody can say how fresh its objects are, nor what is missing.
func TestUncomparedBucketIsOfUnknownFreshness(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{unknown: true, prepare: func(a, b *regiontest.Server) {
		a.Put(bucketA, "past", []byte("from before"))
		a.Put(bucketA, "both", []byte("from before"))
		b.Put(bucketB, "both", []byte("other bytes"))
	}})
	wantHeaders(t, g.wantObject("past", "from before"), "primary", "unknown", false)
	wantProblem(t, g.GET("never was"), 404, "NoSuchKey")
	g.put("new", "content")
	g.awaitSettled("new")
	wantHeaders(t, g.wantObject("new", "content"), "primary", "current", false)
	r := g.list(nil)
	if r.Status != 200 || r.Header.Get("X-Tandem-Freshness") != "unknown" {
		t.Errorf("listing: got %v %v, want unknown freshness", r, r.Header)
	}
	for _, region := range g.state().Regions {
		if region.Compared || region.LagSeconds != nil {
			t.Errorf("region %s: got %+v, want it not compared, with unknown lag", region.Name, region)
		}
	}
	g.A.SetDown(true)
	for _, key := range []string{"past", "never was"} {
		wantProblem(t, g.GET(key), 503, "ServiceUnavailable")
	}
	wantHeaders(t, g.wantObject("new", "content"), "secondary", "current", true)
	wantHeaders(t, g.wantObject("both", "other bytes"), "secondary", "unknown", true)
	wantProblem(t, g.list(nil), 503, "NotYetReplicated")
	if r := g.list(nil, header("X-Tandem-Allow-Stale", "1")); r.Status != 200 || r.Header.Get("X-Tandem-Freshness") != "unknown" {
		t.Errorf("listing that may be stale: got %v %v", r, r.Header)
	}
	g.A.SetDown(false)
	// A past object that is deleted stays so.
	g.remove("both")
	g.A.SetDown(true)
	wantProblem(t, g.GET("both"), 404, "NoSuchKey")
}

// A read that began before a write was acknowledged says nothing of that write.
func TestReadThatBeganBeforeAWriteDoesNotDenyIt(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	gate, asked := make(chan struct{}), make(chan struct{}, 8)
	g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation != "GetObject" || q.Attempt > 1 {
			return regiontest.Fault{}
		}
		asked <- struct{}{}
		return regiontest.Fault{Hang: gate, Apply: true} // it has looked, and says so later
	})
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		return regiontest.Fault{Status: map[bool]int{true: 503}[q.Operation == "PutObject"]}
	})
	answer := make(chan response, 1)
	go func() { answer <- g.GET("k") }()
	<-asked
	g.put("k", "content")
	close(gate)
	if r := <-answer; r.Status != http.StatusOK && r.Status != http.StatusNotFound {
		t.Errorf("the read that was under way: got %v, want 200 or 404", r)
	}
	if s := g.status("k"); s.in("primary").State != "current" {
		t.Errorf("the active is said to lack what was just written: %+v", s)
	}
	g.wantObject("k", "content")
	g.B.SetFaults(nil)
	g.awaitConverged()
}

// A repair never takes the only copy of the acknowledged version for one to be mended.
func TestRepairAskedWithAStaleAnswerKeepsTheNewest(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.behindB("k", "new")
	g.A.SetDown(true)
	r := g.wantObject("k", "old", header("X-Tandem-Allow-Stale", "true"), query("repair", "1"))
	if got := r.Header.Get("X-Tandem-Repair"); got != "none" {
		t.Errorf("got repair %q from an older version, want none", got)
	}
	g.A.SetDown(false)
	g.B.SetFaults(nil)
	g.awaitSettled("k")
	g.wantObject("k", "new")
	g.awaitConverged()
}

// A write is acknowledged while a read that asked for a repair is still under way.
func TestRepairAskedBeforeAWriteKeepsTheWrite(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "old")
	g.awaitSettled("k")
	gate, asked := make(chan struct{}), make(chan struct{}, 8)
	g.A.SetFaults(onKey("GetObject", "k", regiontest.Fault{Status: 500}))
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		switch q.Operation {
		case "GetObject":
			asked <- struct{}{}
			return regiontest.Fault{Hang: gate, Apply: true}
		case "PutObject":
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	answer := make(chan response, 1)
	go func() { answer <- g.GET("k", query("repair", "1")) }()
	<-asked
	g.put("k", "new")
	close(gate)
	if r := <-answer; r.Status != 200 {
		t.Errorf("the read that was under way: got %v, want 200", r)
	}
	g.A.SetFaults(nil)
	g.wantObject("k", "new")
	g.B.SetFaults(nil)
	g.awaitSettled("k")
	g.wantObject("k", "new")
	g.awaitConverged()
}

// Reads that race with a delete answer with the object or without it.
func TestReadDuringADeleteIsAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for i, e := range []edit{query("prefer", "replica"), query("prefer", "active")} {
		key := fmt.Sprintf("k%d", i)
		g.put(key, "content")
		g.awaitSettled(key)
		gate, asked := make(chan struct{}), make(chan struct{}, 8)
		var isHeld atomic.Bool
		hold := func(q regiontest.Request) regiontest.Fault {
			if q.Operation != "GetObject" || q.Key != key || !isHeld.CompareAndSwap(false, true) {
				return regiontest.Fault{}
			}
			asked <- struct{}{}
			return regiontest.Fault{Hang: gate} // it looks when it is let go
		}
		g.A.SetFaults(hold)
		g.B.SetFaults(hold)
		answer := make(chan response, 1)
		go func() { answer <- g.GET(key, e) }()
		<-asked
		g.remove(key)
		g.awaitSettled(key)
		close(gate)
		if r := <-answer; r.Status != 404 {
			t.Errorf("%s: got %v, want 404", key, r)
		}
		if s := g.status(key); !s.Deleted || s.in("secondary").State != "current" {
			t.Errorf("%s: got %+v", key, s)
		}
	}
}

// A 304 or a 412 says something of a version too.
func TestConditionIsJudgedOfTheAcknowledgedVersion(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	old := g.put("k", "old").ETag
	g.awaitSettled("k")
	g.B.SetFaults(onKey("PutObject", "k", regiontest.Fault{Code: "SlowDown"}))
	acknowledged := g.put("k", "new").ETag
	g.A.SetDown(true)
	for name, e := range map[string]edit{
		"would be a 304": header("If-None-Match", `"`+old+`"`),
		"would be a 412": header("If-Match", `"`+acknowledged+`"`),
		"would be a 200": header("If-Match", `"`+old+`"`),
	} {
		t.Run(name, func(t *testing.T) { wantProblem(t, g.GET("k", e), 503, "NotYetReplicated") })
	}
	g.A.SetDown(false)
	if r := g.GET("k", header("If-None-Match", `"`+acknowledged+`"`)); r.Status != 304 {
		t.Errorf("got %v, want 304", r)
	}
	wantProblem(t, g.GET("k", header("If-Match", `"`+old+`"`)), 412, "PreconditionFailed")
}

// The index knew every key of the bucket; what is there now and was not then was put
// there by somebody else, and the active is right about it.
func TestKeyWithoutARowIsWhatTheComparedActiveSays(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.A.Put(bucketA, "k", []byte("by somebody else"))
	wantHeaders(t, g.wantObject("k", "by somebody else"), "primary", "current", false)
	wantProblem(t, g.GET("never was"), 404, "NoSuchKey")
}

// A copy has a date of its own, so a condition on the date is not judged by a replica: the object is answered
// whole, which is never wrong.
func TestDateConditionIsNotJudgedByAReplica(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "whole")
	g.awaitSettled("k")
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat)
	yesterday := time.Now().Add(-24 * time.Hour).UTC().Format(http.TimeFormat)
	for _, condition := range []edit{header("If-Modified-Since", tomorrow), header("If-Unmodified-Since", yesterday)} {
		g.wantObject("k", "whole", query("prefer", "replica"), condition)
	}
}
