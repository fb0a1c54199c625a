package failover_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// twoBuckets gives the rig a second bucket, which b does not have.
func twoBuckets(t *testing.T, g *rig) {
	t.Helper()
	second := failover.Bucket{Name: "second"}
	for _, name := range []string{"a", "c"} {
		g.servers["second in "+name] = regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
		second.Regions = append(second.Regions, newRegion(t, name, g.servers["second in "+name]))
	}
	g.cfg.Buckets = append(g.cfg.Buckets, second)
	g.build()
}

func TestARegionThatLacksABucketIsNeverPromoted(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		twoBuckets(t, g)
		for _, force := range []bool{false, true} {
			_, err := g.promote(failover.Request{Region: "b", Force: force})
			if got := refusal(err); !slices.Equal(got, []string{"b lacks-bucket"}) {
				t.Errorf("force %t: got %v, want it refused", force, err)
			}
		}
		g.health.set("a", down())
		g.run()
		g.want("c", 2)
	})
}

func TestACanaryIsWrittenInEveryBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		twoBuckets(t, g)
		g.servers["second in c"].SetDown(true)
		_, err := g.promote(failover.Request{Region: "c"})
		if got := refusal(err); !slices.Equal(got, []string{"c not-writable"}) {
			t.Errorf("got %v, want it refused", err)
		}
	})
}

func TestAReplicaLagsAsItsWorstBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		twoBuckets(t, g)
		g.cfg.Buckets[1].Regions = append(g.cfg.Buckets[1].Regions, newRegion(t, "b", g.servers["b"]))
		g.build()
		old := time.Now().Add(-time.Hour)
		g.journal.set(func(j *fakeJournal) {
			j.lags["b"] = journal.Lag{Keys: 1, OldestPending: time.Now()}
			j.lags["second b"] = journal.Lag{Keys: 1, OldestPending: old}
			j.lags["c"] = journal.Lag{Keys: 9, OldestPending: old.Add(time.Minute)}
		})
		if result, err := g.promote(failover.Request{}); err != nil || result.To != "c" {
			t.Errorf("got %+v, %v, want c, whose oldest copy is younger than that of b's second bucket", result, err)
		}
	})
}
