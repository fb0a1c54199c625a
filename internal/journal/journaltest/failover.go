package journaltest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

func promoteTests() []test {
	return []test{
		{"APromotionBeginsTheNextEpoch", promotionBegins},
		{"APromotionOfAnotherEpochChangesNothing", promotionOfAnotherEpoch},
		{"OnlyAReplicaThatIsAttachedIsPromoted", promotionOfAnotherRegion},
		{"OneOfManyPromotionsIsMade", promotedOnce},
		{"RiskIsWhatPromoteLists", riskIsTheLedger},
		{"ACommitAfterThePromotionIsRefusedAndStaysInTheLedger", commitAfterThePromotion},
		{"LateCopiesToTheNewActiveAreRepairsInDoubt", lateCopiesAreRepairs},
		{"ALateCopyThatMayHaveLandedInTheNewActiveIsNoWrite", landedLateCopyIsNoWrite},
		{"CopiesUnderWayToTheNewActiveAreTakenFromTheirWorkers", promotionEndsClaims},
		{"RepairsInTheOldActiveAreLateCopies", repairsAreLateCopies},
		{"PromotingTheHolderAgainRecoversItsEntries", holderPromotedAgain},
		{"PromotingAnyRegionThatHasItRecoversAnEntry", otherHolderPromoted},
		{"AKeyAtRiskIsListedByEachPromotionThatPutsItThere", relisted},
		{"AChangedSourceIsReadAgainInThePresentActive", sourceChangedAfterAPromotion},
		{"WhatIsInDoubtElsewhereDoesNotKeepACopyFromBeingMissing", missingAfterAPromotion},
		{"APromotionSurvivesACrash", promotionSurvivesACrash},
	}
}

// promotion is a wish to make the region active, by an operator.
func (s *store) promotion(region string, unhealthy ...string) journal.Promotion {
	s.t.Helper()
	state, err := s.State(s.t.Context())
	s.ok(err)
	healthy := slices.DeleteFunc([]string{active, replica, third}, func(name string) bool { return slices.Contains(unhealthy, name) })
	return journal.Promotion{After: state.Epoch, Region: region, Healthy: healthy, Actor: "operator", Reason: "a drill"}
}

// promoted makes the region active, and checks what that tells.
func (s *store) promoted(region string, unhealthy ...string) journal.Failover {
	s.t.Helper()
	f, err := s.Promote(s.t.Context(), s.promotion(region, unhealthy...))
	s.ok(err)
	listed := s.failovers()[0]
	f.Outcomes, listed.Outcomes = nil, nil
	s.same("the promotion as it is listed", listed, f)
	return f
}

func (s *store) failovers() []journal.Failover {
	s.t.Helper()
	all, err := s.Failovers(s.t.Context())
	s.ok(err)
	return all
}

func (s *store) attach(regions ...string) {
	s.t.Helper()
	s.ok(s.Attach(s.t.Context(), bucket, regions))
}

// copied brings the one copy that is due in the region to its key's version.
func (s *store) copied(region string) {
	s.t.Helper()
	task := s.claimOne(region)
	s.finish(task, task.Object.ETag, journal.Current)
}

func promotionBegins(s *store) {
	first := s.failovers()
	if len(first) != 1 || first[0].Epoch != 1 || first[0].To != active || first[0].From != "" || first[0].At.IsZero() {
		s.t.Fatalf("got %+v, want the first epoch", first)
	}
	p := s.promotion(replica)
	p.Forced, p.Uncompared, p.Automatic = true, true, true
	f, err := s.Promote(s.t.Context(), p)
	s.ok(err)
	s.same("the promotion", f, journal.Failover{
		Epoch: 2, From: active, To: replica, At: f.At, Forced: true, Uncompared: true, Automatic: true, Actor: "operator", Reason: "a drill",
	})
	state, err := s.State(s.t.Context())
	s.ok(err)
	if state.Epoch != 2 || state.Active != replica || state.BeganAt != f.At || !state.Uncompared {
		s.t.Errorf("got %+v, want what the promotion began", state)
	}
	s.promoted(active)
	if state, err = s.State(s.t.Context()); err != nil || state.Epoch != 3 || state.Uncompared {
		s.t.Errorf("got %+v, %v, want epoch 3, whose active was compared", state, err)
	}
	all := s.failovers()
	s.same("epochs, the newest first", []int64{all[0].Epoch, all[1].Epoch, all[2].Epoch}, []int64{3, 2, 1})
	s.same("the first", all[2], first[0])
	s.same("the second", all[1], f)
}

// nothingHappens runs f, which must change neither the state nor a ledger nor the chain.
func (s *store) nothingHappens(f func()) {
	s.t.Helper()
	look := func() (journal.State, []journal.Failover, int) {
		state, err := s.State(s.t.Context())
		s.ok(err)
		return state, s.failovers(), len(s.chain())
	}
	state, all, entries := look()
	f()
	state2, all2, entries2 := look()
	s.same("the state", state2, state)
	s.same("the promotions", all2, all)
	s.same("the length of the chain", entries2, entries)
}

func promotionOfAnotherEpoch(s *store) {
	s.put("at risk", "a")
	s.open("open", journal.Put)
	for _, after := range []int64{0, 2, -1} {
		p := s.promotion(replica)
		p.After = after
		s.nothingHappens(func() {
			s.unchanged("open", func() {
				_, err := s.Promote(s.t.Context(), p)
				s.refused(err, journal.ErrEpoch)
			})
		})
	}
}

func promotionOfAnotherRegion(s *store) {
	for _, region := range []string{active, third, ""} {
		s.nothingHappens(func() {
			_, err := s.Promote(s.t.Context(), s.promotion(region))
			s.refused(err, journal.ErrRegion)
		})
	}
}

func promotedOnce(s *store) {
	s.attach(third)
	s.put("k", "a")
	var made atomic.Int64
	atOnce(8, func(i int) {
		_, err := s.Promote(s.t.Context(), journal.Promotion{After: 1, Region: []string{replica, third}[i%2]})
		if err == nil {
			made.Add(1)
		} else if !errors.Is(err, journal.ErrEpoch) {
			s.t.Error(err)
		}
	})
	if all := s.failovers(); made.Load() != 1 || len(all) != 2 || all[0].AtRisk != 1 {
		s.t.Errorf("%d were made, got %+v, want one", made.Load(), all)
	}
}

func riskIsTheLedger(s *store) {
	s.attach(third)
	s.everyState()
	for _, task := range s.claim(third, 5, long) {
		s.finish(task, task.Object.ETag, journal.Current)
	}
	s.doubtful("in doubt", journal.Put)
	s.open("open", journal.Delete)
	s.put("repaired", "a")
	s.repair("repaired")
	s.overlapping("overlapped", journal.Put, journal.Put, "b", "c")
	oldest := s.copyOf("failing", replica).PendingSince
	for i, step := range []struct {
		region    string
		unhealthy []string
	}{
		{replica, []string{third}}, {third, nil}, {active, []string{third}}, {replica, []string{active, third}}, {third, []string{replica, active}}, {active, nil},
	} {
		p := s.promotion(step.region, step.unhealthy...)
		risk, err := s.Risk(s.t.Context(), p)
		s.ok(err)
		if i == 0 && (risk.OldestPending != oldest || risk.InDoubt != 2 || risk.Keys < 5) {
			s.t.Errorf("got %+v, want two in doubt, and %v as what has waited longest", risk, oldest)
		}
		f := s.promoted(step.region, step.unhealthy...)
		listed := journal.Risk{OldestPending: risk.OldestPending}
		for _, e := range s.ledger(f.Epoch) {
			if e.Kind == journal.AtRisk {
				listed.Keys++
				listed.Bytes += e.Size
			} else {
				listed.InDoubt++
			}
		}
		s.same("what is listed", listed, risk)
		s.same("what is counted", journal.Risk{Keys: f.AtRisk, Bytes: f.AtRiskBytes, InDoubt: f.InDoubt, OldestPending: risk.OldestPending}, risk)
		s.doubtful("in doubt", journal.Put)
		s.put("written in epoch "+fmt.Sprint(f.Epoch), "a")
	}
}

func commitAfterThePromotion(s *store) {
	id := s.open("k", journal.Put)
	s.promoted(replica)
	for range 2 {
		_, err := s.Commit(s.t.Context(), id, holds("a"))
		s.refused(err, journal.ErrEpoch)
		if e := s.entry(2, "k"); e.Kind != journal.InDoubt || e.Outcome != "" {
			s.t.Errorf("got %+v, want it open, in doubt", e)
		}
		if o := s.lookup("k"); len(o.Intents) != 1 || !o.Intents[0].InDoubt || !o.Version.IsZero() {
			s.t.Errorf("got %+v, want nothing but an intent in doubt", o)
		}
	}
}

// lateAt makes a copy to the replica, of the key's present version, that has no answer.
func (s *store) lateAt(expects, etag string, until time.Time) {
	s.t.Helper()
	late := journal.LateCopy{Expects: expects, ETag: etag, Until: until}
	s.fail(s.claimOne(replica), journal.Failure{Reason: "no answer", NextTry: s.now.Add(-long), Late: &late})
}

func lateCopiesAreRepairs(s *store) {
	for key, expects := range map[string]string{"created": "", "overwritten": "old", "anything": journal.AnyETag} {
		s.put(key, "old")
		s.lateAt(expects, "a", s.now.Add(long))
		s.finish(s.claimOne(replica), "other", map[bool]journal.CopyState{true: journal.Pending, false: journal.Current}[expects == journal.AnyETag])
	}
	s.promoted(replica)
	for _, key := range []string{"anything", "created", "overwritten"} {
		o := s.lookup(key)
		if len(o.Intents) != 1 || !o.Intents[0].InDoubt || o.Intents[0].Operation != journal.Repair || o.Intents[0].Region != replica ||
			o.Intents[0].Brings != "a" || o.Contested(replica) {
			s.t.Errorf("%s: got %+v, want a repair in doubt, that does not contest the key", key, o)
		}
	}
	// The late copy may land on the write, or before it.
	if c := s.commit(s.open("created", journal.Put), "b"); c.Settled {
		s.t.Errorf("got %+v, want it not settled", c)
	}
	s.settle(s.found("created", "a"), journal.Rewrite)
	for _, key := range []string{"overwritten", "anything"} {
		_, err := s.Open(s.t.Context(), s.intent(key, journal.Put))
		s.refused(err, journal.ErrRepairing)
	}
}

// A copy of v2 has no answer, and its time is over; v3 is written; the replica, which holds v2
// though nobody knows, is promoted; a put times out there; v2 is adopted over v3.
func landedLateCopyIsNoWrite(s *store) {
	s.replicated("k", "a")
	s.put("k", "b")
	s.lateAt("a", "b", s.now.Add(-long))
	v := s.put("k", "c")
	s.promoted(replica)
	s.doubtful("k", journal.Put) // it is not held up by what cannot land any more
	s.settle(s.found("k", "b"), journal.Rewrite)
	s.rewritten("k", v, "b")
}

func promotionEndsClaims(s *store) {
	s.put("k", "a")
	task := s.claimOne(replica)
	s.promoted(replica)
	s.refuseAll(task)
	next := s.claimOne(replica)
	s.lateClaim(next, "", "a")
	if i := s.lookup("k").Intents; len(i) != 1 || i[0].Operation != journal.Repair || i[0].Brings != "a" || !i[0].InDoubt {
		s.t.Errorf("got %+v, want a repair in doubt", i)
	}
}

// A repair hangs at the active; another region is promoted and brings its version there; the
// repair lands on it.
func repairsAreLateCopies(s *store) {
	_, task := s.missing("k", "a")
	id := s.repair("k")
	until := s.lookup("k").Intents[0].DoubtUntil
	f := s.promoted(replica)
	s.same("what is in doubt", f.InDoubt, int64(0))
	if i := s.lookup("k").Intents; len(i) != 0 {
		s.t.Errorf("got intents %+v, want none", i)
	}
	_, err := s.Commit(s.t.Context(), id, holds("a"))
	s.refused(err, journal.ErrNoIntent)
	s.fail(task, journal.Failure{Reason: "cut", NextTry: s.now.Add(-long)})
	s.put("k", "b")
	task = s.claimOne(active)
	if !slices.Contains(task.Late, journal.LateCopy{Expects: journal.AnyETag, ETag: "a", Until: until}) {
		s.t.Errorf("got late copies %+v, want the repair", task.Late)
	}
	s.finish(task, "b", journal.Pending)
}

func holderPromotedAgain(s *store) {
	s.put("k", "a")
	s.del("deleted")
	s.put("overwritten since", "a")
	s.promoted(replica)
	s.put("overwritten since", "b")
	s.promoted(active)
	s.closed(2, "k", journal.Recovered)
	s.closed(2, "deleted", journal.Recovered)
	s.closed(2, "overwritten since", "")
	if all := s.failovers(); all[1].Outcomes[journal.Recovered] != 2 || all[1].Open != 1 || all[0].AtRisk != 1 {
		s.t.Errorf("got %+v", all)
	}
}

func otherHolderPromoted(s *store) {
	s.attach(third)
	s.put("k", "a")
	s.copied(third)
	s.promoted(replica, third) // which is down as well
	if e := s.entry(2, "k"); e.Region != active {
		s.t.Errorf("got %+v, want the old active as its holder", e)
	}
	s.promoted(third, active)
	s.closed(2, "k", journal.Recovered)
	s.same("what is at risk now", s.ledger(3), []journal.LedgerEntry{})
}

func relisted(s *store) {
	v := s.put("k", "a")
	for range 2 {
		f := s.promoted(replica)
		if e := s.entry(f.Epoch, "k"); e.Version != v || e.Region != active || e.Outcome != "" {
			s.t.Errorf("got %+v, want %v open, at %s", e, v, active)
		}
		s.promoted(active)
		s.closed(f.Epoch, "k", journal.Recovered)
	}
	s.promoted(replica)
	s.copied(replica)
	s.closed(6, "k", journal.Recovered)
	s.promoted(active)
	s.promoted(replica)
	s.same("what is at risk once both have it", s.failovers()[0].AtRisk, int64(0))
}

// The row was written in the old active; what the new one holds is not what it says.
func sourceChangedAfterAPromotion(s *store) {
	s.attach(third)
	v := s.put("k", "a")
	s.copied(replica)
	s.promoted(replica)
	task := s.claimOne(third)
	s.fail(task, journal.Failure{Reason: "the source has changed", SourceChanged: true, NextTry: s.now.Add(long)})
	if o := s.lookup("k"); !o.Contested(replica) || o.IsUnsettledIn(active) || o.Version != v {
		s.t.Fatalf("got %+v, want it unsettled in the present active", o)
	}
	s.settle(s.found("k", "b"), journal.Adopted)
	if o := s.lookup("k"); o.ETag != "b" || o.LastRegion != replica || o.Contested(replica) {
		s.t.Errorf("got %+v, want what the active holds", o)
	}
}

func missingAfterAPromotion(s *store) {
	v := s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.unchanged("k", func() { s.ok(s.MarkMissing(s.t.Context(), bucket, "k", active, v)) })
	s.ok(s.MarkMissing(s.t.Context(), bucket, "k", replica, v))
	s.same("the active's copy", s.copyOf("k", replica).State, journal.Missing)
}

func promotionSurvivesACrash(s *store) {
	s.put("k", "a")
	s.open("k", journal.Put)
	s.promoted(replica)
	s.put("k", "b")
	before, all := s.ledger(2), s.failovers()
	conflicts := s.conflicts(true)
	s = s.crashed()
	s.same("the ledger", s.ledger(2), before)
	s.same("the promotions", s.failovers(), all)
	s.same("the conflicts", s.conflicts(true), conflicts)
	state, err := s.State(s.t.Context())
	s.ok(err)
	if state.Epoch != 2 || state.Active != replica {
		s.t.Errorf("got %+v, want epoch 2", state)
	}
	// What is open is still told to writes.
	s.settle(s.seen("k", active, "c"), journal.Adopted)
	s.same("conflicts", len(s.conflicts(false)), 1)
	_, err = s.Promote(s.t.Context(), journal.Promotion{After: 1, Region: active})
	s.refused(err, journal.ErrEpoch)
}
