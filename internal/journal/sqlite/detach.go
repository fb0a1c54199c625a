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

// Detached lists the regions that were taken out.
func (j *Journal) Detached(ctx context.Context) ([]string, error) {
	var regions []string
	err := j.read(ctx, func(q querier) (err error) {
		regions, err = collect(ctx, q, scanKey, `SELECT DISTINCT region FROM bucket_regions WHERE detached_at <> 0 ORDER BY region`)
		return err
	})
	return regions, err
}

// Detach takes a region out. What only it held is lost; where the active holds something
// older, that is the truth from then on, which the settler finds out. One transaction, for all buckets: one that it was
// left in by half would be copied to no more, and be promoted with it all the same.
func (j *Journal) Detach(ctx context.Context, region, actor, reason string) error {
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		buckets := slices.DeleteFunc(slices.Sorted(maps.Keys(t.regions)), func(bucket string) bool { return !slices.Contains(t.regions[bucket], region) })
		if region == t.state.Active || len(buckets) == 0 {
			refused = fmt.Errorf("take out region %s: %w", region, journal.ErrRegion)
			return nil
		}
		for _, bucket := range buckets {
			if err := t.detachRegion(bucket, region, actor, reason); err != nil {
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

func (t *tx) detachRegion(bucket, region, actor, reason string) error {
	lost, err := t.loseRows(bucket, region)
	if err != nil {
		return err
	}
	if err := t.loseEntries(bucket, region); err != nil {
		return err
	}
	if err := t.loseUnkept("region "+region+" was taken out", `bucket = ?1 AND region = ?2`, bucket, region); err != nil {
		return err
	}
	for _, query := range []string{
		`UPDATE objects SET unsettled = 0, delete_seen = 0 WHERE bucket = ?1 AND last_region = ?2 AND unsettled = 1`,
		`DELETE FROM copies WHERE bucket = ?1 AND region = ?2`,
		`DELETE FROM late_copies WHERE bucket = ?1 AND region = ?2`,
		`DELETE FROM intents WHERE bucket = ?1 AND region = ?2`,
	} {
		if err := t.exec(query, bucket, region); err != nil {
			return err
		}
	}
	err = t.exec(`UPDATE bucket_regions SET detached_at = ?, compared_at = 0, regressed_at = 0, regressed_why = '' WHERE bucket = ? AND region = ?`,
		micros(time.Now()), bucket, region)
	if err != nil {
		return err
	}
	t.detach(bucket, region)
	return t.record(audit.Entry{
		Action: audit.Remove, Actor: actor, Bucket: bucket, Region: region, Detail: detail(map[string]any{"reason": reason, "lost": lost}),
	})
}

// isOnlyIn is true of the objects whose version the region ?2 alone is known to have been
// brought to, be it to be verified or read again.
const isOnlyIn = `EXISTS (SELECT 1 FROM copies c WHERE c.bucket = o.bucket AND c.key = o.key AND c.region = ?2
		AND c.epoch = o.epoch AND c.sequence = o.sequence)
	AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.bucket = o.bucket AND c.key = o.key AND c.region <> ?2
		AND c.epoch = o.epoch AND c.sequence = o.sequence AND (c.state = 'current' OR c.etag = o.etag))`

// loseRows: the acknowledged write of the keys that only the region has is nowhere any more.
// What the active holds is adopted, by the settler: the key is unsettled there, and the active is
// known to hold nothing, so that what is found is news.
func (t *tx) loseRows(bucket, region string) (lost int64, err error) {
	lost, err = t.execCount(`
		UPDATE objects AS o SET unsettled = 1, delete_seen = 1, last_region = ?3 WHERE bucket = ?1
			AND key IN (SELECT key FROM copies INDEXED BY copies_behind WHERE bucket = ?1 AND region = ?3 AND state <> 'current')
			AND `+isOnlyIn, bucket, region, t.state.Active)
	if err != nil || lost == 0 {
		return lost, err
	}
	return lost, t.exec(`
		UPDATE copies INDEXED BY copies_behind SET etag = '', epoch = 0, sequence = 0 WHERE bucket = ?1 AND region = ?3 AND state <> 'current'
			AND EXISTS (SELECT 1 FROM objects o WHERE o.bucket = copies.bucket AND o.key = copies.key AND `+isOnlyIn+`)`,
		bucket, region, t.state.Active)
}

// loseEntries closes the ledger entries that point at the region. Where another one has the
// version too, though it did not count when the ledger was written, they point there.
func (t *tx) loseEntries(bucket, region string) error {
	if t.openEntries == 0 {
		return nil
	}
	const holds = `c.bucket = ledger.bucket AND c.key = ledger.key AND c.epoch = ledger.epoch AND c.sequence = ledger.sequence
		AND (c.state = 'current' OR c.etag = ledger.etag)`
	err := t.closeWhere(journal.Recovered, "the active has it", `bucket = ?1 AND region = ?2 AND sequence <> 0
		AND EXISTS (SELECT 1 FROM copies c WHERE `+holds+` AND c.region = ?3)`, bucket, region, t.state.Active)
	if err != nil {
		return err
	}
	const other = `SELECT c.region FROM copies c WHERE ` + holds + ` AND c.region <> ?2 ORDER BY c.state <> 'current' LIMIT 1`
	err = t.exec(`UPDATE ledger SET region = (`+other+`) WHERE outcome = '' AND bucket = ?1 AND region = ?2 AND sequence <> 0
		AND EXISTS (`+other+`)`, bucket, region)
	if err != nil {
		return err
	}
	return t.closeWhere(journal.IsLost, "region "+region+" was taken out", `bucket = ?1 AND region = ?2`, bucket, region)
}
