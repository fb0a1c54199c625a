package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// querier is what reading needs: a reader's pool, or the transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

const objectColumns = `bucket, key, epoch, sequence, operation, deleted, etag, size, content_type, last_region,
	created_at, updated_at, unsettled, delete_seen`

func scanObject(rows *sql.Rows) (*journal.Object, error) {
	var o journal.Object
	var created, updated int64
	err := rows.Scan(&o.Bucket, &o.Key, &o.Version.Epoch, &o.Version.Sequence, &o.Operation, &o.Deleted, &o.ETag, &o.Size,
		&o.ContentType, &o.LastRegion, &created, &updated, &o.Unsettled, &o.DeleteSeen)
	o.CreatedAt, o.UpdatedAt = fromMicros(created), fromMicros(updated)
	return &o, err
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func scanCopy(rows *sql.Rows) (journal.Copy, error) {
	var c journal.Copy
	var next, since int64
	err := rows.Scan(&c.Region, &c.State, &c.Version.Epoch, &c.Version.Sequence, &c.ETag, &c.Attempts, &c.LastError, &next, &since)
	c.NextTry, c.PendingSince = fromMicros(next), fromMicros(since)
	return c, err
}

func scanIntent(rows *sql.Rows) (journal.Intent, error) {
	var i journal.Intent
	var opened, until, expires int64
	err := rows.Scan(&i.ID, &i.Bucket, &i.Key, &i.Region, &i.Operation, &i.Epoch, &opened, &until, &i.InDoubt,
		&i.Restores.Epoch, &i.Restores.Sequence, &i.Brings, &i.Displaces, &expires)
	i.OpenedAt, i.DoubtUntil, i.ExpiresAt = fromMicros(opened), fromMicros(until), fromMicros(expires)
	return i, err
}

// readObject returns nil where there is neither a row nor an intent.
func readObject(ctx context.Context, q querier, bucket, key string) (*journal.Object, error) {
	found, err := collect(ctx, q, scanObject, `SELECT `+objectColumns+` FROM objects WHERE bucket = ? AND key = ?`, bucket, key)
	if err != nil {
		return nil, err
	}
	o := &journal.Object{Bucket: bucket, Key: key}
	if len(found) > 0 {
		o = found[0]
	}
	if err := fill(ctx, q, o); err != nil {
		return nil, err
	}
	if len(found) == 0 && len(o.Intents) == 0 {
		return nil, nil
	}
	return o, nil
}

// fill reads a row's copies and intents.
func fill(ctx context.Context, q querier, o *journal.Object) error {
	var err error
	o.Copies, err = collect(ctx, q, scanCopy, `
		SELECT region, state, epoch, sequence, etag, attempts, last_error, next_try, pending_since
		FROM copies WHERE bucket = ? AND key = ? ORDER BY region`, o.Bucket, o.Key)
	if err != nil {
		return err
	}
	o.Intents, err = collect(ctx, q, scanIntent, `
		SELECT id, bucket, key, region, operation, epoch, opened_at, doubt_until, in_doubt,
			restores_epoch, restores_sequence, brings, displaces, expires_at
		FROM intents WHERE bucket = ? AND key = ? ORDER BY id`, o.Bucket, o.Key)
	return err
}

// read runs a function on one snapshot of the database.
func (j *Journal) read(ctx context.Context, f func(querier) error) error {
	t, err := j.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	defer t.Rollback() // nothing was written
	if err := f(t); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	return nil
}

// Lookup returns the row of a key.
func (j *Journal) Lookup(ctx context.Context, bucket, key string) (*journal.Object, error) {
	var o *journal.Object
	err := j.read(ctx, func(q querier) (err error) {
		o, err = readObject(ctx, q, bucket, key)
		return err
	})
	if err == nil && o == nil {
		err = journal.ErrNotFound
	}
	return o, err
}

// rowsOf turns keys into rows.
func (j *Journal) rowsOf(ctx context.Context, bucket, query string, args ...any) ([]*journal.Object, error) {
	var objects []*journal.Object
	err := j.read(ctx, func(q querier) error {
		keys, err := collect(ctx, q, scanKey, query, args...)
		if err != nil {
			return err
		}
		for _, key := range keys {
			o, err := readObject(ctx, q, bucket, key)
			if err != nil {
				return err
			}
			if o != nil {
				objects = append(objects, o)
			}
		}
		return nil
	})
	return objects, err
}

func scanKey(rows *sql.Rows) (key string, err error) {
	return key, rows.Scan(&key)
}

// Where a query names its index, SQLite, which has no statistics of the rows, would
// go through the whole bucket.

// lastKey sorts after every key: no UTF-8 has this byte.
const lastKey = "\xff"

const presentActive = `(SELECT active FROM epochs ORDER BY epoch DESC LIMIT 1)`

// Differing returns rows whose copy in the region is not current, or contested.
func (j *Journal) Differing(ctx context.Context, bucket, region, after, upTo string, limit int) ([]*journal.Object, error) {
	if upTo == "" {
		upTo = lastKey
	}
	const bounds = `key > ?3 AND key <= ?4`
	return j.rowsOf(ctx, bucket, `
		SELECT key FROM copies INDEXED BY copies_behind WHERE bucket = ?1 AND region = ?2 AND state <> 'current' AND `+bounds+`
		UNION SELECT key FROM objects WHERE bucket = ?1 AND unsettled = 1 AND last_region = `+presentActive+` AND `+bounds+`
		UNION SELECT key FROM intents WHERE bucket = ?1 AND operation <> 'repair' AND region = `+presentActive+` AND `+bounds+`
		ORDER BY key LIMIT ?5`, bucket, region, after, upTo, limit)
}

// Unsettled returns rows that Settle is to close.
func (j *Journal) Unsettled(ctx context.Context, bucket, after string, limit int) ([]*journal.Object, error) {
	return j.rowsOf(ctx, bucket, `
		SELECT key FROM objects WHERE bucket = ?1 AND unsettled = 1 AND key > ?2
		UNION SELECT key FROM intents WHERE bucket = ?1 AND in_doubt = 1 AND operation <> 'presigned-put' AND key > ?2
		ORDER BY key LIMIT ?3`, bucket, after, limit)
}

// Lag is computed from the rows that the workers use.
func (j *Journal) Lag(ctx context.Context, bucket, region string) (journal.Lag, error) {
	var lag journal.Lag
	err := j.read(ctx, func(q querier) error {
		lags, err := collect(ctx, q, scanLag, `
			SELECT count(*) FILTER (WHERE c.state IN ('pending', 'missing')),
				coalesce(sum(o.size) FILTER (WHERE c.state IN ('pending', 'missing')), 0),
				coalesce(min(c.pending_since) FILTER (WHERE c.state = 'pending'), 0),
				count(*) FILTER (WHERE c.state = 'pending' AND c.attempts > 0),
				count(*) FILTER (WHERE c.state = 'unreplicable')
			FROM copies c INDEXED BY copies_behind JOIN objects o ON o.bucket = c.bucket AND o.key = c.key
			WHERE c.bucket = ? AND c.region = ? AND c.state <> 'current'`, bucket, region)
		if err == nil {
			lag = lags[0]
		}
		return err
	})
	return lag, err
}

func scanLag(rows *sql.Rows) (journal.Lag, error) {
	var l journal.Lag
	var oldest int64
	err := rows.Scan(&l.Keys, &l.Bytes, &oldest, &l.Failing, &l.Unreplicable)
	l.OldestPending = fromMicros(oldest)
	return l, err
}

// NextDue is when the next copy can be claimed.
func (j *Journal) NextDue(ctx context.Context, bucket, region string) (time.Time, error) {
	var due time.Time
	err := j.read(ctx, func(q querier) error {
		// Of those that are claimed there are only as many as the workers hold.
		next, err := collect(ctx, q, func(rows *sql.Rows) (us int64, err error) { return us, rows.Scan(&us) }, `
			SELECT coalesce(min(due), 0) FROM (
				SELECT * FROM (SELECT next_try AS due FROM copies
					WHERE bucket = ?1 AND region = ?2 AND state = 'pending' AND claim = 0 ORDER BY next_try LIMIT 1)
				UNION ALL
				SELECT max(next_try, claimed_until) FROM copies INDEXED BY copies_claimed
					WHERE bucket = ?1 AND region = ?2 AND state = 'pending' AND claim <> 0)`, bucket, region)
		if err == nil {
			due = fromMicros(next[0])
		}
		return err
	})
	return due, err
}
