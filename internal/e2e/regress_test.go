package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/s3op"
)

// waitMarked waits until the regions' marks say that what was written so far was.
func (g *gateway) waitMarked(t *testing.T) {
	t.Helper()
	for _, name := range []string{primary, secondary} {
		r := g.region(t, name)
		before := bytesOf(t, r, s3op.ReservedPrefix+"region")
		eventually(t, name+" is marked", func() bool {
			now := bytesOf(t, r, s3op.ReservedPrefix+"region")
			return now != nil && !bytes.Equal(now, before)
		})
	}
}

func (g *gateway) waitRegressed(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" is known to have come back older", func() bool { return strings.Contains(g.logs.String(), "came back older") })
}

// TestActiveThatComesBackEmptyIsFilledAndLosesWhatOnlyItHad: after a failover the old active
// returns without anything. What was at risk is lost, on the record; everything else is in both
// regions again, and nothing is taken for deleted.
func TestActiveThatComesBackEmptyIsFilledAndLosesWhatOnlyItHad(t *testing.T) {
	t.Parallel()
	g, l := underLoad(t)
	up := g.down(t, primary)
	g.waitActive(t, secondary, 2)
	afterPromotion(t, g, l)
	atRisk := checkExact(t, g, l)
	g.servers[primary].clear(t)
	up()
	g.waitRegressed(t, primary)
	eventually(t, "the ledger is closed and the region verified", func() bool {
		f := g.failovers(t)[0]
		r := g.state(t).region(primary)
		return f.Open == 0 && !r.Regressed && r.Pending.Keys <= f.Closed["lost"]
	})
	records := l.all()
	now := last(records, 1<<40)
	lost := 0
	for _, e := range g.ledger(t, 2) {
		switch e.outcome() {
		case "lost":
			lost++
		case "recovered":
			if e.Operation != "delete" && e.Kind == "at-risk" && !bytes.Equal(bytesOf(t, g.region(t, secondary), e.Key), now[e.Key].body) {
				t.Errorf("%+v was closed as recovered from a region that came back empty", e)
			}
		}
	}
	if lost == 0 || len(atRisk) == 0 {
		t.Errorf("%d of %d entries are lost, want some", lost, len(atRisk))
	}
	t.Logf("%d of %d entries are lost", lost, len(atRisk))
	// Nothing that the secondary held has gone, and no key reads as something older.
	for key, r := range now {
		answer := g.get(t, key)
		switch {
		case answer.status == http.StatusOK && r.body != nil && bytes.Equal(answer.body, r.body):
		case answer.status == http.StatusNotFound && r.body == nil:
		case answer.status == http.StatusServiceUnavailable && r.version.Epoch == 1:
		case len(unacknowledged(records, key)) > 0:
		default:
			t.Errorf("%s reads as %s; the last acknowledged write is %v", key, answer, r)
		}
	}
}

// TestRegionRestoredFromAnOlderCopyIsVerified: a replica, and then the active, come back as
// they were some time ago, healthy. No older version is served, and nothing deleted comes back.
func TestRegionRestoredFromAnOlderCopyIsVerified(t *testing.T) {
	t.Parallel()
	for _, name := range []string{primary, secondary} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, slices.Concat(quickFailover, []string{"FAILOVER_MODE=manual"})...)
			g.waitCompared(t)
			var keys []string
			for i := range 30 {
				key := fmt.Sprintf("load/%02d", i)
				keys = append(keys, key)
				g.putText(t, key, "old "+key)
			}
			g.putText(t, "load/deleted", "old")
			g.waitAtRest(t, append(keys, "load/deleted")...)
			g.waitMarked(t)
			up := g.down(t, name)
			restore := g.servers[name].save(t)
			up()
			g.waitUp(t, name)
			eventually(t, name+" is up", func() bool { return g.state(t).region(name).Health == "up" })

			for _, key := range keys[:20] {
				g.putText(t, key, "new "+key)
			}
			g.delete(t, "load/deleted")
			g.putText(t, "load/created", "created")
			g.waitAtRest(t, append(keys, "load/deleted", "load/created")...)
			g.waitMarked(t)
			up = g.down(t, name)
			restore()
			up()
			g.waitRegressed(t, name)
			check := func() {
				for i, key := range keys {
					want := "new " + key
					if i >= 20 {
						want = "old " + key
					}
					if a := g.get(t, key); a.status == http.StatusOK && string(a.body) != want {
						t.Errorf("%s reads as %s, want %q or 503", key, a, want)
					}
				}
				if a := g.get(t, "load/deleted"); a.status != http.StatusNotFound {
					t.Errorf("the deleted key reads as %s", a)
				}
			}
			check()
			if name == secondary {
				if a := g.promote(t, `{"region": "secondary"}`); a.status != http.StatusConflict && g.state(t).region(name).Regressed {
					t.Errorf("promote a regressed region: %s, want 409", a)
				}
			}
			g.waitClosed(t)
			check()
			for _, key := range keys {
				if a := g.get(t, key); a.status != http.StatusOK {
					t.Errorf("%s reads as %s", key, a)
				}
			}
			g.checkBytes(t)
			if n := len(g.conflicts(t)); n > 0 {
				t.Errorf("%d conflicts, want none: what came back was older of our own", n)
			}
		})
	}
}

// TestABucketWithAPastIsNotPromotedIntoAnEmptyRegion: 5,000 objects from before Tandem, and
// an empty secondary. The gateway promotes nothing by itself and says why; forced, what it does
// not know is not absent.
func TestABucketWithAPastIsNotPromotedIntoAnEmptyRegion(t *testing.T) {
	t.Parallel()
	const past = 5000
	g := newGateway(t, slices.Concat(quick, quickFailover)...)
	g.start(t)
	g.stop(t)
	// A journal of its own, and a bucket full of what it does not know.
	if err := os.RemoveAll(filepath.Join(g.dir, "data", "multi_region_store.db")); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"multi_region_store.db-*", "audit.*"} {
		files, _ := filepath.Glob(filepath.Join(g.dir, "data", pattern))
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{primary, secondary} {
		g.servers[name].loseOwn(t)
	}
	keys := make([]string, past)
	for i := range keys {
		keys[i] = fmt.Sprintf("past-%04d", i)
	}
	g.servers[primary].plant(t, keys, "past")
	g.start(t)
	eventually(t, "the keys are counted", func() bool { return strings.Contains(g.logs.String(), "5000 keys never compared") })
	eventually(t, "the regions are up", func() bool { return g.state(t).region(secondary).Health == "up" })

	up := g.down(t, primary)
	eventually(t, "it is said why nothing is promoted", func() bool { return len(g.state(t).BlockedBy) > 0 })
	s := g.state(t)
	if o := s.BlockedBy[0]; s.Epoch != 1 || o.Code != "not-compared" || !strings.Contains(o.Message, "5000 keys") {
		t.Errorf("state %+v, want epoch 1, blocked by 5000 keys that were never compared", s)
	}
	a := g.promote(t, `{"region": "secondary", "dryRun": true}`)
	var dry struct {
		Allowed       bool
		NeverCompared map[string]*int64
	}
	if err := json.Unmarshal(a.body, &dry); err != nil || dry.Allowed || dry.NeverCompared[primary] == nil || *dry.NeverCompared[primary] != past {
		t.Errorf("dry run: %s (%v), want it to say that 5000 keys were never compared", a, err)
	}
	if a := g.promote(t, `{"region": "secondary"}`); a.status != http.StatusConflict {
		t.Errorf("promote without force: %s, want 409", a)
	}
	if a := g.promote(t, `{"region": "secondary", "force": true}`); a.status != http.StatusOK {
		t.Fatalf("promote with force: %s", a)
	}
	for _, key := range []string{"past-0001", "never-was"} {
		if a := g.get(t, key); a.status != http.StatusServiceUnavailable {
			t.Errorf("%s reads as %s, want 503: whether it exists is not known", key, a)
		}
	}
	g.putText(t, "new", "new")
	if a := g.get(t, "new"); string(a.body) != "new" {
		t.Errorf("what was written since reads as %s", a)
	}
	up()
	eventually(t, "the past is read from the region that has it", func() bool {
		a := g.get(t, "past-0001")
		return a.status == http.StatusOK && string(a.body) == "past" && a.header.Get("X-Tandem-Freshness") == "unknown"
	})
}

// TestAJournalRestoredFromABackupDoesNotServeUntilItIsRepaired: the regions know of more than
// the journal. Repaired, it has every key as the active has it.
func TestAJournalRestoredFromABackupDoesNotServeUntilItIsRepaired(t *testing.T) {
	t.Parallel()
	g := start(t, slices.Concat(quickFailover, []string{"FAILOVER_MODE=manual"})...)
	g.waitCompared(t)
	g.putText(t, "load/before", "before")
	g.putText(t, "load/changed", "before")
	g.putText(t, "load/deleted", "before")
	g.waitAtRest(t, "load/before", "load/changed", "load/deleted")
	backup := g.launch(t, []string{"journal", "backup", "copy.db"})
	receiveEnd(t, backup)
	g.putText(t, "load/changed", "after")
	g.putText(t, "load/created", "after")
	g.delete(t, "load/deleted")
	g.waitAtRest(t, "load/changed", "load/created", "load/deleted")
	g.waitMarked(t)
	g.stop(t)
	data := filepath.Join(g.dir, "data")
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(filepath.Join(data, "multi_region_store.db"+suffix)) // gone after a clean stop
	}
	if err := os.Rename(filepath.Join(g.dir, "copy.db"), filepath.Join(data, "multi_region_store.db")); err != nil {
		t.Fatal(err)
	}
	refused := g.launch(t, []string{"serve"})
	receiveEnd(t, refused)
	if code := refused.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(g.logs.String(), "--repair") {
		t.Errorf("the gateway ended with %d, want 1, and to be told of --repair", code)
	}
	g.serve(t, "--repair")
	for key, want := range map[string]string{"load/before": "before", "load/changed": "after", "load/created": "after"} {
		eventually(t, key+" is read", func() bool { return string(g.get(t, key).body) == want })
	}
	if a := g.get(t, "load/deleted"); a.status == http.StatusOK {
		t.Errorf("the deleted key reads as %s", a)
	}
	g.stop(t)
	g.start(t) // and no more repair is asked for
}

// receiveEnd waits for a process that ends by itself.
func receiveEnd(t *testing.T, p *process) {
	t.Helper()
	eventually(t, "the process has ended", func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
}
