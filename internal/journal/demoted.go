package journal

import (
	"slices"

	"github.com/gnew/tandem/internal/mutant"
)

// DecideDemoted says what becomes of a key of which a region may hold a write from an epoch
// in which it was the active and which is over: one in doubt, or the last of writes that
// overlapped. It is pure, like Decide. regressed says that the region came back older than it
// was; ours are the ETags that copies and repairs of our own, without an answer, may have left
// there, "" for absence.
//
// What is found takes a version of its intents' epoch, so that whatever was acknowledged
// since the promotion wins over it. The rules, each with the history that breaks without it:
//
//   - Where nothing is open in the region, nothing is decided. (Two settlers read; the first
//     one's word is taken, and the winner copied there; then the second one's find.)
//   - Within the doubt window a read may show that a write was applied, never that it was
//     not, as in Decide.
//   - What the region is known to have held is not a find. (A PUT times out, the region is
//     demoted and returns with the object it always had: a conflict of a write with itself.)
//   - Nor is what a copy of our own may have left. (A PUT times out; the region is demoted; an
//     unanswered copy of the new version lands there: a conflict of a version with itself.)
//   - But where a client's write, or one of those that overlapped, is known to bring the same, it is that one: a
//     write without an answer may be found at any time, and an acknowledged one must be. (Two
//     writes overlap in A; B is promoted; a worker takes up the copy to A, and finds that A alone has it;
//     then the key is deleted in B: what A holds would be taken for the worker's, and deleted unkept.)
//   - Where the key's version is one of those that overlapped, and the region holds just that, it stands, and is no
//     find. (A delete is acknowledged in A; B is promoted, and then C, and each brought to it by a repair that
//     overlaps with an earlier one: B, read again, would have lost the delete that it has.)
//   - Only a delete's intent makes a tombstone. What of ours is found may have landed on what it had left, and then
//     it was applied. (A create is copied and has no answer; its region is promoted, and acknowledges a write; a DELETE
//     there has no answer; the create lands: the write would be lost, and not deleted.)
//   - An upload by a presigned URL may land whenever the URL is open, as in Decide.
//   - Nothing is found in a region that came back older. (A PUT times out, the region is
//     restored from last night's copy: yesterday's object would be taken for the write.) But what may be an upload is
//     found, to be kept as a conflict's loser. (It is restored while a URL is open; an upload lands: it is overwritten.)
func DecideDemoted(o *Object, seen Observation, regressed bool, ours []string) Decision {
	d, held := doubtsIn(o, seen), o.Copy(seen.Region)
	if d.isUnderWay || len(d.clients) == 0 && !d.isUnsettled && !d.signed {
		return Wait
	}
	etag := seen.ETag
	if !seen.Found {
		etag = ""
	}
	isOurs := slices.Contains(ours, etag) && !d.brings(etag)
	isKnown := held.ETag == etag || isOurs
	if d.windowOpen {
		if len(d.clients) != 1 || d.isUnsettled || d.signed || regressed || isKnown || held.State == Unknown {
			return Wait
		}
		switch isDelete := d.clients[0].Operation == Delete; {
		case isDelete && !seen.Found:
			return Deleted
		case !isDelete && seen.Found:
			return Adopted
		}
		return Wait
	}
	if d.signed && len(d.clients) == 0 && !d.isUnsettled {
		regressed = regressed && (o.Version.IsZero() || mutant.On(mutant.UploadInRegressed))
		return decideUploaded(seen, d, regressed || isKnown && !d.changesType(o, seen))
	}
	switch {
	case d.isRow && seen.Found != o.Deleted && etag == o.ETag:
		return Stand
	case !regressed && d.isUnsettled && seen.Found && isOurs && d.deleteSeen:
		return Deleted
	case regressed && d.isUnsettled, d.isUnsettled && seen.Found && isOurs:
		return Lost
	case regressed, !d.isUnsettled && isKnown:
		return NotApplied
	case seen.Found:
		return Adopted
	case d.deleteSeen:
		return Deleted
	}
	return Lost
}

// decideUploaded says what becomes of a key on which nothing is open in the region but presigned URLs.
func decideUploaded(seen Observation, d doubts, isKnown bool) Decision {
	switch {
	case seen.Found && !isKnown:
		return Adopted
	case d.isURLOpen:
		return Wait
	}
	return NotApplied
}

// doubts are what is open in a region that is not the active any more.
type doubts struct {
	clients []Intent
	// isUnsettled: writes overlapped there, and which of them it holds is not known.
	isUnsettled, deleteSeen, isUnderWay, windowOpen bool
	// isRow: one of them is the key's version.
	isRow bool
	// signed: an upload by a presigned URL may have landed; isURLOpen: one may yet.
	signed, isURLOpen bool
}

// changesType reports whether the key's version has the bytes that were seen, with another content type.
func (d doubts) changesType(o *Object, seen Observation) bool {
	return seen.Found && o.Copy(seen.Region).State == Current && !o.Deleted && seen.ContentType != o.ContentType
}

// brings reports whether one of the writes is known to leave this ETag, which is not absence.
func (d doubts) brings(etag string) bool {
	return etag != "" && slices.ContainsFunc(d.clients, func(i Intent) bool { return i.Brings == etag })
}

func doubtsIn(o *Object, seen Observation) doubts {
	d := doubts{isUnsettled: o.Unsettled && o.LastRegion == seen.Region}
	d.isRow = d.isUnsettled && !o.Version.IsZero()
	d.deleteSeen = d.isUnsettled && o.DeleteSeen
	for _, i := range o.Intents {
		if i.Region == seen.Region && i.Operation == PresignedPut {
			d.signed, d.isURLOpen = true, d.isURLOpen || i.IsURLOpen(seen.ReadAt)
		}
		if i.Region != seen.Region || !i.isClients() {
			continue
		}
		d.clients = append(d.clients, i)
		d.isUnderWay = d.isUnderWay || !i.InDoubt
		d.windowOpen = d.windowOpen || seen.ReadAt.Before(i.DoubtUntil)
		d.deleteSeen = d.deleteSeen || i.Operation == Delete
		d.isUnsettled = d.isUnsettled || i.IsStandIn()
		d.isRow = d.isRow || i.IsStandIn() && i.Restores == o.Version
	}
	return d
}

// IsReturned reports whether the region, which is the active, has a client's write in doubt
// from an epoch that is over, and no newer one, while the key was written elsewhere since: then
// DecideDemoted decides. (A PUT times out; another region is promoted and acknowledges a write;
// the first is promoted again: what never was acknowledged would win over what was.) Where the
// region has taken a write since, what lands there is its own history, and Decide's. (The first
// then acknowledges a write that no other has, and the PUT lands on it: it would be kept as the
// loser of a version that nobody holds.)
func (o *Object) IsReturned(active string) bool {
	if o.Unsettled && o.LastRegion == active || !o.IsBehind(active) {
		return false
	}
	isNewer := func(i Intent) bool { return i.Region == active && i.Operation != Repair && i.Epoch >= o.Version.Epoch }
	return (o.InDoubtIn(active) || o.IsOpenToURLs(active)) && !slices.ContainsFunc(o.Intents, isNewer)
}

// DecideRegressed is Decide for an active that came back older than it was: nothing that it
// holds is news, and nothing that it lacks was deleted. (A PUT times out, the region is
// restored from last night's copy: yesterday's object would be taken for the write.)
func DecideRegressed(o *Object, seen Observation, compared bool) Decision {
	d := Decide(o, seen, compared)
	switch {
	case d != Adopted && d != Deleted:
		return d
	case doubtsIn(o, seen).windowOpen:
		return Wait
	case o.Version.IsZero():
		return NotApplied
	}
	return Rewrite
}
