package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

// closeWhere closes the open entries for which the condition is true; its arguments are ?1
// and so on.
func (t *tx) closeWhere(outcome journal.Outcome, reason, condition string, args ...any) error {
	n := len(args)
	closed, err := collect(context.Background(), t, func(rows *sql.Rows) (e journal.LedgerEntry, err error) {
		return e, rows.Scan(&e.ID, &e.Failover, &e.Kind, &e.Bucket, &e.Key, &e.Region, &e.Version.Epoch, &e.Version.Sequence)
	}, fmt.Sprintf(`
		UPDATE ledger SET outcome = ?%d, reason = ?%d, closed_at = ?%d WHERE outcome = '' AND (%s)
		RETURNING id, failover, kind, bucket, key, region, epoch, sequence`, n+1, n+2, n+3, condition),
		append(args, string(outcome), reason, micros(time.Now()))...)
	if err != nil {
		return err
	}
	t.openEntries -= int64(len(closed))
	for _, e := range closed {
		err := t.record(audit.Entry{
			Action: audit.Close, Actor: gatewayActor, Bucket: e.Bucket, Key: e.Key, Version: e.Version.String(), Region: e.Region,
			Detail: detail(map[string]any{"failover": e.Failover, "entry": e.ID, "kind": e.Kind, "outcome": outcome, "reason": reason}),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// closeVersion closes the ledger entries of one write.
func (t *tx) closeVersion(outcome journal.Outcome, reason, bucket, key string, v journal.Version) error {
	if t.openEntries == 0 {
		return nil
	}
	return t.closeWhere(outcome, reason, `bucket = ?1 AND key = ?2 AND epoch = ?3 AND sequence = ?4`, bucket, key, v.Epoch, v.Sequence)
}

// Risk is what Promote would put at risk.
func (j *Journal) Risk(ctx context.Context, p journal.Promotion) (journal.Risk, error) {
	var risk journal.Risk
	err := j.read(ctx, func(q querier) error {
		active, err := collect(ctx, q, scanKey, `SELECT active FROM epochs ORDER BY epoch DESC LIMIT 1`)
		if err != nil || len(active) == 0 {
			return errors.Join(err, sql.ErrNoRows)
		}
		old := active[0]
		risks, err := collect(ctx, q, func(rows *sql.Rows) (r journal.Risk, err error) {
			var oldest int64
			err = rows.Scan(&r.Keys, &r.Bytes, &oldest, &r.InDoubt, &r.OpenURLs)
			r.OldestPending = fromMicros(oldest)
			return r, err
		}, `SELECT count(*), coalesce(sum(o.size), 0), coalesce(min(b.pending_since) FILTER (WHERE b.state = 'pending'), 0),
				(SELECT count(*) FROM intents WHERE region = ?3 AND `+isDoubted+`),
				(SELECT count(*) FROM intents WHERE region = ?3 AND operation = 'presigned-put')`+atRisk, p.Region, counted(p, old), old)
		if err == nil {
			risk = risks[0]
		}
		return err
	})
	return risk, err
}

// Failovers are the promotions, the newest first.
func (j *Journal) Failovers(ctx context.Context) ([]journal.Failover, error) {
	var all []journal.Failover
	err := j.read(ctx, func(q querier) (err error) {
		all, err = collect(ctx, q, scanFailover, `
			SELECT epoch, active, coalesce((SELECT p.active FROM epochs p WHERE p.epoch = e.epoch - 1), ''), began_at, forced, uncompared,
				automatic, actor, reason FROM epochs e ORDER BY epoch DESC`)
		if err != nil {
			return err
		}
		counts, err := collect(ctx, q, scanLedgerCount, `
			SELECT failover, kind, outcome, count(*), coalesce(sum(size), 0) FROM ledger GROUP BY failover, kind, outcome`)
		if err != nil {
			return err
		}
		for i := range all {
			for _, c := range counts {
				c.addTo(&all[i])
			}
		}
		return nil
	})
	return all, err
}

func scanFailover(rows *sql.Rows) (journal.Failover, error) {
	f := journal.Failover{Outcomes: make(map[journal.Outcome]int64)}
	var began int64
	err := rows.Scan(&f.Epoch, &f.To, &f.From, &began, &f.Forced, &f.Uncompared, &f.Automatic, &f.Actor, &f.Reason)
	f.At = fromMicros(began)
	return f, err
}

type ledgerCount struct {
	failover, entries, bytes int64
	kind                     journal.LedgerKind
	outcome                  journal.Outcome
}

func scanLedgerCount(rows *sql.Rows) (c ledgerCount, err error) {
	return c, rows.Scan(&c.failover, &c.kind, &c.outcome, &c.entries, &c.bytes)
}

func (c ledgerCount) addTo(f *journal.Failover) {
	if c.failover != f.Epoch {
		return
	}
	if c.kind == journal.AtRisk {
		f.AtRisk += c.entries
		f.AtRiskBytes += c.bytes
	} else {
		f.InDoubt += c.entries
	}
	if c.outcome == "" {
		f.Open += c.entries
	} else {
		f.Outcomes[c.outcome] += c.entries
	}
}

// Ledger reads a part of a promotion's ledger.
func (j *Journal) Ledger(ctx context.Context, epoch, after int64, limit int) ([]journal.LedgerEntry, error) {
	var entries []journal.LedgerEntry
	err := j.read(ctx, func(q querier) (err error) {
		entries, err = collect(ctx, q, scanLedger, `
			SELECT id, failover, kind, bucket, key, epoch, sequence, operation, etag, size, at, region, outcome, closed_at, reason
			FROM ledger WHERE failover = ? AND id > ? ORDER BY id LIMIT ?`, epoch, after, limit)
		return err
	})
	return entries, err
}

func scanLedger(rows *sql.Rows) (journal.LedgerEntry, error) {
	var e journal.LedgerEntry
	var at, closed int64
	err := rows.Scan(&e.ID, &e.Failover, &e.Kind, &e.Bucket, &e.Key, &e.Version.Epoch, &e.Version.Sequence, &e.Operation, &e.ETag, &e.Size,
		&at, &e.Region, &e.Outcome, &closed, &e.Reason)
	e.At, e.ClosedAt = fromMicros(at), fromMicros(closed)
	return e, err
}

// PointingAt counts what only the region holds.
func (j *Journal) PointingAt(ctx context.Context, buckets []string, region string) (atRisk, conflicts int64, err error) {
	names, err := json.Marshal(buckets)
	if err != nil {
		return 0, 0, err
	}
	const isServed = ` AND bucket IN (SELECT value FROM json_each(?2))`
	err = j.read(ctx, func(q querier) error {
		counts, err := collect(ctx, q, func(rows *sql.Rows) (n int64, err error) { return n, rows.Scan(&n) }, `
			SELECT count(*) FROM ledger WHERE outcome = '' AND region = ?1 AND (kind = 'at-risk' OR sequence <> 0)`+isServed+`
			UNION ALL SELECT count(*) FROM conflicts WHERE state = 'found' AND region = ?1`+isServed, region, string(names))
		if err == nil {
			atRisk, conflicts = counts[0], counts[1]
		}
		return err
	})
	return atRisk, conflicts, err
}
