package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/s3op"
)

const (
	historyClients = 12
	historyKeys    = 8
	// phase is how many writes are acknowledged between two faults.
	phase = 100
)

// recorded is a gateway, and a history that clients make on it.
func recorded(t *testing.T, env ...string) (*gateway, *recording) {
	t.Helper()
	g := start(t, slices.Concat(quickFailover, env)...)
	g.waitCompared(t)
	h := g.startRecording(t, historyClients, historyKeys)
	h.goOn(t, 2*phase)
	return g, h
}

// waitHealth waits until a region is up or down.
func (g *gateway) waitHealth(t *testing.T, name, health string) {
	t.Helper()
	eventually(t, name+" is "+health, func() bool { return g.state(t).region(name).Health == health })
}

// promoteTo has an operator promote a region, and notes when.
func (h *recording) promoteTo(t *testing.T, name string, epoch int64) {
	t.Helper()
	if a := h.g.promote(t, fmt.Sprintf(`{"region": %q}`, name)); a.status != http.StatusOK {
		t.Fatalf("promote %s: %s", name, a)
	}
	h.waitPromoted(t, name, epoch)
}

// waitEligible waits until nothing speaks against the promotion of a region, nor will: what an earlier
// failover put at risk or in doubt there is decided, and kept elsewhere.
func (g *gateway) waitEligible(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" may be promoted", func() bool {
		var dry struct{ Allowed bool }
		isOpen := slices.ContainsFunc(g.failovers(t), func(f failoverRecord) bool { return f.Open > 0 })
		a := g.promote(t, fmt.Sprintf(`{"region": %q, "dryRun": true}`, name))
		return json.Unmarshal(a.body, &dry) == nil && dry.Allowed && !isOpen
	})
}

// conclude ends a history without anything lost, and checks it.
func (h *recording) conclude(t *testing.T) {
	t.Helper()
	h.end()
	h.g.waitClosed(t)
	h.readAll(t)
	entries := h.g.ledgers(t)
	h.checkNamed(t, entries, false)
	h.checkReads(t, entries)
	h.epilogue(t)
	h.check(t, entries)
	h.checkPlanted(t, entries)
	h.g.waitClosed(t)
	h.g.checkBytes(t)
}

// TestHistoriesThroughAutomaticFailoversAreLinearizable: the active is killed under load, comes
// back, and then its successor is killed.
func TestHistoriesThroughAutomaticFailoversAreLinearizable(t *testing.T) {
	t.Parallel()
	g, h := recorded(t)
	up := g.down(t, primary)
	h.waitPromoted(t, secondary, 2)
	h.goOn(t, phase)
	up()
	g.waitHealth(t, primary, "up")
	h.goOn(t, phase)
	g.waitEligible(t, primary)
	up = g.down(t, secondary)
	h.waitPromoted(t, primary, 3)
	h.goOn(t, phase)
	up()
	g.waitHealth(t, secondary, "up")
	h.goOn(t, phase)
	h.conclude(t)
}

// TestHistoriesThroughManualFailoversAreLinearizable: the active's process dies and is started
// again, then it stops for a moment; then an operator promotes with both regions up, and with
// one of them down.
func TestHistoriesThroughManualFailoversAreLinearizable(t *testing.T) {
	t.Parallel()
	g, h := recorded(t, "FAILOVER_MODE=manual", "DOUBT_WINDOW=8s")
	g.killRegion(t, primary)
	h.goOn(t, phase)
	isOpen := func(s step) bool { return s.effect == maybe }
	open := h.count(isOpen)
	thaw := g.freeze(t, primary)
	eventually(t, "writes are in doubt", func() bool { return h.count(isOpen) > open })
	thaw()
	h.goOn(t, phase)
	h.promoteTo(t, secondary, 2)
	h.goOn(t, phase)
	g.waitEligible(t, primary)
	up := g.down(t, secondary)
	g.waitHealth(t, secondary, "down")
	h.promoteTo(t, primary, 3)
	h.goOn(t, phase)
	up()
	g.waitHealth(t, secondary, "up")
	h.goOn(t, phase)
	h.conclude(t)
}

// TestHistoriesThroughAFrozenActiveAreLinearizable: what waits in the frozen region's sockets
// lands after another region was promoted and written to.
func TestHistoriesThroughAFrozenActiveAreLinearizable(t *testing.T) {
	t.Parallel()
	g, h := recorded(t, "DOUBT_WINDOW=10s")
	thaw := g.freeze(t, primary)
	h.waitPromoted(t, secondary, 2)
	h.goOn(t, phase)
	thaw()
	g.waitHealth(t, primary, "up")
	h.goOn(t, phase)
	h.conclude(t)
}

// TestHistoriesThroughALossAreLinearizable: the killed active comes back empty. The keys that read
// as nothing else but 503 are those that the ledger has as lost; of them too no older version is
// ever read, and the next write makes them whole.
func TestHistoriesThroughALossAreLinearizable(t *testing.T) {
	t.Parallel()
	g, h := recorded(t)
	up := g.down(t, primary)
	h.leaveAlone(func(key string) bool { return key < h.keys[historyKeys/2] })
	h.waitPromoted(t, secondary, 2)
	h.goOn(t, phase)
	g.servers[primary].clear(t)
	up()
	g.waitRegressed(t, primary)
	h.goOn(t, phase)
	h.end()
	eventually(t, "the ledger is closed and the region verified", func() bool {
		f := g.failovers(t)[0]
		r := g.state(t).region(primary)
		return f.Open == 0 && !r.Regressed && r.Pending.Keys <= f.Closed["lost"]
	})
	h.readAll(t)
	entries := g.ledgers(t)
	h.checkNamed(t, entries, true)
	if lost := h.checkReads(t, entries); len(lost) == 0 {
		t.Errorf("nothing is lost of %v, want some of what only the lost region had", entries)
	}
	h.epilogue(t)
	h.check(t, entries)
	h.checkPlanted(t, entries)
	g.waitClosed(t)
}

// checkNamed holds what the ledgers and the conflicts name against what the clients did.
func (h *recording) checkNamed(t *testing.T, entries []namedEntry, mayLose bool) {
	t.Helper()
	steps := byKey(h.all())
	inLedger := make(map[string]int)
	outcomes := make(map[string]int)
	for _, e := range entries {
		outcomes[e.Kind+" "+e.outcome()]++
		began, isKnown := h.promoted[e.epoch]
		if s3op.IsReserved(e.Key) {
			continue // a loser that is kept is copied, and may be at risk, like every object
		}
		isOf := func(s step) bool {
			isMeant := e.Kind == "at-risk" && s.etag() == e.ETag || e.Kind == "in-doubt" && s.effect == maybe
			return isMeant && s.isWrite() && s.effect != denied && (!isKnown || s.call < began)
		}
		if !slices.ContainsFunc(steps[e.Key], isOf) {
			t.Errorf("the ledger of epoch %d has %+v; no client wrote that", e.epoch, e)
		}
		switch e.outcome() {
		case "recovered", "superseded", "not-applied":
		case "conflict":
			inLedger[e.Key+" "+e.Version]++
		case "lost":
			if !mayLose {
				t.Errorf("%+v was closed as lost, and no region lost anything", e)
			}
		default:
			t.Errorf("%+v was closed as %q", e, e.outcome())
		}
	}
	t.Logf("what became of the ledgers' entries: %v", outcomes)
	region := h.g.region(t, h.g.state(t).Active)
	kept := make(map[string]bool)
	for _, c := range h.g.conflicts(t) {
		kept[c.Key+" "+c.Loser] = true
		isLoser := func(s step) bool { return s.isWrite() && s.effect != denied && s.etag() == c.ETag }
		if c.State != "kept" || !slices.ContainsFunc(steps[c.Key], isLoser) {
			t.Errorf("conflict %+v; want it kept, and written by a client", c)
		}
		if !c.Deleted && c.State == "kept" {
			if value, ok := nameOf(bytesOf(t, region, c.KeptKey)); !ok || etagNamed(value) != c.ETag {
				t.Errorf("conflict %+v does not keep what its loser wrote, but %q", c, value)
			}
		}
		// One that the active itself had, under a write that landed late, is in no ledger.
		isLate := func(s step) bool { return s.effect == maybe }
		if inLedger[c.Key+" "+c.Loser] == 0 && !slices.ContainsFunc(steps[c.Key], isLate) {
			t.Errorf("conflict %+v is in no ledger, and no write of the key landed late", c)
		}
	}
	for named := range inLedger {
		if !kept[named] {
			t.Errorf("the ledger closed %s as a conflict, and there is none", named)
		}
	}
}

// checkReads holds the last reads against the ledgers: a key without an answer is one whose last
// acknowledged write is lost, and so is the reverse.
func (h *recording) checkReads(t *testing.T, entries []namedEntry) map[string]bool {
	t.Helper()
	lost := make(map[string]bool)
	for _, e := range entries {
		if e.Kind != "at-risk" || e.outcome() != "lost" {
			continue // of a write in doubt that is lost nobody was told that it was made
		}
		isLater := func(s step) bool {
			v, err := journal.ParseVersion(s.version)
			return s.key == e.Key && s.isWrite() && s.effect == took && err == nil && v.Epoch >= e.epoch
		}
		lost[e.Key] = h.count(isLater) == 0
	}
	steps := h.all()
	for _, s := range steps[len(steps)-2*len(h.keys):] {
		if hasAnswer := s.effect == took; hasAnswer == lost[s.key] {
			t.Errorf("%v; lost on the record: %t", s, lost[s.key])
		}
	}
	return lost
}

// epilogue has one client, alone, write each key and read it. Violations are planted there
// if nowhere else.
func (h *recording) epilogue(t *testing.T) {
	t.Helper()
	for _, key := range h.keys {
		for i, act := range []action{actPut, actGet, actPut, actGet, actDelete, actGet, create(), actGet} {
			s := step{client: h.clients, key: key, action: act}
			size := 0
			if act == actPut || act == actCreate {
				s.value = fmt.Sprintf("e%d/0", i)
				size = len(bytesNamed(s.value))
			}
			h.carry(t.Context(), s, int64(size))
		}
	}
}

// checkPlanted plants one violation after the other in what was recorded, and wants each found.
func (h *recording) checkPlanted(t *testing.T, entries []namedEntry) {
	t.Helper()
	if t.Failed() {
		return
	}
	keys := byKey(h.all())
	for _, v := range violations {
		planted := 0
		for _, key := range h.keys {
			edited, what := plant(keys[key], v.value)
			if edited == nil {
				continue
			}
			planted++
			if _, ok := h.judge(t, edited, entries); ok {
				t.Errorf("planted in %s: %s, and it was not found: %s", key, v.name, what)
			}
		}
		if planted == 0 {
			t.Errorf("there was nowhere to plant %s", v.name)
		}
		t.Logf("%s: planted in %d keys, and found", v.name, planted)
	}
}

// violation is a wrong value for a read, where the history has a place for one.
type violation struct {
	name string
	// value returns what the read must not have; false where it may.
	value func(steps []step, read step) (string, bool)
}

var violations = []violation{
	{"a stale read", func(steps []step, read step) (string, bool) { return overwritten(steps, read, actPut, actCreate) }},
	{"a deleted key that came back", func(steps []step, read step) (string, bool) { return overwritten(steps, read, actDelete) }},
	{"a lost acknowledged write", lostWrite},
}

// plant changes the first read that it can.
func plant(steps []step, wrong func([]step, step) (string, bool)) (edited []step, what string) {
	for i, s := range steps {
		if s.action != actGet {
			continue
		}
		if value, ok := wrong(steps, s); ok && value != s.value {
			edited = slices.Clone(steps)
			edited[i].value = value
			return edited, fmt.Sprintf("%v, as %q", s, value)
		}
	}
	return nil, ""
}

// overwritten is an acknowledged value over which another acknowledged write went before the
// read. A value is written once, so that it cannot be back.
func overwritten(steps []step, read step, by ...action) (string, bool) {
	for _, w := range steps {
		if w.effect != took || !slices.Contains(by, w.action) || w.end >= read.call {
			continue
		}
		for _, u := range steps {
			if u.effect == took && (u.action == actPut || u.action == actCreate) && u.end < w.call {
				return u.value, true
			}
		}
	}
	return "", false
}

// lostWrite is an absence after an acknowledged write that no delete may have followed.
func lostWrite(steps []step, read step) (string, bool) {
	for _, w := range steps {
		if w.effect != took || (w.action != actPut && w.action != actCreate) || w.end >= read.call {
			continue
		}
		mayFollow := func(s step) bool { return s.action == actDelete && s.call < read.end && s.end > w.call }
		if !slices.ContainsFunc(steps, mayFollow) {
			return absent, true
		}
	}
	return "", false
}
