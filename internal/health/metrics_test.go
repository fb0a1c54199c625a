package health_test

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/health"
)

// scrape returns all values by metric and labels.
func scrape(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			series := []string{family.GetName()}
			for _, label := range m.GetLabel() {
				series = append(series, label.GetValue())
			}
			values[strings.Join(series, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

func TestMetricsSayWhichRegionIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		b := newRegion("b", hangs)
		r := run(t, health.Config{Regions: []health.Region{b}, Metrics: health.NewMetrics(registry)}, ok)
		want := map[string]float64{
			"tandem_region_up a": 1, "tandem_region_up b": 0,
			"tandem_region_probes_total a ok": 1, "tandem_region_probes_total a failed": 0, "tandem_region_probes_total a refused": 0,
			"tandem_region_probes_total b ok": 0, "tandem_region_probes_total b failed": 0, "tandem_region_probes_total b refused": 0,
		}
		if got := scrape(t, registry); !maps.Equal(got, want) {
			t.Errorf("after the first probe: got %v, want %v", got, want)
		}
		r.probeAll(ok, status(403, ""))
		want["tandem_region_probes_total a ok"], want["tandem_region_probes_total a refused"] = 2, 1
		if got := scrape(t, registry); !maps.Equal(got, want) {
			t.Errorf("denied: got %v, want %v", got, want)
		}
		r.probeAll(fails, fails, fails)
		want["tandem_region_up a"], want["tandem_region_probes_total a failed"] = 0, 3
		if got := scrape(t, registry); !maps.Equal(got, want) {
			t.Errorf("down: got %v, want %v", got, want)
		}
	})
}
