package journaltest

import "github.com/gnew/tandem/internal/journal"

func overlappedTests() []test {
	return []test{
		{"UnsettledKeysOfTheOldActiveAreNoSource", unsettledIsNoSource},
		{"OverlappedWritesAreSavedAsWhatTheRegionHolds", overlappedIsSaved},
		{"AnOverlappedKeyThatHoldsWhatTheRowSaysStands", overlappedStands},
		{"ADeleteAmongThemIsSavedToo", overlappedDelete},
		{"OfWritesThatAreGoneTheWorkerFindsOut", overlappedIsGone},
		{"AWriteElsewhereDoesNotHideWhatOverlapped", overlappedUnderAWrite},
		{"AWriteElsewhereDoesNotHideADeleteAmongThem", overlappedDeleteUnderAWrite},
		{"WhatIsGoneUnderAWriteElsewhereIsLost", overlappedGoneUnderAWrite},
		{"NothingOfItIsFoundInARegressedRegion", overlappedRegressedUnderAWrite},
		{"ARegionPromotedAgainIsNoStrangerToItsOwnWrites", overlappedPromotedAgain},
		{"ARegressedRegionPromotedAgainIs", overlappedRegressedAgain},
		{"AClaimOfTheOldActivesCopyDoesNotHideWhatItHolds", overlappedUnderAClaim},
	}
}

// overlappedAt leaves k unsettled in the old active: a and b were acknowledged there, the row
// says b.
func (s *store) overlappedAt(first, second journal.Operation, etag1, etag2 string) journal.Version {
	s.t.Helper()
	s.put("k", "old")
	s.copied(replica)
	s.overlapping("k", first, second, etag1, etag2)
	s.promoted(replica)
	return s.lookup("k").Version
}

func unsettledIsNoSource(s *store) {
	s.attach(third)
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	v := s.lookup("k").Version
	s.promoted(replica)
	o := s.lookup("k")
	if c := o.Copy(active); c.State != journal.Pending || c.ETag != "b" || c.Version != v || o.Contested(replica) || !o.IsUnsettledIn(active) {
		s.t.Errorf("got %+v, want it unsettled in %s, and no source", o, active)
	}
	if e := s.entry(2, "k"); e.Kind != journal.AtRisk || e.Version != v || e.Region != active {
		s.t.Errorf("got %+v, want it at risk", e)
	}
	s.finish(s.claimOne(active), "b", journal.Pending) // it was not read again
}

func overlappedIsSaved(s *store) {
	v := s.overlappedAt(journal.Put, journal.Put, "a", "b")
	s.settle(s.seen("k", active, "a"), journal.Adopted)
	o := s.lookup("k")
	if o.ETag != "a" || o.Version.Epoch != 1 || o.Version.Compare(v) <= 0 || o.Unsettled || o.Copy(active).State != journal.Current {
		s.t.Errorf("got %+v, want what the region holds", o)
	}
	if e := s.entry(2, "k"); e.Version != o.Version || e.ETag != "a" || e.Outcome != "" {
		s.t.Errorf("got %+v, want it open, for what is there to be saved", e)
	}
	s.copied(replica)
	s.closed(2, "k", journal.Recovered)
}

func overlappedStands(s *store) {
	v := s.overlappedAt(journal.Put, journal.Put, "a", "b")
	s.settle(s.seen("k", active, "b"), journal.Stand)
	if o := s.lookup("k"); o.Version != v || o.Unsettled || o.Copy(active).State != journal.Current {
		s.t.Errorf("got %+v, want %v, settled", o, v)
	}
	s.closed(2, "k", "")
	s.copied(replica)
	s.closed(2, "k", journal.Recovered)
}

func overlappedDelete(s *store) {
	s.overlappedAt(journal.Delete, journal.Put, "", "b")
	s.settle(s.gone("k", active), journal.Deleted)
	o := s.lookup("k")
	if !o.Deleted || o.Version.Epoch != 1 || o.Unsettled || o.DeleteSeen {
		s.t.Errorf("got %+v, want a tombstone", o)
	}
	s.copied(replica)
	s.closed(2, "k", journal.Recovered)
}

func overlappedIsGone(s *store) {
	v := s.overlappedAt(journal.Put, journal.Put, "a", "b")
	s.settle(s.gone("k", active), journal.Lost)
	if o := s.lookup("k"); o.Version != v || o.Unsettled || o.Copy(active).State != journal.Pending || o.Copy(active).ETag != "" {
		s.t.Errorf("got %+v, want %v, nowhere", o, v)
	}
	s.closed(2, "k", "")
	s.fail(s.claimOne(active), journal.Failure{Reason: "gone", State: journal.Missing})
	s.closed(2, "k", journal.IsLost)
}

// a and b were acknowledged, a is what the region holds; the other acknowledges c, before that
// is known: the loser would be taken for b, which is nowhere.
func overlappedUnderAWrite(s *store) {
	for _, holds := range []string{"a", "b"} {
		s.put("k", "old")
		s.copied(replica)
		s.overlapping("k", journal.Put, journal.Put, "a", "b")
		epoch := s.promoted(replica).Epoch
		winner := s.put("k", "c")
		o := s.lookup("k")
		if o.Contested(replica) || o.Unsettled || !o.IsUnsettledIn(active) || o.Version != winner {
			s.t.Fatalf("got %+v, want %v, settled here, to be read again there", o, winner)
		}
		s.same("conflicts, before it was read again", s.conflicts(false), []journal.Conflict{})
		s = s.crashed()
		s.settle(s.seen("k", active, holds), journal.Adopted)
		c := s.conflict()
		s.loses("k", holds, active, c.Loser, winner, journal.Adopt)
		if e := s.entry(epoch, "k"); e.Version != c.Loser || e.ETag != holds || e.Outcome != "" {
			s.t.Errorf("got %+v, want it open, for what is there", e)
		}
		if o := s.lookup("k"); o.IsUnsettledIn(active) || len(o.Intents) != 0 {
			s.t.Errorf("got %+v, want nothing open", o)
		}
		s.ok(s.Keep(s.t.Context(), c.ID))
		s.closed(epoch, "k", journal.InConflict)
		s.ok(s.Resolve(s.t.Context(), c.ID, journal.Resolution{}))
		s.copied(active)
		s.promoted(active)
	}
}

func overlappedDeleteUnderAWrite(s *store) {
	s.overlappedAt(journal.Delete, journal.Put, "", "b")
	winner := s.del("k")
	s.settle(s.gone("k", active), journal.Deleted)
	if c := s.conflict(); !c.Deleted || c.Winner != winner || c.State != journal.ConflictKept {
		s.t.Errorf("got %+v, want the delete, with nothing to keep", c)
	}
	s.closed(2, "k", journal.InConflict)
	s.copied(active)
}

func overlappedGoneUnderAWrite(s *store) {
	s.overlappedAt(journal.Put, journal.Put, "a", "b")
	s.put("k", "c")
	s.settle(s.gone("k", active), journal.Lost)
	s.closed(2, "k", journal.IsLost)
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	s.copied(active)
}

func overlappedRegressedUnderAWrite(s *store) {
	s.overlappedAt(journal.Put, journal.Put, "a", "b")
	winner := s.put("k", "c")
	s.ok(s.Regress(s.t.Context(), bucket, active, "its mark is older"))
	s.settle(s.seen("k", active, "yesterday"), journal.Lost)
	s.closed(2, "k", journal.IsLost)
	if o := s.lookup("k"); o.Version != winner || len(o.Intents) != 0 {
		s.t.Errorf("got %+v, want %v, and nothing open", o, winner)
	}
}

// Writes overlap; another region is promoted, and the first again, before it was read again.
func overlappedPromotedAgain(s *store) {
	v := s.overlappedAt(journal.Put, journal.Put, "a", "b")
	f := s.promoted(active)
	s.same("what is at risk", f.AtRisk, int64(0))
	s.closed(2, "k", journal.Recovered)
	if o := s.lookup("k"); !o.Contested(active) || o.Copy(active).State != journal.Current {
		s.t.Errorf("got %+v, want it contested in the active", o)
	}
	s.settle(s.found("k", "b"), journal.Stand)
	if o := s.lookup("k"); o.Version != v || o.Contested(active) || o.Copy(active).State != journal.Current {
		s.t.Errorf("got %+v, want %v, settled", o, v)
	}
}

func overlappedRegressedAgain(s *store) {
	v := s.overlappedAt(journal.Put, journal.Put, "a", "b")
	s.ok(s.Regress(s.t.Context(), bucket, active, "its mark is older"))
	s.promoted(active)
	if c := s.copyOf("k", active); c.State != journal.Pending {
		s.t.Errorf("got %+v, want it to be verified", c)
	}
	s.settle(s.found("k", "yesterday"), journal.Rewrite)
	s.same("the version", s.lookup("k").Version, v)
}

// A worker takes up the copy to the old active, and is gone. It has sent nothing, for that is read again first.
func overlappedUnderAClaim(s *store) {
	s.put("k", "old")
	s.copied(replica)
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	epoch := s.promoted(replica).Epoch
	s.claimOne(active)
	winner := s.put("k", "c")
	s = s.crashed()
	s.settle(s.seen("k", active, "b"), journal.Adopted)
	c := s.conflict()
	s.loses("k", "b", active, c.Loser, winner, journal.Adopt)
	s.ok(s.Keep(s.t.Context(), c.ID))
	s.closed(epoch, "k", journal.InConflict)
}
