package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// isOver is true of every intent but of those whose URL is still open at the time that is its argument:
// what an upload has left is seen, and the next one may land.
func isOver() string {
	if mutant.On(mutant.UploadClosesURL) {
		return `? > 0`
	}
	return `NOT (operation = 'presigned-put' AND doubt_until > ?)`
}

// Sign records that a presigned URL is about to be given out.
func (j *Journal) Sign(ctx context.Context, u journal.SignedURL) (journal.SignedURL, error) {
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		u.ID, refused = 0, nil
		switch {
		case u.Epoch != t.state.Epoch:
			refused = fmt.Errorf("sign a URL: %w, it is %d", journal.ErrEpoch, t.state.Epoch)
		case !slices.Contains(t.regions[u.Bucket], u.Region):
			refused = fmt.Errorf("sign a URL: %w: %s is not attached", journal.ErrRegion, u.Region)
		}
		if refused != nil {
			return nil
		}
		if u.Operation == journal.PresignedPut {
			var err error
			if refused, err = t.track(&u); refused != nil || err != nil {
				return err
			}
		}
		return t.record(audit.Entry{
			Action: audit.Sign, Actor: u.Actor, Bucket: u.Bucket, Key: u.Key, Region: u.Region,
			Detail: detail(map[string]any{"operation": u.Operation, "expiresAt": u.ExpiresAt.UTC().Format(time.RFC3339)}),
		})
	})
	if err == nil {
		err = refused
	}
	return u, err
}

// track opens the intent of a presigned PUT, or leaves one of the same key, region and epoch open for as long: what their
// uploads bring cannot be told apart, and thousands of URLs of one key are one row. It is refused where a write by way of
// the gateway would be.
func (t *tx) track(u *journal.SignedURL) (refused, err error) {
	losers, err := t.losersIn(u.Bucket, u.Key, u.Region)
	if err != nil {
		return nil, err
	}
	if len(losers) > 0 {
		return journal.ErrLoser, nil
	}
	// (Writes overlap in A; B is promoted, and acknowledges a write; A is promoted again, and a URL signed: what A
	// held of the writes that overlapped would be adopted as an upload, over the acknowledged write.)
	if o, err := readObject(context.Background(), t, u.Bucket, u.Key); err != nil || o != nil && o.IsUnsettledIn(u.Region) {
		return journal.ErrUnsettled, err
	}
	isTracked, err := t.scan(`UPDATE intents SET began = ?5, doubt_until = max(doubt_until, ?6), expires_at = max(expires_at, ?7)
		WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND epoch = ?4 AND operation = 'presigned-put'
			AND NOT EXISTS (SELECT 1 FROM intents WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND displaces <> '') RETURNING id`,
		[]any{u.Bucket, u.Key, u.Region, u.Epoch, t.sequence, micros(u.OpenUntil), micros(u.ExpiresAt)}, &u.ID)
	if isTracked || err != nil {
		return nil, err
	}
	u.ID = t.drawIntent()
	opened, err := t.execCount(`
		INSERT INTO intents (id, bucket, key, region, operation, epoch, began, opened_at, doubt_until, in_doubt, expires_at)
		SELECT ?1, ?2, ?3, ?4, 'presigned-put', ?5, ?6, ?7, ?8, 1, ?9
		WHERE NOT EXISTS (SELECT 1 FROM intents WHERE bucket = ?2 AND key = ?3 AND region = ?4 AND displaces <> '')`,
		u.ID, u.Bucket, u.Key, u.Region, u.Epoch, t.sequence, micros(u.SignedAt), micros(u.OpenUntil), micros(u.ExpiresAt))
	if err == nil && opened == 0 {
		return journal.ErrRepairing, nil
	}
	return nil, err
}

// upload is what is known of an object that a region was found to hold.
type upload struct {
	// isOnly: nothing but an upload by a presigned URL can have brought it.
	isOnly bool
	// hasLost: the key was changed in another region since the URL was signed, or an upload last seen.
	hasLost bool
}

func (t *tx) uploaded(o *journal.Object, region string) (upload, error) {
	if !o.IsOpenToURLs(region) || o.IsUnsettledIn(region) {
		return upload{}, nil
	}
	var began int64
	_, err := t.scan(`SELECT max(began) FROM intents WHERE bucket = ? AND key = ? AND region = ? AND operation = 'presigned-put'`,
		[]any{o.Bucket, o.Key, region}, &began)
	hasLost := o.Version.Sequence > began && o.LastRegion != region
	return upload{isOnly: true, hasLost: hasLost && !mutant.On(mutant.UploadWins)}, err
}

// uploadLoses: the active is about to be brought to the key's version over what an upload by a presigned URL may have
// left there. (A copy to a replica has no answer; the key is deleted; the replica is promoted; an upload lands there:
// for fear that it is that copy it would be deleted, and nobody has it.)
func (t *tx) uploadLoses(o *journal.Object, seen journal.Observation) error {
	isOurs := func(i journal.Intent) bool {
		return i.Region == seen.Region && i.Operation == journal.Repair && i.Brings == seen.ETag
	}
	if mutant.On(mutant.UploadUnderRepair) {
		return nil
	}
	if !o.IsOpenToURLs(seen.Region) || !seen.Found || o.Version.IsZero() || seen.ETag == o.Copy(seen.Region).ETag || slices.ContainsFunc(o.Intents, isOurs) {
		return nil
	}
	v := t.draw()
	v.Epoch = o.Version.Epoch - 1
	return t.addConflict(journal.Conflict{
		Bucket: o.Bucket, Key: o.Key, Loser: v, Winner: o.Version, Operation: journal.PresignedPut,
		ETag: seen.ETag, Size: seen.Size, ContentType: seen.ContentType, Region: seen.Region,
	})
}

// sawUpload is told that what a region holds is the key's version v: the next upload comes after that.
func (t *tx) sawUpload(bucket, key, region string, v journal.Version) error {
	return t.exec(`UPDATE intents SET began = ? WHERE bucket = ? AND key = ? AND region = ? AND operation = 'presigned-put'`,
		v.Sequence, bucket, key, region)
}

// Presigned returns the keys that are open to presigned URLs.
func (j *Journal) Presigned(ctx context.Context, bucket, after string, limit int) ([]*journal.Object, error) {
	return j.rowsOf(ctx, bucket, `
		SELECT DISTINCT key FROM intents INDEXED BY intents_presigned
		WHERE bucket = ?1 AND operation = 'presigned-put' AND key > ?2 ORDER BY key LIMIT ?3`, bucket, after, limit)
}

// SignedURLs lists the presigned PUTs that are tracked.
func (j *Journal) SignedURLs(ctx context.Context, bucket string, after int64, limit int) ([]journal.SignedURL, error) {
	var list []journal.SignedURL
	err := j.read(ctx, func(q querier) (err error) {
		list, err = collect(ctx, q, func(rows *sql.Rows) (u journal.SignedURL, err error) {
			var signed, expires, until int64
			err = rows.Scan(&u.ID, &u.Key, &u.Region, &u.Epoch, &signed, &expires, &until)
			u.Bucket, u.Operation = bucket, journal.PresignedPut
			u.SignedAt, u.ExpiresAt, u.OpenUntil = fromMicros(signed), fromMicros(expires), fromMicros(until)
			return u, err
		}, `SELECT id, key, region, epoch, opened_at, expires_at, doubt_until FROM intents
			WHERE bucket = ? AND operation = 'presigned-put' AND id > ? ORDER BY id LIMIT ?`, bucket, after, limit)
		return err
	})
	return list, err
}

// OpenURLs counts them by region.
func (j *Journal) OpenURLs(ctx context.Context, bucket string) (map[string]journal.OpenURLs, error) {
	open := make(map[string]journal.OpenURLs)
	err := j.read(ctx, func(q querier) error {
		_, err := collect(ctx, q, func(rows *sql.Rows) (struct{}, error) {
			var region string
			var u journal.OpenURLs
			var until int64
			err := rows.Scan(&region, &u.Count, &until)
			u.Until = fromMicros(until)
			open[region] = u
			return struct{}{}, err
		}, `SELECT region, count(*), max(doubt_until) FROM intents WHERE bucket = ? AND operation = 'presigned-put' GROUP BY region`, bucket)
		return err
	})
	return open, err
}
