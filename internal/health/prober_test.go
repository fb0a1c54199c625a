package health_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/health"
)

const interval = 15 * time.Second // the default

func TestProbesKeepTheirIntervalWithinATenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRegion("b", ok)
		r := run(t, health.Config{Regions: []health.Region{b}}, func(ctx context.Context) error {
			time.Sleep(4 * time.Second) // what a probe takes does not add to the interval
			return nil
		})
		began := time.Now()
		time.Sleep(100 * interval)
		distinct := make(map[time.Duration]bool)
		for _, f := range []*fakeRegion{r.a, b} {
			starts := f.starts()
			if !starts[0].Equal(began) {
				t.Errorf("first probe of %s after %v, want it at once", f.name, starts[0].Sub(began))
			}
			for i, start := range starts[1:] {
				wait := start.Sub(starts[i])
				if wait < interval*9/10 || wait > interval*11/10 {
					t.Errorf("probe %d of %s came %v after the one before", i+1, f.name, wait)
				}
				distinct[wait] = true
			}
		}
		if len(distinct) < 100 {
			t.Errorf("%d distinct waits, want no common beat", len(distinct))
		}
	})
}

func TestRequestsThatFailTriggerProbesNoCloserThanATenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		r.a.answers(fails)
		began := time.Now()
		down := time.Duration(0)
		for range 1000 { // 10 s of them
			r.Report("a", statusError(503, "SlowDown"))
			time.Sleep(10 * time.Millisecond)
			if down == 0 && r.Admit("a") != nil {
				down = time.Since(began)
			}
		}
		starts := r.a.starts()
		if got := len(starts); got != 7 { // at 0 s, then each 1.5 s
			t.Errorf("%d probes, want the first and 6 extra ones", got)
		}
		for i, start := range starts[1:] {
			if wait := start.Sub(starts[i]); wait != interval/10 {
				t.Errorf("extra probe %d came %v after the one before, want %v", i+1, wait, interval/10)
			}
		}
		if down < 3*interval/10 || down > 4*interval/10 {
			t.Errorf("down after %v, want after three extra probes", down)
		}
	})
}

func TestATenthIsCountedFromTheStartOfAnyProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		time.Sleep(5 * time.Second)
		r.Report("a", fails(t.Context()))
		synctest.Wait()
		if got := r.a.probes(); got != 2 {
			t.Fatalf("%d probes, want an extra one at once when the last is old", got)
		}
		slow := make(chan struct{})
		r.a.answers(func(context.Context) error { <-slow; return nil })
		r.ProbeNow("a")
		time.Sleep(time.Second)
		r.Report("a", fails(t.Context())) // during the probe
		time.Sleep(time.Second)
		began := time.Now()
		close(slow)
		synctest.Wait()
		starts := r.a.starts()
		if got := len(starts); got != 4 || !starts[3].Equal(began) {
			t.Errorf("%d probes, want a fourth when the slow one, 2s old, has ended", got)
		}
	})
}

// A request that fails right after a probe is not forgotten for the rest of the interval.
func TestAnEarlyReportIsPutOffNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		began := time.Now()
		time.Sleep(time.Millisecond)
		r.Report("a", fails(t.Context()))
		time.Sleep(interval / 2)
		starts := r.a.starts()
		if len(starts) != 2 || starts[1].Sub(began) != interval/10 {
			t.Errorf("probes at %v, want one extra a tenth after %v", starts, began)
		}
	})
}

func TestOnlyTheRegionsOwnFailuresTriggerAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		time.Sleep(interval / 2)
		r.Report("a", nil)
		r.Report("a", statusError(403, "AccessDenied"))
		r.Report("a", statusError(404, "NoSuchKey"))
		r.Report("a", statusError(501, "NotImplemented"))
		r.Report("a", connectionError(context.Canceled))
		r.Report("a", context.DeadlineExceeded)
		r.Report("nowhere", statusError(500, "InternalError"))
		synctest.Wait()
		if got := r.a.probes(); got != 1 {
			t.Errorf("%d probes, want none but the first", got)
		}
		r.Report("a", connectionError(context.DeadlineExceeded))
		synctest.Wait()
		if got := r.a.probes(); got != 2 {
			t.Errorf("%d probes, want one for the time-out", got)
		}
	})
}

func TestAskedForAProbeComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		for range 5 {
			r.ProbeNow("a")
			synctest.Wait()
		}
		if got := r.a.probes(); got != 6 {
			t.Errorf("%d probes, want each that was asked for", got)
		}
		r.ProbeNow("nowhere")
		// The one under way may have begun before the restart that it is asked for.
		release := make(chan struct{})
		r.a.answers(func(context.Context) error { <-release; return nil })
		r.ProbeNow("a")
		synctest.Wait()
		r.ProbeNow("a")
		r.ProbeNow("a")
		close(release)
		synctest.Wait()
		if got := r.a.probes(); got != 8 {
			t.Errorf("%d probes, want one more after that under way", got)
		}
	})
}

// However many ways it was asked for, and due besides, one probe answers it all.
func TestOneProbeAnswersAllThatWasAskedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		for i := range 40 {
			release := make(chan struct{})
			r.a.answers(func(context.Context) error { <-release; return nil })
			r.ProbeNow("a")
			synctest.Wait()
			r.ProbeNow("a")
			r.Report("a", statusError(500, "InternalError"))
			if i%2 == 0 {
				time.Sleep(2 * interval) // the next is due, too
			}
			before := r.a.probes()
			close(release)
			time.Sleep(interval / 2)
			if got := r.a.probes() - before; got != 1 {
				t.Fatalf("%d probes after that under way, want one", got)
			}
		}
	})
}

func TestProbeThatHangsCountsAsFailedAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{Timeout: 2 * time.Second}, hangs)
		time.Sleep(2*time.Second - 1)
		synctest.Wait()
		if s := r.Status("a"); s.Failures != 0 {
			t.Errorf("before the time-out: %+v", s)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s := r.Status("a"); s.Failures != 1 || !strings.Contains(s.LastError, "no answer within 2s") {
			t.Errorf("after it: %+v, want one failure that says so", s)
		}
	})
}

func TestABlockedProbeHoldsUpNoOtherRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		b := newRegion("b", ok)
		// It does not even heed its context.
		r := run(t, health.Config{Regions: []health.Region{b}}, func(context.Context) error { <-release; return nil })
		time.Sleep(10 * interval)
		if got := b.probes(); got < 9 || got > 12 {
			t.Errorf("%d probes of the other region in ten intervals", got)
		}
		if !r.Status("b").Healthy() {
			t.Errorf("the other region: %+v", r.Status("b"))
		}
		began := time.Now()
		for range 1000 {
			r.Report("a", statusError(500, ""))
			r.ProbeNow("a")
			if err := r.Admit("a"); err != nil {
				t.Errorf("admitted with %v", err)
			}
		}
		if s := r.Statuses()[0]; s.State != health.Unknown || !time.Now().Equal(began) {
			t.Errorf("got %+v after %v, want an unknown region at once", s, time.Since(began))
		}
	})
}

func TestRunJoinsItsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return connectionError(ctx.Err())
		})
		began := time.Now()
		r.stop()
		<-r.ended
		if took := time.Since(began); took != time.Second {
			t.Errorf("Run ended after %v, want when its probe had", took)
		}
	})
}

func TestAProbeCutByTheEndOfRunCountsForNothing(t *testing.T) {
	for name, answer := range map[string]func(context.Context) error{
		"failed": hangs,
		"ok":     func(ctx context.Context) error { <-ctx.Done(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				check := func(context.Context, string) error { t.Error("Check was called"); return nil }
				r := run(t, health.Config{Failures: 1, Check: check}, answer)
				r.stop()
				<-r.ended
				if s := r.Status("a"); s.State != health.Unknown || s.Failures != 0 || !s.LastProbe.IsZero() || len(r.changes()) != 0 {
					t.Errorf("got %+v, want a region of which nothing is known", s)
				}
			})
		})
	}
}

// A region that comes back as another is known for it before anybody is told that it is up.
func TestARegionIsCheckedBeforeASuccessCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		var calls atomic.Int32
		checked := make(chan struct{})
		r = run(t, health.Config{Timeout: time.Second, Check: func(ctx context.Context, name string) error {
			calls.Add(1)
			if _, isBounded := ctx.Deadline(); name != "a" || isBounded {
				t.Errorf("called with %q, bounded %v; want the region and Run's own context", name, isBounded)
			}
			<-checked
			return nil
		}}, ok)
		time.Sleep(10 * time.Second) // longer than a probe may take
		r.want(t, "while it is checked", health.Unknown, "")
		close(checked)
		synctest.Wait()
		r.want(t, "once it has", health.Up, "")
		r.probeAll(fails, status(403, ""))
		if got := calls.Load(); got != 1 {
			t.Errorf("called %d times, want for the success alone", got)
		}
	})
}

// A region that answers, and of which nobody can say whether it is older than it was, is not up.
func TestARegionThatCannotBeCheckedDoesNotRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failure atomic.Pointer[error]
		r := run(t, health.Config{Failures: 1, Recoveries: 1, Check: func(context.Context, string) error {
			if err := failure.Load(); err != nil {
				return *err
			}
			return nil
		}}, ok)
		r.want(t, "at first", health.Up, "")
		r.probeAll(fails)
		r.want(t, "without an answer", health.Down, "")
		failure.Store(new(errors.New("the mark cannot be read")))
		r.probeAll(ok)
		r.want(t, "unchecked", health.Down, health.ProblemUnverified)
		if r.Admit("a") == nil {
			t.Error("requests are let through to a region that may be older")
		}
		failure.Store(nil)
		r.probeAll(ok)
		r.want(t, "checked", health.Up, "")
	})
}

func TestEverythingMayBeCalledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{Interval: 10 * time.Millisecond}, ok)
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() {
				for range 200 {
					r.Report("a", statusError(500, ""))
					_ = r.Admit("a")
					_ = r.Statuses()
					if i == 0 {
						r.a.answers([]func(context.Context) error{ok, fails, status(403, "")}[r.a.probes()%3])
						r.ProbeNow("a")
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		callers.Wait()
		if got := r.a.probes(); got < 200 {
			t.Errorf("%d probes", got)
		}
	})
}
