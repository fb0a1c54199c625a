package journal

import (
	"slices"

	"github.com/gnew/tandem/internal/mutant"
)

// Decision is what Settle does with a key. What is said of the active is true, in DecideDemoted,
// of the region that was read.
type Decision string

// The decisions.
const (
	// Wait: a write may still land, so what was seen proves nothing yet.
	Wait Decision = "wait"
	// Stand: the row is right and the active holds it.
	Stand Decision = "stand"
	// Adopted: what the active holds takes a new version.
	Adopted Decision = "adopted"
	// Deleted: the active holds nothing, by a delete; a tombstone with a new version.
	Deleted Decision = "deleted"
	// Lost: the row is right and the active does not hold it; its copy is Missing.
	Lost Decision = "missing"
	// Rewrite: the row is right and the active does not hold it yet, but what it
	// held before, or what a late repair brought; its copy is Pending.
	Rewrite Decision = "rewrite"
	// NotApplied: the intents left nothing, and there never was a row.
	NotApplied Decision = "not-applied"
)

// Decide says what becomes of a key, given its row (Version zero where there is
// none), its intents, what the active was seen to hold, and whether the active's
// bucket was compared. It is pure, so that every store decides alike. Intents of
// other regions say nothing of this one.
//
// The rules, each with the history that breaks without it:
//
//   - Within the doubt window a read may show that a write was applied, never that
//     it was not. (A PUT times out; a HEAD shows the old object; the intent is closed; the
//     next write is acknowledged and copied; then the first one lands: the regions
//     differ for ever.)
//   - With two intents, what is seen cannot be told to be this one's or that one's.
//   - Only a delete's intent makes a tombstone. (A PUT times out, the region was
//     restored from a backup: a 404 would delete the key everywhere.)
//   - What a late repair brings back is not a write. (A repair hangs; the key is
//     deleted; the repair lands: the deleted object would be adopted.)
//   - What the active held before it was brought to the row's version is not a write
//     either. (A write is acknowledged and not copied; the replica is promoted; a PUT
//     times out there: the old object would be adopted over the acknowledged one, or
//     over the tombstone.)
//   - What a repair brought may have landed on what a delete in doubt had left: where nobody else has the row's version,
//     that delete was applied. (A create is copied and has no answer; its region is promoted, and acknowledges a write; a
//     DELETE there has no answer, and is applied; the create lands: what nobody has would be waited for, for ever.)
//   - A delete begun in an epoch before the row's version says nothing of that, as long as the active was not
//     brought to it. (A delete overlaps with a PUT in A; B is promoted and acknowledges a write; A is promoted
//     again, and a PUT there has no answer: the acknowledged write would be deleted by what is older.)
//   - An upload by a presigned URL may land whenever the URL is open: what is found, and nothing else
//     explains, is one. Where a repair may have landed, it explains nothing. (A repair hangs; the key is
//     deleted; the repair lands under an ETag of the region's own: the deleted object would be adopted.)
func Decide(o *Object, seen Observation, compared bool) Decision {
	k := known{Object: o, seen: seen, held: o.Copy(seen.Region), hasRow: !o.Version.IsZero(), compared: compared}
	k.unsettled = o.Unsettled && o.LastRegion == seen.Region
	k.deleteSeen = k.unsettled && o.DeleteSeen
	windowOpen, isURLOpen := false, false
	for _, i := range o.Intents {
		if i.Region != seen.Region {
			continue
		}
		if !i.InDoubt {
			return Wait
		}
		if i.Operation == PresignedPut {
			k.signed, isURLOpen = true, isURLOpen || i.IsURLOpen(seen.ReadAt)
			continue
		}
		windowOpen = windowOpen || seen.ReadAt.Before(i.DoubtUntil)
		if i.isClients() {
			k.clients = append(k.clients, i)
			isOlder := i.Epoch < o.Version.Epoch && k.held.State != Current
			k.deleteSeen = k.deleteSeen || i.Operation == Delete && !isOlder
		} else {
			k.repairs = append(k.repairs, i)
		}
	}
	if windowOpen && !mutant.On(mutant.AbsenceInDoubt) {
		return k.decideEarly()
	}
	d := k.decide()
	isOnlyURL := k.signed && len(k.clients)+len(k.repairs) == 0 && !k.unsettled
	if isOnlyURL && isURLOpen && d != Adopted {
		return Wait // no news of it
	}
	return d
}

// decide is Decide where no window is open but those of presigned URLs.
func (k *known) decide() Decision {
	o, seen := k.Object, k.seen
	isByURL := k.signed && len(k.repairs) == 0
	explained := len(k.clients) > 0 || k.unsettled || isByURL
	switch {
	case seen.Found && o.Deleted && mutant.On(mutant.TombstoneAdopted):
		return Adopted
	case k.isRestored() && !k.matches() && !k.isAsBefore() && seen.ETag != o.ETag && k.deleteSeen && !o.Deleted && !o.IsElsewhere(seen.Region):
		return Deleted
	case k.isAsBefore(), k.isRestored() && !k.matches():
		return Rewrite
	case k.matches() && len(k.clients) == 0 && !(isByURL && seen.ContentType != o.ContentType):
		return Stand
	case seen.Found && !explained && (o.Deleted || k.hasRow && len(k.repairs) > 0 && k.held.State != Current):
		return Rewrite // what a repair brought, it may be under an ETag of the region's own
	case seen.Found:
		return Adopted
	case !k.hasRow:
		return NotApplied
	case o.Deleted:
		return Stand
	case k.deleteSeen, mutant.On(mutant.PutsAbsenceDeletes):
		return Deleted
	case k.held.State == Pending:
		return Rewrite // it lacks what it was to be brought to anyway
	}
	return Lost
}

// known is what Decide goes by.
type known struct {
	*Object
	seen             Observation
	held             Copy // what the active was last known to hold
	hasRow, compared bool
	unsettled        bool // in the active
	deleteSeen       bool
	clients, repairs []Intent
	signed           bool // an upload by a presigned URL may have landed
}

// matches reports whether the active was seen to hold the row's version, under the
// ETag that this has there.
func (k *known) matches() bool {
	etag := k.ETag
	if k.held.State == Current {
		etag = k.held.ETag
	}
	return k.hasRow && !k.Deleted && k.seen.Found && k.seen.ETag == etag
}

// isAsBefore reports whether the active was seen to hold what it held before the
// row's version was to be brought there. Where both have one ETag, it cannot be told
// that it was.
func (k *known) isAsBefore() bool {
	return k.hasRow && k.held.State != Current && k.seen.Found && k.seen.ETag == k.held.ETag
}

// isRestored reports whether the active was seen to hold what a repair brings, and no write of a client is known
// to. (A late copy may land in a region without conditions; a write of other bytes is acknowledged there; a PUT of
// that copy's bytes has no answer, and lands: what nobody has any more would be waited for, for ever.)
func (k *known) isRestored() bool {
	brings := func(i Intent) bool { return i.Brings == k.seen.ETag }
	return k.hasRow && k.seen.Found && slices.ContainsFunc(k.repairs, brings) && !slices.ContainsFunc(k.clients, brings)
}

// decideEarly looks for proof that the only intent was applied, while the window
// is still open. Proof is a difference from what the active is known to have held. (The
// active had lost the key; a DELETE times out; its 404 is taken for the delete; a PUT is
// acknowledged; then the DELETE lands.) Of a repair there is none: what is seen may have
// been brought by another repair of that version. (A repair hangs; the next one is
// answered; the first is closed by what the second brought; the key is deleted; the first
// lands: the deleted object is back.)
func (k *known) decideEarly() Decision {
	if len(k.clients) != 1 || len(k.repairs) > 0 || k.unsettled || k.signed {
		return Wait
	}
	if isKnown := k.held.State == Current || !k.hasRow && k.compared; !isKnown {
		return Wait
	}
	switch k.clients[0].Operation {
	case Delete:
		if k.hasRow && !k.Deleted && !k.seen.Found {
			return Deleted
		}
	case Put, Complete:
		if k.seen.Found && !k.matches() {
			return Adopted
		}
	}
	return Wait
}
