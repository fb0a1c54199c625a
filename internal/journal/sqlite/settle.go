package sqlite

import (
	"context"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// Settle applies what was seen in the active to a key.
func (j *Journal) Settle(ctx context.Context, seen journal.Observation) (journal.Decision, error) {
	decision := journal.Wait
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		if refused = t.checkEpoch(seen.Epoch, seen.Region); refused != nil {
			return nil
		}
		o, err := readObject(context.Background(), t, seen.Bucket, seen.Key)
		if err != nil || o == nil {
			return err
		}
		if o.Version != seen.Version || !allSeen(o.Intents, seen.Intents) {
			return nil
		}
		decision = journal.Decide(o, seen, t.compared[seen.Bucket][seen.Region])
		return t.settle(o, seen, decision)
	})
	if err == nil {
		err = refused
	}
	return decision, err
}

// allSeen reports whether every intent there is was there when the region was read.
func allSeen(intents []journal.Intent, ids []int64) bool {
	for _, i := range intents {
		if !slices.Contains(ids, i.ID) {
			return false
		}
	}
	return true
}

func (t *tx) settle(o *journal.Object, seen journal.Observation, d journal.Decision) error {
	if d == journal.Wait {
		return nil
	}
	err := t.exec(`DELETE FROM intents WHERE bucket = ? AND key = ? AND region = ?`, o.Bucket, o.Key, seen.Region)
	if err != nil {
		return err
	}
	switch d {
	case journal.NotApplied:
		return nil
	case journal.Adopted, journal.Deleted:
		_, err := t.write(newVersion{
			bucket: o.Bucket, key: o.Key, region: seen.Region, operation: string(explains(o.Intents, seen, d)),
			deleted: d == journal.Deleted, written: seen.Written,
		})
		return err
	}
	err = t.exec(`UPDATE objects SET unsettled = 0, delete_seen = 0 WHERE bucket = ? AND key = ?`, o.Bucket, o.Key)
	if err != nil {
		return err
	}
	// What waited for the key to rest need not wait any longer.
	err = t.exec(`UPDATE copies SET next_try = ? WHERE bucket = ? AND key = ? AND state = 'pending'`, micros(time.Now()), o.Bucket, o.Key)
	if err != nil {
		return err
	}
	switch d {
	case journal.Stand:
		return t.setCurrent(o.Bucket, o.Key, seen.Region, o.Version, seen.ETag)
	case journal.Lost:
		return t.exec(`
			UPDATE copies SET state = 'missing', epoch = 0, sequence = 0, etag = '', next_try = 0, pending_since = 0
			WHERE bucket = ? AND key = ? AND region = ?`, o.Bucket, o.Key, seen.Region)
	default: // Rewrite
		if err := t.pend(o.Bucket, o.Key, seen.Region, micros(time.Now())); err != nil {
			return err
		}
		return t.exec(`UPDATE copies SET etag = ?1, epoch = 0, sequence = 0 WHERE bucket = ?2 AND key = ?3 AND region = ?4 AND etag <> ?1`,
			seen.ETag, o.Bucket, o.Key, seen.Region)
	}
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
