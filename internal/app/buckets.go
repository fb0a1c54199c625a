package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/disk"
	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mark"
	"github.com/gnew/tandem/internal/reconcile"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/replicate"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/settle"
)

// bucket is what serves one of the buckets that clients see.
type bucket struct {
	config.Bucket
	// regions that have it, in the configured order.
	regions []*region.Region
	// watchers are clients of the same regions past their breakers, for those who find out
	// whether a region is to be trusted again.
	watchers   []*region.Region
	gateway    *gateway.Gateway
	replicator *replicate.Replicator
	settler    *settle.Settler
	uploads    *settle.Settler
	attacher   *reconcile.Attacher
	marks      *mark.Keeper
}

// parts are what the buckets share.
type parts struct {
	guard     *disk.Guard
	gateway   *gateway.Metrics
	settle    *settle.Metrics
	replicate *replicate.Metrics
}

func newParts(cfg config.Config, registry, counters *prometheus.Registry) parts {
	return parts{
		// The journal may be on another file system than the rest of the data.
		guard:   disk.NewGuard(cfg.MinFreeBytes, cfg.DataDir, filepath.Dir(cfg.DatabasePath)),
		gateway: gateway.NewMetrics(counters), settle: settle.NewMetrics(registry), replicate: replicate.NewMetrics(counters),
	}
}

// buildBucket makes what serves the bucket, but for its marks.
func (a *App) buildBucket(b *bucket, p parts, state journal.State, spoolDir string) (err error) {
	b.gateway, err = gateway.New(gateway.Config{
		Bucket: b.Name, Regions: b.regions, Journal: a.journal, State: state,
		AllowStaleReads: b.StaleReads == config.StaleReadsServe, MaxObjectBytes: b.MaxObjectBytes,
		AnswerTimeout: 2 * a.cfg.RegionTimeout, DoubtWindow: a.cfg.DoubtWindow, PartBytes: a.opt.PartBytes, SpoolDir: spoolDir,
		SpoolOf:        a.buckets.list[0].gateway,
		AdmitWrite:     p.guard.Check,
		Committed:      func() { b.replicator.Wake() },
		Unsettled:      func(string) { b.settler.Wake() },
		Signed:         func() { b.uploads.Wake() },
		PresignExpires: a.cfg.PresignExpires, PresignGrace: a.cfg.PresignGrace,
		Logger: a.opt.Logger, Metrics: p.gateway,
	})
	if err != nil {
		return err
	}
	settling := settle.Config{
		Bucket: b.Name, Regions: b.regions, Journal: a.journal, State: b.gateway.State,
		Check:    func(ctx context.Context, name string) error { return b.marks.Check(ctx, name) },
		Distrust: b.gateway.Distrust,
		Settled:  func() { b.replicator.Wake() }, Logger: a.opt.Logger, Metrics: p.settle,
	}
	if b.settler, err = settle.New(settling); err != nil {
		return err
	}
	settling.Keys, settling.MinInterval, settling.MaxInterval = a.journal.Presigned, minUploadLook, maxUploadLook
	if b.uploads, err = settle.New(settling); err != nil {
		return err
	}
	b.replicator, err = replicate.New(replicate.Config{
		Bucket: b.Name, Regions: b.regions, Journal: a.journal, State: b.gateway.State,
		Workers: a.cfg.ReplicationWorkers, DoubtWindow: a.cfg.DoubtWindow,
		Unsettled: func(key string) {
			b.gateway.Distrust(key)
			b.settler.Wake()
		},
		LeftOpen: b.gateway.LeftOpen, Copied: b.gateway.Copied,
		Logger: a.opt.Logger, Metrics: p.replicate,
	})
	if err != nil {
		return err
	}
	b.attacher = &reconcile.Attacher{
		Bucket: b.Name, Regions: activeFirst(b.regions, state.Active), Journal: a.journal,
		Forced: state.Uncompared, Compared: b.gateway.SetCompared, Logger: a.opt.Logger,
	}
	return nil
}

// buildMarks makes the keeper of the bucket's marks.
func (a *App) buildMarks(b *bucket) (err error) {
	b.marks, err = mark.New(mark.Config{
		Bucket: b.Name, Regions: b.watchers, Journal: a.journal, Interval: a.cfg.MarkInterval, Timeout: a.cfg.HealthTimeout, DoubtWindow: a.cfg.DoubtWindow,
		Checkpoint: a.notary.Latest, Changed: b.gateway.SetRegressed,
		Queued: func() { b.replicator.Wake() }, Logger: a.opt.Logger,
	})
	return err
}

// has reports whether the bucket is in the region.
func (b *bucket) has(name string) bool {
	return b.In(name) != ""
}

// returned: what waited for a region, or for another epoch, waits no longer.
func (b *bucket) returned() {
	b.replicator.Returned()
	b.settler.Returned()
	b.uploads.Returned()
}

// runs are the loops of the bucket's parts.
func (b *bucket) runs() []func(context.Context) error {
	return []func(context.Context) error{b.gateway.Run, b.settler.Run, b.uploads.Run, b.replicator.Run, b.attacher.Compare, b.marks.Run}
}

// buckets are those that are served. To a failover they are one gateway, and one set of workers.
type buckets struct {
	list []*bucket
	// order has the names of the regions, as configured.
	order []string
}

// each does the same for every bucket, at the same time.
func (s *buckets) each(do func(*bucket) error) error {
	if len(s.list) == 1 {
		return do(s.list[0])
	}
	errs := make([]error, len(s.list))
	var group sync.WaitGroup
	for i, b := range s.list {
		group.Go(func() { errs[i] = do(b) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// State is the earliest epoch that a bucket is served in: an epoch is served once all are.
func (s *buckets) State() journal.State {
	state := s.list[0].gateway.State()
	for _, b := range s.list[1:] {
		if other := b.gateway.State(); other.Epoch < state.Epoch {
			state = other
		}
	}
	return state
}

// Regions are those of any bucket that were not taken out.
func (s *buckets) Regions() []string {
	if len(s.list) == 1 {
		return s.list[0].gateway.Regions()
	}
	known := make(map[string]bool)
	for _, b := range s.list {
		for _, name := range b.gateway.Regions() {
			known[name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(s.order), func(name string) bool { return !known[name] })
}

// ComparedRegions were compared in every bucket that they have.
func (s *buckets) ComparedRegions() map[string]bool {
	all := make(map[string]bool)
	for _, name := range s.Regions() {
		all[name] = !slices.ContainsFunc(s.list, func(b *bucket) bool { return b.has(name) && !b.gateway.ComparedRegions()[name] })
	}
	return all
}

// RegressedRegions came back older in any bucket.
func (s *buckets) RegressedRegions() map[string]bool {
	all := make(map[string]bool)
	for _, name := range s.Regions() {
		all[name] = slices.ContainsFunc(s.list, func(b *bucket) bool { return b.gateway.RegressedRegions()[name] })
	}
	return all
}

// Fence holds back the writes to every bucket.
func (s *buckets) Fence(ctx context.Context) (lift func()) {
	lifts := make(chan func(), len(s.list))
	_ = s.each(func(b *bucket) error {
		lifts <- b.gateway.Fence(ctx)
		return nil
	})
	return sync.OnceFunc(func() {
		for range s.list {
			(<-lifts)()
		}
	})
}

// Switch serves the epoch in every bucket. After an error some may be: each takes writes in the
// epoch that it is served in, and the journal refuses those of the one that is over.
func (s *buckets) Switch(ctx context.Context, state journal.State) error {
	return s.each(func(b *bucket) error {
		return b.gateway.Switch(ctx, ofBucket(state, b.gateway.ComparedRegions()[state.Active]))
	})
}

// ofBucket is the epoch as one bucket has it: whether the active was compared when it was promoted is each bucket's
// own, and of one that was not served then nobody has asked. (A bucket is full of keys in A, and not served; B is
// promoted, where it is empty; it is served: the 404 of B would deny them all.)
func ofBucket(state journal.State, isCompared bool) journal.State {
	state.Uncompared = !isCompared && (state.Uncompared || state.Epoch > 1 && !state.Rebased)
	return state
}

// WritesInFlight is how many writes are under way.
func (s *buckets) WritesInFlight() (n int) {
	for _, b := range s.list {
		n += b.gateway.WritesInFlight()
	}
	return n
}

// Detach takes a region out of every bucket.
func (s *buckets) Detach(name string) {
	for _, b := range s.list {
		b.gateway.Detach(name)
	}
}

// Hold cuts the copies into the regions, of every bucket.
func (s *buckets) Hold(ctx context.Context, regions ...string) (release func(), err error) {
	releases := make(chan func(), len(s.list))
	err = s.each(func(b *bucket) error {
		release, err := b.replicator.Hold(ctx, regions...)
		releases <- release
		return err
	})
	return sync.OnceFunc(func() {
		for range s.list {
			(<-releases)()
		}
	}), err
}

// check makes sure that no bucket of the region is older than it was.
func (s *buckets) check(ctx context.Context, name string) error {
	return s.each(func(b *bucket) error { return b.marks.Check(ctx, name) })
}

// uncompared is how many keys of a region's bucket were never compared.
func (s *buckets) uncompared(name, region string) (keys int64, known bool) {
	for _, b := range s.list {
		if b.Name == name {
			return b.attacher.Uncompared(region)
		}
	}
	return 0, false
}

// uncomparedIn is the same of all buckets of a region that were not compared.
func (s *buckets) uncomparedIn(region string) (keys int64, known bool) {
	for _, b := range s.list {
		if !b.has(region) || b.gateway.ComparedRegions()[region] {
			continue
		}
		n, isKnown := b.attacher.Uncompared(region)
		if !isKnown {
			return 0, false
		}
		keys, known = keys+n, true
	}
	return keys, known
}

// probed is what the health of a region is found by.
func (s *buckets) probed(name string) probed {
	p := probed{name: name}
	for _, b := range s.list {
		for _, r := range b.watchers {
			if r.Name() == name {
				p.watchers = append(p.watchers, r)
			}
		}
	}
	return p
}

// lagging are the buckets as the metrics of replication know them.
func (s *buckets) lagging() (list []replicate.LaggingBucket) {
	for _, b := range s.list {
		list = append(list, replicate.LaggingBucket{Name: b.Name, Regions: b.gateway.Regions()})
	}
	return list
}

// fronts are the buckets as clients ask for them.
func (s *buckets) fronts() (list []restapi.Bucket) {
	for _, b := range s.list {
		list = append(list, restapi.Bucket{Name: b.Name, Gateway: b.gateway})
	}
	return list
}

// returned: what waited for a region waits no longer.
func (s *buckets) returned() {
	for _, b := range s.list {
		b.returned()
	}
}

// forget ends the marking of a region that was taken out.
func (s *buckets) forget(region string) {
	for _, b := range s.list {
		b.marks.Forget(region)
	}
}

// probed is a region as its health sees it: it answers where each of its buckets does.
type probed struct {
	name     string
	watchers []*region.Region
}

// Name is the region's.
func (p probed) Name() string { return p.name }

// CheckBucket asks for each bucket, at the same time.
func (p probed) CheckBucket(ctx context.Context) error {
	if len(p.watchers) == 1 {
		return p.watchers[0].CheckBucket(ctx)
	}
	errs := make([]error, len(p.watchers))
	var group sync.WaitGroup
	for i, r := range p.watchers {
		group.Go(func() { errs[i] = r.CheckBucket(ctx) })
	}
	group.Wait()
	// A bucket that does not answer makes the region one that does not.
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil && region.IsDown(err) })
	if i < 0 {
		i = slices.IndexFunc(errs, func(err error) bool { return err != nil })
	}
	if i < 0 {
		return nil
	}
	return fmt.Errorf("bucket %s: %w", p.watchers[i].Bucket(), errs[i])
}
