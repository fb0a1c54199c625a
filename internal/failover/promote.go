package failover

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// Request is a wish to promote.
type Request struct {
	// Region to promote; "" is the replica against which nothing speaks and that lags least,
	// or the only one.
	Region string
	// Force promotes whatever speaks against it, but for LacksBucket.
	Force bool
	// DryRun changes nothing but for a canary that is written and deleted.
	DryRun bool
	// Reason is for the record.
	Reason string
	// Actor asks.
	Actor     string
	automatic bool
}

// Code says what kind of thing speaks against a promotion.
type Code string

// The codes.
const (
	Unhealthy   Code = "unhealthy"
	Regressed   Code = "regressed"
	NotCompared Code = "not-compared"
	AtRisk      Code = "at-risk"
	Unkept      Code = "conflicts-not-kept"
	NotWritable Code = "not-writable"
	HeldDown    Code = "hold-down"
	NoReplica   Code = "no-replica"
	Manual      Code = "manual-mode"
	// LacksBucket cannot be overridden: the active takes the writes of every bucket.
	LacksBucket Code = "lacks-bucket"
)

// Objection speaks against promoting a region.
type Objection struct {
	Region  string
	Code    Code
	Message string
}

func joined(objections []Objection) string {
	var texts []string
	for _, o := range objections {
		texts = append(texts, o.Region+": "+o.Message)
	}
	return strings.Join(texts, "; ")
}

func codesOf(objections []Objection) []string {
	var codes []string
	for _, o := range objections {
		codes = append(codes, string(o.Code))
	}
	return codes
}

// RefusedError is a promotion that was not made.
type RefusedError struct{ Objections []Objection }

// IsFinal reports whether Force changes nothing.
func (e *RefusedError) IsFinal() bool { return isFinal(e.Objections) }

func isFinal(objections []Objection) bool {
	return slices.ContainsFunc(objections, func(o Objection) bool { return o.Code == LacksBucket })
}

func (e *RefusedError) Error() string { return "not promoted: " + joined(e.Objections) }

// The errors of a request that names no replica, by identity.
var (
	ErrNoRegion = errors.New("no such region")
	ErrIsActive = errors.New("the region is the active already")
)

// Canary is what became of a small object that was written to a region, read and deleted.
type Canary struct {
	Elapsed time.Duration
	Err     error
}

// Uncompared is how much of a region the index does not know.
type Uncompared struct {
	// Keys that were never compared; Known is false while they are not counted.
	Keys  int64
	Known bool
}

// Result is what a promotion did, or would do.
type Result struct {
	From, To string
	// Failover is the promotion that was made, nil for a dry run.
	Failover *journal.Failover
	// Objections to a dry run, or those that were overridden.
	Objections []Objection
	// Risk, WritesInFlight and Canary are the dry run's; Uncompared is of each region that was
	// not compared.
	Risk           journal.Risk
	WritesInFlight int
	Canary         Canary
	Uncompared     map[string]Uncompared
}

// Promote makes a region active, or says what that would cost. *RefusedError where something
// speaks against it and r.Force is not set, or it LacksBucket; ErrNoRegion, ErrIsActive; ErrEpoch where another
// promotion came first. Without an error the epoch is durable, and served. After any other
// error it may have begun all the same; then it is served as soon as that is possible.
func (c *Controller) Promote(ctx context.Context, r Request) (Result, error) {
	asked := c.Gateway.State().Epoch
	if err := c.take(ctx); err != nil {
		return Result{}, err
	}
	defer c.give()
	if err := c.catchUp(ctx); err != nil {
		return Result{}, err
	}
	// Whoever asked did not mean to undo what he did not know of.
	if s := c.Gateway.State(); s.Epoch != asked && s.Active != r.Region {
		return Result{}, fmt.Errorf("%w: %s has become active meanwhile", ErrEpoch, s.Active)
	}
	return c.decide(ctx, r)
}

// decide promotes, unless something speaks against it. The caller has taken the promoting.
func (c *Controller) decide(ctx context.Context, r Request) (Result, error) {
	if err := c.resolve(ctx, &r); err != nil {
		return Result{}, err
	}
	objections, err := c.objections(ctx, r.Region, r.automatic)
	if err != nil {
		return Result{}, err
	}
	result := Result{From: c.Gateway.State().Active, To: r.Region}
	result.Canary = c.canary(ctx, r.Region)
	if err := context.Cause(ctx); err != nil {
		return result, err // nothing was begun, and the canary says nothing of the region
	}
	if result.Canary.Err != nil {
		objections = append(objections, Objection{r.Region, NotWritable, "a canary could not be written, read and deleted: " + result.Canary.Err.Error()})
	}
	result.Objections = objections
	if r.DryRun {
		return c.dryRun(ctx, result)
	}
	if len(objections) > 0 && !r.Force || isFinal(objections) {
		return result, &RefusedError{objections}
	}
	f, err := c.promote(ctx, r, objections)
	if err == nil {
		result.Failover = &f
	}
	return result, err
}

// resolve finds the region that is meant.
func (c *Controller) resolve(ctx context.Context, r *Request) error {
	replicas := c.replicas()
	if r.Region == "" {
		best, _, err := c.rank(ctx, r.automatic)
		switch {
		case err != nil:
			return err
		case len(best) > 0:
			r.Region = best[0]
		case len(replicas) == 1:
			r.Region = replicas[0]
		}
	}
	switch {
	case r.Region == "" && len(replicas) > 0:
		return fmt.Errorf("%w: something speaks against each replica, so name one of %s", ErrNoRegion, strings.Join(replicas, ", "))
	case r.Region == "":
		return fmt.Errorf("%w: there is no replica", ErrNoRegion)
	case r.Region == c.Gateway.State().Active:
		return fmt.Errorf("%w: %s", ErrIsActive, r.Region)
	case !slices.Contains(replicas, r.Region):
		return fmt.Errorf("%w: %q; the replicas are %s", ErrNoRegion, r.Region, strings.Join(replicas, ", "))
	}
	return nil
}

// objections are what speaks against promoting a replica, its canary left out.
func (c *Controller) objections(ctx context.Context, name string, automatic bool) ([]Objection, error) {
	var found []Objection
	object := func(code Code, format string, args ...any) {
		found = append(found, Objection{name, code, fmt.Sprintf(format, args...)})
	}
	if buckets := c.lacking(name); len(buckets) > 0 {
		object(LacksBucket, "it has no bucket for %s (`buckets` in the configuration file), and the active needs every one", strings.Join(buckets, ", "))
	}
	if s := c.Health.Status(name); !s.Healthy() {
		object(Unhealthy, "it is %s (%s)", cmp.Or(s.Problem, string(s.State)), cmp.Or(s.LastError, "it was not asked yet"))
	}
	if c.Gateway.RegressedRegions()[name] {
		object(Regressed, "it came back older than it was, and its copies are still being verified")
	}
	if !c.Gateway.ComparedRegions()[name] {
		object(NotCompared, "%s", c.describeUncompared(name))
	}
	atRisk, conflicts, err := c.Journal.PointingAt(ctx, c.names(), name)
	if err != nil {
		return nil, err
	}
	// Where the active is down, what only the replica has is no reason to leave it out: it is
	// at hand there. Losers that were not kept yet are, for they would be overwritten.
	if atRisk > 0 && !automatic {
		object(AtRisk, "%d acknowledged writes are only there, from an earlier failover; they are being copied to the others", atRisk)
	}
	if conflicts > 0 {
		object(Unkept, "it holds %d losers of conflicts that are not kept elsewhere yet, and would be overwritten", conflicts)
	}
	return found, nil
}

func (c *Controller) describeUncompared(name string) string {
	active := c.Gateway.State().Active
	if keys, known := c.Uncompared(active); known && keys > 0 {
		return fmt.Sprintf("%d keys of the active region %s were never compared with it: how many of them it lacks is not known", keys, active)
	}
	if keys, known := c.Uncompared(name); known && keys > 0 {
		return fmt.Sprintf("%d of its keys were never compared", keys)
	}
	return "its bucket was never compared with the active's"
}

// dryRun adds what the promotion would cost.
func (c *Controller) dryRun(ctx context.Context, result Result) (Result, error) {
	var err error
	result.Risk, err = c.Journal.Risk(ctx, journal.Promotion{Region: result.To, Healthy: c.healthy(result.To)})
	if err != nil {
		return result, err
	}
	result.WritesInFlight = c.Gateway.WritesInFlight()
	result.Uncompared = make(map[string]Uncompared)
	compared := c.Gateway.ComparedRegions()
	for _, name := range c.Gateway.Regions() {
		if !compared[name] {
			keys, known := c.Uncompared(name)
			result.Uncompared[name] = Uncompared{keys, known}
		}
	}
	return result, nil
}

const (
	canaryKey  = s3op.ReservedPrefix + "canary"
	canaryText = "tandem canary\n"
)

// canary writes, reads and deletes a small object in each bucket of the region.
func (c *Controller) canary(ctx context.Context, name string) Canary {
	ctx, cancel := context.WithTimeout(ctx, c.CanaryTimeout)
	defer cancel()
	started := time.Now()
	buckets := c.bucketsOf(name)
	errs := make([]error, len(buckets))
	var group sync.WaitGroup
	for i, b := range buckets {
		group.Go(func() { errs[i] = tryCanary(ctx, b.Region) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil && len(c.Buckets) > 1 {
			err = fmt.Errorf("bucket %s: %w", buckets[i].bucket, err)
		}
		if err != nil {
			return Canary{time.Since(started), err}
		}
	}
	return Canary{Elapsed: time.Since(started)}
}

func tryCanary(ctx context.Context, r *region.Region) error {
	if _, err := r.Put(ctx, canaryKey, nil, bytes.NewReader([]byte(canaryText)), int64(len(canaryText))); err != nil {
		return err
	}
	o, err := r.Get(ctx, canaryKey, nil)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(o.Body, 1<<10))
	_ = o.Body.Close()
	if err != nil {
		return err
	}
	if string(data) != canaryText {
		return errors.New("what was read is not what was written")
	}
	return r.Delete(ctx, canaryKey, "")
}

// Remove takes a region that never returns out, for good. What only it held is lost, on the
// record. ErrNotRemovable where it is the active or not known.
func (c *Controller) Remove(ctx context.Context, name, actor, reason string) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	defer c.give()
	if !slices.Contains(c.replicas(), name) {
		return fmt.Errorf("remove region %q: %w: the replicas are %s", name, ErrNotRemovable, strings.Join(c.replicas(), ", "))
	}
	release, err := c.hold(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if err := c.Journal.Detach(ctx, name, actor, reason); err != nil && !c.isDetached(ctx, name) {
		return err
	}
	c.Gateway.Detach(name)
	c.Removed(name)
	c.Logger.WarnContext(ctx, "region removed", "region", name, "reason", reason)
	return nil
}

// isDetached reports whether the journal has taken the region out already: an earlier try may
// have done so without being told.
func (c *Controller) isDetached(ctx context.Context, name string) bool {
	names, err := c.Journal.Detached(ctx)
	return err == nil && slices.Contains(names, name)
}
