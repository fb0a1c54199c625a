package journaltest

import (
	"slices"
	"strconv"

	"github.com/gnew/tandem/internal/journal"
)

func ledgerTests() []test {
	return []test{
		{"ALedgerListsEveryAcknowledgedWriteThatOnlyTheDemotedRegionHas", ledgerListsWhatIsAtRisk},
		{"WhatAHealthyRegionHasIsNotAtRisk", healthyRegionsCount},
		{"OpenIntentsOfTheOldActiveAreInDoubtInTheLedger", ledgerListsOpenIntents},
		{"ACopyThatFinishesClosesItsEntryAsRecovered", copyRecovers},
		{"ACopyToAThirdRegionRecoversTheEntryToo", copyElsewhereRecovers},
		{"ADeleteAtRiskIsInTheLedgerAndRecoveredOnceAbsenceIsConfirmed", deleteAtRisk},
		{"AnAbandonedIntentClosesAsNotApplied", abandonedIsNotApplied},
		{"AWriteThatNobodyHoldsAnyMoreIsLost", missingIsLost},
		{"AWriteThatAnotherRegionHoldsIsNotLost", missingIsNotLost},
		{"AWriteIsLostOnceTheLastThatMayHaveItHasNot", lastHolderIsMissing},
		{"WhatNobodyHasIsNotPutAtRisk", missingIsNotAtRisk},
		{"ALedgerIsPaged", ledgerPages},
		{"PointingAtCountsWhatOnlyTheRegionHas", pointingAt},
		{"AnyKeyMayBeAtRisk", anyKeyAtRisk},
	}
}

// ledger is the whole ledger of the promotion that began the epoch.
func (s *store) ledger(epoch int64) []journal.LedgerEntry {
	s.t.Helper()
	entries, err := s.Ledger(s.t.Context(), epoch, 0, 10_000)
	s.ok(err)
	return entries
}

// entry is the only one of the key in a ledger.
func (s *store) entry(epoch int64, key string) journal.LedgerEntry {
	s.t.Helper()
	entries := slices.DeleteFunc(s.ledger(epoch), func(e journal.LedgerEntry) bool { return e.Key != key })
	if len(entries) != 1 {
		s.t.Fatalf("got %+v, want one entry of %q in the ledger of epoch %d", entries, key, epoch)
	}
	return entries[0]
}

// closed checks how the only entry of the key was closed; "" is an open one.
func (s *store) closed(epoch int64, key string, want journal.Outcome) {
	s.t.Helper()
	e := s.entry(epoch, key)
	if isClosed := want != ""; e.Outcome != want || e.ClosedAt.IsZero() == isClosed || (e.Reason == "") == isClosed {
		s.t.Fatalf("got %+v, want the outcome %q, with its time and reason", e, want)
	}
}

func ledgerKeys(entries []journal.LedgerEntry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	slices.Sort(keys)
	return keys
}

func ledgerListsWhatIsAtRisk(s *store) {
	s.everyState()
	s.open("only an intent", journal.Put)
	f := s.promoted(replica)
	entries := slices.DeleteFunc(s.ledger(2), func(e journal.LedgerEntry) bool { return e.Kind != journal.AtRisk })
	s.same("keys at risk", ledgerKeys(entries), []string{"failing", "missing", "overwritten", "pending", "tombstone", "unreplicable"})
	size := int64(0)
	for _, e := range entries {
		o := s.lookup(e.Key)
		s.same("the entry of "+e.Key, e, journal.LedgerEntry{
			ID: e.ID, Failover: 2, Kind: journal.AtRisk, Bucket: bucket, Key: e.Key, Version: o.Version, Operation: o.Operation,
			ETag: o.ETag, Size: o.Size, At: o.UpdatedAt, Region: active,
		})
		size += e.Size
	}
	if f.AtRisk != 6 || f.InDoubt != 1 || f.Open != 7 || f.AtRiskBytes != size || size != 200+300+400+500+600 {
		s.t.Errorf("got %+v, with %d bytes", f, size)
	}
}

func healthyRegionsCount(s *store) {
	s.attach(third)
	s.put("everywhere", "a")
	s.copied(replica)
	s.copied(third)
	s.put("in the third", "a")
	s.copied(third)
	s.put("nowhere", "a")
	s.promoted(replica)
	s.same("at risk", ledgerKeys(s.ledger(2)), []string{"nowhere"})
	s.promoted(third, active)
	s.same("at risk, as the third has it", ledgerKeys(s.ledger(3)), []string{"nowhere"})
	s.promoted(replica, active, third)
	s.same("at risk, once all others are down", ledgerKeys(s.ledger(4)), []string{"in the third", "nowhere"})
	if e := s.entry(4, "in the third"); e.Region != third {
		s.t.Errorf("got %+v, want the old active as its holder", e)
	}
	if e := s.entry(4, "nowhere"); e.Region != active {
		s.t.Errorf("got %+v, want the one that has it as its holder", e)
	}
}

func ledgerListsOpenIntents(s *store) {
	v := s.replicated("overwritten", "a")
	s.open("overwritten", journal.Delete)
	s.open("new", journal.Put)
	s.doubtful("in doubt", journal.Complete)
	s.abandon(s.open("abandoned", journal.Put))
	s.put("written", "a")
	s.copied(replica)
	s.missing("repaired", "a")
	s.repair("repaired")
	s.promoted(replica)
	s.same("in doubt", ledgerKeys(s.ledger(2)), []string{"in doubt", "new", "overwritten"})
	for _, e := range s.ledger(2) {
		i := s.lookup(e.Key).Intents[0]
		if !i.InDoubt {
			s.t.Errorf("got %+v, want it in doubt", i)
		}
		s.same("the entry of "+e.Key, e, journal.LedgerEntry{
			ID: e.ID, Failover: 2, Kind: journal.InDoubt, Bucket: bucket, Key: e.Key, Operation: i.Operation, At: i.OpenedAt, Region: active,
		})
	}
	if o := s.lookup("overwritten"); o.Version != v || o.Contested(replica) {
		s.t.Errorf("got %+v, want %v, uncontested in the new active", o, v)
	}
}

func copyRecovers(s *store) {
	s.put("k", "a")
	s.put("other", "a")
	s.promoted(replica)
	for _, task := range s.claim(replica, 10, long) {
		if task.Object.Key == "k" {
			s.finish(task, "a of "+replica, journal.Current)
		}
	}
	s.closed(2, "k", journal.Recovered)
	s.closed(2, "other", "")
	f := s.failovers()[0]
	if f.AtRisk != 2 || f.Open != 1 || f.Outcomes[journal.Recovered] != 1 || f.AtRiskBytes != 200 {
		s.t.Errorf("got %+v, want one of two recovered", f)
	}
}

func copyElsewhereRecovers(s *store) {
	s.attach(third)
	s.put("k", "a")
	s.promoted(replica)
	s.copied(third)
	s.closed(2, "k", journal.Recovered)
}

func deleteAtRisk(s *store) {
	s.replicated("k", "a")
	v := s.del("k")
	s.promoted(replica)
	if e := s.entry(2, "k"); e.Version != v || e.Operation != journal.Delete || e.ETag != "" || e.Size != 0 {
		s.t.Errorf("got %+v, want the delete %v", e, v)
	}
	s.copied(replica)
	s.closed(2, "k", journal.Recovered)
	if o := s.lookup("k"); !o.Deleted || o.Version != v {
		s.t.Errorf("got %+v, want the tombstone %v", o, v)
	}
}

func abandonedIsNotApplied(s *store) {
	id, other := s.open("k", journal.Put), s.open("other", journal.Put)
	s.promoted(replica)
	s.abandon(id)
	s.closed(2, "k", journal.WasNotApplied)
	s.closed(2, "other", "")
	s.unknown("k")
	s.nothingHappens(func() { s.abandon(id) })
	s.abandon(other)
	if f := s.failovers()[0]; f.Open != 0 || f.Outcomes[journal.WasNotApplied] != 2 {
		s.t.Errorf("got %+v, want both closed", f)
	}
}

// The only region that had it, once it is back, has it no more.
func missingIsLost(s *store) {
	v := s.put("k", "a")
	s.put("elsewhere", "a")
	s.promoted(replica)
	s.ok(s.MarkMissing(s.t.Context(), bucket, "k", active, v))
	s.fail(s.claimOne(active), journal.Failure{Reason: "gone", State: journal.Missing})
	s.closed(2, "k", journal.IsLost)
	s.closed(2, "elsewhere", "")
	if e := s.entry(2, "k"); e.Reason != "gone" {
		s.t.Errorf("got %+v, want the worker's reason", e)
	}
}

func missingIsNotLost(s *store) {
	s.attach(third)
	v := s.put("k", "a")
	s.copied(third)
	s.promoted(replica, third)
	s.ok(s.MarkMissing(s.t.Context(), bucket, "k", active, v))
	s.fail(s.claimOne(active), journal.Failure{Reason: "gone", State: journal.Missing})
	s.closed(2, "k", "")
	s.copied(replica)
	s.closed(2, "k", journal.Recovered)
}

// The third may have it too, and is to be verified.
func lastHolderIsMissing(s *store) {
	s.attach(third)
	v := s.put("k", "a")
	s.copied(third)
	s.promoted(replica, third)
	s.regress(third)
	s.ok(s.MarkMissing(s.t.Context(), bucket, "k", active, v))
	s.fail(s.claimOne(active), journal.Failure{Reason: "gone", State: journal.Missing})
	s.closed(2, "k", "")
	s.fail(s.claimOne(third), journal.Failure{Reason: "gone too", State: journal.Missing, Held: "yesterday"})
	s.closed(2, "k", journal.IsLost)
	if c := s.copyOf("k", third); c.ETag != "yesterday" || !c.Version.IsZero() || c.State != journal.Missing {
		s.t.Errorf("got %+v, want what the region holds instead", c)
	}
}

func missingIsNotAtRisk(s *store) {
	v := s.put("k", "a")
	s.put("other", "a")
	s.ok(s.MarkMissing(s.t.Context(), bucket, "k", active, v))
	s.promoted(replica)
	s.same("at risk", ledgerKeys(s.ledger(2)), []string{"other"})
}

func ledgerPages(s *store) {
	for i := range 5 {
		s.put(strconv.Itoa(i), "a")
	}
	s.doubtful("x", journal.Put)
	s.promoted(replica)
	all := s.ledger(2)
	var paged []journal.LedgerEntry
	for after := int64(0); ; {
		page, err := s.Ledger(s.t.Context(), 2, after, 4)
		s.ok(err)
		paged = append(paged, page...)
		if len(page) < 4 {
			break
		}
		after = page[len(page)-1].ID
	}
	s.same("the pages", paged, all)
	s.same("how many", len(all), 6)
	for i := range all[1:] {
		if all[i].ID >= all[i+1].ID {
			s.t.Errorf("got id %d before %d", all[i].ID, all[i+1].ID)
		}
	}
	s.same("the ledger of another epoch", s.ledger(1), []journal.LedgerEntry{})
}

// points checks what PointingAt counts.
func (s *store) points(region string, atRisk, conflicts int64) {
	s.t.Helper()
	gotRisk, gotConflicts, err := s.PointingAt(s.t.Context(), []string{bucket}, region)
	s.ok(err)
	if gotRisk != atRisk || gotConflicts != conflicts {
		s.t.Fatalf("%d at risk and %d conflicts point at %s, want %d and %d", gotRisk, gotConflicts, region, atRisk, conflicts)
	}
}

func pointingAt(s *store) {
	s.points(active, 0, 0)
	s.put("at risk", "a")
	s.put("overwritten", "a")
	s.doubtful("in doubt", journal.Put)
	s.promoted(replica)
	s.points(active, 2, 0) // what is in doubt may be nothing
	s.points(replica, 0, 0)
	s.put("overwritten", "b")
	s.points(active, 2, 1)
	s.settle(s.seen("in doubt", active, "x"), journal.Adopted)
	s.points(active, 3, 1)
	s.ok(s.Keep(s.t.Context(), s.conflict().ID))
	s.points(active, 2, 0)
	for _, task := range s.claim(replica, 10, long) {
		s.finish(task, task.Object.ETag, journal.Current)
	}
	s.points(active, 0, 0)
	s = s.crashed()
	s.points(active, 0, 0)
}

func anyKeyAtRisk(s *store) {
	for _, key := range legalKeys() {
		s.put(key, "a")
	}
	s.promoted(replica)
	want := legalKeys()
	slices.Sort(want)
	s.same("keys at risk", ledgerKeys(s.ledger(2)), want)
	kept := make(map[string]bool)
	for _, key := range want {
		s.put(key, "b")
	}
	for _, c := range s.conflicts(false) {
		kept[c.KeptKey] = true
		s.ok(s.Keep(s.t.Context(), c.ID))
	}
	s.same("how many places they are kept in", len(kept), len(want))
	for _, key := range want {
		s.closed(2, key, journal.InConflict)
	}
	s.chain()
}
