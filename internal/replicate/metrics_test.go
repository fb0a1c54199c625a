package replicate_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/replicate"
)

// lagFunc answers for the index.
type lagFunc func(ctx context.Context, region string) (journal.Lag, error)

func (f lagFunc) Lag(ctx context.Context, _, region string) (journal.Lag, error) {
	return f(ctx, region)
}

// scrape returns the values of a metric by region.
func scrape(t *testing.T, registry *prometheus.Registry, metric string) map[string]float64 {
	families, err := registry.Gather()
	if err != nil {
		t.Errorf("scrape: %v", err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == metric {
				values[m.GetLabel()[1].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return values
}

// A region of which the lag cannot be told in time costs a scrape that region, and
// little time.
func TestScrapeLeavesOutARegionWhoseLagIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		index := lagFunc(func(ctx context.Context, region string) (journal.Lag, error) {
			if region == "slow" {
				<-ctx.Done()
				return journal.Lag{}, ctx.Err()
			}
			return journal.Lag{Keys: 3, OldestPending: time.Now().Add(-time.Minute)}, nil
		})
		registry.MustRegister(&replicate.LagCollector{Journal: index, Buckets: []replicate.LaggingBucket{{Name: "bucket", Regions: []string{"slow", "sound"}}}})
		began := time.Now()
		got := scrape(t, registry, "tandem_pending_keys")
		if took := time.Since(began); len(got) != 1 || got["sound"] != 3 || took > time.Second {
			t.Errorf("got %v after %v, want 3 keys of the sound region alone within a second", got, took)
		}
		if got := scrape(t, registry, "tandem_lag_seconds"); got["sound"] != 60 {
			t.Errorf("got %v, want a lag of 60 s", got)
		}
	})
}

// However many ask, the index computes one lag at a time, and all get an answer.
func TestScrapesShareOneLookIntoTheIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		var underWay, asked atomic.Int32
		index := lagFunc(func(context.Context, string) (journal.Lag, error) {
			if asked.Add(1); underWay.Add(1) > 1 {
				t.Error("two lags are computed at once")
			}
			time.Sleep(time.Second / 2)
			underWay.Add(-1)
			return journal.Lag{Keys: 1}, nil
		})
		regions := []string{"a", "b"}
		registry.MustRegister(&replicate.LagCollector{Journal: index, Buckets: []replicate.LaggingBucket{{Name: "bucket", Regions: regions}}})
		var scrapes sync.WaitGroup
		for range 10 {
			scrapes.Go(func() {
				if got := scrape(t, registry, "tandem_pending_keys"); len(got) != len(regions) {
					t.Errorf("got %v, want one of each region", got)
				}
			})
		}
		scrapes.Wait()
		if n := int(asked.Load()); n != len(regions) {
			t.Errorf("the index was asked %d times, want once for each of %v", n, regions)
		}
	})
}
