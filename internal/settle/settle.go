// Package settle reads again the keys of which the index cannot say what a region holds:
// writes in doubt, writes that overlapped, and objects that are not what the index says; in the
// active, and in a region that was active when they were made. What it sees goes to the journal,
// whose Decide and DecideDemoted say what it means; until then such a key is answered by the
// active alone, or not copied to the region. A second settler looks at the keys that are open to
// presigned URLs, as long as an upload may land.
package settle

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
)

// Journal is what settling needs of the journal.
type Journal interface {
	Unsettled(ctx context.Context, bucket, after string, limit int) ([]*journal.Object, error)
	Settle(ctx context.Context, o journal.Observation) (journal.Decision, error)
}

// Config describes the settler.
type Config struct {
	// Bucket is the name that clients see. Required.
	Bucket string
	// Regions by name. Required.
	Regions []*region.Region
	// Journal has the keys. Required.
	Journal Journal
	// Keys lists the keys to look at, like Journal.Unsettled. Default: that.
	Keys func(ctx context.Context, bucket, after string, limit int) ([]*journal.Object, error)
	// State tells the present epoch. Required.
	State func() journal.State
	// Check makes sure that a region is not older than it was; what is seen in one that may
	// be proves nothing. Default: always nil.
	Check func(ctx context.Context, region string) error
	// Distrust is told of a key whose version may be about to change by what a region other
	// than the active was found to hold. Default: nobody.
	Distrust func(key string)
	// Settled is told when a key has settled; it must not block. Required.
	Settled func()
	// MinInterval and MaxInterval bound the time between two looks at one key.
	// Default 250 ms and 1 min.
	MinInterval, MaxInterval time.Duration
	// Logger is required.
	Logger *slog.Logger
	// Metrics counts. Default: none.
	Metrics *Metrics
}

// Settler closes what is open, key by key.
type Settler struct {
	Config
	regions map[string]*region.Region
	wake    chan struct{}
	// forget has Run forget its looks, so that every key is due.
	forget atomic.Bool
	// looks is owned by Run: when a key is looked at next.
	looks map[string]look
}

// look is how often a key was looked at, and when it is again.
type look struct {
	times int
	next  time.Time
}

// New returns a settler.
func New(cfg Config) (*Settler, error) {
	if cfg.Bucket == "" || len(cfg.Regions) == 0 || cfg.Journal == nil || cfg.State == nil || cfg.Settled == nil || cfg.Logger == nil {
		return nil, errors.New("settle: Bucket, Regions, Journal, State, Settled and Logger are required")
	}
	cfg.MinInterval = cmp.Or(cfg.MinInterval, 250*time.Millisecond)
	cfg.MaxInterval = cmp.Or(cfg.MaxInterval, time.Minute)
	if cfg.Check == nil {
		cfg.Check = func(context.Context, string) error { return nil }
	}
	if cfg.Keys == nil {
		cfg.Keys = cfg.Journal.Unsettled
	}
	if cfg.Distrust == nil {
		cfg.Distrust = func(string) {}
	}
	s := &Settler{Config: cfg, regions: make(map[string]*region.Region), wake: make(chan struct{}, 1), looks: make(map[string]look)}
	for _, r := range cfg.Regions {
		s.regions[r.Name()] = r
	}
	return s, nil
}

// Wake has the keys looked at now. It does not block.
func (s *Settler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Returned is told that a region that was down answers again: what waits for it is looked at
// now. It does not block.
func (s *Settler) Returned() {
	s.forget.Store(true)
	s.Wake()
}

// Run settles until ctx ends.
func (s *Settler) Run(ctx context.Context) error {
	for {
		wait := s.pass(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

const (
	pageRows = 500
	// idleInterval is how often the index is asked when nobody wakes it.
	idleInterval = 5 * time.Second
	// looksLimit bounds what is remembered of keys; beyond it every key is due.
	looksLimit = 100_000
)

// pass looks at every key that is due, and returns when the next one is.
func (s *Settler) pass(ctx context.Context) time.Duration {
	if s.forget.Swap(false) {
		clear(s.looks)
	}
	seen := make(map[string]bool)
	wait := idleInterval
	for after := ""; ; {
		page, err := s.Keys(ctx, s.Bucket, after, pageRows)
		if err != nil {
			if ctx.Err() == nil {
				s.Logger.ErrorContext(ctx, "unsettled keys cannot be read", "err", err)
			}
			return idleInterval
		}
		for _, o := range page {
			after = o.Key
			seen[o.Key] = true
			if until := time.Until(s.looks[o.Key].next); until > 0 {
				wait = min(wait, until)
				continue
			}
			wait = min(wait, s.lookAt(ctx, o))
			if ctx.Err() != nil {
				return 0
			}
		}
		if len(page) < pageRows {
			break
		}
	}
	for key := range s.looks {
		if !seen[key] {
			delete(s.looks, key)
		}
	}
	return wait
}

// lookAt reads a key in the active and returns when to look again if that did not
// settle it.
func (s *Settler) lookAt(ctx context.Context, o *journal.Object) time.Duration {
	decision, err := s.settle(ctx, o)
	if err == nil && decision != journal.Wait {
		delete(s.looks, o.Key)
		s.Settled()
		s.Metrics.settled(string(decision))
		s.Logger.InfoContext(ctx, "key settled", "decision", decision, "intents", len(o.Intents))
		s.Logger.DebugContext(ctx, "key settled", "key", o.Key, "decision", decision)
		return idleInterval
	}
	if err != nil && ctx.Err() == nil {
		s.Logger.DebugContext(ctx, "key not settled", "key", o.Key, "err", err)
	}
	l := s.looks[o.Key]
	delay := min(s.MinInterval<<min(l.times, 16), s.MaxInterval)
	l.times++
	l.next = time.Now().Add(delay)
	// A window that closes is looked at as it does.
	for _, i := range o.Intents {
		if until := time.Until(i.DoubtUntil); until > 0 && until < delay {
			l.next, delay = i.DoubtUntil, until
		}
	}
	if len(s.looks) < looksLimit {
		s.looks[o.Key] = l
	}
	return delay
}

// settle reads the key in each region in which it is open, and tells the journal. Of the
// decisions it returns the first that is Wait, else the last.
func (s *Settler) settle(ctx context.Context, o *journal.Object) (journal.Decision, error) {
	decision, isOpen := journal.Wait, false
	for _, name := range s.openIn(o) {
		d, err := s.settleIn(ctx, o, name)
		if err != nil {
			return journal.Wait, err
		}
		decision = d
		isOpen = isOpen || d == journal.Wait
	}
	if isOpen {
		return journal.Wait, nil
	}
	return decision, nil
}

// openIn are the regions in which the key is to be read again, the active first.
func (s *Settler) openIn(o *journal.Object) []string {
	active := s.State().Active
	var names []string
	add := func(name string) {
		if s.regions[name] != nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if o.Unsettled {
		add(o.LastRegion)
	}
	for _, i := range o.Intents {
		if i.InDoubt {
			add(i.Region)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		switch active {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return names
}

func (s *Settler) settleIn(ctx context.Context, o *journal.Object, name string) (journal.Decision, error) {
	state := s.State()
	seen := journal.Observation{
		Bucket: o.Bucket, Key: o.Key, Region: name, Epoch: state.Epoch, Version: o.Version, Held: o.Copy(name), ReadAt: time.Now(),
	}
	for _, i := range o.Intents {
		if !i.InDoubt && i.Region == name {
			return journal.Wait, nil // under way: what is seen now proves nothing
		}
		seen.Intents = append(seen.Intents, i.ID)
	}
	a, err := s.regions[name].Head(ctx, o.Key, nil)
	switch {
	case err == nil:
		seen.Found = true
		seen.Written = journal.Written{ETag: a.ETag(), Size: a.Size(), ContentType: a.Header.Get("Content-Type")}
	case !region.IsNotFound(err):
		return journal.Wait, err
	}
	// The mark is read after the key: a region that is older by now was so, at the latest,
	// after what was seen; one that was older before is found out.
	if err := s.Check(ctx, name); err != nil {
		return journal.Wait, err
	}
	if name == state.Active {
		return s.Journal.Settle(ctx, seen)
	}
	s.Distrust(o.Key)
	decision, err := s.Journal.Settle(ctx, seen)
	s.Distrust(o.Key) // again: a reader may have found the key clean before that was recorded
	return decision, err
}
