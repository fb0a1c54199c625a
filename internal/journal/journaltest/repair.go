package journaltest

import "github.com/gnew/tandem/internal/journal"

func repairTests() []test {
	return []test{
		{"ARepairMakesNoNewVersion", repairMakesNoVersion},
		{"ARepairIsNotAClientsWrite", repairIsNotContested},
		{"ARepairThatIsSeenIsClosedWithItsWindow", repairSeen},
		{"ARepairThatAWriteOverlappedIsNotAWrite", repairOverlapped},
		{"ADeletedKeyDoesNotComeBackByARepair", repairOfADeletedKey},
		{"ARepairOfAnOlderVersionIsUndone", repairOfAnOlderVersion},
		{"ARepairOfAnUnsettledKeyMakesWhatWasSeenBeforeCountNoMore", repairOfAnUnsettledKey},
		{"TwoRepairsOfOneVersionDoNotOverlap", twoRepairs},
		{"AWriteOverlapsWithARepair", writeOverlapsWithRepair},
		{"ARepairIsNotProvenByWhatWasThereBefore", repairOfTheSameETag},
	}
}

// repair opens the intent that writes the row's version back into the active.
func (s *store) repair(key string) int64 {
	s.t.Helper()
	i := s.intent(key, journal.Repair)
	o := s.lookup(key)
	i.Restores, i.RestoresETag = o.Version, o.ETag
	return s.openIntent(i)
}

// doubtfulRepair is an unanswered repair that began before the key's present version.
func (s *store) doubtfulRepair(key, etag string) {
	s.t.Helper()
	i := s.intent(key, journal.Repair)
	i.Restores, i.RestoresETag = journal.Version{Epoch: 1, Sequence: 1}, etag
	s.doubt(s.openIntent(i))
}

// missing is an acknowledged key that the active was found not to hold, claimed to
// be repaired.
func (s *store) missing(key, etag string) (journal.Version, journal.Task) {
	s.t.Helper()
	v := s.replicated(key, etag)
	s.ok(s.MarkMissing(s.t.Context(), bucket, key, active, v))
	s.request(key, active)
	return v, s.claimOne(active)
}

func repairMakesNoVersion(s *store) {
	v, task := s.missing("k", "a")
	before := s.lookup("k")
	got := s.commit(s.repair("k"), "a")
	s.same("the commit", got, journal.Committed{Version: v, Settled: true})
	s.same("the row", s.lookup("k"), before)
	s.finish(task, "a", journal.Current)
	s.same("the copy", s.copyOf("k", active), journal.Copy{Region: active, State: journal.Current, Version: v, ETag: "a"})
}

func repairIsNotContested(s *store) {
	s.missing("k", "a")
	s.repair("k")
	if s.lookup("k").Contested() {
		s.t.Error("a repair makes the key contested")
	}
	if c := s.copyOf("k", replica); c.State != journal.Current {
		s.t.Errorf("got %+v, want the replica's copy current still", c)
	}
}

func repairSeen(s *store) {
	v, task := s.missing("k", "a")
	s.doubt(s.repair("k"))
	s.settle(s.within(s.found("k", "a")), journal.Wait)
	s.settle(s.found("k", "a"), journal.Stand)
	o := s.lookup("k")
	s.same("the copy", o.Copy(active), journal.Copy{Region: active, State: journal.Current, Version: v, ETag: "a"})
	if len(o.Intents) != 0 {
		s.t.Errorf("got intents %+v, want none", o.Intents)
	}
	s.fail(task, journal.Failure{Reason: "no answer", NextTry: s.now.Add(long)})
	s.same("the copy, after its worker gave up", s.copyOf("k", active).State, journal.Current)
}

// A repair is under way; the key is overwritten; the repair lands on it and is
// answered. What it brought is not a write, though it was applied.
func repairOverlapped(s *store) {
	s.missing("k", "a")
	id := s.repair("k")
	v := s.commit(s.open("k", journal.Put), "b").Version
	got := s.commit(id, "a")
	s.same("the commit", got, journal.Committed{Version: v})
	if o := s.lookup("k"); !o.Contested() || o.Version != v {
		s.t.Errorf("got %+v, want %v, unsettled", o, v)
	}
	s.settle(s.found("k", "a"), journal.Rewrite)
	if o := s.lookup("k"); o.Contested() || o.Version != v || o.ETag != "b" || o.Copy(active).State != journal.Pending || o.Copy(active).ETag != "a" {
		s.t.Errorf("got %+v, want %v, settled, to be written back", o, v)
	}
}

func repairOfADeletedKey(s *store) {
	for key, answered := range map[string]bool{"answered": true, "unanswered": false} {
		s.missing(key, "a")
		repair := s.repair(key)
		v := s.commit(s.open(key, journal.Delete), "").Version
		if answered {
			s.commit(repair, "a")
		} else {
			s.doubt(repair)
		}
		s.settle(s.found(key, "a"), journal.Rewrite)
		o := s.lookup(key)
		if !o.Deleted || o.Version != v || o.Contested() || o.Copy(active).State != journal.Pending {
			s.t.Errorf("%s: got %+v, want the tombstone %v, to be brought to the active", key, o, v)
		}
		s.finish(s.claimOne(replica), "", journal.Current)
	}
}

func repairOfAnOlderVersion(s *store) {
	old := s.put("k", "a")
	v := s.put("k", "b")
	i := s.intent("k", journal.Repair)
	i.Restores, i.RestoresETag = old, "a"
	if c := s.commit(s.openIntent(i), "a"); c.Settled || c.Version != v {
		s.t.Errorf("got %+v, want %v, not settled", c, v)
	}
	s.settle(s.found("k", "a"), journal.Rewrite)
	s.rewritten("k", v, "a")
}

// The active is seen to hold a; a repair brings b; then what was seen is settled.
func repairOfAnUnsettledKey(s *store) {
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	seen := s.found("k", "a")
	if c := s.commit(s.repair("k"), "b"); c.Settled {
		s.t.Errorf("got %+v, want it not settled", c)
	}
	s.unchanged("k", func() { s.settle(seen, journal.Wait) })
	s.settle(s.found("k", "b"), journal.Stand)
	if o := s.lookup("k"); o.Contested() || len(o.Intents) != 0 {
		s.t.Errorf("got %+v, want it settled", o)
	}
}

func twoRepairs(s *store) {
	v, _ := s.missing("k", "a")
	s.doubt(s.repair("k"))
	s.same("the commit", s.commit(s.repair("k"), "a"), journal.Committed{Version: v, Settled: true})
	if o := s.lookup("k"); len(o.Intents) != 1 || o.Contested() {
		s.t.Errorf("got %+v, want the first intent alone, not contested", o)
	}
}

func writeOverlapsWithRepair(s *store) {
	s.missing("k", "a")
	s.doubt(s.repair("k"))
	if c := s.commit(s.open("k", journal.Put), "b"); c.Settled {
		s.t.Errorf("got %+v, want it not settled: the repair may have landed after it", c)
	}
}

// The new version has the ETag of the old one (metadata alone was changed), so that
// seeing it says nothing of the repair.
func repairOfTheSameETag(s *store) {
	s.replicated("k", "a")
	v := s.put("k", "a")
	s.promote()
	s.doubt(s.repair("k"))
	s.unchanged("k", func() { s.settle(s.within(s.found("k", "a")), journal.Wait) })
	s.settle(s.found("k", "a"), journal.Rewrite)
	s.rewritten("k", v, "a")
}
