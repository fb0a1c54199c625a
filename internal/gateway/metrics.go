package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/region"
)

// Metrics counts what the gateway did. A nil *Metrics counts nothing.
type Metrics struct {
	writes     *prometheus.CounterVec
	fallbacks  *prometheus.CounterVec
	operations *prometheus.CounterVec
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
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_region_operations_total",
			Help: "Clients' operations that were taken to a region: read, write, delete, list.",
		}, []string{"region", "op"}),
	}
	reg.MustRegister(m.writes, m.fallbacks, m.operations)
	return m
}

// What is taken to a region, as the metrics name it.
const (
	opRead   = "read"
	opWrite  = "write"
	opDelete = "delete"
	opList   = "list"
)

// asked counts an operation for the region that it is taken to.
func (m *Metrics) asked(region, op string) {
	if m != nil {
		m.operations.WithLabelValues(region, op).Inc()
	}
}

// asks is asked, unless the region is down: then it is not asked.
func (m *Metrics) asks(r *region.Region, op string) {
	if r.Admit() == nil {
		m.asked(r.Name(), op)
	}
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
