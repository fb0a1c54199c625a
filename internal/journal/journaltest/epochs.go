package journaltest

import (
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/gnew/tandem/internal/journal"
)

func epochTests() []test {
	return []test{
		{"AnIntentOfAnotherEpochOrRegionIsRefused", intentOfAnotherEpoch},
		{"NothingIsOpenedBeforeTheFirstEpoch", intentBeforeTheFirstEpoch},
		{"ACommitUnderAnOldEpochIsRefusedAndItsIntentInDoubt", commitUnderAnOldEpoch},
		{"OneOfManyBeginsTheNextEpoch", oneBeginsTheNextEpoch},
		{"AnEpochThatWasNotBegunLeavesTheState", refusedEpochLeavesTheState},
		{"VersionsRiseOverEpochs", versionsRiseOverEpochs},
		{"TheStateSurvivesACrash", stateSurvivesACrash},
	}
}

func intentOfAnotherEpoch(s *store) {
	ahead, behind, elsewhere := s.intent("k", journal.Put), s.intent("k", journal.Put), s.intent("k", journal.Put)
	ahead.Epoch++
	behind.Epoch--
	elsewhere.Region = replica
	for _, i := range []journal.Intent{ahead, behind, elsewhere} {
		_, err := s.Open(s.t.Context(), i)
		s.refused(err, journal.ErrEpoch)
	}
	s.unknown("k")
}

func intentBeforeTheFirstEpoch(s *store) {
	i := s.intent("k", journal.Put)
	i.Epoch, i.Region = 0, ""
	_, err := s.Open(s.t.Context(), i)
	s.refused(err, journal.ErrEpoch)
}

func commitUnderAnOldEpoch(s *store) {
	v := s.put("overwritten", "old")
	created, overwritten := s.open("created", journal.Put), s.open("overwritten", journal.Put)
	s.promote()
	for _, id := range []int64{created, overwritten, created} {
		_, err := s.Commit(s.t.Context(), id, holds("new"))
		s.refused(err, journal.ErrEpoch)
	}
	o := s.lookup("created")
	if len(o.Intents) != 1 || !o.Intents[0].InDoubt || o.Intents[0].Epoch != 1 || !o.Version.IsZero() || len(o.Copies) != 0 {
		s.t.Errorf("got %+v, want nothing but an intent in doubt", o)
	}
	o = s.lookup("overwritten")
	if len(o.Intents) != 1 || !o.Intents[0].InDoubt || o.Version != v || o.ETag != "old" {
		s.t.Errorf("got %+v, want the old version and an intent in doubt", o)
	}
}

func oneBeginsTheNextEpoch(s *store) {
	var begun atomic.Int64
	var winner atomic.Value
	atOnce(8, func(i int) {
		region := "region-" + strconv.Itoa(i)
		state, err := s.BeginEpoch(s.t.Context(), 1, region)
		switch {
		case err == nil:
			begun.Add(1)
			winner.Store(region)
			if state.Epoch != 2 || state.Active != region {
				s.t.Errorf("began %+v, want epoch 2 with %s", state, region)
			}
		case !errors.Is(err, journal.ErrEpoch):
			s.t.Error(err)
		}
	})
	state, err := s.State(s.t.Context())
	s.ok(err)
	if begun.Load() != 1 || state.Epoch != 2 || state.Active != winner.Load() {
		s.t.Errorf("%d epochs begun, the state is %+v, want the one of %v", begun.Load(), state, winner.Load())
	}
}

func refusedEpochLeavesTheState(s *store) {
	before, err := s.State(s.t.Context())
	s.ok(err)
	for _, after := range []int64{0, 2, -1} {
		_, err := s.BeginEpoch(s.t.Context(), after, replica)
		s.refused(err, journal.ErrEpoch)
	}
	state, err := s.State(s.t.Context())
	s.ok(err)
	s.same("the state", state, before)
}

func versionsRiseOverEpochs(s *store) {
	first := s.put("k", "a")
	s.promote()
	second := s.put("k", "b")
	if first.Epoch != 1 || second.Epoch != 2 || second.Sequence <= first.Sequence || second.Compare(first) <= 0 {
		s.t.Errorf("got %v, then %v", first, second)
	}
	if o := s.lookup("k"); o.LastRegion != replica || o.Copy(replica).State != journal.Current || o.Copy(active).State != journal.Pending {
		s.t.Errorf("got %+v, want the new active current, the old one pending", o)
	}
}

func stateSurvivesACrash(s *store) {
	s.promote()
	before, err := s.State(s.t.Context())
	s.ok(err)
	if before.JournalID == "" || before.BeganAt.IsZero() {
		s.t.Errorf("got %+v, want an id and a time", before)
	}
	s = s.crashed()
	after, err := s.State(s.t.Context())
	s.ok(err)
	s.same("the state", after, before)
}
