package sqlite

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the writer's transactions. A nil *Metrics counts nothing.
type Metrics struct {
	commits prometheus.Counter
	changes prometheus.Counter
	errors  prometheus.Counter
	seconds prometheus.Histogram
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tandem_journal_commits_total", Help: "Transactions that the journal wrote.",
		}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tandem_journal_changes_total", Help: "Changes in those transactions; more than one a transaction is group commit at work.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tandem_journal_errors_total", Help: "Transactions that failed.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tandem_journal_commit_seconds", Help: "Time of a transaction, the disk's included, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
	}
	reg.MustRegister(m.commits, m.changes, m.errors, m.seconds)
	return m
}

func (m *Metrics) observe(changes int, elapsed time.Duration, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.errors.Inc()
		return
	}
	m.commits.Inc()
	m.changes.Add(float64(changes))
	m.seconds.Observe(elapsed.Seconds())
}
