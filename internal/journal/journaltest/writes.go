package journaltest

import (
	"strconv"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

func writeTests() []test {
	return []test{
		{"AnIntentIsKeptAsItWasOpened", intentIsKept},
		{"ACommitMakesTheActiveCurrentAndTheOthersPending", commitInOneStep},
		{"NobodySeesHalfACommit", nobodySeesHalfACommit},
		{"VersionsStrictlyRiseOverConcurrentCommits", versionsStrictlyRise},
		{"AnOverwriteKeepsWhatTheTargetHolds", overwriteKeepsWhatTheTargetHolds},
		{"PendingSinceIsWhenTheCopyLastWasCurrent", pendingSince},
		{"ADeleteMakesATombstone", deleteMakesATombstone},
		{"ARecreatedKeyIsNew", recreatedKeyIsNew},
		{"AbandonLeavesNothing", abandonLeavesNothing},
		{"AWriteInDoubtMayStillCommit", doubtThenCommit},
		{"ACommitWithoutItsIntentIsRefused", commitWithoutIntent},
		{"AnIdIsNeverUsedTwice", idsAreNotReused},
		{"WhatIsGoneIsLeftAlone", goneIntentsAreLeftAlone},
		{"DoubtEndsNoLaterThanSaid", doubtEndsNoLaterThanSaid},
		{"AMissingCopyIsMarkedOnlyAtItsVersion", markMissing},
	}
}

func intentIsKept(s *store) {
	want := s.intent("k", journal.Repair)
	want.OpenedAt, want.DoubtUntil = s.now.Add(-time.Minute), s.now.Add(time.Minute)
	want.Restores, want.Brings, want.Displaces = s.put("k", "a"), "a", "b"
	want.ID = s.openIntent(want)
	s.same("the intents", s.lookup("k").Intents, []journal.Intent{want})
	s.doubt(want.ID)
	want.InDoubt = true
	s.same("the intents", s.lookup("k").Intents, []journal.Intent{want})
}

func commitInOneStep(s *store) {
	s.ok(s.Attach(s.t.Context(), bucket, []string{third}))
	id := s.open("k", journal.Complete)
	o := s.lookup("k")
	if !o.Version.IsZero() || len(o.Copies) != 0 || len(o.Intents) != 1 || !o.Contested(active) {
		s.t.Errorf("before the commit: got %+v, want nothing but the intent", o)
	}
	c := s.commit(id, "a")
	o = s.lookup("k")
	due := o.Copy(replica).NextTry
	if o.CreatedAt.IsZero() || o.CreatedAt != o.UpdatedAt || due.IsZero() || due.After(time.Now().Add(time.Minute)) {
		s.t.Errorf("times: created %v, updated %v, due %v", o.CreatedAt, o.UpdatedAt, due)
	}
	pending := func(region string) journal.Copy {
		return journal.Copy{Region: region, State: journal.Pending, NextTry: due, PendingSince: due}
	}
	s.same("the row", o, &journal.Object{
		Bucket: bucket, Key: "k", Version: c.Version, Operation: journal.Complete, ETag: "a", Size: 100, ContentType: "text/a",
		LastRegion: active, CreatedAt: o.CreatedAt, UpdatedAt: o.CreatedAt,
		Copies: []journal.Copy{
			{Region: active, State: journal.Current, Version: c.Version, ETag: "a"}, pending(replica), pending(third),
		},
	})
	if !c.Settled || o.Contested(active) {
		s.t.Error("the key is not settled")
	}
}

func nobodySeesHalfACommit(s *store) {
	s.put("k", "a")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				o, err := s.Lookup(s.t.Context(), bucket, "k")
				if err != nil {
					s.t.Error(err)
					return
				}
				a := o.Copy(active)
				if a.State != journal.Current || a.Version != o.Version || a.ETag != o.ETag || o.Copy(replica).State != journal.Pending {
					s.t.Errorf("got %+v", o)
					return
				}
			}
		})
	}
	for i := range 40 {
		s.put("k", "etag-"+strconv.Itoa(i))
	}
	close(done)
	readers.Wait()
}

func versionsStrictlyRise(s *store) {
	var mu sync.Mutex
	seen := make(map[journal.Version]bool)
	atOnce(16, func(i int) {
		var last journal.Version
		for range 10 {
			in := journal.Intent{
				Bucket: bucket, Key: strconv.Itoa(i), Region: active, Operation: journal.Put, Epoch: 1, OpenedAt: s.now, DoubtUntil: s.now,
			}
			id, err := s.Open(s.t.Context(), in)
			if err != nil {
				s.t.Error(err)
				return
			}
			c, err := s.Commit(s.t.Context(), id, holds("a"))
			if err != nil || c.Version.Compare(last) <= 0 || !c.Settled {
				s.t.Errorf("after %v: got %+v, %v", last, c, err)
				return
			}
			last = c.Version
			mu.Lock()
			if seen[last] {
				s.t.Errorf("version %v was given twice", last)
			}
			seen[last] = true
			mu.Unlock()
		}
	})
}

func overwriteKeepsWhatTheTargetHolds(s *store) {
	v1 := s.replicated("k", "a")
	v2 := s.put("k", "b")
	holdsOld := func(c journal.Copy) {
		s.t.Helper()
		if c.State != journal.Pending || c.Version != v1 || c.ETag != "a" || c.Attempts != 0 || c.LastError != "" {
			s.t.Errorf("got %+v, want it pending, holding %v", c, v1)
		}
	}
	holdsOld(s.copyOf("k", replica))
	v3 := s.del("k")
	holdsOld(s.copyOf("k", replica))
	task := s.claimOne(replica)
	holdsOld(task.Target())
	if task.Object.Version != v3 || !task.Object.Deleted || v3.Compare(v2) <= 0 {
		s.t.Errorf("claimed %+v, want the tombstone %v", task.Object, v3)
	}
	s.finish(task, "", journal.Current)
	s.same("the copy", s.copyOf("k", replica), journal.Copy{Region: replica, State: journal.Current, Version: v3})
}

func pendingSince(s *store) {
	s.put("k", "a")
	since := s.copyOf("k", replica).PendingSince
	s.put("k", "b")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "refused", NextTry: s.now.Add(-long)})
	s.put("k", "c")
	c := s.copyOf("k", replica)
	if c.PendingSince != since || c.Attempts != 0 || c.LastError != "" {
		s.t.Errorf("got %+v, want it pending since %v, with a clean sheet for the new version", c, since)
	}
	s.finish(s.claimOne(replica), "c", journal.Current)
	s.put("k", "d")
	if again := s.copyOf("k", replica).PendingSince; !again.After(since) {
		s.t.Errorf("pending since %v, want later than %v: it was current meanwhile", again, since)
	}
}

func deleteMakesATombstone(s *store) {
	s.put("k", "a")
	v := s.settled(s.commit(s.open("k", journal.Delete), "what a region says of a delete"))
	o := s.lookup("k")
	if !o.Deleted || o.Version != v || o.ETag != "" || o.Size != 0 || o.ContentType != "" || o.Operation != journal.Delete {
		s.t.Errorf("got %+v, want a tombstone", o)
	}
	s.same("the active's copy", o.Copy(active), journal.Copy{Region: active, State: journal.Current, Version: v})

	s.del("never written")
	if o := s.lookup("never written"); !o.Deleted || o.Copy(replica).State != journal.Pending {
		s.t.Errorf("got %+v, want a tombstone that is brought to the others too", o)
	}
}

func recreatedKeyIsNew(s *store) {
	s.put("k", "a")
	created := s.lookup("k").CreatedAt
	s.put("k", "b")
	o := s.lookup("k")
	if o.CreatedAt != created || !o.UpdatedAt.After(created) {
		s.t.Errorf("overwritten: created %v and updated %v, want created %v", o.CreatedAt, o.UpdatedAt, created)
	}
	s.del("k")
	if o = s.lookup("k"); o.CreatedAt != created {
		s.t.Errorf("deleted: created %v, want %v", o.CreatedAt, created)
	}
	deleted := o.UpdatedAt
	s.put("k", "c")
	if o = s.lookup("k"); !o.CreatedAt.After(deleted) || o.CreatedAt != o.UpdatedAt || o.Deleted {
		s.t.Errorf("created anew: %+v, want it created after %v", o, deleted)
	}
}

func abandonLeavesNothing(s *store) {
	s.abandon(s.open("new", journal.Put))
	s.unknown("new")
	s.put("old", "a")
	s.unchanged("old", func() { s.abandon(s.open("old", journal.Delete)) })
	s.unchanged("old", func() { s.abandon(s.doubtful("old", journal.Delete)) })
	s.put("old", "b")
}

func doubtThenCommit(s *store) {
	id := s.doubtful("k", journal.Put)
	s.doubt(id)
	if o := s.lookup("k"); !o.Contested(active) || !o.Intents[0].InDoubt {
		s.t.Errorf("got %+v, want an intent in doubt", o)
	}
	s.settled(s.commit(id, "a"))
	if o := s.lookup("k"); o.ETag != "a" || o.Contested(active) {
		s.t.Errorf("got %+v, want it written and settled", o)
	}
}

func commitWithoutIntent(s *store) {
	refused := func(id int64) {
		s.t.Helper()
		_, err := s.Commit(s.t.Context(), id, holds("b"))
		s.refused(err, journal.ErrNoIntent)
	}
	committed := s.open("k", journal.Put)
	s.commit(committed, "a")
	s.unchanged("k", func() { refused(committed) })

	abandoned := s.open("k", journal.Put)
	s.abandon(abandoned)
	s.unchanged("k", func() { refused(abandoned) })

	closed := s.doubtful("k", journal.Delete)
	s.settle(s.absent("k"), journal.Deleted)
	s.unchanged("k", func() { refused(closed) })
	refused(closed + 1000)
}

func idsAreNotReused(s *store) {
	first := s.open("k", journal.Put)
	s.abandon(first)
	second := s.open("k", journal.Put)
	s.abandon(second)
	third := s.crashed().open("k", journal.Put)
	if first == second || second == third || first == third {
		s.t.Errorf("got ids %d, %d and %d", first, second, third)
	}
}

func doubtEndsNoLaterThanSaid(s *store) {
	id := s.open("k", journal.Put)
	asOpened := s.lookup("k").Intents[0].DoubtUntil
	sooner := asOpened.Add(-time.Second)
	for _, step := range []struct{ until, want time.Time }{
		{time.Time{}, asOpened}, {asOpened.Add(long), asOpened}, {sooner, sooner}, {time.Time{}, sooner},
	} {
		s.ok(s.Doubt(s.t.Context(), id, step.until))
		i := s.lookup("k").Intents[0]
		if !i.InDoubt || !i.DoubtUntil.Equal(step.want) {
			s.t.Errorf("got %+v, want it in doubt until %v", i, step.want)
		}
	}
}

func goneIntentsAreLeftAlone(s *store) {
	id := s.open("k", journal.Put)
	s.commit(id, "a")
	s.unchanged("k", func() {
		s.abandon(id)
		s.doubt(id)
	})
}

func markMissing(s *store) {
	v1 := s.replicated("k", "a")
	mark := func(region string, v journal.Version) {
		s.t.Helper()
		s.ok(s.MarkMissing(s.t.Context(), bucket, "k", region, v))
	}
	s.open("k", journal.Delete)
	s.unchanged("k", func() { mark(active, v1) }) // it may just have been applied
	s.abandon(s.lookup("k").Intents[0].ID)

	mark(active, v1)
	missing := s.copyOf("k", active)
	if missing.State != journal.Missing || missing.ETag != "" || missing.LastError == "" {
		s.t.Errorf("got %+v, want it missing, with a reason", missing)
	}
	mark(active, v1)
	s.same("the copy, marked twice", s.copyOf("k", active), missing)
	if s.copyOf("k", replica).State != journal.Current {
		s.t.Error("the replica's copy was marked too")
	}
	mark(replica, v1)
	if task := s.claimOne(replica); task.Target().ETag != "" || task.Target().LastError == "" {
		s.t.Errorf("got %+v, want the replica's copy in the queue, with a reason", task.Target())
	}

	s.put("k", "b")
	s.unchanged("k", func() {
		mark(active, v1)
		mark(replica, v1) // holds it no more, and is in the queue for the next
	})
	dead := s.del("k")
	s.unchanged("k", func() { mark(active, dead) })
	s.ok(s.MarkMissing(s.t.Context(), bucket, "unknown", active, v1))
	s.unknown("unknown")
}
