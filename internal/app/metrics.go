package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/gnew/tandem/internal/journal"
)

// countTimeout bounds the wait of a scrape for a count of the journal's rows.
const countTimeout = time.Second

// stateCollector tells what an operator has to look after and no event counts: it is in the gateway's view, or in the
// journal's rows. Scrapes at the same time share one count of those; one that takes too long is left out.
type stateCollector struct {
	version string
	regions func() []string
	// compared and regressed have the regions of which that is true.
	compared, regressed func() map[string]bool
	counts              func(context.Context) (journal.Counts, error)

	scrapes singleflight.Group
}

var (
	buildInfo     = prometheus.NewDesc("tandem_build_info", "1, with the version that runs.", []string{"version"}, nil)
	compared      = prometheus.NewDesc("tandem_region_compared", "1 while the index knows every key in the region; with 0, its lag is not all that it lacks.", []string{"region"}, nil)
	regressed     = prometheus.NewDesc("tandem_region_regressed", "1 while the region, which came back older than it was, is verified.", []string{"region"}, nil)
	doubtful      = prometheus.NewDesc("tandem_in_doubt_writes", "Writes of which nobody knows yet whether they were applied.", nil, nil)
	openEntries   = prometheus.NewDesc("tandem_open_ledger_entries", "Writes that promotions put at risk or left in doubt, and that are not closed yet.", nil, nil)
	openConflicts = prometheus.NewDesc("tandem_open_conflicts", "Conflicts that nobody has decided.", nil, nil)
	journalSize   = prometheus.NewDesc("tandem_journal_bytes", "Size of the journal on disk, its log of changes included.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, compared, regressed, doubtful, openEntries, openConflicts, journalSize} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(buildInfo, 1, s.version)
	areCompared, areRegressed := s.compared(), s.regressed()
	for _, name := range s.regions() {
		gauge(compared, oneIf(areCompared[name]), name)
		gauge(regressed, oneIf(areRegressed[name]), name)
	}
	counts, err, _ := s.scrapes.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
		defer cancel()
		return s.counts(ctx)
	})
	if err != nil {
		return // as with the lag: what is not known is not told
	}
	rows := counts.(journal.Counts)
	gauge(doubtful, float64(rows.InDoubt))
	gauge(openEntries, float64(rows.Ledger))
	gauge(openConflicts, float64(rows.Conflicts))
	gauge(journalSize, float64(rows.DatabaseBytes+rows.WALBytes))
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
