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
	Buckets []LaggingBucket

	scrapes singleflight.Group
}

var (
	pendingKeys = prometheus.NewDesc("tandem_pending_keys", "Keys whose copy in the region's bucket is pending.", []string{"bucket", "region"}, nil)
	pendingSize = prometheus.NewDesc("tandem_pending_bytes", "Bytes of the pending copies of the region.", []string{"bucket", "region"}, nil)
	pendingAge  = prometheus.NewDesc("tandem_lag_seconds", "Age of the region's oldest pending copy; 0 where none waits.", []string{"bucket", "region"}, nil)
	failing     = prometheus.NewDesc("tandem_failing_keys", "Pending keys whose last copy failed.", []string{"bucket", "region"}, nil)
	unreplic    = prometheus.NewDesc("tandem_unreplicable_keys", "Keys that the region cannot hold.", []string{"bucket", "region"}, nil)
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
	for of, lag := range lags.(map[regionOf]journal.Lag) {
		age := 0.0
		if !lag.OldestPending.IsZero() {
			age = time.Since(lag.OldestPending).Seconds()
		}
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, of.bucket, of.region)
		}
		gauge(pendingKeys, float64(lag.Keys))
		gauge(pendingSize, float64(lag.Bytes))
		gauge(pendingAge, age)
		gauge(failing, float64(lag.Failing))
		gauge(unreplic, float64(lag.Unreplicable))
	}
}

// LaggingBucket is a bucket that clients see, and the regions that have it.
type LaggingBucket struct {
	Name    string
	Regions []string
}

type regionOf struct{ bucket, region string }

// lags asks for one region after the other.
func (l *LagCollector) lags() map[regionOf]journal.Lag {
	lags := make(map[regionOf]journal.Lag)
	for _, b := range l.Buckets {
		for _, name := range b.Regions {
			ctx, cancel := context.WithTimeout(context.Background(), lagTimeout)
			lag, err := l.Journal.Lag(ctx, b.Name, name)
			cancel()
			if err == nil {
				lags[regionOf{b.Name, name}] = lag
			}
		}
	}
	return lags
}
