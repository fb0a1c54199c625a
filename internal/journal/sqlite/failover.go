package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// Promote makes another region active. All of it is one transaction, so a crash leaves the
// old epoch as it was, or the new one with its ledger.
func (j *Journal) Promote(ctx context.Context, p journal.Promotion) (journal.Failover, error) {
	var made journal.Failover
	var refused error
	err := j.writer.do(ctx, func(t *tx) (err error) {
		if refused = t.checkPromotion(p); refused == nil {
			made, err = t.promote(p)
		}
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return journal.Failover{}, err
	}
	return made, nil
}

func (t *tx) checkPromotion(p journal.Promotion) error {
	if t.state.Epoch != p.After {
		return fmt.Errorf("promote %s after epoch %d: %w, it is %d", p.Region, p.After, journal.ErrEpoch, t.state.Epoch)
	}
	if p.Region == t.state.Active {
		return fmt.Errorf("promote %s: %w: it is the active", p.Region, journal.ErrRegion)
	}
	for _, regions := range t.regions {
		if slices.Contains(regions, p.Region) {
			return nil
		}
	}
	return fmt.Errorf("promote %s: %w: it is not attached", p.Region, journal.ErrRegion)
}

func (t *tx) promote(p journal.Promotion) (journal.Failover, error) {
	now := time.Now()
	f := journal.Failover{
		Epoch: p.After + 1, From: t.state.Active, To: p.Region, At: fromMicros(micros(now)), Forced: p.Forced, Uncompared: p.Uncompared,
		Automatic: p.Automatic, Actor: p.Actor, Reason: p.Reason, Outcomes: make(map[journal.Outcome]int64),
	}
	// The order: what may land where is known first; then the ledger, by what each region is
	// believed to hold; only then is the old active believed less.
	for _, step := range []func() error{
		func() error { return t.endClaimsIn(p.Region, now) },
		func() error { return t.lateToIntents(p, now) },
		func() error { return t.repairsToLate(f.From) },
		func() error {
			return t.exec(`UPDATE intents SET in_doubt = 1 WHERE region = ? AND in_doubt = 0`, f.From)
		},
		func() error { return t.trustUnsettled(p.Region) },
		func() error { return t.writeLedger(p, &f) },
		func() error { return t.distrustUnsettled(f.From, now) },
		func() error { return t.returned(p.Region) },
	} {
		if err := step(); err != nil {
			return f, err
		}
	}
	t.state.Epoch, t.state.Active, t.state.BeganAt, t.state.Uncompared = f.Epoch, f.To, f.At, f.Uncompared
	t.state.Rebased = false
	err := t.exec(`INSERT INTO epochs (epoch, active, began_at, forced, uncompared, automatic, actor, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		f.Epoch, f.To, micros(f.At), f.Forced, f.Uncompared, f.Automatic, f.Actor, f.Reason)
	if err != nil {
		return f, err
	}
	particulars := map[string]any{
		"epoch": f.Epoch, "from": f.From, "forced": f.Forced, "automatic": f.Automatic, "reason": f.Reason,
		"atRisk": f.AtRisk, "inDoubt": f.InDoubt,
	}
	if len(p.Overridden) > 0 {
		particulars["overridden"] = p.Overridden
	}
	return f, t.record(audit.Entry{Action: audit.Promote, Actor: p.Actor, Region: p.Region, Detail: detail(particulars)})
}

// endClaimsIn: what still has a claim in the region was not recorded when its worker ended, so
// it may land.
func (t *tx) endClaimsIn(region string, now time.Time) error {
	if mutant.On(mutant.CopiesOutlivePromotion) {
		return nil
	}
	const isClaimed = ` AND region = ?2 AND claim <> 0`
	if err := t.exec(lateClaims+isClaimed+keepLonger, micros(now), region); err != nil {
		return err
	}
	return t.exec(`UPDATE copies INDEXED BY copies_claimed SET claim = 0, claimed_until = 0 WHERE region = ? AND claim <> 0`, region)
}

// detail writes an audit entry's particulars; its members are sorted by their names.
func detail(members map[string]any) string {
	text, err := json.Marshal(members)
	if err != nil {
		panic(fmt.Sprintf("marshal an audit detail: %v", err)) // only a mistake in our own types
	}
	return string(text)
}

// lateToIntents: a copy that may yet land in the region that becomes active is, from then
// on, a repair without an answer. A write of its key is held against it, and where it is to
// displace what the write makes, refused. One that cannot land any more may have landed: what
// it left there is no write either.
func (t *tx) lateToIntents(p journal.Promotion, now time.Time) error {
	late, err := collect(context.Background(), t, func(rows *sql.Rows) (l lateRow, err error) {
		return l, rows.Scan(&l.bucket, &l.key, &l.expects, &l.etag, &l.until)
	}, `SELECT bucket, key, expects, etag, until FROM late_copies WHERE region = ?`, p.Region)
	if err != nil {
		return err
	}
	for _, l := range late {
		if l.until <= micros(now) {
			l.expects = ""
		}
		err := t.exec(`
			INSERT INTO intents (id, bucket, key, region, operation, epoch, began, opened_at, doubt_until, in_doubt, brings, displaces)
			VALUES (?, ?, ?, ?, 'repair', ?, ?, ?, ?, 1, ?, ?)`,
			t.drawIntent(), l.bucket, l.key, p.Region, p.After+1, t.sequence, micros(now), l.until, l.etag, l.expects)
		if err != nil {
			return err
		}
	}
	return nil
}

type lateRow struct {
	bucket, key, expects, etag string
	until                      int64
}

// repairsToLate: a repair that may yet land in the region that was active is a late copy.
func (t *tx) repairsToLate(old string) error {
	err := t.exec(`
		INSERT INTO late_copies (bucket, key, region, expects, etag, until)
		SELECT bucket, key, region, '*', brings, max(doubt_until) FROM intents WHERE region = ? AND operation = 'repair'
		GROUP BY bucket, key, region, brings`+keepLonger, old)
	if err != nil {
		return err
	}
	return t.exec(`DELETE FROM intents WHERE region = ? AND operation = 'repair'`, old)
}

// atRisk selects the keys whose acknowledged write no counted region holds: ?1 is the
// region that is promoted, ?2 the JSON array of those that count. What is unsettled in
// the promoted region itself is at hand there; see trustUnsettled. What nobody has is lost, and
// no promotion changes that; but of a delete the index has all that there is. (A late copy lands on what a delete has
// left, in the region that took it; that is promoted again.)
const atRisk = `
	FROM bucket_regions r CROSS JOIN copies b INDEXED BY copies_behind ON b.bucket = r.bucket AND b.region = r.region
		CROSS JOIN objects o ON o.bucket = b.bucket AND o.key = b.key
	WHERE r.region = ?1 AND b.state <> 'current' AND NOT EXISTS (
		SELECT 1 FROM copies c WHERE c.bucket = b.bucket AND c.key = b.key AND c.state = 'current'
			AND c.region IN (SELECT value FROM json_each(?2)))
		AND (o.deleted OR EXISTS (SELECT 1 FROM copies h WHERE h.bucket = b.bucket AND h.key = b.key AND ` + isHolder + `))
		AND NOT (o.unsettled AND o.last_region = ?1 AND o.epoch = b.epoch AND o.sequence = b.sequence AND NOT b.unverified)`

// isHolder is true of a copy h whose region was brought to the version of its object o, be it
// to be verified or read again.
const isHolder = `(h.state = 'current' OR h.epoch = o.epoch AND h.sequence = o.sequence)`

// counted are the regions whose copies count after the promotion.
func counted(p journal.Promotion, old string) string {
	names := slices.DeleteFunc(append([]string{p.Region}, p.Healthy...), func(name string) bool { return name == old })
	text, err := json.Marshal(names)
	if err != nil {
		panic(err) // strings
	}
	return string(text)
}

// writeLedger adds what the promotion puts at risk or leaves in doubt, and counts it.
func (t *tx) writeLedger(p journal.Promotion, f *journal.Failover) (err error) {
	listed, doubted := atRisk, isDoubted
	if mutant.On(mutant.DeletesUnlisted) {
		listed += ` AND NOT o.deleted`
	}
	if mutant.On(mutant.DoubtsUnlisted) {
		doubted += ` AND 0`
	}
	// Its holder is one that is believed to have it, the old active if that is; else one that was
	// brought to it and is to be verified or read again.
	f.AtRisk, err = t.execCount(`
		INSERT INTO ledger (failover, kind, bucket, key, region, epoch, sequence, operation, etag, size, at)
		SELECT ?3, 'at-risk', o.bucket, o.key, coalesce((SELECT h.region FROM copies h
				WHERE h.bucket = o.bucket AND h.key = o.key AND `+isHolder+`
				ORDER BY h.state <> 'current', h.region <> ?4 LIMIT 1), o.last_region),
			o.epoch, o.sequence, o.operation, o.etag, o.size, o.updated_at`+listed+` ORDER BY o.bucket, o.key`,
		p.Region, counted(p, f.From), f.Epoch, f.From)
	if err != nil {
		return err
	}
	if _, err = t.scan(`SELECT coalesce(sum(size), 0) FROM ledger WHERE failover = ?`, []any{f.Epoch}, &f.AtRiskBytes); err != nil {
		return err
	}
	f.InDoubt, err = t.execCount(`
		INSERT INTO ledger (failover, kind, bucket, key, region, intent, operation, at)
		SELECT ?1, 'in-doubt', bucket, key, region, id, operation, opened_at FROM intents
		WHERE region = ?2 AND `+doubted+` ORDER BY id`, f.Epoch, f.From)
	f.Open = f.AtRisk + f.InDoubt
	t.openEntries += f.Open
	return err
}

// isDoubted is true of the intents that a ledger lists: clients' own, for what a stand-in stands
// for was acknowledged.
const isDoubted = `operation <> 'repair' AND restores_sequence = 0`

// isUnsettledIn is true of the copies in region ?1 whose key has writes that overlapped there.
const isUnsettledIn = `region = ?1 AND (bucket, key) IN (
	SELECT bucket, key FROM objects INDEXED BY objects_unsettled WHERE unsettled = 1 AND last_region = ?1)`

// distrustUnsettled: where writes overlapped, the region may hold another of them than the
// index says. It is no source until it was read again.
func (t *tx) distrustUnsettled(old string, now time.Time) error {
	return t.exec(`UPDATE copies SET state = 'pending', pending_since = ?2, next_try = ?2 WHERE state = 'current' AND `+isUnsettledIn, old, micros(now))
}

// trustUnsettled: as the active, the region alone answers for such keys again, and it is no
// stranger to what it holds. (Writes overlap; another region is promoted, and the first again:
// read again, it holds what it is believed to, and is taken for one that was never brought to
// that.)
func (t *tx) trustUnsettled(region string) error {
	return t.exec(`
		UPDATE copies SET state = 'current', pending_since = 0, next_try = 0, attempts = 0, last_error = '' WHERE state = 'pending' AND unverified = 0 AND `+isUnsettledIn+`
			AND EXISTS (SELECT 1 FROM objects o WHERE o.bucket = copies.bucket AND o.key = copies.key
				AND o.epoch = copies.epoch AND o.sequence = copies.sequence)`, region)
}

// returned: what a promotion put at risk is at hand again where the region has it.
func (t *tx) returned(region string) error {
	if t.openEntries == 0 {
		return nil
	}
	return t.closeWhere(journal.Recovered, "the region that is active now has it", `
		sequence <> 0 AND EXISTS (SELECT 1 FROM copies c WHERE c.bucket = ledger.bucket AND c.key = ledger.key
			AND c.region = ?1 AND c.state = 'current' AND c.epoch = ledger.epoch AND c.sequence = ledger.sequence)`, region)
}

// Who an audit entry names where no person acted.
const (
	clientActor   = "client"
	gatewayActor  = "gateway"
	operatorActor = "operator"
)
