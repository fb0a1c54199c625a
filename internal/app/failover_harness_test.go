package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// quickFailover are the settings of failover tests: everything in milliseconds.
func quickFailover() map[string]string {
	return map[string]string{
		"HEALTH_INTERVAL": "20ms", "HEALTH_TIMEOUT": "300ms", "HEALTH_FAILURES": "3", "HEALTH_RECOVERIES": "1",
		"MARK_INTERVAL": "100ms", "FAILOVER_HOLD_DOWN": "0s", "REGION_TIMEOUT": "500ms",
	}
}

// newPair is a gateway in front of two regions whose health is known and which are compared.
func newPair(t *testing.T, o options) *rig {
	t.Helper()
	env := quickFailover()
	maps.Copy(env, o.env)
	o.env = env
	g := newGateway(t, o)
	g.awaitHealth("primary", "up")
	g.awaitHealth("secondary", "up")
	return g
}

// server is the region of that name, and its bucket.
func (g *rig) server(name string) (*regiontest.Server, string) {
	if name == "primary" {
		return g.A, bucketA
	}
	return g.B, bucketB
}

// down takes a region away, and returns once that is known.
func (g *rig) down(name string) {
	g.t.Helper()
	s, _ := g.server(name)
	s.SetDown(true)
	g.awaitHealth(name, "down")
}

// up brings a region back, and returns once that is known.
func (g *rig) up(name string) {
	g.t.Helper()
	s, _ := g.server(name)
	s.SetDown(false)
	g.awaitHealth(name, "up")
}

func (g *rig) health(name string) string {
	g.t.Helper()
	for _, r := range g.state().Regions {
		if r.Name == name {
			return r.Health
		}
	}
	return "no such region"
}

func (g *rig) awaitHealth(name, want string) {
	g.t.Helper()
	g.eventually(func() error {
		if got := g.health(name); got != want {
			return fmt.Errorf("region %s is %q, want %q", name, got, want)
		}
		return nil
	})
}

func (g *rig) awaitActive(name string, epoch int64) {
	g.t.Helper()
	g.eventually(func() error {
		if s := g.state(); s.Active != name || s.Epoch != epoch {
			return fmt.Errorf("%s is active in epoch %d, want %s in %d; blocked by %+v", s.Active, s.Epoch, name, epoch, s.BlockedBy)
		}
		return nil
	})
}

// promotion is what a client asks for with POST /admin/failover/promote.
type promotion struct {
	Region string `json:"region,omitempty"`
	Force  bool   `json:"force,omitempty"`
	DryRun bool   `json:"dryRun,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (g *rig) promote(p promotion) response {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return g.do(http.MethodPost, "/admin/failover/promote", strings.NewReader(string(data)), header("Content-Type", "application/json"))
}

// promoted is a promotion that was made.
type promoted struct {
	Epoch, AtRisk, AtRiskBytes, InDoubt, Open int64
	From, To, At, Actor, Reason               string
	Automatic, Forced                         bool
	Closed                                    map[string]int64
}

// mustPromote promotes a region, with force where something speaks against it.
func (g *rig) mustPromote(region string) promoted {
	g.t.Helper()
	r := g.promote(promotion{Region: region})
	if r.Status == http.StatusConflict {
		r = g.promote(promotion{Region: region, Force: true})
	}
	if r.Status != http.StatusOK {
		g.t.Fatalf("promote %s: got %v, want 200", region, r)
	}
	return decode[promoted](g.t, r)
}

func (g *rig) failovers() []promoted {
	g.t.Helper()
	return decode[struct{ Failovers []promoted }](g.t, g.do(http.MethodGet, "/admin/failovers", nil)).Failovers
}

type ledgerEntry struct {
	ID, Size                                                int64
	Kind, Bucket, Key, Version, Operation, ETag, At, Region string
	Outcome, ClosedAt, Reason                               *string
}

func (e ledgerEntry) outcome() string {
	if e.Outcome == nil {
		return "open"
	}
	return *e.Outcome
}

func (e ledgerEntry) String() string {
	reason := ""
	if e.Reason != nil {
		reason = *e.Reason
	}
	return fmt.Sprintf("%s %s %s %q in %s: %s (%s)", e.Kind, e.Operation, e.Key, e.Version, e.Region, e.outcome(), reason)
}

func (g *rig) ledger(epoch int64) []ledgerEntry {
	g.t.Helper()
	return decode[struct {
		Entries []ledgerEntry
		Next    *int64
	}](g.t, g.do(http.MethodGet, fmt.Sprintf("/admin/failovers/%d/ledger", epoch), nil)).Entries
}

// entriesOf are the entries of a key in the ledger of an epoch.
func (g *rig) entriesOf(epoch int64, key string) []ledgerEntry {
	g.t.Helper()
	return slices.DeleteFunc(g.ledger(epoch), func(e ledgerEntry) bool { return e.Key != key })
}

// wantEntry checks that a ledger has the key once, with a kind and an outcome.
func (g *rig) wantEntry(epoch int64, key, kind, outcome string) ledgerEntry {
	g.t.Helper()
	entries := g.entriesOf(epoch, key)
	if len(entries) != 1 || entries[0].Kind != kind || entries[0].outcome() != outcome {
		g.t.Errorf("the ledger of epoch %d has %v, want one entry %s, closed as %s", epoch, entries, kind, outcome)
		return ledgerEntry{}
	}
	return entries[0]
}

type conflict struct {
	ID, Size                                                                                  int64
	Bucket, Key, State, Loser, Winner, Operation, ETag, ContentType, Region, FoundAt, KeptKey string
	Deleted                                                                                   bool
	LastError, Resolution, ResolvedAt, ResolvedBy                                             *string
}

// conflicts are those of a key, resolved ones included; of every key with "".
func (g *rig) conflicts(key string) []conflict {
	g.t.Helper()
	r := g.do(http.MethodGet, "/admin/conflicts?all=1", nil)
	all := decode[struct {
		Conflicts []conflict
		Next      *int64
	}](g.t, r).Conflicts
	return slices.DeleteFunc(all, func(c conflict) bool { return key != "" && c.Key != key })
}

// awaitKept waits until the key has one conflict, whose loser is kept.
func (g *rig) awaitKept(key string) conflict {
	g.t.Helper()
	var c conflict
	g.eventually(func() error {
		found := g.conflicts(key)
		if len(found) != 1 || found[0].State != "kept" {
			return fmt.Errorf("conflicts of %q: %+v, want one that is kept; %+v", key, found, g.status(key))
		}
		c = found[0]
		return nil
	})
	return c
}

func (g *rig) resolve(id int64, keep, key string) response {
	body := fmt.Sprintf(`{"keep": %q, "key": %q}`, keep, key)
	return g.do(http.MethodPost, fmt.Sprintf("/admin/conflicts/%d/resolve", id), strings.NewReader(body), header("Content-Type", "application/json"))
}

// kept are the losers that a region holds.
func kept(s *regiontest.Server, bucket string) map[string]regiontest.State {
	held := s.Snapshot()[bucket]
	maps.DeleteFunc(held, func(key string, _ regiontest.State) bool { return !strings.HasPrefix(key, ".tandem/conflicts/") })
	return held
}

// awaitClosed waits until no ledger has an open entry, no region is regressed, nothing is
// pending or in doubt, and both regions hold the same, losers that are kept included.
func (g *rig) awaitClosed() {
	g.t.Helper()
	g.eventually(func() error {
		for _, f := range g.failovers() {
			if f.Open > 0 {
				open := slices.DeleteFunc(g.ledger(f.Epoch), func(e ledgerEntry) bool { return e.Outcome != nil })
				if len(open) == 0 {
					return errors.New("an entry was closed just now")
				}
				return fmt.Errorf("epoch %d has %d open entries: %v; %+v; %+v", f.Epoch, f.Open, open[0], g.describe(open[0].Key), g.conflicts(open[0].Key))
			}
		}
		for _, c := range g.conflicts("") {
			if c.State == "found" {
				return fmt.Errorf("conflict is not kept: %+v; %+v", c, g.describe(c.Key))
			}
		}
		for _, r := range g.state().Regions {
			if r.Pending.Keys > 0 || r.Regressed {
				return fmt.Errorf("%+v", r)
			}
		}
		if diff := cmp.Diff(objects(g.A, bucketA), objects(g.B, bucketB)); diff != "" {
			return fmt.Errorf("A and B differ (-A +B):\n%s", diff)
		}
		if diff := cmp.Diff(kept(g.A, bucketA), kept(g.B, bucketB)); diff != "" {
			return fmt.Errorf("what A and B keep of losers differs (-A +B):\n%s", diff)
		}
		return nil
	})
}

// describe is what the index knows of a key, for a message; Tandem's own have none.
func (g *rig) describe(key string) string {
	return g.do(http.MethodGet, "/replication/"+escape(key), nil).String()
}

// isWrite reports whether a request changes an object of a key.
func isWrite(q regiontest.Request, key string) bool {
	writes := []string{"PutObject", "DeleteObject", "CompleteMultipartUpload"}
	return q.Key == key && slices.Contains(writes, q.Operation)
}

// onWrites is a fault rule for every write of a key.
func onWrites(key string, f regiontest.Fault) func(regiontest.Request) regiontest.Fault {
	return func(q regiontest.Request) regiontest.Fault {
		if !isWrite(q, key) {
			return regiontest.Fault{}
		}
		return f
	}
}

// refuse has a region refuse the writes of a key, so that a copy of it is not made.
func refuse(s *regiontest.Server, key string) {
	s.SetFaults(onWrites(key, regiontest.Fault{Code: "SlowDown"}))
}

// atRisk writes a key that only A has, and takes A away.
func (g *rig) atRisk(key, data string) {
	g.t.Helper()
	refuse(g.B, key)
	g.put(key, data)
	g.down("primary")
	g.B.SetFaults(nil)
}

// wantRead checks that a key reads as data, "" for a key that does not exist.
func (g *rig) wantRead(key, data string) {
	g.t.Helper()
	if data == "" {
		wantProblem(g.t, g.GET(key), 404, "NoSuchKey")
		return
	}
	g.wantObject(key, data)
}

func bytesOf(s *regiontest.Server, bucket, key string) string {
	o, ok := s.Object(bucket, key)
	if !ok {
		return ""
	}
	return string(o.Data)
}
