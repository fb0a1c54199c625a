package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// Claim takes due copies of a region.
func (j *Journal) Claim(ctx context.Context, bucket, region string, c journal.Claim) ([]journal.Task, error) {
	var tasks []journal.Task
	err := j.writer.do(ctx, func(t *tx) error {
		tasks = nil
		now := time.Now()
		if err := t.endClaims(bucket, region, now, micros(now)); err != nil {
			return err
		}
		claim := rand.Int64() | 1 // never 0, which is no claim
		// A first attempt expects what the row says; a later one may have looked, and so does
		// one that late copies, or a repair of the active, make look.
		claimed, err := collect(context.Background(), t, scanClaimed, `
			UPDATE copies SET claim = ?1, claimed_until = ?2, claimed_window = ?7,
				claimed_etag = coalesce((SELECT o.etag FROM objects o WHERE o.bucket = copies.bucket AND o.key = copies.key), ''),
				claimed_expects = CASE WHEN ?8 AND attempts = 0 AND NOT EXISTS (SELECT 1 FROM late_copies l
					WHERE l.bucket = copies.bucket AND l.key = copies.key AND l.region = copies.region) THEN etag ELSE '*' END
			WHERE region = ?3 AND bucket = ?4 AND key IN (
				SELECT key FROM copies WHERE bucket = ?4 AND region = ?3 AND state = 'pending' AND next_try <= ?5 AND claim = 0
				ORDER BY next_try LIMIT ?6)
			RETURNING key, unverified`,
			claim, micros(now.Add(c.Lease)), region, bucket, micros(now), c.Limit, c.Window.Microseconds(), c.Conditional && region != t.state.Active)
		if err != nil {
			return err
		}
		for _, copied := range claimed {
			task, err := t.task(bucket, copied.key, region)
			if err != nil {
				return err
			}
			task.Claim, task.Regressed = claim, copied.isUnverified
			if region != t.state.Active && task.Object.IsUnsettledIn(region) {
				err := t.exec(`UPDATE copies SET claimed_expects = ? WHERE bucket = ? AND key = ? AND region = ?`, sendsNothing, bucket, copied.key, region)
				if err != nil {
					return err
				}
			}
			tasks = append(tasks, task)
		}
		return nil
	})
	return tasks, err
}

// claimedCopy is one that Claim gives.
type claimedCopy struct {
	key          string
	isUnverified bool
}

func scanClaimed(rows *sql.Rows) (c claimedCopy, err error) {
	return c, rows.Scan(&c.key, &c.isUnverified)
}

// endClaims takes up the region's claims whose lease ends by then.
func (t *tx) endClaims(bucket, region string, now time.Time, by int64) error {
	const isOver = ` AND claimed_until <= ?4 AND bucket = ?2 AND region = ?3 AND claim <> 0`
	if err := t.exec(lateClaims+isOver+keepLonger, micros(now), bucket, region, by); err != nil {
		return err
	}
	return t.exec(`UPDATE copies INDEXED BY copies_claimed SET claim = 0, claimed_until = 0
		WHERE claimed_until <= ?3 AND bucket = ?1 AND region = ?2 AND claim <> 0`, bucket, region, by)
}

// sendsNothing is what a claim expects whose worker sends nothing, for the region is read again first: it
// leaves no late copy. (Two writes overlap in A; B is promoted; a worker takes up the copy to A, and dies;
// what A holds of the two would be taken for that copy, and overwritten unkept.)
const sendsNothing = "-"

// What a worker that is gone may have sent is a late copy; ?1 is now.
const (
	lateClaims = `INSERT INTO late_copies (bucket, key, region, expects, etag, until)
		SELECT bucket, key, region, claimed_expects, claimed_etag, ?1 + claimed_window FROM copies INDEXED BY copies_claimed
		WHERE claimed_expects <> '` + sendsNothing + `'`
	keepLonger = ` ON CONFLICT (bucket, key, region, expects, etag) DO UPDATE SET until = max(until, excluded.until)`
)

func (t *tx) task(bucket, key, region string) (journal.Task, error) {
	task := journal.Task{Region: region}
	o, err := readObject(context.Background(), t, bucket, key)
	if err != nil {
		return task, err
	}
	if o == nil {
		return task, fmt.Errorf("copy without a row: region %s", region)
	}
	task.Object = *o
	if task.Losers, err = t.losersIn(bucket, key, region); err != nil {
		return task, err
	}
	for i := range task.Losers {
		task.Losers[i] = withKeptKey(task.Losers[i])
	}
	task.Late, err = collect(context.Background(), t, scanLate,
		`SELECT expects, etag, until FROM late_copies WHERE bucket = ? AND key = ? AND region = ? ORDER BY until`,
		bucket, key, region)
	return task, err
}

func scanLate(rows *sql.Rows) (journal.LateCopy, error) {
	var l journal.LateCopy
	var until int64
	err := rows.Scan(&l.Expects, &l.ETag, &until)
	l.Until = fromMicros(until)
	return l, err
}

// Announce records what the task's copy brings.
func (j *Journal) Announce(ctx context.Context, task journal.Task, etag string) error {
	return j.claimed(ctx, task, func(t *tx) error {
		return t.exec(`UPDATE copies SET claimed_etag = ?, claimed_expects = '*' WHERE bucket = ? AND key = ? AND region = ?`,
			etag, task.Object.Bucket, task.Object.Key, task.Region)
	})
}

// Renew extends a claim.
func (j *Journal) Renew(ctx context.Context, task journal.Task, lease time.Duration) error {
	return j.claimed(ctx, task, func(t *tx) error {
		return t.exec(`UPDATE copies SET claimed_until = ? WHERE bucket = ? AND key = ? AND region = ?`,
			micros(time.Now().Add(lease)), task.Object.Bucket, task.Object.Key, task.Region)
	})
}

// claimed runs f if the task's claim is still held, else it returns ErrClaim.
func (j *Journal) claimed(ctx context.Context, task journal.Task, f func(*tx) error) error {
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		var claim int64
		_, err := t.scan(`SELECT claim FROM copies WHERE bucket = ? AND key = ? AND region = ?`,
			[]any{task.Object.Bucket, task.Object.Key, task.Region}, &claim)
		if err != nil {
			return err
		}
		if claim == 0 || claim != task.Claim {
			refused = journal.ErrClaim
			return nil
		}
		return f(t)
	})
	if err == nil {
		err = refused
	}
	return err
}

// The reasons that a copy which was made is not current yet.
const (
	reasonContested = "the key is still being written; the copy is made again"
	reasonDemoted   = "an earlier write of the key has no answer there and may still land"
	reasonLate      = "an earlier copy, to which the region gave no answer, may still land on it"
)

// Finish records that the region holds the task's version.
func (j *Journal) Finish(ctx context.Context, task journal.Task, etag string) (journal.CopyState, error) {
	var state journal.CopyState
	err := j.claimed(ctx, task, func(t *tx) error {
		again, reason, err := t.whyNotCurrent(task, etag, j.rest)
		if err != nil {
			return err
		}
		o := &task.Object
		if again.IsZero() {
			err = t.madeCurrent(task, etag)
		} else {
			held := o.Version
			if reason == reasonContested && etag != o.ETag {
				// What was found was copied, and that is not known to be any version. (The ledger of a
				// promotion would lack the acknowledged one.)
				held = journal.Version{}
			}
			// Where the copy is not pending any more, what was learnt meanwhile stands.
			err = t.exec(`
				UPDATE copies SET epoch = ?, sequence = ?, etag = ?, last_error = ?, next_try = ?, unverified = 0
				WHERE bucket = ? AND key = ? AND region = ? AND state = 'pending'`,
				held.Epoch, held.Sequence, etag, reason, micros(again), o.Bucket, o.Key, task.Region)
		}
		if err != nil {
			return err
		}
		state, err = t.unclaim(task)
		return err
	})
	return state, err
}

// madeCurrent forgets the late copies that cannot land any more: what the region
// holds is known.
func (t *tx) madeCurrent(task journal.Task, etag string) error {
	o := &task.Object
	err := t.exec(`DELETE FROM late_copies WHERE bucket = ? AND key = ? AND region = ? AND until <= ?`,
		o.Bucket, o.Key, task.Region, micros(time.Now()))
	if err != nil {
		return err
	}
	if err := t.setCurrent(o.Bucket, o.Key, task.Region, o.Version, etag); err != nil {
		return err
	}
	return t.fillMissing(o.Bucket, o.Key, task.Region)
}

// fillMissing: the region has the key's version, so those that were found not to have it, at
// a time when nobody was known to, are to get it.
func (t *tx) fillMissing(bucket, key, region string) error {
	return t.exec(`UPDATE copies SET state = 'pending', pending_since = ?4, next_try = ?4, attempts = max(attempts, 1)
		WHERE bucket = ?1 AND key = ?2 AND region <> ?3 AND state = 'missing'`, bucket, key, region, micros(time.Now()))
}

// whyNotCurrent says when a copy that was made is to be made again, and why; zero
// where it is current.
func (t *tx) whyNotCurrent(task journal.Task, etag string, rest time.Duration) (again time.Time, reason string, err error) {
	o, err := readObject(context.Background(), t, task.Object.Bucket, task.Object.Key)
	if err != nil {
		return time.Time{}, "", err
	}
	if o == nil {
		return time.Time{}, "", fmt.Errorf("copy without a row: region %s", task.Region)
	}
	now := time.Now()
	if o.Version != task.Object.Version {
		return now, "", nil
	}
	if mutant.On(mutant.UnsettledIsCurrent) {
		return time.Time{}, "", nil
	}
	if o.Contested(t.state.Active) {
		return now.Add(rest), reasonContested, nil
	}
	if task.Object.Contested(t.state.Active) {
		return now, reasonContested, nil
	}
	if o.IsUnsettledIn(task.Region) {
		return now.Add(rest), reasonDemoted, nil
	}
	late, err := t.lateUntil(o, task.Region, etag, now)
	if err != nil || late.IsZero() {
		return time.Time{}, "", err
	}
	return late, reasonLate, nil
}

// unclaim gives up the claim and returns the state of the copy.
func (t *tx) unclaim(task journal.Task) (state journal.CopyState, err error) {
	_, err = t.scan(`UPDATE copies SET claim = 0, claimed_until = 0 WHERE bucket = ? AND key = ? AND region = ? RETURNING state`,
		[]any{task.Object.Bucket, task.Object.Key, task.Region}, &state)
	return state, err
}

// lateUntil is when the last of the copies is over that could still land on what
// the region holds now; zero where none could.
func (t *tx) lateUntil(o *journal.Object, region, etag string, now time.Time) (time.Time, error) {
	var until int64
	_, err := t.scan(`
		SELECT coalesce(max(until), 0) FROM late_copies
		WHERE bucket = ? AND key = ? AND region = ? AND expects IN (?, '*') AND until > ?`,
		[]any{o.Bucket, o.Key, region, etag, micros(now)}, &until)
	return fromMicros(until), err
}

// Fail records that the copy was not made.
func (j *Journal) Fail(ctx context.Context, task journal.Task, f journal.Failure) error {
	switch f.State = cmp.Or(f.State, journal.Pending); f.State {
	case journal.Pending, journal.Unreplicable, journal.Missing:
	default:
		return fmt.Errorf("record a failed copy: %q is not a state that a failure leaves", f.State)
	}
	o := &task.Object
	if f.Late != nil {
		// Whoever holds the claim now: what was sent was sent.
		if err := j.writer.do(ctx, func(t *tx) error { return t.addLate(task, *f.Late) }); err != nil {
			return err
		}
	}
	return j.claimed(ctx, task, func(t *tx) error {
		if f.SourceChanged {
			if err := t.unsettle(o.Bucket, o.Key, t.state.Active, o.Version); err != nil {
				return err
			}
		}
		if err := t.keepFailed(task.Region, f); err != nil {
			return err
		}
		if f.Loser != 0 {
			f.State = journal.Pending // what became of the loser says nothing of the copy
		}
		return t.fail(task, f)
	})
}

func (t *tx) addLate(task journal.Task, l journal.LateCopy) error {
	if mutant.On(mutant.LateCopyForgotten) {
		return nil
	}
	return t.exec(`INSERT INTO late_copies (bucket, key, region, expects, etag, until) VALUES (?, ?, ?, ?, ?, ?)`+keepLonger,
		task.Object.Bucket, task.Object.Key, task.Region, l.Expects, l.ETag, micros(l.Until))
}

// fail: where the copy is not pending any more, what was learnt meanwhile stands.
func (t *tx) fail(task journal.Task, f journal.Failure) error {
	if _, err := t.unclaim(task); err != nil {
		return err
	}
	o, now := &task.Object, micros(time.Now())
	// A key that has moved on is due at once, whatever befell its old version.
	moved, err := t.execCount(`
		UPDATE copies SET attempts = attempts + 1, last_error = ?5, next_try = ?6
		WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND state = 'pending' AND EXISTS (
			SELECT 1 FROM objects WHERE bucket = ?1 AND key = ?2 AND sequence <> ?4)`,
		o.Bucket, o.Key, task.Region, o.Version.Sequence, f.Reason, now)
	if err != nil || moved > 0 {
		return err
	}
	if f.State == journal.Missing {
		if err := t.lost(task, f.Reason); err != nil {
			return err
		}
	}
	return t.exec(`
		UPDATE copies SET attempts = attempts + 1, last_error = ?4, state = ?5,
			next_try = CASE ?5 WHEN 'pending' THEN ?6 ELSE 0 END,
			pending_since = CASE ?5 WHEN 'pending' THEN pending_since ELSE 0 END,
			epoch = CASE ?5 WHEN 'missing' THEN 0 ELSE epoch END,
			sequence = CASE ?5 WHEN 'missing' THEN 0 ELSE sequence END,
			etag = CASE ?5 WHEN 'missing' THEN ?7 ELSE etag END,
			unverified = CASE ?5 WHEN 'missing' THEN 0 ELSE unverified END
		WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND state = 'pending'`,
		o.Bucket, o.Key, task.Region, f.Reason, string(f.State), cmp.Or(micros(f.NextTry), now), f.Held)
}

// Request puts a copy into the queue at once.
func (j *Journal) Request(ctx context.Context, bucket, key, region string, v journal.Version) (bool, error) {
	var queued int64
	err := j.writer.do(ctx, func(t *tx) (err error) {
		queued, err = t.execCount(`
			UPDATE copies SET state = 'pending', next_try = ?4,
				pending_since = CASE WHEN state = 'pending' THEN pending_since ELSE ?4 END
			WHERE bucket = ?1 AND key = ?2 AND region = ?3 AND state IN ('missing', 'pending', 'current')
				AND EXISTS (SELECT 1 FROM objects WHERE bucket = ?1 AND key = ?2 AND epoch = ?5 AND sequence = ?6)
				AND EXISTS (SELECT 1 FROM copies WHERE bucket = ?1 AND key = ?2 AND region <> ?3 AND state = 'current')`,
			bucket, key, region, micros(time.Now()), v.Epoch, v.Sequence)
		return err
	})
	return queued > 0, err
}

// Hurry makes what has failed due at once.
func (j *Journal) Hurry(ctx context.Context, bucket, region string) error {
	return j.writer.do(ctx, func(t *tx) error {
		now := micros(time.Now())
		return t.exec(`UPDATE copies SET next_try = ?3 WHERE bucket = ?1 AND region = ?2 AND state = 'pending' AND next_try > ?3`, bucket, region, now)
	})
}

// lost: the region does not hold the version, and nobody has it. Where no other region was
// ever brought to it either, nobody will.
func (t *tx) lost(task journal.Task, reason string) error {
	if t.openEntries == 0 {
		return nil
	}
	o := &task.Object
	return t.closeWhere(journal.IsLost, reason, `
		bucket = ?1 AND key = ?2 AND epoch = ?3 AND sequence = ?4 AND NOT EXISTS (
			SELECT 1 FROM copies WHERE bucket = ?1 AND key = ?2 AND region <> ?5 AND (state = 'current' OR epoch = ?3 AND sequence = ?4))`,
		o.Bucket, o.Key, o.Version.Epoch, o.Version.Sequence, task.Region)
}
