package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// Mark is what was last recorded of the mark in a region's bucket.
func (j *Journal) Mark(ctx context.Context, bucket, region string) (journal.Mark, error) {
	var m journal.Mark
	err := j.read(ctx, func(q querier) error {
		found, err := collect(ctx, q, func(rows *sql.Rows) (m journal.Mark, err error) {
			var written int64
			err = rows.Scan(&m.Epoch, &m.Sequence, &m.ETag, &written)
			m.WrittenAt = fromMicros(written)
			return m, err
		}, `SELECT epoch, sequence, etag, written_at FROM marks WHERE bucket = ? AND region = ?`, bucket, region)
		if err == nil && len(found) > 0 {
			m = found[0]
		}
		return err
	})
	return m, err
}

// SetMark records what that says.
func (j *Journal) SetMark(ctx context.Context, bucket, region string, m journal.Mark) error {
	return j.writer.do(ctx, func(t *tx) error {
		return t.exec(`
			INSERT INTO marks (bucket, region, epoch, sequence, etag, written_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT (bucket, region) DO UPDATE SET epoch = ?3, sequence = ?4, etag = ?5, written_at = ?6`,
			bucket, region, m.Epoch, m.Sequence, m.ETag, micros(m.WrittenAt))
	})
}

// Position is the last sequence drawn.
func (j *Journal) Position(ctx context.Context) (sequence int64, err error) {
	err = j.writer.do(ctx, func(t *tx) error {
		sequence = t.sequence
		return nil
	})
	return sequence, err
}

// Regress has every copy of the region verified. attempts = 1 makes a worker look before
// it copies. Copies under way were begun in what the region was before, so their workers lose
// them. Of copies that are current elsewhere nothing is said. One transaction, however many they
// are: there is no moment at which some of them are believed.
func (j *Journal) Regress(ctx context.Context, bucket, region, why string) error {
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		if !slices.Contains(t.regions[bucket], region) {
			refused = fmt.Errorf("record that region %s came back older: %w: it is not attached", region, journal.ErrRegion)
			return nil
		}
		return t.regress(bucket, region, why)
	})
	if err == nil {
		err = refused
	}
	return err
}

func (t *tx) regress(bucket, region, why string) error {
	now := time.Now()
	if err := t.endClaims(bucket, region, now, math.MaxInt64); err != nil {
		return err
	}
	believed := `'current', 'missing'`
	if mutant.On(mutant.RegressedTrusted) {
		believed = `''`
	}
	distrusted, err := t.execCount(`
		UPDATE copies SET state = 'pending', pending_since = ?3, next_try = ?3, attempts = 1, last_error = ?4, unverified = 1
		WHERE bucket = ?1 AND region = ?2 AND state IN (`+believed+`)`, bucket, region, micros(now), "to be verified: "+why)
	if err != nil {
		return err
	}
	err = t.exec(`
		UPDATE copies SET next_try = ?3, attempts = max(attempts, 1), unverified = 1
		WHERE bucket = ?1 AND region = ?2 AND state = 'pending'`, bucket, region, micros(now))
	if err != nil {
		return err
	}
	err = t.exec(`UPDATE bucket_regions SET regressed_at = ?, regressed_intent = ?, regressed_why = ? WHERE bucket = ? AND region = ?`,
		micros(now), t.intent, why, bucket, region)
	if err != nil {
		return err
	}
	t.setRegressed(bucket, region, true)
	return t.record(audit.Entry{
		Action: audit.Regress, Actor: gatewayActor, Bucket: bucket, Region: region,
		Detail: detail(map[string]any{"why": why, "copies": distrusted}),
	})
}

// isUnverified reports whether what the region holds of the key is from before it came back
// older.
func (t *tx) isUnverified(bucket, region string, c journal.Copy, key string) (bool, error) {
	switch c.State {
	case journal.Current, journal.Missing:
		return false, nil
	case journal.Unknown:
		// A key that is new: what was begun since says what it is. (A new key's PUT times out while
		// the region is being verified: it would be forgotten, and its object stay.)
		return t.scan(`SELECT 1 FROM bucket_regions WHERE bucket = ?1 AND region = ?2 AND regressed_at <> 0 AND regressed_intent >=
			(SELECT min(id) FROM intents WHERE bucket = ?1 AND key = ?3 AND region = ?2)`, []any{bucket, region, key}, new(int))
	}
	return t.scan(`SELECT 1 FROM copies WHERE bucket = ? AND key = ? AND region = ? AND unverified = 1`, []any{bucket, key, region}, new(int))
}

// writtenBefore is told of a write in a region that is regressed. Where it was begun before
// that, it may be gone, and is to be verified as what was there before is.
func (t *tx) writtenBefore(id int64, bucket, key, region string) error {
	var at int64
	isBefore, err := t.scan(`SELECT regressed_at FROM bucket_regions WHERE bucket = ? AND region = ? AND regressed_intent >= ?`,
		[]any{bucket, region, id}, &at)
	if err != nil || !isBefore {
		return err
	}
	return t.exec(`UPDATE copies SET state = 'pending', pending_since = ?, next_try = ?, attempts = 1, last_error = ?, unverified = 1
		WHERE bucket = ? AND key = ? AND region = ?`,
		at, micros(time.Now()), "to be verified: the region came back older while it was written", bucket, key, region)
}

// Verified ends a regression whose copies were all looked at.
func (j *Journal) Verified(ctx context.Context, bucket, region string) (regressed bool, err error) {
	err = j.writer.do(ctx, func(t *tx) error {
		if regressed = t.regressed[bucket][region]; !regressed {
			return nil
		}
		open, err := t.scan(`
			SELECT 1 FROM copies c INDEXED BY copies_due WHERE c.bucket = ?1 AND c.region = ?2 AND c.state = 'pending' AND c.pending_since <=
				(SELECT regressed_at FROM bucket_regions WHERE bucket = ?1 AND region = ?2) LIMIT 1`, []any{bucket, region}, new(int))
		if err != nil || open {
			return err
		}
		regressed = false
		t.setRegressed(bucket, region, false)
		err = t.exec(`UPDATE bucket_regions SET regressed_at = 0, regressed_why = '' WHERE bucket = ? AND region = ?`, bucket, region)
		if err != nil {
			return err
		}
		return t.record(audit.Entry{Action: audit.VerifyRegion, Actor: gatewayActor, Bucket: bucket, Region: region})
	})
	return regressed, err
}

// Regressed lists the regions that are.
func (j *Journal) Regressed(ctx context.Context, bucket string) (map[string]string, error) {
	regions := make(map[string]string)
	err := j.read(ctx, func(q querier) error {
		_, err := collect(ctx, q, func(rows *sql.Rows) (struct{}, error) {
			var region, why string
			err := rows.Scan(&region, &why)
			regions[region] = why
			return struct{}{}, err
		}, `SELECT region, regressed_why FROM bucket_regions WHERE bucket = ? AND regressed_at <> 0`, bucket)
		return err
	})
	return regions, err
}
