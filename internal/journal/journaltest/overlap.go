package journaltest

import (
	"strings"

	"github.com/gnew/tandem/internal/journal"
)

// history is one of a single key: p1 and d1 begin the put or delete 1, c1 commits
// it, q1 puts it in doubt, a1 says it was not applied.
type history struct {
	name, steps string
	// settled has a + for each commit that is, a - for each that is not.
	settled string
	// unsettled and deleteSeen are the row's at the end.
	unsettled, deleteSeen bool
}

func histories() []history {
	return []history{
		{"one after the other", "p1 c1 p2 c2", "++", false, false},
		{"both begun before either committed", "p1 p2 c1 c2", "--", true, false},
		{"committed in the other order", "p1 p2 c2 c1", "--", true, false},
		{"three at once", "p1 p2 p3 c2 c3 c1", "---", true, false},
		{"a chain", "p1 p2 c1 p3 c2 p4 c3 c4", "----", true, false},
		{"begun before the first commit, committed after the last", "p1 p2 c2 p3 c3 c1", "---", true, false},
		{"begun after both, committed between them", "p1 p2 c1 p3 c3 c2", "---", true, false},
		{"a later one that overlaps with nothing", "p1 p2 c1 c2 p3 c3", "--+", false, false},
		{"the other was not applied", "p1 p2 a1 c2", "+", false, false},
		{"the other was not applied, as it turned out", "p1 p2 c2 a1", "-", true, false},
		{"the other is in doubt", "p1 q1 p2 c2", "-", true, false},
		{"in doubt and then known", "p1 q1 c1", "+", false, false},
		{"in doubt and then known, with another between", "p1 q1 p2 c2 c1", "--", true, false},
		{"a delete after a put", "p1 c1 d2 c2", "++", false, false},
		{"a delete that commits last", "p1 d2 c1 c2", "--", true, true},
		{"a delete that commits first", "p1 d2 c2 c1", "--", true, true},
		{"two deletes", "d1 d2 c1 c2", "--", true, true},
		{"a delete among three", "p1 d2 p3 c2 c1 c3", "---", true, true},
		{"a delete that was not applied", "p1 d2 c1 a2", "-", true, false},
		{"a put after a delete that overlapped", "p1 d2 c1 c2 p3 c3", "--+", false, false},
		{"overlapping puts after a delete", "d1 c1 p2 p3 c2 c3", "+--", true, false},
	}
}

func overlapTests() []test {
	tests := []test{
		{"OtherKeysDoNotOverlap", otherKeysDoNotOverlap},
		{"AnUnsettledKeyIsContestedUntilReadAgain", unsettledUntilReadAgain},
		{"ARegionThatIsNoLongerTheActiveDoesNotOverlap", demotedRegionDoesNotOverlap},
	}
	for _, h := range histories() {
		tests = append(tests, test{"In/" + strings.ReplaceAll(h.name, " ", "_"), func(s *store) {
			got := s.play(h.steps)
			o := s.lookup("k")
			if got != h.settled || o.Unsettled != h.unsettled || o.DeleteSeen != h.deleteSeen {
				s.t.Errorf("%s: got %q, unsettled %t, delete seen %t; want %q, %t, %t",
					h.steps, got, o.Unsettled, o.DeleteSeen, h.settled, h.unsettled, h.deleteSeen)
			}
		}})
	}
	return tests
}

// play runs a history and says which of its commits are settled.
func (s *store) play(steps string) string {
	s.t.Helper()
	var settled strings.Builder
	ids := make(map[string]int64)
	var last journal.Version
	for step := range strings.FieldsSeq(steps) {
		verb, write := step[:1], step[1:]
		switch verb {
		case "p":
			ids[write] = s.open("k", journal.Put)
		case "d":
			ids[write] = s.open("k", journal.Delete)
		case "a":
			s.abandon(ids[write])
		case "q":
			s.doubt(ids[write])
		case "c":
			c := s.commit(ids[write], "etag-"+write)
			if o := s.lookup("k"); c.Version.Compare(last) <= 0 || o.Version != c.Version || o.Contested(active) != !c.Settled {
				s.t.Fatalf("%s of %q: got %+v after %v, row %+v", step, steps, c, last, o)
			}
			last = c.Version
			settled.WriteString(map[bool]string{true: "+", false: "-"}[c.Settled])
		}
	}
	return settled.String()
}

func otherKeysDoNotOverlap(s *store) {
	id1, id2 := s.open("k1", journal.Put), s.open("k2", journal.Delete)
	elsewhere := s.intent("k1", journal.Put)
	elsewhere.Bucket = "other"
	id3 := s.openIntent(elsewhere)
	s.settled(s.commit(id2, ""))
	s.settled(s.commit(id3, "a"))
	s.settled(s.commit(id1, "a"))
}

func unsettledUntilReadAgain(s *store) {
	s.overlapping("k", journal.Put, journal.Put, "a", "b")
	s.finish(s.claimOne(replica), "b", journal.Pending)
	s.settle(s.found("k", "b"), journal.Stand)
	if o := s.lookup("k"); o.Contested(active) || o.DeleteSeen {
		s.t.Errorf("got %+v, want it settled", o)
	}
	s.put("k", "c")
}

// What is under way in the old active says nothing of the order in the new one.
func demotedRegionDoesNotOverlap(s *store) {
	s.doubtful("k", journal.Put)
	s.promote()
	s.settled(s.commit(s.open("k", journal.Put), "b"))
}
