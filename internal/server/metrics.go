package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell of the listener's certificate. A nil *Metrics tells nothing.
type Metrics struct {
	expiry     prometheus.Gauge
	successful prometheus.Gauge
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tandem_tls_certificate_expiry_timestamp_seconds", Help: "When the certificate that is served expires.",
		}),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tandem_tls_certificate_last_reload_successful",
			Help: "1 while the certificate of TLS_CERT and TLS_KEY is served, 0 while those hold one that cannot be.",
		}),
	}
	reg.MustRegister(m.expiry, m.successful)
	return m
}

func (m *Metrics) expires(at time.Time) {
	if m != nil {
		m.expiry.Set(float64(at.Unix()))
	}
}

func (m *Metrics) reloaded(ok bool) {
	switch {
	case m == nil:
	case ok:
		m.successful.Set(1)
	default:
		m.successful.Set(0)
	}
}
