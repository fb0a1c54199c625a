package failover_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

const (
	bucket       = "bucket"
	fenceTimeout = 5 * time.Second
)

var errBroken = errors.New("broken")

// rig is a controller of three regions, each of which may become active; a is. What it asks
// of the others is noted in order.
type rig struct {
	*failover.Controller
	t       *testing.T
	cfg     failover.Config
	servers map[string]*regiontest.Server
	journal *fakeJournal
	gateway *fakeGateway
	workers *fakeWorkers
	health  *fakeHealth

	mu    sync.Mutex
	steps []string            // guarded by mu
	told  []journal.Failover  // what Promoted was told; guarded by mu
	lines map[string][]string // what was logged at warn and above, by message; guarded by mu
}

// note remembers a step.
func (g *rig) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps = append(g.steps, fmt.Sprintf(format, args...))
}

// inBubble runs a test in which b and c are healthy and compared, and nothing waits.
func inBubble(t *testing.T, test func(t *testing.T, g *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &rig{t: t, servers: make(map[string]*regiontest.Server), lines: make(map[string][]string)}
		state := journal.State{JournalID: "journal", Epoch: 1, Active: "a", BeganAt: time.Now()}
		g.journal = &fakeJournal{
			rig: g, state: state, failovers: []journal.Failover{{Epoch: 1, To: "a"}}, lags: make(map[string]journal.Lag),
			atRisk: make(map[string]int64), unkept: make(map[string]int64),
		}
		g.gateway = &fakeGateway{rig: g, state: state, names: []string{"a", "b", "c"}, compared: map[string]bool{"a": true, "b": true, "c": true}}
		g.workers = &fakeWorkers{rig: g}
		g.health = &fakeHealth{states: map[string]health.Status{"a": up(), "b": up(), "c": up()}}
		g.cfg = failover.Config{
			Buckets: []failover.Bucket{{Name: bucket}}, Journal: g.journal, Gateway: g.gateway, Workers: g.workers, Health: g.health, Automatic: true,
			FenceTimeout: fenceTimeout,
			Promoted: func(f journal.Failover) {
				g.note("told %d", f.Epoch)
				g.mu.Lock()
				defer g.mu.Unlock()
				g.told = append(g.told, f)
			},
			Logger: slog.New(&lineHandler{rig: g}),
		}
		for _, name := range g.gateway.names {
			g.servers[name] = regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
			g.cfg.Buckets[0].Regions = append(g.cfg.Buckets[0].Regions, newRegion(t, name, g.servers[name]))
		}
		g.build()
		test(t, g)
	})
}

func newRegion(t *testing.T, name string, s *regiontest.Server) *region.Region {
	t.Helper()
	transport := &http.Transport{DialContext: regiontest.StartPipe(t, s)}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := region.New(t.Context(), region.Config{
		Name: name, Endpoint: "http://127.0.0.1", Bucket: bucket, AccessKey: "key", SecretKey: "secret", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// build makes the controller of what cfg has become.
func (g *rig) build() {
	g.t.Helper()
	c, err := failover.New(g.cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	g.Controller = c
}

// run has the controller decide by itself until the test ends, and returns once it has
// looked for the first time.
func (g *rig) run() {
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

// later lets time pass.
func (g *rig) later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// promote asks as an operator does.
func (g *rig) promote(r failover.Request) (failover.Result, error) {
	r.Actor = "admin"
	return g.Promote(g.t.Context(), r)
}

// begin asks beside the test.
func (g *rig) begin(r failover.Request) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := g.promote(r)
		ended <- err
	}()
	synctest.Wait()
	return ended
}

// want checks who is served as the active.
func (g *rig) want(active string, epoch int64) {
	g.t.Helper()
	if s := g.gateway.State(); s.Active != active || s.Epoch != epoch {
		g.t.Errorf("epoch %d of %s is served, want %d of %s", s.Epoch, s.Active, epoch, active)
	}
}

// wantSteps checks, and forgets, what was asked of the others.
func (g *rig) wantSteps(want ...string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.steps, want) {
		g.t.Errorf("steps:\n  %s\nwant:\n  %s", strings.Join(g.steps, "\n  "), strings.Join(want, "\n  "))
	}
	g.steps = nil
}

// wantBlocked checks why nothing is promoted: each as "<region> <code>".
func (g *rig) wantBlocked(want ...string) {
	g.t.Helper()
	if got := codes(g.Blocked()); !slices.Equal(got, want) {
		g.t.Errorf("blocked by %q, want %q", got, want)
	}
}

// logged is how often something was logged at warn and above.
func (g *rig) logged(message string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.lines[message])
}

func codes(objections []failover.Objection) []string {
	var all []string
	for _, o := range objections {
		all = append(all, o.Region+" "+string(o.Code))
	}
	return all
}

// refusal is what spoke against a promotion, nil where it was not refused.
func refusal(err error) []string {
	if e, ok := errors.AsType[*failover.RefusedError](err); ok {
		return codes(e.Objections)
	}
	return nil
}

func up() health.Status   { return health.Status{State: health.Up} }
func down() health.Status { return health.Status{State: health.Down, LastError: "no answer"} }

// fakeHealth is what its test says.
type fakeHealth struct {
	mu     sync.Mutex
	states map[string]health.Status // guarded by mu
}

func (h *fakeHealth) Status(name string) health.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.states[name]
}

func (h *fakeHealth) set(name string, s health.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states[name] = s
}

// fakeJournal begins epochs in memory.
type fakeJournal struct {
	failover.Journal // what a controller does not call
	rig              *rig

	mu             sync.Mutex
	state          journal.State
	failovers      []journal.Failover // the newest first
	lags           map[string]journal.Lag
	atRisk, unkept map[string]int64
	detached       []string
	promotions     []journal.Promotion
	// Errors of the calls; with isApplied, Promote and Detach do what they were asked to
	// all the same.
	onState, onPromote, onLag, onDetach error
	isApplied                           bool
}

func (j *fakeJournal) set(f func(*fakeJournal)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(j)
}

func (j *fakeJournal) State(context.Context) (journal.State, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state, j.onState
}

// in is what the fakes keep of a region's bucket by: the region's name for the first.
func in(of, name, second string) string {
	if of == bucket {
		return name
	}
	return second
}

func (j *fakeJournal) Lag(_ context.Context, of, name string) (journal.Lag, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lags[in(of, name, of+" "+name)], j.onLag
}

func (j *fakeJournal) PointingAt(_ context.Context, _ []string, name string) (int64, int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.atRisk[name], j.unkept[name], nil
}

func (j *fakeJournal) Failovers(context.Context) ([]journal.Failover, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.failovers), nil
}

func (j *fakeJournal) Risk(_ context.Context, p journal.Promotion) (journal.Risk, error) {
	j.rig.note("risk of %s with %q", p.Region, p.Healthy)
	return journal.Risk{Keys: 3, Bytes: 30, InDoubt: 1}, nil
}

func (j *fakeJournal) Promote(ctx context.Context, p journal.Promotion) (journal.Failover, error) {
	if err := ctx.Err(); err != nil {
		return journal.Failover{}, err
	}
	j.rig.note("promote %s after %d", p.Region, p.After)
	j.mu.Lock()
	defer j.mu.Unlock()
	if p.After != j.state.Epoch {
		return journal.Failover{}, journal.ErrEpoch
	}
	err := j.onPromote
	if err != nil && !j.isApplied {
		return journal.Failover{}, err
	}
	f := journal.Failover{
		Epoch: p.After + 1, From: j.state.Active, To: p.Region, At: time.Now(), Forced: p.Forced, Uncompared: p.Uncompared,
		Automatic: p.Automatic, Actor: p.Actor, Reason: p.Reason,
	}
	j.state.Epoch, j.state.Active, j.state.BeganAt = f.Epoch, f.To, f.At
	j.failovers = slices.Insert(j.failovers, 0, f)
	j.promotions = append(j.promotions, p)
	if err != nil {
		return journal.Failover{}, err
	}
	return f, nil
}

func (j *fakeJournal) Detach(_ context.Context, name, actor, reason string) error {
	j.rig.note("detach %s for %s: %s", name, actor, reason)
	j.mu.Lock()
	defer j.mu.Unlock()
	if slices.Contains(j.detached, name) {
		return journal.ErrRegion
	}
	if j.onDetach == nil || j.isApplied {
		j.detached = append(j.detached, name)
	}
	return j.onDetach
}

func (j *fakeJournal) Detached(context.Context) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.detached), nil
}

// made are the promotions that the journal has.
func (j *fakeJournal) made() []journal.Promotion {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.promotions)
}

// fakeGateway serves epochs.
type fakeGateway struct {
	rig *rig

	mu                  sync.Mutex
	state               journal.State
	names               []string
	compared, regressed map[string]bool
	// busy has the fence wait for as long as it may.
	busy     bool
	onSwitch error
}

func (w *fakeGateway) set(f func(*fakeGateway)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

func (w *fakeGateway) State() journal.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *fakeGateway) Regions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.names)
}

func (w *fakeGateway) ComparedRegions() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.compared
}

func (w *fakeGateway) RegressedRegions() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.regressed
}

func (w *fakeGateway) WritesInFlight() int { return 7 }

func (w *fakeGateway) Fence(ctx context.Context) (lift func()) {
	w.rig.note("fence")
	w.mu.Lock()
	busy := w.busy
	w.mu.Unlock()
	if busy {
		<-ctx.Done()
	}
	return func() { w.rig.note("lift") }
}

func (w *fakeGateway) Switch(ctx context.Context, s journal.State) error {
	w.rig.note("switch to %s, epoch %d", s.Active, s.Epoch)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.onSwitch != nil {
		return w.onSwitch
	}
	if ctx.Err() == nil {
		w.state = s
	}
	return ctx.Err()
}

func (w *fakeGateway) Detach(name string) {
	w.rig.note("forget %s", name)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = slices.DeleteFunc(w.names, func(n string) bool { return n == name })
}

// fakeWorkers can be held.
type fakeWorkers struct {
	rig *rig
	mu  sync.Mutex
	// until has Hold wait; guarded by mu.
	until  <-chan struct{}
	onHold error // guarded by mu
}

func (w *fakeWorkers) set(f func(*fakeWorkers)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

func (w *fakeWorkers) Hold(ctx context.Context, regions ...string) (release func(), err error) {
	w.rig.note("hold %s", strings.Join(regions, ", "))
	w.mu.Lock()
	until, err := w.until, w.onHold
	w.mu.Unlock()
	if err == nil {
		err = ctx.Err()
	}
	if until != nil {
		select {
		case <-until:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return func() { w.rig.note("release") }, err
}

// lineHandler notes what is logged.
type lineHandler struct {
	rig *rig
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}
func (h *lineHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *lineHandler) WithGroup(string) slog.Handler      { return h }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	h.rig.mu.Lock()
	defer h.rig.mu.Unlock()
	h.rig.lines[r.Message] = append(h.rig.lines[r.Message], r.Level.String())
	return nil
}
