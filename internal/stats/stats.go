// Package stats tells what the gateway did since it started, and in the last minute, hour and day, and what its
// journal holds.
//
// It counts nothing itself. The counters are those of /metrics: a Recorder gathers them every five seconds, keeps
// the few numbers that it needs in rings of a fixed size, and takes the difference to now when it is asked. What
// serves requests knows nothing of it, and never waits for it.
package stats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/journal"
)

// Config describes what is told of.
type Config struct {
	// Counters gathers the metrics of regions, gateway, replication and journal. It should gather no more: it is
	// asked often. Required.
	Counters prometheus.Gatherer
	// Regions are the names of those that are counted. Required.
	Regions []string
	// Rows looks into the journal, which may take a while. Required.
	Rows func(ctx context.Context) (Rows, error)
	// Logger is required.
	Logger *slog.Logger
}

// Rows are what the journal holds.
type Rows struct {
	// Regions in the configured order, without those that were taken out.
	Regions []RegionRows
	Counts  journal.Counts
}

// RegionRows are what the journal holds of one region.
type RegionRows struct {
	Name string
	// Compared: the index knows each key in the region's bucket, so that Lag is all of it.
	Compared bool
	Lag      journal.Lag
}

// Recorder remembers the counters of a day. It is safe for concurrent use.
type Recorder struct {
	Config
	fields []field
	began  time.Time
	rows   rows

	mu struct {
		sync.Mutex
		rings []*ring
	}
}

// New returns a recorder whose windows begin now.
func New(cfg Config) (*Recorder, error) {
	if cfg.Counters == nil || len(cfg.Regions) == 0 || cfg.Rows == nil || cfg.Logger == nil {
		return nil, errors.New("stats: Counters, Regions, Rows and Logger are required")
	}
	r := &Recorder{Config: cfg, fields: fields(cfg.Regions), began: time.Now(), rows: rows{lock: make(chan struct{}, 1), count: cfg.Rows}}
	first := sample{r.began, make([]int64, len(r.fields))}
	for _, w := range windows {
		r.mu.rings = append(r.mu.rings, newRing(w, first))
	}
	return r, nil
}

// interval is how often the counters are gathered. That takes a few tenths of a millisecond (BenchmarkReport).
const interval = 5 * time.Second

// Run gathers the counters until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	values := make([]int64, len(r.fields))
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := r.gather(values)
		if err != nil && !failing {
			r.Logger.ErrorContext(ctx, "counters cannot be gathered; the statistics lack this time", "err", err)
		}
		if failing = err != nil; failing {
			continue
		}
		now := time.Now()
		r.mu.Lock()
		for _, ring := range r.mu.rings {
			ring.add(now, values)
		}
		r.mu.Unlock()
	}
}

// gather reads the counters into values.
func (r *Recorder) gather(values []int64) error {
	families, err := r.Counters.Gather()
	if err != nil {
		return fmt.Errorf("gather the counters: %w", err)
	}
	clear(values)
	label := make(map[string]string)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if m.Counter == nil {
				continue
			}
			clear(label)
			for _, pair := range m.GetLabel() {
				label[pair.GetName()] = pair.GetValue()
			}
			for i, f := range r.fields {
				if f.metric == family.GetName() && f.region == label["region"] && f.has(label) {
					values[i] += int64(m.GetCounter().GetValue())
				}
			}
		}
	}
	return nil
}

// Report tells how things are. Counters are of this moment; rows may be some seconds old.
type Report struct {
	// StartedAt is when the counters began.
	StartedAt time.Time
	// Spans are how long SinceStart and the windows really reach back: less than their length while the gateway
	// is young, and up to a step of their ring more later: 5 s, a minute, 24 minutes.
	Spans Spans
	// Regions in the order of Config.Regions, without those that were taken out.
	Regions []Region
	Journal Journal
	// Rows are nil where the journal could not be read.
	Rows *Rows
	// CountedAt is when the rows were counted.
	CountedAt time.Time
}

// Spans are lengths of time.
type Spans struct{ SinceStart, LastMinute, LastHour, LastDay time.Duration }

// Count is how often something happened, or of how many bytes.
type Count struct{ SinceStart, LastMinute, LastHour, LastDay int64 }

// Region is what one region was asked. docs/SEMANTICS.md, "Statistics", says what counts as what.
type Region struct {
	Name                                       string
	Reads, Writes, Deletes, Listings           Count
	Fallbacks, Copies, FailedCopies, Repairs   Count
	Requests, Errors, SentBytes, ReceivedBytes Count
}

// Journal is what the journal's writer did.
type Journal struct {
	// Commits are transactions, Changes what was in them; FailedCommits left nothing.
	Commits, Changes, FailedCommits Count
}

// Report takes the differences to now. Where the journal cannot be read, the report has no rows and the reason is
// logged.
func (r *Recorder) Report(ctx context.Context) (Report, error) {
	counted, at, err := r.rows.get(ctx)
	if err != nil && ctx.Err() != nil {
		return Report{}, fmt.Errorf("count the journal's rows: %w", context.Cause(ctx))
	}
	report := Report{StartedAt: r.began.UTC(), CountedAt: at.UTC()}
	if err != nil {
		r.Logger.WarnContext(ctx, "the journal's rows cannot be counted; the statistics lack them", "err", err)
	} else {
		report.Rows = &counted
	}
	values := make([]int64, len(r.fields))
	if err := r.gather(values); err != nil {
		return Report{}, err
	}
	regions := make(map[string]*Region, len(r.Regions))
	for _, name := range r.Regions {
		regions[name] = &Region{Name: name}
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	minute, hour, day := r.mu.rings[0].before(now), r.mu.rings[1].before(now), r.mu.rings[2].before(now)
	report.Spans = Spans{now.Sub(r.began), now.Sub(minute.at), now.Sub(hour.at), now.Sub(day.at)}
	for i, f := range r.fields {
		n := values[i]
		*f.count(&report.Journal, regions[f.region]) = Count{n, n - minute.values[i], n - hour.values[i], n - day.values[i]}
	}
	for _, name := range r.Regions {
		isKnown := func(known RegionRows) bool { return known.Name == name }
		if report.Rows == nil || slices.ContainsFunc(report.Rows.Regions, isKnown) {
			report.Regions = append(report.Regions, *regions[name])
		}
	}
	return report, nil
}
