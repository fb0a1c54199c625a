package sqlite

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

// reasonRebased tells such an epoch from a promotion.
const reasonRebased = "the journal was restored from a backup"

// Rebase moves a journal that was restored from a backup past what it has lost.
func (j *Journal) Rebase(ctx context.Context, epoch, sequence int64, active string) (journal.State, error) {
	var s journal.State
	err := j.writer.do(ctx, func(t *tx) error {
		now := time.Now()
		t.sequence = max(t.sequence, sequence)
		t.state.Rebased = true
		t.state.Epoch, t.state.Active, t.state.BeganAt, t.state.Uncompared = max(t.state.Epoch, epoch)+1, active, fromMicros(micros(now)), false
		s = t.state
		err := t.exec(`INSERT INTO epochs (epoch, active, began_at, forced, actor, reason) VALUES (?, ?, ?, 1, ?, ?)`,
			s.Epoch, active, micros(now), operatorActor, reasonRebased)
		if err != nil {
			return err
		}
		// Those that are not served now as well: served again, they would be believed.
		for _, bucket := range slices.Sorted(maps.Keys(t.regions)) {
			if err := t.rebaseBucket(bucket, active, now); err != nil {
				return err
			}
		}
		return nil
	})
	return s, err
}

func (t *tx) rebaseBucket(bucket, active string, now time.Time) error {
	for _, step := range []struct {
		query string
		args  []any
	}{
		{`UPDATE objects SET unsettled = 1, delete_seen = 0, last_region = ? WHERE bucket = ?`, []any{active, bucket}},
		// A worker looks before it copies; what it does not know it does not overwrite.
		{`UPDATE copies SET state = 'pending', pending_since = ?1, next_try = ?1, attempts = max(attempts, 1),
			last_error = 'to be verified: the journal was restored from a backup'
			WHERE bucket = ?2 AND region <> ?3 AND state = 'current'`, []any{micros(now), bucket, active}},
		{`UPDATE bucket_regions SET compared_at = 0 WHERE bucket = ?`, []any{bucket}},
		{`DELETE FROM marks WHERE bucket = ?`, []any{bucket}},
	} {
		if err := t.exec(step.query, step.args...); err != nil {
			return err
		}
	}
	for _, region := range t.regions[bucket] {
		setFlag(t.compared, bucket, region, false)
	}
	return t.record(audit.Entry{
		Action: audit.Rebase, Actor: operatorActor, Bucket: bucket, Region: active,
		Detail: detail(map[string]any{"epoch": t.state.Epoch, "sequence": t.sequence}),
	})
}
