package journaltest

import (
	"errors"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// work is what a worker does with all that is due in a region, by the rules of protocol.md.
func (w *world) work(region string) {
	w.t.Helper()
	for _, task := range w.claim(region, 10, long) {
		etag, f := w.copy(task)
		if f != nil {
			w.log("copy of %s to %s fails: %s", task.Object.Key, region, f.Reason)
			f.NextTry = w.now.Add(-long)
			w.store.fail(task, *f)
			continue
		}
		state, err := w.Finish(w.t.Context(), task, etag)
		w.ok(err)
		w.log("copy of %s to %s, which now holds %q: %s", task.Object.Key, region, etag, state)
	}
}

func failed(reason string) (string, *journal.Failure) {
	return "", &journal.Failure{Reason: reason}
}

func (w *world) copy(task journal.Task) (string, *journal.Failure) {
	w.t.Helper()
	o, active := &task.Object, w.active()
	for _, loser := range task.Losers {
		if f := w.keep(task, loser); f != nil {
			return "", f
		}
	}
	if task.Region != active && o.IsUnsettledIn(task.Region) {
		return failed("the region is read again first")
	}
	if o.Contested(active) {
		return failed("the key is being written")
	}
	etag := o.ETag
	if !o.Deleted {
		source, ok := w.source(o, task.Region, active)
		if !ok {
			return w.holdsItself(task)
		}
		etag = o.Copy(source).ETag
		if held := w.holds[source][o.Key]; held != etag {
			if source == active {
				return "", &journal.Failure{Reason: "the active has changed", SourceChanged: true}
			}
			w.ok(w.MarkMissing(w.t.Context(), bucket, o.Key, source, o.Version))
			return failed("the source " + source + " has changed")
		}
	}
	held := w.holds[task.Region][o.Key]
	if held == etag {
		return etag, nil
	}
	isOurs := held == "" || held == task.Target().ETag || task.Regressed ||
		slices.ContainsFunc(task.Late, func(l journal.LateCopy) bool { return l.ETag == held })
	if !isOurs {
		return failed("the target holds something else, which is not overwritten")
	}
	if task.Region == active {
		return w.repairWith(o, etag, held)
	}
	return w.send(task.Region, o.Key, etag, held)
}

func (w *world) source(o *journal.Object, target, active string) (string, bool) {
	for _, name := range append([]string{active}, w.names...) {
		if name != target && o.Copy(name).State == journal.Current {
			return name, true
		}
	}
	return "", false
}

// holdsItself: nobody else has it.
func (w *world) holdsItself(task journal.Task) (string, *journal.Failure) {
	o := &task.Object
	held := w.holds[task.Region][o.Key]
	isLast := task.Regressed || o.LastRegion == task.Region
	switch {
	case held == o.ETag && (task.Regressed || task.Target().ETag == held):
		return held, nil
	case held == "" && isLast, task.Regressed:
		return "", &journal.Failure{Reason: "nobody has it", State: journal.Missing, Held: held}
	}
	return failed("no source")
}

// send brings the ETag to a region. Now and then its answer is lost, whether it landed or not.
func (w *world) send(region, key, etag, held string) (string, *journal.Failure) {
	n := w.chance.IntN(8)
	if n != 0 {
		w.set(region, key, etag)
	}
	if n > 1 {
		return etag, nil
	}
	return "", &journal.Failure{Reason: "no answer", Late: &journal.LateCopy{Expects: held, ETag: etag, Until: time.Now()}}
}

// repairWith is a copy into the active: a write with an intent.
func (w *world) repairWith(o *journal.Object, etag, held string) (string, *journal.Failure) {
	w.t.Helper()
	in := w.intent(o.Key, journal.Repair)
	in.Restores, in.Brings, in.Displaces, in.DoubtUntil = o.Version, etag, held, time.Now()
	id, err := w.Open(w.t.Context(), in)
	if errors.Is(err, journal.ErrMovedOn) {
		return failed("the key has moved on")
	}
	w.ok(err)
	etag, f := w.send(in.Region, o.Key, etag, held)
	if f != nil {
		w.doubt(id)
		f.Late = nil // its intent says it
		return "", f
	}
	_, err = w.Commit(w.t.Context(), id, holds(etag))
	w.ok(err)
	return etag, nil
}

// keep puts a loser out of harm's way.
func (w *world) keep(task journal.Task, loser journal.Conflict) *journal.Failure {
	w.t.Helper()
	held := w.holds[loser.Region][loser.Key]
	isDoubted := task.Object.IsUnsettledIn(loser.Region)
	f := &journal.Failure{Reason: "the loser is not there", State: journal.Missing, Loser: loser.ID}
	switch {
	case held == loser.ETag:
	case isDoubted:
		f.State = journal.Pending
		return f
	case held == "", task.Regressed:
		return f
	}
	w.log("%q, the loser of conflict %d in %s, is kept", held, loser.ID, loser.Region)
	w.kept[held] = true
	w.ok(w.Keep(w.t.Context(), loser.ID))
	return nil
}
