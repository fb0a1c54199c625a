package replicate

import (
	"context"
	"fmt"
	"sync"
)

// errHeld is the cause of a copy that Hold has cut.
var errHeld = fmt.Errorf("the copy was cut, for another region is promoted or this one is removed: %w", context.Canceled)

// gate counts the work under way, so that it can be cut, waited for, and held back.
type gate struct {
	mu struct {
		sync.Mutex
		// holds counts those who hold the gate.
		holds int
		// busy is the work under way.
		busy map[*work]struct{}
		// idle is closed when there is none, nil where nobody waits for that.
		idle chan struct{}
	}
}

// work can be cut.
type work struct{ cut context.CancelCauseFunc }

// begin enters work that may begin; ok is false while the gate is held.
func (g *gate) begin(ctx context.Context) (_ context.Context, done func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.holds > 0 {
		return nil, nil, false
	}
	ctx, done = g.enterLocked(ctx)
	return ctx, done, true
}

// enter enters work that was taken up already. While the gate is held it is cut at once.
func (g *gate) enter(ctx context.Context) (_ context.Context, done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.enterLocked(ctx)
}

func (g *gate) enterLocked(ctx context.Context) (_ context.Context, done func()) {
	ctx, cut := context.WithCancelCause(ctx)
	if g.mu.holds > 0 {
		cut(errHeld)
	}
	if g.mu.busy == nil {
		g.mu.busy = make(map[*work]struct{})
	}
	w := &work{cut}
	g.mu.busy[w] = struct{}{}
	return ctx, func() {
		cut(nil)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.mu.busy, w)
		if len(g.mu.busy) == 0 && g.mu.idle != nil {
			close(g.mu.idle)
			g.mu.idle = nil
		}
	}
}

// hold cuts what is under way and lets nothing begin until release, which each hold has one of.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.holds++
	for w := range g.mu.busy {
		w.cut(errHeld)
	}
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.holds--
}

// wait returns once nothing is under way, or with ctx.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	if len(g.mu.busy) == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.mu.idle == nil {
		g.mu.idle = make(chan struct{})
	}
	idle := g.mu.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
