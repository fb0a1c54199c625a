package health

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// prober probes one region.
type prober struct {
	*Monitor
	region Region
	name   string
	log    *slog.Logger
	// overdue is the error of a probe that took longer than the Timeout.
	overdue error
	// now has a note where a probe is wanted at once, extra where one is wanted as
	// soon as the last is old enough.
	now, extra chan struct{}
	// refusal is Admit's answer while the region is down, else nil. It is changed with the
	// status, under mu, and read without.
	refusal atomic.Pointer[error]

	mu struct {
		sync.Mutex
		status Status
	}
}

func newProber(m *Monitor, r Region, since time.Time) *prober {
	p := &prober{
		Monitor: m, region: r, name: r.Name(), log: m.Logger.With("region", r.Name()),
		overdue: fmt.Errorf("no answer within %v", m.Timeout),
		now:     make(chan struct{}, 1), extra: make(chan struct{}, 1),
	}
	p.mu.status = Status{Region: p.name, State: Unknown, Since: since}
	return p
}

// leave leaves a note, unless there is one already.
func leave(note chan struct{}) {
	select {
	case note <- struct{}{}:
	default:
	}
}

func take(note chan struct{}) {
	select {
	case <-note:
	default:
	}
}

// run probes until ctx ends.
func (p *prober) run(ctx context.Context) {
	var started time.Time
	next := time.Now()
	for p.wait(ctx, started, next) {
		started = time.Now()
		p.probe(ctx, started)
		next = started.Add(p.jittered())
	}
}

// wait returns true when a probe is due: at next, or earlier where one is asked for. It returns
// false when ctx has ended. started is the start of the last probe.
func (p *prober) wait(ctx context.Context, started, next time.Time) bool {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for isDue := false; !isDue; {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			isDue = true
		case <-p.now:
			isDue = true
		case <-p.extra:
			// Put off rather than dropped: the request may have failed after that probe
			// was answered.
			if soonest := started.Add(p.Interval / 10); soonest.Before(next) {
				next = soonest
				timer.Reset(time.Until(next))
			}
		}
	}
	// The probe that begins now answers whatever was asked before.
	take(p.now)
	take(p.extra)
	return ctx.Err() == nil
}

// jittered is the Interval, give or take a tenth.
func (p *prober) jittered() time.Duration {
	return time.Duration(float64(p.Interval) * (0.9 + 0.2*p.Random()))
}

func (p *prober) probe(ctx context.Context, started time.Time) {
	probeCtx, cancel := context.WithTimeoutCause(ctx, p.Timeout, p.overdue)
	err := p.region.CheckBucket(probeCtx)
	cancel()
	a := judge(err, time.Now())
	if err == nil && p.Check != nil && ctx.Err() == nil {
		if err := p.Check(ctx, p.name); err != nil {
			a = answer{result: resultRefused, problem: ProblemUnverified, err: err, at: a.at}
		}
	}
	if ctx.Err() != nil {
		return
	}
	p.count(ctx, started, a)
}

// count takes an answer into the status, and tells of what it changed. It is called by
// run's goroutine alone, so that changes are told in order.
func (p *prober) count(ctx context.Context, started time.Time, a answer) {
	p.mu.Lock()
	before := p.mu.status
	s := p.next(before, a)
	s.LastProbe = started.UTC()
	p.mu.status = s
	if s.State != before.State {
		p.refusal.Store(refusalOf(s))
	}
	p.mu.Unlock()

	p.Metrics.probed(p.name, a.result, s.State)
	if s.State == before.State && s.Problem == before.Problem {
		return
	}
	p.tell(ctx, before, s, a.err)
	if p.Changed != nil {
		p.Changed(s)
	}
}

// refusalOf is made at the verdict, so that a request that is refused costs nothing.
func refusalOf(s Status) *error {
	if s.State != Down {
		return nil
	}
	return new(fmt.Errorf("%w: %s, since %s", ErrDown, s.Region, s.Since.Format(time.RFC3339)))
}

func (p *prober) tell(ctx context.Context, before, s Status, err error) {
	switch {
	case s.Problem != "":
		p.log.WarnContext(ctx, "region refuses", "problem", s.Problem, "state", s.State, "err", err)
	case s.State == Down && s.Failures > 0:
		p.log.WarnContext(ctx, "region is down", "failures", s.Failures, "err", err)
	case s.State == Up && before.State != Up:
		p.log.InfoContext(ctx, "region is up", "was", before.State)
	default:
		p.log.InfoContext(ctx, "region refuses no more", "was", before.Problem, "state", s.State)
	}
}

func (p *prober) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.status
}
