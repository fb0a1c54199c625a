package sim

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/journal"
)

// books is the journal as one life of the gateway sees it: its calls fail, take their time, and are
// the steps at which a crash may come.
type books struct {
	app.Journal
	w    *world
	life *life

	mu       sync.Mutex
	attempts map[string]int
	keys     map[int64]string // of open intents
}

// call carries out one call with what is drawn for it.
func (b *books) call(op, key string, mayFail bool, do func() error) error {
	b.w.step()
	if b.life.isOver() {
		return fmt.Errorf("%w: the process is gone", journal.ErrUnavailable)
	}
	b.mu.Lock()
	b.attempts[op+"\x00"+key]++
	attempt := b.attempts[op+"\x00"+key]
	b.mu.Unlock()
	r := chance(b.w.seed, "journal", b.life.number, op, key, attempt)
	percent := int(b.w.journalPercent.Load())
	isHit := r.IntN(100) < percent
	kind := r.IntN(6)
	if isHit && kind < 2 {
		b.pause(op, pausedBefore[op], r.Int64N(int64(longestPause)))
	}
	if isHit && kind == 2 && mayFail {
		b.w.count(journalFailed)
		b.w.note("journal: %s %s: %s", op, key, journalFailed)
		return fmt.Errorf("%w: injected", journal.ErrUnavailable)
	}
	if b.w.held != nil {
		b.w.held(b.life, op, key)
	}
	if b.life.isOver() {
		return fmt.Errorf("%w: the process is gone", journal.ErrUnavailable)
	}
	err := do()
	if err != nil && strings.Contains(err.Error(), "is full") {
		b.w.count(diskFull)
	}
	if b.w.held != nil {
		b.w.held(b.life, "after-"+op, key)
	}
	if isHit && kind == 3 && mayFail && err == nil {
		b.w.count(journalUnknown)
		b.w.note("journal: %s %s: %s", op, key, journalUnknown)
		err = fmt.Errorf("%w: injected", journal.ErrUnknown)
	}
	if isHit && kind > 3 {
		b.pause(op, pausedAfter[op], r.Int64N(int64(longestPause)))
	}
	b.w.step()
	if b.life.isOver() {
		return fmt.Errorf("%w: the process is gone", journal.ErrUnknown)
	}
	return err
}

// longestPause is beyond a promotion, and beyond a request's deadline.
const longestPause = 20 * time.Second

var (
	pausedBefore = map[string]string{"Open": pausedBeforeOpen, "Commit": pausedBeforeEnd, "Settle": pausedBeforeSettle}
	pausedAfter  = map[string]string{"Open": pausedAfterOpen, "Commit": pausedAfterEnd}
)

// pause keeps the caller, until the process dies.
func (b *books) pause(op, kind string, ns int64) {
	if kind == "" {
		return
	}
	b.w.count(kind)
	b.w.note("gateway: %s for %v", kind, time.Duration(ns))
	timer := time.NewTimer(time.Duration(ns))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.life.over:
	}
}

func (b *books) Open(ctx context.Context, i journal.Intent) (id int64, err error) {
	err = b.call("Open", i.Key, true, func() (err error) {
		id, err = b.Journal.Open(ctx, i)
		return err
	})
	b.mu.Lock()
	b.keys[id] = i.Key
	b.mu.Unlock()
	return id, err
}

func (b *books) keyOf(id int64) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys[id]
}

func (b *books) Commit(ctx context.Context, id int64, w journal.Written) (c journal.Committed, err error) {
	err = b.call("Commit", b.keyOf(id), true, func() (err error) {
		c, err = b.Journal.Commit(ctx, id, w)
		return err
	})
	return c, err
}

func (b *books) Abandon(ctx context.Context, id int64) error {
	return b.call("Abandon", b.keyOf(id), true, func() error { return b.Journal.Abandon(ctx, id) })
}

func (b *books) Doubt(ctx context.Context, id int64, until time.Time) error {
	return b.call("Doubt", b.keyOf(id), true, func() error { return b.Journal.Doubt(ctx, id, until) })
}

func (b *books) Settle(ctx context.Context, o journal.Observation) (d journal.Decision, err error) {
	err = b.call("Settle", o.Key, true, func() (err error) {
		d, err = b.Journal.Settle(ctx, o)
		return err
	})
	if d != journal.Wait {
		b.w.note("journal: settle %s in %s, found %t %q: %s %v", o.Key, o.Region, o.Found, o.ETag, d, err)
	}
	return d, err
}

func (b *books) Lookup(ctx context.Context, bucket, key string) (o *journal.Object, err error) {
	err = b.call("Lookup", key, true, func() (err error) {
		o, err = b.Journal.Lookup(ctx, bucket, key)
		return err
	})
	return o, err
}

func (b *books) Claim(ctx context.Context, bucket, region string, c journal.Claim) (tasks []journal.Task, err error) {
	err = b.call("Claim", region, true, func() (err error) {
		tasks, err = b.Journal.Claim(ctx, bucket, region, c)
		return err
	})
	for _, t := range tasks {
		b.w.note("journal: claim %s to be brought to %s %q in %s; late %+v", t.Object.Key, t.Object.Version, t.Object.ETag, region, t.Late)
	}
	return tasks, err
}

func (b *books) Announce(ctx context.Context, t journal.Task, etag string) error {
	return b.call("Announce", t.Object.Key, true, func() error { return b.Journal.Announce(ctx, t, etag) })
}

func (b *books) Finish(ctx context.Context, t journal.Task, etag string) (s journal.CopyState, err error) {
	err = b.call("Finish", t.Object.Key, true, func() (err error) {
		s, err = b.Journal.Finish(ctx, t, etag)
		return err
	})
	return s, err
}

func (b *books) Fail(ctx context.Context, t journal.Task, f journal.Failure) error {
	return b.call("Fail", t.Object.Key, true, func() error { return b.Journal.Fail(ctx, t, f) })
}

func (b *books) Keep(ctx context.Context, id int64) error {
	return b.call("Keep", fmt.Sprint(id), true, func() error { return b.Journal.Keep(ctx, id) })
}

func (b *books) Resolve(ctx context.Context, id int64, r journal.Resolution) error {
	return b.call("Resolve", fmt.Sprint(id), true, func() error { return b.Journal.Resolve(ctx, id, r) })
}

func (b *books) Regress(ctx context.Context, bucket, region, why string) error {
	return b.call("Regress", region, true, func() error { return b.Journal.Regress(ctx, bucket, region, why) })
}

func (b *books) SetMark(ctx context.Context, bucket, region string, m journal.Mark) error {
	return b.call("SetMark", region, true, func() error { return b.Journal.SetMark(ctx, bucket, region, m) })
}

// Promote is where the ledger is judged: what the regions hold at that moment is what it has to say.
func (b *books) Promote(ctx context.Context, p journal.Promotion) (f journal.Failover, err error) {
	err = b.call("Promote", p.Region, true, func() (err error) {
		before := b.w.expectLedger(p)
		f, err = b.Journal.Promote(ctx, p)
		if err == nil {
			b.w.promoted(f, before)
		}
		return err
	})
	return f, err
}
