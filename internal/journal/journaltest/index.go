package journaltest

import (
	"fmt"

	"github.com/gnew/tandem/internal/journal"
)

func indexTests() []test {
	return []test{
		{"AKeyWithoutRowOrIntentIsNotFound", notFound},
		{"AKeyWithOnlyAnIntentHasNoVersion", onlyIntents},
		{"CopiesAreInTheOrderOfTheirRegions", copiesInOrder},
		{"DifferingHasWhatIsNotCurrentOrContested", differing},
		{"DifferingKeepsItsBounds", differingBounds},
		{"DifferingIsOfOneBucketAndRegion", differingElsewhere},
		{"UnsettledHasWhatIsToBeClosed", unsettled},
		{"UnsettledIsPaged", unsettledPages},
		{"WhatADemotedRegionHasInDoubtIsForSettle", unsettledAfterAPromotion},
		{"LagIsExact", lag},
		{"LagOfNothingIsZero", lagOfNothing},
	}
}

func notFound(s *store) {
	s.put("key", "a")
	for _, key := range []string{"ke", "key2", "KEY", "key\x00"} {
		s.unknown(key)
	}
	_, err := s.Lookup(s.t.Context(), "other", "key")
	s.refused(err, journal.ErrNotFound)
}

func onlyIntents(s *store) {
	first, second := s.open("k", journal.Put), s.open("k", journal.Delete)
	o := s.lookup("k")
	if o.Bucket != bucket || o.Key != "k" || !o.Version.IsZero() || len(o.Copies) != 0 || o.Copy(active).State != journal.Unknown {
		s.t.Errorf("got %+v, want nothing but intents", o)
	}
	if len(o.Intents) != 2 || o.Intents[0].ID != first || o.Intents[1].ID != second {
		s.t.Errorf("got %+v, want %d and %d", o.Intents, first, second)
	}
}

func copiesInOrder(s *store) {
	s.ok(s.Attach(s.t.Context(), bucket, []string{"zeta", third, "aleph"}))
	s.put("k", "a")
	var regions []string
	for _, c := range s.lookup("k").Copies {
		regions = append(regions, c.Region)
	}
	s.same("regions", regions, []string{"aleph", active, replica, third, "zeta"})
}

// everyState makes a key of each state, as seen from the replica.
func (s *store) everyState() {
	s.t.Helper()
	due := journal.Failure{Reason: "refused", NextTry: s.now.Add(long)}
	s.replicated("current", "a")
	s.replicated("deleted there", "a")
	s.del("deleted there")
	s.finish(s.claimOne(replica), "", journal.Current)

	s.put("failing", "aa")
	s.fail(s.claimOne(replica), due)
	s.put("unreplicable", "aaa")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "too large", State: journal.Unreplicable})
	s.put("missing", "aaaa")
	s.fail(s.claimOne(replica), journal.Failure{Reason: "gone", State: journal.Missing})
	s.replicated("overwritten", "a")
	s.put("overwritten", "aaaaa")
	s.claimOne(replica)
	s.put("pending", "aaaaaa")
	s.del("tombstone")
}

func (s *store) differing(region, after, upTo string, limit int) []string {
	s.t.Helper()
	objects, err := s.Differing(s.t.Context(), bucket, region, after, upTo, limit)
	s.ok(err)
	for _, o := range objects {
		s.same("the row of "+o.Key, o, s.lookup(o.Key))
	}
	return keysOf(objects)
}

func differing(s *store) {
	for _, key := range []string{"repaired", "open", "unsettled"} {
		s.replicated(key, "a")
	}
	s.everyState()
	s.repair("repaired")
	s.open("open", journal.Put)
	s.open("only an intent", journal.Delete)
	s.overlapping("unsettled", journal.Put, journal.Put, "b", "c")

	s.same("differing at the replica", s.differing(replica, "", "", 100), []string{
		"failing", "missing", "only an intent", "open", "overwritten", "pending", "tombstone", "unreplicable", "unsettled",
	})
	s.same("differing at the active", s.differing(active, "", "", 100), []string{"only an intent", "open", "unsettled"})
}

func differingBounds(s *store) {
	for i := range 9 {
		s.put(fmt.Sprint(i), "a")
	}
	s.same("after 3", s.differing(replica, "3", "", 100), []string{"4", "5", "6", "7", "8"})
	s.same("up to 3", s.differing(replica, "", "3", 100), []string{"0", "1", "2", "3"})
	s.same("after 3, up to 5", s.differing(replica, "3", "5", 100), []string{"4", "5"})
	s.same("after 35, up to 36", s.differing(replica, "35", "36", 100), []string{})
	s.same("after 3, up to 6, two of them", s.differing(replica, "3", "6", 2), []string{"4", "5"})
	s.same("after 8", s.differing(replica, "8", "", 2), []string{})
	var paged []string
	for after := ""; ; {
		page := s.differing(replica, after, "", 2)
		if paged = append(paged, page...); len(page) < 2 {
			break
		}
		after = page[1]
	}
	s.same("pages of two", paged, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8"})
}

func differingElsewhere(s *store) {
	i := s.intent("k", journal.Put)
	i.Bucket = "other"
	s.openIntent(i)
	s.same("differing", s.differing(replica, "", "", 100), []string{})
	s.ok(s.Attach(s.t.Context(), bucket, []string{third}))
	s.put("k", "a")
	s.finish(s.claimOne(replica), "a", journal.Current)
	s.same("differing at the replica", s.differing(replica, "", "", 100), []string{})
	s.same("differing at the third", s.differing(third, "", "", 100), []string{"k"})
}

func unsettled(s *store) {
	s.everyState()
	s.overlapping("unsettled", journal.Put, journal.Put, "b", "c")
	s.open("open", journal.Put)
	s.doubtful("in doubt", journal.Put)
	s.put("repaired", "a")
	s.doubt(s.repair("repaired"))
	s.overlapping("both", journal.Put, journal.Put, "b", "c")
	s.doubtful("both", journal.Delete)
	objects, err := s.Unsettled(s.t.Context(), bucket, "", 100)
	s.ok(err)
	s.same("unsettled", keysOf(objects), []string{"both", "in doubt", "repaired", "unsettled"})
	for _, o := range objects {
		s.same("the row of "+o.Key, o, s.lookup(o.Key))
	}
}

func unsettledPages(s *store) {
	for _, key := range []string{"e", "b", "d"} {
		s.doubtful(key, journal.Put)
	}
	for _, key := range []string{"a", "c"} {
		s.overlapping(key, journal.Put, journal.Put, "a", "b")
	}
	page := func(after string, limit int, want ...string) {
		s.t.Helper()
		objects, err := s.Unsettled(s.t.Context(), bucket, after, limit)
		s.ok(err)
		s.same("unsettled after "+after, keysOf(objects), want)
	}
	page("", 2, "a", "b")
	page("b", 2, "c", "d")
	page("d", 2, "e")
	page("e", 2)
	objects, err := s.Unsettled(s.t.Context(), "other", "", 2)
	s.ok(err)
	s.same("unsettled elsewhere", keysOf(objects), []string{})
}

func unsettledAfterAPromotion(s *store) {
	s.overlapping("overlapped", journal.Put, journal.Put, "a", "b")
	s.doubtful("in doubt there", journal.Put)
	s.promote()
	s.doubtful("in doubt here", journal.Put)
	objects, err := s.Unsettled(s.t.Context(), bucket, "", 10)
	s.ok(err)
	s.same("unsettled", keysOf(objects), []string{"in doubt here", "in doubt there", "overlapped"})
}

func (s *store) lag(region string) journal.Lag {
	s.t.Helper()
	l, err := s.Lag(s.t.Context(), bucket, region)
	s.ok(err)
	return l
}

func lag(s *store) {
	s.everyState()
	s.open("open", journal.Put)
	s.same("lag of the replica", s.lag(replica), journal.Lag{
		Keys: 5, Bytes: 200 + 400 + 500 + 600, OldestPending: s.copyOf("failing", replica).PendingSince, Failing: 1, Unreplicable: 1,
	})
	s.same("lag of the active", s.lag(active), journal.Lag{})

	// A copy that is claimed still waits; one that is made does not.
	for _, task := range s.claim(replica, 10, long) {
		s.finish(task, task.Object.ETag, journal.Current)
	}
	s.same("keys once the rest is copied", s.lag(replica).Keys, int64(3)) // failing, missing, and overwritten, which another has claimed
	s.put("failing", "a")
	s.same("failing, once there is a new version", s.lag(replica).Failing, int64(0))
}

func lagOfNothing(s *store) {
	s.replicated("k", "a")
	for _, region := range []string{active, replica, "never attached"} {
		s.same("lag of "+region, s.lag(region), journal.Lag{})
	}
}
