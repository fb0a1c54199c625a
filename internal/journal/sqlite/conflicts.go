package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

const conflictColumns = `id, bucket, key, epoch, sequence, winner_epoch, winner_sequence, operation, deleted, etag, size, content_type,
	region, found_at, state, kept_key, last_error, resolution, resolved_at, resolved_by`

func scanConflict(rows *sql.Rows) (journal.Conflict, error) {
	var c journal.Conflict
	var found, resolved int64
	err := rows.Scan(&c.ID, &c.Bucket, &c.Key, &c.Loser.Epoch, &c.Loser.Sequence, &c.Winner.Epoch, &c.Winner.Sequence, &c.Operation, &c.Deleted,
		&c.ETag, &c.Size, &c.ContentType, &c.Region, &found, &c.State, &c.KeptKey, &c.LastError, &c.Resolution, &resolved, &c.ResolvedBy)
	c.FoundAt, c.ResolvedAt = fromMicros(found), fromMicros(resolved)
	return c, err
}

// addConflict records a loser. Of a delete there is nothing to keep, so it is kept at once.
func (t *tx) addConflict(c journal.Conflict) error {
	c.State = journal.ConflictFound
	if c.Deleted {
		c.State = journal.ConflictKept
	}
	added, err := t.execCount(`
		INSERT INTO conflicts (bucket, key, epoch, sequence, winner_epoch, winner_sequence, operation, deleted, etag, size, content_type,
			region, found_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (bucket, key, epoch, sequence) DO NOTHING`,
		c.Bucket, c.Key, c.Loser.Epoch, c.Loser.Sequence, c.Winner.Epoch, c.Winner.Sequence, string(c.Operation), c.Deleted, c.ETag, c.Size,
		c.ContentType, c.Region, micros(time.Now()), string(c.State))
	if err != nil || added == 0 {
		return err
	}
	err = t.record(audit.Entry{
		Action: audit.Conflict, Actor: gatewayActor, Bucket: c.Bucket, Key: c.Key, Version: c.Loser.String(), Region: c.Region,
		Detail: detail(map[string]any{"winner": c.Winner.String(), "operation": c.Operation, "etag": c.ETag, "size": c.Size}),
	})
	if err != nil {
		return err
	}
	if !c.Deleted {
		t.losers++
		return nil
	}
	return t.closeVersion(journal.InConflict, "a later write never saw this delete; see the conflicts", c.Bucket, c.Key, c.Loser)
}

// displaced is told that the key's row is about to take the version v: what the row said is
// superseded where it was that region's own, and a conflict where the later write never saw it. Of
// writes that overlapped it is not known yet which of them the region holds.
func (t *tx) displaced(n newVersion, v journal.Version) error {
	if t.openEntries == 0 {
		return nil
	}
	open, err := collect(context.Background(), t, scanLoser, `
		SELECT DISTINCT o.epoch, o.sequence, o.operation, o.deleted, o.etag, o.size, o.content_type, l.region
		FROM ledger l INDEXED BY ledger_open JOIN objects o ON o.bucket = l.bucket AND o.key = l.key AND o.epoch = l.epoch AND o.sequence = l.sequence
		WHERE l.bucket = ? AND l.key = ? AND l.outcome = ''`, n.bucket, n.key)
	if err != nil {
		return err
	}
	for _, c := range open {
		c.Bucket, c.Key, c.Winner = n.bucket, n.key, v
		switch c.Region {
		case n.region:
			err = t.closeVersion(journal.Superseded, reasonOverwritten, n.bucket, n.key, c.Loser)
		case n.before.region:
		default:
			err = t.addConflict(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const reasonOverwritten = "overwritten by a later write in the same region"

func scanLoser(rows *sql.Rows) (c journal.Conflict, err error) {
	return c, rows.Scan(&c.Loser.Epoch, &c.Loser.Sequence, &c.Operation, &c.Deleted, &c.ETag, &c.Size, &c.ContentType, &c.Region)
}

// overwrittenUnkept: losers that were to be kept are gone, by the region's own history.
func (t *tx) overwrittenUnkept(bucket, key, region string) error {
	if t.losers == 0 {
		return nil
	}
	return t.dropLosers(journal.Superseded, reasonOverwritten, `bucket = ?1 AND key = ?2 AND region = ?3`, bucket, key, region)
}

// goneUnkept: losers that were to be kept are gone, nobody knows how.
func (t *tx) goneUnkept(bucket, key, region string) error {
	return t.loseUnkept("the region was found to hold something else, and it was not kept",
		`bucket = ?1 AND key = ?2 AND region = ?3`, bucket, key, region)
}

// dropLosers takes out, on the record, the conflicts whose loser is not kept, nor will be, and
// for which the condition is true; its arguments are ?1 and so on.
func (t *tx) dropLosers(outcome journal.Outcome, reason, condition string, args ...any) error {
	gone, err := collect(context.Background(), t, scanConflict,
		`DELETE FROM conflicts WHERE state = 'found' AND `+condition+` RETURNING `+conflictColumns, args...)
	if err != nil {
		return err
	}
	t.losers -= int64(len(gone))
	for _, c := range gone {
		err := t.record(audit.Entry{
			Action: audit.Close, Actor: gatewayActor, Bucket: c.Bucket, Key: c.Key, Version: c.Loser.String(), Region: c.Region,
			Detail: detail(map[string]any{"conflict": c.ID, "outcome": outcome, "reason": reason}),
		})
		if err == nil {
			err = t.closeVersion(outcome, reason, c.Bucket, c.Key, c.Loser)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// losersIn are the losers of a key that a region holds, or still holds a copy of, and that are not kept yet.
func (t *tx) losersIn(bucket, key, region string) ([]journal.Conflict, error) {
	if t.losers == 0 {
		return nil, nil
	}
	return collect(context.Background(), t, scanConflict, `SELECT `+conflictColumns+`
		FROM conflicts INDEXED BY conflicts_found WHERE bucket = ?1 AND key = ?2 AND state = 'found' AND (region = ?3 OR EXISTS (SELECT 1 `+loserIsIn+`
			AND c.region = ?3)) ORDER BY id`, bucket, key, region)
}

// loserIsIn are the copies of a conflict's loser.
const loserIsIn = `FROM copies c WHERE c.bucket = conflicts.bucket AND c.key = conflicts.key
	AND c.epoch = conflicts.epoch AND c.sequence = conflicts.sequence AND c.etag = conflicts.etag AND c.state <> 'missing'`

// loseUnkept: a region does not hold the losers for which the condition is true. Where another has a copy left it is
// that one that they are kept from; else they are lost, on the record.
func (t *tx) loseUnkept(reason, condition string, args ...any) error {
	if t.losers == 0 {
		return nil
	}
	gone, err := collect(context.Background(), t, scanConflict, `SELECT `+conflictColumns+` FROM conflicts WHERE state = 'found' AND `+condition, args...)
	if err != nil {
		return err
	}
	for _, c := range gone {
		err = t.exec(`UPDATE copies SET epoch = 0, sequence = 0 WHERE bucket = ? AND key = ? AND region = ? AND epoch = ? AND sequence = ?`,
			c.Bucket, c.Key, c.Region, c.Loser.Epoch, c.Loser.Sequence)
		if err == nil {
			err = t.exec(`UPDATE conflicts SET region = (SELECT c.region `+loserIsIn+`) WHERE id = ? AND EXISTS (SELECT 1 `+loserIsIn+`)`, c.ID)
		}
		if err != nil {
			return err
		}
	}
	return t.dropLosers(journal.IsLost, reason, condition, args...)
}

// KeptKey is where a conflict's loser is kept.
func keptKey(c journal.Conflict) string {
	sum := sha256.Sum256([]byte(c.Key))
	return fmt.Sprintf("%s%s/%s", conflictsPrefix, hex.EncodeToString(sum[:]), c.Loser)
}

const conflictsPrefix = ".tandem/conflicts/"

// Keep records that a loser was kept.
func (j *Journal) Keep(ctx context.Context, id int64) error {
	return j.writer.do(ctx, func(t *tx) error {
		found, err := collect(context.Background(), t, scanConflict, `SELECT `+conflictColumns+` FROM conflicts WHERE id = ? AND state = 'found'`, id)
		if err != nil || len(found) == 0 {
			return err
		}
		c := found[0]
		c.KeptKey = keptKey(c)
		err = t.exec(`UPDATE conflicts SET state = 'kept', kept_key = ?, last_error = '' WHERE id = ?`, c.KeptKey, id)
		if err != nil {
			return err
		}
		t.losers--
		err = t.record(audit.Entry{
			Action: audit.Keep, Actor: gatewayActor, Bucket: c.Bucket, Key: c.Key, Version: c.Loser.String(), Region: c.Region,
			Detail: detail(map[string]any{"conflict": id, "keptKey": c.KeptKey}),
		})
		if err != nil {
			return err
		}
		return t.closeVersion(journal.InConflict, "a later write never saw it; it is kept as conflict "+fmt.Sprint(id), c.Bucket, c.Key, c.Loser)
	})
}

// keepFailed records why a loser could not be kept. Of one that is gone there is nothing
// more to hope for.
func (t *tx) keepFailed(region string, f journal.Failure) error {
	if f.Loser == 0 {
		return nil
	}
	if f.State != journal.Missing {
		return t.exec(`UPDATE conflicts SET last_error = ? WHERE id = ? AND state = 'found'`, f.Reason, f.Loser)
	}
	return t.loseUnkept(f.Reason, `id = ?1 AND region = ?2`, f.Loser, region)
}

// Conflicts reads a part of the list.
func (j *Journal) Conflicts(ctx context.Context, after int64, limit int, all bool) ([]journal.Conflict, error) {
	var list []journal.Conflict
	err := j.read(ctx, func(q querier) (err error) {
		query := `SELECT ` + conflictColumns + ` FROM conflicts WHERE id > ? AND state <> 'resolved' ORDER BY id LIMIT ?`
		if all {
			query = `SELECT ` + conflictColumns + ` FROM conflicts WHERE id > ? ORDER BY id LIMIT ?`
		}
		list, err = collect(ctx, q, scanConflict, query, after, limit)
		return err
	})
	for i := range list {
		list[i] = withKeptKey(list[i])
	}
	return list, err
}

// withKeptKey tells where a loser is to be kept even before it is.
func withKeptKey(c journal.Conflict) journal.Conflict {
	if !c.Deleted && c.KeptKey == "" {
		c.KeptKey = keptKey(c)
	}
	return c
}

// Conflict reads one.
func (j *Journal) Conflict(ctx context.Context, id int64) (journal.Conflict, error) {
	var found []journal.Conflict
	err := j.read(ctx, func(q querier) (err error) {
		found, err = collect(ctx, q, scanConflict, `SELECT `+conflictColumns+` FROM conflicts WHERE id = ?`, id)
		return err
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("conflict %d: %w", id, journal.ErrNotFound)
	}
	if err != nil {
		return journal.Conflict{}, err
	}
	return withKeptKey(found[0]), nil
}

// Resolve ends a conflict.
func (j *Journal) Resolve(ctx context.Context, id int64, r journal.Resolution) error {
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		refused = nil
		found, err := collect(context.Background(), t, scanConflict, `SELECT `+conflictColumns+` FROM conflicts WHERE id = ?`, id)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			refused = journal.ErrNotFound
		case found[0].State != journal.ConflictKept:
			refused = journal.ErrMovedOn
		}
		if refused != nil {
			refused = fmt.Errorf("resolve conflict %d: %w", id, refused)
			return nil
		}
		err = t.exec(`UPDATE conflicts SET state = 'resolved', resolution = ?, resolved_at = ?, resolved_by = ? WHERE id = ?`,
			r.Keep, micros(time.Now()), r.Actor, id)
		if err != nil {
			return err
		}
		c := found[0]
		return t.record(audit.Entry{
			Action: audit.Resolve, Actor: r.Actor, Bucket: c.Bucket, Key: c.Key, Version: c.Loser.String(), Region: c.Region,
			Detail: detail(map[string]any{"conflict": id, "keep": r.Keep}),
		})
	})
	if err == nil {
		err = refused
	}
	return err
}
