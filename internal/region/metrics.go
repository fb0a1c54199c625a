package region

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/s3op"
)

// Metrics counts what all regions were asked. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	sent     *prometheus.CounterVec
	received *prometheus.CounterVec
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
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_region_sent_bytes_total", Help: "Bytes of objects that were sent to a region, clients' and copies'.",
		}, []string{"region"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_region_received_bytes_total", Help: "Bytes of objects that a region sent, to clients and for copies.",
		}, []string{"region"}),
	}
	reg.MustRegister(m.requests, m.seconds, m.sent, m.received)
	return m
}

// traffic counts the bytes of the objects that one region holds for clients. Its counters are nil where nothing
// is counted.
type traffic struct{ sent, received prometheus.Counter }

func (m *Metrics) traffic(region string) traffic {
	if m == nil {
		return traffic{}
	}
	return traffic{m.sent.WithLabelValues(region), m.received.WithLabelValues(region)}
}

// of is what counts q's bytes: those of a body that is an object's, or a part of one, unless it is an object of
// ours.
func (t traffic) of(q request) traffic {
	switch {
	case q.key == "" || s3op.IsReserved(q.key):
		return traffic{}
	case q.op == "PutObject" || q.op == "UploadPart":
		return traffic{sent: t.sent}
	case q.op == "GetObject":
		return traffic{received: t.received}
	}
	return traffic{}
}

func countBytes(c prometheus.Counter, n int) {
	if c != nil && n > 0 {
		c.Add(float64(n))
	}
}

func (m *Metrics) observe(region, op, code string, started time.Time) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(region, op, code).Inc()
	m.seconds.WithLabelValues(region, op).Observe(time.Since(started).Seconds())
}

func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }
