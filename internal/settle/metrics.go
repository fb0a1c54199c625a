package settle

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts settled keys. A nil *Metrics counts nothing.
type Metrics struct{ keys *prometheus.CounterVec }

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{keys: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tandem_settled_keys_total", Help: "Keys that were settled, by what was decided.",
	}, []string{"decision"})}
	reg.MustRegister(m.keys)
	return m
}

func (m *Metrics) settled(decision string) {
	if m != nil {
		m.keys.WithLabelValues(decision).Inc()
	}
}
