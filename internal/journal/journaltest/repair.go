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
		{"ARepairOfAKeyThatMovedOnIsRefused", repairOfAKeyThatMovedOn},
		{"AWriteIsRefusedWhileARepairCouldTakeItForAnother", writeDuringADisplacingRepair},
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
	i.Restores, i.Brings = o.Version, o.ETag
	return s.openIntent(i)
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
	if s.lookup("k").Contested(active) {
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
	if o := s.lookup("k"); !o.Contested(active) || o.Version != v {
		s.t.Errorf("got %+v, want %v, unsettled", o, v)
	}
	s.settle(s.found("k", "a"), journal.Rewrite)
	if o := s.lookup("k"); o.Contested(active) || o.Version != v || o.ETag != "b" || o.Copy(active).State != journal.Pending || o.Copy(active).ETag != "a" {
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
		if !o.Deleted || o.Version != v || o.Contested(active) || o.Copy(active).State != journal.Pending {
			s.t.Errorf("%s: got %+v, want the tombstone %v, to be brought to the active", key, o, v)
		}
		s.finish(s.claimOne(replica), "", journal.Current)
	}
}

func repairOfAnOlderVersion(s *store) {
	s.put("k", "a")
	id := s.repair("k")
	v := s.commit(s.open("k", journal.Put), "b").Version
	if c := s.commit(id, "a"); c.Settled || c.Version != v {
		s.t.Errorf("got %+v, want %v, not settled", c, v)
	}
	s.settle(s.found("k", "a"), journal.Rewrite)
	s.rewritten("k", v, "a")
}

// A repair is decided on; by the time it is to begin, the key is another.
func repairOfAKeyThatMovedOn(s *store) {
	refused := func(key string, i journal.Intent) {
		s.t.Helper()
		_, err := s.Open(s.t.Context(), i)
		s.refused(err, journal.ErrMovedOn)
	}
	at := func(key string) journal.Intent {
		i := s.intent(key, journal.Repair)
		i.Restores = s.lookup(key).Version
		return i
	}
	s.put("deleted", "a")
	i := at("deleted")
	s.del("deleted")
	refused("deleted", i)

	s.put("being written", "a")
	s.open("being written", journal.Put)
	refused("being written", at("being written"))

	s.overlapping("unsettled", journal.Put, journal.Put, "a", "b")
	refused("unsettled", at("unsettled"))
	refused("unknown", s.intent("unknown", journal.Repair))
}

// A tombstone is to take an object away by its ETag, and the same bytes are written again.
func writeDuringADisplacingRepair(s *store) {
	s.put("k", "a")
	s.del("k")
	i := s.intent("k", journal.Repair)
	i.Restores, i.Displaces = s.lookup("k").Version, "a"
	id := s.openIntent(i)
	for range 2 {
		for _, op := range []journal.Operation{journal.Put, journal.Complete} {
			_, err := s.Open(s.t.Context(), s.intent("k", op))
			s.refused(err, journal.ErrRepairing)
		}
		s.abandon(s.open("k", journal.Delete)) // that takes nothing away from anybody
		s.abandon(s.open("other", journal.Put))
		s.doubt(id) // it may yet land
	}
	s.settle(s.absent("k"), journal.Stand)
	s.put("k", "a")
}

func twoRepairs(s *store) {
	v, _ := s.missing("k", "a")
	s.doubt(s.repair("k"))
	s.same("the commit", s.commit(s.repair("k"), "a"), journal.Committed{Version: v, Settled: true})
	if o := s.lookup("k"); len(o.Intents) != 1 || o.Contested(active) {
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
