package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gnew/tandem/internal/journal"
)

// Counts counts the rows, of all buckets. That goes through the objects and the queue, on a reader's connection: the
// writer does not wait for it. A million keys take some fifty milliseconds (BenchmarkCounts), so whoever asks often
// keeps the answer.
func (j *Journal) Counts(ctx context.Context) (journal.Counts, error) {
	var c journal.Counts
	err := j.read(ctx, func(q querier) error {
		counted, err := collect(ctx, q, scanCounts, `
			SELECT (SELECT count(*) FROM objects),
				(SELECT count(*) FROM copies INDEXED BY copies_due WHERE state = 'pending'),
				(SELECT count(*) FROM intents),
				(SELECT count(*) FROM intents INDEXED BY intents_in_doubt WHERE in_doubt = 1),
				(SELECT count(*) FROM ledger INDEXED BY ledger_open WHERE outcome = ''),
				(SELECT count(*) FROM conflicts INDEXED BY conflicts_open WHERE state <> 'resolved'),
				(SELECT coalesce(max(id), 0) FROM audit)`) // the chain begins with 1 and has no gaps
		if err == nil {
			c = counted[0]
		}
		return err
	})
	if err != nil {
		return c, err
	}
	if c.DatabaseBytes, err = fileSize(j.path); err == nil {
		c.WALBytes, err = fileSize(j.path + "-wal")
	}
	return c, err
}

func scanCounts(rows *sql.Rows) (journal.Counts, error) {
	var c journal.Counts
	err := rows.Scan(&c.Objects, &c.Pending, &c.Intents, &c.InDoubt, &c.Ledger, &c.Conflicts, &c.Audit)
	return c, err
}

// fileSize is 0 for a file that is not there: SQLite removes a log that it does not need.
func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the size of the journal: %w", err)
	}
	return info.Size(), nil
}
