package journaltest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/gnew/tandem/internal/journal"
)

func randomTests() []test {
	var tests []test
	for seed := range uint64(12) {
		tests = append(tests, test{"NoAcknowledgedWriteIsLostUnseen/seed=" + strconv.FormatUint(seed, 10), func(s *store) { newWorld(s, seed).live() }})
	}
	return tests
}

// world is three regions with their clients, workers and settler, in a history that chance
// makes: writes are refused, cut, or land late; copies lose their answers; regions are promoted
// and restored from old copies; the journal's process dies. Then all comes to rest, and what was
// acknowledged must be somewhere, or on the record.
type world struct {
	*store
	chance *rand.Rand
	seed   uint64
	steps  []string
	names  []string
	// holds is what each region holds, the ETag by the key; nights are the copies from which it
	// may be restored.
	holds  map[string]map[string]string
	nights map[string][]map[string]string
	// writes are those that have not ended, or may land yet.
	writes []*write
	// looks are what was seen and not told yet.
	looks []journal.Observation
	etags int
	// acknowledged writes of objects, and of those: overwritten by a later client, kept, or gone
	// with what their region was before.
	acknowledged, overwritten, kept, gone map[string]bool
}

// write is a client's, on its way to a region.
type write struct {
	id                int64
	key, region, etag string // "" is a delete
	// saw is what readers were given when it began.
	saw                string
	isApplied, inDoubt bool
}

func newWorld(s *store, seed uint64) *world {
	w := &world{
		store: s, chance: rand.New(rand.NewPCG(seed, 1)), seed: seed, names: []string{active, replica, third},
		holds: make(map[string]map[string]string), nights: make(map[string][]map[string]string),
		acknowledged: make(map[string]bool), overwritten: make(map[string]bool), kept: make(map[string]bool), gone: make(map[string]bool),
	}
	s.attach(third)
	s.ok(s.SetCompared(s.t.Context(), bucket, w.names))
	for _, name := range w.names {
		w.holds[name] = make(map[string]string)
	}
	return w
}

func (w *world) log(format string, args ...any) {
	w.steps = append(w.steps, fmt.Sprintf(format, args...))
}

// broken ends the test with the history that led there.
func (w *world) broken(format string, args ...any) {
	w.t.Helper()
	for _, step := range w.steps {
		w.t.Log(step)
	}
	w.t.Fatalf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

func (w *world) active() string {
	w.t.Helper()
	state, err := w.State(w.t.Context())
	w.ok(err)
	return state.Active
}

func pick[T any](w *world, from []T) T { return from[w.chance.IntN(len(from))] }

func (w *world) live() {
	for range 160 {
		switch n := w.chance.IntN(100); {
		case n < 15 && len(w.writes) < 3:
			w.begin()
		case n < 40:
			w.goOn()
		case n < 60:
			w.work(pick(w, w.names))
		case n < 72:
			w.look()
		case n < 84:
			w.tell()
		case n < 88:
			w.promoteOne()
		case n < 90:
			w.restore(pick(w, w.names))
		case n < 92:
			w.die()
		case n < 93 && w.seed%4 == 3:
			w.takeOut(pick(w, w.names))
		default:
			name := pick(w, w.names)
			w.nights[name] = append(w.nights[name], maps.Clone(w.holds[name]))
		}
	}
	w.rest()
	w.check()
}

// die ends the process. Nobody is left to answer for what was under way.
func (w *world) die() {
	w.log("the process dies")
	w.store = w.crashed()
	w.writes = slices.DeleteFunc(w.writes, func(b *write) bool {
		b.inDoubt = true
		return b.isApplied
	})
}

func (w *world) begin() {
	in := w.intent(pick(w, []string{"j", "k"}), journal.Put)
	b := &write{key: in.Key, region: in.Region, saw: w.readable(in.Key)}
	if w.chance.IntN(4) == 0 {
		in.Operation = journal.Delete
	} else {
		w.etags++
		b.etag = fmt.Sprintf("e%d", w.etags)
	}
	var err error
	b.id, err = w.Open(w.t.Context(), in)
	if errors.Is(err, journal.ErrLoser) || errors.Is(err, journal.ErrRepairing) {
		return
	}
	w.ok(err)
	w.log("%d begins: %q of %s in %s", b.id, b.etag, b.key, b.region)
	w.writes = append(w.writes, b)
}

// readable is what readers are given of a key: nothing of what is at risk.
func (w *world) readable(key string) string {
	o, err := w.Lookup(w.t.Context(), bucket, key)
	if errors.Is(err, journal.ErrNotFound) {
		return ""
	}
	w.ok(err)
	for _, f := range w.failovers() {
		for _, e := range w.ledger(f.Epoch) {
			if e.Version == o.Version && e.Outcome == "" {
				return ""
			}
		}
	}
	return o.ETag
}

// goOn has a write land, be answered, or be cut.
func (w *world) goOn() {
	if len(w.writes) == 0 {
		return
	}
	b := pick(w, w.writes)
	switch n := w.chance.IntN(10); {
	case !b.isApplied && n < 6:
		w.apply(b)
	case b.inDoubt:
	case n < 8 && b.isApplied:
		w.commitOrNot(b)
	case n < 8:
		w.log("%d is refused", b.id)
		w.abandon(b.id)
		w.end(b)
	default:
		w.log("%d is cut", b.id)
		b.inDoubt = true
		w.doubt(b.id)
	}
}

func (w *world) apply(b *write) {
	w.log("%d lands over %q", b.id, w.holds[b.region][b.key])
	b.isApplied = true
	w.overwritten[w.holds[b.region][b.key]], w.overwritten[b.saw] = true, true
	w.set(b.region, b.key, b.etag)
	if b.inDoubt {
		w.end(b)
	}
}

func (w *world) set(region, key, etag string) {
	if etag == "" {
		delete(w.holds[region], key)
		return
	}
	w.holds[region][key] = etag
}

func (w *world) commitOrNot(b *write) {
	c, err := w.Commit(w.t.Context(), b.id, holds(b.etag))
	if !errors.Is(err, journal.ErrEpoch) && !errors.Is(err, journal.ErrNoIntent) {
		w.ok(err)
		w.acknowledged[b.etag] = true
	}
	w.log("%d is answered: %v, settled %t, %v", b.id, c.Version, c.Settled, err)
	w.end(b)
}

func (w *world) end(b *write) {
	w.writes = slices.DeleteFunc(w.writes, func(o *write) bool { return o == b })
}

// look reads a key in a region in which it is open; tell comes later.
func (w *world) look() {
	rows, err := w.Unsettled(w.t.Context(), bucket, "", 100)
	w.ok(err)
	if len(rows) > 0 {
		o := pick(w, rows)
		w.lookAt(o, pick(w, w.names), w.chance.IntN(3) == 0)
	}
}

func (w *world) lookAt(o *journal.Object, region string, isOver bool) {
	w.t.Helper()
	isOpen := o.IsUnsettledIn(region) || slices.ContainsFunc(o.Intents, func(i journal.Intent) bool { return i.Region == region })
	if !isOpen {
		return
	}
	if isOver {
		// What is in doubt and has not landed never will.
		w.writes = slices.DeleteFunc(w.writes, func(b *write) bool { return b.inDoubt && b.key == o.Key && b.region == region })
		for _, b := range w.writes {
			isOver = isOver && (b.key != o.Key || b.region != region)
		}
	}
	seen := w.store.gone(o.Key, region)
	if etag := w.holds[region][o.Key]; etag != "" {
		seen = w.store.seen(o.Key, region, etag)
	}
	if !isOver {
		seen = w.within(seen)
	}
	w.looks = append(w.looks, seen)
}

func (w *world) tell() {
	if len(w.looks) == 0 {
		return
	}
	i := w.chance.IntN(len(w.looks))
	seen := w.looks[i]
	w.looks = slices.Delete(w.looks, i, i+1)
	d, err := w.Settle(w.t.Context(), seen)
	if !errors.Is(err, journal.ErrEpoch) {
		w.ok(err)
	}
	w.log("settle %s in %s, which held %q: %s, %v", seen.Key, seen.Region, seen.ETag, d, err)
}

func (w *world) promoteOne() {
	region := pick(w, w.names)
	if region == w.active() {
		return
	}
	var unhealthy []string
	if w.chance.IntN(2) == 0 {
		unhealthy = []string{pick(w, w.names)}
	}
	f := w.promoted(region, unhealthy...)
	w.log("%s is promoted in epoch %d, %v unhealthy: %d at risk, %d in doubt", region, f.Epoch, unhealthy, f.AtRisk, f.InDoubt)
}

// restore puts a region back to what it held one night.
func (w *world) restore(region string) {
	if len(w.nights[region]) == 0 || w.seed%2 == 0 {
		return
	}
	night := pick(w, w.nights[region])
	for key, etag := range w.holds[region] {
		if night[key] != etag {
			w.gone[etag] = true
		}
	}
	// Of what was under way nobody can say whether it landed before that.
	for _, b := range w.writes {
		w.gone[b.etag] = w.gone[b.etag] || b.region == region
	}
	w.log("%s is restored: %v", region, night)
	w.holds[region] = maps.Clone(night)
	// What was seen there before is told no more: the mark is read after the key.
	w.looks = slices.DeleteFunc(w.looks, func(o journal.Observation) bool { return o.Region == region })
	w.regress(region)
}

// takeOut detaches a region, with what it held.
func (w *world) takeOut(region string) {
	if region == w.active() || len(w.names) < 3 {
		return
	}
	w.log("%s is taken out", region)
	for _, etag := range w.holds[region] {
		w.gone[etag] = true
	}
	w.detach(region)
	w.names = slices.DeleteFunc(w.names, func(name string) bool { return name == region })
	w.writes = slices.DeleteFunc(w.writes, func(b *write) bool { return b.region == region })
	w.looks = slices.DeleteFunc(w.looks, func(o journal.Observation) bool { return o.Region == region })
}

// rest brings everything to an end.
func (w *world) rest() {
	w.log("all comes to rest")
	for _, b := range slices.Clone(w.writes) {
		switch {
		case b.inDoubt:
		case b.isApplied:
			w.commitOrNot(b)
		default:
			w.abandon(b.id)
		}
	}
	w.writes, w.looks = nil, nil
	for range 60 {
		for _, key := range []string{"j", "k"} {
			for _, name := range w.names {
				if o, err := w.Lookup(w.t.Context(), bucket, key); err == nil {
					w.lookAt(o, name, true)
				}
				for len(w.looks) > 0 {
					w.tell()
				}
			}
		}
		for _, name := range w.names {
			w.readAll(name)
			w.ok(w.Hurry(w.t.Context(), bucket, name))
			w.work(name)
			_, err := w.Verified(w.t.Context(), bucket, name)
			w.ok(err)
		}
	}
}
