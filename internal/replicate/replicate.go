// Package replicate brings copies to the version of their key. The pending rows of
// the index are its queue; it holds no work of its own, so that nothing is lost with it.
//
// A copy reads what its source holds now, on the condition that this is what the
// index says; writes it on the condition that the target holds what the index says; and
// counts only once the target was verified and the key has not moved on. What fails is
// tried again without end, at a falling rate.
package replicate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
)

// Journal is what the workers need of the journal.
type Journal interface {
	journal.Queue
	journal.Writes
	Keep(ctx context.Context, id int64) error
	Lookup(ctx context.Context, bucket, key string) (*journal.Object, error)
	Lag(ctx context.Context, bucket, region string) (journal.Lag, error)
}

// Config describes the workers.
type Config struct {
	// Bucket is the name that clients see. Required.
	Bucket string
	// Regions in the configured order. Required.
	Regions []*region.Region
	// Journal has the queue. Required.
	Journal Journal
	// State tells the present epoch. Required.
	State func() journal.State
	// Workers is how many copies are made at once, for each region. Default 8.
	Workers int
	// Lease is for how long a copy is claimed; it is renewed while the copy is being
	// made. Default 2 min.
	Lease time.Duration
	// DoubtWindow is how long a copy without an answer may still land. Default 16 min.
	DoubtWindow time.Duration
	// MinDelay and MaxDelay bound the time between two tries of a copy. Default 1 s
	// and 5 min.
	MinDelay, MaxDelay time.Duration
	// LeftOpen is told of an intent whose end the journal could not be told; sent says
	// that its write may have been applied. Whoever is told ends it. Required.
	LeftOpen func(id int64, key string, sent bool)
	// Unsettled is told of a key that Settle is to close, for the active may not hold what
	// the index says; it must not block. Required.
	Unsettled func(key string)
	// Copied is told of a key of which a copy was made; it must not block. Default: nobody.
	Copied func(key string)
	// Logger is required.
	Logger *slog.Logger
	// Metrics counts. Default: none.
	Metrics *Metrics
}

// Replicator copies to all regions, the active included where it lacks something.
type Replicator struct {
	Config
	regions map[string]*region.Region
	order   []string
	queues  map[string]*queue
}

// New returns the workers.
func New(cfg Config) (*Replicator, error) {
	if cfg.Bucket == "" || len(cfg.Regions) == 0 || cfg.Journal == nil || cfg.State == nil || cfg.Logger == nil {
		return nil, errors.New("replicate: Bucket, Regions, Journal, State and Logger are required")
	}
	if cfg.LeftOpen == nil || cfg.Unsettled == nil {
		return nil, errors.New("replicate: LeftOpen and Unsettled are required")
	}
	if cfg.Copied == nil {
		cfg.Copied = func(string) {}
	}
	cfg.Workers = cmp.Or(cfg.Workers, 8)
	cfg.Lease = cmp.Or(cfg.Lease, 2*time.Minute)
	cfg.DoubtWindow = cmp.Or(cfg.DoubtWindow, 16*time.Minute)
	cfg.MinDelay = cmp.Or(cfg.MinDelay, time.Second)
	cfg.MaxDelay = cmp.Or(cfg.MaxDelay, 5*time.Minute)
	r := &Replicator{Config: cfg, regions: make(map[string]*region.Region), queues: make(map[string]*queue)}
	for _, target := range cfg.Regions {
		name := target.Name()
		r.regions[name] = target
		r.order = append(r.order, name)
		r.queues[name] = &queue{
			Replicator: r, region: name, wake: make(chan struct{}, 1), free: make(chan struct{}, cfg.Workers), ended: make(chan struct{}, 1),
		}
	}
	return r, nil
}

// Wake has the queue looked at now. It does not block.
func (r *Replicator) Wake() {
	for _, q := range r.queues {
		q.look()
	}
}

// Returned is told that a region that was down answers again: nothing waits for it any
// longer than it must. It does not block.
func (r *Replicator) Returned() {
	for _, q := range r.queues {
		q.mu.Lock()
		q.mu.restUntil, q.mu.hurry = time.Time{}, true
		q.mu.Unlock()
		q.look()
	}
}

// Hold cuts the copies under way into the regions, waits until what is known of each is
// recorded, and has none taken up until release is called. What had no answer is then a late
// copy in the journal. An error only where ctx ends first; release is to be called all the same.
func (r *Replicator) Hold(ctx context.Context, regions ...string) (release func(), err error) {
	if mutant.On(mutant.CopiesOutlivePromotion) {
		return func() {}, nil
	}
	var held []*queue
	for _, name := range regions {
		if q := r.queues[name]; q != nil {
			held = append(held, q)
			q.gate.hold()
		}
	}
	release = func() {
		for _, q := range held {
			q.gate.release()
			q.look()
		}
	}
	for _, q := range held {
		err = errors.Join(err, q.gate.wait(ctx))
	}
	return release, err
}

// Run copies until ctx ends, and returns once every copy under way has ended.
func (r *Replicator) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range r.order {
		group.Go(func() error { return r.queues[name].run(ctx) })
	}
	return group.Wait()
}

// queue serves one target region.
type queue struct {
	*Replicator
	region string
	wake   chan struct{}
	// free has a place for each copy under way.
	free chan struct{}
	// ended wakes the loop when a copy has ended and there may be more to claim.
	ended chan struct{}
	// gate is passed by the claiming and by each copy.
	gate gate

	mu struct {
		sync.Mutex
		// downTimes in a row the region did not answer; it rests until then.
		downTimes int
		restUntil time.Time
		// hurry: whatever waits is due now.
		hurry bool
	}
}

func (q *queue) look() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// idleInterval is how often the queue is looked at when nobody wakes it.
const idleInterval = 5 * time.Second

func (q *queue) run(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		wait := q.claim(ctx, &workers)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-q.wake:
		case <-q.ended:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// claim starts a worker for each copy that is due, as far as there are places, and
// returns when to look again.
func (q *queue) claim(ctx context.Context, workers *sync.WaitGroup) time.Duration {
	if rest := q.resting(); rest > 0 {
		return rest
	}
	claiming, done, ok := q.gate.begin(ctx)
	if !ok {
		return idleInterval // who releases it wakes the loop
	}
	defer done()
	return q.claimDue(ctx, claiming, workers)
}

// claimDue claims under the context of the claiming; the copies have ctx.
func (q *queue) claimDue(ctx, claiming context.Context, workers *sync.WaitGroup) time.Duration {
	if err := q.hurry(claiming); err != nil {
		return q.journalFailed(claiming, err)
	}
	places := cap(q.free) - len(q.free)
	if places == 0 {
		return idleInterval // a worker that ends wakes the loop
	}
	due, err := q.Journal.NextDue(claiming, q.Bucket, q.region)
	if err != nil {
		return q.journalFailed(claiming, err)
	}
	if due.IsZero() {
		return idleInterval
	}
	if wait := time.Until(due); wait > 0 {
		return min(wait, idleInterval)
	}
	// A region that does not answer this has no copy taken up for it.
	conditions, err := q.regions[q.region].Conditions(claiming)
	if err != nil {
		if claiming.Err() == nil {
			q.rest(q.region, err)
		}
		return max(q.resting(), q.MinDelay)
	}
	tasks, err := q.Journal.Claim(claiming, q.Bucket, q.region, journal.Claim{
		Limit: places, Lease: q.Lease, Conditional: conditions.Put && conditions.Delete, Window: q.DoubtWindow,
	})
	if err != nil {
		return q.journalFailed(claiming, err)
	}
	for _, t := range tasks {
		q.free <- struct{}{}
		// Entered before the claiming is left, so that a hold that began meanwhile waits for it.
		work, done := q.gate.enter(ctx)
		workers.Go(func() {
			q.work(work, t, conditions)
			done()
			<-q.free
			select {
			case q.ended <- struct{}{}:
			default:
			}
		})
	}
	if len(tasks) == 0 {
		return q.MinDelay
	}
	return 0
}

// hurry has whatever failed and waits be due now, where a region has come back.
func (q *queue) hurry(ctx context.Context) error {
	q.mu.Lock()
	hurry := q.mu.hurry
	q.mu.hurry = false
	q.mu.Unlock()
	if !hurry {
		return nil
	}
	err := q.Journal.Hurry(ctx, q.Bucket, q.region)
	if err != nil {
		q.mu.Lock()
		q.mu.hurry = true // it is still to be done
		q.mu.Unlock()
	}
	return err
}

func (q *queue) journalFailed(ctx context.Context, err error) time.Duration {
	if ctx.Err() == nil {
		q.Logger.ErrorContext(ctx, "replication queue cannot be read", "region", q.region, "err", err)
	}
	return idleInterval
}

// work makes one copy and records what became of it. The claim is renewed meanwhile.
func (q *queue) work(ctx context.Context, t journal.Task, conditions region.Conditions) {
	copyCtx, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	stop := make(chan struct{})
	renewing.Go(func() { q.renew(copyCtx, t, stop, cancel) })
	c := &copier{Replicator: q.Replicator, task: t, target: q.regions[t.Region], o: &t.Object, conditions: conditions}
	started := time.Now()
	etag, err := c.copy(copyCtx)
	if cause := context.Cause(copyCtx); err != nil && errors.Is(cause, errHeld) {
		// Who holds it waits: whether a region is down is not asked about.
		err = fmt.Errorf("%w: %w", cause, err)
	}
	close(stop)
	renewing.Wait()
	cancel(nil)
	// The gateway may be stopping: what is known is recorded all the same.
	ctx = context.WithoutCancel(ctx)
	if err == nil {
		q.answered()
		q.finish(ctx, t, etag, started)
		return
	}
	q.fail(ctx, t, err)
}

func (q *queue) renew(ctx context.Context, t journal.Task, stop <-chan struct{}, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(q.Lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if err := q.Journal.Renew(ctx, t, q.Lease); errors.Is(err, journal.ErrClaim) {
			cancel(err)
			return
		}
	}
}

func (q *queue) finish(ctx context.Context, t journal.Task, etag string, started time.Time) {
	var state journal.CopyState
	err := q.record(ctx, func() (err error) {
		state, err = q.Journal.Finish(ctx, t, etag)
		return err
	})
	if err != nil {
		q.Logger.WarnContext(ctx, "copy made but not recorded; it is made again", "region", t.Region, "err", err)
		return
	}
	q.Copied(t.Object.Key)
	q.Metrics.copied(t.Region, string(state), t.Object.Size)
	q.Logger.DebugContext(ctx, "copied", "region", t.Region, "key", t.Object.Key, "version", t.Object.Version,
		"state", state, "elapsed", time.Since(started))
}

func (q *queue) fail(ctx context.Context, t journal.Task, err error) {
	delay := q.delay(t.Target().Attempts)
	if q.isDown(ctx, err) {
		// The region's doing, not the copy's: it is not to wait long once that is back.
		delay = min(delay, maxRest)
	}
	if errors.Is(err, errKeptAlone) {
		delay = q.MinDelay
	}
	failure := journal.Failure{Reason: err.Error(), NextTry: time.Now().Add(delay)}
	if errors.Is(err, errHeld) {
		failure.NextTry = time.Now()
	}
	if f, ok := errors.AsType[*copyError](err); ok {
		failure.State, failure.Late, failure.SourceChanged, failure.Loser, failure.Held = f.state, f.late, f.sourceChanged, f.loser, f.held
	}
	unrecorded := q.record(ctx, func() error { return q.Journal.Fail(ctx, t, failure) })
	if unrecorded != nil && !errors.Is(unrecorded, journal.ErrClaim) {
		q.Logger.WarnContext(ctx, "failed copy not recorded; its claim runs out", "region", t.Region, "err", unrecorded)
	}
	if failure.SourceChanged || failure.State == journal.Missing && t.Region == q.State().Active {
		q.Unsettled(t.Object.Key)
	}
	q.Metrics.copied(t.Region, "failed", 0)
	q.Logger.DebugContext(ctx, "copy failed", "region", t.Region, "key", t.Object.Key, "attempt", t.Target().Attempts+1, "err", err)
}

// recordTime is how long a worker tries to record what became of its copy; a promotion waits for that. What it
// could not record waits for the claim to run out, which takes longer.
const recordTime = 5 * time.Second

// record tries again while the journal takes no writes, as with a full disk.
func (q *queue) record(ctx context.Context, do func() error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		if err != nil && !errors.Is(err, journal.ErrUnavailable) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(recordTime))
	return err
}

// delay is how long a copy waits after so many failed attempts.
func (q *queue) delay(attempts int) time.Duration {
	b := &backoff.ExponentialBackOff{
		InitialInterval: q.MinDelay, MaxInterval: q.MaxDelay, Multiplier: 2, RandomizationFactor: 0.3,
	}
	b.Reset()
	d := b.NextBackOff()
	for range min(attempts, 20) {
		d = b.NextBackOff()
	}
	return d
}

// maxRest is the longest that a region that does not answer is left alone: when it
// is back, its copies go on within that time.
const maxRest = 15 * time.Second

// isDown reports whether the copy failed because a region is down, and then rests. One
// object that a region cannot serve does not make it down: its bucket is asked for.
func (q *queue) isDown(ctx context.Context, err error) bool {
	e, ok := errors.AsType[*region.Error](err)
	if !ok || !region.IsDown(err) || errors.Is(err, errHeld) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if q.regions[e.Region].CheckBucket(ctx) == nil {
		return false
	}
	q.rest(e.Region, err)
	return true
}

// checkTimeout bounds the question whether a region is down.
const checkTimeout = 5 * time.Second

// rest lets the queue of a region rest while that, or the source of its copies, does not
// answer, rather than have every row of a long queue fail in turn.
func (q *queue) rest(down string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Before(q.mu.restUntil) {
		return
	}
	rest := min(q.delay(q.mu.downTimes), maxRest)
	if q.mu.downTimes++; q.mu.downTimes == 1 {
		q.Logger.Warn("region does not answer; copies wait", "region", down, "target", q.region, "err", err)
	}
	q.mu.restUntil = now.Add(rest)
}

func (q *queue) answered() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.downTimes > 0 {
		q.Logger.Info("copies go on", "target", q.region)
	}
	q.mu.downTimes, q.mu.restUntil = 0, time.Time{}
}

func (q *queue) resting() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Until(q.mu.restUntil)
}
