package journal_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// suspicion is one of all situations that DecideDemoted may be asked about.
type suspicion struct {
	situation
	regressed bool
	ours      []string
}

func (s suspicion) String() string {
	return fmt.Sprintf("%v, regressed %t, ours %q", s.situation, s.regressed, s.ours)
}

func (s suspicion) decide() journal.Decision {
	return journal.DecideDemoted(&s.object, s.seen, s.regressed, s.ours)
}

func (s suspicion) etag() string {
	if s.seen.Found {
		return s.seen.ETag
	}
	return ""
}

func (s suspicion) isUnsettled() bool {
	return s.object.Unsettled && s.object.LastRegion == here || s.own(journal.Intent.IsStandIn)
}

// everySuspicion yields each of Decide's situations as it stands, after a write elsewhere, and
// with stand-ins, with each that DecideDemoted is told beside it.
func everySuspicion(yield func(suspicion) bool) {
	for s := range every {
		if s.compared {
			continue // which it is not told
		}
		objects := []journal.Object{s.object}
		if !s.object.Version.IsZero() {
			moved := after(s.object, s.object.Copy(here).ETag)
			moved.ETag = "newer"
			stand := moved
			stand.Intents = append(slices.Clone(s.object.Intents), standIn(journal.Adopt))
			brought, itself := moved, standIn(journal.Adopt)
			itself.Restores = brought.Version
			brought.Intents = append(slices.Clone(s.object.Intents), itself)
			objects = append(objects, moved, stand, brought)
		}
		for _, s.object = range objects {
			for _, ours := range [][]string{nil, {"old"}, {"", "newer"}} {
				if !yield(suspicion{s, false, ours}) || !yield(suspicion{s, true, ours}) {
					return
				}
			}
		}
	}
}

func demotedInvariants() map[string]func(s suspicion, d journal.Decision) bool {
	return map[string]func(s suspicion, d journal.Decision) bool{
		"decided while a write is under way": func(s suspicion, d journal.Decision) bool {
			return d != journal.Wait && s.own(func(i journal.Intent) bool { return isClients(i) && !i.InDoubt })
		},
		"decided though nothing is open": func(s suspicion, d journal.Decision) bool {
			return d != journal.Wait && !s.isUnsettled() && !s.own(isClients)
		},
		"waits for nothing": func(s suspicion, d journal.Decision) bool {
			isOpen := s.isUnsettled() || s.own(isClients)
			mayWait := s.own(func(i journal.Intent) bool { return isClients(i) && (!i.InDoubt || isWithin(i)) })
			return d == journal.Wait && isOpen && !mayWait
		},
		"taken as not applied while it may land": func(s suspicion, d journal.Decision) bool {
			mayLand := s.own(func(i journal.Intent) bool { return isClients(i) && isWithin(i) })
			return mayLand && d != journal.Wait && d != journal.Adopted && d != journal.Deleted
		},
		"a tombstone without a delete": func(s suspicion, d journal.Decision) bool {
			isExplained := s.object.Unsettled && s.object.DeleteSeen || s.own(func(i journal.Intent) bool { return i.Operation == journal.Delete })
			isOurs := s.isUnsettled() && slices.Contains(s.ours, s.seen.ETag)
			return d == journal.Deleted && (!isExplained || s.seen.Found && !isOurs)
		},
		"nothing is adopted": func(s suspicion, d journal.Decision) bool { return d == journal.Adopted && !s.seen.Found },
		"what was known there is a find": func(s suspicion, d journal.Decision) bool {
			isFind := d == journal.Adopted || d == journal.Deleted
			return isFind && !s.isUnsettled() && s.object.Copy(here).ETag == s.etag()
		},
		"what a copy of ours brought is adopted": func(s suspicion, d journal.Decision) bool {
			return d == journal.Adopted && slices.Contains(s.ours, s.seen.ETag)
		},
		"something is found in a region that came back older": func(s suspicion, d journal.Decision) bool {
			return s.regressed && (d == journal.Adopted || d == journal.Deleted)
		},
		"the row stands though the region holds something else, or is not its own": func(s suspicion, d journal.Decision) bool {
			isItsOwn := s.object.LastRegion == here || s.own(func(i journal.Intent) bool { return i.IsStandIn() && i.Restores == s.object.Version })
			isAsTheRow := isItsOwn && s.seen.Found != s.object.Deleted && s.etag() == s.object.ETag
			return d == journal.Stand && !isAsTheRow
		},
		"acknowledged writes that overlapped are not applied": func(s suspicion, d journal.Decision) bool {
			return d == journal.NotApplied && s.isUnsettled()
		},
		"another decision once the window is over": func(s suspicion, d journal.Decision) bool {
			late := s
			late.seen.ReadAt = readAt.Add(time.Hour)
			return d != journal.Wait && late.decide() != d
		},
		"another decision without the intents of another region, and its own repairs": func(s suspicion, d journal.Decision) bool {
			alone := s
			alone.object.Intents = slices.DeleteFunc(slices.Clone(s.object.Intents), func(i journal.Intent) bool { return i.Region == there || !isClients(i) })
			return alone.decide() != d
		},
		"a decision that is none of a demoted region's": func(_ suspicion, d journal.Decision) bool { return d == journal.Rewrite },
	}
}

func TestDecideDemotedKeepsItsInvariantsEverywhere(t *testing.T) {
	seen := make(map[journal.Decision]int)
	rules := demotedInvariants()
	for s := range everySuspicion {
		d := s.decide()
		seen[d]++
		for what, isBroken := range rules {
			if isBroken(s, d) {
				t.Fatalf("%s: %q for %v", what, d, s)
			}
		}
	}
	for _, d := range []journal.Decision{
		journal.Wait, journal.Stand, journal.Adopted, journal.Deleted, journal.Lost, journal.NotApplied,
	} {
		if seen[d] == 0 {
			t.Errorf("%q was never decided", d)
		}
	}
	t.Log(seen)
}

func TestDecideRegressedTakesNothingAnywhere(t *testing.T) {
	for s := range every {
		plain, d := s.decide(), journal.DecideRegressed(&s.object, s.seen, s.compared)
		mayLand := s.own(func(i journal.Intent) bool { return isClients(i) && (!i.InDoubt || isWithin(i)) })
		switch {
		case d == journal.Adopted || d == journal.Deleted:
			t.Fatalf("%q for %v", d, s)
		case mayLand && d != journal.Wait:
			t.Fatalf("%q while a write may land, for %v", d, s)
		case plain != journal.Adopted && plain != journal.Deleted && plain != d:
			t.Fatalf("%q rather than %q, for %v", d, plain, s)
		}
	}
}
