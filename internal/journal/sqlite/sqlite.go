// Package sqlite keeps the journal in one SQLite file, owned by one process.
//
// The file is in WAL mode with synchronous=FULL: a commit that returned is on disk.
// All changes go through one writer goroutine, which puts whatever is waiting into
// one transaction (see writer), so that many requests share one fsync. Reads have
// connections of their own and never wait for the writer.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrLocked: another process owns the file.
var ErrLocked = errors.New("another process is using the journal")

// Config says where the journal is.
type Config struct {
	// Path of the database file. Required; its folder is made, 0700.
	Path string
	// RestInterval is how soon a copy of a key that is still being written is
	// tried again. Default 5 s.
	RestInterval time.Duration
	// BootID names the machine's boot; another one than the last, after a stop that was not
	// clean, means that the machine itself went down. Default: nothing is known.
	BootID string
	// Logger tells of migrations and of what a crash left. Required.
	Logger *slog.Logger
	// Metrics counts commits. Default: none.
	Metrics *Metrics
}

// Journal implements journal.Journal. Close it once nothing uses it any more.
type Journal struct {
	writer  *writer
	readers *sql.DB
	lock    *flock.Flock
	path    string
	rest    time.Duration
	// machineStopped: the machine went down while the journal was open.
	machineStopped bool
}

var _ journal.Journal = (*Journal)(nil)

// Open opens or makes the file, migrates it, and takes up what a crash left: open
// intents are in doubt from now on, and claims are given up. The lock on the file is
// held until Close; where another process holds it, ErrLocked.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if cfg.Path == "" || cfg.Logger == nil {
		return nil, errors.New("sqlite: Path and Logger are required")
	}
	lock, err := lockFile(cfg.Path)
	if err != nil {
		return nil, err
	}
	j, err := open(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	j.lock = lock
	return j, nil
}

func open(ctx context.Context, cfg Config) (*Journal, error) {
	// The file is made before SQLite does, for its mode: keys are customers' data.
	f, err := os.OpenFile(cfg.Path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	db, err := sql.Open("sqlite", dsn(cfg.Path, 8<<10))
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	if err := migrate(ctx, db, cfg.Logger); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := recoverFromCrash(ctx, db, cfg.Logger); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	machineStopped, err := takeUpBoot(ctx, db, cfg.BootID)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	w, err := newWriter(ctx, db, cfg.Metrics)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	readers, err := sql.Open("sqlite", dsn(cfg.Path, 2<<10)+"&_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal: %w", err), w.close())
	}
	readers.SetMaxOpenConns(4)
	readers.SetMaxIdleConns(4)
	return &Journal{writer: w, readers: readers, path: cfg.Path, rest: cmp.Or(cfg.RestInterval, 5*time.Second), machineStopped: machineStopped}, nil
}

// dsn names the file with the pragmas of every connection; cacheKiB bounds a
// connection's page cache.
func dsn(path string, cacheKiB int) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	return fmt.Sprintf("%s?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+
		"&_pragma=foreign_keys(1)&_pragma=cache_size(-%d)", u.String(), cacheKiB)
}

func migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, folder, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the journal's schema version (is it a SQLite file of ours?): %w", err)
	}
	if current > target {
		return fmt.Errorf("the journal has schema %d, this version of tandem knows %d: it was written by a newer one", current, target)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the journal: %w", err)
	}
	for _, r := range results {
		log.InfoContext(ctx, "journal migrated", "version", r.Source.Version, "elapsed", r.Duration)
	}
	_, err = db.ExecContext(ctx, `INSERT INTO journal (id, journal_id, sequence) VALUES (1, ?, 0) ON CONFLICT DO NOTHING`, uuid.NewString())
	if err != nil {
		return fmt.Errorf("name the journal: %w", err)
	}
	return nil
}

// recoverFromCrash takes up what the last process left. It owned the file alone, so
// whatever it had open has nobody to answer for it; its requests may still be on their
// way, which is what the doubt window is for.
func recoverFromCrash(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	takeUp := `UPDATE intents SET in_doubt = 1 WHERE in_doubt = 0`
	if mutant.On(mutant.DoubtForgottenAtStart) {
		takeUp = `DELETE FROM intents WHERE in_doubt = 0`
	}
	result, err := db.ExecContext(ctx, takeUp)
	if err != nil {
		return fmt.Errorf("take up open intents: %w", err)
	}
	intents, err := result.RowsAffected()
	if err != nil {
		return err
	}
	claims, err := takeUpClaims(ctx, db, time.Now())
	if err != nil {
		return fmt.Errorf("take up claims: %w", err)
	}
	if intents > 0 || claims > 0 {
		log.InfoContext(ctx, "journal taken up after an unclean stop", "intents", intents, "copies", claims)
	}
	return nil
}

// takeUpClaims gives up every claim, and remembers what their workers may have sent.
func takeUpClaims(ctx context.Context, db *sql.DB, now time.Time) (claims int64, err error) {
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer t.Rollback() // an error only where it was committed
	isClaimed := ` AND claim <> 0`
	if mutant.On(mutant.ClaimForgotten) {
		isClaimed += ` AND claim = 0`
	}
	if _, err = t.ExecContext(ctx, lateClaims+isClaimed+keepLonger, micros(now)); err != nil {
		return 0, err
	}
	result, err := t.ExecContext(ctx, `UPDATE copies SET claim = 0, claimed_until = 0 WHERE claim <> 0`)
	if err != nil {
		return 0, err
	}
	if claims, err = result.RowsAffected(); err != nil {
		return 0, err
	}
	_, err = t.ExecContext(ctx, `
		DELETE FROM late_copies WHERE until <= ?1 AND EXISTS (SELECT 1 FROM copies c
			WHERE c.bucket = late_copies.bucket AND c.key = late_copies.key AND c.region = late_copies.region AND c.state = 'current')`, micros(now))
	if err != nil {
		return 0, err
	}
	return claims, t.Commit()
}

// takeUpBoot records the boot in which the journal is open, and reports whether it was open
// in an earlier one that ended under it. A crash, or a stop, before that is taken up leaves it to
// the next start.
func takeUpBoot(ctx context.Context, db *sql.DB, bootID string) (machineStopped bool, err error) {
	err = db.QueryRowContext(ctx, `
		UPDATE journal SET boot_id = ?1, closed = 0,
			machine_stopped = machine_stopped OR closed = 0 AND boot_id <> '' AND ?1 <> '' AND boot_id <> ?1
		RETURNING machine_stopped`, bootID).Scan(&machineStopped)
	if err != nil {
		return false, fmt.Errorf("record the boot: %w", err)
	}
	return machineStopped, nil
}

// MachineStopped reports whether the machine went down while the journal was open: what was
// not synced to disk then may be gone. It stays so over restarts until TakeUpMachineStop.
func (j *Journal) MachineStopped() bool { return j.machineStopped }

// TakeUpMachineStop records that whatever may be gone by the machine's stop is marked for it: every bucket of the
// regions, those that are not served now as well, is regressed. The next start says nothing of it any more.
func (j *Journal) TakeUpMachineStop(ctx context.Context, regions []string, why string) error {
	return j.writer.do(ctx, func(t *tx) error {
		for _, bucket := range slices.Sorted(maps.Keys(t.regions)) {
			for _, region := range regions {
				if !slices.Contains(t.regions[bucket], region) {
					continue
				}
				if err := t.regress(bucket, region, why); err != nil {
					return err
				}
				// Only by a mark that is written from here on is it found older once more.
				if err := t.exec(`DELETE FROM marks WHERE bucket = ? AND region = ?`, bucket, region); err != nil {
					return err
				}
			}
		}
		return t.exec(`UPDATE journal SET machine_stopped = 0`)
	})
}

// SetMaxPages bounds the file to so many pages, or to those that it has if these are more: what needs another
// is refused, as where the disk is full. 0 is SQLite's own limit.
func (j *Journal) SetMaxPages(ctx context.Context, pages int64) error {
	if pages == 0 {
		pages = 1<<32 - 2
	}
	return j.writer.do(ctx, func(t *tx) error { return t.exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)) })
}

// Close waits for the writer and lets go of the file. What the process has written to other
// files is on disk, if the caller has synced it.
func (j *Journal) Close() error {
	err := j.writer.do(context.Background(), func(t *tx) error { return t.exec(`UPDATE journal SET closed = 1`) })
	if errors.Is(err, journal.ErrUnavailable) {
		err = nil // it is closed already, or has no room: then the next start is careful for nothing
	}
	err = errors.Join(err, j.writer.close(), j.readers.Close())
	return errors.Join(err, j.lock.Unlock())
}

// Backup writes a consistent copy of the journal at path to the new file
// destination, durable on return. The journal may be in use meanwhile.
func Backup(ctx context.Context, path, destination string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("find the journal: %w", err)
	}
	f, err := os.OpenFile(destination, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	defer f.Close()
	db, err := sql.Open("sqlite", dsn(path, 2<<10))
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	defer db.Close()
	// VACUUM INTO takes an existing file when it is empty.
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, destination); err != nil {
		return errors.Join(fmt.Errorf("copy the journal: %w", err), os.Remove(destination))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync the backup: %w", err)
	}
	return syncDir(filepath.Dir(destination))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the backup's folder: %w", err)
	}
	defer dir.Close()
	return dir.Sync()
}

// micros is how a time is stored.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
