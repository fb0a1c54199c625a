package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// firstSchema is a file of the first release, with a key that is copied, one that is not, one
// that is deleted, one that is unsettled, an open intent, and a copy without an answer.
func firstSchema(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := sqlite.Migrate(t.Context(), path, 1); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec(`
		INSERT INTO journal VALUES (1, 'the-journal', 4);
		INSERT INTO epochs VALUES (1, 'alpha', 1000000);
		INSERT INTO bucket_regions VALUES ('bucket', 'alpha', 1, 1), ('bucket', 'beta', 1, 0);
		INSERT INTO objects VALUES
			('bucket', 'copied', 1, 1, 'put', 0, 'a', 10, 'text/plain', 'alpha', 5, 5, 0, 0),
			('bucket', 'deleted', 1, 3, 'delete', 1, '', 0, '', 'alpha', 5, 5, 0, 0),
			('bucket', 'pending', 1, 2, 'put', 0, 'b', 20, 'text/plain', 'alpha', 5, 5, 0, 0),
			('bucket', 'unsettled', 1, 4, 'put', 0, 'c', 30, 'text/plain', 'alpha', 5, 5, 1, 0);
		INSERT INTO copies (bucket, key, region, state, epoch, sequence, etag, next_try, pending_since) VALUES
			('bucket', 'copied', 'alpha', 'current', 1, 1, 'a', 0, 0), ('bucket', 'copied', 'beta', 'current', 1, 1, 'a', 0, 0),
			('bucket', 'deleted', 'alpha', 'current', 1, 3, '', 0, 0), ('bucket', 'deleted', 'beta', 'pending', 0, 0, 'old', 7, 7),
			('bucket', 'pending', 'alpha', 'current', 1, 2, 'b', 0, 0), ('bucket', 'pending', 'beta', 'pending', 0, 0, '', 6, 6),
			('bucket', 'unsettled', 'alpha', 'current', 1, 4, 'c', 0, 0), ('bucket', 'unsettled', 'beta', 'pending', 0, 0, '', 8, 8);
		INSERT INTO intents (id, bucket, key, region, operation, epoch, began, opened_at, doubt_until) VALUES
			(7, 'bucket', 'begun', 'alpha', 'put', 1, 4, 9, 9);
		INSERT INTO late_copies VALUES ('bucket', 'pending', 'beta', '', 'b', 10)`)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileOfTheFirstReleaseIsTakenUp(t *testing.T) {
	j := newJournal(t, sqlite.Config{Path: firstSchema(t), BootID: "now"})
	ctx := t.Context()
	if j.MachineStopped() {
		t.Error("a file that has no boot says that the machine stopped")
	}
	state, err := j.State(ctx)
	if err != nil || state.JournalID != "the-journal" || state.Epoch != 1 || state.Active != "alpha" || state.Uncompared {
		t.Fatalf("got %+v, %v", state, err)
	}
	if n := chain(t, j); n != 0 {
		t.Errorf("got %d entries, want none of what happened before", n)
	}
	if all, err := j.Failovers(ctx); err != nil || len(all) != 1 || all[0].To != "alpha" || all[0].Forced || all[0].Open != 0 {
		t.Errorf("got %+v, %v, want the first epoch", all, err)
	}
	for key, want := range map[string]journal.CopyState{
		"copied": journal.Current, "deleted": journal.Pending, "pending": journal.Pending, "unsettled": journal.Pending,
	} {
		o, err := j.Lookup(ctx, "bucket", key)
		if err != nil || o.Copy("beta").State != want || o.Copy("alpha").State != journal.Current || o.Unsettled != (key == "unsettled") {
			t.Errorf("%s: got %+v, %v, want its copy %s", key, o, err, want)
		}
	}
	if o, err := j.Lookup(ctx, "bucket", "begun"); err != nil || len(o.Intents) != 1 || o.Intents[0].ID != 7 || !o.Intents[0].InDoubt {
		t.Errorf("got %+v, %v, want the intent in doubt", o, err)
	}

	f, err := j.Promote(ctx, journal.Promotion{After: 1, Region: "beta", Actor: "operator"})
	if err != nil || f.AtRisk != 3 || f.InDoubt != 1 || f.AtRiskBytes != 50 {
		t.Errorf("got %+v, %v, want three at risk and one in doubt", f, err)
	}
	if o, err := j.Lookup(ctx, "bucket", "pending"); err != nil || len(o.Intents) != 1 || o.Intents[0].Operation != journal.Repair {
		t.Errorf("got %+v, %v, want the late copy as a repair", o, err)
	}
	if n := chain(t, j); n != 1 {
		t.Errorf("got %d entries, want the promotion", n)
	}
}

func TestTheSecondSchemaCanBeUndone(t *testing.T) {
	path := firstSchema(t)
	for range 2 {
		for _, version := range []int64{2, 1} {
			if err := sqlite.Migrate(t.Context(), path, version); err != nil {
				t.Fatalf("to schema %d: %v", version, err)
			}
		}
	}
	j := newJournal(t, sqlite.Config{Path: path})
	if o, err := j.Lookup(t.Context(), "bucket", "copied"); err != nil || len(o.Copies) != 2 {
		t.Errorf("got %+v, %v, want it as it was", o, err)
	}
}

func TestAMarkStaysThatOfItsBucket(t *testing.T) {
	path := firstSchema(t)
	if err := sqlite.Migrate(t.Context(), path, 4); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO marks VALUES ('alpha', 1, 4, 'etag', 9)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int64{5, 4, 5} {
		if err := sqlite.Migrate(t.Context(), path, version); err != nil {
			t.Fatalf("to schema %d: %v", version, err)
		}
	}
	j := newJournal(t, sqlite.Config{Path: path})
	if m, err := j.Mark(t.Context(), "bucket", "alpha"); err != nil || m.ETag != "etag" || m.Epoch != 1 || m.Sequence != 4 {
		t.Errorf("got %+v, %v, want the mark that was there", m, err)
	}
	if m, err := j.Mark(t.Context(), "other", "alpha"); err != nil || m != (journal.Mark{}) {
		t.Errorf("got %+v, %v for a bucket that was never marked", m, err)
	}
}

func TestTheSchemaWithAccessKeysCanBeUndone(t *testing.T) {
	path := firstSchema(t)
	for _, version := range []int64{6, 5, 6} {
		if err := sqlite.Migrate(t.Context(), path, version); err != nil {
			t.Fatalf("to schema %d: %v", version, err)
		}
	}
	j := newJournal(t, sqlite.Config{Path: path})
	if all, err := j.AccessKeys(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got %v, %v, want no access key", all, err)
	}
	if o, err := j.Lookup(t.Context(), "bucket", "copied"); err != nil || len(o.Copies) != 2 {
		t.Errorf("got %+v, %v, want it as it was", o, err)
	}
}
