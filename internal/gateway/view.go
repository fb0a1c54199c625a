package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
)

// view is what every request needs to know at its start; it is replaced whole, so that a
// request never sees half of a promotion.
type view struct {
	journal.State
	// names of the regions, in the configured order.
	names []string
	// compared regions have no key that the index does not know; regressed ones came back
	// older than they were.
	compared, regressed map[string]bool
	// dirty are the keys whose copy in this epoch's active is not known to be the
	// acknowledged version.
	dirty *dirtySet
	// ended is done once another epoch is served: requests that write are cut then.
	ended context.Context
	end   context.CancelCauseFunc
}

// errPromoted is the cause of a request that a promotion has cut.
var errPromoted = fmt.Errorf("another region has become active: %w", context.Canceled)

func newView(s journal.State, names []string) *view {
	v := &view{State: s, names: names, dirty: newDirtySet()}
	v.ended, v.end = context.WithCancelCause(context.Background())
	return v
}

// change replaces the view by a copy that f has changed. The epoch is the same.
func (g *Gateway) change(f func(*view)) {
	g.viewing.Lock()
	defer g.viewing.Unlock()
	v := *g.view.Load()
	f(&v)
	g.view.Store(&v)
}

// SetCompared tells which regions' buckets were compared; reads of keys that the
// index does not know depend on it.
func (g *Gateway) SetCompared(regions []string) {
	g.change(func(v *view) { v.compared = setOf(regions) })
}

// SetRegressed tells which regions came back older than they were. Where the active is
// among them, every read asks the index. An active that is no more is trusted again once what it
// still lacks is in the dirty set; where the index cannot be read, Run tries that again.
func (g *Gateway) SetRegressed(regions []string) {
	g.regressed.Store(&regions)
	g.takeUpRegressed(context.Background())
}

// takeUpRegressed makes the view what SetRegressed was last told.
func (g *Gateway) takeUpRegressed(ctx context.Context) {
	g.regressing.Lock()
	defer g.regressing.Unlock()
	told := g.regressed.Load()
	v := g.view.Load()
	if told == nil || maps.Equal(v.regressed, setOf(*told)) {
		return
	}
	// Until the view says so, whatever a worker finds missing is marked as well: it is told of
	// each. (A copy of the active ends as missing; no copy waits any more; the region is trusted;
	// the object that it has instead is served for the acknowledged one.)
	if v.regressed[v.Active] && !slices.Contains(*told, v.Active) {
		if err := g.loadDirty(ctx, v.dirty, v.Active); err != nil {
			g.Logger.WarnContext(ctx, "the active is verified, and not trusted yet: the index cannot be read", "err", err)
			return
		}
	}
	g.change(func(v *view) { v.regressed = setOf(*told) })
}

// foundOlder reports whether a region is known, since the view was taken, to have come back older: what was asked
// of it meant what it was before. (The index says that a key is being written, and that the active alone answers for
// it; the active comes back empty, and is asked: the key would be left out of a listing that is said to be current.)
func (g *Gateway) foundOlder(v *view) bool {
	for name := range g.view.Load().regressed {
		if !v.regressed[name] {
			return true
		}
	}
	return false
}

// Detach takes a region out of what requests know of.
func (g *Gateway) Detach(name string) {
	g.change(func(v *view) {
		v.names = slices.DeleteFunc(slices.Clone(v.names), func(n string) bool { return n == name })
		v.compared, v.regressed = without(v.compared, name), without(v.regressed, name)
	})
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

func without(set map[string]bool, name string) map[string]bool {
	set = maps.Clone(set)
	delete(set, name)
	return set
}

// Fence holds back the writes that have not begun until lift is called, and waits for
// those under way, or for ctx. A promotion of one healthy region after another leaves nothing
// in doubt by it.
func (g *Gateway) Fence(ctx context.Context) (lift func()) {
	lift = g.flights.fence()
	_ = g.flights.wait(ctx) // what is still under way then is cut, and in doubt
	return lift
}

// WritesInFlight is how many writes are under way.
func (g *Gateway) WritesInFlight() int { return g.flights.count() }

// Switch serves the epoch, which the journal has begun; nothing where that, or a later one,
// is served. Before that has its dirty set no read is answered under it: an older version could
// be served in silence. Then the writes to the old active are cut; each ends as in doubt or as
// not applied. It is not called twice at once.
func (g *Gateway) Switch(ctx context.Context, s journal.State) error {
	if g.regions[s.Active] == nil {
		return errors.New("serve another epoch: its active is not among the regions")
	}
	next := newDirtySet()
	g.coming.Store(next)
	defer g.coming.Store(nil)
	if err := g.loadDirty(ctx, next, s.Active); err != nil {
		return err
	}
	if mutant.On(mutant.DirtyNotLoadedAtPromotion) {
		next = newDirtySet()
	}
	g.viewing.Lock()
	old := g.view.Load()
	if old.Epoch >= s.Epoch {
		g.viewing.Unlock()
		return nil
	}
	v := newView(s, old.names)
	v.compared, v.regressed, v.dirty = old.compared, old.regressed, next
	g.view.Store(v)
	g.viewing.Unlock()
	old.end(errPromoted)
	return nil
}

// Distrust has every read of the key ask the index until that says that the active
// holds the acknowledged version.
func (g *Gateway) Distrust(key string) {
	if next := g.coming.Load(); next != nil {
		next.mark(key)
	}
	g.view.Load().dirty.mark(key)
}

// dirtyPage is how many rows LoadDirty reads at once.
const dirtyPage = 1000

// LoadDirty fills the dirty set from the index. Until it has returned nil, no read
// may be served: an older version could be answered in silence.
func (g *Gateway) LoadDirty(ctx context.Context) error {
	if mutant.On(mutant.DirtyNotLoadedAtStart) {
		return nil
	}
	v := g.view.Load()
	return g.loadDirty(ctx, v.dirty, v.Active)
}

func (g *Gateway) loadDirty(ctx context.Context, d *dirtySet, active string) error {
	after := ""
	for {
		rows, err := g.Journal.Differing(ctx, g.Bucket, active, after, "", dirtyPage)
		if err != nil {
			return err
		}
		for _, o := range rows {
			d.mark(o.Key)
			after = o.Key
		}
		if len(rows) < dirtyPage {
			return nil
		}
	}
}
