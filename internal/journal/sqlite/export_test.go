package sqlite

import (
	"context"
	"fmt"
	"time"

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

// AttachPartly is an Attach that ended after its first transaction.
func AttachPartly(j *Journal, bucket, region string) error {
	return j.writer.do(context.Background(), func(t *tx) error {
		_, _, err := t.fillIn(bucket, region, "")
		return err
	})
}
