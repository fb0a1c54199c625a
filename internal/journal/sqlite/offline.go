package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"time"

	"github.com/gnew/tandem/internal/audit"
)

// ReadAudit hands the audit chain of the journal at path, as it is at one moment, to use:
// the journal's id, and the entries in the order in which they are stored. It takes no lock,
// migrates nothing and writes nothing into the journal, which may be in use meanwhile; beside a
// file in WAL mode, reading makes SQLite's -wal and -shm where they are missing. The entries can
// be walked once, while use runs; an error ends them. What use returns is returned as it is.
func ReadAudit(ctx context.Context, path string, use func(journalID string, entries iter.Seq2[audit.Linked, error]) error) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("find the journal: %w", err)
	}
	t, end, err := openOffline(ctx, path, "")
	if _, found := os.Stat(path + "-wal"); err != nil && errors.Is(found, fs.ErrNotExist) {
		// In a folder where nothing can be made SQLite cannot open a file in WAL mode. Nobody
		// has it open, for then there would be a -wal; so nobody changes it.
		if again, endAgain, failed := openOffline(ctx, path, "&immutable=1"); failed == nil {
			t, end, err = again, endAgain, nil
		}
	}
	if err != nil {
		return fmt.Errorf("open the journal %s (its folder must let SQLite make a -shm beside it, or copy both it and its -wal to one that does): %w", path, err)
	}
	defer end()
	var id string
	if err := t.QueryRowContext(ctx, `SELECT journal_id FROM journal`).Scan(&id); err != nil {
		return fmt.Errorf("read the id of the journal %s (is it one, and whole? a copy without its -wal is not; `tandem journal backup` makes one that is): %w", path, err)
	}
	return use(id, storedEntries(ctx, t))
}

// openOffline begins a transaction that sees one moment of the file.
func openOffline(ctx context.Context, path, option string) (t *sql.Tx, end func(), err error) {
	db, err := sql.Open("sqlite", offlineDSN(path)+option)
	if err != nil {
		return nil, nil, err
	}
	t, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	// The moment is that of the first reading.
	var n int
	if err := t.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master`).Scan(&n); err != nil {
		return nil, nil, errors.Join(err, t.Rollback(), db.Close())
	}
	return t, func() {
		_ = t.Rollback() // nothing was written
		_ = db.Close()
	}, nil
}

// storedEntries goes by rowid, which is where an entry is whatever its number says: of a table
// that was made anew without a primary key the two can differ.
func storedEntries(ctx context.Context, q querier) iter.Seq2[audit.Linked, error] {
	return func(yield func(audit.Linked, error) bool) {
		rows, err := q.QueryContext(ctx, `
			SELECT id, at, action, actor, bucket, key, version, region, detail, hash FROM audit ORDER BY rowid`)
		if err != nil {
			yield(audit.Linked{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			e, err := scanStored(rows)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(audit.Linked{}, err)
		}
	}
}

// scanStored takes an entry as it is: a hash that is none is for the verification to find.
func scanStored(rows *sql.Rows) (audit.Linked, error) {
	var e audit.Linked
	var at int64
	var hash []byte
	err := rows.Scan(&e.Index, &at, &e.Action, &e.Actor, &e.Bucket, &e.Key, &e.Version, &e.Region, &e.Detail, &hash)
	e.At = time.UnixMicro(at).UTC()
	if len(hash) == len(e.Hash) {
		e.Hash = audit.Hash(hash)
	}
	return e, err
}

// offlineDSN names the file so that nothing is written there.
func offlineDSN(path string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	return u.String() + "?mode=ro&_pragma=busy_timeout(10000)&_pragma=query_only(1)"
}
