package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
)

// Wait says which regions are to have a write before it is answered.
type Wait struct {
	// Regions by name, each of which is to have it.
	Regions []string
	// Count of regions that are to have it, the active among them; 0 for those that are named alone.
	Count int
	// Timeout ends the wait. Required.
	Timeout time.Duration
}

// waitInterval is how often a wait looks at the index although nobody told it to.
const waitInterval = time.Second

// Await returns once the regions have the write, or one that came after it, or once that is not to be waited for:
// time is up, ctx is done, another region was promoted, or a region cannot take it. It reports whether they
// have it, and puts what is known of each replica into the result. The write is acknowledged in any case, and copied
// in any case.
func (g *Gateway) Await(ctx context.Context, r *Result, w Wait) bool {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	stop := context.AfterFunc(g.waits.over, cancel)
	defer stop()
	copied := g.waits.join(r.Key)
	defer g.waits.leave(r.Key, copied)
	tick := time.NewTicker(waitInterval)
	defer tick.Stop()
	for {
		switch done, hopeless := g.have(ctx, r, w); {
		case done:
			return true
		case hopeless:
			return false
		}
		select {
		case <-copied:
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// have reports whether the regions have the write. What they have of it is known only in its own epoch: whatever came
// later may never have seen it.
func (g *Gateway) have(ctx context.Context, r *Result, w Wait) (done, hopeless bool) {
	v := g.view.Load()
	if v.Epoch != r.Version.Epoch {
		return false, true
	}
	o, err := g.Journal.Lookup(ctx, g.Bucket, r.Key)
	if err != nil {
		return false, false
	}
	has, may := make(map[string]bool), make(map[string]bool)
	for _, name := range v.names {
		c := o.Copy(name)
		isThere := name == r.Region || c.Version.Compare(r.Version) >= 0 && !v.regressed[name]
		if isThere {
			has[name], c.State = true, journal.Current
		}
		if isThere || c.State != journal.Unreplicable && c.State != journal.Abandoned {
			may[name] = true
		}
		if name != r.Region {
			r.Replication[name] = c.State
		}
	}
	return w.isMet(has), !w.isMet(may)
}

// isMet reports whether these regions are enough.
func (w Wait) isMet(regions map[string]bool) bool {
	isLacking := func(name string) bool { return !regions[name] }
	return len(regions) >= w.Count && !slices.ContainsFunc(w.Regions, isLacking)
}

// EndWaits ends every wait, now and from now on. It is called once, when the gateway drains.
func (g *Gateway) EndWaits() { g.waits.end() }

// Copied is told that a copy of the key was brought somewhere. It does not block.
func (g *Gateway) Copied(key string) { g.waits.tell(key) }

// waits are those who wait for copies.
type waits struct {
	over context.Context
	end  context.CancelFunc

	mu    sync.Mutex
	byKey map[string][]chan struct{}
}

func newWaits() *waits {
	w := &waits{byKey: make(map[string][]chan struct{})}
	w.over, w.end = context.WithCancel(context.Background())
	return w
}

func (w *waits) join(key string) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{}, 1)
	w.byKey[key] = append(w.byKey[key], c)
	return c
}

func (w *waits) leave(key string, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byKey[key] = slices.DeleteFunc(w.byKey[key], func(one chan struct{}) bool { return one == c })
	if len(w.byKey[key]) == 0 {
		delete(w.byKey, key)
	}
}

func (w *waits) tell(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.byKey[key] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
