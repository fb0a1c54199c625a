package journaltest

import (
	"errors"

	"github.com/gnew/tandem/internal/journal"
)

// readAll is what readers ask for of keys that the region lacks.
func (w *world) readAll(region string) {
	for _, key := range []string{"j", "k"} {
		if o, err := w.Lookup(w.t.Context(), bucket, key); err == nil && o.Copy(region).State == journal.Missing {
			w.request(key, region)
		}
	}
}

func (w *world) check() {
	w.chain()
	lost := make(map[string]bool) // versions, as the record has them
	for _, f := range w.failovers() {
		for _, e := range w.ledger(f.Epoch) {
			if e.Outcome == "" {
				w.broken("an entry is open: %+v", e)
			}
			lost[e.ETag] = lost[e.ETag] || e.Outcome == journal.IsLost
		}
	}
	for _, c := range w.conflicts(true) {
		if c.State == journal.ConflictFound {
			w.broken("a loser was not kept: %+v", c)
		}
	}
	rows := make(map[string]bool)
	for _, key := range []string{"j", "k"} {
		o, err := w.Lookup(w.t.Context(), bucket, key)
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		w.ok(err)
		rows[o.ETag] = true
		w.checkRow(o, lost)
	}
	for etag := range w.acknowledged {
		if etag != "" && !rows[etag] && !w.overwritten[etag] && !w.kept[etag] && !w.gone[etag] && !lost[etag] {
			w.broken("%s was acknowledged, and is nowhere", etag)
		}
	}
}

// checkRow: every region holds what the row says, unless nobody has it, on the record.
func (w *world) checkRow(o *journal.Object, lost map[string]bool) {
	if o.Unsettled || len(o.Intents) > 0 {
		w.broken("the row is open: %+v", o)
	}
	isThere, isMissing := false, false
	for _, name := range w.names {
		c := o.Copy(name)
		isThere = isThere || c.State == journal.Current || w.holds[name][o.Key] == o.ETag
		isMissing = isMissing || c.State == journal.Missing
	}
	if o.Version.IsZero() || !o.Deleted && !isThere && (isMissing || lost[o.ETag]) {
		return
	}
	for _, name := range w.names {
		c := o.Copy(name)
		if held := w.holds[name][o.Key]; c.State != journal.Current || held != o.ETag {
			w.broken("%s holds %q of %s, the row says %q (deleted %t), the copy is %+v", name, held, o.Key, o.ETag, o.Deleted, c)
		}
	}
}
