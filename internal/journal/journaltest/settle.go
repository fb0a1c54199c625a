package journaltest

import (
	"sync"

	"github.com/gnew/tandem/internal/journal"
)

func settleTests() []test {
	return []test{
		{"WaitWhileAWriteMayStillLand", settleWaits},
		{"WaitWhileAnIntentIsOpen", settleWaitsForOpenIntents},
		{"StandSettlesTheKey", settleStands},
		{"AdoptedTakesANewVersion", settleAdopts},
		{"AWriteThatIsSeenIsAdoptedAtOnce", settleAdoptsWithinTheWindow},
		{"WhatNoIntentExplainsIsAdoptedOnTheRecord", settleAdoptsTheUnexplained},
		{"DeletedMakesATombstone", settleDeletes},
		{"LostMarksTheActiveMissing", settleFindsLost},
		{"RewriteQueuesTheActive", settleRewrites},
		{"NotAppliedLeavesNothing", settleNotApplied},
		{"AKeyThatWasWrittenSinceIsLeftAsItIs", settleAfterACommit},
		{"AKeyOnWhichAWriteWasBegunSinceIsLeftAsItIs", settleAfterAnOpen},
		{"AnIntentThatIsGoneSinceDoesNotMatter", settleAfterAnAbandon},
		{"OfTwoThatSettleOneDoes", settleTwice},
		{"AnObservationOfAnotherEpochIsRefused", settleOfAnotherEpoch},
		{"AnIntentOfADemotedRegionIsNotClosedByWhatTheNewActiveHolds", settleLeavesDemotedRegions},
		{"WhatTheNewActiveHeldBeforeItsPromotionIsNotAWrite", settleKeepsTheAcknowledged},
		{"ADeletedKeyStaysDeletedAfterAPromotion", settleKeepsTheTombstone},
	}
}

func settleWaits(s *store) {
	s.doubtful("new", journal.Put)
	s.put("old", "a")
	s.doubtful("old", journal.Put)
	s.unchanged("new", func() { s.settle(s.within(s.absent("new")), journal.Wait) })
	s.unchanged("old", func() {
		s.settle(s.within(s.found("old", "a")), journal.Wait)
		s.settle(s.within(s.absent("old")), journal.Wait)
	})
}

func settleWaitsForOpenIntents(s *store) {
	s.put("k", "a")
	s.open("k", journal.Put)
	s.doubtful("k", journal.Delete)
	s.unchanged("k", func() {
		s.settle(s.found("k", "b"), journal.Wait)
		s.settle(s.absent("k"), journal.Wait)
	})
}

func settleStands(s *store) {
	s.overlapping("k", journal.Put, journal.Delete, "a", "")
	s.overlapping("k", journal.Delete, journal.Put, "", "b")
	s.finish(s.claimOne(replica), "b", journal.Pending) // it waits for the key to rest
	want := s.lookup("k")
	s.settle(s.found("k", "b"), journal.Stand)
	want.Unsettled, want.DeleteSeen = false, false
	want.Copies[1].NextTry = s.copyOf("k", replica).NextTry
	s.same("the row", s.lookup("k"), want)
	s.finish(s.claimOne(replica), "b", journal.Current) // it is due at once

	s.overlapping("deleted", journal.Put, journal.Delete, "a", "")
	before := s.lookup("deleted")
	s.settle(s.absent("deleted"), journal.Stand)
	if o := s.lookup("deleted"); o.Contested(active) || !o.Deleted || o.Version != before.Version {
		s.t.Errorf("got %+v, want the same tombstone, settled", o)
	}
}

func settleAdopts(s *store) {
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	before := s.lookup("k")
	s.settle(s.found("k", "a"), journal.Adopted)
	s.adopted("k", "a", journal.Adopt, before.Version)

	s.doubtful("k", journal.Put)
	s.doubtful("k", journal.Put)
	before = s.lookup("k")
	s.settle(s.found("k", "c"), journal.Adopted)
	s.adopted("k", "c", journal.Adopt, before.Version)
}

// adopted checks that what the active holds became the key's version.
func (s *store) adopted(key, etag string, op journal.Operation, after journal.Version) {
	s.t.Helper()
	o := s.lookup(key)
	w := journal.Written{ETag: o.ETag, Size: o.Size, ContentType: o.ContentType}
	if w != holds(etag) || o.Operation != op || o.Version.Compare(after) <= 0 || o.Deleted || o.Contested(active) || len(o.Intents) != 0 {
		s.t.Fatalf("got %+v, want %q by %s, settled, later than %v", o, etag, op, after)
	}
	if a := o.Copy(active); a.State != journal.Current || a.Version != o.Version || a.ETag != etag || o.Copy(replica).State != journal.Pending {
		s.t.Fatalf("got copies %+v, want the active's current and the replica's pending", o.Copies)
	}
}

func settleAdoptsWithinTheWindow(s *store) {
	v := s.put("k", "a")
	id := s.doubtful("k", journal.Complete)
	s.settle(s.within(s.found("k", "b")), journal.Adopted)
	s.adopted("k", "b", journal.Complete, v)
	_, err := s.Commit(s.t.Context(), id, holds("b"))
	s.refused(err, journal.ErrNoIntent)
}

func settleAdoptsTheUnexplained(s *store) {
	v := s.put("k", "a")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "the source has changed", SourceChanged: true, NextTry: s.now.Add(long)})
	s.settle(s.found("k", "b"), journal.Adopted)
	s.adopted("k", "b", journal.Adopt, v)

	// A delete that was not applied does not explain an object.
	v = s.lookup("k").Version
	s.doubtful("k", journal.Delete)
	s.settle(s.found("k", "c"), journal.Adopted)
	s.adopted("k", "c", journal.Adopt, v)
}

func settleDeletes(s *store) {
	deleted := func(key string, after journal.Version) {
		s.t.Helper()
		o := s.lookup(key)
		if !o.Deleted || o.ETag != "" || o.Size != 0 || o.Version.Compare(after) <= 0 || o.Contested(active) || len(o.Intents) != 0 ||
			o.Operation != journal.Delete || o.Copy(active).State != journal.Current || o.Copy(replica).State != journal.Pending {
			s.t.Fatalf("got %+v, want a tombstone later than %v, settled", o, after)
		}
	}
	v := s.put("within", "a")
	s.doubtful("within", journal.Delete)
	s.settle(s.within(s.absent("within")), journal.Deleted)
	deleted("within", v)

	v = s.put("one of two", "a")
	s.doubtful("one of two", journal.Delete)
	s.doubtful("one of two", journal.Put)
	s.settle(s.absent("one of two"), journal.Deleted)
	deleted("one of two", v)

	s.overlapping("overlapped", journal.Delete, journal.Put, "", "b")
	v = s.lookup("overlapped").Version
	s.settle(s.absent("overlapped"), journal.Deleted)
	deleted("overlapped", v)
}

func settleFindsLost(s *store) {
	v := s.put("k", "a")
	s.doubtful("k", journal.Put)
	s.settle(s.absent("k"), journal.Lost)
	o := s.lookup("k")
	if o.Version != v || o.Deleted || o.Contested(active) || len(o.Intents) != 0 {
		s.t.Errorf("got %+v, want the version %v, settled", o, v)
	}
	s.same("the active's copy", o.Copy(active), journal.Copy{Region: active, State: journal.Missing})
	s.claimNone(active)
	if s.request("k", active) {
		s.t.Error("a copy is queued that nobody can be a source for")
	}
	s.finish(s.claimOne(replica), "a", journal.Current)
	s.request("k", active)
	s.claimOne(active)
}

func settleRewrites(s *store) {
	s.put("k", "a")
	s.doubt(s.repair("k"))
	v := s.commit(s.open("k", journal.Delete), "").Version
	s.settle(s.found("k", "a"), journal.Rewrite)
	s.rewritten("k", v, "a")
	if !s.lookup("k").Deleted {
		s.t.Error("the tombstone is gone")
	}
}

// rewritten checks that the version stands, and that the active is to be brought to it.
func (s *store) rewritten(key string, v journal.Version, held string) {
	s.t.Helper()
	o := s.lookup(key)
	if o.Version != v || o.Contested(active) || len(o.Intents) != 0 {
		s.t.Fatalf("got %+v, want the version %v, settled", o, v)
	}
	state, err := s.State(s.t.Context())
	s.ok(err)
	if c := o.Copy(state.Active); c.State != journal.Pending || c.ETag != held {
		s.t.Fatalf("got %+v, want it pending, holding %q", c, held)
	}
	if task := s.claimOne(state.Active); task.Object.Key != key || task.Target().ETag != held {
		s.t.Fatalf("claimed %+v, want %q", task, key)
	}
}

func settleNotApplied(s *store) {
	s.doubtful("k", journal.Put)
	s.doubtful("k", journal.Delete)
	s.settle(s.absent("k"), journal.NotApplied)
	s.unknown("k")
}

func settleAfterACommit(s *store) {
	s.overlapping("k", journal.Put, journal.Delete, "a", "")
	seen := s.found("k", "a")
	s.put("k", "c")
	s.unchanged("k", func() { s.settle(seen, journal.Wait) })

	s.doubtful("new", journal.Put)
	nothing := s.absent("new")
	s.commit(nothing.Intents[0], "a")
	s.unchanged("new", func() { s.settle(nothing, journal.Wait) })
}

func settleAfterAnOpen(s *store) {
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	seen := s.found("k", "b")
	for _, op := range []journal.Operation{journal.Put, journal.Delete} {
		id := s.open("k", op)
		s.unchanged("k", func() { s.settle(seen, journal.Wait) })
		s.doubt(id)
		s.unchanged("k", func() { s.settle(seen, journal.Wait) })
		s.abandon(id)
	}
	s.settle(seen, journal.Stand)
}

func settleAfterAnAbandon(s *store) {
	s.put("k", "a")
	s.doubtful("k", journal.Put)
	id := s.open("k", journal.Put)
	seen := s.found("k", "b")
	s.abandon(id)
	s.settle(seen, journal.Adopted)
}

func settleTwice(s *store) {
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	seen := s.found("k", "a")
	var mu sync.Mutex
	got := make(map[journal.Decision]int)
	atOnce(8, func(int) {
		d, err := s.Settle(s.t.Context(), seen)
		if err != nil {
			s.t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got[d]++
	})
	s.same("decisions", got, map[journal.Decision]int{journal.Adopted: 1, journal.Wait: 7})
}

func settleOfAnotherEpoch(s *store) {
	s.doubtful("k", journal.Put)
	seen := s.found("k", "a")
	s.promote()
	s.unchanged("k", func() {
		_, err := s.Settle(s.t.Context(), seen)
		s.refused(err, journal.ErrEpoch)
	})
}

// A put hangs at the old active; the new one answers 404; the intent is closed; the
// old active returns with an object that nothing explains.
func settleLeavesDemotedRegions(s *store) {
	v := s.replicated("old", "a")
	s.doubtful("old", journal.Delete)
	s.doubtful("new", journal.Put)
	s.promote()
	for _, key := range []string{"old", "new"} {
		s.unchanged(key, func() { s.settle(s.absent(key), journal.Wait) })
	}
	for _, key := range []string{"old", "new"} {
		if o := s.lookup(key); len(o.Intents) != 1 || o.Deleted {
			s.t.Errorf("got %+v, want the intent of the old active still there", o)
		}
	}
	if o := s.lookup("old"); o.Version != v {
		s.t.Errorf("got version %v, want %v", o.Version, v)
	}
}

// v2 is acknowledged and not copied yet; the replica, which holds v1, is promoted; a
// put times out there; v1 is adopted as the newest: an acknowledged write is gone.
func settleKeepsTheAcknowledged(s *store) {
	s.replicated("k", "a")
	v := s.put("k", "b")
	s.promote()
	s.doubtful("k", journal.Put)
	s.unchanged("k", func() { s.settle(s.within(s.found("k", "a")), journal.Wait) })
	s.settle(s.found("k", "a"), journal.Rewrite)
	s.rewritten("k", v, "a")
}

func settleKeepsTheTombstone(s *store) {
	s.replicated("k", "a")
	v := s.del("k")
	s.promote()
	s.doubtful("k", journal.Put)
	s.unchanged("k", func() { s.settle(s.within(s.found("k", "a")), journal.Wait) })
	s.settle(s.found("k", "a"), journal.Rewrite)
	s.rewritten("k", v, "a")
}
