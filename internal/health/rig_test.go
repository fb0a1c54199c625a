package health_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/region"
)

// fakeRegion answers as its test says, and knows when it was asked.
type fakeRegion struct {
	name string
	mu   struct {
		sync.Mutex
		answer func(context.Context) error
		starts []time.Time
	}
}

func newRegion(name string, answer func(context.Context) error) *fakeRegion {
	f := &fakeRegion{name: name}
	f.mu.answer = answer
	return f
}

func (f *fakeRegion) Name() string { return f.name }

func (f *fakeRegion) CheckBucket(ctx context.Context) error {
	f.mu.Lock()
	f.mu.starts = append(f.mu.starts, time.Now())
	answer := f.mu.answer
	f.mu.Unlock()
	return answer(ctx)
}

func (f *fakeRegion) answers(answer func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.answer = answer
}

// starts returns when each probe was begun.
func (f *fakeRegion) starts() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.mu.starts...)
}

func (f *fakeRegion) probes() int { return len(f.starts()) }

func ok(context.Context) error { return nil }

// status answers with an error of the region.
func status(code int, s3Code string) func(context.Context) error {
	return func(context.Context) error { return statusError(code, s3Code) }
}

func statusError(code int, s3Code string) error {
	outcome := region.Rejected
	if code >= 500 {
		outcome = region.Ambiguous
	}
	return &region.Error{Region: "a", Operation: "HeadBucket", Outcome: outcome, Status: code, Code: s3Code, Header: http.Header{}}
}

// fails is a region that cannot be reached.
func fails(context.Context) error { return connectionError(io.ErrUnexpectedEOF) }

func connectionError(err error) error {
	return &region.Error{Region: "a", Operation: "HeadBucket", Outcome: region.NotSent, Err: err}
}

// hangs is a region that accepts the request and says nothing.
func hangs(ctx context.Context) error {
	<-ctx.Done()
	return connectionError(context.Cause(ctx))
}

// rig is a monitor that runs until its test ends.
type rig struct {
	*health.Monitor
	a       *fakeRegion
	stop    func()
	ended   <-chan struct{}
	changes func() []health.Status
}

// run starts a monitor of cfg's regions, by default of one region "a" that serves. It is
// called in a bubble, and returns when the first probes have ended or hang.
func run(t *testing.T, cfg health.Config, answer func(context.Context) error) *rig {
	t.Helper()
	r := &rig{a: newRegion("a", answer)}
	cfg.Regions = append([]health.Region{r.a}, cfg.Regions...)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	var mu sync.Mutex
	var changes []health.Status
	cfg.Changed = func(s health.Status) {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, s)
	}
	r.changes = func() []health.Status {
		mu.Lock()
		defer mu.Unlock()
		return append([]health.Status(nil), changes...)
	}
	m, err := health.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Monitor = m
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	r.stop, r.ended = cancel, ended
	go func() {
		defer close(ended)
		if err := m.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	synctest.Wait()
	return r
}

// probe has region a probed once, at once, with this answer.
func (r *rig) probe(answer func(context.Context) error) health.Status {
	r.a.answers(answer)
	r.ProbeNow("a")
	synctest.Wait()
	return r.Status("a")
}

// probeAll has it probed with one answer after the other.
func (r *rig) probeAll(answers ...func(context.Context) error) health.Status {
	for _, answer := range answers {
		r.probe(answer)
	}
	return r.Status("a")
}

func (r *rig) want(t *testing.T, when string, state health.State, problem string) {
	t.Helper()
	s := r.Status("a")
	if s.State != state || s.Problem != problem {
		t.Errorf("%s: got %q, problem %q (%s); want %q, problem %q", when, s.State, s.Problem, s.LastError, state, problem)
	}
	if want := state == health.Up && problem == ""; s.Healthy() != want {
		t.Errorf("%s: healthy is %v, want %v", when, s.Healthy(), want)
	}
	if err := r.Admit("a"); errors.Is(err, health.ErrDown) != (state == health.Down) || (err != nil) != (state == health.Down) {
		t.Errorf("%s: admitted with %v, want a region that is %s", when, err, state)
	}
}
