package app_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// holdHead keeps the answer to the next HEAD of a key back until gate is closed; held
// is closed once the region has looked. Everything else of the key is as rest has it.
func holdHead(key string, rest func(regiontest.Request) regiontest.Fault) (rule func(regiontest.Request) regiontest.Fault, held, gate chan struct{}) {
	held, gate = make(chan struct{}), make(chan struct{})
	var isHeld atomic.Bool
	return func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "HeadObject" && q.Key == key && isHeld.CompareAndSwap(false, true) {
			close(held)
			return regiontest.Fault{Hang: gate, Apply: true}
		}
		return rest(q)
	}, held, gate
}

// A worker has looked at the active, to repair it; the key is deleted; then the worker goes on.
func TestRepairDecidedOnBeforeADeleteDoesNotBringTheKeyBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.lost("k", "one")
	g.B.SetFaults(onKey("DeleteObject", "k", regiontest.Fault{Code: "SlowDown"})) // it stays a source
	rule, held, gate := holdHead("k", func(regiontest.Request) regiontest.Fault { return regiontest.Fault{} })
	g.A.SetFaults(rule)
	g.GET("k", query("repair", "1"))
	<-held
	g.remove("k")
	close(gate)
	for range 100 {
		wantProblem(t, g.GET("k"), 404, "NoSuchKey")
	}
	g.B.SetFaults(nil)
	g.wantDeleted("k")
}

// A worker has looked at the active, to take away what lies under a tombstone; the same
// bytes are written again and acknowledged; then the worker goes on.
func TestTombstoneDoesNotTakeAwayTheSameBytesWrittenAgain(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.lost("k", "one")
	late := make(chan struct{})
	var repairs atomic.Int32
	faults := func(q regiontest.Request) regiontest.Fault {
		switch {
		case q.Key != "k":
		case q.Operation == "PutObject" && repairs.Add(1) == 1:
			return regiontest.Fault{ApplyLater: late}
		case q.Operation == "PutObject" || q.Operation == "DeleteObject" && repairs.Load() > 100:
			return regiontest.Fault{Code: "SlowDown"}
		}
		return regiontest.Fault{}
	}
	g.A.SetFaults(faults)
	g.GET("k", query("repair", "1"))
	g.eventually(func() error {
		c := g.status("k").in("primary")
		return happened(c.Attempts > 0, fmt.Sprintf("a repair without an answer: %+v", c))
	})
	g.remove("k")
	repairs.Store(101) // from here on A refuses to delete
	close(late)
	g.A.WaitLate()
	g.awaitState("k", "primary", "pending")
	g.eventually(func() error {
		return happened(g.status("k").in("primary").Attempts > 0, "the object under the tombstone is to go")
	})
	rule, held, gate := holdHead("k", func(regiontest.Request) regiontest.Fault { return regiontest.Fault{} })
	g.A.SetFaults(rule)
	<-held
	g.put("k", "one")
	close(gate)
	g.awaitSettled("k")
	g.wantObject("k", "one")
	g.awaitConverged()
}

// The only region that is left has the same bytes with older metadata.
func TestOlderMetadataIsNotTakenForTheAcknowledged(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for name, edits := range map[string][2]edit{
		"type":     {header("Content-Type", "text/plain"), header("Content-Type", "text/html")},
		"metadata": {header("X-Amz-Meta-V", "1"), header("X-Amz-Meta-V", "2")},
	} {
		g.B.SetFaults(nil)
		g.put(name, "bytes", edits[0])
		g.awaitSettled(name)
		g.B.SetFaults(onKey("PutObject", name, regiontest.Fault{Code: "SlowDown"}))
		g.put(name, "bytes", edits[1])
		g.A.Remove(bucketA, name)
		wantProblem(t, g.GET(name), 503, "NotYetReplicated")
		g.eventually(func() error { return happened(g.status(name).in("secondary").Attempts > 1, "another attempt") })
		wantProblem(t, g.GET(name), 503, "NotYetReplicated")
	}
}
