package journaltest

import "github.com/gnew/tandem/internal/journal"

func markTests() []test {
	return []test{
		{"AMarkIsWhatWasLastRecorded", marksAreKept},
		{"ThePositionIsTheLastSequence", position},
		{"ARegressedRegionsCopiesAreAllPending", regressedCopies},
		{"ARegressionConcernsOneRegion", regressedRegion},
		{"ARegressionTakesCopiesFromTheirWorkers", regressionEndsClaims},
		{"OnlyAnAttachedRegionRegresses", regressedWithoutAttach},
		{"ARegionIsVerifiedOnceNoCopyFromBeforeWaits", verified},
		{"ARegionMayRegressAgain", regressedAgain},
		{"WhatARegressedRegionLacksIsLost", regressedLacks},
		{"ARegressionSurvivesACrash", regressionSurvivesACrash},
	}
}

func marksAreKept(s *store) {
	ctx := s.t.Context()
	is := func(bucket, region string, want journal.Mark) {
		s.t.Helper()
		got, err := s.Mark(ctx, bucket, region)
		s.ok(err)
		s.same("the mark of "+bucket+" in "+region, got, want)
	}
	first := journal.Mark{Epoch: 1, Sequence: 7, ETag: "a", WrittenAt: s.now}
	second := journal.Mark{Epoch: 2, Sequence: 9, ETag: "b"}
	is(bucket, active, journal.Mark{})
	s.ok(s.SetMark(ctx, bucket, active, first))
	is(bucket, active, first)
	is(bucket, replica, journal.Mark{})
	is("other", active, journal.Mark{})
	s.ok(s.SetMark(ctx, bucket, replica, first))
	s.ok(s.SetMark(ctx, bucket, active, second))
	s.ok(s.SetMark(ctx, "other", active, first))
	s = s.crashed()
	is(bucket, active, second)
	is(bucket, replica, first)
	is("other", active, first)
}

func position(s *store) {
	is := func(want int64) {
		s.t.Helper()
		got, err := s.Position(s.t.Context())
		s.ok(err)
		s.same("the position", got, want)
	}
	is(0)
	v := s.put("k", "a")
	is(v.Sequence)
	s.open("k", journal.Put)
	s.promoted(replica)
	is(v.Sequence)
	s.settle(s.seen("k", active, "x"), journal.Adopted)
	is(s.lookup("k").Version.Sequence)
	s = s.crashed()
	is(s.lookup("k").Version.Sequence)
}

func (s *store) regress(region string) {
	s.t.Helper()
	s.ok(s.Regress(s.t.Context(), bucket, region, "its mark is older"))
}

func (s *store) regressed(want map[string]string) {
	s.t.Helper()
	got, err := s.Regressed(s.t.Context(), bucket)
	s.ok(err)
	s.same("regressed regions", got, want)
}

func (s *store) verified(region string, want bool) {
	s.t.Helper()
	isRegressed, err := s.Verified(s.t.Context(), bucket, region)
	s.ok(err)
	s.same("whether "+region+" is regressed still", isRegressed, want)
}

func regressedCopies(s *store) {
	s.everyState()
	before := make(map[string]journal.Copy)
	keys := []string{"current", "deleted there", "failing", "missing", "overwritten", "pending", "tombstone", "unreplicable"}
	for _, key := range keys {
		before[key] = s.copyOf(key, replica)
	}
	s.regress(replica)
	for _, key := range keys {
		c, was := s.copyOf(key, replica), before[key]
		if key == "unreplicable" {
			s.same("what cannot be there", c, was)
			continue
		}
		if c.State != journal.Pending || c.Attempts == 0 || c.Version != was.Version || c.ETag != was.ETag || c.PendingSince.IsZero() {
			s.t.Errorf("%s: got %+v after %+v, want it pending, to be looked at", key, c, was)
		}
		if a := s.copyOf(key, active); a.State != journal.Current {
			s.t.Errorf("%s: got %+v, want it current in the other region", key, a)
		}
	}
	tasks := s.claim(replica, 100, long)
	s.same("all of it is due", len(tasks), len(keys)-1)
	for _, task := range tasks {
		if !task.Regressed {
			s.t.Errorf("%s: the worker is not told", task.Object.Key)
		}
	}
}

func regressedRegion(s *store) {
	s.replicated("k", "a")
	s.regressed(nil)
	s.unchanged("k", func() { s.regressed(nil) })
	s.regress(replica)
	s.regressed(map[string]string{replica: "its mark is older"})
	got, err := s.Regressed(s.t.Context(), "other")
	s.ok(err)
	s.same("regressed regions of another bucket", len(got), 0)
	s.attach(third)
	if task := s.claimOne(third); task.Regressed {
		s.t.Error("a worker of another region is told that it is regressed")
	}
}

// A copy is answered; the region is restored from last night's; only then the worker tells.
func regressionEndsClaims(s *store) {
	s.put("k", "a")
	task := s.claimOne(replica)
	s.regress(replica)
	s.refuseAll(task)
	s.verified(replica, true)
	next := s.claimOne(replica)
	s.lateClaim(next, "", "a")
	s.finish(next, "a", journal.Current)
	s.verified(replica, false)
}

func regressedWithoutAttach(s *store) {
	s.nothingHappens(func() {
		s.refused(s.Regress(s.t.Context(), bucket, third, "why"), journal.ErrRegion)
		s.refused(s.Regress(s.t.Context(), "other", active, "why"), journal.ErrRegion)
		s.verified(third, false)
	})
	s.regressed(nil)
}

func verified(s *store) {
	s.verified(replica, false)
	s.put("pending", "a")
	s.copiedAlone("current")
	s.copiedAlone("missing")
	s.regress(replica)
	s.verified(replica, true)
	s.put("new", "a")
	for _, task := range s.claim(replica, 10, long) {
		s.verified(replica, true)
		switch task.Object.Key {
		case "missing":
			s.fail(task, journal.Failure{Reason: "gone", State: journal.Missing})
		case "new": // which is not from before
		default:
			s.finish(task, "a", journal.Current)
		}
	}
	s.verified(replica, false)
	s.regressed(nil)
	s.verified(replica, false)
	s.put("k", "a")
	for _, task := range s.claim(replica, 10, long) {
		if task.Regressed {
			s.t.Error("a worker is told that the region is regressed still")
		}
	}
}

// copiedAlone is replicated, while other copies are due.
func (s *store) copiedAlone(key string) {
	s.t.Helper()
	s.put(key, "a")
	for _, task := range s.claim(replica, 100, long) {
		if task.Object.Key == key {
			s.finish(task, "a", journal.Current)
		} else {
			s.fail(task, journal.Failure{Reason: "not now", NextTry: s.now.Add(-long)})
		}
	}
}

func regressedAgain(s *store) {
	s.replicated("k", "a")
	s.regress(replica)
	s.copied(replica)
	s.ok(s.Regress(s.t.Context(), bucket, replica, "once more"))
	s.verified(replica, true)
	s.regressed(map[string]string{replica: "once more"})
	s.copied(replica)
	s.verified(replica, false)
}

func regressedLacks(s *store) {
	s.put("k", "a")
	s.put("there", "a")
	s.promoted(replica)
	s.regress(active)
	s.closed(2, "k", "")
	for _, task := range s.claim(active, 10, long) {
		if task.Object.Key == "there" {
			s.finish(task, "a", journal.Current)
		} else {
			s.fail(task, journal.Failure{Reason: "gone", State: journal.Missing})
		}
	}
	s.closed(2, "k", journal.IsLost)
	s.closed(2, "there", "")
	s.verified(active, false)
	for _, task := range s.claim(replica, 10, long) {
		if task.Object.Key == "there" {
			s.finish(task, "a", journal.Current)
		}
	}
	s.closed(2, "there", journal.Recovered)
}

func regressionSurvivesACrash(s *store) {
	s.replicated("k", "a")
	s.regress(replica)
	before := s.lookup("k")
	s = s.crashed()
	s.same("the row", s.lookup("k"), before)
	s.regressed(map[string]string{replica: "its mark is older"})
	s.verified(replica, true)
	task := s.claimOne(replica)
	if !task.Regressed {
		s.t.Error("the worker is not told")
	}
	s.finish(task, "a", journal.Current)
	s.verified(replica, false)
	s = s.crashed()
	s.regressed(nil)
}
