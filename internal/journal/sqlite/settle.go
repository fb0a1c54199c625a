package sqlite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// Settle applies what was seen in a region to a key.
func (j *Journal) Settle(ctx context.Context, seen journal.Observation) (journal.Decision, error) {
	decision := journal.Wait
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		decision, refused = journal.Wait, nil
		if seen.Epoch == 0 || seen.Epoch != t.state.Epoch {
			refused = t.checkEpoch(seen.Epoch, seen.Region)
			return nil
		}
		o, err := readObject(context.Background(), t, seen.Bucket, seen.Key)
		if err != nil || o == nil {
			return err
		}
		isActive := seen.Region == t.state.Active
		moved := isActive && o.Version != seen.Version || !allSeen(o.Intents, seen.Intents, seen.Region, isActive)
		if moved && !mutant.On(mutant.SettledUnderWay) || !isOpenIn(o, seen.Region) {
			return nil
		}
		if isOvertaken(o, seen) {
			return nil
		}
		regressed, err := t.isUnverified(seen.Bucket, seen.Region, o.Copy(seen.Region), seen.Key)
		if err != nil {
			return err
		}
		regressed = regressed && !mutant.On(mutant.RegressedImported)
		if !isActive || o.IsReturned(seen.Region) {
			decision, err = t.settleDemoted(o, seen, regressed)
			return err
		}
		decide := journal.Decide
		if regressed {
			decide = journal.DecideRegressed
		}
		decision = decide(o, seen, t.compared[seen.Bucket][seen.Region])
		return t.settle(o, seen, decision)
	})
	if err == nil {
		err = refused
	}
	return decision, err
}

// allSeen reports whether every intent there is, in the region or, with all, in any, was
// there when the region was read.
func allSeen(intents []journal.Intent, ids []int64, region string, all bool) bool {
	return !slices.ContainsFunc(intents, func(i journal.Intent) bool {
		return (all || i.Region == region) && !slices.Contains(ids, i.ID)
	})
}

// isOpenIn: where nothing is, another has settled the key since, and a copy may have been made.
func isOpenIn(o *journal.Object, region string) bool {
	return o.IsUnsettledIn(region) || slices.ContainsFunc(o.Intents, func(i journal.Intent) bool { return i.Region == region })
}

// isOvertaken: a copy was brought to the region since it was read. Where writes are in doubt none is; where
// a presigned URL is open one may be. (A settler looks at a region; a copy is made there, and recorded; what the copy has
// replaced would be taken for an upload.)
func isOvertaken(o *journal.Object, seen journal.Observation) bool {
	if mutant.On(mutant.OldLookIsUpload) {
		return false
	}
	now := o.Copy(seen.Region)
	return o.IsOpenToURLs(seen.Region) && (now.ETag != seen.Held.ETag || now.Version != seen.Held.Version || now.State != seen.Held.State)
}

func (t *tx) settle(o *journal.Object, seen journal.Observation, d journal.Decision) error {
	if d == journal.Wait {
		return nil
	}
	landedLate, err := t.landedLate(o, seen.Region)
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM intents WHERE bucket = ? AND key = ? AND region = ? AND `+isOver(), o.Bucket, o.Key, seen.Region, micros(seen.ReadAt)); err != nil {
		return err
	}
	if err := t.closeIntents(o.Intents, seen, d, func(e journal.Intent) error {
		return t.closeWhere(journal.Recovered, "found applied in the active region"+oneOf(o.Intents, seen.Region), `intent = ?1`, e.ID)
	}); err != nil {
		return err
	}
	if err := t.closeStandIns(o, seen, d); err != nil {
		return err
	}
	switch d {
	case journal.NotApplied:
		return nil
	case journal.Adopted, journal.Deleted:
		return t.leaving(o, seen, d, func(left journal.Observation) error { return t.adopt(o, left, d, t.draw(), landedLate) })
	}
	err = t.exec(`UPDATE objects SET unsettled = 0, delete_seen = 0 WHERE bucket = ? AND key = ? AND last_region = ?`, o.Bucket, o.Key, seen.Region)
	if err != nil {
		return err
	}
	// What waited for the key to rest need not wait any longer.
	if err := t.dueNow(o); err != nil {
		return err
	}
	switch d {
	case journal.Stand:
		if err := t.overwrittenUnkept(o.Bucket, o.Key, seen.Region); err != nil {
			return err
		}
		return t.setCurrent(o.Bucket, o.Key, seen.Region, o.Version, seen.ETag)
	case journal.Lost:
		if err := t.goneUnkept(o.Bucket, o.Key, seen.Region); err != nil {
			return err
		}
		return t.exec(`
			UPDATE copies SET state = 'missing', epoch = 0, sequence = 0, etag = '', next_try = 0, pending_since = 0
			WHERE bucket = ? AND key = ? AND region = ?`, o.Bucket, o.Key, seen.Region)
	default: // Rewrite
		if err := t.uploadLoses(o, seen); err != nil {
			return err
		}
		if err := t.pend(o.Bucket, o.Key, seen.Region, micros(time.Now())); err != nil {
			return err
		}
		return t.exec(`UPDATE copies SET etag = ?1, epoch = 0, sequence = 0 WHERE bucket = ?2 AND key = ?3 AND region = ?4 AND etag <> ?1`,
			seen.ETag, o.Bucket, o.Key, seen.Region)
	}
}

func (t *tx) dueNow(o *journal.Object) error {
	return t.exec(`UPDATE copies SET next_try = ? WHERE bucket = ? AND key = ? AND state = 'pending'`, micros(time.Now()), o.Bucket, o.Key)
}

// landedLate reports whether one of the writes that are open in a region began before the
// key's version was committed: what it left may have landed late, over that version.
func (t *tx) landedLate(o *journal.Object, region string) (bool, error) {
	return t.scan(`SELECT 1 FROM intents WHERE bucket = ? AND key = ? AND region = ? AND operation NOT IN ('repair', 'presigned-put') AND began < ? LIMIT 1`,
		[]any{o.Bucket, o.Key, region, o.Version.Sequence}, new(int))
}

// adopt gives the key the version v for what the region was seen to hold. An acknowledged
// write over which that landed late is a conflict where another region still has it.
func (t *tx) adopt(o *journal.Object, seen journal.Observation, d journal.Decision, v journal.Version, landedLate bool) error {
	// The same bytes again displace nothing: it is a write that was acknowledged after all.
	isSame := seen.Found && !o.Deleted && seen.ETag == o.ETag
	if landedLate && !isSame {
		if err := t.lateOver(o, seen.Region, v); err != nil {
			return err
		}
	}
	operation := explains(o.Intents, seen, d)
	err := t.write(newVersion{
		bucket: o.Bucket, key: o.Key, region: seen.Region, operation: string(operation),
		deleted: d == journal.Deleted, written: seen.Written, before: overlapOf(o),
	}, v)
	if err == nil {
		err = t.sawUpload(o.Bucket, o.Key, seen.Region, v)
	}
	if err != nil {
		return err
	}
	return t.record(audit.Entry{
		Action: audit.Adopt, Actor: gatewayActor, Bucket: o.Bucket, Key: o.Key, Version: v.String(), Region: seen.Region,
		Detail: fmt.Sprintf("%s %s %d", operation, seen.ETag, seen.Size),
	})
}

// lateOver: the later version v is of a write that was begun before the key's acknowledged
// one was committed.
func (t *tx) lateOver(o *journal.Object, region string, v journal.Version) error {
	c := journal.Conflict{
		Bucket: o.Bucket, Key: o.Key, Loser: o.Version, Winner: v, Operation: o.Operation, Deleted: o.Deleted,
		ETag: o.ETag, Size: o.Size, ContentType: o.ContentType,
	}
	for _, held := range o.Copies {
		hasIt := held.State == journal.Current || held.Version == o.Version && held.ETag == o.ETag
		if held.Region != region && (hasIt || o.Deleted) {
			c.Region, c.ETag = held.Region, held.ETag
			if c.Deleted {
				c.ETag = ""
			}
			return t.addConflict(c)
		}
	}
	return nil
}

// closeIntents closes the ledger entries of a region's intents: explained is told of each
// that may have made what was seen, the others were not applied.
func (t *tx) closeIntents(intents []journal.Intent, seen journal.Observation, d journal.Decision, explained func(journal.Intent) error) error {
	if t.openEntries == 0 {
		return nil
	}
	for _, i := range intents {
		if i.Region != seen.Region || i.Operation == journal.Repair || i.IsURLOpen(seen.ReadAt) && d != journal.Adopted {
			continue
		}
		isDelete := i.Operation == journal.Delete
		var err error
		switch {
		case d == journal.Adopted && !isDelete, d == journal.Deleted && isDelete:
			err = explained(i)
		default:
			err = t.closeWhere(journal.WasNotApplied, "the region was read again, and does not hold it", `intent = ?1`, i.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// closeStandIns closes the ledger entries of writes that overlapped in the active when it was
// that before.
func (t *tx) closeStandIns(o *journal.Object, seen journal.Observation, d journal.Decision) error {
	if t.openEntries == 0 {
		return nil
	}
	isWhole := seen.Found != o.Deleted && (o.Deleted || seen.ETag == o.ETag)
	for _, w := range overlapsIn(o, seen) {
		var err error
		switch isFind := d == journal.Adopted || d == journal.Deleted; {
		case w.version == o.Version && !isFind: // as in closeNotFound
		case isWhole, holdsLater(o, seen, d, w.version):
			err = t.closeVersion(journal.Superseded, reasonOverwritten, o.Bucket, o.Key, w.version)
		case isFind:
			err = t.closeVersion(journal.Recovered, "what the active region holds of the writes that overlapped is the key's version", o.Bucket, o.Key, w.version)
		case d == journal.Rewrite && w.isHeld:
			err = t.standInLoses(o, seen, w.version)
		case d == journal.Rewrite && w.isDelete && !seen.Found && o.Version.Compare(w.version) > 0:
			err = t.deleteLoses(o, w.version, seen.Region)
		default:
			err = t.closeVersion(journal.IsLost, reasonGone, o.Bucket, o.Key, w.version)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overlapped are writes that overlapped, for which stand-ins stand.
type overlapped struct {
	version journal.Version
	// isHeld: the region was seen to hold the object of theirs that is known. isDelete: it was seen to hold
	// what a delete among them has left, or they are deletes alone.
	isHeld, isDelete bool
}

// overlapsIn are those of the region that was read. A delete among them has a stand-in of its own, which says
// nothing of the others. (A PUT and a DELETE overlap; what the PUT left is there, and kept: it was listed as lost, too.)
func overlapsIn(o *journal.Object, seen journal.Observation) (list []overlapped) {
	for _, i := range o.Intents {
		if i.Region != seen.Region || !i.IsStandIn() {
			continue
		}
		at := slices.IndexFunc(list, func(w overlapped) bool { return w.version == i.Restores })
		if at < 0 {
			at = len(list)
			list = append(list, overlapped{version: i.Restores, isDelete: true})
		}
		w := &list[at]
		w.isHeld = w.isHeld || seen.Found && i.Brings == seen.ETag
		if i.Brings != "" && seen.Found {
			w.isDelete = false
		}
	}
	for n := range list {
		hasDelete := func(i journal.Intent) bool {
			return i.Region == seen.Region && i.IsStandIn() && i.Restores == list[n].version && i.Brings == ""
		}
		list[n].isDelete = list[n].isDelete && slices.ContainsFunc(o.Intents, hasDelete)
	}
	return list
}

// standInLoses: the active is about to be brought to a version that never saw the one for which a stand-in
// stands, and which it holds still. (Two writes overlap in A; B is promoted, and acknowledges a write; A is
// promoted again, and a write there has no answer: what A alone holds would be overwritten unkept.)
func (t *tx) standInLoses(o *journal.Object, seen journal.Observation, v journal.Version) error {
	return t.addConflict(journal.Conflict{
		Bucket: o.Bucket, Key: o.Key, Loser: v, Winner: o.Version, Operation: journal.Adopt,
		ETag: seen.ETag, Size: seen.Size, ContentType: seen.ContentType, Region: seen.Region,
	})
}

// deleteLoses: of a delete there is nothing to keep.
func (t *tx) deleteLoses(o *journal.Object, v journal.Version, region string) error {
	return t.addConflict(journal.Conflict{
		Bucket: o.Bucket, Key: o.Key, Loser: v, Winner: o.Version, Operation: journal.Delete, Deleted: true, Region: region,
	})
}

// oneOf says that of several writes without an answer one is what was found.
func oneOf(intents []journal.Intent, region string) string {
	n := 0
	for _, i := range intents {
		if i.Region == region && i.Operation != journal.Repair {
			n++
		}
	}
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(", as one of %d writes without an answer", n)
}

// explains is the operation that made the version. An object of which there is not
// exactly one write to have made it was found, and not made.
func explains(intents []journal.Intent, seen journal.Observation, d journal.Decision) journal.Operation {
	if d == journal.Deleted {
		return journal.Delete
	}
	writes := slices.DeleteFunc(slices.Clone(intents), func(i journal.Intent) bool {
		return i.Region != seen.Region || i.Operation == journal.Delete || i.Operation == journal.Repair
	})
	if len(writes) == 1 {
		return writes[0].Operation
	}
	return journal.Adopt
}
