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

type dryRun struct {
	DryRun, Allowed      bool
	From, To             string
	Objections           []objection
	AtRisk               struct{ Keys, Bytes int64 }
	InDoubt, OpenURLs    int64
	OldestPendingSeconds *float64
	WritesInFlight       int
	Canary               struct {
		OK             bool
		Error          string
		ElapsedSeconds float64
	}
	NeverCompared map[string]*int64
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
	if f := g.mustPromote("secondary"); f.AtRisk != 5 || f.Open != 5 || f.InDoubt != 0 {
		t.Errorf("promoted %+v, want 5 at risk", f)
	}
	g.B.SetFaults(nil)
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
			g.mustPromote("secondary")
			g.B.SetFaults(nil)
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
