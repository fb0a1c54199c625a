package health_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/health"
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	regions := []health.Region{newRegion("a", ok)}
	log := slog.New(slog.DiscardHandler)
	for name, c := range map[string]struct {
		cfg  health.Config
		want string
	}{
		"no regions":        {health.Config{Logger: log}, "required"},
		"no logger":         {health.Config{Regions: regions}, "required"},
		"a negative time":   {health.Config{Regions: regions, Logger: log, Timeout: -1}, "negative"},
		"a negative number": {health.Config{Regions: regions, Logger: log, Failures: -1}, "negative"},
		"a name twice":      {health.Config{Regions: append(regions, newRegion("a", ok)), Logger: log}, `"a"`},
		"no name":           {health.Config{Regions: []health.Region{newRegion("", ok)}, Logger: log}, `""`},
	} {
		if _, err := health.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// Whoever has not run yet knows nothing, and keeps nobody from a region.
func TestNothingIsDownBeforeItWasProbed(t *testing.T) {
	m, err := health.New(health.Config{Regions: []health.Region{newRegion("a", fails)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.Report("a", fails(t.Context()))
	m.ProbeNow("a")
	if s := m.Status("a"); s.State != health.Unknown || s.Healthy() || s.Since.IsZero() || !s.LastProbe.IsZero() {
		t.Errorf("got %+v, want an unknown region", s)
	}
	if err := m.Admit("a"); err != nil {
		t.Errorf("admitted with %v", err)
	}
}

func TestOneSuccessMakesAnUnknownRegionUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := run(t, health.Config{}, ok)
		r.want(t, "after the first probe", health.Up, "")
		s := r.Status("a")
		if !s.Since.Equal(began) || !s.LastProbe.Equal(began) || s.Successes != 1 || s.Failures != 0 {
			t.Errorf("got %+v, want one success at %v", s, began)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, fails)
		r.probe(fails)
		r.want(t, "after two failures", health.Unknown, "")
		r.probe(ok)
		r.want(t, "after two failures and a success", health.Up, "")
	})
}

func TestThreeFailedProbesInARowMakeARegionDown(t *testing.T) {
	for name, first := range map[string]func(context.Context) error{"up": ok, "unknown": status(403, "")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, health.Config{}, first)
				before := r.Status("a")
				r.probeAll(fails, status(503, "SlowDown"))
				r.want(t, "after two failures", before.State, before.Problem)
				time.Sleep(time.Second)
				r.probe(status(500, ""))
				r.want(t, "after three", health.Down, "")
				s := r.Status("a")
				if !s.Since.Equal(time.Now()) || s.Failures != 3 || !strings.Contains(s.LastError, "500") {
					t.Errorf("got %+v, want three failures, the last a 500, since %v", s, time.Now())
				}
				since := s.Since.Format(time.RFC3339)
				if err := r.Admit("a"); !errors.Is(err, health.ErrDown) || !strings.Contains(err.Error(), "a, since "+since) {
					t.Errorf("admitted with %v, want that a is down since %s", err, since)
				}
				r.probe(fails)
				if s := r.Status("a"); s.Failures != 4 || s.Since.Format(time.RFC3339) != since {
					t.Errorf("got %+v, want a fourth failure and the same since", s)
				}
			})
		})
	}
}

func TestOneSuccessBetweenFailuresKeepsItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		for range 10 {
			r.probeAll(fails, fails)
			r.want(t, "after two failures", health.Up, "")
			if s := r.Status("a"); s.LastError == "" || s.Failures != 2 || s.Successes != 0 {
				t.Errorf("got %+v, want two failures and their error", s)
			}
			if s := r.probe(ok); s.LastError != "" || s.Failures != 0 {
				t.Errorf("got %+v, want nothing left of the failures", s)
			}
		}
	})
}

func TestFlappingNeedsRecoveriesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, fails)
		r.probeAll(fails, fails)
		for range 5 {
			r.probeAll(ok, ok)
			r.want(t, "after two successes", health.Down, "")
			if s := r.Status("a"); s.LastError == "" {
				t.Errorf("got %+v, want what it is down for", s)
			}
			r.probe(fails)
			r.want(t, "after a failure between them", health.Down, "")
		}
		r.probeAll(ok, ok, status(403, ""), ok, ok)
		r.want(t, "with a refusal between them", health.Down, "")
		r.probe(ok)
		r.want(t, "after three in a row", health.Up, "")
		// What it did while down is no credit for what comes.
		r.probeAll(fails, fails, fails)
		r.want(t, "when it fails again", health.Down, "")
		if got := len(r.changes()); got != 5 { // down, denied, not denied, up, down
			t.Errorf("%d changes: %+v", got, r.changes())
		}
	})
}

func TestConfiguredNumbersHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{Failures: 1, Recoveries: 2}, ok)
		r.probe(fails)
		r.want(t, "after one failure", health.Down, "")
		r.probe(ok)
		r.want(t, "after one success", health.Down, "")
		r.probe(ok)
		r.want(t, "after two", health.Up, "")
	})
}

func TestARefusalNeverMakesARegionDown(t *testing.T) {
	for _, c := range []struct {
		status  int
		code    string
		problem string
	}{
		{403, "", "denied"},
		{403, "AccessDenied", "denied"},
		{403, "RequestTimeTooSkewed", "clock skewed"},
		{404, "NoSuchBucket", "no such bucket"},
		{400, "ExpiredToken", "status 400 ExpiredToken"},
		{301, "", "status 301 Moved Permanently"},
		{501, "", "status 501 Not Implemented"},
	} {
		t.Run(c.problem, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refuses := status(c.status, c.code)
				r := run(t, health.Config{}, refuses)
				for range 10 {
					r.probe(refuses)
					r.want(t, "nothing else seen", health.Unknown, c.problem)
				}
				r.probe(ok)
				r.want(t, "after a success", health.Up, "")
				for range 5 {
					r.probeAll(fails, fails, refuses)
					r.want(t, "two failures and a refusal", health.Up, c.problem)
				}
				if s := r.Status("a"); s.Failures != 0 || s.Successes != 0 || s.LastError == "" {
					t.Errorf("got %+v, want no run of either kind, and the refusal's error", s)
				}
				r.probeAll(fails, fails, fails)
				r.want(t, "three failures", health.Down, "")
				r.probeAll(refuses, refuses, refuses)
				r.want(t, "refusals only", health.Down, c.problem)
				r.probeAll(ok, ok)
				r.want(t, "too few successes", health.Down, "")
				r.probe(ok)
				r.want(t, "enough of them", health.Up, "")
			})
		})
	}
}

// Who refused, and does not answer now, is not to be promoted before it has let us in.
func TestAFailedProbeLiftsNoProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{}, ok)
		r.probeAll(status(403, ""), fails, fails)
		r.want(t, "denied, then silent", health.Up, health.ProblemDenied)
		r.probe(fails)
		r.want(t, "down", health.Down, "")
	})
}

func TestAnErrorOfNoRegionIsAProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strange := func(context.Context) error { return errors.New("strange") }
		r := run(t, health.Config{}, ok)
		r.probeAll(strange, strange, strange, strange)
		r.want(t, "with an error that says nothing of the region", health.Up, "no usable answer")
	})
}

func TestStatusesAreInTheConfiguredOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, health.Config{Regions: []health.Region{newRegion("z", fails), newRegion("b", status(403, ""))}}, ok)
		var got []string
		for _, s := range r.Statuses() {
			got = append(got, s.Region)
			if one := r.Status(s.Region); one != s {
				t.Errorf("got %+v among all, %+v alone", s, one)
			}
		}
		if strings.Join(got, " ") != "a z b" {
			t.Errorf("got %v, want a z b", got)
		}
		if s := r.Status("nowhere"); s.Region != "nowhere" || s.State != health.Unknown || r.Admit("nowhere") != nil {
			t.Errorf("a region that is not configured: %+v, %v", s, r.Admit("nowhere"))
		}
	})
}

func TestChangesAreToldOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := run(t, health.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, ok)
		denied := status(403, "AccessDenied")
		r.probeAll(ok, fails, ok, denied, denied, status(403, "RequestTimeTooSkewed"), ok, fails, fails, fails, fails, denied, ok, ok, ok)
		var got []string
		for _, s := range r.changes() {
			got = append(got, strings.TrimSpace(string(s.State)+" "+s.Problem))
		}
		want := "up, up denied, up clock skewed, up, down, down denied, down, up"
		if strings.Join(got, ", ") != want {
			t.Errorf("told %v, want %s", got, want)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != len(got) {
			t.Fatalf("%d lines, want one for each of %d changes:\n%s", len(lines), len(got), log.String())
		}
		for i, start := range []string{
			`level=INFO msg="region is up" region=a`, `level=WARN msg="region refuses" region=a problem=denied`,
			`level=WARN msg="region refuses" region=a problem="clock skewed"`, `level=INFO msg="region refuses no more" region=a`,
			`level=WARN msg="region is down" region=a`, `level=WARN msg="region refuses" region=a problem=denied`,
			`level=INFO msg="region refuses no more" region=a`, `level=INFO msg="region is up" region=a`,
		} {
			if _, line, _ := strings.Cut(lines[i], " "); !strings.HasPrefix(line, start) {
				t.Errorf("line %d is %q, want %q", i, line, start)
			}
		}
	})
}

// A region that is down and denied is plainly down again when it falls silent.
func TestSilenceReplacesTheProblemOfARegionThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := run(t, health.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, fails)
		r.probeAll(fails, fails, status(403, ""), fails, fails)
		r.want(t, "two failures after the refusal", health.Down, health.ProblemDenied)
		r.probe(fails)
		r.want(t, "three", health.Down, "")
		if got := strings.Count(log.String(), "region is down"); got != 2 || strings.Contains(log.String(), "no more") {
			t.Errorf("told %d times that it is down, want twice:\n%s", got, log.String())
		}
	})
}
