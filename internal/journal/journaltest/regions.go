package journaltest

import "github.com/gnew/tandem/internal/journal"

func regionTests() []test {
	return []test{
		{"ARegionAttachedLaterIsFilledWithWhatIsKnown", attachedLater},
		{"AttachingAgainChangesNothing", attachedAgain},
		{"AttachConcernsOneBucket", attachConcernsOneBucket},
		{"ComparedRegionsAreKeptForEachBucket", comparedRegions},
		{"ARegionThatIsNotAttachedIsNotCompared", comparedWithoutAttach},
	}
}

func attachedLater(s *store) {
	live := s.put("live", "a")
	s.put("deleted", "a")
	dead := s.del("deleted")
	s.open("begun", journal.Put)
	before := s.lookup("live")
	s.ok(s.Attach(s.t.Context(), bucket, []string{active, replica, third}))

	for key, v := range map[string]journal.Version{"live": live, "deleted": dead} {
		o := s.lookup(key)
		c := o.Copy(third)
		if c.State != journal.Pending || !c.Version.IsZero() || c.ETag != "" || c.PendingSince.IsZero() || o.Version != v {
			s.t.Errorf("%s: got %+v at %v, want a pending copy of %v that holds nothing", key, c, o.Version, v)
		}
	}
	o := s.lookup("live")
	s.same("the other regions' copies", o.Copies[:2], before.Copies)
	s.same("copies of a key that is not written yet", s.lookup("begun").Copies, []journal.Copy{})
	s.same("the region's work", taskKeys(s.claim(third, 10, long)), []string{"deleted", "live"})

	s.put("later", "a")
	if c := s.copyOf("later", third); c.State != journal.Pending {
		s.t.Errorf("a later write: got %+v, want a pending copy", c)
	}
}

func attachedAgain(s *store) {
	s.replicated("copied", "a")
	s.put("failing", "a")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "refused", NextTry: s.now.Add(long)})
	s.unchanged("copied", func() {
		s.unchanged("failing", func() { s.ok(s.Attach(s.t.Context(), bucket, []string{replica, active})) })
	})
}

func attachConcernsOneBucket(s *store) {
	s.put("k", "a")
	s.ok(s.Attach(s.t.Context(), "other", []string{active, third}))
	if c := s.copyOf("k", third); c.State != journal.Unknown {
		s.t.Errorf("got %+v, want it unknown: the region is attached to another bucket", c)
	}
	i := s.intent("k", journal.Put)
	i.Bucket = "other"
	s.commit(s.openIntent(i), "b")
	o, err := s.Lookup(s.t.Context(), "other", "k")
	s.ok(err)
	if len(o.Copies) != 2 || o.Copy(active).State != journal.Current || o.Copy(third).State != journal.Pending || o.ETag != "b" {
		s.t.Errorf("got %+v, want it current in %s and pending in %s", o, active, third)
	}
	if o := s.lookup("k"); o.ETag != "a" {
		s.t.Errorf("got ETag %q, want the one of this bucket", o.ETag)
	}
}

func comparedRegions(s *store) {
	is := func(bucket string, want ...string) {
		s.t.Helper()
		got, err := s.Compared(s.t.Context(), bucket)
		s.ok(err)
		s.same("compared regions of "+bucket, got, want)
	}
	is(bucket)
	s.ok(s.SetCompared(s.t.Context(), bucket, []string{replica}))
	is(bucket, replica)
	s.ok(s.SetCompared(s.t.Context(), bucket, []string{replica, active}))
	is(bucket, active, replica)
	is("other")
	s = s.crashed()
	is(bucket, active, replica)
}

func comparedWithoutAttach(s *store) {
	if err := s.SetCompared(s.t.Context(), bucket, []string{active, third}); err == nil {
		s.t.Error("a region was recorded as compared in a bucket to which it is not attached")
	}
	got, err := s.Compared(s.t.Context(), bucket)
	s.ok(err)
	s.same("compared regions", got, []string{})
	s.put("k", "a")
	s.same("regions of a copy", len(s.lookup("k").Copies), 2)
}
