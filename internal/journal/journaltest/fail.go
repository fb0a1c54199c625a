package journaltest

import (
	"strconv"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

func failTests() []test {
	return []test{
		{"AFailedCopyIsTriedAgain", failPending},
		{"AnUnreplicableCopyIsListedAndNotTried", failUnreplicable},
		{"AMissingCopyHoldsNothing", failMissing},
		{"ANewVersionIsTriedWhateverBefellTheOld", failBeforeANewVersion},
		{"AFailureOfAnOldVersionDoesNotDelayTheNew", failAfterANewVersion},
		{"ASourceThatChangedUnsettlesTheKey", failSourceChanged},
		{"ASourceThatChangedByAWriteDoesNot", failSourceMovedOn},
		{"AFailureDoesNotUndoWhatWasLearntMeanwhile", failAfterSettle},
		{"AStateThatNoFailureHasIsRefused", failWithAnotherState},
	}
}

func failPending(s *store) {
	s.put("k", "a")
	since := s.copyOf("k", replica).PendingSince
	for attempt := range 3 {
		next := s.now.Add(-time.Duration(attempt+1) * time.Minute)
		s.fail(s.claimOne(replica), journal.Failure{Reason: strconv.Itoa(attempt), NextTry: next})
		s.same("the copy", s.copyOf("k", replica), journal.Copy{
			Region: replica, State: journal.Pending, Attempts: attempt + 1, LastError: strconv.Itoa(attempt), NextTry: next, PendingSince: since,
		})
	}
	s.fail(s.claimOne(replica), journal.Failure{Reason: "refused", State: journal.Pending, NextTry: s.now.Add(long)})
	s.claimNone(replica)
}

func failUnreplicable(s *store) {
	v := s.replicated("k", "a")
	s.put("k", "b")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "SSE-C", State: journal.Unreplicable, NextTry: s.now.Add(-long)})
	s.same("the copy", s.copyOf("k", replica), journal.Copy{
		Region: replica, State: journal.Unreplicable, Version: v, ETag: "a", Attempts: 1, LastError: "SSE-C",
	})
	s.claimNone(replica)
}

func failMissing(s *store) {
	s.replicated("k", "a")
	s.put("k", "b")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "gone", State: journal.Missing})
	s.same("the copy", s.copyOf("k", replica), journal.Copy{Region: replica, State: journal.Missing, Attempts: 1, LastError: "gone"})
	s.claimNone(replica)
}

func failBeforeANewVersion(s *store) {
	for _, state := range []journal.CopyState{journal.Unreplicable, journal.Missing, journal.Pending} {
		s.put("k", "a")
		s.fail(s.claimOne(replica), journal.Failure{Reason: "refused", State: state, NextTry: s.now.Add(long)})
		s.put("k", "b")
		if c := s.copyOf("k", replica); c.State != journal.Pending || c.Attempts != 0 || c.LastError != "" {
			s.t.Errorf("%s: got %+v, want it pending with a clean sheet", state, c)
		}
		s.finish(s.claimOne(replica), "b", journal.Current)
	}
}

func failAfterANewVersion(s *store) {
	for _, state := range []journal.CopyState{journal.Unreplicable, journal.Missing, journal.Pending} {
		s.put("k", "a")
		task := s.claimOne(replica)
		s.put("k", "b")
		s.fail(task, journal.Failure{Reason: "refused", State: state, NextTry: s.now.Add(long)})
		s.finish(s.claimOne(replica), "b", journal.Current)
	}
}

func failSourceChanged(s *store) {
	v := s.put("k", "a")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "the source is another", SourceChanged: true, NextTry: s.now.Add(-long)})
	o := s.lookup("k")
	if !o.Unsettled || o.DeleteSeen || o.Version != v || o.Copy(replica).LastError == "" {
		s.t.Errorf("got %+v, want it unsettled at %v", o, v)
	}
	s.settle(s.found("k", "a"), journal.Stand)
	s.finish(s.claimOne(replica), "a", journal.Current)
}

func failSourceMovedOn(s *store) {
	s.put("k", "a")
	task := s.claimOne(replica)
	s.put("k", "b")
	s.fail(task, journal.Failure{Reason: "the source is another", SourceChanged: true})
	if s.lookup("k").Unsettled {
		s.t.Error("the key is unsettled by what was found of an older version")
	}
}

// While a repair of the active is under way, the key is read again there.
func failAfterSettle(s *store) {
	for _, state := range []journal.CopyState{journal.Pending, journal.Unreplicable, journal.Missing} {
		key := "k " + string(state)
		v, task := s.missing(key, "a")
		s.doubt(s.repair(key))
		s.settle(s.found(key, "a"), journal.Stand)
		s.fail(task, journal.Failure{Reason: "no answer", State: state, NextTry: s.now.Add(long)})
		s.same("the copy", s.copyOf(key, active), journal.Copy{Region: active, State: journal.Current, Version: v, ETag: "a"})
		s.request(key, active)
		s.claimOne(active) // the claim was given up
	}
}

func failWithAnotherState(s *store) {
	s.put("k", "a")
	task := s.claimOne(replica)
	for _, state := range []journal.CopyState{journal.Current, journal.Unknown, journal.Abandoned, "nonsense"} {
		s.unchanged("k", func() {
			if err := s.Fail(s.t.Context(), task, journal.Failure{Reason: "x", State: state}); err == nil {
				s.t.Errorf("a failure made the copy %q", state)
			}
		})
	}
	s.finish(task, "a", journal.Current)
}
