package sqlite

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// settleDemoted applies what was seen in a region that is not the active, or that became so
// again, to a key of which it may hold a write from an epoch that is over.
func (t *tx) settleDemoted(o *journal.Object, seen journal.Observation, regressed bool) (journal.Decision, error) {
	ours, err := t.ours(o, seen.Region)
	if err != nil {
		return journal.Wait, err
	}
	d := journal.DecideDemoted(o, seen, regressed, ours)
	if d == journal.Wait {
		return d, nil
	}
	landedLate, err := t.landedLate(o, seen.Region)
	if err != nil {
		return d, err
	}
	upload, err := t.uploaded(o, seen.Region)
	if err != nil {
		return d, err
	}
	upload.hasLost = upload.hasLost || upload.isOnly && regressed // it may be older, too
	// A repair that may yet land in the present active is none of this.
	err = t.exec(`DELETE FROM intents WHERE bucket = ? AND key = ? AND region = ? AND operation <> 'repair' AND `+isOver(), o.Bucket, o.Key, seen.Region, micros(seen.ReadAt))
	if err != nil {
		return d, err
	}
	if o.Unsettled && o.LastRegion == seen.Region {
		err := t.exec(`UPDATE objects SET unsettled = 0, delete_seen = 0 WHERE bucket = ? AND key = ?`, o.Bucket, o.Key)
		if err != nil {
			return d, err
		}
	}
	if d == journal.Adopted || d == journal.Deleted {
		return d, t.leaving(o, seen, d, func(left journal.Observation) error { return t.found(o, left, d, landedLate, upload) })
	}
	return d, t.notFound(o, seen, d, regressed)
}

// leaving records a find. What a delete is found by may have landed on what that had left: then the find is the
// absence, and what is there has yet to go.
func (t *tx) leaving(o *journal.Object, seen journal.Observation, d journal.Decision, find func(journal.Observation) error) error {
	if d != journal.Deleted || !seen.Found {
		return find(seen)
	}
	left := seen
	left.Found, left.Written = false, journal.Written{}
	if err := find(left); err != nil {
		return err
	}
	return t.pendHolding(o, seen.Region, journal.Version{}, seen)
}

// ours are the ETags that copies and repairs without an answer may have left in a region.
func (t *tx) ours(o *journal.Object, region string) ([]string, error) {
	return collect(context.Background(), t, scanKey, `
		SELECT etag FROM late_copies WHERE bucket = ?1 AND key = ?2 AND region = ?3
		UNION SELECT claimed_etag FROM copies WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND claim <> 0 AND claimed_expects <> '`+sendsNothing+`'
		UNION SELECT brings FROM intents WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND operation = 'repair'`,
		o.Bucket, o.Key, region)
}

// notFound: the region holds nothing that is news. What was in doubt there was not applied;
// of acknowledged writes that overlapped, none is there.
func (t *tx) notFound(o *journal.Object, seen journal.Observation, d journal.Decision, regressed bool) error {
	if err := t.closeNotFound(o, seen, d, regressed); err != nil || o.Version.IsZero() {
		return err
	}
	if err := t.dueNow(o); err != nil {
		return err
	}
	held := o.Copy(seen.Region).ETag
	switch {
	case d == journal.Stand:
		return t.stand(o, seen)
	case d == journal.Lost && !regressed, !seen.Found && held != "", seen.Found && held != seen.ETag:
		// It is not what the region was known to hold. Its worker brings it there, and finds out
		// whether anybody has it.
		return t.pendHolding(o, seen.Region, journal.Version{}, seen)
	case d == journal.NotApplied && !regressed && seen.Found && o.Copy(seen.Region).State == journal.Current && o.IsElsewhere(seen.Region) && mayHaveChangedUnseen(o, seen):
		// The ETag is what it was, and says nothing of what is beside the content. (Tags are changed in A, without an answer; B
		// is promoted; A is seen to hold the ETag that it held: it would have other tags than B for ever.)
		return t.pendHolding(o, seen.Region, o.Copy(seen.Region).Version, seen)
	}
	return nil
}

// mayHaveChangedUnseen reports whether a write of a client that was in doubt in the region is known to leave the ETag that is
// seen: then other tags or metadata may be there.
func mayHaveChangedUnseen(o *journal.Object, seen journal.Observation) bool {
	return slices.ContainsFunc(o.Intents, func(i journal.Intent) bool {
		return i.Region == seen.Region && (i.Operation == journal.Put || i.Operation == journal.Complete) && i.Brings == seen.ETag
	})
}

// stand: the region holds the key's version. Where a late copy could yet land on that, it is not current
// before that is over. (A create is copied and has no answer; the region is promoted, and deletes the key;
// another is promoted; the region is seen to hold nothing; the create lands; it is promoted again: the
// deleted object is back.)
func (t *tx) stand(o *journal.Object, seen journal.Observation) error {
	late, err := t.lateUntil(o, seen.Region, seen.ETag, time.Now())
	if err != nil {
		return err
	}
	if late.IsZero() {
		return t.setCurrent(o.Bucket, o.Key, seen.Region, o.Version, seen.ETag)
	}
	if err := t.pendHolding(o, seen.Region, o.Version, seen); err != nil {
		return err
	}
	return t.exec(`UPDATE copies SET next_try = ?, last_error = ?, attempts = max(attempts, 1) WHERE bucket = ? AND key = ? AND region = ?`,
		micros(late), reasonLate, o.Bucket, o.Key, seen.Region)
}

const reasonGone = "the region was read again, and does not hold it"

func (t *tx) closeNotFound(o *journal.Object, seen journal.Observation, d journal.Decision, regressed bool) error {
	if t.openEntries == 0 {
		return nil
	}
	if regressed {
		err := t.closeWhere(journal.IsLost, "the region came back older than it was; whether it had the write is not known, and nothing is taken from it",
			`bucket = ?1 AND key = ?2 AND region = ?3 AND kind = 'in-doubt' AND sequence = 0`, o.Bucket, o.Key, seen.Region)
		if err != nil {
			return err
		}
	}
	for _, w := range overlapsIn(o, seen) {
		var err error
		switch {
		case w.version == o.Version:
			// Whoever has it, or brings it, or finds that nobody has it, closes its entries.
		case holdsLater(o, seen, d, w.version):
			err = t.closeVersion(journal.Superseded, reasonOverwritten, o.Bucket, o.Key, w.version)
		case w.isDelete && o.Version.Compare(w.version) > 0:
			err = t.deleteLoses(o, w.version, seen.Region)
		default:
			err = t.closeVersion(journal.IsLost, reasonGone, o.Bucket, o.Key, w.version)
		}
		if err != nil {
			return err
		}
	}
	return t.closeIntents(o.Intents, seen, d, nil)
}

// holdsLater reports whether the region holds what is known to have been written there after v. (Two
// writes overlap; another region is promoted and written to; the first is promoted again, and takes a
// write: nothing was lost.)
func holdsLater(o *journal.Object, seen journal.Observation, d journal.Decision, v journal.Version) bool {
	held := o.Copy(seen.Region)
	return d == journal.Stand && o.Version.Compare(v) > 0 || held.Version.Compare(v) > 0 && held.ETag == seen.ETag
}

// pendHolding puts a copy into the queue, and records what its region holds.
func (t *tx) pendHolding(o *journal.Object, region string, v journal.Version, seen journal.Observation) error {
	if err := t.pend(o.Bucket, o.Key, region, micros(time.Now())); err != nil {
		return err
	}
	etag := seen.ETag
	if !seen.Found {
		etag = ""
	}
	return t.exec(`UPDATE copies SET epoch = ?, sequence = ?, etag = ? WHERE bucket = ? AND key = ? AND region = ?`,
		v.Epoch, v.Sequence, etag, o.Bucket, o.Key, region)
}

// found: the region holds a write that the index did not know. It keeps its intents' epoch:
// it goes forward where the key has not changed since, else it is a conflict's loser.
func (t *tx) found(o *journal.Object, seen journal.Observation, d journal.Decision, landedLate bool, u upload) error {
	v := t.draw()
	if !mutant.On(mutant.FindInNewEpoch) {
		v.Epoch = epochOf(o, seen)
	}
	// Where it has landed on the key's version, which nobody else has, that is replaced in its own region's history. (A
	// PUT times out in A; B is promoted, and A again, and acknowledges a write; B is promoted; the PUT lands in A: what
	// A holds would be the loser of a version that nobody has.)
	if o.LastRegion == seen.Region && !o.IsElsewhere(seen.Region) {
		v.Epoch = max(v.Epoch, o.Version.Epoch)
	}
	// Of one epoch only its active has writes of clients: a version of that epoch which another region has is that of an
	// upload there, which came after. (Writes overlap in A; an upload to B is the key's version; B is promoted: what A
	// holds of the writes that overlapped would win over it.)
	isBefore := !u.isOnly && o.LastRegion != seen.Region && v.Epoch == o.Version.Epoch && !mutant.On(mutant.FindInNewEpoch)
	if (u.hasLost || isBefore) && o.Version.Compare(v) < 0 {
		v.Epoch = o.Version.Epoch - 1 // it has lost against what was acknowledged since
	}
	if err := t.foundEntries(o, seen, d, v); err != nil {
		return err
	}
	if o.Version.Compare(v) < 0 {
		// Where the key's version was written elsewhere and never brought there, the find has not
		// seen it, whenever it was begun.
		isUnseen := o.LastRegion != seen.Region && o.Copy(seen.Region).Version != o.Version && !u.isOnly
		return t.adopt(o, seen, d, v, landedLate || isUnseen && !o.Version.IsZero())
	}
	if err := t.heldElsewhere(o, seen.Region); err != nil {
		return err
	}
	if err := t.overwrittenUnkept(o.Bucket, o.Key, seen.Region); err != nil {
		return err
	}
	err := t.addConflict(journal.Conflict{
		Bucket: o.Bucket, Key: o.Key, Loser: v, Winner: o.Version, Operation: explains(o.Intents, seen, d), Deleted: d == journal.Deleted,
		ETag: seen.ETag, Size: seen.Size, ContentType: seen.ContentType, Region: seen.Region,
	})
	if err != nil {
		return err
	}
	return t.pendHolding(o, seen.Region, v, seen)
}

// heldElsewhere is told that a region was found to hold something else than the key's version. Where another is
// known to hold that version's bytes, it is for that one to keep them. (A acknowledges a write, whose copy lands in B
// while B is promoted; a PUT without an answer lands in A on the write; the key is deleted in B: what nobody could
// keep from A any more was listed as lost, though it was overwritten in B.)
func (t *tx) heldElsewhere(o *journal.Object, region string) error {
	if t.openEntries == 0 || o.ETag == "" {
		return nil
	}
	const other = `SELECT c.region FROM copies c WHERE c.bucket = ?1 AND c.key = ?2 AND c.region <> ?3 AND c.etag = ?6
		ORDER BY c.state <> 'current', c.region <> ?7 LIMIT 1`
	return t.exec(`UPDATE ledger SET region = (`+other+`) WHERE outcome = '' AND bucket = ?1 AND key = ?2 AND region = ?3
		AND epoch = ?4 AND sequence = ?5 AND EXISTS (`+other+`)`,
		o.Bucket, o.Key, region, o.Version.Epoch, o.Version.Sequence, o.ETag, t.state.Active)
}

// foundEntries tells the open ledger entries of what was found which version it is. Of
// acknowledged writes that overlapped, it is the one that is there to be saved.
func (t *tx) foundEntries(o *journal.Object, seen journal.Observation, d journal.Decision, v journal.Version) error {
	if t.openEntries == 0 {
		return nil
	}
	err := t.closeIntents(o.Intents, seen, d, func(i journal.Intent) error {
		return t.exec(`UPDATE ledger SET epoch = ?, sequence = ?, etag = ?, size = ? WHERE intent = ? AND outcome = ''`,
			v.Epoch, v.Sequence, seen.ETag, seen.Size, i.ID)
	})
	if err != nil {
		return err
	}
	var overlapped []journal.Version
	if o.Unsettled && o.LastRegion == seen.Region {
		overlapped = append(overlapped, o.Version)
	}
	for _, i := range o.Intents {
		if i.Region == seen.Region && i.IsStandIn() {
			overlapped = append(overlapped, i.Restores)
		}
	}
	for _, was := range overlapped {
		err := t.exec(`UPDATE ledger SET epoch = ?1, sequence = ?2, etag = ?3, size = ?4
			WHERE bucket = ?5 AND key = ?6 AND outcome = '' AND epoch = ?7 AND sequence = ?8 AND region = ?9`,
			v.Epoch, v.Sequence, seen.ETag, seen.Size, o.Bucket, o.Key, was.Epoch, was.Sequence, seen.Region)
		if err != nil {
			return err
		}
	}
	return nil
}

// epochOf is the epoch of what was seen in a region: that of the last of its writes, open or unsettled, that is
// known to bring this, else of the last that may have: of writes that overlapped any may be there. (Writes overlap
// in A; B is promoted and deletes the key; A is promoted again, and a PUT there has no answer; what A held all the
// while would take that one's epoch, and the deleted object be back.)
func epochOf(o *journal.Object, seen journal.Observation) (epoch int64) {
	var exact, possible, last int64
	take := func(e int64, brings string, isDelete, isOneOf bool) {
		last = max(last, e)
		if isOneOf || seen.Found == !isDelete && (brings == "" || brings == seen.ETag) {
			possible = max(possible, e)
		}
		if seen.Found && brings == seen.ETag {
			exact = max(exact, e)
		}
	}
	if o.Unsettled && o.LastRegion == seen.Region {
		take(o.Version.Epoch, o.ETag, o.Deleted, true)
	}
	for _, i := range o.Intents {
		if i.Region == seen.Region && i.Operation != journal.Repair {
			take(i.Epoch, i.Brings, i.Operation == journal.Delete, i.IsStandIn())
		}
	}
	return cmp.Or(exact, possible, last)
}

// overlap is what is not known of a key: which of the writes that overlapped in a region it
// holds. Its zero value is nothing.
type overlap struct {
	region     string
	version    journal.Version
	etag       string
	deleteSeen bool
}

func overlapOf(o *journal.Object) overlap {
	if !o.Unsettled {
		return overlap{}
	}
	return overlap{region: o.LastRegion, version: o.Version, etag: o.ETag, deleteSeen: o.DeleteSeen}
}

// standIn is told that the key takes a version in another region, where the row can no longer
// say that the one of the overlap is to be read again: from then on an intent says it.
func (t *tx) standIn(bucket, key string, u overlap) error {
	operations := []journal.Operation{journal.Adopt}
	if u.deleteSeen {
		operations = append(operations, journal.Delete)
	}
	now := micros(time.Now())
	for _, operation := range operations {
		brings := u.etag
		if operation == journal.Delete {
			brings = ""
		}
		err := t.exec(`
			INSERT INTO intents (id, bucket, key, region, operation, epoch, began, opened_at, doubt_until, in_doubt, restores_epoch, restores_sequence, brings)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1, ?6, ?7, ?9)`,
			t.drawIntent(), bucket, key, u.region, string(operation), u.version.Epoch, u.version.Sequence, now, brings)
		if err != nil {
			return err
		}
	}
	return nil
}
