package gateway

import (
	"context"
	"sync"
)

// flights counts the writes under way. A fence holds new ones back, for a moment, so that
// those under way can end; closing refuses every later one.
type flights struct {
	mu struct {
		sync.Mutex
		n      int
		closed bool
		// fences counts those that are up.
		fences int
		// fenced is closed when the last of them is lifted, nil where there is none.
		fenced chan struct{}
		// idle is closed when n is 0, nil where nobody waits for that.
		idle chan struct{}
	}
}

// enter waits while there is a fence. Whoever it returns nil to calls leave.
func (f *flights) enter(ctx context.Context) error {
	for {
		f.mu.Lock()
		fenced := f.mu.fenced
		switch {
		case f.mu.closed:
			f.mu.Unlock()
			return errStopping
		case fenced == nil:
			f.mu.n++
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		select {
		case <-fenced:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *flights) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.n--; f.mu.n == 0 && f.mu.idle != nil {
		close(f.mu.idle)
		f.mu.idle = nil
	}
}

// fence holds back every write that has not begun, until lift is called, once.
func (f *flights) fence() (lift func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.fences++; f.mu.fences == 1 {
		f.mu.fenced = make(chan struct{})
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.mu.fences--; f.mu.fences == 0 {
			close(f.mu.fenced)
			f.mu.fenced = nil
		}
	}
}

// close refuses every later write.
func (f *flights) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.closed = true
}

// wait returns once no write is under way, or with ctx.
func (f *flights) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.mu.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.mu.idle == nil {
		f.mu.idle = make(chan struct{})
	}
	idle := f.mu.idle
	f.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.n
}
