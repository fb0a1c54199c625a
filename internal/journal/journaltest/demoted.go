package journaltest

import "github.com/gnew/tandem/internal/journal"

func demotedTests() []test {
	return []test{
		{"AFindTakesItsIntentsEpoch", findTakesItsEpoch},
		{"AFindGoesForwardWhereTheKeyHasNotChanged", findGoesForward},
		{"AFindOfANewKeyMakesItsRow", findOfANewKey},
		{"AFindIsAConflictWhereTheKeyHasChanged", findIsAConflict},
		{"ADeleteThatIsFoundGoesForwardOrIsAConflict", findOfADelete},
		{"AFindSupersedesWhatItOverwroteInItsOwnRegion", findSupersedes},
		{"AFindSupersedesALoserThatWasNotKept", findSupersedesALoser},
		{"AFindUnderWhichAReplicasWriteLiesIsAConflict", findLandedLate},
		{"WhatARegionHeldBeforeIsNoFind", heldBeforeIsNoFind},
		{"WhatMayHaveChangedUnderItsETagIsBroughtBack", changedUnderItsETag},
		{"WhatOurOwnCopyLeftIsNoFind", ownCopyIsNoFind},
		{"WithinTheWindowAReadShowsOnlyThatAWriteWasApplied", demotedWindow},
		{"AFindThatNeverSawTheKeysVersionIsAConflictWithIt", findUnseen},
		{"NothingIsDecidedWhereNothingIsOpen", nothingIsOpen},
		{"AKeyOnWhichAWriteWasBegunThereSinceIsLeftAsItIs", demotedIntentUnseen},
		{"AFindOfAnotherEpochIsRefused", findOfAnotherEpoch},
		{"AFindIsRecoveredOnceTheActiveHasIt", findIsRecovered},
		{"ACopyToARegionWithWritesInDoubtIsNotCurrent", copyUnderADoubt},
		{"FindsSurviveACrash", findsSurviveACrash},
	}
}

// seen and gone are what a region that is not the active is seen to hold now, once nothing
// that was open there can land any more.
func (s *store) seen(key, region, etag string) journal.Observation {
	s.t.Helper()
	o := s.found(key, etag)
	o.Region = region
	return o
}

func (s *store) gone(key, region string) journal.Observation {
	s.t.Helper()
	o := s.absent(key)
	o.Region = region
	return o
}

func findTakesItsEpoch(s *store) {
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	before := s.put("other", "a")
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	if v := s.lookup("k").Version; v.Epoch != 1 || v.Sequence <= before.Sequence {
		s.t.Errorf("got version %v, want one of epoch 1 with the next sequence after %v", v, before)
	}
	if e := s.entry(2, "k"); e.Version != s.lookup("k").Version || e.ETag != "x" || e.Size != 100 || e.Outcome != "" {
		s.t.Errorf("got %+v, want it open still, with what was found", e)
	}
}

func findGoesForward(s *store) {
	v := s.replicated("k", "a")
	s.doubtful("k", journal.Complete)
	s.promoted(replica)
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	o := s.lookup("k")
	w := journal.Written{ETag: o.ETag, Size: o.Size, ContentType: o.ContentType}
	if o.Version.Epoch != 1 || o.Version.Compare(v) <= 0 || w != holds("x") || o.Operation != journal.Complete || len(o.Intents) != 0 || o.Unsettled {
		s.t.Errorf("got %+v, want the find, after %v", o, v)
	}
	if o.Copy(active).State != journal.Current || o.Copy(replica).State != journal.Pending || o.Copy(replica).ETag != "a" || o.LastRegion != active {
		s.t.Errorf("got %+v, want it current in %s, and to be copied over a", o.Copies, active)
	}
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	s.copied(replica)
	s.closed(2, "k", journal.Recovered)
}

func findOfANewKey(s *store) {
	s.doubtful("applied", journal.Put)
	s.doubtful("not applied", journal.Put)
	s.doubtful("one of two", journal.Put)
	s.doubtful("one of two", journal.Put)
	s.promoted(replica)
	s.settle(s.seen("applied", active, "x"), journal.Adopted)
	s.settle(s.gone("not applied", active), journal.NotApplied)
	s.settle(s.seen("one of two", active, "x"), journal.Adopted)
	if o := s.lookup("one of two"); o.Operation != journal.Adopt || len(o.Intents) != 0 {
		s.t.Errorf("got %+v, want it adopted: nobody knows which it is", o)
	}
	s.closed(2, "not applied", journal.WasNotApplied)
	s.unknown("not applied")
	s.same("what is to be copied", taskKeys(s.claim(replica, 10, long)), []string{"applied", "one of two"})
}

func findIsAConflict(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	winner := s.put("k", "b")
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	loser := s.conflict().Loser
	s.loses("k", "x", active, loser, winner, journal.Put)
	o := s.lookup("k")
	if loser.Epoch != 1 || o.Version != winner || o.ETag != "b" || len(o.Intents) != 0 || o.Copy(replica).State != journal.Current {
		s.t.Errorf("got %+v, want the winner as it was, and a loser of epoch 1, not %v", o, loser)
	}
	if c := o.Copy(active); c.State != journal.Pending || c.ETag != "x" || c.Version != loser {
		s.t.Errorf("got %+v, want it pending, holding the loser", c)
	}
	if e := s.entry(2, "k"); e.Version != loser || e.Outcome != "" {
		s.t.Errorf("got %+v, want it open, at %v", e, loser)
	}
	s.ok(s.Keep(s.t.Context(), s.conflict().ID))
	s.closed(2, "k", journal.InConflict)
}

func findOfADelete(s *store) {
	v := s.replicated("forward", "a")
	s.replicated("conflict", "a")
	s.doubtful("forward", journal.Delete)
	s.doubtful("conflict", journal.Delete)
	s.promoted(replica)
	winner := s.put("conflict", "b")
	s.settle(s.gone("forward", active), journal.Deleted)
	s.settle(s.gone("conflict", active), journal.Deleted)
	if o := s.lookup("forward"); !o.Deleted || o.Version.Epoch != 1 || o.Version.Compare(v) <= 0 || o.Copy(replica).State != journal.Pending {
		s.t.Errorf("got %+v, want a tombstone after %v", o, v)
	}
	c := s.conflict()
	if c.Key != "conflict" || !c.Deleted || c.Winner != winner || c.State != journal.ConflictKept || c.Operation != journal.Delete {
		s.t.Errorf("got %+v, want the delete, with nothing to keep", c)
	}
	s.closed(2, "conflict", journal.InConflict)
	s.closed(2, "forward", "")
	if o := s.lookup("conflict"); o.Version != winner || o.Copy(active).ETag != "" || o.Copy(active).State != journal.Pending {
		s.t.Errorf("got %+v, want the winner, to be copied to where nothing is", o)
	}
}

// w was begun after v was acknowledged, and landed over it: v is nowhere any more.
func findSupersedes(s *store) {
	s.put("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	entries := s.ledger(2)
	if len(entries) != 2 || entries[0].Outcome != journal.Superseded || entries[1].Outcome != "" || entries[1].ETag != "x" {
		s.t.Errorf("got %+v, want the acknowledged one superseded, the other open", entries)
	}
}

func findSupersedesALoser(s *store) {
	s.put("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	winner := s.put("k", "b")
	first := s.conflict()
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	c := s.conflict()
	s.loses("k", "x", active, c.Loser, winner, journal.Put)
	entries := s.ledger(2)
	if c.ID == first.ID || len(entries) != 2 || entries[0].Outcome != journal.Superseded || entries[1].Outcome != "" {
		s.t.Errorf("got %+v, want the loser that was overwritten superseded", entries)
	}
	s.points(active, 1, 1)
}

// A put hangs; the next one is acknowledged and copied; the first lands over it; another
// region, which has the acknowledged one, is promoted.
func findLandedLate(s *store) {
	s.doubtful("k", journal.Put)
	loser := s.commit(s.open("k", journal.Put), "b").Version
	s.finish(s.claimOne(replica), "b", journal.Pending)
	s.promoted(replica)
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	s.loses("k", "b", replica, loser, s.lookup("k").Version, journal.Put)
	_, err := s.Open(s.t.Context(), s.intent("k", journal.Put))
	s.refused(err, journal.ErrLoser)
	s.same("losers of the task", s.claimOne(replica).Losers, s.conflicts(false))
}

// A change of tags hangs, and is applied; another region is promoted; the ETag says nothing of it.
func changedUnderItsETag(s *store) {
	for _, key := range []string{"k", "alone"} {
		v := s.put(key, "a")
		if key == "k" {
			s.finish(s.claimOne(replica), "a", journal.Current)
		}
		i := s.intent(key, journal.Put)
		i.Brings = "a"
		s.doubt(s.openIntent(i))
		s.same("the version", s.lookup(key).Version, v)
	}
	s.promoted(replica)
	for key, want := range map[string]journal.CopyState{"k": journal.Pending, "alone": journal.Current} {
		s.settle(s.seen(key, active, "a"), journal.NotApplied)
		if o := s.lookup(key); len(o.Intents) != 0 || o.Copy(active).State != want || o.Copy(active).ETag != "a" {
			s.t.Errorf("got %+v, want the copy %s", o, want)
		}
	}
}

func heldBeforeIsNoFind(s *store) {
	v := s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.replicated("deleted", "a")
	s.del("deleted")
	s.copied(replica)
	s.doubtful("deleted", journal.Put)
	s.promoted(replica)
	s.settle(s.seen("k", active, "a"), journal.NotApplied)
	s.settle(s.gone("deleted", active), journal.NotApplied)
	for _, key := range []string{"k", "deleted"} {
		s.closed(2, key, journal.WasNotApplied)
		if o := s.lookup(key); len(o.Intents) != 0 || o.Copy(active).State != journal.Current {
			s.t.Errorf("got %+v, want it as it was", o)
		}
	}
	s.same("the version", s.lookup("k").Version, v)
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
}

// The put hangs; the region is demoted; an older repair lands there. A worker that takes up the copy of
// the new version meanwhile sends nothing, so what is found is no copy of its making.
func ownCopyIsNoFind(s *store) {
	s.missing("repaired", "a")
	s.doubt(s.repair("repaired"))
	s.doubtful("repaired", journal.Put)
	s.replicated("taken", "a")
	s.doubtful("taken", journal.Put)
	s.promoted(replica)
	s.unchanged("repaired", func() { s.settle(s.within(s.seen("repaired", active, "a")), journal.Wait) })
	s.settle(s.seen("repaired", active, "a"), journal.NotApplied)
	s.closed(2, "repaired", journal.WasNotApplied)
	s.put("taken", "b")
	s.claimOne(active)
	s.settle(s.within(s.seen("taken", active, "b")), journal.Adopted)
}

func demotedWindow(s *store) {
	for _, key := range []string{"put", "put, not seen", "delete", "delete, not seen", "two", "gone"} {
		s.replicated(key, "a")
	}
	for _, key := range []string{"put", "put, not seen", "two", "gone", "new"} {
		s.doubtful(key, journal.Put)
	}
	for _, key := range []string{"delete", "delete, not seen", "two"} {
		s.doubtful(key, journal.Delete)
	}
	s.promoted(replica)
	for key, seen := range map[string]journal.Observation{
		"put, not seen": s.seen("put, not seen", active, "a"), "delete, not seen": s.seen("delete, not seen", active, "a"),
		"two": s.seen("two", active, "x"), "gone": s.gone("gone", active),
		"new": s.seen("new", active, "x"), // of which nothing was known there
	} {
		s.unchanged(key, func() { s.settle(s.within(seen), journal.Wait) })
	}
	s.unchanged("two", func() { s.settle(s.within(s.gone("two", active)), journal.Wait) })
	s.settle(s.within(s.seen("put", active, "x")), journal.Adopted)
	s.settle(s.within(s.gone("delete", active)), journal.Deleted)
	s.settle(s.gone("gone", active), journal.Lost)
	if o := s.lookup("gone"); o.Deleted || o.Copy(active).State != journal.Pending || o.Copy(active).ETag != "" {
		s.t.Errorf("got %+v, want it to be brought there again", o)
	}
}

// A put hangs at the replica, which never had what was acknowledged at the old active; that is
// promoted again; what is found in the replica is of a later epoch, and has not seen it.
func findUnseen(s *store) {
	s.attach(third)
	loser := s.put("k", "a")
	s.promoted(replica)
	s.doubtful("k", journal.Put)
	s.promoted(active)
	s.closed(2, "k", journal.Recovered)
	s.settle(s.seen("k", replica, "x"), journal.Adopted)
	s.loses("k", "a", active, loser, s.lookup("k").Version, journal.Put)
	_, err := s.Open(s.t.Context(), s.intent("k", journal.Put))
	s.refused(err, journal.ErrLoser)
}

// Two settlers read; the first one's word is taken, and the winner copied there.
func nothingIsOpen(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.put("k", "b")
	seen, absent := s.seen("k", active, "x"), s.gone("k", active)
	s.settle(seen, journal.Adopted)
	s.ok(s.Keep(s.t.Context(), s.conflict().ID))
	s.copied(active)
	for _, again := range []journal.Observation{seen, absent, s.seen("k", active, "z"), s.seen("k", third, "z")} {
		s.nothingHappens(func() { s.unchanged("k", func() { s.settle(again, journal.Wait) }) })
	}
	s.settle(s.seen("unknown", active, "x"), journal.Wait)
	s.unknown("unknown")
	s.same("conflicts", len(s.conflicts(true)), 1)
}

func demotedIntentUnseen(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	seen := s.seen("k", active, "x")
	s.doubtful("k", journal.Delete)
	s.promoted(replica)
	seen.Epoch = 2
	s.unchanged("k", func() { s.settle(seen, journal.Wait) })
	seen = s.seen("k", active, "x")
	s.abandon(s.open("k", journal.Put)) // what is begun in the new active says nothing of the old one
	s.open("k", journal.Put)
	s.settle(seen, journal.Adopted)
}

func findOfAnotherEpoch(s *store) {
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	seen := s.seen("k", active, "x")
	for _, seen.Epoch = range []int64{0, 1, 3} {
		s.unchanged("k", func() {
			_, err := s.Settle(s.t.Context(), seen)
			s.refused(err, journal.ErrEpoch)
		})
	}
}

func findIsRecovered(s *store) {
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	s.points(active, 1, 0)
	s.promoted(active)
	s.closed(2, "k", journal.Recovered)
	s.points(active, 0, 0)
}

func copyUnderADoubt(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.promoted(replica)
	s.put("k", "b")
	s.finish(s.claimOne(active), "b", journal.Pending)
	if c := s.copyOf("k", active); c.ETag != "b" || c.LastError == "" || !c.NextTry.After(s.now) {
		s.t.Errorf("got %+v, want it pending with a reason, holding b", c)
	}
	s.settle(s.seen("k", active, "b"), journal.NotApplied)
	s.copied(active)
}

func findsSurviveACrash(s *store) {
	s.replicated("k", "a")
	s.doubtful("k", journal.Put)
	s.doubtful("later", journal.Put)
	s.promoted(replica)
	s.put("k", "b")
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	before, entries, conflicts := s.lookup("k"), s.ledger(2), s.conflicts(true)
	s = s.crashed()
	s.same("the row", s.lookup("k"), before)
	s.same("the ledger", s.ledger(2), entries)
	s.same("the conflicts", s.conflicts(true), conflicts)
	s.settle(s.gone("later", active), journal.NotApplied)
	s.closed(2, "later", journal.WasNotApplied)
}
