package region

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what all regions were asked. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_region_requests_total",
			Help: "Requests to a region by S3 operation and class of answer (2xx to 5xx, or error where there was none).",
		}, []string{"region", "op", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tandem_region_request_seconds",
			Help:    "Time until the header of a region's answer, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"region", "op"}),
	}
	reg.MustRegister(m.requests, m.seconds)
	return m
}

func (m *Metrics) observe(region, op, code string, started time.Time) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(region, op, code).Inc()
	m.seconds.WithLabelValues(region, op).Observe(time.Since(started).Seconds())
}

func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }
