package failover

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/journal"
)

// Metrics counts promotions. A nil *Metrics counts nothing.
type Metrics struct {
	promotions *prometheus.CounterVec
	epoch      prometheus.Gauge
	blocked    prometheus.Gauge
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		promotions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_promotions_total", Help: "Promotions since the start, by who made them.",
		}, []string{"by"}),
		epoch: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tandem_epoch", Help: "The number of the present active's term.",
		}),
		blocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tandem_failover_blocked", Help: "1 while the active is down and nothing is promoted.",
		}),
	}
	reg.MustRegister(m.promotions, m.epoch, m.blocked)
	for _, by := range []string{byOperator, byGateway} {
		m.promotions.WithLabelValues(by) // 0 from the start
	}
	return m
}

// Who made a promotion, as the metrics name it.
const (
	byOperator = "operator"
	byGateway  = "gateway"
)

// SetEpoch tells the epoch with which the gateway starts.
func (m *Metrics) SetEpoch(epoch int64) {
	if m != nil {
		m.epoch.Set(float64(epoch))
	}
}

func (m *Metrics) promoted(f journal.Failover) {
	if m == nil {
		return
	}
	by := byOperator
	if f.Automatic {
		by = byGateway
	}
	m.promotions.WithLabelValues(by).Inc()
	m.epoch.Set(float64(f.Epoch))
}

func (m *Metrics) setBlocked(is bool) {
	if m == nil {
		return
	}
	value := 0.0
	if is {
		value = 1
	}
	m.blocked.Set(value)
}
