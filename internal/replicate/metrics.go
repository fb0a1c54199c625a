package replicate

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/gnew/tandem/internal/journal"
)

// Metrics counts copies. A nil *Metrics counts nothing.
type Metrics struct {
	copies  *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	repairs *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		copies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_copies_total",
			Help: "Copies to a region by outcome: current, pending (made, but the key has moved on), failed.",
		}, []string{"region", "outcome"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_copied_bytes_total", Help: "Bytes of the copies made to a region.",
		}, []string{"region"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_repairs_total", Help: "Times that a key was brought back to its acknowledged version in the region while that was active.",
		}, []string{"region"}),
	}
	reg.MustRegister(m.copies, m.bytes, m.repairs)
	return m
}

func (m *Metrics) copied(region, outcome string, bytes int64) {
	if m == nil {
		return
	}
	m.copies.WithLabelValues(region, outcome).Inc()
	m.bytes.WithLabelValues(region).Add(float64(bytes))
}

func (m *Metrics) repaired(region string) {
	if m != nil {
		m.repairs.WithLabelValues(region).Inc()
	}
}

// lagTimeout bounds the look into the index for each region.
const lagTimeout = time.Second

// LagCollector tells how far each region is behind, from the rows that are the queue.
// With a long queue that is work: scrapes at the same time share one answer, and a region
// of which it takes too long is left out of it.
type LagCollector struct {
	Journal interface {
		Lag(ctx context.Context, bucket, region string) (journal.Lag, error)
	}
	Bucket  string
	Regions []string

	scrapes singleflight.Group
}

var (
	pendingKeys = prometheus.NewDesc("tandem_pending_keys", "Keys whose copy in the region is pending.", []string{"region"}, nil)
	pendingSize = prometheus.NewDesc("tandem_pending_bytes", "Bytes of the pending copies of the region.", []string{"region"}, nil)
	pendingAge  = prometheus.NewDesc("tandem_lag_seconds", "Age of the region's oldest pending copy; 0 where none waits.", []string{"region"}, nil)
	failing     = prometheus.NewDesc("tandem_failing_keys", "Pending keys whose last copy failed.", []string{"region"}, nil)
	unreplic    = prometheus.NewDesc("tandem_unreplicable_keys", "Keys that the region cannot hold.", []string{"region"}, nil)
)

// Describe implements prometheus.Collector.
func (l *LagCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{pendingKeys, pendingSize, pendingAge, failing, unreplic} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *LagCollector) Collect(ch chan<- prometheus.Metric) {
	lags, _, _ := l.scrapes.Do("", func() (any, error) { return l.lags(), nil })
	for name, lag := range lags.(map[string]journal.Lag) {
		age := 0.0
		if !lag.OldestPending.IsZero() {
			age = time.Since(lag.OldestPending).Seconds()
		}
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
		gauge(pendingKeys, float64(lag.Keys))
		gauge(pendingSize, float64(lag.Bytes))
		gauge(pendingAge, age)
		gauge(failing, float64(lag.Failing))
		gauge(unreplic, float64(lag.Unreplicable))
	}
}

// lags asks for one region after the other.
func (l *LagCollector) lags() map[string]journal.Lag {
	lags := make(map[string]journal.Lag, len(l.Regions))
	for _, name := range l.Regions {
		ctx, cancel := context.WithTimeout(context.Background(), lagTimeout)
		lag, err := l.Journal.Lag(ctx, l.Bucket, name)
		cancel()
		if err == nil {
			lags[name] = lag
		}
	}
	return lags
}
