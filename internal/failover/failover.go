package failover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/failpoint"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
)

// Journal is what promotions need of the journal.
type Journal interface {
	State(ctx context.Context) (journal.State, error)
	Lag(ctx context.Context, bucket, region string) (journal.Lag, error)
	Detach(ctx context.Context, region, actor, reason string) error
	Detached(ctx context.Context) ([]string, error)
	journal.Failovers
}

// Gateway is what serves the epoch, in every bucket.
type Gateway interface {
	// State is the epoch that every bucket is served in, at least.
	State() journal.State
	// Regions that have any bucket, in the configured order.
	Regions() []string
	// ComparedRegions were in every bucket that they have; RegressedRegions are in any.
	ComparedRegions() map[string]bool
	RegressedRegions() map[string]bool
	// Fence holds back writes until lift is called, and waits for those under way.
	Fence(ctx context.Context) (lift func())
	Switch(ctx context.Context, s journal.State) error
	WritesInFlight() int
	Detach(name string)
}

// Workers make the copies.
type Workers interface {
	Hold(ctx context.Context, regions ...string) (release func(), err error)
}

// Health knows which regions answer.
type Health interface {
	Status(region string) health.Status
}

// Config describes the controller.
type Config struct {
	// Buckets that are served. Required.
	Buckets []Bucket
	// Journal, Gateway, Workers and Health are required.
	Journal Journal
	Gateway Gateway
	Workers Workers
	Health  Health
	// Automatic promotes a replica when the active is down. Default false.
	Automatic bool
	// HoldDown is how long after a promotion there is no other by itself. Default: no time.
	HoldDown time.Duration
	// FenceTimeout bounds the wait for the writes under way, and that for the copies that were
	// cut, each. Default 5 s.
	FenceTimeout time.Duration
	// CanaryTimeout bounds the writing of a canary. Default 5 s.
	CanaryTimeout time.Duration
	// Uncompared is how many keys of a region were never compared; known is false while that
	// is not counted. Default: never known.
	Uncompared func(region string) (keys int64, known bool)
	// Promoted is told of each promotion that is served; it must not block. Default: nobody.
	Promoted func(journal.Failover)
	// Removed is told of each region that was taken out; it must not block. Default: nobody.
	Removed func(region string)
	// Logger is required.
	Logger *slog.Logger
	// Metrics counts. Default: none.
	Metrics *Metrics
}

// Bucket is one of those that are served.
type Bucket struct {
	// Name that clients see.
	Name string
	// Regions that have it.
	Regions []*region.Region
}

// Controller promotes. It is safe for concurrent use.
type Controller struct {
	Config
	wake chan struct{}
	// promoting has a place for the one promotion under way.
	promoting chan struct{}
	// held releases the copies that an epoch which was begun and not served holds, nil for none.
	// Owned by whoever has the place of promoting.
	held func()
	mu   struct {
		sync.Mutex
		// blocked is why nothing is promoted although the active is down; nil otherwise.
		blocked []Objection
	}
}

// New returns a controller; it starts nothing.
func New(cfg Config) (*Controller, error) {
	if len(cfg.Buckets) == 0 || cfg.Journal == nil || cfg.Gateway == nil || cfg.Workers == nil || cfg.Health == nil || cfg.Logger == nil {
		return nil, errors.New("failover: Buckets, Journal, Gateway, Workers, Health and Logger are required")
	}
	cfg.FenceTimeout = cmp.Or(cfg.FenceTimeout, 5*time.Second)
	cfg.CanaryTimeout = cmp.Or(cfg.CanaryTimeout, 5*time.Second)
	if cfg.Uncompared == nil {
		cfg.Uncompared = func(string) (int64, bool) { return 0, false }
	}
	if cfg.Removed == nil {
		cfg.Removed = func(string) {}
	}
	if cfg.Promoted == nil {
		cfg.Promoted = func(journal.Failover) {}
	}
	return &Controller{Config: cfg, wake: make(chan struct{}, 1), promoting: make(chan struct{}, 1)}, nil
}

// Wake has the controller look at the regions now. It does not block.
func (c *Controller) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// lookInterval is how often the controller looks when nobody wakes it: the end of a
// hold-down, a comparison that has ended and a journal that works again wake nobody.
const lookInterval = time.Second

// Run promotes by itself, where it may, until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		if err := c.look(ctx); err != nil && ctx.Err() == nil {
			c.Logger.WarnContext(ctx, "failover not decided", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-ticker.C:
		}
	}
}

// look promotes where the active is down, and serves an epoch that was begun and is not
// served yet. No other promotion comes between what it finds and what it does.
func (c *Controller) look(ctx context.Context) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	defer c.give()
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	state := c.Gateway.State()
	if c.Health.Status(state.Active).State != health.Down {
		c.setBlocked(ctx, nil)
		return nil
	}
	if o, isHeld := c.heldBack(state); isHeld {
		c.setBlocked(ctx, []Objection{o})
		return nil
	}
	targets, objections, err := c.rank(ctx, true)
	if err != nil {
		return err
	}
	// One that is healthy and cannot be written to does not stand before the next.
	for _, target := range targets {
		_, err := c.decide(ctx, Request{Region: target, Actor: automaticActor, Reason: "the active is down", automatic: true})
		refused, ok := errors.AsType[*RefusedError](err)
		if !ok {
			return err
		}
		objections = append(objections, refused.Objections...)
	}
	if len(objections) == 0 {
		objections = []Objection{{Region: state.Active, Code: NoReplica, Message: "there is no replica: configure a second region"}}
	}
	c.setBlocked(ctx, objections)
	return nil
}

// automaticActor is who promotes where no operator does.
const automaticActor = "failover"

// heldBack says why no replica is promoted without an operator, whichever there are.
func (c *Controller) heldBack(state journal.State) (o Objection, isHeld bool) {
	switch {
	case !c.Automatic:
		return Objection{state.Active, Manual, "the active is down, and FAILOVER_MODE is manual: promote a replica with `tandem promote`"}, true
	case state.Epoch > 1 && time.Since(state.BeganAt) < c.HoldDown:
		return Objection{state.Active, HeldDown, fmt.Sprintf("the last promotion was at %s, and there is no other by itself for %s (FAILOVER_HOLD_DOWN)",
			state.BeganAt.Format(time.RFC3339), c.HoldDown)}, true
	}
	return Objection{}, false
}

// catchUp serves an epoch that the journal has begun and the gateway does not serve: one of
// which the journal could not say whether it had begun, or that could not be served then. The
// copies that were begun since are cut, as in every promotion.
func (c *Controller) catchUp(ctx context.Context) error {
	state, err := c.Journal.State(ctx)
	if err != nil {
		return err
	}
	if state.Epoch == c.Gateway.State().Epoch {
		c.letGo() // nothing has begun
		return nil
	}
	all, err := c.Journal.Failovers(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(f journal.Failover) bool { return f.Epoch == state.Epoch })
	if i < 0 {
		return fmt.Errorf("the journal is in epoch %d and has no record of its beginning", state.Epoch)
	}
	if c.held == nil {
		if c.held, err = c.hold(ctx, c.Gateway.Regions()...); err != nil {
			return err
		}
	}
	if err := c.serve(ctx, all[i]); err != nil {
		return err
	}
	c.letGo()
	return nil
}

// letGo lets the copies go on that an epoch which was begun and not served has held.
func (c *Controller) letGo() {
	if c.held != nil {
		c.held()
		c.held = nil
	}
}

// serve has the gateway serve the epoch that f began, and tells of it.
func (c *Controller) serve(ctx context.Context, f journal.Failover) error {
	state, err := c.Journal.State(ctx)
	if err == nil {
		err = c.Gateway.Switch(ctx, state)
	}
	if err != nil {
		return fmt.Errorf("serve epoch %d, which has begun: %w", f.Epoch, err)
	}
	c.Logger.WarnContext(ctx, "promoted", "epoch", f.Epoch, "from", f.From, "to", f.To, "forced", f.Forced, "automatic", f.Automatic,
		"reason", f.Reason, "at_risk", f.AtRisk, "at_risk_bytes", f.AtRiskBytes, "in_doubt", f.InDoubt)
	c.Metrics.promoted(f)
	c.setBlocked(ctx, nil)
	c.Promoted(f)
	return nil
}

// hold cuts the copies into the regions and lets none begin until release is called.
func (c *Controller) hold(ctx context.Context, regions ...string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, c.FenceTimeout)
	defer cancel()
	release, err = c.Workers.Hold(ctx, regions...)
	if err != nil {
		release()
		return nil, fmt.Errorf("cut the copies under way: %w", err)
	}
	return release, nil
}

// fence holds back the writes that have not begun until lift is called, where the region
// still answers those under way.
func (c *Controller) fence(ctx context.Context, active string) (lift func()) {
	if c.Health.Status(active).State == health.Down {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, c.FenceTimeout)
	defer cancel()
	return c.Gateway.Fence(ctx)
}

func (c *Controller) take(ctx context.Context) error {
	select {
	case c.promoting <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Controller) give() { <-c.promoting }

// Blocked is why nothing is promoted although the active is down; nil where it is not, or
// something will be.
func (c *Controller) Blocked() []Objection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.mu.blocked)
}

func (c *Controller) setBlocked(ctx context.Context, objections []Objection) {
	c.mu.Lock()
	isNews := !slices.EqualFunc(c.mu.blocked, objections, func(a, b Objection) bool { return a.Region == b.Region && a.Code == b.Code })
	c.mu.blocked = objections
	c.mu.Unlock()
	c.Metrics.setBlocked(len(objections) > 0)
	if !isNews || len(objections) == 0 {
		return
	}
	c.Logger.ErrorContext(ctx, "the active is down and nothing is promoted", "active", c.Gateway.State().Active, "why", joined(objections))
}

// rank returns the replicas against which nothing speaks, the one that lags least first and
// then in the configured order, and what speaks against the others.
func (c *Controller) rank(ctx context.Context, automatic bool) (names []string, against []Objection, err error) {
	now := time.Now()
	currentUntil := make(map[string]time.Time)
	for _, name := range c.replicas() {
		objections, err := c.objections(ctx, name, automatic)
		if err != nil {
			return nil, nil, err
		}
		if len(objections) > 0 {
			against = append(against, objections...)
			continue
		}
		names, currentUntil[name] = append(names, name), now
		for _, b := range c.bucketsOf(name) {
			lag, err := c.Journal.Lag(ctx, b.bucket, name)
			if err != nil {
				return nil, nil, err
			}
			// What is missing waits for nobody: a region that lacks something for good comes last.
			if until := lag.OldestPending; lag.Keys > 0 && until.Before(currentUntil[name]) {
				currentUntil[name] = until
			}
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return currentUntil[b].Compare(currentUntil[a]) })
	return names, against, nil
}

// bucketIn is a bucket as one region has it.
type bucketIn struct {
	*region.Region
	bucket string
}

// bucketsOf are the buckets that a region has.
func (c *Controller) bucketsOf(name string) (list []bucketIn) {
	for _, b := range c.Buckets {
		for _, r := range b.Regions {
			if r.Name() == name {
				list = append(list, bucketIn{r, b.Name})
			}
		}
	}
	return list
}

// names are those of the buckets.
func (c *Controller) names() (names []string) {
	for _, b := range c.Buckets {
		names = append(names, b.Name)
	}
	return names
}

// lacking are the buckets that a region does not have.
func (c *Controller) lacking(name string) (buckets []string) {
	for _, b := range c.Buckets {
		if !slices.ContainsFunc(b.Regions, func(r *region.Region) bool { return r.Name() == name }) {
			buckets = append(buckets, b.Name)
		}
	}
	return buckets
}

func (c *Controller) replicas() []string {
	active := c.Gateway.State().Active
	return slices.DeleteFunc(c.Gateway.Regions(), func(name string) bool { return name == active })
}

// healthy are the regions, beside target, whose copies a promotion of target counts on.
func (c *Controller) healthy(target string) []string {
	return slices.DeleteFunc(c.Gateway.Regions(), func(name string) bool { return name == target || !c.Health.Status(name).Healthy() })
}

// promote does what nothing speaks against, or what is forced.
func (c *Controller) promote(ctx context.Context, r Request, overridden []Objection) (journal.Failover, error) {
	before := c.Gateway.State()
	// What is begun is carried through: a client that leaves does not leave half a promotion.
	ctx = context.WithoutCancel(ctx)
	lift := c.fence(ctx, before.Active)
	defer lift()
	release, err := c.hold(ctx, c.Gateway.Regions()...)
	if err != nil {
		return journal.Failover{}, err
	}
	// Until the epoch is served, or is known not to have begun, no copy is made: its worker would
	// take the old active for the present one. catchUp lets them go on.
	c.held = release
	failpoint.Hit(failpoint.BeforePromotion)
	f, err := c.Journal.Promote(ctx, journal.Promotion{
		After: before.Epoch, Region: r.Region, Healthy: c.healthy(r.Region), Automatic: r.automatic,
		Forced: len(overridden) > 0, Overridden: codesOf(overridden),
		Uncompared: !c.Gateway.ComparedRegions()[r.Region], Actor: r.Actor, Reason: r.Reason,
	})
	if err != nil {
		if !errors.Is(err, journal.ErrUnknown) {
			c.letGo()
		}
		return journal.Failover{}, fmt.Errorf("record the promotion: %w", err) // one that is there all the same is caught up with
	}
	failpoint.Hit(failpoint.AfterPromotion)
	if err := c.serve(ctx, f); err != nil {
		c.Wake()
		return journal.Failover{}, err
	}
	c.letGo()
	return f, nil
}
