package gateway

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the gateway did. A nil *Metrics counts nothing.
type Metrics struct {
	writes    *prometheus.CounterVec
	fallbacks *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_writes_total", Help: "Writes by operation and outcome (acknowledged, refused, in_doubt).",
		}, []string{"op", "outcome"}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_read_fallbacks_total", Help: "Reads that a region answered, or finished, in the active's place.",
		}, []string{"region"}),
	}
	reg.MustRegister(m.writes, m.fallbacks)
	return m
}

func (m *Metrics) written(op, outcome string) {
	if m != nil {
		m.writes.WithLabelValues(op, outcome).Inc()
	}
}

func (m *Metrics) fellBack(region string) {
	if m != nil {
		m.fallbacks.WithLabelValues(region).Inc()
	}
}
