package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
)

// FillDisk leaves the writer no page more than the file has.
func FillDisk(j *Journal) error { return limitPages(j, 1) }

// FreeDisk gives it all it may ask for.
func FreeDisk(j *Journal) error { return limitPages(j, 1<<30) }

func limitPages(j *Journal, pages int) error {
	return j.writer.do(context.Background(), func(t *tx) error {
		_, err := t.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		return err
	})
}

// FailCommits makes the next n transactions fail at their COMMIT, whatever they
// changed.
func FailCommits(j *Journal, n int) error {
	isOwn := true
	return j.writer.do(context.Background(), func(t *tx) error {
		return t.conn.Raw(func(conn any) error {
			conn.(driver.HookRegisterer).RegisterCommitHook(func() int32 {
				if isOwn {
					isOwn = false // the transaction that this runs in
					return 0
				}
				if n--; n >= 0 {
					return 1
				}
				return 0
			})
			return nil
		})
	})
}

// Hold keeps the writer within a transaction until release is called.
func Hold(j *Journal) (release func()) {
	isHeld, released := make(chan struct{}), make(chan struct{})
	go func() {
		_ = j.writer.do(context.Background(), func(*tx) error {
			close(isHeld)
			<-released
			return nil
		})
	}()
	<-isHeld
	return func() { close(released) }
}

// Waiting is how many changes are in the queue, and how many may be.
func Waiting(j *Journal) (n, limit int) { return len(j.writer.queue), cap(j.writer.queue) }

// AddObjects writes n rows "object-000000" and so on, without copies.
func AddObjects(j *Journal, bucket string, n int) error {
	return j.writer.do(context.Background(), func(t *tx) error {
		return t.exec(`
			WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1 - 1)
			INSERT INTO objects (bucket, key, epoch, sequence, operation, deleted, etag, size, content_type, last_region,
				created_at, updated_at, unsettled, delete_seen)
			SELECT ?2, format('object-%06d', n), 1, n + 1, 'put', 0, 'a', 1, '', 'alpha', ?3, ?3, 0, 0 FROM numbers`,
			n, bucket, micros(time.Now()))
	})
}

// AddWrites writes n rows "object-000000" and so on, acknowledged in alpha and pending in beta.
func AddWrites(j *Journal, bucket string, n int) error {
	if err := AddObjects(j, bucket, n); err != nil {
		return err
	}
	return j.writer.do(context.Background(), func(t *tx) error {
		t.sequence += int64(n)
		return t.exec(`
			INSERT INTO copies (bucket, key, region, state, epoch, sequence, etag, next_try, pending_since)
			SELECT bucket, key, 'alpha', 'current', epoch, sequence, etag, 0, 0 FROM objects WHERE bucket = ?1
			UNION ALL SELECT bucket, key, 'beta', 'pending', 0, 0, '', updated_at, updated_at FROM objects WHERE bucket = ?1`, bucket)
	})
}

// AttachPartly is an Attach that ended after its first transaction.
func AttachPartly(j *Journal, bucket, region string) error {
	return j.writer.do(context.Background(), func(t *tx) error {
		_, _, err := t.fillIn(bucket, region, "")
		return err
	})
}

// Migrate brings the file to a version of the schema, up or down.
func Migrate(ctx context.Context, path string, version int64) error {
	db, err := sql.Open("sqlite", dsn(path, 2<<10))
	if err != nil {
		return err
	}
	defer db.Close()
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, folder)
	if err != nil {
		return err
	}
	current, _, err := provider.GetVersions(ctx)
	if err == nil && current < version {
		_, err = provider.UpTo(ctx, version)
	} else if err == nil {
		_, err = provider.DownTo(ctx, version)
	}
	return err
}

// Plans is how SQLite goes about each statement that the writer has run, by its text.
func Plans(j *Journal) (plans map[string][]string, err error) {
	plans = make(map[string][]string)
	err = j.writer.do(context.Background(), func(t *tx) error {
		for query := range t.stmts {
			rows, err := t.conn.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+query, make([]any, 24)...)
			if err != nil {
				return fmt.Errorf("explain %q: %w", query, err)
			}
			for rows.Next() {
				var id, parent, unused int
				var step string
				if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
					return err
				}
				plans[query] = append(plans[query], step)
			}
			if err := rows.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	return plans, err
}

// Remembered is what the writer knows by heart, and what it would know if it read its memory
// again.
func Remembered(j *Journal) (now, onDisk string, err error) {
	err = j.writer.do(context.Background(), func(t *tx) error {
		now = fmt.Sprintf("%+v", t.memory)
		kept := t.memory
		if err := t.load(); err != nil {
			return err
		}
		onDisk = fmt.Sprintf("%+v", t.memory)
		t.memory = kept
		return nil
	})
	return now, onDisk, err
}
