package failover_test

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region/regiontest"
)

func TestReplicaIsPromotedWhenTheActiveIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.run()
		g.later(time.Minute)
		g.want("a", 1)
		g.health.set("a", down())
		g.Wake()
		synctest.Wait()
		g.want("b", 2)
		g.wantSteps("hold a, b, c", "promote b after 1", "switch to b, epoch 2", "told 2", "release")
		g.wantBlocked()
		p := g.journal.made()[0]
		if !p.Automatic || p.Forced || p.Actor != "failover" || p.Reason == "" {
			t.Errorf("got %+v, want it automatic, with actor and reason", p)
		}
	})
}

// Only a verdict that the region is down counts: what it refuses, it refuses for a reason that
// another region would not mend.
func TestActiveThatIsNotDownStays(t *testing.T) {
	for name, s := range map[string]health.Status{
		"unknown": {State: health.Unknown}, "denied": {State: health.Up, Problem: health.ProblemDenied}, "clock": {State: health.Up, Problem: health.ProblemClock},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.health.set("a", s)
				g.run()
				g.later(time.Hour)
				g.want("a", 1)
				g.wantSteps()
				g.wantBlocked()
			})
		})
	}
}

func TestTheBestEligibleReplicaIsPromoted(t *testing.T) {
	for name, tt := range map[string]struct {
		set     func(g *rig)
		want    string // "" where nothing is promoted
		blocked []string
	}{
		"the first of equals":          {func(*rig) {}, "b", nil},
		"with the least lag":           {func(g *rig) { lags(g, "b", time.Minute); lags(g, "c", time.Second) }, "c", nil},
		"without any lag":              {func(g *rig) { lags(g, "b", time.Nanosecond) }, "c", nil},
		"the first that lags as much":  {func(g *rig) { lags(g, "b", time.Second); lags(g, "c", time.Second) }, "b", nil},
		"healthy":                      {against["down"].set, "c", nil},
		"asked before":                 {against["never asked"].set, "c", nil},
		"not refusing":                 {against["refusing"].set, "c", nil},
		"not back and older":           {against["back and older"].set, "c", nil},
		"compared":                     {against["not compared"].set, "c", nil},
		"without losers":               {against["losers that are not kept"].set, "c", nil},
		"that has what is at risk too": {against["the only copies of a write"].set, "b", nil},
		"that takes writes": {func(g *rig) {
			g.servers["b"].SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Status: 403} })
		}, "c", nil},
		"none": {func(g *rig) {
			against["not compared"].set(g)
			against["losers that are not kept"].set(g)
			g.servers["c"].SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Status: 403} })
		}, "", []string{"b not-compared", "b conflicts-not-kept", "c not-writable"}},
		"all are down": {func(g *rig) {
			g.health.set("b", down())
			g.health.set("c", down())
		}, "", []string{"b unhealthy", "c unhealthy"}},
		"there is none": {func(g *rig) { g.gateway.set(func(w *fakeGateway) { w.names = []string{"a"} }) }, "", []string{"a no-replica"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				tt.set(g)
				g.health.set("a", down())
				g.run()
				if tt.want != "" {
					g.want(tt.want, 2)
				} else {
					g.want("a", 1)
				}
				g.wantBlocked(tt.blocked...)
			})
		})
	}
}

// Two regions that fail in turn do not have their writes scattered.
func TestNoOtherPromotionBeforeTheHoldDownIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		const holdDown = 5 * time.Minute
		g.cfg.HoldDown = holdDown
		g.build()
		g.health.set("a", down()) // the first epoch has just begun, and was no promotion
		g.run()
		g.want("b", 2)
		g.health.set("a", up())
		g.health.set("b", down())
		g.later(holdDown - time.Second)
		g.want("b", 2)
		g.wantBlocked("b hold-down")
		g.later(2 * time.Second)
		g.want("a", 3)
		g.wantBlocked()
		g.health.set("a", down())
		g.later(time.Second)
		g.wantBlocked("a hold-down")
		if _, err := g.promote(failover.Request{Region: "c"}); err != nil {
			t.Errorf("an operator in the hold-down: %v", err)
		}
		g.want("c", 4)
		g.wantBlocked()
	})
}

func TestInManualModeAnOperatorPromotes(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.cfg.Automatic = false
		g.build()
		g.health.set("a", down())
		g.run()
		g.later(time.Hour)
		g.want("a", 1)
		g.wantBlocked("a manual-mode")
		if n := g.logged("the active is down and nothing is promoted"); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		if _, err := g.promote(failover.Request{Region: "b"}); err != nil {
			t.Fatal(err)
		}
		g.want("b", 2)
		g.wantBlocked()
	})
}

func TestWhatBlocksIsSaidOnceEachTimeItChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		const line = "the active is down and nothing is promoted"
		said := func(want int) {
			t.Helper()
			g.later(time.Minute)
			if n := g.logged(line); n != want {
				t.Errorf("said %d times, want %d", n, want)
			}
		}
		g.gateway.set(func(w *fakeGateway) { w.names = []string{"a", "b"} })
		for name := range g.health.states {
			g.health.set(name, down())
		}
		g.run()
		said(1)
		g.wantBlocked("b unhealthy")
		g.health.set("b", health.Status{State: health.Down, LastError: "another"})
		said(1)
		if got := g.Blocked()[0].Message; !strings.Contains(got, "another") {
			t.Errorf("got %q, want the newest error in it", got)
		}
		g.health.set("b", up())
		against["not compared"].set(g)
		said(2)
		g.wantBlocked("b not-compared")
		g.health.set("a", up())
		said(2)
		g.wantBlocked()
		g.health.set("a", down())
		said(3)
		g.wantBlocked("b not-compared")
		g.gateway.set(func(w *fakeGateway) { w.compared = map[string]bool{"b": true} })
		said(3)
		g.want("b", 2)
		g.wantBlocked()
	})
}

// Who decided before another promotion came does not decide for the time after it.
func TestAutomaticPromotionDoesNotFollowUponAnOperators(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.cfg.HoldDown = time.Hour
		g.build()
		ended := make(chan struct{})
		g.workers.set(func(w *fakeWorkers) { w.until = ended })
		first := g.begin(failover.Request{Region: "b"})
		g.health.set("a", down())
		g.run() // it waits, or looks after all
		close(ended)
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		g.later(time.Minute)
		g.want("b", 2)
		if made := g.journal.made(); len(made) != 1 {
			t.Errorf("made %+v, want the operator's alone", made)
		}
		if n := g.logged("failover not decided"); n != 0 {
			t.Errorf("complained %d times", n)
		}
	})
}

// The epoch has begun, and its dirty set could not be loaded.
func TestEpochThatCouldNotBeServedIsServedLater(t *testing.T) {
	for name, region := range map[string]string{"by an operator": "b", "by itself": ""} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.cfg.Automatic = region == ""
				reg := prometheus.NewRegistry()
				g.cfg.Metrics = failover.NewMetrics(reg)
				g.build()
				g.run()
				g.gateway.set(func(w *fakeGateway) { w.onSwitch = errBroken })
				g.health.set("a", down())
				if region != "" {
					if _, err := g.promote(failover.Request{Region: region}); err == nil {
						t.Error("got no error of an epoch that is not served")
					}
				}
				g.later(3 * time.Second)
				g.want("a", 1)
				if n := len(g.told); n != 0 {
					t.Errorf("told %d times of an epoch that is not served", n)
				}
				g.mu.Lock()
				g.steps = nil
				g.mu.Unlock()
				g.gateway.set(func(w *fakeGateway) { w.onSwitch = nil })
				g.later(time.Second)
				g.want("b", 2)
				g.wantSteps("switch to b, epoch 2", "told 2", "release")
				g.later(time.Minute)
				g.wantSteps()
				if len(g.journal.made()) != 1 || len(g.told) != 1 || g.told[0].From != "a" {
					t.Errorf("told %+v of %+v, want once of one", g.told, g.journal.made())
				}
				if got := scrape(t, reg)["tandem_epoch"]; got != 2 {
					t.Errorf("the metrics tell of epoch %v, want 2", got)
				}
			})
		})
	}
}

func TestPromotionOfUnknownOutcomeIsLookedUp(t *testing.T) {
	for name, isThere := range map[string]bool{"it is there": true, "it is not": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.cfg.Automatic = false
				g.build()
				g.run()
				g.journal.set(func(j *fakeJournal) { j.onPromote, j.isApplied = journal.ErrUnknown, isThere })
				if _, err := g.promote(failover.Request{Region: "b"}); err == nil {
					t.Error("got no error of a promotion that nobody knows of")
				}
				g.wantSteps("fence", "hold a, b, c", "promote b after 1", "lift")
				g.later(time.Second)
				if isThere {
					g.want("b", 2)
					g.wantSteps("switch to b, epoch 2", "told 2", "release")
				} else {
					g.want("a", 1)
					g.wantSteps("release")
				}
			})
		})
	}
}

// Whoever asks after that finds what is there.
func TestPromotionBeginsWithTheEpochThatIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.journal.set(func(j *fakeJournal) { j.onPromote, j.isApplied = journal.ErrUnknown, true })
		if _, err := g.promote(failover.Request{Region: "b"}); err == nil {
			t.Error("got no error of a promotion that nobody knows of")
		}
		g.journal.set(func(j *fakeJournal) { j.onPromote = nil })
		if _, err := g.promote(failover.Request{Region: "b"}); err == nil || !strings.Contains(err.Error(), failover.ErrIsActive.Error()) {
			t.Errorf("got %v, want %v", err, failover.ErrIsActive)
		}
		g.want("b", 2)
	})
}

// A journal that fails is tried again each second, and no oftener.
func TestJournalThatFailsIsAskedAgain(t *testing.T) {
	for name, fail := range map[string]func(j *fakeJournal, err error){
		"its state":       func(j *fakeJournal, err error) { j.onState = err },
		"a region's lag":  func(j *fakeJournal, err error) { j.onLag = err },
		"the transaction": func(j *fakeJournal, err error) { j.onPromote = err },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.health.set("a", down())
				g.journal.set(func(j *fakeJournal) { fail(j, errBroken) })
				g.run()
				g.later(10 * time.Second)
				g.want("a", 1)
				if n := g.logged("failover not decided"); n < 10 || n > 11 {
					t.Errorf("complained %d times in 10 s, want once each", n)
				}
				g.journal.set(func(j *fakeJournal) { fail(j, nil) })
				g.later(time.Second)
				g.want("b", 2)
			})
		})
	}
}

func TestMetricsTellOfPromotionsAndOfWhatIsBlocked(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		reg := prometheus.NewRegistry()
		g.cfg.Metrics = failover.NewMetrics(reg)
		g.cfg.Metrics.SetEpoch(1)
		g.cfg.HoldDown = time.Hour
		g.build()
		is := func(epoch, blocked, byGateway, byOperator float64) {
			t.Helper()
			want := map[string]float64{
				"tandem_epoch": epoch, "tandem_failover_blocked": blocked,
				"tandem_promotions_total gateway": byGateway, "tandem_promotions_total operator": byOperator,
			}
			if got := scrape(t, reg); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		is(1, 0, 0, 0)
		if _, err := g.promote(failover.Request{Region: "c"}); err != nil {
			t.Fatal(err)
		}
		is(2, 0, 0, 1)
		g.later(2 * time.Hour)
		g.run()
		g.health.set("c", down())
		g.later(time.Second) // a is promoted
		g.health.set("a", down())
		g.later(time.Second) // and held down
		is(3, 1, 1, 1)
		g.health.set("a", up())
		g.later(time.Second)
		is(3, 0, 1, 1)
	})
}

// scrape returns all values by metric and label.
func scrape(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			series := []string{family.GetName()}
			for _, label := range m.GetLabel() {
				series = append(series, label.GetValue())
			}
			values[strings.Join(series, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

func TestControllerNeedsItsParts(t *testing.T) {
	if _, err := failover.New(failover.Config{}); err == nil {
		t.Error("got a controller of nothing")
	}
}
