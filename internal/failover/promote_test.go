package failover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region/regiontest"
)

func TestStepsOfAPromotionAreInOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		active health.Status
		want   []string
	}{
		"the active answers": {up(), []string{
			"fence", "hold a, b, c", "promote b after 1", "switch to b, epoch 2", "told 2", "release", "lift",
		}},
		"the active refuses": {health.Status{State: health.Up, Problem: health.ProblemDenied}, []string{
			"fence", "hold a, b, c", "promote b after 1", "switch to b, epoch 2", "told 2", "release", "lift",
		}},
		"the active is down: nobody waits for it": {down(), []string{
			"hold a, b, c", "promote b after 1", "switch to b, epoch 2", "told 2", "release",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.health.set("a", tt.active)
				result, err := g.promote(failover.Request{Region: "b", Reason: "test"})
				if err != nil {
					t.Fatal(err)
				}
				g.wantSteps(tt.want...)
				g.want("b", 2)
				f := result.Failover
				if result.From != "a" || result.To != "b" || f == nil || f.Epoch != 2 || f.Actor != "admin" || f.Reason != "test" || f.Automatic || f.Forced {
					t.Errorf("got %+v, failover %+v", result, f)
				}
				if diff := cmp.Diff([]journal.Failover{*f}, g.told); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestErrorAtAStepLetsGoOfWhatWasHeld(t *testing.T) {
	for name, tt := range map[string]struct {
		fail func(g *rig)
		want []string
	}{
		"copies that do not end": {
			func(g *rig) { g.workers.set(func(w *fakeWorkers) { w.onHold = errBroken }) },
			[]string{"fence", "hold a, b, c", "release", "lift"},
		},
		"the transaction": {
			func(g *rig) { g.journal.set(func(j *fakeJournal) { j.onPromote = errBroken }) },
			[]string{"fence", "hold a, b, c", "promote b after 1", "release", "lift"},
		},
		"the loading of what the new active lacks": {
			func(g *rig) { g.gateway.set(func(w *fakeGateway) { w.onSwitch = errBroken }) },
			// The copies wait until the epoch is served.
			[]string{"fence", "hold a, b, c", "promote b after 1", "switch to b, epoch 2", "lift"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				tt.fail(g)
				result, err := g.promote(failover.Request{Region: "b"})
				if !errors.Is(err, errBroken) || result.Failover != nil {
					t.Errorf("got %+v, %v, want %v and no failover", result, err, errBroken)
				}
				g.wantSteps(tt.want...)
				g.want("a", 1)
			})
		})
	}
}

// A write takes longer than the fence waits; a copy that is cut needs a moment to end.
func TestWritesThatDoNotEndTakeNoTimeFromTheCopies(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.gateway.set(func(w *fakeGateway) { w.busy = true })
		ended := make(chan struct{})
		g.workers.set(func(w *fakeWorkers) { w.until = ended })
		began := time.Now()
		promoted := g.begin(failover.Request{Region: "b"})
		g.later(fenceTimeout + time.Second)
		close(ended)
		if err := <-promoted; err != nil {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		g.want("b", 2)
	})
}

func TestWaitForCopiesIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.health.set("a", down())
		g.workers.set(func(w *fakeWorkers) { w.until = make(chan struct{}) })
		began := time.Now()
		if _, err := g.promote(failover.Request{Region: "b"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != fenceTimeout {
			t.Errorf("got %v after %v, want the end of its time after %v", err, time.Since(began), fenceTimeout)
		}
		g.wantSteps("hold a, b, c", "release")
	})
}

func TestTransactionKnowsWhomToCountOn(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.health.set("a", down())
		g.health.set("b", health.Status{State: health.Unknown})
		g.health.set("c", health.Status{State: health.Up, Problem: health.ProblemDenied})
		g.gateway.set(func(w *fakeGateway) { w.compared = map[string]bool{"a": true} })
		if _, err := g.promote(failover.Request{Region: "b", Force: true, Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		want := []journal.Promotion{{
			After: 1, Region: "b", Healthy: []string{}, Overridden: []string{"unhealthy", "not-compared"}, Forced: true, Uncompared: true, Actor: "admin", Reason: "test",
		}}
		if diff := cmp.Diff(want, g.journal.made()); diff != "" {
			t.Errorf("promotions (-want +got):\n%s", diff)
		}
	})
}

// against are the things that speak against b, and what becomes of an operator's wish.
var against = map[string]struct {
	set  func(g *rig)
	code string
}{
	"down":           {func(g *rig) { g.health.set("b", down()) }, "b unhealthy"},
	"never asked":    {func(g *rig) { g.health.set("b", health.Status{State: health.Unknown}) }, "b unhealthy"},
	"refusing":       {func(g *rig) { g.health.set("b", health.Status{State: health.Up, Problem: health.ProblemClock}) }, "b unhealthy"},
	"back and older": {func(g *rig) { g.gateway.set(func(w *fakeGateway) { w.regressed = map[string]bool{"b": true} }) }, "b regressed"},
	"not compared": {
		func(g *rig) {
			g.gateway.set(func(w *fakeGateway) { w.compared = map[string]bool{"a": true, "c": true} })
		}, "b not-compared",
	},
	"losers that are not kept":   {func(g *rig) { g.journal.set(func(j *fakeJournal) { j.unkept["b"] = 2 }) }, "b conflicts-not-kept"},
	"the only copies of a write": {func(g *rig) { g.journal.set(func(j *fakeJournal) { j.atRisk["b"] = 2 }) }, "b at-risk"},
}

func TestPromotionIsRefusedWithItsReasonUnlessForced(t *testing.T) {
	for name, tt := range against {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				tt.set(g)
				result, err := g.promote(failover.Request{Region: "b"})
				if got := refusal(err); !slices.Equal(got, []string{tt.code}) || result.Failover != nil {
					t.Errorf("got %+v, %v, want it refused by %q", result, err, tt.code)
				}
				g.wantSteps()
				result, err = g.promote(failover.Request{Region: "b", Force: true})
				if err != nil || !slices.Equal(codes(result.Objections), []string{tt.code}) || !result.Failover.Forced {
					t.Errorf("forced: got %+v, %v, want it made, and %q overridden", result, err, tt.code)
				}
				g.want("b", 2)
			})
		})
	}
}

// A force that nothing had to be overridden for is none, on the record.
func TestForceIsRecordedOnlyWhereItOverrode(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		result, err := g.promote(failover.Request{Region: "b", Force: true})
		if err != nil || result.Failover.Forced {
			t.Errorf("got %+v, %v, want a failover that is not forced", result.Failover, err)
		}
	})
}

func TestWithoutANameTheBestReplicaIsPromoted(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(g *rig)
		want string
	}{
		"in the configured order":          {func(*rig) {}, "b"},
		"the one that nothing is said of":  {against["the only copies of a write"].set, "c"},
		"the one that lags least":          {func(g *rig) { lags(g, "b", time.Minute) }, "c"},
		"the only one, whatever it is":     {func(g *rig) { g.gateway.set(func(w *fakeGateway) { w.names = []string{"a", "c"} }) }, "c"},
		"the configured order, both equal": {func(g *rig) { lags(g, "b", time.Second); lags(g, "c", time.Second) }, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				tt.set(g)
				result, err := g.promote(failover.Request{})
				if err != nil || result.To != tt.want {
					t.Errorf("got %s (%v), want %s", result.To, err, tt.want)
				}
			})
		})
	}
}

// lags has the region's oldest copy wait for so long.
func lags(g *rig, name string, by time.Duration) {
	g.journal.set(func(j *fakeJournal) { j.lags[name] = journal.Lag{Keys: 1, OldestPending: time.Now().Add(-by)} })
}

func TestWishForNoReplicaIsToldApart(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		for name, want := range map[string]error{"a": failover.ErrIsActive, "d": failover.ErrNoRegion} {
			if _, err := g.promote(failover.Request{Region: name, Force: true}); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		}
		g.health.set("b", down())
		g.health.set("c", down())
		if _, err := g.promote(failover.Request{Force: true}); !errors.Is(err, failover.ErrNoRegion) || !strings.Contains(err.Error(), "b, c") {
			t.Errorf("got %v, want %v with the names", err, failover.ErrNoRegion)
		}
		g.gateway.set(func(w *fakeGateway) { w.names = []string{"a"} })
		if _, err := g.promote(failover.Request{}); !errors.Is(err, failover.ErrNoRegion) {
			t.Errorf("got %v, want %v", err, failover.ErrNoRegion)
		}
		g.wantSteps()
	})
}

func TestDryRunChangesNothingAndSaysWhatItWouldCost(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.cfg.Uncompared = func(name string) (int64, bool) { return 5, name == "a" }
		g.build()
		g.gateway.set(func(w *fakeGateway) { w.compared = map[string]bool{"c": true} })
		g.health.set("c", down())
		result, err := g.promote(failover.Request{Region: "b", DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		g.wantSteps(`risk of b with ["a"]`)
		g.want("a", 1)
		if got := codes(result.Objections); !slices.Equal(got, []string{"b not-compared"}) || !strings.Contains(result.Objections[0].Message, "5 keys of the active") {
			t.Errorf("got %+v, want that it was not compared", result.Objections)
		}
		result.Objections, result.Canary.Elapsed = nil, 0
		want := failover.Result{
			From: "a", To: "b", Risk: journal.Risk{Keys: 3, Bytes: 30, InDoubt: 1}, WritesInFlight: 7,
			Uncompared: map[string]failover.Uncompared{"a": {Keys: 5, Known: true}, "b": {Keys: 5}},
		}
		if diff := cmp.Diff(want, result); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
		if keys := g.servers["b"].Keys(bucket); len(keys) != 0 {
			t.Errorf("the region holds %q, want the canary gone", keys)
		}
	})
}

// A region that answers its probes may take no write all the same.
func TestRegionThatTakesNoWriteIsNotPromoted(t *testing.T) {
	never := make(chan struct{})
	for name, tt := range map[string]struct {
		operation string
		fault     regiontest.Fault
	}{
		"a write refused":     {"PutObject", regiontest.Fault{Status: 507}},
		"a write unanswered":  {"PutObject", regiontest.Fault{Apply: true, CutBefore: true}},
		"a read refused":      {"GetObject", regiontest.Fault{Status: 500}},
		"a read cut":          {"GetObject", regiontest.Fault{CutBodyAfter: 3}},
		"a delete refused":    {"DeleteObject", regiontest.Fault{Status: 403}},
		"a write that hangs":  {"PutObject", regiontest.Fault{Hang: never}},
		"a read that hangs":   {"GetObject", regiontest.Fault{Hang: never}},
		"a delete that hangs": {"DeleteObject", regiontest.Fault{Hang: never}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				fault := tt.fault
				if fault.Hang != nil {
					fault.Hang = make(chan struct{}) // of the bubble
				}
				g.servers["b"].SetFaults(func(q regiontest.Request) regiontest.Fault {
					if q.Operation == tt.operation {
						return fault
					}
					return regiontest.Fault{}
				})
				began := time.Now()
				result, err := g.promote(failover.Request{Region: "b"})
				if got := refusal(err); !slices.Equal(got, []string{"b not-writable"}) || result.Canary.Err == nil {
					t.Errorf("got %v, want it refused as not writable", err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("took %v, want 5 s at most", took)
				}
				g.wantSteps()
				result, err = g.promote(failover.Request{Region: "b", DryRun: true})
				if err != nil || !slices.Equal(codes(result.Objections), []string{"b not-writable"}) {
					t.Errorf("dry run: got %+v, %v", result.Objections, err)
				}
				if _, err := g.promote(failover.Request{Region: "b", Force: true}); err != nil {
					t.Errorf("forced: %v", err)
				}
				g.want("b", 2)
			})
		})
	}
}

func TestCanaryThatIsReadAsAnotherIsNoSuccess(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.servers["b"].SetFaults(func(q regiontest.Request) regiontest.Fault {
			if q.Operation == "GetObject" {
				g.servers["b"].Put(bucket, q.Key, []byte("something else"))
			}
			return regiontest.Fault{}
		})
		if _, err := g.promote(failover.Request{Region: "b"}); !slices.Equal(refusal(err), []string{"b not-writable"}) {
			t.Errorf("got %v, want it refused", err)
		}
	})
}

// What is begun is carried through; what is not begun is not begun for nobody.
func TestClientThatLeavesLeavesNoHalfPromotion(t *testing.T) {
	t.Run("while copies are cut", func(t *testing.T) {
		inBubble(t, func(t *testing.T, g *rig) {
			ended := make(chan struct{})
			g.workers.set(func(w *fakeWorkers) { w.until = ended })
			ctx, leave := context.WithCancel(t.Context())
			promoted := make(chan error, 1)
			go func() {
				_, err := g.Promote(ctx, failover.Request{Region: "b"})
				promoted <- err
			}()
			synctest.Wait()
			leave()
			synctest.Wait()
			close(ended)
			if err := <-promoted; err != nil {
				t.Error(err)
			}
			g.want("b", 2)
		})
	})
	for name, operation := range map[string]string{"while the canary is written": "PutObject", "while it is read": "GetObject"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				never := make(chan struct{})
				g.servers["b"].SetFaults(func(q regiontest.Request) regiontest.Fault {
					if q.Operation == operation {
						return regiontest.Fault{Hang: never}
					}
					return regiontest.Fault{}
				})
				ctx, leave := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, leave)
				_, err := g.Promote(ctx, failover.Request{Region: "b", Force: true})
				if !errors.Is(err, context.Canceled) || refusal(err) != nil {
					t.Errorf("got %v, want %v", err, context.Canceled)
				}
				g.wantSteps()
				g.want("a", 1)
			})
		})
	}
	t.Run("while it waits for another", func(t *testing.T) {
		inBubble(t, func(t *testing.T, g *rig) {
			ended := make(chan struct{})
			g.workers.set(func(w *fakeWorkers) { w.until = ended })
			first := g.begin(failover.Request{Region: "b"})
			ctx, leave := context.WithCancel(t.Context())
			leave()
			if _, err := g.Promote(ctx, failover.Request{Region: "c"}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
			close(ended)
			if err := <-first; err != nil {
				t.Error(err)
			}
			g.want("b", 2)
		})
	})
}

// Two that ask at once do not undo each other's.
func TestOneOfSeveralPromotionsIsMade(t *testing.T) {
	for name, tt := range map[string]struct {
		region string
		want   error
	}{
		"the best, twice":        {"", failover.ErrEpoch},
		"another than the first": {"c", failover.ErrEpoch},
		"the same":               {"b", failover.ErrIsActive},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				ended := make(chan struct{})
				g.workers.set(func(w *fakeWorkers) { w.until = ended })
				first := g.begin(failover.Request{})
				second := g.begin(failover.Request{Region: tt.region, Force: true})
				close(ended)
				if err := <-first; err != nil {
					t.Error(err)
				}
				if err := <-second; !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				g.want("b", 2)
				if made := g.journal.made(); len(made) != 1 {
					t.Errorf("made %+v, want one", made)
				}
			})
		})
	}
}

// Another process has begun an epoch between the look at ours and the transaction.
func TestPromotionThatLostTheRaceIsNotMade(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		ended := make(chan struct{})
		g.workers.set(func(w *fakeWorkers) { w.until = ended })
		promoted := g.begin(failover.Request{Region: "b"})
		g.journal.set(func(j *fakeJournal) {
			j.state = journal.State{JournalID: "journal", Epoch: 2, Active: "c", BeganAt: time.Now()}
			j.failovers = slices.Insert(j.failovers, 0, journal.Failover{Epoch: 2, From: "a", To: "c"})
		})
		close(ended)
		if err := <-promoted; !errors.Is(err, failover.ErrEpoch) {
			t.Errorf("got %v, want %v", err, failover.ErrEpoch)
		}
		g.want("a", 1)
		g.run()
		g.want("c", 2)
	})
}

func TestRemovedRegionIsForgottenOnceTheJournalHasTakenItOut(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		if err := g.Remove(t.Context(), "c", "admin", "burnt down"); err != nil {
			t.Fatal(err)
		}
		g.wantSteps("hold c", "detach c for admin: burnt down", "forget c", "release")
		if err := g.Remove(t.Context(), "c", "admin", ""); !errors.Is(err, failover.ErrNotRemovable) {
			t.Errorf("once more: got %v, want that it is no replica", err)
		}
		g.wantSteps()
	})
}

func TestRegionThatIsNotRemovedStays(t *testing.T) {
	for name, tt := range map[string]struct {
		region string
		set    func(g *rig)
		want   error
		steps  []string
	}{
		"the active": {"a", func(*rig) {}, failover.ErrNotRemovable, nil},
		"none":       {"d", func(*rig) {}, failover.ErrNotRemovable, nil},
		"copies that do not end": {
			"c", func(g *rig) { g.workers.set(func(w *fakeWorkers) { w.onHold = errBroken }) }, errBroken, []string{"hold c", "release"},
		},
		"a journal that fails": {
			"c", func(g *rig) { g.journal.set(func(j *fakeJournal) { j.onDetach = errBroken }) }, errBroken,
			[]string{"hold c", "detach c for admin: test", "release"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				tt.set(g)
				if err := g.Remove(t.Context(), tt.region, "admin", "test"); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				g.wantSteps(tt.steps...)
			})
		})
	}
}

// The journal could not say that it has taken the region out, and has.
func TestRemovalOfUnknownOutcomeIsLookedUp(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.journal.set(func(j *fakeJournal) { j.onDetach, j.isApplied = journal.ErrUnknown, true })
		if err := g.Remove(t.Context(), "c", "admin", "test"); err != nil {
			t.Errorf("got %v, want it removed", err)
		}
		g.wantSteps("hold c", "detach c for admin: test", "forget c", "release")
	})
}
