package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

const (
	maxBatch   = 256  // changes in one transaction
	queueLimit = 1024 // changes that may wait
)

// writer owns the one connection that writes. A change is handed to its goroutine,
// which runs all that wait in one transaction and answers each once that is on disk.
type writer struct {
	db      *sql.DB
	queue   chan change
	done    chan struct{}
	metrics *Metrics

	closing struct {
		sync.RWMutex
		closed bool
	}
}

// change is one caller's part of a transaction. run reports SQL errors alone, and
// those fail the whole transaction; what the caller is to be told it keeps itself.
type change struct {
	run    func(*tx) error
	result chan error
}

// tx is the transaction under way and what the writer knows by heart. All of it is
// owned by the writer's goroutine.
type tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	memory
	// intent is the last id that was drawn. Unlike the memory it is not taken back when a
	// transaction fails: whoever was given an id may still end it.
	intent int64
	// stale: memory may not be what is on disk, and is to be read again first.
	stale bool
}

// memory is the small state that every change needs: it is written with the
// transaction, and read again if that fails.
type memory struct {
	state    journal.State
	sequence int64
	regions  map[string][]string        // attached, by bucket, sorted
	compared map[string]map[string]bool // by bucket, by region
	// regressed regions came back older, by bucket.
	regressed map[string]map[string]bool
	// openEntries of all ledgers, and losers that are not kept yet: mostly 0, and then no
	// write asks for its own.
	openEntries, losers int64
	// The audit chain's length and its last hash.
	auditSize int64
	auditHead audit.Hash
}

func newWriter(ctx context.Context, db *sql.DB, m *Metrics) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	t := &tx{conn: conn, stmts: make(map[string]*sql.Stmt)}
	if err := t.load(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if _, err := t.scan(`SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'intents'), 0)`, nil, &t.intent); err != nil {
		return nil, errors.Join(fmt.Errorf("read the journal's intents: %w", err), conn.Close())
	}
	w := &writer{db: db, queue: make(chan change, queueLimit), done: make(chan struct{}), metrics: m}
	go w.loop(t)
	return w, nil
}

// do has run executed in a transaction and returns once that is on disk. The
// context bounds only the wait for a place in the queue.
func (w *writer) do(ctx context.Context, run func(*tx) error) error {
	c := change{run: run, result: make(chan error, 1)}
	if err := w.enqueue(ctx, c); err != nil {
		return err
	}
	return <-c.result
}

func (w *writer) enqueue(ctx context.Context, c change) error {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closing.closed {
		return fmt.Errorf("%w: it is closed", journal.ErrUnavailable)
	}
	if ctx.Err() == nil {
		select {
		case w.queue <- c:
			return nil
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("%w: %w", journal.ErrUnavailable, context.Cause(ctx))
}

func (w *writer) close() error {
	w.closing.Lock()
	if w.closing.closed {
		w.closing.Unlock()
		return nil
	}
	w.closing.closed = true
	close(w.queue)
	w.closing.Unlock()
	<-w.done
	return w.db.Close()
}

func (w *writer) loop(t *tx) {
	defer close(w.done)
	defer t.release()
	batch := make([]change, 0, maxBatch)
	for c := range w.queue {
		batch = w.gather(append(batch[:0], c))
		started := time.Now()
		err := t.commit(batch)
		w.metrics.observe(len(batch), time.Since(started), err)
		for _, c := range batch {
			c.result <- err
		}
	}
}

// gather lets every goroutine that is ready to write put its change into the
// batch. Without it, on one processor, the first sender would hand the processor to
// this goroutine, which would then block in fsync with a batch of one.
func (w *writer) gather(batch []change) []change {
	for {
		before := len(batch)
		runtime.Gosched()
		for len(batch) < maxBatch {
			select {
			case c, ok := <-w.queue:
				if !ok {
					return batch
				}
				batch = append(batch, c)
				continue
			default:
			}
			break
		}
		if len(batch) == before || len(batch) == maxBatch {
			return batch
		}
	}
}

// commit runs the batch in one transaction. Before COMMIT nothing is on disk, so
// an error there is ErrUnavailable. So is a full disk at COMMIT, for then its last page,
// without which the rest counts for nothing, was not written. Any other error of COMMIT
// may have come after the disk had it all, which is ErrUnknown.
func (t *tx) commit(batch []change) error {
	if t.stale {
		if err := t.load(); err != nil {
			return fmt.Errorf("%w: %w", journal.ErrUnavailable, err)
		}
	}
	kept := t.memory.clone()
	err := t.runAll(batch)
	if err == nil {
		if _, err = t.conn.ExecContext(context.Background(), "COMMIT"); err == nil {
			return nil
		}
		t.stale = true // what is on disk decides what is true from here on
	}
	t.memory = kept
	// SQLite may have rolled back by itself, and then says so. Were it not so, the next
	// BEGIN would say that.
	_, _ = t.conn.ExecContext(context.Background(), "ROLLBACK")
	if t.stale && !isFull(err) {
		return fmt.Errorf("%w: %w", journal.ErrUnknown, err)
	}
	return fmt.Errorf("%w: %w", journal.ErrUnavailable, err)
}

func isFull(err error) bool {
	e, ok := errors.AsType[*driver.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_FULL
}

func (t *tx) runAll(batch []change) error {
	if _, err := t.conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	sequence := t.sequence
	for _, c := range batch {
		if err := c.run(t); err != nil {
			return err
		}
	}
	if t.sequence == sequence {
		return nil
	}
	return t.exec(`UPDATE journal SET sequence = ? WHERE id = 1`, t.sequence)
}

func (t *tx) release() {
	for _, s := range t.stmts {
		_ = s.Close()
	}
	_ = t.conn.Close()
}

// stmt prepares a query once for the writer's connection.
func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.stmts[query]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	t.stmts[query] = s
	return s, nil
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.execCount(query, args...)
	return err
}

func (t *tx) execCount(query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	result, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// QueryContext lets the functions that read rows work in the transaction as they
// do on a reader's connection.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (t *tx) scan(query string, args []any, into ...any) (bool, error) {
	s, err := t.stmt(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(context.Background(), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// draw returns the next version of the present epoch.
func (t *tx) draw() journal.Version {
	t.sequence++
	return journal.Version{Epoch: t.state.Epoch, Sequence: t.sequence}
}

func (t *tx) drawIntent() int64 {
	t.intent++
	return t.intent
}

func (m memory) clone() memory {
	m.regions = maps.Clone(m.regions)
	m.compared = maps.Clone(m.compared)
	m.regressed = maps.Clone(m.regressed)
	return m
}

// load reads the memory from disk.
func (t *tx) load() error {
	m := memory{regions: make(map[string][]string), compared: make(map[string]map[string]bool), regressed: make(map[string]map[string]bool)}
	if _, err := t.scan(`SELECT journal_id, sequence FROM journal WHERE id = 1`, nil, &m.state.JournalID, &m.sequence); err != nil {
		return fmt.Errorf("read the journal's state: %w", err)
	}
	var began int64
	if _, err := t.scan(`SELECT epoch, active, began_at, uncompared, actor = ? AND reason = ? FROM epochs ORDER BY epoch DESC LIMIT 1`, []any{operatorActor, reasonRebased},
		&m.state.Epoch, &m.state.Active, &began, &m.state.Uncompared, &m.state.Rebased); err != nil {
		return fmt.Errorf("read the journal's epoch: %w", err)
	}
	m.state.BeganAt = fromMicros(began)
	if err := t.loadAudit(&m); err != nil {
		return err
	}
	if err := t.loadCounts(&m); err != nil {
		return err
	}
	rows, err := t.QueryContext(context.Background(), `SELECT bucket, region, compared_at, regressed_at FROM bucket_regions WHERE detached_at = 0`)
	if err != nil {
		return fmt.Errorf("read the journal's regions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var bucket, region string
		var compared, regressed int64
		if err := rows.Scan(&bucket, &region, &compared, &regressed); err != nil {
			return err
		}
		m.attach(bucket, region)
		if compared != 0 {
			m.setCompared(bucket, region)
		}
		if regressed != 0 {
			m.setRegressed(bucket, region, true)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the journal's regions: %w", err)
	}
	t.memory, t.stale = m, false
	return nil
}

// attach and setCompared replace what they change, for clone is shallow.
func (m *memory) attach(bucket, region string) {
	regions := append(slices.Clone(m.regions[bucket]), region)
	slices.Sort(regions)
	m.regions[bucket] = slices.Compact(regions)
}

func (m *memory) setCompared(bucket, region string) { setFlag(m.compared, bucket, region, true) }

func (m *memory) setRegressed(bucket, region string, is bool) {
	setFlag(m.regressed, bucket, region, is)
}

func setFlag(flags map[string]map[string]bool, bucket, region string, is bool) {
	regions := maps.Clone(flags[bucket])
	if regions == nil {
		regions = make(map[string]bool)
	}
	regions[region] = is
	if !is {
		delete(regions, region)
	}
	flags[bucket] = regions
	if len(regions) == 0 {
		delete(flags, bucket)
	}
}

// detach forgets a region of the bucket.
func (m *memory) detach(bucket, region string) {
	m.regions[bucket] = slices.DeleteFunc(slices.Clone(m.regions[bucket]), func(name string) bool { return name == region })
	setFlag(m.compared, bucket, region, false)
	setFlag(m.regressed, bucket, region, false)
}

// loadCounts reads how much is open.
func (t *tx) loadCounts(m *memory) error {
	_, err := t.scan(`SELECT (SELECT count(*) FROM ledger INDEXED BY ledger_open WHERE outcome = ''),
		(SELECT count(*) FROM conflicts INDEXED BY conflicts_found WHERE state = 'found')`, nil, &m.openEntries, &m.losers)
	if err != nil {
		return fmt.Errorf("read what is open: %w", err)
	}
	return nil
}
