package journaltest

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/gnew/tandem/internal/journal"
)

func conflictTests() []test {
	return []test{
		{"AWriteOverAnEntryAtRiskIsAConflictWhoseLoserIsToBeKept", writeOverAnEntryAtRisk},
		{"ADeleteOverAnEntryAtRiskIsAConflictToo", deleteOverAnEntryAtRisk},
		{"OfADeleteThatLostThereIsNothingToKeep", writeOverADeleteAtRisk},
		{"AWriteOverWhatWasRecoveredIsNoConflict", writeOverWhatWasRecovered},
		{"AWriteUnderTwoPromotionsLosesOnce", conflictIsFoundOnce},
		{"AnAcknowledgedWriteUnderALateOneIsAConflictWhereAReplicaHasIt", lateOverAnAcknowledged},
		{"ADeleteUnderALateWriteIsAConflict", lateOverADelete},
		{"AKeyWhoseLoserIsInTheActiveRefusesWrites", loserInTheActive},
		{"ATaskHasTheLosersOfItsRegion", taskHasLosers},
		{"KeepClosesTheEntry", keepCloses},
		{"KeepIsRecordedOnce", keptOnce},
		{"ResolveNeedsAKeptLoser", resolveNeedsAKeptLoser},
		{"ALoserThatCannotBeKeptStaysWithTheReason", loserCannotBeKept},
		{"ALoserThatIsGoneIsLost", loserIsGone},
		{"ALoserThatIsGoneIsKeptFromWhoeverHasACopy", loserIsCopied},
		{"ALoserInWhosePlaceTheRegionHoldsTheKeysVersionIsGone", loserReplaced},
		{"ConflictsArePaged", conflictPages},
		{"ConflictsSurviveACrash", conflictsSurviveACrash},
	}
}

func (s *store) conflicts(all bool) []journal.Conflict {
	s.t.Helper()
	list, err := s.Conflicts(s.t.Context(), 0, 10_000, all)
	s.ok(err)
	for _, c := range list {
		one, err := s.Conflict(s.t.Context(), c.ID)
		s.ok(err)
		s.same("the conflict by its id", one, c)
	}
	return list
}

// conflict is the only one that is not resolved.
func (s *store) conflict() journal.Conflict {
	s.t.Helper()
	list := s.conflicts(false)
	if len(list) != 1 {
		s.t.Fatalf("got %d conflicts, want one: %+v", len(list), list)
	}
	return list[0]
}

// loses checks that the only conflict is one of an object that the region holds.
func (s *store) loses(key, etag, region string, loser, winner journal.Version, op journal.Operation) {
	s.t.Helper()
	c, w := s.conflict(), holds(etag)
	s.same("the conflict", c, journal.Conflict{
		ID: c.ID, Bucket: bucket, Key: key, Loser: loser, Winner: winner, Operation: op, ETag: w.ETag, Size: w.Size, ContentType: w.ContentType,
		Region: region, FoundAt: c.FoundAt, State: journal.ConflictFound, KeptKey: keptKey(key, loser),
	})
	if c.FoundAt.IsZero() {
		s.t.Error("the conflict has no time")
	}
}

func keptKey(key string, v journal.Version) string {
	sum := sha256.Sum256([]byte(key))
	return ".tandem/conflicts/" + hex.EncodeToString(sum[:]) + "/" + v.String()
}

// losing is a key of which the old active holds the loser, and the new one the winner.
func (s *store) losing(key string) (loser, winner journal.Version) {
	s.t.Helper()
	loser = s.put(key, "a")
	s.promoted(replica)
	return loser, s.put(key, "b")
}

func writeOverAnEntryAtRisk(s *store) {
	loser, winner := s.losing("k")
	s.loses("k", "a", active, loser, winner, journal.Put)
	s.closed(2, "k", "")
	if o := s.lookup("k"); o.Version != winner || o.ETag != "b" || o.Copy(active).State != journal.Pending || o.Copy(active).ETag != "a" {
		s.t.Errorf("got %+v, want %v, to be copied over a", o, winner)
	}
	s.put("k", "c") // which has seen b
	s.loses("k", "a", active, loser, winner, journal.Put)
}

func deleteOverAnEntryAtRisk(s *store) {
	loser := s.put("k", "a")
	s.promoted(replica)
	winner := s.del("k")
	s.loses("k", "a", active, loser, winner, journal.Put)
}

func writeOverADeleteAtRisk(s *store) {
	s.replicated("k", "a")
	loser := s.del("k")
	s.promoted(replica)
	winner := s.put("k", "b")
	c := s.conflict()
	s.same("the conflict", c, journal.Conflict{
		ID: c.ID, Bucket: bucket, Key: "k", Loser: loser, Winner: winner, Operation: journal.Delete, Deleted: true, Region: active,
		FoundAt: c.FoundAt, State: journal.ConflictKept,
	})
	s.closed(2, "k", journal.InConflict)
	s.points(active, 0, 0)
	s.ok(s.Resolve(s.t.Context(), c.ID, journal.Resolution{Keep: "winner", Actor: "operator"}))
}

func writeOverWhatWasRecovered(s *store) {
	s.put("k", "a")
	s.promoted(replica)
	s.copied(replica)
	s.put("k", "b")
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	s.closed(2, "k", journal.Recovered)
}

func conflictIsFoundOnce(s *store) {
	s.attach(third)
	loser := s.put("k", "a")
	s.promoted(replica)
	s.promoted(third, active)
	winner := s.put("k", "b")
	s.loses("k", "a", active, loser, winner, journal.Put)
	s.ok(s.Keep(s.t.Context(), s.conflict().ID))
	s.closed(2, "k", journal.InConflict)
	s.closed(3, "k", journal.InConflict)
}

// A put hangs; the next one is acknowledged, and copied; then the first lands over it.
func lateOverAnAcknowledged(s *store) {
	s.doubtful("k", journal.Put)
	loser := s.commit(s.open("k", journal.Put), "b").Version
	s.finish(s.claimOne(replica), "b", journal.Pending) // it waits for the key to rest
	s.settle(s.found("k", "x"), journal.Adopted)
	s.loses("k", "b", replica, loser, s.lookup("k").Version, journal.Put)
	task := s.claimOne(replica)
	s.same("losers of the task", task.Losers, s.conflicts(false))

	s.doubtful("copied nowhere", journal.Put)
	s.commit(s.open("copied nowhere", journal.Put), "b")
	s.settle(s.found("copied nowhere", "x"), journal.Adopted)

	s.put("later", "a")
	s.doubtful("later", journal.Put) // it began after the other was acknowledged
	s.settle(s.found("later", "x"), journal.Adopted)

	s.doubtful("no later", journal.Put)
	s.commit(s.open("no later", journal.Put), "b")
	s.settle(s.found("no later", "b"), journal.Adopted)
	s.same("conflicts", len(s.conflicts(true)), 1)
}

func lateOverADelete(s *store) {
	s.put("k", "a")
	s.copied(replica)
	s.doubtful("k", journal.Put)
	loser := s.commit(s.open("k", journal.Delete), "").Version
	s.settle(s.found("k", "x"), journal.Adopted)
	if c := s.conflict(); c.Loser != loser || !c.Deleted || c.ETag != "" || c.State != journal.ConflictKept {
		s.t.Errorf("got %+v, want the delete, with nothing to keep", c)
	}
}

func loserInTheActive(s *store) {
	_, winner := s.losing("k")
	s.promoted(active)
	for _, op := range []journal.Operation{journal.Put, journal.Complete, journal.Delete} {
		_, err := s.Open(s.t.Context(), s.intent("k", op))
		s.refused(err, journal.ErrLoser)
	}
	s.abandon(s.open("other", journal.Put))
	s.abandon(s.repair("k")) // which keeps the loser first
	s = s.crashed()
	_, err := s.Open(s.t.Context(), s.intent("k", journal.Put))
	s.refused(err, journal.ErrLoser)
	s.ok(s.Keep(s.t.Context(), s.conflict().ID))
	if v := s.put("k", "c"); v.Compare(winner) <= 0 {
		s.t.Errorf("got %v after %v", v, winner)
	}
}

func taskHasLosers(s *store) {
	s.attach(third)
	s.losing("k")
	want := s.conflicts(false)
	task := s.claimOne(active)
	s.same("the losers of the task", task.Losers, want)
	s.same("the losers of another region's", s.claimOne(third).Losers, []journal.Conflict{})
	s.ok(s.Keep(s.t.Context(), want[0].ID))
	s.finish(task, "b", journal.Current)
	s.put("k", "c")
	s.same("the losers once it is kept", s.claimOne(active).Losers, []journal.Conflict{})
}

func keepCloses(s *store) {
	s.losing("k")
	s.ok(s.Keep(s.t.Context(), s.conflict().ID))
	c := s.conflict()
	if c.State != journal.ConflictKept || c.KeptKey != keptKey("k", c.Loser) || c.LastError != "" {
		s.t.Errorf("got %+v, want it kept", c)
	}
	s.closed(2, "k", journal.InConflict)
	s.points(active, 0, 0)
}

func keptOnce(s *store) {
	s.losing("k")
	id := s.conflict().ID
	s.ok(s.Keep(s.t.Context(), id))
	s.nothingHappens(func() { s.ok(s.Keep(s.t.Context(), id)) })
	s.ok(s.Resolve(s.t.Context(), id, journal.Resolution{Keep: "winner", Actor: "operator"}))
	s.nothingHappens(func() {
		s.ok(s.Keep(s.t.Context(), id))
		s.ok(s.Keep(s.t.Context(), id+1))
	})
	s.same("its state", s.conflicts(true)[0].State, journal.ConflictResolved)
}

func resolveNeedsAKeptLoser(s *store) {
	s.losing("k")
	c := s.conflict()
	r := journal.Resolution{Keep: "loser", Actor: "operator"}
	s.nothingHappens(func() {
		s.refused(s.Resolve(s.t.Context(), c.ID, r), journal.ErrMovedOn)
		s.refused(s.Resolve(s.t.Context(), c.ID+1, r), journal.ErrNotFound)
		_, err := s.Conflict(s.t.Context(), c.ID+1)
		s.refused(err, journal.ErrNotFound)
	})
	s.ok(s.Keep(s.t.Context(), c.ID))
	s.ok(s.Resolve(s.t.Context(), c.ID, r))
	s.nothingHappens(func() { s.refused(s.Resolve(s.t.Context(), c.ID, r), journal.ErrMovedOn) })
	s.same("open conflicts", s.conflicts(false), []journal.Conflict{})
	got, err := s.Conflict(s.t.Context(), c.ID)
	s.ok(err)
	if got.State != journal.ConflictResolved || got.Resolution != "loser" || got.ResolvedBy != "operator" || got.ResolvedAt.IsZero() {
		s.t.Errorf("got %+v, want it resolved", got)
	}
}

func loserCannotBeKept(s *store) {
	s.losing("k")
	c := s.conflict()
	for _, state := range []journal.CopyState{"", journal.Unreplicable} {
		task := s.claimOne(active)
		s.fail(task, journal.Failure{Reason: "it is locked", State: state, Loser: c.ID, NextTry: s.now.Add(-long)})
		want := c
		want.LastError = "it is locked"
		s.same("the conflict", s.conflict(), want)
		s.same("the copy", s.copyOf("k", active).State, journal.Pending)
		s.closed(2, "k", "")
	}
	s.ok(s.Keep(s.t.Context(), c.ID))
	s.same("its error, once it is kept", s.conflict().LastError, "")
	s.fail(s.claimOne(active), journal.Failure{Reason: "late", Loser: c.ID})
	s.same("its error still", s.conflict().LastError, "")
}

// The write is at risk in the region that took it, for third is down, which has it too.
func loserIsCopied(s *store) {
	s.attach(third)
	s.put("k", "a")
	s.finish(s.claimOne(third), "a", journal.Current)
	s.promoted(replica, third)
	s.put("k", "b")
	c := s.conflict()
	s.same("where it was lost", c.Region, active)
	atThird := s.claimOne(third)
	s.same("the losers where a copy is", atThird.Losers, []journal.Conflict{c})
	s.fail(s.claimOne(active), journal.Failure{Reason: "it is gone", State: journal.Missing, Loser: c.ID, NextTry: s.now.Add(long)})
	c.Region = third
	s.same("the conflict", s.conflict(), c)
	s.closed(2, "k", "")
	s.fail(atThird, journal.Failure{Reason: "it is gone here too", State: journal.Missing, Loser: c.ID, NextTry: s.now.Add(long)})
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	s.closed(2, "k", journal.IsLost)
}

func loserIsGone(s *store) {
	s.losing("k")
	c := s.conflict()
	s.fail(s.claimOne(active), journal.Failure{Reason: "it is gone", State: journal.Missing, Loser: c.ID, NextTry: s.now.Add(-long)})
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	s.closed(2, "k", journal.IsLost)
	s.same("the copy", s.copyOf("k", active).State, journal.Pending)
	task := s.claimOne(active)
	s.same("losers of the next task", task.Losers, []journal.Conflict{})
	s.fail(task, journal.Failure{Reason: "not now"})
	s.promoted(active)
	s.put("k", "c")
}

// The active holds the loser; a delete hangs there, and lands.
func loserReplaced(s *store) {
	s.replicated("k", "old")
	s.put("k", "a")
	s.doubtful("k", journal.Delete)
	s.promoted(replica)
	s.del("k")
	s.promoted(active)
	s.detach(replica) // so that the active is asked what the key is
	s.same("conflicts", len(s.conflicts(false)), 1)
	s.settle(s.absent("k"), journal.Stand)
	s.same("conflicts", s.conflicts(true), []journal.Conflict{})
	for _, e := range s.ledger(2) {
		if e.Outcome == "" {
			s.t.Errorf("got %+v, want it closed", e)
		}
	}
}

func conflictPages(s *store) {
	for i := range 5 {
		s.put(strconv.Itoa(i), "a")
	}
	s.promoted(replica)
	for i := range 5 {
		s.put(strconv.Itoa(i), "b")
	}
	all := s.conflicts(true)
	for _, i := range []int{1, 3} {
		s.ok(s.Keep(s.t.Context(), all[i].ID))
		s.ok(s.Resolve(s.t.Context(), all[i].ID, journal.Resolution{Keep: "winner", Actor: "operator"}))
	}
	page := func(after int64, limit int, isAll bool, want ...string) {
		s.t.Helper()
		list, err := s.Conflicts(s.t.Context(), after, limit, isAll)
		s.ok(err)
		keys := make([]string, len(list))
		for i, c := range list {
			keys[i] = c.Key
		}
		s.same("the page", keys, want)
	}
	page(0, 3, true, "0", "1", "2")
	page(all[2].ID, 3, true, "3", "4")
	page(0, 2, false, "0", "2")
	page(all[2].ID, 2, false, "4")
	page(all[4].ID, 2, true)
}

func conflictsSurviveACrash(s *store) {
	s.losing("k")
	before := s.conflicts(true)
	s = s.crashed()
	s.same("the conflicts", s.conflicts(true), before)
	s.same("the losers of the task", s.claimOne(active).Losers, before)
	s.ok(s.Keep(s.t.Context(), before[0].ID))
	s = s.crashed()
	s.same("its state", s.conflict().State, journal.ConflictKept)
	s.closed(2, "k", journal.InConflict)
}
