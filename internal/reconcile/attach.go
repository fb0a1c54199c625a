// Package reconcile compares what regions hold with what the index knows.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// Journal is what attaching needs of the journal.
type Journal interface {
	Attach(ctx context.Context, bucket string, regions []string) error
	Compared(ctx context.Context, bucket string) ([]string, error)
	SetCompared(ctx context.Context, bucket string, regions []string) error
	Lookup(ctx context.Context, bucket, key string) (*journal.Object, error)
}

// Attacher finds out, when regions are attached, whether the index knows of every
// key in them. A region of which it does not is not compared: nobody can say how fresh a
// read is of a key without a row, nor how far the region is behind.
type Attacher struct {
	// Bucket is the name that clients see.
	Bucket string
	// Regions, the active first.
	Regions []*region.Region
	// Forced: the active was promoted by force, its bucket never compared.
	Forced  bool
	Journal Journal
	// Compared is told which regions were compared, each time that changes.
	Compared func(regions []string)
	Logger   *slog.Logger

	mu struct {
		sync.Mutex
		// uncompared keys of each region whose listing was gone through.
		uncompared map[string]int64
	}
}

// Uncompared is how many keys of a region the index does not know; known is false while they
// are not counted.
func (a *Attacher) Uncompared(region string) (keys int64, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys, known = a.mu.uncompared[region]
	return keys, known
}

func (a *Attacher) count(region string, keys int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.uncompared == nil {
		a.mu.uncompared = make(map[string]int64)
	}
	a.mu.uncompared[region] = keys
}

// Attach makes the regions known, so that every write from here on has a copy in
// each, and takes over what was found when they were attached before.
func (a *Attacher) Attach(ctx context.Context) error {
	var names []string
	for _, r := range a.Regions {
		names = append(names, r.Name())
	}
	if err := a.Journal.Attach(ctx, a.Bucket, names); err != nil {
		return err
	}
	compared, err := a.Journal.Compared(ctx, a.Bucket)
	if err != nil {
		return err
	}
	a.Compared(compared)
	return nil
}

const (
	// retryInterval is how often a region that could not be compared is looked at again.
	retryInterval = 15 * time.Second
	// underWayInterval is the same where only a write under way keeps it from being compared.
	underWayInterval = time.Second
)

// Compare lists the regions that were not compared yet, and records those of which
// the index knows every key. It ends when that is known of each, or with ctx: neither a
// region nor a journal that fails for a while is a reason for the gateway to end.
func (a *Attacher) Compare(ctx context.Context) error {
	for {
		open, again := a.pass(ctx)
		if open == 0 {
			return nil
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// pass returns how many regions could not be compared, and when to try again. A replica counts only once the
// active does: an empty replica beside an active full of keys that the index does not know
// is not a replica that lacks nothing.
func (a *Attacher) pass(ctx context.Context) (open int, again time.Duration) {
	again = retryInterval
	compared, err := a.Journal.Compared(ctx, a.Bucket)
	if err != nil {
		a.Logger.WarnContext(ctx, "the journal cannot say which regions were compared", "err", err)
		return len(a.Regions), again
	}
	if a.Forced && len(compared) < len(a.Regions) {
		return a.compareAll(ctx), again
	}
	for i, r := range a.Regions {
		if slices.Contains(compared, r.Name()) {
			continue
		}
		known, err := a.compare(ctx, r)
		switch {
		case err != nil:
			level := slog.LevelWarn
			if errors.Is(err, errUnderWay) {
				level, again = slog.LevelDebug, underWayInterval // it is a moment's
			}
			a.Logger.Log(ctx, level, "region cannot be compared yet", "region", r.Name(), "err", err)
			open++
			if i == 0 {
				return len(a.Regions), again
			}
		case known:
			compared = append(compared, r.Name())
			a.Compared(compared)
			a.Logger.InfoContext(ctx, "region compared: the index knows of every key in it", "region", r.Name())
		default:
			keys, _ := a.Uncompared(r.Name())
			a.Logger.WarnContext(ctx, fmt.Sprintf("%d keys never compared: they are served with freshness unknown, are not replicated, and keep this region from being promoted", keys),
				"region", r.Name(), "keys", keys)
			if i == 0 {
				a.countOthers(ctx, compared)
				return 0, again
			}
		}
	}
	return open, again
}

// compareAll is the pass where the active was promoted by force: no region counts before the
// index knows of every key in each. (An empty region is promoted by force beside one full of keys
// that the index does not know: of itself it lacks nothing, and its 404 would deny them all.)
func (a *Attacher) compareAll(ctx context.Context) (open int) {
	var names []string
	for _, r := range a.Regions {
		known, err := a.knowsAll(ctx, r)
		switch {
		case err != nil:
			a.Logger.WarnContext(ctx, "region cannot be compared yet", "region", r.Name(), "err", err)
			open++
		case known:
			names = append(names, r.Name())
		}
	}
	if len(names) < len(a.Regions) {
		return open
	}
	if err := a.Journal.SetCompared(ctx, a.Bucket, names); err != nil {
		a.Logger.WarnContext(ctx, "the comparison cannot be recorded", "err", err)
		return len(a.Regions)
	}
	a.Compared(names)
	a.Logger.InfoContext(ctx, "regions compared: the index knows of every key in them")
	return 0
}

// countOthers counts what the replicas have, where the active already cannot be compared.
func (a *Attacher) countOthers(ctx context.Context, compared []string) {
	for _, r := range a.Regions[1:] {
		if slices.Contains(compared, r.Name()) {
			continue
		}
		if _, err := a.knowsAll(ctx, r); err != nil {
			a.Logger.WarnContext(ctx, "keys of a region cannot be counted", "region", r.Name(), "err", err)
		}
	}
}

// compare reports whether the index knows of every key in the region, and records it.
func (a *Attacher) compare(ctx context.Context, r *region.Region) (known bool, err error) {
	if known, err = a.knowsAll(ctx, r); err != nil || !known {
		return false, err
	}
	if err := a.Journal.SetCompared(ctx, a.Bucket, []string{r.Name()}); err != nil {
		return false, fmt.Errorf("record the comparison: %w", err)
	}
	return true, nil
}

// errUnderWay: a key in the region has no version yet.
var errUnderWay = errors.New("the first write of a key is under way or in doubt")

// knowsAll reports whether the index has a row for every key of the region, and counts those
// of which it has none. A key that has only an intent is not known: what the region holds may
// have been there before. Which it is, the end of the intent shows.
func (a *Attacher) knowsAll(ctx context.Context, r *region.Region) (bool, error) {
	var unknown int64
	isUnderWay := false
	for after, more := "", true; more; {
		page, err := r.List(ctx, region.ListOptions{StartAfter: after})
		if err != nil {
			return false, fmt.Errorf("list: %w", err)
		}
		for _, o := range page.Objects {
			if after = o.Key; s3op.IsReserved(o.Key) {
				continue
			}
			row, err := a.Journal.Lookup(ctx, a.Bucket, o.Key)
			switch {
			case errors.Is(err, journal.ErrNotFound):
				unknown++
			case err != nil:
				return false, err
			case row.Version.IsZero():
				isUnderWay = true
			}
		}
		more = page.Truncated && len(page.Objects) > 0
	}
	a.count(r.Name(), unknown)
	if unknown == 0 && isUnderWay {
		return false, errUnderWay
	}
	return unknown == 0, nil
}
