package journaltest

import (
	"time"

	"github.com/gnew/tandem/internal/journal"
)

func finishTests() []test {
	tests := []test{
		{"AFinishedCopyIsCurrent", finishCurrent},
		{"ACopyOfAKeyThatMovedOnIsDueAgain", finishMoved},
		{"ACopyOfAContestedKeyIsNotCurrent", finishContested},
		{"ACopyIntoWhatBecameTheActiveDoesNotUndoItsWrite", finishAfterAPromotion},
		{"ACopyThatWasMissingIsCurrentOnceMade", finishMissing},
		{"ALateCopyIsToldToTheNextWorker", lateCopyIsTold},
		{"ACopyIsCurrentOnceNoLateOneCanLand", lateCopyIsOver},
	}
	for _, l := range lateCopies() {
		tests = append(tests, test{"Late/" + l.name, l.run})
	}
	return tests
}

func finishCurrent(s *store) {
	v := s.put("k", "a")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "refused", NextTry: s.now.Add(-long)})
	// The region may have an ETag of its own for the same bytes.
	s.finish(s.claimOne(replica), "a of "+replica, journal.Current)
	s.same("the copy", s.copyOf("k", replica), journal.Copy{Region: replica, State: journal.Current, Version: v, ETag: "a of " + replica})
	s.claimNone(replica)
	s.same("due", s.nextDue(replica), time.Time{})
}

func finishMoved(s *store) {
	v := s.put("k", "a")
	task := s.claimOne(replica)
	s.put("k", "b")
	s.finish(task, "a", journal.Pending)
	c := s.copyOf("k", replica)
	if c.Version != v || c.ETag != "a" || c.PendingSince.IsZero() {
		s.t.Errorf("got %+v, want it pending, holding %v", c, v)
	}
	s.finish(s.claimOne(replica), "b", journal.Current)
}

func finishContested(s *store) {
	contested := map[string]func(){
		"open":      func() { s.open("k", journal.Put) },
		"in doubt":  func() { s.doubtful("k", journal.Delete) },
		"unsettled": func() { s.overlapping("k", journal.Put, journal.Put, "b", "a") },
	}
	for name, contest := range contested {
		v := s.put("k", "a")
		if name == "unsettled" {
			contest()
			v = s.lookup("k").Version
		}
		task := s.claimOne(replica)
		if name != "unsettled" {
			contest()
		}
		s.finish(task, "a", journal.Pending)
		c := s.copyOf("k", replica)
		if c.Version != v || c.ETag != "a" || c.LastError == "" || c.Attempts != 0 || !c.NextTry.After(s.now) {
			s.t.Errorf("%s: got %+v, want it pending with a reason, holding %v, due later", name, c, v)
		}
		for _, i := range s.lookup("k").Intents {
			s.doubt(i.ID)
		}
		s.settle(s.found("k", "c"), journal.Adopted)
		s.finish(s.claimOne(replica), "c", journal.Current)
	}
}

// A copy to the replica is under way; the replica is promoted and takes a write.
func finishAfterAPromotion(s *store) {
	s.put("finished", "a")
	finished := s.claimOne(replica)
	s.put("failed", "a")
	failed := s.claimOne(replica)
	s.promote()
	s.put("finished", "b")
	s.put("failed", "b")
	s.unchanged("finished", func() { s.finish(finished, "a", journal.Current) })
	s.unchanged("failed", func() {
		s.fail(failed, journal.Failure{Reason: "refused", NextTry: s.now.Add(long)})
	})
	for _, key := range []string{"finished", "failed"} {
		o := s.lookup(key)
		if c := o.Copy(replica); c.State != journal.Current || c.Version != o.Version || c.ETag != "b" {
			s.t.Errorf("%s: got %+v, want the write it took", key, c)
		}
	}
}

// A repair is under way; the key is read again before it has landed.
func finishMissing(s *store) {
	v, task := s.missing("finished", "a")
	s.doubtful("finished", journal.Put)
	s.settle(s.absent("finished"), journal.Rewrite)
	s.finish(task, "a", journal.Current)
	s.same("the copy", s.copyOf("finished", active), journal.Copy{Region: active, State: journal.Current, Version: v, ETag: "a"})

	s.missing("failed", "a")
	again := s.claim(active, 1, long)
	if len(again) != 0 {
		s.t.Fatalf("claimed %+v twice", again)
	}
}

func lateCopyIsTold(s *store) {
	s.put("k", "a")
	late := journal.LateCopy{Expects: "", ETag: "a", Until: s.now.Add(long)}
	over := journal.LateCopy{Expects: "", ETag: "z", Until: s.now.Add(-long)}
	for _, l := range []*journal.LateCopy{&over, &late} {
		s.fail(s.claimOne(replica), journal.Failure{Reason: "no answer", NextTry: s.now.Add(-long), Late: l})
	}
	s.put("k", "b")
	// What is over cannot land any more, but may have.
	s.same("late copies", s.claimOne(replica).Late, []journal.LateCopy{over, late})
	s.put("other", "a")
	s.same("late copies of another key", s.claimOne(replica).Late, []journal.LateCopy{})
}

func lateCopyIsOver(s *store) {
	s.put("k", "a")
	late := &journal.LateCopy{Expects: journal.AnyETag, ETag: "a", Until: time.Now().Add(200 * time.Millisecond)}
	s.fail(s.claimOne(replica), journal.Failure{Reason: "no answer", NextTry: s.now.Add(-long), Late: late})
	s.finish(s.claimOne(replica), "a", journal.Pending)
	s.eventually("the copy is current", func() bool {
		for _, task := range s.claim(replica, 1, long) {
			state, err := s.Finish(s.t.Context(), task, "a")
			s.ok(err)
			return state == journal.Current
		}
		return false
	})
}

// lateCopy is a history in which a copy is not answered and the key is brought to a
// state by a later one. The replica holds "a" at first.
type lateCopy struct {
	name string
	// expects is the ETag at which the region would apply the late copy.
	expects string
	// then is the write after which the copy is made again; holds is what it leaves.
	then  func(s *store)
	holds string
	want  journal.CopyState
}

func lateCopies() []lateCopy {
	put := func(etag string) func(*store) { return func(s *store) { s.put("k", etag) } }
	del := func(s *store) { s.del("k") }
	return []lateCopy{
		{"finds_another_etag_than_it_expects", "a", put("c"), "c", journal.Current},
		{"finds_the_etag_it_expects", "a", put("a"), "a", journal.Pending},
		{"finds_the_object_absent", "a", del, "", journal.Current},
		{"expects_absence_and_finds_it", "", del, "", journal.Pending},
		{"expects_absence_and_finds_an_object", "", put("c"), "c", journal.Current},
		{"expects_nothing_in_particular", journal.AnyETag, put("c"), "c", journal.Pending},
		{"expects_nothing_in_particular_and_finds_nothing", journal.AnyETag, del, "", journal.Pending},
	}
}

func (l lateCopy) run(s *store) {
	s.replicated("k", "a")
	s.put("k", "b")
	until := s.now.Add(long)
	s.fail(s.claimOne(replica), journal.Failure{
		Reason: "no answer", NextTry: s.now.Add(-long), Late: &journal.LateCopy{Expects: l.expects, ETag: "b", Until: until},
	})
	l.then(s)
	task := s.claimOne(replica)
	s.finish(task, l.holds, l.want)
	if l.want == journal.Current {
		return
	}
	c := s.copyOf("k", replica)
	if c.Version != task.Object.Version || c.ETag != l.holds || c.LastError == "" || c.NextTry != until {
		s.t.Errorf("got %+v, want it due when the late copy is over, with a reason", c)
	}
	// The next state is one on which the late copy cannot land.
	if l.expects != journal.AnyETag {
		s.put("k", "safe")
		s.finish(s.claimOne(replica), "safe", journal.Current)
	}
}
