package sqlite_test

import (
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/journal/sqlite"
)

// counters reads what the journal's counters stand at.
func counters(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		if c := f.GetMetric()[0].GetCounter(); c != nil {
			values[f.GetName()] = c.GetValue()
		}
	}
	return values
}

// A writer that does not gather gets the first change into a transaction of its
// own where there is one processor: about half as many to a transaction in this test,
// and hardly more than one in a gateway. Only counts are judged here, never time.
func TestChangesThatWaitShareATransaction(t *testing.T) {
	for _, c := range []struct {
		procs, writers, writes int
		atLeast                float64
	}{
		{1, 16, 40, 12}, {1, 64, 15, 45},
		{2, 16, 40, 6}, {2, 64, 15, 24},
	} {
		t.Run(fmt.Sprintf("procs=%d/writers=%d", c.procs, c.writers), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.procs))
			reg := prometheus.NewRegistry()
			j := newWritable(t, sqlite.Config{Metrics: sqlite.NewMetrics(reg)})
			before := counters(t, reg)
			var writers sync.WaitGroup
			for w := range c.writers {
				writers.Go(func() {
					for i := range c.writes {
						if _, err := put(t, j, strconv.Itoa(w)+"-"+strconv.Itoa(i)); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			writers.Wait()
			after := counters(t, reg)
			changes := after["tandem_journal_changes_total"] - before["tandem_journal_changes_total"]
			commits := after["tandem_journal_commits_total"] - before["tandem_journal_commits_total"]
			if want := float64(2 * c.writers * c.writes); changes != want {
				t.Errorf("%v changes were counted, want %v", changes, want)
			}
			got := changes / commits
			t.Logf("%.1f changes for each transaction", got)
			if got < c.atLeast {
				t.Errorf("want at least %v", c.atLeast)
			}
		})
	}
}

func TestMetricsTellSuccessFromFailure(t *testing.T) {
	reg := prometheus.NewRegistry()
	j := newWritable(t, sqlite.Config{Metrics: sqlite.NewMetrics(reg)})
	if err := sqlite.FailCommits(j, 1); err != nil {
		t.Fatal(err)
	}
	before := counters(t, reg)
	if _, err := put(t, j, "k"); err == nil {
		t.Fatal("a commit that was made to fail did not")
	}
	if _, err := put(t, j, "k"); err != nil {
		t.Fatal(err)
	}
	after := counters(t, reg)
	for name, want := range map[string]float64{
		"tandem_journal_errors_total": 1, "tandem_journal_commits_total": 2, "tandem_journal_changes_total": 2,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s rose by %v, want %v", name, got, want)
		}
	}
}
