package journaltest

import (
	"strconv"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

func claimTests() []test {
	return []test{
		{"ATaskHasAllThatIsKnown", taskHasAllThatIsKnown},
		{"OnlyDueCopiesAreClaimed", onlyDueCopiesAreClaimed},
		{"TheLimitIsKept", claimLimit},
		{"NoCopyIsGivenTwice", noCopyIsGivenTwice},
		{"AClaimSurvivesAnOverwrite", claimSurvivesAnOverwrite},
		{"AClaimEndsWithItsLease", claimEndsWithItsLease},
		{"ARenewedClaimLastsLonger", renewedClaimLasts},
		{"AClaimThatWasTakenOverCountsNoMore", claimTakenOver},
		{"ACopyThatWasNeverClaimedIsNotFinished", neverClaimed},
		{"RequestPutsACopyIntoTheQueueAtOnce", request},
		{"RequestDoesNotGiveUpTheOnlyCopy", requestKeepsTheOnlyCopy},
		{"AClaimThatLapsedIsALateCopy", lapsedClaimIsALateCopy},
		{"WhatWasAnnouncedIsTheLateCopy", announcedCopyIsALateCopy},
		{"AClaimThatLapsedInARegionWithoutConditionsMayLandAnywhere", lapsedClaimWithoutConditions},
		{"HurryMakesWhatHasFailedDueAtOnce", hurry},
		{"NextDueIsExact", nextDue},
		{"NextDueSeesPastManyClaims", nextDueBehindClaims},
	}
}

func taskHasAllThatIsKnown(s *store) {
	s.replicated("k", "a")
	s.put("k", "b")
	s.open("k", journal.Put)
	task := s.claimOne(replica)
	if task.Region != replica || task.Claim == 0 || len(task.Late) != 0 {
		s.t.Errorf("got %+v, want a claim in %s", task, replica)
	}
	s.same("the task's object", &task.Object, s.lookup("k"))
	if target := task.Target(); target.ETag != "a" || target.State != journal.Pending {
		s.t.Errorf("got target %+v, want it pending, holding a", target)
	}
}

func onlyDueCopiesAreClaimed(s *store) {
	s.everyState()
	s.open("open", journal.Put)
	s.same("due", taskKeys(s.claim(replica, 100, long)), []string{"pending", "tombstone"})
	s.claimNone(replica)
	s.claimNone(active)
	tasks, err := s.Claim(s.t.Context(), "other", replica, journal.Claim{Limit: 10, Lease: long, Conditional: true})
	s.ok(err)
	if len(tasks) != 0 {
		s.t.Errorf("claimed %d copies of another bucket", len(tasks))
	}
}

func claimLimit(s *store) {
	for i := range 5 {
		s.put(strconv.Itoa(i), "a")
	}
	for _, want := range []int{2, 2, 1, 0} {
		if got := len(s.claim(replica, 2, long)); got != want {
			s.t.Errorf("claimed %d copies, want %d", got, want)
		}
	}
}

func noCopyIsGivenTwice(s *store) {
	const keys = 60
	for i := range keys {
		s.put(strconv.Itoa(i), "a")
	}
	var mu sync.Mutex
	given := make(map[string]int)
	atOnce(16, func(i int) {
		for {
			tasks, err := s.Claim(s.t.Context(), bucket, replica, journal.Claim{Limit: 1 + i%3, Lease: long, Conditional: true})
			if err != nil {
				s.t.Error(err)
			}
			mu.Lock()
			isTwice := false
			for _, task := range tasks {
				given[task.Object.Key]++
				isTwice = isTwice || given[task.Object.Key] > 1
			}
			mu.Unlock()
			if isTwice {
				s.t.Errorf("%v was given, and one of it before", taskKeys(tasks))
			}
			if isTwice || len(tasks) == 0 {
				return
			}
		}
	})
	if len(given) != keys {
		s.t.Errorf("%d copies were given, want %d", len(given), keys)
	}
}

func claimSurvivesAnOverwrite(s *store) {
	s.put("k", "a")
	task := s.claimOne(replica)
	for _, change := range []func(){
		func() { s.put("k", "b") },
		func() { s.del("k") },
		func() { s.request("k", replica) },
		func() { s.overlapping("k", journal.Put, journal.Put, "c", "d") },
		func() { s.settle(s.found("k", "c"), journal.Adopted) },
	} {
		change()
		s.claimNone(replica)
	}
	s.finish(task, "a", journal.Pending)
	if c := s.copyOf("k", replica); c.Version != task.Object.Version || c.ETag != "a" {
		s.t.Errorf("got %+v, want it to hold what was copied", c)
	}
	if next := s.claimOne(replica); next.Object.ETag != "c" || next.Target().ETag != "a" {
		s.t.Errorf("claimed %+v, want c over a", next)
	}
}

func claimEndsWithItsLease(s *store) {
	s.put("k", "a")
	first := s.claim(replica, 1, time.Millisecond)
	var second []journal.Task
	s.eventually("the copy is given again", func() bool {
		second = s.claim(replica, 1, long)
		return len(second) == 1
	})
	if first[0].Claim == second[0].Claim {
		s.t.Error("both claims are the same")
	}
	s.claimNone(replica)
}

func renewedClaimLasts(s *store) {
	s.put("k", "a")
	task := s.claim(replica, 1, 5*time.Second)[0]
	s.ok(s.Renew(s.t.Context(), task, time.Millisecond))
	s.eventually("the copy is given again", func() bool { return len(s.claim(replica, 1, time.Millisecond)) == 1 })
	s.refused(s.Renew(s.t.Context(), task, long), journal.ErrClaim)

	s.eventually("the copy is given again", func() bool {
		tasks := s.claim(replica, 1, 2*time.Second)
		if len(tasks) == 1 {
			task = tasks[0]
		}
		return len(tasks) == 1
	})
	s.ok(s.Renew(s.t.Context(), task, long))
	due, err := s.NextDue(s.t.Context(), bucket, replica)
	s.ok(err)
	if due.Before(time.Now().Add(long - time.Minute)) {
		s.t.Errorf("due at %v, want it when the longer lease is over", due)
	}
}

func claimTakenOver(s *store) {
	v := s.put("k", "a")
	lapsed := s.claim(replica, 1, time.Millisecond)[0]
	var task journal.Task
	s.eventually("the copy is given again", func() bool {
		tasks := s.claim(replica, 1, long)
		if len(tasks) == 1 {
			task = tasks[0]
		}
		return len(tasks) == 1
	})
	s.unchanged("k", func() { s.refuseAll(lapsed) })
	s.claimNone(replica)
	s.finish(task, "a", journal.Current)
	s.same("the copy", s.copyOf("k", replica), journal.Copy{Region: replica, State: journal.Current, Version: v, ETag: "a"})
	s.unchanged("k", func() { s.refuseAll(task) })
}

// refuseAll checks that the claim counts no more.
func (s *store) refuseAll(task journal.Task) {
	s.t.Helper()
	s.refused(s.Renew(s.t.Context(), task, long), journal.ErrClaim)
	_, err := s.Finish(s.t.Context(), task, "of nobody")
	s.refused(err, journal.ErrClaim)
	s.refused(s.Fail(s.t.Context(), task, journal.Failure{Reason: "late", SourceChanged: true}), journal.ErrClaim)
}

func neverClaimed(s *store) {
	s.put("k", "a")
	task := journal.Task{Region: replica, Object: *s.lookup("k")}
	s.unchanged("k", func() { s.refuseAll(task) })
	task.Object.Key = "unknown"
	s.refuseAll(task)
	task.Claim = 1
	s.refuseAll(task)
	s.unknown("unknown")
}

func request(s *store) {
	ask := func(key string) { s.request(key, replica) }
	s.everyState()
	s.claim(replica, 10, long)
	since := s.copyOf("failing", replica).PendingSince
	s.unchanged("unreplicable", func() { ask("unreplicable") })
	s.claimNone(replica)

	ask("failing")
	task := s.claimOne(replica)
	if c := task.Target(); c.PendingSince != since || c.Attempts != 1 || c.LastError != "refused" {
		s.t.Errorf("got %+v, want it pending since %v, its failure remembered", c, since)
	}
	ask("missing")
	if task = s.claimOne(replica); task.Object.Key != "missing" || task.Target().PendingSince.IsZero() || task.Target().ETag != "" {
		s.t.Errorf("claimed %+v, want the missing one, of which the region has nothing", task)
	}
	v := s.lookup("current").Version
	ask("current")
	if task := s.claimOne(replica); task.Object.Key != "current" || task.Target().Version != v || task.Target().ETag != "a" {
		s.t.Errorf("claimed %+v, want the one that was current, with what it holds", task)
	}
	ask("unknown")
	s.unknown("unknown")
}

// A repair was asked for by a reader that saw an older state of things.
func requestKeepsTheOnlyCopy(s *store) {
	old := s.replicated("k", "a")
	s.put("k", "b")
	s.unchanged("k", func() {
		if s.request("k", active) {
			s.t.Error("the only current copy was given up")
		}
		queued, err := s.Request(s.t.Context(), bucket, "k", active, old)
		s.ok(err)
		if queued {
			s.t.Error("a copy of an older version was asked for, and queued")
		}
	})
}

// A worker is gone, and nobody knows how far it came.
func lapsedClaimIsALateCopy(s *store) {
	s.replicated("k", "a")
	s.put("k", "b")
	s.claim(replica, 1, time.Millisecond)
	var task journal.Task
	s.eventually("the copy is given again", func() bool {
		tasks := s.claim(replica, 1, long)
		if len(tasks) == 1 {
			task = tasks[0]
		}
		return len(tasks) == 1
	})
	s.lateClaim(task, "a", "b")
	s.finish(task, "b", journal.Current)
	// The lapsed one lands where "a" is, and there alone.
	s.put("k", "a")
	s.finish(s.claimOne(replica), "a", journal.Pending)
}

// lateClaim checks what a task is told of the claim before it.
func (s *store) lateClaim(task journal.Task, expects, etag string) {
	s.t.Helper()
	if len(task.Late) != 1 || task.Late[0].Expects != expects || task.Late[0].ETag != etag || !task.Late[0].Until.After(s.now.Add(long/2)) {
		s.t.Errorf("got late copies %+v, want one of %q onto %q that may land for the length of the window", task.Late, etag, expects)
	}
}

// What is copied of a key that is being written is not what the row says.
func announcedCopyIsALateCopy(s *store) {
	s.put("k", "a")
	s.doubtful("k", journal.Put)
	task := s.claim(replica, 1, 2*time.Second)[0]
	s.ok(s.Announce(s.t.Context(), task, "found"))
	s.commit(s.open("k", journal.Put), "b")
	var again journal.Task
	s.eventually("the copy is given again", func() bool {
		tasks := s.claim(replica, 1, long)
		if len(tasks) == 1 {
			again = tasks[0]
		}
		return len(tasks) == 1
	})
	s.lateClaim(again, journal.AnyETag, "found")
	s.refused(s.Announce(s.t.Context(), task, "other"), journal.ErrClaim)
}

func lapsedClaimWithoutConditions(s *store) {
	s.put("k", "a")
	lapse := journal.Claim{Limit: 1, Lease: time.Millisecond, Window: long}
	tasks, err := s.Claim(s.t.Context(), bucket, replica, lapse)
	s.ok(err)
	if len(tasks) != 1 {
		s.t.Fatalf("claimed %d copies, want 1", len(tasks))
	}
	s.eventually("the copy is given again", func() bool {
		tasks = s.claim(replica, 1, long)
		return len(tasks) == 1
	})
	s.lateClaim(tasks[0], journal.AnyETag, "a")
	s.finish(tasks[0], "a", journal.Pending)
}

func (s *store) nextDue(region string) time.Time {
	s.t.Helper()
	due, err := s.NextDue(s.t.Context(), bucket, region)
	s.ok(err)
	return due
}

func hurry(s *store) {
	s.attach(third)
	s.put("k", "a")
	s.put("claimed", "a")
	for _, region := range []string{replica, third} {
		for _, task := range s.claim(region, 10, long) {
			if task.Object.Key == "k" {
				s.fail(task, journal.Failure{Reason: "it is down", NextTry: s.now.Add(long)})
			}
		}
	}
	s.ok(s.Hurry(s.t.Context(), bucket, replica))
	task := s.claimOne(replica)
	if c := task.Target(); task.Object.Key != "k" || c.Attempts != 1 || c.LastError != "it is down" {
		s.t.Errorf("got %+v, want the one that has failed, as it was", task)
	}
	s.claimNone(third)
}

func nextDue(s *store) {
	s.replicated("current", "a")
	s.open("open", journal.Put)
	s.same("due when none waits", s.nextDue(replica), time.Time{})

	s.put("k1", "a")
	s.same("due", s.nextDue(replica), s.copyOf("k1", replica).NextTry)
	task := s.claimOne(replica)
	if due := s.nextDue(replica); due.Before(time.Now().Add(long - time.Minute)) {
		s.t.Errorf("due at %v, want it when the lease is over", due)
	}
	later := s.now.Add(long / 2)
	s.fail(task, journal.Failure{Reason: "refused", NextTry: later})
	s.same("due after a failure", s.nextDue(replica), later)

	s.put("k2", "a")
	s.same("due once more", s.nextDue(replica), s.copyOf("k2", replica).NextTry)
	s.fail(s.claimOne(replica), journal.Failure{Reason: "too large", State: journal.Unreplicable})
	s.same("due after an unreplicable one", s.nextDue(replica), later)

	s.put("k3", "a")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "no time given"})
	if due := s.nextDue(replica); due.IsZero() || due.After(time.Now().Add(time.Minute)) {
		s.t.Errorf("due at %v, want it at once", due)
	}
	s.same("due elsewhere", s.nextDue(active), time.Time{})
}

func nextDueBehindClaims(s *store) {
	const many = 520
	atOnce(50, func(i int) {
		for k := i; k < many; k += 50 {
			in := journal.Intent{Bucket: bucket, Key: strconv.Itoa(k), Region: active, Operation: journal.Put, Epoch: 1, DoubtUntil: s.now}
			id, err := s.Open(s.t.Context(), in)
			if err == nil {
				_, err = s.Commit(s.t.Context(), id, holds("a"))
			}
			if err != nil {
				s.t.Error(err)
			}
		}
	})
	if got := len(s.claim(replica, many, long)); got != many {
		s.t.Fatalf("claimed %d copies, want %d", got, many)
	}
	s.put("due", "a")
	s.same("due", s.nextDue(replica), s.copyOf("due", replica).NextTry)
}
