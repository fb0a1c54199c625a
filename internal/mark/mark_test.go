package mark_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mark"
	"github.com/gnew/tandem/internal/region/regiontest"
)

func TestMarkSaysWhoseTheRegionIsAndHowFarTheJournal(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		v := g.put("k")
		g.run()
		state, err := g.journal.State(t.Context())
		g.ok(err)
		for name, s := range map[string]*regiontest.Server{"a": g.a, "b": g.b} {
			want := mark.Content{
				Journal: state.JournalID, Region: name, Bucket: bucket, Active: "a", Epoch: 1, Sequence: v.Sequence, WrittenAt: time.Now().UTC(), Checkpoint: "signed",
			}
			if diff := cmp.Diff(want, g.mark(s)); diff != "" {
				t.Errorf("the mark of %s (-want +got):\n%s", name, diff)
			}
			g.wantRecorded(name, s)
		}
		if g.changes() != 0 {
			t.Errorf("told %q of regions that were never marked before", g.told)
		}
	})
}

func TestMarkIsRewrittenEachInterval(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.run()
		for range 3 {
			before := g.mark(g.b)
			v := g.put("k")
			g.later(interval - time.Second)
			if got := g.mark(g.b); got != before {
				t.Errorf("got %+v before the interval is over, want %+v", got, before)
			}
			g.later(time.Second)
			if got := g.mark(g.b); got.Sequence != v.Sequence || got.WrittenAt.Sub(before.WrittenAt) != interval {
				t.Errorf("got %+v after %+v, want sequence %d, %v later", got, before, v.Sequence, interval)
			}
			g.wantRecorded("b", g.b)
		}
	})
}

func TestMarksAreWrittenWhenAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.run()
		g.later(time.Second)
		v := g.put("k")
		g.Wake()
		g.Wake()
		synctest.Wait()
		for name, s := range map[string]*regiontest.Server{"a": g.a, "b": g.b} {
			if got := g.mark(s); got.Sequence != v.Sequence {
				t.Errorf("region %s: got %+v, want sequence %d", name, got, v.Sequence)
			}
		}
	})
}

// What is left behind at a stop is left as far as the regions answer.
func TestLastMarksAreWrittenWhereARegionAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.a.SetDown(true)
		g.WriteAll(t.Context())
		g.wantRecorded("b", g.b)
		if _, isThere := g.a.Object(bucket, mark.Key); isThere {
			t.Error("a region that is down was marked")
		}
	})
}

// The region has the mark, the journal does not know: a mark like that is not newer than the
// journal, and no reason to distrust the region.
func TestCrashBetweenMarkAndRecordIsTakenUp(t *testing.T) {
	for name, isFirst := range map[string]bool{"the first mark": true, "a later one": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				if !isFirst {
					g.write("b")
					g.later(interval)
				}
				g.put("k")
				g.journal.failSetMark()
				if err := g.Write(t.Context(), "b"); !errors.Is(err, errDisk) {
					t.Fatalf("got %v, want %v", err, errDisk)
				}
				g.restart()
				g.ok(g.Load(t.Context()))
				g.ok(g.Inspect(t.Context()))
				g.wantRegressed()
				g.wantRecorded("b", g.b)
				g.write("b")
				g.wantRecorded("b", g.b)
			})
		})
	}
}

// whenOlder are the ways in which a region comes back older. Each takes the mark that was
// there last, and one from before.
var whenOlder = []struct {
	name  string
	older func(g *rig, last, before mark.Content)
}{
	{"no mark", func(g *rig, _, _ mark.Content) { g.b.Remove(bucket, mark.Key) }},
	{"a mark that cannot be read", func(g *rig, _, _ mark.Content) { g.b.Put(bucket, mark.Key, []byte(`{"journal": "`)) }},
	{"no object of ours", func(g *rig, _, _ mark.Content) { g.b.Put(bucket, mark.Key, []byte(`{}`)) }},
	{"a mark from before", func(g *rig, _, before mark.Content) { g.restore(g.b, before) }},
	{"an older epoch", func(g *rig, last, before mark.Content) {
		last.Epoch = before.Epoch
		g.restore(g.b, last)
	}},
	{"an older sequence", func(g *rig, last, before mark.Content) {
		last.Sequence = before.Sequence
		g.restore(g.b, last)
	}},
	{"an older sequence, by a clock that was wrong", func(g *rig, last, before mark.Content) {
		before.Epoch, before.WrittenAt = last.Epoch, last.WrittenAt.Add(time.Hour)
		g.restore(g.b, before)
	}},
	{"an older time", func(g *rig, last, _ mark.Content) {
		last.WrittenAt = last.WrittenAt.Add(-time.Microsecond)
		g.restore(g.b, last)
	}},
}

func TestRegionThatComesBackOlderIsRegressed(t *testing.T) {
	for _, tt := range whenOlder {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.put("k")
				g.copied("b")
				g.write("a")
				g.write("b")
				before := g.mark(g.b)
				_, err := g.journal.Promote(t.Context(), journal.Promotion{After: 1, Region: "b", Actor: "test"})
				g.ok(err)
				g.put("other")
				g.later(interval)
				g.write("b")
				tt.older(g, g.mark(g.b), before)
				g.check("b")
				g.wantRegressed("b")
				if got := g.copyState("k", "b"); got != journal.Pending {
					t.Errorf("a copy there is %s, want it pending", got)
				}
				if g.queued != 1 {
					t.Errorf("told %d times that copies are to be verified, want once", g.queued)
				}
				// It is found once: from here on it is compared with what it holds now.
				g.check("b")
				g.write("b")
				g.wantRecorded("b", g.b)
				g.check("b")
				g.restart()
				g.ok(g.Inspect(t.Context()))
				g.wantRegressed("b")
				if n := g.changes(); n != 1 {
					t.Errorf("told %d times, want once: %q", n, g.told)
				}
			})
		})
	}
}

// It is found by whoever looks first, and marked anew at once.
func TestMarkingFindsARegionOlderToo(t *testing.T) {
	for _, tt := range whenOlder[:4] {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.write("b")
				before := g.mark(g.b)
				g.later(interval)
				g.write("b")
				tt.older(g, g.mark(g.b), before)
				g.write("b")
				g.wantRegressed("b")
				g.wantRecorded("b", g.b)
			})
		})
	}
}

// Whatever is found under the key, a region that was never marked by this journal gets its
// mark.
func TestWhatIsNoMarkIsWrittenOver(t *testing.T) {
	for name, data := range map[string]string{"no JSON": "mark", "empty": "", "JSON of another": `{"journal": 7}`, "no journal": `{"region": "b"}`} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.b.Put(bucket, mark.Key, []byte(data))
				g.check("b")
				g.write("b")
				g.wantRecorded("b", g.b)
				if g.changes() != 0 {
					t.Errorf("told %q, want nothing", g.told)
				}
			})
		})
	}
}

func TestMarkWithoutAnAnswerIsReadAgain(t *testing.T) {
	for name, apply := range map[string]bool{"not applied": false, "applied": true} {
		for when, isFirst := range map[string]bool{"the first": true, "a later one": false} {
			t.Run(name+", "+when, func(t *testing.T) {
				inBubble(t, func(t *testing.T, g *rig) {
					if !isFirst {
						g.write("b")
					}
					g.later(time.Second)
					onPut(g.b, regiontest.Fault{Apply: apply, CutBefore: true})
					if err := g.Write(t.Context(), "b"); err == nil {
						t.Error("got no error of a mark without an answer")
					}
					g.check("b")
					if apply || !isFirst {
						g.wantRecorded("b", g.b)
					}
					g.restart()
					g.check("b")
					g.write("b")
					g.wantRecorded("b", g.b)
					if g.changes() != 0 {
						t.Errorf("told %q, want nothing", g.told)
					}
				})
			})
		}
	}
}

// A mark hangs on its way; the next one is written; then the first arrives.
func TestLateMarkDoesNotReplaceANewerOne(t *testing.T) {
	for when, isFirst := range map[string]bool{"the first": true, "a later one": false} {
		t.Run(when, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				if !isFirst {
					g.write("b")
				}
				g.later(time.Second)
				land := make(chan struct{})
				onPut(g.b, regiontest.Fault{ApplyLater: land})
				if err := g.Write(t.Context(), "b"); err == nil {
					t.Error("got no error of a mark without an answer")
				}
				g.later(interval)
				g.write("b")
				newer := g.mark(g.b)
				close(land)
				g.b.WaitLate()
				if got := g.mark(g.b); got != newer {
					t.Errorf("got %+v, want %+v to stay", got, newer)
				}
				g.restart()
				g.check("b")
				g.wantRecorded("b", g.b)
				if g.changes() != 0 {
					t.Errorf("told %q, want nothing", g.told)
				}
			})
		})
	}
}

// A mark that was written before the clock was set back is not newer than those after it: a
// later one may lose its answer, and is taken up all the same.
func TestClockThatWasSetBackMakesNoMarkOlder(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.write("b")
		ahead := g.mark(g.b)
		ahead.WrittenAt = time.Now().UTC().Add(time.Hour)
		g.restore(g.b, ahead)
		g.check("b") // taken up
		onPut(g.b, regiontest.Fault{Apply: true, CutBefore: true})
		if err := g.Write(t.Context(), "b"); err == nil {
			t.Error("got no error of a mark without an answer")
		}
		if got := g.mark(g.b); !got.WrittenAt.After(ahead.WrittenAt) {
			t.Errorf("got a mark of %v after one of %v", got.WrittenAt, ahead.WrittenAt)
		}
		g.restart()
		g.check("b")
		g.write("b")
		g.wantRecorded("b", g.b)
		if g.changes() != 0 {
			t.Errorf("told %q, want nothing", g.told)
		}
	})
}

func TestNothingIsWrittenWhereAMarkIsForeignOrNewer(t *testing.T) {
	for name, tt := range map[string]struct {
		edit     func(*mark.Content)
		isMarked bool // by this journal, before
		want     error
	}{
		"another journal's":                  {func(c *mark.Content) { c.Journal = "other" }, true, mark.ErrForeign},
		"another bucket's":                   {func(c *mark.Content) { c.Bucket = "other" }, true, mark.ErrMisplaced},
		"another journal's, before ours":     {func(c *mark.Content) { c.Journal = "other" }, false, mark.ErrForeign},
		"another journal's, older than ours": {func(c *mark.Content) { c.Journal, c.Sequence = "other", 0 }, true, mark.ErrForeign},
		"another region's":                   {func(c *mark.Content) { c.Region = "a" }, true, mark.ErrForeign},
		"of a later epoch":                   {func(c *mark.Content) { c.Epoch++ }, true, mark.ErrNewer},
		"of a later sequence":                {func(c *mark.Content) { c.Sequence++ }, true, mark.ErrNewer},
		"of a later sequence, not recorded":  {func(c *mark.Content) { c.Sequence++ }, false, mark.ErrNewer},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				g.put("k")
				g.write("b")
				c := g.mark(g.b)
				if !tt.isMarked {
					g.ok(g.journal.SetMark(t.Context(), bucket, "b", journal.Mark{}))
				}
				tt.edit(&c)
				g.restore(g.b, c)
				before := len(changed(g.b))
				// Another client of the region, which does not know yet what it honours.
				g.cfg.Regions[1] = newRegion(t, "b", g.b)
				g.restart()
				if err := g.Inspect(t.Context()); !errors.Is(err, tt.want) {
					t.Errorf("inspect: got %v, want %v", err, tt.want)
				}
				if err := g.Check(t.Context(), "b"); !errors.Is(err, tt.want) {
					t.Errorf("check: got %v, want %v", err, tt.want)
				}
				if err := g.Write(t.Context(), "b"); !errors.Is(err, tt.want) {
					t.Errorf("write: got %v, want %v", err, tt.want)
				}
				g.run()
				g.later(3 * interval)
				if made := changed(g.b)[before:]; len(made) > 0 {
					t.Errorf("the region was sent %q", made)
				}
				if g.changes() != 0 {
					t.Errorf("told %q, want nothing", g.told)
				}
				g.wantRecorded("a", g.a)
			})
		})
	}
}

// Of a region that does not answer nothing is said at the start; once it does, it is known
// for what it is before it is marked.
func TestRegionThatIsDownIsCheckedAtItsReturn(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.put("k")
		g.copied("b")
		g.write("b")
		g.b.SetDown(true)
		g.restart()
		g.ok(g.Load(t.Context()))
		g.ok(g.Inspect(t.Context()))
		g.run()
		g.later(3 * interval)
		if err := g.Check(t.Context(), "b"); err == nil {
			t.Error("a region that is down was checked")
		}
		g.wantRegressed()
		g.b.Remove(bucket, mark.Key)
		g.b.SetDown(false)
		g.check("b")
		g.wantRegressed("b")
		g.later(interval)
		g.wantRecorded("b", g.b)
		g.wantRegressed("b")
	})
}

func TestRegressionEndsOnceEveryCopyWasVerified(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.put("k")
		g.copied("b")
		g.run()
		g.b.Remove(bucket, mark.Key)
		g.check("b")
		g.later(interval)
		g.wantRegressed("b")
		g.copied("b")
		g.wantRegressed("b")
		g.later(interval)
		g.wantRegressed()
		if n := g.changes(); n != 2 {
			t.Errorf("told %d times, want once of each change: %q", n, g.told)
		}
	})
}

// Every probe is followed by a check, so it costs no more than it must.
func TestCheckOfAMarkThatIsKnownAsksOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.write("b")
		before := len(g.b.Requests())
		g.check("b")
		g.check("b")
		var made []string
		for _, q := range g.b.Requests()[before:] {
			made = append(made, q.Operation+" "+q.Key)
		}
		if want := slices.Repeat([]string{"HeadObject " + mark.Key}, 2); !slices.Equal(made, want) {
			t.Errorf("two checks asked %q, want %q", made, want)
		}
		g.restore(g.b, g.mark(g.b)) // the same bytes
		g.check("b")
		g.b.Remove(bucket, mark.Key)
		g.check("b")
		g.wantRegressed("b")
	})
}

func TestRegionThatHangsDoesNotHoldUpAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		never := make(chan struct{})
		g.a.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Hang: never} })
		began := time.Now()
		g.run()
		g.wantRecorded("b", g.b)
		if err := g.Check(t.Context(), "a"); err == nil || time.Since(began) > 2*timeout {
			t.Errorf("the check of one that hangs: got %v after %v, want an error within %v", err, time.Since(began), 2*timeout)
		}
		g.later(interval)
		if got := g.mark(g.b).WrittenAt; got.Sub(began) != interval {
			t.Errorf("the other's mark is of %v after the start, want %v", got.Sub(began), interval)
		}
		g.restart()
		began = time.Now()
		g.ok(g.Inspect(t.Context()))
		if took := time.Since(began); took > timeout {
			t.Errorf("the start was held up for %v, want %v at most", took, timeout)
		}
		if newest := g.newest(); newest == nil || newest.Region != "b" {
			t.Errorf("got %+v, want the mark of the region that answers", newest)
		}
		g.a.SetFaults(nil)
	})
}

// Two regions regress at once, and what is known of the first is told late.
func TestWhatIsToldLastIsTheNewest(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.write("a")
		g.write("b")
		g.a.Remove(bucket, mark.Key)
		g.b.Remove(bucket, mark.Key)
		// a is recorded, and read, and the answer is on its way while b regresses.
		g.ok(g.journal.Regress(t.Context(), bucket, "a", "test"))
		g.journal.slowRegressed(time.Second)
		loaded := make(chan error, 1)
		go func() { loaded <- g.Load(t.Context()) }()
		synctest.Wait()
		g.check("b")
		g.ok(<-loaded)
		g.wantRegressed("a", "b")
	})
}

// machineStopped has the journal and the keeper know that a region may have lost what it did not sync.
func (g *rig) machineStopped(region string) {
	g.t.Helper()
	g.ok(g.journal.TakeUpMachineStop(g.t.Context(), []string{region}, "the machine stopped"))
	g.ok(g.Load(g.t.Context()))
}

// newest is the newest of the regions' marks, nil where there is none.
func (g *rig) newest() (newest *mark.Content) {
	for _, c := range g.ReadAll(g.t.Context()) {
		if newest == nil || c.IsAfter(newest) {
			newest = c
		}
	}
	return newest
}

// An embedded region does not sync what it writes.
func TestRegionUnderWhichTheMachineStoppedIsVerified(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.put("k")
		g.copied("b")
		g.write("a")
		g.write("b")
		g.restart()
		g.machineStopped("b")
		g.wantRegressed("b")
		if got := g.copyState("k", "b"); got != journal.Pending {
			t.Errorf("a copy there is %s, want it pending", got)
		}
		g.ok(g.Inspect(t.Context()))
		g.wantRegressed("b")
		// Its mark may be older than the last, or gone with what else was not synced.
		g.b.Remove(bucket, mark.Key)
		g.restart()
		g.machineStopped("b")
		g.ok(g.Inspect(t.Context()))
		g.write("b")
		g.wantRegressed("b")
		g.wantRecorded("b", g.b)
	})
}

func TestLoadTellsWhatTheJournalKnows(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.ok(g.Load(t.Context()))
		g.wantRegressed()
		g.ok(g.journal.Regress(t.Context(), bucket, "a", "test"))
		g.restart()
		g.ok(g.Load(t.Context()))
		g.wantRegressed("a")
		if n := g.changes(); n != 2 {
			t.Errorf("told %d times, want at each start", n)
		}
	})
}

// A journal that was restored from a backup takes the regions over as they are.
func TestTakenOverRegionsHaveThisJournalsMark(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.write("a")
		g.write("b")
		c := g.mark(g.a)
		c.Epoch, c.Sequence, c.Active = 7, 70, "b"
		g.restore(g.a, c)
		c.Region, c.Epoch, c.Sequence = "b", 7, 69
		g.restore(g.b, c)
		g.restart()
		if err := g.Inspect(t.Context()); !errors.Is(err, mark.ErrNewer) {
			t.Fatalf("got %v, want %v", err, mark.ErrNewer)
		}
		if newest := g.newest(); newest == nil || newest.Sequence != 70 {
			t.Errorf("got %+v, want that of the last sequence", newest)
		}
		g.ok(g.TakeOver(t.Context()))
		g.ok(g.Inspect(t.Context()))
		g.wantRecorded("a", g.a)
		g.wantRecorded("b", g.b)
		if g.changes() != 0 {
			t.Errorf("told %q, want nothing", g.told)
		}
	})
}

func TestTakingOverLeavesOutWhoIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.a.SetDown(true)
		g.ok(g.TakeOver(t.Context()))
		g.wantRecorded("b", g.b)
		if g.newest().Region != "b" {
			t.Error("the mark of the region that answers is not found")
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		never := make(chan struct{})
		g.b.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Hang: never} })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(began) > 0 {
			t.Errorf("got %v after %v, want an end at once", err, time.Since(began))
		}
		g.b.SetFaults(nil)
	})
}

func TestKeeperNeedsItsParts(t *testing.T) {
	if _, err := mark.New(mark.Config{}); err == nil {
		t.Error("got a keeper of nothing")
	}
	inBubble(t, func(t *testing.T, g *rig) {
		// What is not configured is not looked at.
		g.check("c")
		g.write("c")
	})
}

func TestARegionThatWasTakenOutIsNotMarked(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.Forget("b")
		if err := g.Write(t.Context(), "b"); err != nil {
			t.Errorf("write the mark of a region that was taken out: %v", err)
		}
		if _, found := g.b.Object(bucket, mark.Key); found {
			t.Error("a region that was taken out is marked")
		}
	})
}
