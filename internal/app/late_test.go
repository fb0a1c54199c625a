package app_test

import (
	"crypto/md5"
	"encoding/hex"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

func etagOf(data string) string {
	sum := md5.Sum([]byte(data))
	return hex.EncodeToString(sum[:])
}

// doubted has a PUT of the key end without an answer; it lands once the channel is closed.
func (g *rig) doubted(key, data string) (land chan struct{}) {
	g.t.Helper()
	land = make(chan struct{})
	rule, _ := first("PutObject", key, regiontest.Fault{ApplyLater: land})
	g.A.SetFaults(rule)
	if r := g.PUT(key, []byte(data)); r.Status != 503 {
		g.t.Fatalf("PUT without an answer: got %v, want 503", r)
	}
	return land
}

// A PUT times out; the next write is acknowledged and copied; then the first lands over it. What
// was acknowledged is a conflict's loser, and the copy that is left of it is not overwritten before
// it is kept.
func TestAnAcknowledgedWriteUnderALateOneIsKept(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"DOUBT_WINDOW": "7s"}})
	g.put("k", "before")
	g.awaitSettled("k")
	land := g.doubted("k", "late")
	g.put("k", "acknowledged")
	g.eventually(func() error {
		return happened(bytesOf(g.B, bucketB, "k") == "acknowledged", "the copy of a key that does not rest")
	})
	close(land)
	g.A.WaitLate()
	g.eventually(func() error { return happened(g.status("k").Settled, "the key settles") })
	c := g.awaitKept("k")
	if got := bytesOf(g.A, bucketA, c.KeptKey); got != "acknowledged" || c.ETag != etagOf("acknowledged") {
		t.Errorf("conflict %+v keeps %q, want what was acknowledged", c, got)
	}
	g.awaitSettled("k")
	g.wantObject("k", "late")
	g.awaitConverged()
}

// A PUT times out and never lands; its client writes again. That is no conflict of the write with
// itself.
func TestATimedOutWriteThatIsRepeatedIsNoConflict(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"DOUBT_WINDOW": "4s"}})
	g.put("k", "before")
	g.awaitSettled("k")
	g.doubted("k", "never lands")
	g.put("k", "again")
	g.eventually(func() error {
		return happened(bytesOf(g.B, bucketB, "k") == "again", "the copy of a key that does not rest")
	})
	g.awaitSettled("k")
	g.wantObject("k", "again")
	if c := g.conflicts("k"); len(c) > 0 {
		t.Errorf("conflicts %+v, want none", c)
	}
	g.awaitConverged()
}

// The active is restored to before an acknowledged write that nobody else has. Once it is
// verified that write is lost, and the older object is not served in its place.
func TestAnActiveThatLostAWriteDoesNotServeTheOlderOne(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.put("k", "older")
	g.awaitSettled("k")
	g.awaitMarked()
	g.down("secondary")
	g.put("k", "acknowledged")
	g.A.Put(bucketA, "k", []byte("older"))
	g.A.Remove(bucketA, markKey)
	g.awaitRegressed("primary", true)
	g.awaitRegressed("primary", false)
	for range 20 {
		wantProblem(t, g.GET("k"), 503, "NotYetReplicated")
	}
	g.up("secondary")
	g.put("k", "written again")
	g.awaitSettled("k")
	g.wantObject("k", "written again")
}

// Two operators decide one conflict, each the other way, at the same time: one is refused, and
// the key is what the record says.
func TestAConflictIsDecidedOnce(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.bothChanged("k")
	g.up("primary")
	c := g.awaitKept("k")
	g.awaitSettled("k")
	release, reached := make(chan struct{}), make(chan struct{}, 1)
	isHeld := onWrites("k", regiontest.Fault{Hang: release})
	active, _ := g.server(g.state().Active)
	active.SetFaults(func(q regiontest.Request) regiontest.Fault {
		f := isHeld(q)
		if f.Hang != nil {
			select {
			case reached <- struct{}{}:
			default:
			}
		}
		return f
	})
	loser := make(chan response, 1)
	go func() { loser <- g.resolve(c.ID, "loser", "") }()
	<-reached
	winner := make(chan response, 1)
	go func() { winner <- g.resolve(c.ID, "winner", "") }()
	close(release)
	if r := <-loser; r.Status != 200 {
		t.Errorf("the first: got %v, want 200", r)
	}
	wantProblem(t, <-winner, 409, "Resolved")
	active.SetFaults(nil)
	g.wantObject("k", "loser")
}
