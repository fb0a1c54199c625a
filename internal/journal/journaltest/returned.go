package journaltest

import "github.com/gnew/tandem/internal/journal"

func returnedTests() []test {
	return []test{
		{"AFindInAReturnedActiveDoesNotWinOverWhatWasAcknowledgedSince", findInAReturnedActive},
		{"OfTwoThatSettleAReturnedActiveOneDoes", returnedSettledTwice},
		{"AWriteInAReturnedActiveOverlapsWithItsOldOnes", writeInAReturnedActive},
		{"AWriteInItsRegionSupersedesALoserThatWasNotKept", loserOverwritten},
		{"WhatOverlappedUnderAWriteInTheReturnedActiveIsSuperseded", overlapInAReturnedActive},
		{"NothingIsFoundInARegressedRegion", nothingFoundWhenRegressed},
		{"NothingIsFoundInARegressedActive", nothingFoundInARegressedActive},
		{"WhatARegressedRegionHoldsIsKnownOnceItWasRead", regressedIsRead},
		{"WhatWasWrittenSinceARegressionIsNews", writtenSinceARegression},
		{"WhatWasVerifiedSinceARegressionIsNoLongerOfIt", verifiedSinceARegression},
		{"AnEntryIsRecoveredOnceTheActiveIsFoundToHaveIt", verifiedActiveRecovers},
		{"AWriteBegunBeforeItsRegionRegressedIsToBeVerified", writtenWhileRegressing},
		{"AKeyThatIsNewInARegressedRegionIsUnverifiedThere", newKeyInARegressedRegion},
	}
}

// The region is restored from last night's copy, which has yesterday's object.
func nothingFoundWhenRegressed(s *store) {
	v := s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.doubtful("k", journal.Delete)
	s.put("overlapped", "a")
	s.copied(replica)
	s.overlapping("overlapped", journal.Put, journal.Delete, "b", "")
	s.promoted(replica)
	s.ok(s.Regress(s.t.Context(), bucket, active, "its mark is older"))
	s.unchanged("k", func() { s.settle(s.within(s.seen("k", active, "yesterday")), journal.Wait) })
	s.settle(s.seen("k", active, "yesterday"), journal.NotApplied)
	if o := s.lookup("k"); o.Version != v || o.ETag != "a" || len(o.Intents) != 0 || o.Copy(replica).State != journal.Current {
		s.t.Errorf("got %+v, want %v as it was", o, v)
	}
	for _, e := range s.ledger(2) {
		if isLost := e.Key == "k"; isLost != (e.Outcome == journal.IsLost) {
			s.t.Errorf("got %+v, want what was in doubt lost, and nothing else", e)
		}
	}
	s.settle(s.seen("overlapped", active, "yesterday"), journal.Lost)
	if o := s.lookup("overlapped"); !o.Deleted || o.Unsettled || o.Copy(active).State != journal.Pending {
		s.t.Errorf("got %+v, want the tombstone, to be verified there", o)
	}
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
}

func nothingFoundInARegressedActive(s *store) {
	v := s.replicated("k", "a")
	deleted := s.replicated("deleted", "a")
	for _, key := range []string{"k", "new", "new and gone"} {
		s.doubtful(key, journal.Put)
	}
	s.doubtful("deleted", journal.Delete)
	s.ok(s.SetCompared(s.t.Context(), bucket, []string{active}))
	s.ok(s.Regress(s.t.Context(), bucket, active, "its mark is older"))
	for _, key := range []string{"k", "new"} {
		s.unchanged(key, func() { s.settle(s.within(s.found(key, "yesterday")), journal.Wait) })
	}
	s.settle(s.found("k", "yesterday"), journal.Rewrite)
	s.settle(s.absent("deleted"), journal.Rewrite)
	s.settle(s.found("new", "yesterday"), journal.NotApplied)
	s.settle(s.absent("new and gone"), journal.NotApplied)
	s.unknown("new")
	if o := s.lookup("k"); o.Version != v || o.Copy(active).State != journal.Pending || o.Copy(active).ETag != "yesterday" || len(o.Intents) != 0 {
		s.t.Errorf("got %+v, want %v, to be written back", o, v)
	}
	if o := s.lookup("deleted"); o.Version != deleted || o.Deleted || o.Copy(active).State != journal.Pending {
		s.t.Errorf("got %+v, want %v, to be written back", o, deleted)
	}
}

// A put hangs; another region is promoted and acknowledges a write; the first is promoted
// again, and holds what never was acknowledged.
func findInAReturnedActive(s *store) {
	s.replicated("k", "a")
	s.replicated("unchanged", "a")
	s.replicated("not applied", "a")
	for _, key := range []string{"k", "unchanged", "not applied"} {
		s.doubtful(key, journal.Put)
	}
	s.promoted(replica)
	winner := s.put("k", "b")
	kept := s.put("not applied", "b")
	s.promoted(active)
	s.unchanged("k", func() { s.settle(s.within(s.found("k", "a")), journal.Wait) })
	s.settle(s.found("k", "x"), journal.Adopted)
	loser := s.conflict().Loser
	s.loses("k", "x", active, loser, winner, journal.Put)
	if o := s.lookup("k"); loser.Epoch != 1 || o.Version != winner || o.Copy(active).State != journal.Pending || o.Copy(active).ETag != "x" {
		s.t.Errorf("got %+v, want the acknowledged write, to be brought to the active", o)
	}
	_, err := s.Open(s.t.Context(), s.intent("k", journal.Put))
	s.refused(err, journal.ErrLoser)
	s.settle(s.found("not applied", "a"), journal.NotApplied)
	s.same("the version", s.lookup("not applied").Version, kept)
	s.closed(2, "not applied", journal.WasNotApplied)

	// Where nothing was acknowledged since, what the active holds is the truth.
	s.settle(s.found("unchanged", "x"), journal.Adopted)
	if o := s.lookup("unchanged"); o.Version.Epoch != 3 || o.ETag != "x" {
		s.t.Errorf("got %+v, want it adopted", o)
	}
	s.closed(2, "unchanged", journal.Recovered)
}

// Two settlers read; the first one's word is taken, the loser kept, and the winner written back.
func returnedSettledTwice(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.put("k", "b")
	s.promoted(active)
	first, second, absent := s.found("k", "x"), s.found("k", "x"), s.absent("k")
	s.settle(first, journal.Adopted)
	s.ok(s.Keep(s.t.Context(), s.conflict().ID))
	s.copied(active)
	s.nothingHappens(func() {
		s.unchanged("k", func() {
			s.settle(second, journal.Wait)
			s.settle(absent, journal.Wait)
		})
	})
}

func writeInAReturnedActive(s *store) {
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.put("k", "b")
	s.promoted(active)
	c := s.commit(s.open("k", journal.Put), "c")
	if c.Settled {
		s.t.Errorf("got %+v, want it not settled: the old one may land", c)
	}
	s.settle(s.found("k", "x"), journal.Adopted)
	if v := s.lookup("k").Version; v.Epoch != 3 || v.Compare(c.Version) <= 0 {
		s.t.Errorf("got %v after %v", v, c.Version)
	}
}

// The loser is what the active holds; a write that was begun there before that was known takes
// its place.
func loserOverwritten(s *store) {
	s.doubtful("k", journal.Put)
	loser := s.commit(s.open("k", journal.Put), "b").Version
	s.finish(s.claimOne(replica), "b", journal.Pending)
	s.promoted(replica)
	id := s.open("k", journal.Put)
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	found := s.lookup("k").Version
	s.loses("k", "b", replica, loser, found, journal.Put)
	winner := s.settled(s.commit(id, "c")) // what is found elsewhere says nothing of the order here
	s.loses("k", "x", active, found, winner, journal.Put)
	s.points(replica, 0, 0)
}

func overlapInAReturnedActive(s *store) {
	s.overlappedAt(journal.Put, journal.Put, "a", "b")
	s.put("k", "c")
	s.promoted(active)
	s.commit(s.open("k", journal.Put), "d")
	s.settle(s.found("k", "d"), journal.Adopted)
	s.closed(2, "k", journal.Superseded)
	if o := s.lookup("k"); len(o.Intents) != 0 || o.ETag != "d" || o.Version.Epoch != 3 {
		s.t.Errorf("got %+v, want d, and nothing open", o)
	}
}

// Its worker overwrites no more than what it holds.
func regressedIsRead(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.regress(active)
	s.settle(s.seen("k", active, "yesterday"), journal.NotApplied)
	task := s.claimOne(active)
	if c := task.Target(); c.ETag != "yesterday" || !c.Version.IsZero() || !task.Regressed {
		s.t.Errorf("got %+v, want what was seen there", task)
	}
	s.finish(task, "a", journal.Current)
}

// The active came back older, and is not verified yet; two acknowledged writes overlap there.
func writtenSinceARegression(s *store) {
	s.replicated("k", "old")
	s.replicated("in doubt", "old")
	s.regress(active)
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	s.settle(s.found("k", "a"), journal.Adopted)
	s.adopted("k", "a", journal.Adopt, journal.Version{})
	s.put("in doubt", "a")
	s.doubtful("in doubt", journal.Put)
	s.settle(s.found("in doubt", "x"), journal.Adopted)

	s.overlapping("k", journal.Put, journal.Put, "c", "d")
	s.promoted(replica)
	s.settle(s.seen("k", active, "c"), journal.Adopted)
	if o := s.lookup("k"); o.ETag != "c" || o.Copy(active).State != journal.Current {
		s.t.Errorf("got %+v, want what the region holds", o)
	}
}

func verifiedSinceARegression(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.regress(active)
	s.settle(s.gone("k", active), journal.NotApplied)
	s.copied(active)
	s.put("other", "a") // so that the region is not verified as a whole
	s.promoted(active)
	s.doubtful("k", journal.Put)
	s.settle(s.found("k", "x"), journal.Adopted)
	if o := s.lookup("k"); o.ETag != "x" {
		s.t.Errorf("got %+v, want what was found", o)
	}
}

func verifiedActiveRecovers(s *store) {
	s.put("k", "a")
	s.promoted(replica)
	s.regress(active)
	s.promoted(active)
	s.closed(2, "k", "")
	s.copied(active)
	s.closed(2, "k", journal.Recovered)
}

// A put is answered; the region is restored from last night's copy; only then it is committed.
func writtenWhileRegressing(s *store) {
	id := s.open("k", journal.Put)
	s.regress(active)
	v := s.commit(id, "a").Version
	if c := s.copyOf("k", active); c.State != journal.Pending || c.Version != v || c.ETag != "a" || c.Attempts == 0 {
		s.t.Errorf("got %+v, want it to be verified", c)
	}
	s.verified(active, true)
	task := s.claimOne(active)
	if !task.Regressed {
		s.t.Error("the worker is not told")
	}
	s.fail(task, journal.Failure{Reason: "it is not there", State: journal.Missing})
	s.verified(active, false)
	v = s.put("k", "b")
	if c := s.copyOf("k", active); c.State != journal.Current || c.Version != v {
		s.t.Errorf("got %+v, want what was written since", c)
	}
}

// Whatever the region was restored with of it is no news, now or later.
func newKeyInARegressedRegion(s *store) {
	s.regress(replica)
	s.verified(replica, false)
	s.regress(replica)
	s.put("new", "a")
	s.verified(replica, false) // which does not wait for what is written meanwhile
	if task := s.claimOne(replica); !task.Regressed || task.Target().Attempts == 0 {
		s.t.Errorf("got %+v, want its worker to look first", task)
	}
	s.put("newer", "a")
	if task := s.claimOne(replica); task.Regressed {
		s.t.Errorf("got %+v, want nothing of a regression that is over", task)
	}
}
