package journaltest

import (
	"errors"
	"iter"
	"strings"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

func auditTests() []test {
	return []test{
		{"EveryChangeIsInTheChain", everyChangeIsInTheChain},
		{"AnEntrySaysWhoDidWhat", entriesSayWho},
		{"AnAdoptionAndARepairAreInTheChain", adoptionsAndRepairs},
		{"WhatIsRefusedLeavesNoEntry", refusalsLeaveNoEntry},
		{"TheChainIsPaged", chainPages},
		{"TheChainVerifiesAfterACrash", chainSurvivesACrash},
		{"TheChainVerifiesUnderManyWriters", chainUnderManyWriters},
	}
}

// chain is the whole audit chain, verified.
func (s *store) chain() []audit.Linked {
	s.t.Helper()
	state, err := s.State(s.t.Context())
	s.ok(err)
	size, head, err := s.AuditHead(s.t.Context())
	s.ok(err)
	var all []audit.Linked
	report, err := audit.Verify(state.JournalID, s.entries(&all), nil)
	s.ok(err)
	if !report.OK() || report.Entries != size || report.Head != head {
		s.t.Fatalf("got %+v, broken %+v, want %d entries that verify, with head %v", report, report.Broken, size, head)
	}
	return all
}

// entries reads the chain page by page, and keeps it.
func (s *store) entries(all *[]audit.Linked) iter.Seq2[audit.Linked, error] {
	return func(yield func(audit.Linked, error) bool) {
		for after := int64(0); ; {
			page, err := s.AuditEntries(s.t.Context(), after, 7)
			if err != nil || len(page) == 0 {
				s.ok(err)
				return
			}
			*all = append(*all, page...)
			for _, e := range page {
				after = e.Index
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// recorded checks what was added to the chain since it had n entries: each is the action and
// the key.
func (s *store) recorded(n int, want ...string) {
	s.t.Helper()
	var got []string
	for _, e := range s.chain()[n:] {
		got = append(got, strings.TrimSpace(string(e.Action)+" "+e.Key))
	}
	s.same("what was recorded", got, want)
}

// adds checks what f adds to the chain.
func (s *store) adds(f func(), want ...string) {
	s.t.Helper()
	n := len(s.chain())
	f()
	s.recorded(n, want...)
}

func everyChangeIsInTheChain(s *store) {
	ctx := s.t.Context()
	s.recorded(0, "attach", "attach", "promote")
	s.adds(func() { s.ok(s.SetCompared(ctx, bucket, []string{active, replica})) }, "compare", "compare")
	s.adds(func() { s.replicated("k", "a") }, "write k")
	s.adds(func() { s.del("deleted") }, "write deleted")
	s.put("recovered", "a")
	s.put("loser", "a")
	id := s.open("abandoned", journal.Put)
	s.doubtful("found", journal.Put)
	s.adds(func() { s.promoted(replica) }, "promote")
	s.adds(func() { s.abandon(id) }, "close abandoned")
	s.adds(func() { s.put("loser", "b") }, "conflict loser", "write loser")
	s.adds(func() { s.settle(s.seen("found", active, "x"), journal.Adopted) }, "adopt found")
	s.adds(func() { s.ok(s.Keep(ctx, s.conflict().ID)) }, "keep loser", "close loser")
	s.adds(func() { s.ok(s.Resolve(ctx, s.conflict().ID, journal.Resolution{Keep: "winner", Actor: "operator"})) }, "resolve loser")
	s.adds(func() { s.regress(active) }, "regress")
	s.adds(func() {
		for _, task := range s.claim(active, 10, long) {
			s.finish(task, task.Object.ETag, journal.Current)
		}
	})
	s.adds(func() { s.verified(active, false) }, "verify")
	s.adds(func() { s.attach(third) }, "attach")
	s.adds(func() { s.promoted(active) }, "close deleted", "close recovered", "close found", "promote")
	s.adds(func() { s.detach(third) }, "remove")
}

func entriesSayWho(s *store) {
	ctx := s.t.Context()
	loser, winner := s.losing("k")
	s.ok(s.Keep(ctx, s.conflict().ID))
	s.ok(s.Resolve(ctx, s.conflict().ID, journal.Resolution{Keep: "loser", Actor: "somebody"}))
	s.promoted(active)
	all := s.chain()
	s.detach(replica)
	all = append(all, s.chain()[len(all)+1:]...) // the first is of what that loses
	last := make(map[audit.Action]audit.Entry)
	for _, e := range all {
		if e.At.IsZero() || e.At.Before(s.now.Add(-long)) {
			s.t.Errorf("got %+v, want the time", e)
		}
		last[e.Action] = e.Entry
	}
	for action, want := range map[audit.Action]audit.Entry{
		audit.Attach:   {Actor: "gateway", Bucket: bucket, Region: replica},
		audit.Write:    {Actor: "client", Bucket: bucket, Key: "k", Version: winner.String(), Region: replica},
		audit.Promote:  {Actor: "operator", Region: active},
		audit.Conflict: {Actor: "gateway", Bucket: bucket, Key: "k", Version: loser.String(), Region: active},
		audit.Keep:     {Actor: "gateway", Bucket: bucket, Key: "k", Version: loser.String(), Region: active},
		audit.Close:    {Actor: "gateway", Bucket: bucket, Key: "k", Version: loser.String(), Region: active},
		audit.Resolve:  {Actor: "somebody", Bucket: bucket, Key: "k", Version: loser.String(), Region: active},
		audit.Remove:   {Actor: "operator", Bucket: bucket, Region: replica},
	} {
		got := last[action]
		want.Action, want.Index, want.At, want.Detail = action, got.Index, got.At, got.Detail
		s.same("the entry", got, want)
	}
}

func adoptionsAndRepairs(s *store) {
	s.doubtful("k", journal.Put)
	s.adds(func() { s.settle(s.found("k", "x"), journal.Adopted) }, "adopt k")
	s.doubtful("k", journal.Delete)
	s.adds(func() { s.settle(s.absent("k"), journal.Deleted) }, "adopt k")
	s.copied(replica)
	s.missing("repaired", "a")
	id := s.repair("repaired")
	s.adds(func() { s.commit(id, "a") }, "repair repaired")
	s.replicated("late", "a")
	s.doubtful("late", journal.Put)
	s.commit(s.open("late", journal.Delete), "")
	s.adds(func() { s.settle(s.found("late", "x"), journal.Adopted) }, "conflict late", "adopt late")
	s.doubtful("nothing", journal.Put)
	s.adds(func() { s.settle(s.absent("nothing"), journal.NotApplied) })
}

func refusalsLeaveNoEntry(s *store) {
	ctx := s.t.Context()
	id := s.open("k", journal.Put)
	seen := s.found("k", "a")
	s.promoted(replica)
	s.nothingHappens(func() {
		_, err := s.Commit(ctx, id, holds("a"))
		s.refused(err, journal.ErrEpoch)
		_, err = s.Settle(ctx, seen)
		s.refused(err, journal.ErrEpoch)
		_, err = s.BeginEpoch(ctx, 1, replica)
		s.refused(err, journal.ErrEpoch)
		_, err = s.Commit(ctx, id+1, holds("a"))
		s.refused(err, journal.ErrNoIntent)
		s.refused(s.Resolve(ctx, 1, journal.Resolution{}), journal.ErrNotFound)
		if err := s.SetCompared(ctx, bucket, []string{active, third}); err == nil {
			s.t.Error("a region that is not attached was compared")
		}
		s.attach(active, replica)
	})
}

func chainPages(s *store) {
	for range 20 {
		s.put("k", "a")
	}
	all := s.chain()
	for _, limit := range []int{1, 5, 100} {
		for _, after := range []int64{0, 3, int64(len(all)) - 1, int64(len(all))} {
			page, err := s.AuditEntries(s.t.Context(), after, limit)
			s.ok(err)
			s.same("the page", page, all[after:min(int(after)+limit, len(all))])
		}
	}
}

func chainSurvivesACrash(s *store) {
	s.losing("k")
	before := s.chain()
	s = s.crashed()
	s.same("the chain", s.chain(), before)
	s.adds(func() { s.put("k", "c") }, "write k")
	s.same("what was there before", s.chain()[:len(before)], before)
}

func chainUnderManyWriters(s *store) {
	atOnce(8, func(i int) {
		for n := range 10 {
			in := journal.Intent{Bucket: bucket, Key: string(rune('a' + i)), Region: active, Operation: journal.Put, Epoch: 1, DoubtUntil: s.now}
			id, err := s.Open(s.t.Context(), in)
			if err == nil {
				_, err = s.Commit(s.t.Context(), id, holds("a"))
			}
			if err == nil && i == 0 && n == 5 {
				_, err = s.Promote(s.t.Context(), journal.Promotion{After: 1, Region: replica})
			}
			if errors.Is(err, journal.ErrEpoch) {
				return
			}
			if err != nil {
				s.t.Error(err)
			}
		}
	})
	writes := 0
	for _, e := range s.chain() {
		if e.Action == audit.Write {
			writes++
		}
	}
	sequence, err := s.Position(s.t.Context())
	s.ok(err)
	s.same("the writes in the chain", int64(writes), sequence)
	s.crashed().chain()
}
