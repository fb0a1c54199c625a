package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
)

// quickFailover are the settings of failover tests: everything in milliseconds. One worker
// for each region leaves something that only the active has.
var quickFailover = []string{
	"FAILOVER_MODE=auto", "HEALTH_INTERVAL=100ms", "HEALTH_TIMEOUT=1s", "HEALTH_FAILURES=3", "HEALTH_RECOVERIES=2", "FAILOVER_HOLD_DOWN=0s",
	"MARK_INTERVAL=200ms", "REPLICATION_WORKERS=1", "DOUBT_WINDOW=3s", "REGION_TIMEOUT=2s",
}

type regionState struct {
	Name, Role, Health  string
	Compared, Regressed bool
	Pending             struct{ Keys, Bytes, Failing, Unreplicable int64 }
	OpenURLs            struct {
		Count int64
		Until *time.Time
	}
}

type objection struct{ Region, Code, Message string }

// gatewayState is what GET /admin/state tells.
type gatewayState struct {
	Active     string
	Epoch      int64
	BlockedBy  []objection
	Regions    []regionState
	Checkpoint string
}

func (g *gateway) state(t *testing.T) gatewayState {
	t.Helper()
	return getJSON[gatewayState](t, g, "/admin/state")
}

func (s gatewayState) region(name string) regionState {
	for _, r := range s.Regions {
		if r.Name == name {
			return r
		}
	}
	return regionState{}
}

func getJSON[T any](t *testing.T, g *gateway, path string) T {
	t.Helper()
	a := g.do(t, http.MethodGet, path, nil, nil, 0)
	var v T
	if err := json.Unmarshal(a.body, &v); a.status != http.StatusOK || err != nil {
		t.Fatalf("GET %s: %s (%v)", path, a, err)
	}
	return v
}

type failoverRecord struct {
	Epoch, AtRisk, InDoubt, Open int64
	From, To, Reason             string
	Automatic, Forced            bool
	Closed                       map[string]int64
}

func (g *gateway) failovers(t *testing.T) []failoverRecord {
	t.Helper()
	return getJSON[struct{ Failovers []failoverRecord }](t, g, "/admin/failovers").Failovers
}

type ledgerEntry struct {
	ID, Size                                    int64
	Kind, Key, Version, Operation, ETag, Region string
	Outcome, Reason                             *string
}

func (e ledgerEntry) outcome() string {
	if e.Outcome == nil {
		return ""
	}
	return *e.Outcome
}

func (g *gateway) ledger(t *testing.T, epoch int64) []ledgerEntry {
	t.Helper()
	var all []ledgerEntry
	for after := int64(0); ; {
		page := getJSON[struct {
			Entries []ledgerEntry
			Next    *int64
		}](t, g, fmt.Sprintf("/admin/failovers/%d/ledger?after=%d", epoch, after))
		all = append(all, page.Entries...)
		if page.Next == nil {
			return all
		}
		after = *page.Next
	}
}

type conflict struct {
	ID                                                          int64
	Key, State, Loser, Winner, Operation, ETag, KeptKey, Region string
	Deleted                                                     bool
	LastError                                                   *string
}

func (g *gateway) conflicts(t *testing.T) []conflict {
	t.Helper()
	return getJSON[struct{ Conflicts []conflict }](t, g, "/admin/conflicts?all=1").Conflicts
}

func (g *gateway) promote(t *testing.T, body string) answer {
	t.Helper()
	return g.do(t, http.MethodPost, "/admin/failover/promote", nil, strings.NewReader(body), int64(len(body)))
}

// waitCompared waits until both regions are compared and answer.
func (g *gateway) waitCompared(t *testing.T) {
	t.Helper()
	eventually(t, "the regions are compared", func() bool {
		s := g.state(t)
		return !slices.ContainsFunc(s.Regions, func(r regionState) bool { return !r.Compared || r.Health != "up" })
	})
}

func (g *gateway) waitActive(t *testing.T, name string, epoch int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is active in epoch %d", name, epoch), func() bool {
		s := g.state(t)
		return s.Active == name && s.Epoch == epoch
	})
}

// waitClosed waits until no ledger has an open entry and nothing is pending.
func (g *gateway) waitClosed(t *testing.T) {
	t.Helper()
	last := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(last)
		}
	})
	eventually(t, "every ledger is closed and nothing is pending", func() bool {
		last = ""
		for _, f := range g.failovers(t) {
			if f.Open > 0 {
				open := slices.DeleteFunc(g.ledger(t, f.Epoch), func(e ledgerEntry) bool { return e.Outcome != nil })
				if len(open) == 0 {
					open = append(open, ledgerEntry{Key: "closed by now"})
				}
				last += fmt.Sprintf("epoch %d has %d open entries: %+v; conflicts %+v\n", f.Epoch, f.Open, open[0], g.conflicts(t))
				s := g.status(t, open[0].Key)
				last += fmt.Sprintf("%+v\n", s)
			}
		}
		for _, r := range g.state(t).Regions {
			if r.Pending.Keys > 0 || r.Regressed {
				last += fmt.Sprintf("%+v\n", r)
			}
		}
		return last == ""
	})
}

// bytesOf reads an object past the gateway; nil where the region does not hold it.
func bytesOf(t *testing.T, r *region.Region, key string) []byte {
	t.Helper()
	o, err := r.Get(t.Context(), key, nil)
	if region.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	defer o.Body.Close()
	data, err := io.ReadAll(o.Body)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return data
}

// checkBytes compares the regions byte by byte, conflicts that are kept included.
func (g *gateway) checkBytes(t *testing.T) {
	t.Helper()
	g.checkAgree(t)
	a, b := g.region(t, primary), g.region(t, secondary)
	for _, prefix := range []string{"load/", ".tandem/conflicts/"} {
		for after, more := "", true; more; {
			page, err := a.List(t.Context(), region.ListOptions{Prefix: prefix, StartAfter: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Objects {
				after = o.Key
				if ours, theirs := bytesOf(t, a, o.Key), bytesOf(t, b, o.Key); string(ours) != string(theirs) {
					t.Errorf("%s differs: %d bytes in primary, %d in secondary", o.Key, len(ours), len(theirs))
				}
			}
			more = page.Truncated
		}
	}
}

// checkLedger compares the ledger of the promotion that began epoch 2, while the old active
// is away, entry by entry with what the clients remember. held is what the new active held at the
// time.
func checkLedger(t *testing.T, entries []ledgerEntry, records []record, held func(key string) string) {
	t.Helper()
	acknowledged := last(records, 1)
	listed := make(map[string]bool)
	for _, e := range entries {
		switch e.Kind {
		case "at-risk":
			r, ok := acknowledged[e.Key]
			if isFound(e, r, unacknowledged(records, e.Key)) {
				listed[e.Key] = true
				continue
			}
			if !ok || r.version.String() != e.Version {
				t.Errorf("the ledger has %+v at risk; the last write that was acknowledged is %v", e, r)
				continue
			}
			if isDelete := r.body == nil; isDelete != (e.Operation == "delete") || e.ETag != r.etag() || e.Size != int64(len(r.body)) || e.Region != primary {
				t.Errorf("the ledger has %+v; the client wrote %v", e, r)
			}
			listed[e.Key] = true
		case "in-doubt":
			if len(unacknowledged(records, e.Key)) == 0 {
				t.Errorf("the ledger has %+v in doubt; every write of the key was acknowledged", e)
			}
		}
	}
	for key, r := range acknowledged {
		if !listed[key] && held(key) != r.etag() {
			t.Errorf("%v is not in the ledger, and the new active held %q", r, held(key))
		}
	}
}

// isFound reports whether an entry is a write without an answer that came after the last acknowledged one, and that
// the gateway found in its region before the promotion: that is a version too, though its client was not told.
func isFound(e ledgerEntry, acknowledged record, unacknowledged []record) bool {
	v, err := journal.ParseVersion(e.Version)
	return err == nil && v.Compare(acknowledged.version) > 0 && slices.ContainsFunc(unacknowledged, func(u record) bool {
		return u.etag() == e.ETag && (u.body == nil) == (e.Operation == "delete")
	})
}

// checkOutcome compares what became of each write with what the clients remember, once
// everything is closed.
func (g *gateway) checkOutcome(t *testing.T, records []record, entries []ledgerEntry) {
	t.Helper()
	conflicts := make(map[string]conflict)
	for _, c := range g.conflicts(t) {
		conflicts[c.Key+" "+c.Loser] = c
	}
	a := g.region(t, primary)
	now := last(records, 1<<40)
	byVersion := make(map[string]record)
	for _, r := range records {
		if r.acknowledged {
			byVersion[r.key+" "+r.version.String()] = r
		}
	}
	for _, e := range entries {
		r, isKnown := byVersion[e.Key+" "+e.Version]
		switch e.outcome() {
		case "conflict":
			c, ok := conflicts[e.Key+" "+e.Version]
			if !ok || c.State != "kept" {
				t.Errorf("%+v was closed as a conflict, and there is %+v", e, c)
				continue
			}
			if isKnown && !c.Deleted && string(bytesOf(t, a, c.KeptKey)) != string(r.body) {
				t.Errorf("conflict %+v does not keep what was acknowledged: %v", c, r)
			}
			if e.Kind == "at-risk" && now[e.Key].version.Epoch < 2 && len(unacknowledged(records, e.Key)) == 0 {
				t.Errorf("%+v was closed as a conflict, though nobody wrote the key since", e)
			}
		case "recovered", "superseded", "not-applied":
		default:
			t.Errorf("%+v was closed as %q", e, e.outcome())
		}
	}
	// Each key is what the last acknowledged write made it, or one that was never acknowledged.
	for key, r := range now {
		permitted := []string{r.etag()}
		for _, u := range unacknowledged(records, key) {
			permitted = append(permitted, u.etag())
		}
		answer := g.get(t, key)
		got := strings.Trim(answer.header.Get("ETag"), `"`)
		if answer.status == http.StatusNotFound {
			got = ""
		}
		if !slices.Contains(permitted, got) {
			t.Errorf("%s reads as %s (etag %q); the last acknowledged write is %v, and %d have no answer", key, answer, got, r, len(permitted)-1)
		}
	}
}

// underLoad is a gateway on which sixteen clients write.
func underLoad(t *testing.T, env ...string) (*gateway, *load) {
	t.Helper()
	g := start(t, slices.Concat(quickFailover, env)...)
	g.waitCompared(t)
	l := g.startLoad(t, 16, 12, 4*kib)
	eventually(t, "the clients have written", func() bool { return l.acknowledged(1) > 300 })
	return g, l
}

// half is true for every second client's keys.
func half(key string) bool { return key[len("load/0")]%2 == 0 }

// afterPromotion has half of the keys written under the new epoch, and ends the load.
func afterPromotion(t *testing.T, g *gateway, l *load) {
	t.Helper()
	l.leaveAlone(half)
	eventually(t, "writes are accepted by the new active", func() bool { return l.acknowledged(2) > 200 })
	l.end()
}

// heldBy is what a region holds of each key, by ETag.
func heldBy(t *testing.T, g *gateway, name string) map[string]string {
	t.Helper()
	etags := make(map[string]string)
	r := g.region(t, name)
	for after, more := "", true; more; {
		page, err := r.List(t.Context(), region.ListOptions{Prefix: "load/", StartAfter: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			after = o.Key
			etags[o.Key] = o.ETag
		}
		more = page.Truncated
	}
	return etags
}

// checkExact holds the ledger against the clients' records. What the new active held at the
// promotion is not to be seen any more for keys that were written since: of those only what the
// ledger lists is checked.
func checkExact(t *testing.T, g *gateway, l *load) []ledgerEntry {
	t.Helper()
	entries, records, held := g.ledger(t, 2), l.all(), heldBy(t, g, secondary)
	written := last(records, 1<<40)
	atRisk := make(map[string]string)
	for _, e := range entries {
		atRisk[e.Key] = e.ETag
	}
	checkLedger(t, entries, records, func(key string) string {
		if r := written[key]; r.version.Epoch > 1 {
			return last(records, 1)[key].etag() // overwritten: nothing to be seen
		}
		return held[key]
	})
	return entries
}

func TestFailoverOfAKilledActiveUnderLoad(t *testing.T) {
	t.Parallel()
	g, l := underLoad(t)
	up := g.down(t, primary)
	g.waitActive(t, secondary, 2)
	afterPromotion(t, g, l)
	entries := checkExact(t, g, l)
	f := g.failovers(t)[0]
	t.Logf("%d writes acknowledged before, %d after; at risk %d, in doubt %d", l.acknowledged(1), l.acknowledged(2), f.AtRisk, f.InDoubt)
	if !f.Automatic || f.From != primary || f.To != secondary || f.AtRisk == 0 {
		t.Errorf("failover %+v, want one by the gateway from primary to secondary with something at risk", f)
	}
	up()
	g.waitClosed(t)
	g.checkOutcome(t, l.all(), g.ledger(t, 2))
	g.checkBytes(t)
	if len(entries) != len(g.ledger(t, 2)) {
		t.Errorf("the ledger had %d entries, and has %d", len(entries), len(g.ledger(t, 2)))
	}
}

// TestFailoverOfAFrozenActiveFindsWritesThatLandLate: what waits in a frozen region's sockets
// is applied once it goes on, long after its clients were told that nobody knows.
func TestFailoverOfAFrozenActiveFindsWritesThatLandLate(t *testing.T) {
	t.Parallel()
	// Longer than a busy machine keeps the region frozen: what lands after the window is nobody's.
	g, l := underLoad(t, "DOUBT_WINDOW=20s")
	thaw := g.freeze(t, primary)
	g.waitActive(t, secondary, 2)
	afterPromotion(t, g, l)
	checkExact(t, g, l)
	f := g.failovers(t)[0]
	t.Logf("at risk %d, in doubt %d", f.AtRisk, f.InDoubt)
	if f.InDoubt == 0 {
		t.Errorf("failover %+v, want writes in doubt", f)
	}
	thaw()
	g.waitClosed(t)
	entries := g.ledger(t, 2)
	landed := 0
	for _, e := range entries {
		if e.Kind == "in-doubt" && e.Version != "" {
			landed++
		}
	}
	t.Logf("%d writes landed late", landed)
	g.checkOutcome(t, l.all(), entries)
	g.checkBytes(t)
}

func TestManualFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	g, l := underLoad(t, "FAILOVER_MODE=manual")
	up := g.down(t, primary)
	eventually(t, "it is said that nothing is promoted", func() bool { return len(g.state(t).BlockedBy) > 0 })
	if s := g.state(t); s.Epoch != 1 || s.BlockedBy[0].Code != "manual-mode" {
		t.Errorf("state %+v, want epoch 1 and the reason", s)
	}
	refused := g.do(t, http.MethodPut, object("load/refused"), nil, strings.NewReader("x"), 1)
	if refused.status != http.StatusServiceUnavailable || refused.header.Get("Retry-After") == "" {
		t.Errorf("a write while the active is down: %s, want 503 with Retry-After", refused)
	}
	var dry struct {
		Allowed bool
		AtRisk  struct{ Keys int64 }
		Canary  struct{ OK bool }
	}
	a := g.promote(t, `{"dryRun": true}`)
	if err := json.Unmarshal(a.body, &dry); err != nil || a.status != http.StatusOK || !dry.Allowed || !dry.Canary.OK {
		t.Errorf("dry run: %s (%v)", a, err)
	}
	if a := g.promote(t, `{"reason": "the disk is gone"}`); a.status != http.StatusOK {
		t.Fatalf("promote: %s", a)
	}
	afterPromotion(t, g, l)
	checkExact(t, g, l)
	f := g.failovers(t)[0]
	if f.Automatic || f.Reason != "the disk is gone" || f.AtRisk != dry.AtRisk.Keys {
		t.Errorf("failover %+v, want one by hand with the %d keys at risk of the dry run", f, dry.AtRisk.Keys)
	}
	up()
	g.waitClosed(t)
	g.checkOutcome(t, l.all(), g.ledger(t, 2))
	g.checkBytes(t)

	// And back, with both regions up: nothing is at risk.
	if a := g.promote(t, `{"region": "primary"}`); a.status != http.StatusOK {
		t.Fatalf("promote back: %s", a)
	}
	g.putText(t, "load/after", "after")
	g.waitClosed(t)
	if f := g.failovers(t)[0]; f.AtRisk+f.InDoubt != 0 || f.Epoch != 3 {
		t.Errorf("failover %+v, want epoch 3 with nothing at risk", f)
	}
	g.checkBytes(t)
}

// TestFlappingRegionsAreNotPromotedWithinTheHoldDown: the regions fail in turn; within the
// hold-down nobody is promoted again, and reads go on.
func TestFlappingRegionsAreNotPromotedWithinTheHoldDown(t *testing.T) {
	t.Parallel()
	g, l := underLoad(t, "FAILOVER_HOLD_DOWN=1h")
	for range 3 {
		up := g.down(t, primary)
		g.waitActive(t, secondary, 2)
		up()
		eventually(t, "primary is back", func() bool { return g.state(t).region(primary).Health == "up" })
	}
	down := g.down(t, secondary)
	eventually(t, "the hold-down is said to keep primary from being promoted", func() bool {
		s := g.state(t)
		return len(s.BlockedBy) > 0 && s.BlockedBy[0].Code == "hold-down"
	})
	if s := g.state(t); s.Epoch != 2 {
		t.Errorf("epoch %d, want 2: one promotion", s.Epoch)
	}
	down()
	eventually(t, "secondary is back", func() bool { return g.state(t).region(secondary).Health == "up" })
	afterPromotion(t, g, l)
	g.waitClosed(t)
	g.checkOutcome(t, l.all(), g.ledger(t, 2))
	g.checkBytes(t)
}

// TestNothingIsPromotedWhileBothRegionsAreDown: and what was acknowledged is there when they
// are back.
func TestNothingIsPromotedWhileBothRegionsAreDown(t *testing.T) {
	t.Parallel()
	g, l := underLoad(t)
	upA, upB := g.down(t, primary), g.down(t, secondary)
	eventually(t, "both are down", func() bool {
		s := g.state(t)
		return s.region(primary).Health == "down" && s.region(secondary).Health == "down" && len(s.BlockedBy) > 0
	})
	epoch := g.state(t).Epoch
	if epoch > 1 { // the secondary may still have answered when the primary was found down
		t.Logf("promoted between the two")
	}
	health := g.do(t, http.MethodGet, "/healthz", nil, nil, 0)
	if health.status != http.StatusServiceUnavailable {
		t.Errorf("healthz: %s, want 503", health)
	}
	l.end()
	upA()
	upB()
	eventually(t, "both are up", func() bool {
		s := g.state(t)
		return s.region(primary).Health == "up" && s.region(secondary).Health == "up"
	})
	g.waitClosed(t)
	if s := g.state(t); s.Epoch > epoch+1 {
		t.Errorf("epoch %d, was %d", s.Epoch, epoch)
	}
	for _, f := range g.failovers(t) {
		g.checkOutcome(t, l.all(), g.ledger(t, f.Epoch))
	}
	g.checkOutcome(t, l.all(), nil)
	g.checkBytes(t)
}

// TestCrashInTheMiddleOfAPromotion: the gateway dies before or after the promotion's
// transaction. Started again it serves one epoch, whole, and the ledger is exact.
func TestCrashInTheMiddleOfAPromotion(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"before-promotion", "after-promotion"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, slices.Concat(quick, quickFailover)...)
			g.start(t, "TANDEM_FAILPOINT="+point)
			g.waitCompared(t)
			l := g.startLoad(t, 16, 12, 4*kib)
			eventually(t, "the clients have written", func() bool { return l.acknowledged(1) > 300 })
			up := g.down(t, primary)
			g.waitKilled(t)
			l.end()
			// The primary stays away: its process cannot serve while its lock is held. A gateway
			// waits for its regions, so it is let serve, and killed once the gateway runs.
			up()
			g.start(t)
			f := g.failovers(t)
			switch {
			case point == "after-promotion" && (len(f) != 1 || g.state(t).Active != secondary):
				t.Errorf("failovers %+v, active %s; want the promotion that was recorded", f, g.state(t).Active)
			case point == "before-promotion" && len(f) != 0:
				t.Errorf("failovers %+v, want none: it was not recorded", f)
			}
			g.waitClosed(t)
			for _, f := range f {
				g.checkOutcome(t, l.all(), g.ledger(t, f.Epoch))
			}
			g.checkOutcome(t, l.all(), nil)
			g.checkBytes(t)
		})
	}
}
