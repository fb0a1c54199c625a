package stats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/stats"
)

// rig is a recorder that runs, with the metrics of a gateway.
type rig struct {
	*stats.Recorder
	t        testing.TB
	registry *prometheus.Registry
	vectors  map[string]*prometheus.CounterVec
	counts   int
	rows     func() (stats.Rows, error)
	log      strings.Builder
}

func newRig(t testing.TB, regions ...string) *rig {
	r := &rig{t: t, registry: prometheus.NewRegistry(), vectors: make(map[string]*prometheus.CounterVec)}
	r.rows = func() (stats.Rows, error) {
		var rows stats.Rows
		for _, name := range regions {
			rows.Regions = append(rows.Regions, stats.RegionRows{Name: name})
		}
		return rows, nil
	}
	for name, labels := range map[string][]string{
		"tandem_region_operations_total": {"region", "op"}, "tandem_read_fallbacks_total": {"region"}, "tandem_copies_total": {"region", "outcome"},
		"tandem_repairs_total": {"region"}, "tandem_region_requests_total": {"region", "op", "code"}, "tandem_region_sent_bytes_total": {"region"},
		"tandem_region_received_bytes_total": {"region"}, "tandem_journal_commits_total": nil, "tandem_journal_changes_total": nil,
		"tandem_journal_errors_total": nil,
	} {
		r.vectors[name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
		if err := r.registry.Register(r.vectors[name]); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.Recorder, err = stats.New(stats.Config{
		Counters: r.registry, Regions: regions, Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
		Rows: func(context.Context) (stats.Rows, error) { r.counts++; return r.rows() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the recorder until the test ends.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (r *rig) add(n float64, metric string, labels ...string) {
	r.vectors[metric].WithLabelValues(labels...).Add(n)
}

func (r *rig) report() stats.Report {
	r.t.Helper()
	report, err := r.Report(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

func TestWindowsSlideOverWhatHappened(t *testing.T) {
	type event struct {
		after time.Duration // the start
		n     float64
	}
	for _, c := range []struct {
		name   string
		events []event
		asked  time.Duration
		want   stats.Count
	}{
		{"nothing", nil, 90 * time.Second, stats.Count{}},
		{"at once", []event{{0, 3}}, 0, stats.Count{3, 3, 3, 3}},
		{"younger than any window", []event{{0, 3}, {20 * time.Second, 4}}, 30 * time.Second, stats.Count{7, 7, 7, 7}},
		{"still in the minute", []event{{500 * time.Millisecond, 3}}, 60 * time.Second, stats.Count{3, 3, 3, 3}},
		{"out of the minute", []event{{500 * time.Millisecond, 3}}, 66 * time.Second, stats.Count{3, 0, 3, 3}},
		{"some of it out of the minute", []event{{10 * time.Second, 3}, {80 * time.Second, 4}}, 2 * time.Minute, stats.Count{7, 4, 7, 7}},
		{"still in the hour", []event{{30 * time.Second, 3}}, time.Hour, stats.Count{3, 0, 3, 3}},
		{"out of the hour", []event{{30 * time.Second, 3}}, time.Hour + 2*time.Minute, stats.Count{3, 0, 0, 3}},
		{"still in the day", []event{{10 * time.Minute, 3}}, 24 * time.Hour, stats.Count{3, 0, 0, 3}},
		{"out of the day", []event{{10 * time.Minute, 3}}, 25 * time.Hour, stats.Count{3, 0, 0, 0}},
		{"in each", []event{{0, 1}, {30 * time.Hour, 2}, {49 * time.Hour, 4}, {49*time.Hour + 45*time.Minute, 8}}, 49*time.Hour + 45*time.Minute + 30*time.Second, stats.Count{15, 8, 12, 14}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "a")
				r.run()
				began := time.Now()
				for _, e := range c.events {
					time.Sleep(e.after - time.Since(began))
					r.add(e.n, "tandem_repairs_total", "a")
				}
				time.Sleep(c.asked - time.Since(began))
				synctest.Wait()
				report := r.report()
				if got := report.Regions[0].Repairs; got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				within := func(name string, span, length, step time.Duration) {
					t.Helper()
					if least := min(length, c.asked); span < least || span > least+step {
						t.Errorf("after %v the %s goes back %v", c.asked, name, span)
					}
				}
				within("minute", report.Spans.LastMinute, time.Minute, 5*time.Second)
				within("hour", report.Spans.LastHour, time.Hour, time.Minute)
				within("day", report.Spans.LastDay, 24*time.Hour, 24*time.Minute)
				within("uptime", report.Spans.SinceStart, c.asked, 0)
			})
		})
	}
}

// A process that was stopped, or a machine that slept, leaves a gap, and no window that is empty.
func TestAGapInTheSamplesMakesAWindowLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "a")
		time.Sleep(10 * time.Minute) // nobody samples
		r.add(1, "tandem_repairs_total", "a")
		r.run()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		report := r.report()
		if got, want := report.Regions[0].Repairs, (stats.Count{1, 1, 1, 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got, want := report.Spans.LastMinute, 10*time.Minute+30*time.Second; got != want {
			t.Errorf("the minute goes back %v, want %v, and to say so", got, want)
		}
	})
}

func TestEachCounterIsTheSumOfItsSeries(t *testing.T) {
	r := newRig(t, "a", "b")
	n := float64(1)
	add := func(metric string, labels ...string) {
		r.add(n, metric, labels...)
		n *= 2
	}
	for _, op := range []string{"read", "write", "delete", "list"} {
		add("tandem_region_operations_total", "b", op)
	}
	add("tandem_read_fallbacks_total", "b")
	add("tandem_copies_total", "b", "current")
	add("tandem_copies_total", "b", "pending")
	add("tandem_copies_total", "b", "failed")
	add("tandem_repairs_total", "b")
	for _, labels := range [][]string{{"PutObject", "2xx"}, {"GetObject", "4xx"}, {"GetObject", "5xx"}, {"ListObjectsV2", "error"}, {"HeadBucket", "2xx"}, {"HeadBucket", "error"}} {
		add("tandem_region_requests_total", append([]string{"b"}, labels...)...)
	}
	add("tandem_region_sent_bytes_total", "b")
	add("tandem_region_received_bytes_total", "b")
	add("tandem_journal_commits_total")
	add("tandem_journal_changes_total")
	add("tandem_journal_errors_total")

	same := func(n int64) stats.Count { return stats.Count{n, n, n, n} }
	report := r.report()
	want := stats.Region{
		Name: "b", Reads: same(1), Writes: same(2), Deletes: same(4), Listings: same(8), Fallbacks: same(16), Copies: same(32 + 64), FailedCopies: same(128),
		Repairs: same(256), Requests: same(512 + 1024 + 2048 + 4096), Errors: same(2048 + 4096), // a probe is neither
		SentBytes: same(32768), ReceivedBytes: same(65536),
	}
	if got := report.Regions[1]; got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := report.Journal, (stats.Journal{same(131072), same(262144), same(524288)}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := report.Regions[0], (stats.Region{Name: "a"}); got != want {
		t.Errorf("the region that was asked nothing: got %+v", got)
	}
}

func TestRowsAreCountedEveryFewSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "a")
		var takes time.Duration
		r.rows = func() (stats.Rows, error) {
			time.Sleep(takes)
			return stats.Rows{Counts: journal.Counts{Objects: int64(r.counts)}}, nil
		}
		want := func(counts int64) {
			t.Helper()
			if got := r.report().Rows.Counts.Objects; got != counts {
				t.Errorf("counted %d times, want %d", got, counts)
			}
		}
		for range 10 {
			want(1)
		}
		time.Sleep(4 * time.Second)
		want(1)
		takes = 3 * time.Second
		time.Sleep(2 * time.Second)
		var asking sync.WaitGroup
		for range 10 {
			asking.Go(func() { want(2) })
		}
		asking.Wait()
		time.Sleep(20 * time.Second) // what takes long is not done all the time
		want(2)
		time.Sleep(11 * time.Second)
		want(3)
	})
}

func TestWhoLeavesIsNotWaitedForAndSpoilsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "a")
		ctx, cancel := context.WithCancel(t.Context())
		r.rows = func() (stats.Rows, error) {
			if r.counts == 1 {
				<-ctx.Done()
				return stats.Rows{}, ctx.Err()
			}
			return stats.Rows{}, nil
		}
		time.AfterFunc(time.Second, cancel)
		if _, err := r.Report(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if r.report().Rows == nil {
			t.Error("the next one gets no rows")
		}
	})
}

func TestWithoutTheJournalTheCountersAreTold(t *testing.T) {
	r := newRig(t, "a")
	r.rows = func() (stats.Rows, error) { return stats.Rows{}, errors.New("disk is gone") }
	r.add(3, "tandem_journal_commits_total")
	report := r.report()
	if report.Rows != nil || report.Journal.Commits.SinceStart != 3 || len(report.Regions) != 1 {
		t.Errorf("got %+v, want 3 commits, a region and no rows", report)
	}
	if !strings.Contains(r.log.String(), "disk is gone") {
		t.Errorf("the reason is not logged: %q", r.log.String())
	}
}

func TestARegionThatWasTakenOutIsNotTold(t *testing.T) {
	r := newRig(t, "a", "b")
	r.rows = func() (stats.Rows, error) { return stats.Rows{Regions: []stats.RegionRows{{Name: "b"}}}, nil }
	if got := r.report().Regions; len(got) != 1 || got[0].Name != "b" {
		t.Errorf("got %+v, want b alone", got)
	}
}

// BenchmarkReport gathers as many series as a busy gateway has, which Run does every five seconds.
func BenchmarkReport(b *testing.B) {
	r := newRig(b, "primary", "secondary")
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seconds", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9)}, []string{"region", "op"})
	if err := r.registry.Register(seconds); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"primary", "secondary"} {
		for op := range 11 {
			seconds.WithLabelValues(name, fmt.Sprint("op", op)).Observe(0.01)
			for _, code := range []string{"2xx", "4xx", "5xx", "error"} {
				r.add(1, "tandem_region_requests_total", name, fmt.Sprint("op", op), code)
			}
		}
		for _, op := range []string{"read", "write", "delete", "list"} {
			r.add(1, "tandem_region_operations_total", name, op)
		}
		r.add(1, "tandem_copies_total", name, "current")
		r.add(1, "tandem_region_sent_bytes_total", name)
		r.add(1, "tandem_region_received_bytes_total", name)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Report(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
