package journaltest

import "github.com/gnew/tandem/internal/journal"

func detachTests() []test {
	return []test{
		{"OnlyAReplicaIsTakenOut", onlyReplicasAreDetached},
		{"ADetachedRegionGetsNoCopies", detachedGetsNoCopies},
		{"DetachLosesOnTheRecordWhatOnlyTheRegionHad", detachLoses},
		{"DetachKeepsWhatAnotherRegionHas", detachKeeps},
		{"DetachLosesWhatWasNotReadAgain", detachLosesTheUnread},
		{"DetachLosesWhatWasToBeVerified", detachLosesTheUnverified},
		{"DetachLosesLosersOnTheRecord", detachLosesLosers},
		{"AnEntryWhoseWriteAnotherRegionHasPointsThere", detachPointsElsewhere},
		{"DetachSurvivesACrash", detachSurvivesACrash},
	}
}

func (s *store) detach(region string) {
	s.t.Helper()
	s.ok(s.Detach(s.t.Context(), region, "operator", "it is no more"))
}

func onlyReplicasAreDetached(s *store) {
	s.put("k", "a")
	s.nothingHappens(func() {
		s.unchanged("k", func() {
			for _, region := range []string{active, third, ""} {
				s.refused(s.Detach(s.t.Context(), region, "operator", ""), journal.ErrRegion)
			}
		})
	})
	s.detach(replica)
	s.refused(s.Detach(s.t.Context(), replica, "operator", ""), journal.ErrRegion)
}

func detachedGetsNoCopies(s *store) {
	s.ok(s.SetCompared(s.t.Context(), bucket, []string{active, replica}))
	s.put("before", "a")
	task := s.claimOne(replica)
	s.detach(replica)
	s.refuseAll(task)
	s.attach(active, replica) // which stays out
	s.put("after", "a")
	s.put("before", "b")
	for _, key := range []string{"before", "after"} {
		if o := s.lookup(key); len(o.Copies) != 1 || o.Copies[0].Region != active {
			s.t.Errorf("got copies %+v, want none but the active's", o.Copies)
		}
	}
	s.claimNone(replica)
	s.same("the lag", s.lag(replica), journal.Lag{})
	got, err := s.Detached(s.t.Context())
	s.ok(err)
	s.same("detached", got, []string{replica})
	compared, err := s.Compared(s.t.Context(), bucket)
	s.ok(err)
	s.same("compared", compared, []string{active})
	_, err = s.Promote(s.t.Context(), s.promotion(replica))
	s.refused(err, journal.ErrRegion)
	if err := s.SetCompared(s.t.Context(), bucket, []string{replica}); err == nil {
		s.t.Error("a region that was taken out was recorded as compared")
	}
}

func detachLoses(s *store) {
	s.replicated("kept", "a")
	s.replicated("overwritten", "old")
	s.put("overwritten", "a")
	s.put("gone", "a")
	s.doubtful("in doubt", journal.Put)
	s.promoted(replica)
	s.detach(active)
	s.closed(2, "overwritten", journal.IsLost)
	s.closed(2, "gone", journal.IsLost)
	s.closed(2, "in doubt", journal.IsLost)
	s.unknown("in doubt")
	s.points(active, 0, 0)
	for _, key := range []string{"overwritten", "gone"} {
		if o := s.lookup(key); !o.Contested(replica) || len(o.Copies) != 1 || o.LastRegion != replica {
			s.t.Errorf("got %+v, want it to be read again in the active", o)
		}
	}
	v := s.lookup("overwritten").Version
	s.settle(s.found("overwritten", "old"), journal.Adopted)
	if o := s.lookup("overwritten"); o.ETag != "old" || o.Version.Compare(v) <= 0 || o.Contested(replica) || o.Copy(replica).State != journal.Current {
		s.t.Errorf("got %+v, want what the active holds, after %v", o, v)
	}
	s.settle(s.absent("gone"), journal.Deleted)
	if o := s.lookup("gone"); !o.Deleted || o.Contested(replica) {
		s.t.Errorf("got %+v, want a tombstone", o)
	}
	if o := s.lookup("kept"); o.Contested(replica) || o.ETag != "a" || o.Copy(replica).State != journal.Current {
		s.t.Errorf("got %+v, want it as it was", o)
	}
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
}

func detachKeeps(s *store) {
	s.attach(third)
	v := s.put("in the third", "a")
	s.copied(third)
	s.put("distrusted in the third", "a")
	s.copied(third)
	s.promoted(replica)
	s.regress(third)
	s.detach(active)
	for _, key := range []string{"in the third", "distrusted in the third"} {
		if o := s.lookup(key); o.Contested(replica) || o.Unsettled || o.ETag != "a" {
			s.t.Errorf("got %+v, want it as it was: another region may have it", o)
		}
	}
	s.same("the version", s.lookup("in the third").Version, v)
}

// Nobody knows which of the writes that overlapped the region holds; none of them is
// anywhere else.
func detachLosesTheUnread(s *store) {
	s.overlappedAt(journal.Put, journal.Put, "a", "b")
	s.detach(active)
	s.closed(2, "k", journal.IsLost)
	s.settle(s.found("k", "old"), journal.Adopted)
	if o := s.lookup("k"); o.ETag != "old" || o.IsUnsettledIn(active) || o.Contested(replica) {
		s.t.Errorf("got %+v, want what the active holds", o)
	}
}

func detachLosesTheUnverified(s *store) {
	s.replicated("k", "old")
	s.put("k", "a")
	s.promoted(replica)
	s.regress(active)
	s.detach(active)
	s.closed(2, "k", journal.IsLost)
	s.settle(s.found("k", "old"), journal.Adopted)
	s.regressed(nil)
}

func detachLosesLosers(s *store) {
	_, winner := s.losing("k")
	before := len(s.chain())
	s.detach(active)
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	s.closed(2, "k", journal.IsLost)
	if o := s.lookup("k"); o.Version != winner || o.Contested(replica) || o.Unsettled {
		s.t.Errorf("got %+v, want the winner as it was", o)
	}
	s.recorded(before, "close k", "close k", "remove")
}

// Another region had it, which was down when the ledger was written.
func detachPointsElsewhere(s *store) {
	s.attach(third)
	s.put("k", "a")
	s.copied(third)
	s.promoted(replica, third)
	s.detach(active)
	if e := s.entry(2, "k"); e.Outcome != "" || e.Region != third {
		s.t.Errorf("got %+v, want it open, at %s", e, third)
	}
	s.points(third, 1, 0)
	s.copied(replica)
	s.closed(2, "k", journal.Recovered)
}

func detachSurvivesACrash(s *store) {
	s.put("k", "a")
	s.promoted(replica)
	s.detach(active)
	s = s.crashed()
	s.attach(active, replica)
	s.closed(2, "k", journal.IsLost)
	s.put("after", "a")
	s.same("copies", len(s.lookup("after").Copies), 1)
	s.settle(s.absent("k"), journal.Deleted)
	s.same("copies", len(s.lookup("k").Copies), 1)
}
