package app_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// everything goes wrong in the same way.
func everything(f regiontest.Fault) func(regiontest.Request) regiontest.Fault {
	return func(regiontest.Request) regiontest.Fault { return f }
}

// awaitProbes waits until a region was probed so many times more.
func (g *rig) awaitProbes(s *regiontest.Server, n int) {
	g.t.Helper()
	until := s.Count("HeadBucket") + n
	g.eventually(func() error { return happened(s.Count("HeadBucket") >= until, "the region is probed") })
}

// A region that does not let us in is not down: another would be promoted, and the writes of
// both be scattered, for a mistake in our own configuration.
func TestARefusalOrASkewedClockNeverPromotes(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"AccessDenied", "RequestTimeTooSkewed", "InvalidAccessKeyId", "NoSuchBucket"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{env: map[string]string{"FAILOVER_MODE": "auto"}})
			g.put("k", "content")
			g.awaitSettled("k")
			g.A.SetFaults(everything(regiontest.Fault{Code: code}))
			g.eventually(func() error { return happened(g.health("primary") != "up", "the refusal shows") })
			g.awaitProbes(g.A, 20)
			if s := g.state(); s.Active != "primary" || s.Epoch != 1 || len(s.BlockedBy) > 0 {
				t.Errorf("state %+v, want primary in epoch 1", s)
			}
			for _, r := range []response{g.GET("k"), g.GET("never was"), g.PUT("k", []byte("new"))} {
				if r.Status != 503 {
					t.Errorf("got %v, want 503", r)
				}
			}
			g.A.SetFaults(nil)
			g.awaitHealth("primary", "up")
			g.wantObject("k", "content")
			g.put("k", "new")
			g.awaitClosed()
		})
	}
}

// Whatever shows that the active is down, a replica is promoted for it, once.
func TestAReplicaIsPromotedForAnActiveThatIsDown(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, fault := range map[string]func(g *rig){
		"refused":     func(g *rig) { g.A.SetDown(true) },
		"hangs":       func(g *rig) { g.A.SetFaults(everything(regiontest.Fault{Hang: hang, Early: true})) },
		"5xx":         func(g *rig) { g.A.SetFaults(everything(regiontest.Fault{Status: 503})) },
		"answers cut": func(g *rig) { g.A.SetFaults(everything(regiontest.Fault{CutBefore: true})) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newPair(t, options{env: map[string]string{"FAILOVER_MODE": "auto"}})
			g.put("k", "content")
			g.awaitSettled("k")
			fault(g)
			g.awaitActive("secondary", 2)
			g.wantObject("k", "content")
			g.put("k", "new")
			f := g.failovers()
			if len(f) != 1 || !f[0].Automatic || f[0].Forced || f[0].Reason == "" || f[0].AtRisk+f[0].InDoubt != 0 {
				t.Errorf("failovers %+v, want one, by the gateway, with nothing at risk", f)
			}
			g.A.SetFaults(nil)
			g.up("primary")
			g.awaitClosed()
			if s := g.state(); s.Active != "secondary" || s.Epoch != 2 {
				t.Errorf("state %+v, want secondary to stay", s)
			}
		})
	}
}

// With all regions down there is nobody to be promoted; the first that is back may be.
func TestNothingIsPromotedWhileAllRegionsAreDown(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{env: map[string]string{"FAILOVER_MODE": "auto"}})
	g.put("k", "content")
	g.awaitSettled("k")
	g.down("secondary")
	g.down("primary")
	g.eventually(func() error { return happened(len(g.state().BlockedBy) > 0, "it is said why nothing is promoted") })
	g.awaitProbes(g.A, 10)
	if s := g.state(); s.Active != "primary" || s.Epoch != 1 || s.BlockedBy[0].Code != "unhealthy" || s.BlockedBy[0].Region != "secondary" {
		t.Errorf("state %+v, want primary in epoch 1, for secondary is down", s)
	}
	if r := g.do("GET", "/healthz", nil); r.Status != 503 {
		t.Errorf("healthz: got %v, want 503", r)
	}
	if r := g.GET("k"); r.Status != 503 {
		t.Errorf("got %v, want 503", r)
	}
	g.B.SetDown(false)
	g.awaitActive("secondary", 2)
	g.wantObject("k", "content")
	g.up("primary")
	g.awaitClosed()
}

// Within the hold-down there is no second promotion by itself; an operator may.
func TestTheHoldDownKeepsRegionsThatFlapFromScatteringWrites(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{env: map[string]string{"FAILOVER_MODE": "auto", "FAILOVER_HOLD_DOWN": "1h"}})
	g.down("primary")
	g.awaitActive("secondary", 2)
	g.up("primary")
	g.awaitClosed()
	for range 2 {
		g.down("secondary")
		g.eventually(func() error {
			isHeld := slices.ContainsFunc(g.state().BlockedBy, func(o objection) bool { return o.Code == "hold-down" })
			return happened(isHeld, fmt.Sprintf("the hold-down is named: %+v", g.state().BlockedBy))
		})
		if s := g.state(); s.Epoch != 2 {
			t.Errorf("epoch %d, want 2", s.Epoch)
		}
		g.up("secondary")
		g.eventually(func() error { return happened(len(g.state().BlockedBy) == 0, "nothing is to be promoted") })
	}
	g.down("secondary")
	if f := g.mustPromote("primary"); f.Epoch != 3 || f.Automatic {
		t.Errorf("promoted %+v, want epoch 3, by hand", f)
	}
	g.up("secondary")
	g.awaitClosed()
}

// In manual mode nothing is promoted, and it is said who may.
func TestManualModeSaysThatItWaits(t *testing.T) {
	t.Parallel()
	g := newPair(t, options{})
	g.down("primary")
	g.eventually(func() error {
		s := g.state()
		return happened(len(s.BlockedBy) == 1 && s.BlockedBy[0].Code == "manual-mode" && s.Epoch == 1, fmt.Sprintf("%+v", s.BlockedBy))
	})
	g.mustPromote("")
	if s := g.state(); s.Active != "secondary" || s.Epoch != 2 || len(s.BlockedBy) > 0 {
		t.Errorf("state %+v, want secondary in epoch 2", s)
	}
	g.up("primary")
	g.awaitClosed()
}
