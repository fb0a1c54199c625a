package journaltest

import (
	"strconv"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

func crashTests() []test {
	return []test{
		{"NothingAcknowledgedIsLost", nothingIsLost},
		{"OpenIntentsAreInDoubtAfterwards", openIntentsAreInDoubt},
		{"ClaimsAreTakenUpAgain", claimsAreTakenUp},
		{"CopiesInFlightAreRemembered", copiesInFlightAreRemembered},
		{"LateCopiesAreRemembered", lateCopiesAreRemembered},
		{"VersionsStillRise", versionsRiseAfterACrash},
		{"AWriteFromBeforeMayBeSettledAfterwards", settleAfterACrash},
	}
}

func nothingIsLost(s *store) {
	s.everyState()
	var mu sync.Mutex
	versions := make(map[string]journal.Version)
	atOnce(8, func(i int) {
		for n := range 5 {
			key := strconv.Itoa(i) + "-" + strconv.Itoa(n)
			in := journal.Intent{Bucket: bucket, Key: key, Region: active, Operation: journal.Put, Epoch: 1, DoubtUntil: s.now}
			id, err := s.Open(s.t.Context(), in)
			if err != nil {
				s.t.Error(err)
				return
			}
			c, err := s.Commit(s.t.Context(), id, holds("a"))
			if err != nil {
				s.t.Error(err)
				return
			}
			mu.Lock()
			versions[key] = c.Version
			mu.Unlock()
		}
	})
	var keys []string
	for key := range versions {
		keys = append(keys, key)
	}
	keys = append(keys, "current", "deleted there", "failing", "missing", "overwritten", "pending", "tombstone", "unreplicable")
	before := make(map[string]*journal.Object)
	for _, key := range keys {
		before[key] = s.lookup(key)
	}
	s = s.crashed()
	for _, key := range keys {
		o := s.lookup(key)
		s.same(key, o, before[key])
		if v, ok := versions[key]; ok && o.Version != v {
			s.t.Errorf("%s: got version %v, want %v as it was acknowledged", key, o.Version, v)
		}
	}
}

func openIntentsAreInDoubt(s *store) {
	v := s.put("overwritten", "a")
	created, overwritten := s.open("created", journal.Put), s.open("overwritten", journal.Delete)
	s.abandon(s.open("abandoned", journal.Put))
	want := s.lookup("overwritten").Intents[0]
	s = s.crashed()
	s.eventually("the intents are in doubt", func() bool {
		return s.lookup("created").Intents[0].InDoubt && s.lookup("overwritten").Intents[0].InDoubt
	})
	want.InDoubt = true
	o := s.lookup("overwritten")
	s.same("the intents", o.Intents, []journal.Intent{want})
	if o.Version != v || s.lookup("created").Intents[0].ID != created || o.Intents[0].ID != overwritten {
		s.t.Errorf("got %+v, want it at %v", o, v)
	}
	s.unknown("abandoned")
	objects, err := s.Unsettled(s.t.Context(), bucket, "", 10)
	s.ok(err)
	s.same("unsettled", keysOf(objects), []string{"created", "overwritten"})
}

func claimsAreTakenUp(s *store) {
	s.put("k", "a")
	task := s.claim(replica, 1, 100*time.Millisecond)[0]
	s = s.crashed()
	s.eventually("the copy is given again", func() bool { return len(s.claim(replica, 1, long)) == 1 })
	s.refuseAll(task)
}

// The copy was on its way when the process died; it lands after the key was deleted.
func copiesInFlightAreRemembered(s *store) {
	s.put("k", "a")
	s.claimOne(replica)
	s = s.crashed()
	s.del("k")
	task := s.claimOne(replica)
	s.lateClaim(task, "", "a")
	s.finish(task, "", journal.Pending)
}

func lateCopiesAreRemembered(s *store) {
	s.put("k", "a")
	late := journal.LateCopy{Expects: "", ETag: "a", Until: s.now.Add(long)}
	s.fail(s.claimOne(replica), journal.Failure{Reason: "no answer", NextTry: s.now.Add(-long), Late: &late})
	s.del("k")
	s = s.crashed()
	task := s.claimOne(replica)
	s.same("late copies", task.Late, []journal.LateCopy{late})
	s.finish(task, "", journal.Pending)
}

func versionsRiseAfterACrash(s *store) {
	before := s.put("k", "a")
	s.abandon(s.open("k", journal.Put))
	s = s.crashed()
	if after := s.put("k", "b"); after.Compare(before) <= 0 {
		s.t.Errorf("got %v after %v", after, before)
	}
}

// The write began before the crash, and another was acknowledged after it: their
// order in the region is not known.
func settleAfterACrash(s *store) {
	s.open("k", journal.Put)
	s = s.crashed()
	s.eventually("the intent is in doubt", func() bool { return s.lookup("k").Intents[0].InDoubt })
	c := s.commit(s.open("k", journal.Put), "b")
	if c.Settled {
		s.t.Errorf("got %+v, want it not settled", c)
	}
	s.settle(s.within(s.found("k", "b")), journal.Wait)
	s.settle(s.found("k", "x"), journal.Adopted)
	s.adopted("k", "x", journal.Put, c.Version)
}
