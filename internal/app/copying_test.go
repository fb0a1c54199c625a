package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// first applies a fault to the first request of an operation on a key.
func first(operation, key string, f regiontest.Fault) (rule func(regiontest.Request) regiontest.Fault, count *atomic.Int32) {
	count = new(atomic.Int32)
	return func(q regiontest.Request) regiontest.Fault {
		if q.Operation != operation || q.Key != key || count.Add(1) > 1 {
			return regiontest.Fault{}
		}
		return f
	}, count
}

// wantDeleted checks that the key is a tombstone which nothing contradicts.
func (g *rig) wantDeleted(key string) {
	g.t.Helper()
	g.awaitSettled(key)
	for range 2 { // a read may learn something for the next
		wantProblem(g.t, g.GET(key), 404, "NoSuchKey")
	}
	if s := g.status(key); !s.Deleted {
		g.t.Errorf("%s: got %+v, want a tombstone", key, s)
	}
	g.awaitConverged()
}

// lost is a key that A has lost, without anybody's asking for it.
func (g *rig) lost(key, data string) {
	g.t.Helper()
	g.put(key, data)
	g.awaitSettled(key)
	g.A.Remove(bucketA, key)
}

// The repair takes longer than the doubt window, has no answer, and lands once the key
// was deleted.
func TestSlowRepairDoesNotBringADeletedKeyBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.lost("k", "one")
	late, slow := make(chan struct{}), make(chan struct{})
	rule, sent := first("PutObject", "k", regiontest.Fault{ApplyLater: late})
	g.A.SetFaults(rule)
	var reads atomic.Int32
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "GetObject" && q.Key == "k" && reads.Add(1) == 2 {
			return regiontest.Fault{Hang: slow, Apply: true} // the repair reads its source
		}
		return regiontest.Fault{}
	})
	if got := g.GET("k", query("repair", "1")).Header.Get("X-Tandem-Repair"); got != "queued" {
		t.Fatalf("got repair %q, want queued", got)
	}
	time.AfterFunc(600*time.Millisecond, func() { close(slow) })
	g.eventually(func() error { return happened(sent.Load() > 0, "the repair was sent") })
	g.remove("k")
	close(late)
	g.A.WaitLate()
	g.wantDeleted("k")
}

// A repair has no answer; the next one has; the first lands once the key was deleted.
func TestRepairThatAnotherOneCoversDoesNotBringADeletedKeyBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"DOUBT_WINDOW": "4s"}})
	g.lost("k", "one")
	late := make(chan struct{})
	rule, _ := first("PutObject", "k", regiontest.Fault{ApplyLater: late})
	g.A.SetFaults(rule)
	g.GET("k", query("repair", "1"))
	g.awaitState("k", "primary", "current")
	g.remove("k")
	close(late)
	g.A.WaitLate()
	g.wantDeleted("k")
}

func happened(ok bool, what string) error {
	if ok {
		return nil
	}
	return errNotYet(what)
}

type errNotYet string

func (e errNotYet) Error() string { return "not yet: " + string(e) }

// Copies that lost their answers landed all the same; by the time the region is back
// the keys have moved on, and every window is over.
func TestCopyOfOursIsKnownForOursAfterItsWindow(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	keys := []string{"overwritten", "deleted"}
	var isDown atomic.Bool
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		switch {
		case isDown.Load():
			return regiontest.Fault{CutBefore: true, Early: true}
		case q.Operation == "PutObject" && slices.Contains(keys, q.Key):
			return regiontest.Fault{CutBefore: true, Apply: true}
		}
		return regiontest.Fault{}
	})
	for _, key := range keys {
		g.put(key, "one")
		g.eventually(func() error { return happened(g.status(key).in("secondary").Attempts > 0, "a copy of "+key) })
	}
	isDown.Store(true)
	g.put("overwritten", "two")
	g.remove("deleted")
	time.AfterFunc(time.Second, func() { g.B.SetFaults(nil) }) // the windows are 300 ms
	g.awaitSettled(keys...)
	g.wantObject("overwritten", "two")
	g.wantDeleted("deleted")
}

func TestTombstoneReachesARegionWithoutConditionalDeletes(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]regiontest.Options{
		"refuses them": {NoConditions: true}, "ignores them": {IgnoreConditions: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, options{b: o})
			g.put("k", "one")
			g.put("kept", "one")
			g.put("kept", "two")
			g.awaitSettled("k", "kept")
			g.remove("k")
			g.wantDeleted("k")
			g.wantObject("kept", "two", query("prefer", "replica"))
		})
	}
}

// An unlock has no answer, so nobody can say who holds the lock.
func TestLockIsNotGivenAwayWhileAnUnlockMayYetLand(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"DOUBT_WINDOW": "2s"}})
	g.put("lock", "holder 1", header("If-None-Match", "*"))
	g.awaitSettled("lock")
	late := make(chan struct{})
	rule, _ := first("DeleteObject", "lock", regiontest.Fault{ApplyLater: late})
	g.A.SetFaults(rule)
	wantProblem(t, g.DELETE("lock"), 503, "ServiceUnavailable")
	g.remove("lock")
	wantProblem(t, g.PUT("lock", []byte("holder 2"), header("If-None-Match", "*")), 503, "ServiceUnavailable")
	close(late)
	g.A.WaitLate()
	g.wantDeleted("lock")
	g.put("lock", "holder 2", header("If-None-Match", "*"))
}

// What a replica was found not to have is copied again, without anybody's asking.
func TestReplicaThatLostAnObjectGetsItBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "one")
	g.awaitSettled("k")
	g.B.Remove(bucketB, "k")
	wantHeaders(t, g.wantObject("k", "one", query("prefer", "replica")), "primary", "current", false)
	g.awaitConverged()
	g.wantObject("k", "one", query("prefer", "replica"))
}

// Regions with encryption of their own have other ETags for the same bytes.
func TestRegionWithOtherETagsIsCopiedToAndRepairedFrom(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{wrapB: otherETags})
	g.put("k", "one")
	g.awaitSettled("k")
	lost, _ := first("PutObject", "unanswered", regiontest.Fault{CutBefore: true, Apply: true})
	var reads atomic.Int32
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		switch {
		case q.Key == "unanswered":
			return lost(q)
		case q.Key == "unverified" && q.Operation == "GetObject" && reads.Add(1) <= 2:
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	})
	g.put("unanswered", "one")
	g.put("unverified", "one")
	g.put("unverified", "two")
	g.awaitSettled("unverified", "unanswered")
	g.A.Remove(bucketA, "k")
	g.GET("k", query("repair", "1"))
	g.awaitSettled("k")
	wantHeaders(t, g.wantObject("k", "one"), "primary", "current", false)
}

// otherETags puts a proxy before a region that shows every ETag backwards.
func otherETags(t *testing.T, endpoint string) string {
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	backwards := func(h http.Header, name string) {
		if value := []byte(h.Get(name)); len(value) > 0 {
			slices.Reverse(value)
			h.Set(name, string(value))
		}
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			backwards(r.Out.Header, "If-Match")
			r.Out.Header.Del("Content-Md5")
		},
		ModifyResponse: func(r *http.Response) error {
			backwards(r.Header, "Etag")
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// What the index does not know of is somebody's, and stays.
func TestForeignObjectInTheTargetIsNotOverwritten(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.B.Put(bucketB, "k", []byte("foreign"))
	g.put("k", "ours")
	g.wantForeign("k")
	g.remove("k")
	g.wantForeign("k")
	wantProblem(t, g.GET("k"), 404, "NoSuchKey")
	g.B.Remove(bucketB, "k")
	g.wantDeleted("k")
}

func (g *rig) wantForeign(key string) {
	g.t.Helper()
	g.eventually(func() error {
		c := g.status(key).in("secondary")
		isRefused := c.State == "pending" && c.LastError != nil && strings.Contains(*c.LastError, "does not know of")
		return happened(isRefused, fmt.Sprintf("the copy waits, with the reason: %+v", c))
	})
	if o, _ := g.B.Object(bucketB, key); string(o.Data) != "foreign" {
		g.t.Errorf("B holds %q, want what was there", o.Data)
	}
}

// The active was written to behind our back: what it holds is the truth, on the record.
func TestSourceThatIsNotWhatTheIndexSaysIsAdopted(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.B.SetFaults(onKey("PutObject", "k", regiontest.Fault{Code: "SlowDown"}))
	w := g.put("k", "through the gateway")
	// Once it has failed, no copy is under way for a while.
	g.eventually(func() error { return happened(g.status("k").in("secondary").Attempts > 0, "a copy has failed") })
	g.A.Put(bucketA, "k", []byte("behind its back"))
	g.B.SetFaults(nil)
	g.eventually(func() error { return happened(g.status("k").Version != w.Version, "a new version") })
	g.awaitSettled("k")
	g.wantObject("k", "behind its back")
	g.awaitConverged()
}

// A key that is always being written is copied all the same, and never said to be current.
func TestKeyThatNeverRestsIsCopiedAllTheSame(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"REGION_TIMEOUT": "5m"}})
	g.B.SetFaults(onKey("PutObject", "k", regiontest.Fault{Code: "SlowDown"}))
	g.put("k", "one")
	gate := make(chan struct{})
	g.A.SetFaults(onKey("PutObject", "k", regiontest.Fault{Hang: gate}))
	answer := make(chan response, 1)
	go func() { answer <- g.PUT("k", []byte("two")) }()
	g.eventually(func() error { return happened(!g.status("k").Settled, "the second write is under way") })
	g.B.SetFaults(nil)
	g.eventually(func() error {
		_, ok := g.B.Object(bucketB, "k")
		return happened(ok, "B has a copy")
	})
	c := g.awaitState("k", "secondary", "pending")
	g.eventually(func() error {
		c = g.status("k").in("secondary")
		return happened(c.LastError != nil && strings.Contains(*c.LastError, "still being written"), "the reason")
	})
	close(gate)
	if r := <-answer; r.Status != http.StatusCreated {
		t.Errorf("the second write: got %v", r)
	}
	g.awaitSettled("k")
	g.awaitConverged()
}

// Where a late copy could overwrite anything, a key is not current before that is over.
func TestUnansweredCopyToARegionWithoutConditionsHoldsTheKeyBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{b: regiontest.Options{IgnoreConditions: true}, env: map[string]string{"DOUBT_WINDOW": "3s"}})
	late := make(chan struct{})
	rule, _ := first("PutObject", "k", regiontest.Fault{ApplyLater: late})
	g.B.SetFaults(rule)
	g.put("k", "one")
	g.eventually(func() error { return happened(g.status("k").in("secondary").Attempts > 0, "a copy without an answer") })
	g.put("k", "two")
	g.eventually(func() error {
		c := g.status("k").in("secondary")
		return happened(c.State == "pending" && c.LastError != nil && strings.Contains(*c.LastError, "an earlier copy"), "the copy is held back")
	})
	close(late)
	g.B.WaitLate()
	g.awaitSettled("k")
	g.wantObject("k", "two", query("prefer", "replica"))
	g.awaitConverged()
}

// Without conditions a repair would overwrite whatever the active holds: while it may land, no
// write of an object of the key is let in.
func TestActiveWithoutConditionsIsRepairedUnderALease(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{a: regiontest.Options{IgnoreConditions: true}})
	g.lost("k", "one")
	late := make(chan struct{})
	rule, sent := first("PutObject", "k", regiontest.Fault{ApplyLater: late})
	g.A.SetFaults(rule)
	g.wantObject("k", "one", query("repair", "1"))
	g.eventually(func() error { return happened(sent.Load() > 0, "the repair is sent") })
	wantProblem(t, g.PUT("k", []byte("two")), 503, "ServiceUnavailable")
	close(late)
	g.A.WaitLate()
	g.awaitSettled("k")
	wantHeaders(t, g.wantObject("k", "one"), "primary", "current", false)
	g.put("k", "two")
	g.awaitSettled("k")
	g.wantObject("k", "two")
	g.awaitConverged()
}

// A write is acknowledged whatever the replica does; the lag says what that is missing,
// and it is brought up to date once it is back.
func TestCopiesWaitForARegionThatIsDown(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("overwritten", "one")
	g.put("deleted", "one")
	g.awaitSettled("overwritten", "deleted")
	g.B.SetDown(true)
	for i := range 20 {
		g.put(fmt.Sprintf("k%d", i), "one")
	}
	g.put("overwritten", "two")
	g.remove("deleted")
	g.eventually(func() error { return happened(g.status("overwritten").in("secondary").Attempts > 0, "an attempt") })
	for _, r := range g.state().Regions {
		if r.Name == "secondary" && (r.Pending.Keys != 22 || r.LagSeconds == nil || *r.LagSeconds <= 0) {
			t.Errorf("got %+v, want 22 keys pending and a lag", r)
		}
	}
	g.B.SetDown(false)
	g.awaitConverged()
}
