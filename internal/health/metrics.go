package health

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts probes. A nil *Metrics counts nothing.
type Metrics struct {
	up     *prometheus.GaugeVec
	probes *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tandem_region_up", Help: "1 while the region is up, 0 while it is down or not yet known.",
		}, []string{"region"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_region_probes_total",
			Help: "Probes of a region by result: ok, failed (no answer, or a 5xx), refused (any other answer).",
		}, []string{"region", "result"}),
	}
	reg.MustRegister(m.up, m.probes)
	return m
}

// known has a region's series there from the start: a rate needs the 0 before the 1.
func (m *Metrics) known(region string) {
	if m == nil {
		return
	}
	m.up.WithLabelValues(region).Set(0)
	for _, result := range []string{resultOK, resultFailed, resultRefused} {
		m.probes.WithLabelValues(region, result)
	}
}

func (m *Metrics) probed(region, result string, state State) {
	if m == nil {
		return
	}
	m.probes.WithLabelValues(region, result).Inc()
	up := 0.0
	if state == Up {
		up = 1
	}
	m.up.WithLabelValues(region).Set(up)
}
