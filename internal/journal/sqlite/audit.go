package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gnew/tandem/internal/audit"
)

// record adds an entry to the chain, in the transaction of what it tells of. Its index
// and its link are drawn here, by the one writer, so that entries are in the order of what they
// tell.
func (t *tx) record(e audit.Entry) error {
	e.Index, e.At = t.auditSize+1, fromMicros(micros(time.Now()))
	hash := audit.Link(t.auditHead, e)
	err := t.exec(`INSERT INTO audit (id, at, action, actor, bucket, key, version, region, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Index, micros(e.At), string(e.Action), e.Actor, e.Bucket, e.Key, e.Version, e.Region, e.Detail, hash[:])
	if err != nil {
		return err
	}
	t.auditSize, t.auditHead = e.Index, hash
	return nil
}

// AuditHead is the chain's length and its last hash.
func (j *Journal) AuditHead(ctx context.Context) (size int64, head audit.Hash, err error) {
	err = j.writer.do(ctx, func(t *tx) error {
		size, head = t.auditSize, t.auditHead
		return nil
	})
	return size, head, err
}

// AuditEntries reads a part of the chain.
func (j *Journal) AuditEntries(ctx context.Context, after int64, limit int) ([]audit.Linked, error) {
	var entries []audit.Linked
	err := j.read(ctx, func(q querier) (err error) {
		entries, err = readAudit(ctx, q, after, limit)
		return err
	})
	return entries, err
}

func readAudit(ctx context.Context, q querier, after int64, limit int) ([]audit.Linked, error) {
	return collect(ctx, q, scanAudit, `
		SELECT id, at, action, actor, bucket, key, version, region, detail, hash FROM audit WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
}

func scanAudit(rows *sql.Rows) (audit.Linked, error) {
	var e audit.Linked
	var at int64
	var hash []byte
	err := rows.Scan(&e.Index, &at, &e.Action, &e.Actor, &e.Bucket, &e.Key, &e.Version, &e.Region, &e.Detail, &hash)
	if err != nil {
		return e, err
	}
	e.At = time.UnixMicro(at).UTC()
	if copy(e.Hash[:], hash) != len(hash) || len(hash) != len(e.Hash) {
		return e, fmt.Errorf("audit entry %d has a hash of %d bytes", e.Index, len(hash))
	}
	return e, nil
}

// loadAudit reads where the chain ends.
func (t *tx) loadAudit(m *memory) error {
	var hash []byte
	found, err := t.scan(`SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1`, nil, &m.auditSize, &hash)
	if err != nil {
		return fmt.Errorf("read the head of the audit chain: %w", err)
	}
	if !found {
		m.auditHead = audit.Genesis(m.state.JournalID)
		return nil
	}
	if copy(m.auditHead[:], hash) != len(m.auditHead) {
		return fmt.Errorf("read the head of the audit chain: its hash has %d bytes", len(hash))
	}
	return nil
}
