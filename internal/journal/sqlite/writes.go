package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// Open records an intent.
func (j *Journal) Open(ctx context.Context, i journal.Intent) (int64, error) {
	var id int64
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		if refused = t.checkEpoch(i.Epoch, i.Region); mutant.On(mutant.IntentEpoch) {
			refused = nil
		}
		if refused != nil {
			return nil
		}
		if i.Operation == journal.Repair {
			o, err := readObject(context.Background(), t, i.Bucket, i.Key)
			if err != nil {
				return err
			}
			if o == nil || o.Version != i.Restores && !mutant.On(mutant.RepairOfOverwritten) || o.Contested(t.state.Active) {
				refused = journal.ErrMovedOn
				return nil
			}
		} else if losers, err := t.losersIn(i.Bucket, i.Key, i.Region); err != nil || len(losers) > 0 {
			refused = journal.ErrLoser
			return err
		}
		id = t.drawIntent()
		opened, err := t.execCount(`
			INSERT INTO intents (id, bucket, key, region, operation, epoch, began, opened_at, doubt_until,
				restores_epoch, restores_sequence, brings, displaces)
			SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
			WHERE ?5 IN ('delete', 'repair') OR NOT EXISTS (
				SELECT 1 FROM intents WHERE bucket = ?2 AND key = ?3 AND region = ?4 AND displaces <> '')`,
			id, i.Bucket, i.Key, i.Region, string(i.Operation), i.Epoch, t.sequence, micros(i.OpenedAt), micros(i.DoubtUntil),
			i.Restores.Epoch, i.Restores.Sequence, i.Brings, i.Displaces)
		if err == nil && opened == 0 {
			refused = journal.ErrRepairing
		}
		return err
	})
	if err == nil {
		err = refused
	}
	return id, err
}

func (t *tx) checkEpoch(epoch int64, region string) error {
	if epoch == 0 || epoch != t.state.Epoch || region != t.state.Active {
		return fmt.Errorf("%w: epoch %d with active %s, not %d with %s", journal.ErrEpoch, t.state.Epoch, t.state.Active, epoch, region)
	}
	return nil
}

// openIntent is what a commit needs to know: the intent, the key's row (zero where
// there is none), and whether another write of the key may be under way.
type openIntent struct {
	bucket, key, region, operation string
	epoch, began                   int64
	restores, version              journal.Version
	lastRegion, etag               string
	deleted, unsettled, deleteSeen bool
	hasOther, hasURL               bool
}

// isHere reports whether the row's version was written in the intent's region. What is known
// of its order there says nothing of another region.
func (i *openIntent) isHere() bool { return i.lastRegion == i.region }

// readIntent: two repairs of one version bring the same, so neither is another
// write to the other.
func (t *tx) readIntent(id int64) (i openIntent, found bool, err error) {
	found, err = t.scan(`
		SELECT i.bucket, i.key, i.region, i.operation, i.epoch, i.began, i.restores_epoch, i.restores_sequence,
			coalesce(o.epoch, 0), coalesce(o.sequence, 0), coalesce(o.deleted, 0), coalesce(o.unsettled, 0), coalesce(o.delete_seen, 0),
			coalesce(o.last_region, ''), coalesce(o.etag, ''),
			EXISTS (SELECT 1 FROM intents x WHERE x.bucket = i.bucket AND x.key = i.key AND x.region = i.region AND x.id <> i.id
				AND x.operation <> 'presigned-put' AND NOT (i.operation = 'repair' AND x.operation = 'repair' AND x.restores_sequence = i.restores_sequence)),
			EXISTS (SELECT 1 FROM intents x WHERE x.bucket = i.bucket AND x.key = i.key AND x.region = i.region AND x.operation = 'presigned-put')
		FROM intents i LEFT JOIN objects o ON o.bucket = i.bucket AND o.key = i.key
		WHERE i.id = ?`, []any{id},
		&i.bucket, &i.key, &i.region, &i.operation, &i.epoch, &i.began, &i.restores.Epoch, &i.restores.Sequence,
		&i.version.Epoch, &i.version.Sequence, &i.deleted, &i.unsettled, &i.deleteSeen, &i.lastRegion, &i.etag, &i.hasOther, &i.hasURL)
	return i, found, err
}

// Commit records that the intent's write was applied.
func (j *Journal) Commit(ctx context.Context, id int64, w journal.Written) (journal.Committed, error) {
	var committed journal.Committed
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		i, found, err := t.readIntent(id)
		if err != nil {
			return err
		}
		if !found {
			refused = journal.ErrNoIntent
			return nil
		}
		if refused = t.checkEpoch(i.epoch, i.region); mutant.On(mutant.CommitEpoch) {
			refused = nil
		}
		if refused != nil {
			return t.exec(`UPDATE intents SET in_doubt = 1 WHERE id = ?`, id)
		}
		if journal.Operation(i.operation) == journal.Repair {
			committed, err = t.commitRepair(id, i)
		} else {
			committed, err = t.commitWrite(id, i, w)
		}
		return err
	})
	if err == nil {
		err = refused
	}
	return committed, err
}

// isOverlapped: the region's order of two writes is not ours to know when one began
// before the other was committed, so a write overlaps with every other intent that is
// there, and with the last one committed if that drew its sequence after this began.
func (i *openIntent) isOverlapped() bool {
	return (i.hasOther || i.isOvertaken()) && !mutant.On(mutant.OverlapUnseen)
}

func (i *openIntent) isOvertaken() bool { return i.isHere() && i.version.Sequence > i.began }

func (t *tx) commitWrite(id int64, i openIntent, w journal.Written) (journal.Committed, error) {
	if err := t.exec(`DELETE FROM intents WHERE id = ?`, id); err != nil {
		return journal.Committed{}, err
	}
	isDelete := journal.Operation(i.operation) == journal.Delete
	row := newVersion{
		bucket: i.bucket, key: i.key, region: i.region, operation: i.operation,
		deleted: isDelete, written: w, unsettled: i.isOverlapped(),
	}
	i.hasURL = i.hasURL && !mutant.On(mutant.WriteCleansURL)
	row.deleteSeen = row.unsettled && (isDelete || i.isOvertaken() && (i.deleted || i.deleteSeen))
	if i.unsettled {
		row.before = overlap{region: i.lastRegion, version: i.version, etag: i.etag, deleteSeen: i.deleteSeen}
	}
	version := t.draw()
	if err := t.write(row, version); err != nil {
		return journal.Committed{}, err
	}
	if t.regressed[i.bucket][i.region] {
		if err := t.writtenBefore(id, i.bucket, i.key, i.region); err != nil {
			return journal.Committed{}, err
		}
	}
	if mutant.On(mutant.AuditLeftOut) {
		return journal.Committed{Version: version, Settled: !row.unsettled && !i.hasURL}, nil
	}
	return journal.Committed{Version: version, Settled: !row.unsettled && !i.hasURL}, t.record(audit.Entry{
		Action: audit.Write, Actor: clientActor, Bucket: i.bucket, Key: i.key, Version: version.String(), Region: i.region,
		Detail: i.operation + " " + w.ETag + " " + strconv.FormatInt(w.Size, 10),
	})
}

// commitRepair: where a write overlapped, the intent is kept, in doubt although it
// cannot land any more, so that Settle knows what it brought. (A repair and a delete
// overlap, both are answered; without the intent, the object that the active then holds
// would be adopted, and the deleted key be back.)
func (t *tx) commitRepair(id int64, i openIntent) (journal.Committed, error) {
	err := t.record(audit.Entry{
		Action: audit.Repair, Actor: gatewayActor, Bucket: i.bucket, Key: i.key, Version: i.restores.String(), Region: i.region,
	})
	if err != nil {
		return journal.Committed{}, err
	}
	if i.isOverlapped() || i.isHere() && i.unsettled || i.version != i.restores && !mutant.On(mutant.RepairOfOverwritten) {
		if err := t.exec(`UPDATE intents SET in_doubt = 1, doubt_until = ? WHERE id = ?`, micros(time.Now()), id); err != nil {
			return journal.Committed{}, err
		}
		return journal.Committed{Version: i.version}, t.unsettle(i.bucket, i.key, i.region, i.version)
	}
	return journal.Committed{Version: i.version, Settled: true}, t.exec(`DELETE FROM intents WHERE id = ?`, id)
}

// unsettle has a region read again for the key, if that is at version v. Where the row is
// unsettled in another region, an intent keeps that from then on.
func (t *tx) unsettle(bucket, key, region string, v journal.Version) error {
	u := overlap{version: v}
	isElsewhere, err := t.scan(`SELECT last_region, etag, delete_seen FROM objects
		WHERE bucket = ? AND key = ? AND epoch = ? AND sequence = ? AND unsettled = 1 AND last_region <> ?`,
		[]any{bucket, key, v.Epoch, v.Sequence, region}, &u.region, &u.etag, &u.deleteSeen)
	if err == nil && isElsewhere {
		err = t.standIn(bucket, key, u)
	}
	if err != nil {
		return err
	}
	return t.exec(`UPDATE objects SET unsettled = 1, last_region = ?5, delete_seen = delete_seen AND last_region = ?5
		WHERE bucket = ?1 AND key = ?2 AND epoch = ?3 AND sequence = ?4`, bucket, key, v.Epoch, v.Sequence, region)
}

// newVersion is a write on its way into the index.
type newVersion struct {
	bucket, key, region, operation string
	deleted                        bool
	written                        journal.Written
	unsettled, deleteSeen          bool
	// before is what the row says until then of writes that overlapped.
	before overlap
}

// write gives the key a new version: the region holds it, every other attached one is to
// be brought to it.
func (t *tx) write(n newVersion, v journal.Version) error {
	now := micros(time.Now())
	if n.deleted {
		n.written = journal.Written{}
	}
	if n.before.region == n.region {
		n.before = overlap{}
	}
	if err := t.displaced(n, v); err != nil {
		return err
	}
	if err := t.overwrittenUnkept(n.bucket, n.key, n.region); err != nil {
		return err
	}
	if n.before.region != "" {
		if err := t.standIn(n.bucket, n.key, n.before); err != nil {
			return err
		}
	}
	err := t.exec(`
		INSERT INTO objects (bucket, key, epoch, sequence, operation, deleted, etag, size, content_type, last_region,
			created_at, updated_at, unsettled, delete_seen)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13)
		ON CONFLICT (bucket, key) DO UPDATE SET epoch = ?3, sequence = ?4, operation = ?5,
			created_at = CASE WHEN deleted THEN ?11 ELSE created_at END,
			deleted = ?6, etag = ?7, size = ?8, content_type = ?9, last_region = ?10, updated_at = ?11,
			unsettled = ?12, delete_seen = ?13`,
		n.bucket, n.key, v.Epoch, v.Sequence, n.operation, n.deleted, n.written.ETag, n.written.Size, n.written.ContentType,
		n.region, now, n.unsettled, n.deleteSeen)
	if err != nil {
		return err
	}
	for _, region := range t.regions[n.bucket] {
		if region != n.region {
			if err := t.pend(n.bucket, n.key, region, now); err != nil {
				return err
			}
		}
	}
	return t.setCurrent(n.bucket, n.key, n.region, v, n.written.ETag)
}

// setCurrent: a claim on the copy stays, so that its worker finds out. What only another
// region had is recovered with it, and so is what the active is found to have. A loser is not
// there any more.
func (t *tx) setCurrent(bucket, key, region string, v journal.Version, etag string) error {
	if err := t.goneUnkept(bucket, key, region); err != nil {
		return err
	}
	if t.openEntries > 0 {
		err := t.closeWhere(journal.Recovered, "region "+region+" has it", `
			bucket = ?1 AND key = ?2 AND epoch = ?3 AND sequence = ?4 AND (region <> ?5 OR ?6)`,
			bucket, key, v.Epoch, v.Sequence, region, region == t.state.Active)
		if err != nil {
			return err
		}
		// Whoever has waited for somebody to have it need not wait any longer.
		err = t.exec(`UPDATE copies SET next_try = ?3 WHERE bucket = ?1 AND key = ?2 AND state = 'pending' AND next_try > ?3`, bucket, key, micros(time.Now()))
		if err != nil {
			return err
		}
	}
	return t.exec(`
		INSERT INTO copies (bucket, key, region, state, epoch, sequence, etag) VALUES (?1, ?2, ?3, 'current', ?4, ?5, ?6)
		ON CONFLICT (bucket, key, region) DO UPDATE SET state = 'current', epoch = ?4, sequence = ?5, etag = ?6,
			attempts = 0, last_error = '', next_try = 0, pending_since = 0, unverified = 0`,
		bucket, key, region, v.Epoch, v.Sequence, etag)
}

// pend puts a copy into the queue, due now. What the region holds stays known. Where that is
// from before the region came back older, or nothing was ever known of the key there, a worker is
// to look before it copies: hence attempts = 1.
func (t *tx) pend(bucket, key, region string, now int64) error {
	return t.exec(`
		INSERT INTO copies (bucket, key, region, state, next_try, pending_since, attempts, unverified) VALUES (?1, ?2, ?3, 'pending', ?4, ?4, ?5, ?5)
		ON CONFLICT (bucket, key, region) DO UPDATE SET state = 'pending', attempts = unverified, last_error = '', next_try = ?4,
			pending_since = CASE WHEN state = 'pending' THEN pending_since ELSE ?4 END`,
		bucket, key, region, now, t.regressed[bucket][region])
}

// Abandon closes an intent that left nothing.
func (j *Journal) Abandon(ctx context.Context, id int64) error {
	return j.writer.do(ctx, func(t *tx) error {
		if t.openEntries > 0 {
			err := t.closeWhere(journal.WasNotApplied, "the region refused it, or it was never sent", `intent = ?1`, id)
			if err != nil {
				return err
			}
		}
		return t.exec(`DELETE FROM intents WHERE id = ?`, id)
	})
}

// Doubt marks an intent whose outcome is unknown.
func (j *Journal) Doubt(ctx context.Context, id int64, until time.Time) error {
	return j.writer.do(ctx, func(t *tx) error {
		return t.exec(`
			UPDATE intents SET in_doubt = 1, doubt_until = CASE ?2 WHEN 0 THEN doubt_until ELSE min(doubt_until, ?2) END
			WHERE id = ?1`, id, micros(until))
	})
}

const reasonMissing = "the region was found not to hold it"

// MarkMissing records that a region does not hold what it should.
func (j *Journal) MarkMissing(ctx context.Context, bucket, key, region string, v journal.Version) error {
	return j.writer.do(ctx, func(t *tx) error {
		return t.exec(`
			UPDATE copies SET epoch = 0, sequence = 0, etag = '', last_error = ?6,
				state = CASE WHEN ?7 THEN 'missing' ELSE 'pending' END,
				next_try = CASE WHEN ?7 THEN 0 ELSE ?8 END, pending_since = CASE WHEN ?7 THEN 0 ELSE ?8 END
			WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND state = 'current' AND epoch = ?4 AND sequence = ?5
				AND EXISTS (SELECT 1 FROM objects WHERE bucket = ?1 AND key = ?2 AND epoch = ?4 AND sequence = ?5
					AND NOT deleted AND NOT (unsettled AND last_region IN (?3, ?9)))
				AND NOT EXISTS (SELECT 1 FROM intents WHERE bucket = ?1 AND key = ?2 AND operation NOT IN ('repair', 'presigned-put') AND region IN (?3, ?9))`,
			bucket, key, region, v.Epoch, v.Sequence, reasonMissing, region == t.state.Active, micros(time.Now()), t.state.Active)
	})
}
