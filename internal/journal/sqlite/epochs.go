package sqlite

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

// State returns the present epoch.
func (j *Journal) State(ctx context.Context) (journal.State, error) {
	var s journal.State
	err := j.writer.do(ctx, func(t *tx) error {
		s = t.state
		return nil
	})
	return s, err
}

// BeginEpoch begins the next epoch.
func (j *Journal) BeginEpoch(ctx context.Context, after int64, region string) (journal.State, error) {
	var s journal.State
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		if t.state.Epoch != after {
			refused = fmt.Errorf("begin an epoch after %d: %w, it is %d", after, journal.ErrEpoch, t.state.Epoch)
			return nil
		}
		t.state.Epoch, t.state.Active, t.state.BeganAt = after+1, region, fromMicros(micros(time.Now()))
		t.state.Uncompared, t.state.Rebased = false, false
		s = t.state
		err := t.exec(`INSERT INTO epochs (epoch, active, began_at) VALUES (?, ?, ?)`, s.Epoch, region, micros(s.BeganAt))
		if err != nil {
			return err
		}
		return t.record(audit.Entry{Action: audit.Promote, Actor: gatewayActor, Region: region, Detail: detail(map[string]any{"epoch": s.Epoch})})
	})
	if err == nil {
		err = refused
	}
	return s, err
}

// attachBatch bounds the rows that one transaction fills in.
const attachBatch = 5000

// Attach makes regions known for the bucket. One that was taken out stays so.
func (j *Journal) Attach(ctx context.Context, bucket string, regions []string) error {
	for _, region := range regions {
		after, isFilled := "", false
		for !isFilled {
			err := j.writer.do(ctx, func(t *tx) (err error) {
				after, isFilled, err = t.fillIn(bucket, region, after)
				return err
			})
			if err != nil {
				return fmt.Errorf("attach region %s: %w", region, err)
			}
		}
	}
	return nil
}

// fillIn makes the region known first, so that every write from now on has a copy
// there, and gives the next keys after `after` theirs. attached_at is set with the last of
// them; a crash before that leaves 0, and the next Attach begins again.
func (t *tx) fillIn(bucket, region, after string) (upTo string, isLast bool, err error) {
	isDetached, err := t.scan(`SELECT 1 FROM bucket_regions WHERE bucket = ? AND region = ? AND detached_at <> 0`, []any{bucket, region}, new(int))
	if err != nil || isDetached {
		return "", isDetached, err
	}
	t.attach(bucket, region)
	err = t.exec(`INSERT INTO bucket_regions (bucket, region, attached_at) VALUES (?, ?, 0) ON CONFLICT DO NOTHING`, bucket, region)
	if err != nil {
		return "", false, err
	}
	isDone, err := t.scan(`SELECT 1 FROM bucket_regions WHERE bucket = ? AND region = ? AND attached_at <> 0`, []any{bucket, region}, new(int))
	if err != nil || isDone {
		return "", isDone, err
	}
	hasMore, err := t.scan(`SELECT key FROM objects WHERE bucket = ? AND key > ? ORDER BY key LIMIT 1 OFFSET ?`,
		[]any{bucket, after, attachBatch - 1}, &upTo)
	if err != nil {
		return "", false, err
	}
	if !hasMore {
		upTo = lastKey
	}
	now := micros(time.Now())
	err = t.exec(`
		INSERT INTO copies (bucket, key, region, state, next_try, pending_since)
		SELECT bucket, key, ?1, 'pending', ?2, ?2 FROM objects WHERE bucket = ?3 AND key > ?4 AND key <= ?5
		ON CONFLICT DO NOTHING`, region, now, bucket, after, upTo)
	if err != nil || hasMore {
		return upTo, false, err
	}
	err = t.exec(`UPDATE bucket_regions SET attached_at = ? WHERE bucket = ? AND region = ?`, now, bucket, region)
	if err != nil {
		return "", false, err
	}
	return "", true, t.record(audit.Entry{Action: audit.Attach, Actor: gatewayActor, Bucket: bucket, Region: region})
}

// Compared lists the regions whose bucket was compared.
func (j *Journal) Compared(ctx context.Context, bucket string) ([]string, error) {
	var regions []string
	err := j.writer.do(ctx, func(t *tx) error {
		regions = slices.Sorted(maps.Keys(t.compared[bucket]))
		return nil
	})
	return regions, err
}

// Attached lists the regions that a bucket has.
func (j *Journal) Attached(ctx context.Context, bucket string) ([]string, error) {
	var regions []string
	err := j.writer.do(ctx, func(t *tx) error {
		regions = slices.Clone(t.regions[bucket])
		return nil
	})
	return regions, err
}

// SetCompared records that the regions' buckets were compared.
func (j *Journal) SetCompared(ctx context.Context, bucket string, regions []string) error {
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		for _, region := range regions {
			if !slices.Contains(t.regions[bucket], region) {
				refused = fmt.Errorf("record a comparison: region %s is not attached to bucket %s", region, bucket)
				return nil
			}
		}
		for _, region := range regions {
			t.setCompared(bucket, region)
			err := t.exec(`UPDATE bucket_regions SET compared_at = ? WHERE bucket = ? AND region = ?`, micros(time.Now()), bucket, region)
			if err != nil {
				return err
			}
			err = t.record(audit.Entry{Action: audit.Compare, Actor: gatewayActor, Bucket: bucket, Region: region})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = refused
	}
	return err
}
