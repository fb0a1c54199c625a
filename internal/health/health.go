package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/region"
)

// Region is what probing needs of a region.
type Region interface {
	Name() string
	// CheckBucket returns nil when the region answers and its bucket is there. It
	// must return soon after ctx has ended.
	CheckBucket(ctx context.Context) error
}

var _ Region = (*region.Region)(nil)

// ErrDown is why a request is not sent to a region.
var ErrDown = errors.New("region is down")

// Config describes the monitor.
type Config struct {
	// Regions in the configured order, their names distinct. Required.
	Regions []Region
	// Interval is the time from the start of one probe to that of the next, give or take
	// a tenth. Default 15 s.
	Interval time.Duration
	// Timeout is how long a probe may take before it has failed. One longer than the
	// Interval makes the probes of a region that hangs follow upon each other. Default 5 s.
	Timeout time.Duration
	// Failures is how many failed probes in a row make a region down. Default 3.
	Failures int
	// Recoveries is how many successful ones in a row make a region that is down up
	// again. Default 3.
	Recoveries int
	// Changed is told of a region whose State or Problem has changed: of one region in
	// order, of several at once. It must not block, since the region is not probed
	// meanwhile. Default: nobody is told.
	Changed func(Status)
	// Check is called after a probe that the region answered with its bucket, in the
	// region's own goroutine, before that counts: it may take time, and bounds its own requests.
	// Its error says that the region is not to be trusted yet: the probe counts as refused, with
	// ProblemUnverified. Default: none.
	Check func(ctx context.Context, name string) error
	// Random gives numbers in [0, 1), by which probes are spread. Default: random ones.
	Random func() float64
	// Logger is required.
	Logger *slog.Logger
	// Metrics counts. Default: none.
	Metrics *Metrics
}

// Monitor probes the regions and keeps a verdict on each. All its methods are safe for
// concurrent use, before, during and after Run.
type Monitor struct {
	Config
	order   []*prober
	probers map[string]*prober
}

// New returns a monitor to which every region is unknown; it probes none.
func New(cfg Config) (*Monitor, error) {
	if len(cfg.Regions) == 0 || cfg.Logger == nil {
		return nil, errors.New("health: Regions and Logger are required")
	}
	if cfg.Interval < 0 || cfg.Timeout < 0 || cfg.Failures < 0 || cfg.Recoveries < 0 {
		return nil, errors.New("health: Interval, Timeout, Failures and Recoveries cannot be negative")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	cfg.Interval = cmp.Or(cfg.Interval, 15*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	cfg.Failures = cmp.Or(cfg.Failures, 3)
	cfg.Recoveries = cmp.Or(cfg.Recoveries, 3)
	m := &Monitor{Config: cfg, probers: make(map[string]*prober)}
	since := time.Now().UTC()
	for _, r := range cfg.Regions {
		name := r.Name()
		if name == "" || m.probers[name] != nil {
			return nil, fmt.Errorf("health: region name %q is empty or used twice", name)
		}
		p := newProber(m, r, since)
		m.probers[name] = p
		m.order = append(m.order, p)
		m.Metrics.known(name)
	}
	return m, nil
}

// Run probes every region at once, then at its Interval, until ctx ends, and returns nil once
// no probe is under way. It is called once.
func (m *Monitor) Run(ctx context.Context) error {
	var probing sync.WaitGroup
	for _, p := range m.order {
		probing.Go(func() { p.run(ctx) })
	}
	probing.Wait()
	return nil
}

// Admit returns nil where a request may be sent to the region, else an error that wraps
// ErrDown and says since when. Only a region that is down is spared: one that is unknown, or has
// a Problem, answers for itself.
func (m *Monitor) Admit(name string) error {
	p := m.probers[name]
	if p == nil {
		return nil
	}
	if refusal := p.refusal.Load(); refusal != nil {
		return *refusal
	}
	return nil
}

// Report tells the monitor how a request to the region ended. Where that speaks against the
// region, it is probed as soon as the last probe is a tenth of the Interval old. A request whose
// client has left speaks for nothing. Report does not block.
func (m *Monitor) Report(name string, err error) {
	if err == nil || !region.IsDown(err) || errors.Is(err, context.Canceled) {
		return
	}
	if p := m.probers[name]; p != nil {
		leave(p.extra)
	}
}

// ProbeNow has the region probed at once, or again once a probe under way has ended: that one
// may have begun before whatever the caller knows of. It does not block.
func (m *Monitor) ProbeNow(name string) {
	if p := m.probers[name]; p != nil {
		leave(p.now)
	}
}

// Status is the present status of a region. One that is not configured is unknown.
func (m *Monitor) Status(name string) Status {
	if p := m.probers[name]; p != nil {
		return p.status()
	}
	return Status{Region: name, State: Unknown}
}

// Statuses are those of all regions, in the configured order.
func (m *Monitor) Statuses() []Status {
	statuses := make([]Status, len(m.order))
	for i, p := range m.order {
		statuses[i] = p.status()
	}
	return statuses
}
