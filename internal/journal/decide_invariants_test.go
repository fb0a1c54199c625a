package journal_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// situation is one of all that Decide may be asked about.
type situation struct {
	object   journal.Object
	seen     journal.Observation
	compared bool
}

func (s situation) String() string {
	return fmt.Sprintf("row %q (deleted %t, unsettled %t, delete seen %t), copies %+v, intents %+v, found %t %q, compared %t",
		s.object.ETag, s.object.Deleted, s.object.Unsettled, s.object.DeleteSeen, s.object.Copies, s.object.Intents,
		s.seen.Found, s.seen.ETag, s.compared)
}

func (s situation) decide() journal.Decision { return journal.Decide(&s.object, s.seen, s.compared) }

// own reports whether the active has an intent of which f is true.
func (s situation) own(f func(journal.Intent) bool) bool {
	return slices.ContainsFunc(s.object.Intents, func(i journal.Intent) bool { return i.Region == here && f(i) })
}

func isClients(i journal.Intent) bool { return i.Operation != journal.Repair }

func isWithin(i journal.Intent) bool { return readAt.Before(i.DoubtUntil) }

// every yields each combination of row, copy, intents, read and comparison.
func every(yield func(situation) bool) {
	var objects []journal.Object
	for _, o := range []journal.Object{row("row"), row("")} {
		for _, o := range []journal.Object{
			o, behind(o, journal.Pending, "old"), behind(o, journal.Pending, ""), behind(o, journal.Pending, "row"),
			behind(o, journal.Missing, ""), behind(o, journal.Unreplicable, "old"), {Version: o.Version, ETag: o.ETag, Deleted: o.Deleted, LastRegion: here},
		} {
			objects = append(objects, o, unsettled(o, false), unsettled(o, true))
		}
	}
	objects = append(objects, none())

	sets := [][]journal.Intent{nil}
	var kinds []journal.Intent
	for _, when := range []at{underWay, within, over} {
		for _, i := range []journal.Intent{
			intent(journal.Put, when), intent(journal.Complete, when), intent(journal.Delete, when), repair("row", when), repair("old", when),
		} {
			kinds = append(kinds, i, elsewhere(i))
		}
	}
	for i, a := range kinds {
		sets = append(sets, []journal.Intent{a})
		for _, b := range kinds[i:] {
			sets = append(sets, []journal.Intent{a, b})
		}
	}
	for _, o := range objects {
		for _, o.Intents = range sets {
			for _, seen := range []journal.Observation{absent(), found("row"), found("old"), found("new")} {
				if !yield(situation{o, seen, false}) || !yield(situation{o, seen, true}) {
					return
				}
			}
		}
	}
}

// invariant is what must be true of a decision in every situation; it returns what is not.
type invariant func(s situation, d journal.Decision) string

func invariants() []invariant {
	when := func(isBroken bool, what string) string {
		if isBroken {
			return what
		}
		return ""
	}
	return []invariant{
		func(s situation, d journal.Decision) string {
			isOpen := s.own(func(i journal.Intent) bool { return !i.InDoubt })
			return when(isOpen && d != journal.Wait, "decided while a write is under way")
		},
		func(s situation, d journal.Decision) string {
			mayWait := s.own(func(i journal.Intent) bool { return !i.InDoubt || isWithin(i) })
			return when(!mayWait && d == journal.Wait, "waits for nothing")
		},
		func(s situation, d journal.Decision) string {
			mayLand := s.own(func(i journal.Intent) bool { return isClients(i) && isWithin(i) })
			isApplied := d == journal.Adopted || d == journal.Deleted
			return when(mayLand && d != journal.Wait && !isApplied, "a client's write is taken as not applied while it may land")
		},
		func(s situation, d journal.Decision) string {
			isExplained := s.object.DeleteSeen || s.own(func(i journal.Intent) bool { return i.Operation == journal.Delete })
			isLive := !s.object.Version.IsZero() && !s.object.Deleted
			isOurs := s.own(func(i journal.Intent) bool { return i.Operation == journal.Repair && i.Brings == s.seen.ETag })
			return when(d == journal.Deleted && (!isExplained || !isLive || s.seen.Found && !isOurs), "a tombstone without a delete")
		},
		func(s situation, d journal.Decision) string {
			isExplained := s.object.Unsettled || s.own(isClients)
			return when(d == journal.Adopted && s.object.Deleted && !isExplained, "a tombstone is lifted without a write")
		},
		func(s situation, d journal.Decision) string {
			return when(d == journal.Adopted && !s.seen.Found, "nothing is adopted")
		},
		func(s situation, d journal.Decision) string {
			held := s.object.Copy(here)
			wasThere := !s.object.Version.IsZero() && held.State != journal.Current && held.ETag == s.seen.ETag
			return when(d == journal.Adopted && wasThere, "what was there before is adopted")
		},
		func(s situation, d journal.Decision) string {
			isRepairs := s.own(func(i journal.Intent) bool { return i.Operation == journal.Repair && i.Brings == s.seen.ETag })
			isOlder := !s.object.Version.IsZero() && s.seen.ETag != s.object.ETag
			return when(d == journal.Adopted && isRepairs && isOlder, "what a repair brought is adopted")
		},
		func(s situation, d journal.Decision) string {
			needsRow := d == journal.Stand || d == journal.Lost || d == journal.Rewrite || d == journal.Deleted
			return when(needsRow && s.object.Version.IsZero(), "a row stands that is not there")
		},
		func(s situation, d journal.Decision) string {
			isAsTheRow := s.seen.Found != s.object.Deleted && s.seen.ETag == s.object.ETag
			return when(d == journal.Stand && !isAsTheRow, "the row stands though the active holds something else")
		},
		func(s situation, d journal.Decision) string {
			isLost := !s.seen.Found && !s.object.Deleted && !s.object.Version.IsZero()
			return when(d == journal.Lost && !isLost, "lost, though it was found or is not to be there")
		},
		func(s situation, d journal.Decision) string {
			return when(d == journal.NotApplied && (s.seen.Found || !s.object.Version.IsZero()), "not applied, though there is something")
		},
		func(s situation, d journal.Decision) string {
			late := s
			late.seen.ReadAt = readAt.Add(time.Hour)
			return when(d != journal.Wait && late.decide() != d, "another decision once the window is over")
		},
		func(s situation, d journal.Decision) string {
			alone := s
			alone.object.Intents = slices.DeleteFunc(slices.Clone(s.object.Intents), func(i journal.Intent) bool { return i.Region == there })
			return when(alone.decide() != d, "another decision without the intents of another region")
		},
	}
}

func TestDecideKeepsItsInvariantsEverywhere(t *testing.T) {
	seen := make(map[journal.Decision]int)
	rules := invariants()
	for s := range every {
		d := s.decide()
		seen[d]++
		for _, broken := range rules {
			if what := broken(s, d); what != "" {
				t.Fatalf("%s: %q for %v", what, d, s)
			}
		}
	}
	for _, d := range []journal.Decision{
		journal.Wait, journal.Stand, journal.Adopted, journal.Deleted, journal.Lost, journal.Rewrite, journal.NotApplied,
	} {
		if seen[d] == 0 {
			t.Errorf("%q was never decided", d)
		}
	}
	t.Log(seen)
}
