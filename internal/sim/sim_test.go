package sim

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds   = flag.Int("seeds", 40, "how many histories")
	start   = flag.Uint64("start", 1, "the first seed")
	showLog = flag.Bool("log", false, "show the gateway's log")
	show    = flag.Bool("history", false, "show each history, also of those that pass")
)

// tally adds up what came about over all histories.
type tally struct {
	mu        sync.Mutex
	counts    map[string]int
	histories int
	ops       int
}

func (y *tally) add(w *world) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.histories++
	for name, n := range w.counts {
		y.counts[name] += n
	}
}

func (y *tally) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(y.counts)) {
		fmt.Fprintf(&b, "\n%8d  %s", y.counts[name], name)
	}
	return b.String()
}

// TestEveryPromiseHoldsInEveryHistory runs -seeds histories from -start.
func TestEveryPromiseHoldsInEveryHistory(t *testing.T) {
	total := &tally{counts: make(map[string]int)}
	began := time.Now()
	next := make(chan uint64)
	var workers sync.WaitGroup
	t.Run("seeds", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() {
				for seed := range next {
					t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed, total) })
				}
			})
		}
		for seed := *start; seed < *start+uint64(*seeds); seed++ {
			next <- seed
		}
		close(next)
		workers.Wait()
	})
	elapsed := time.Since(began).Seconds()
	t.Logf("%d histories in %.1f s, %.1f a second:%s", total.histories, elapsed, float64(total.histories)/elapsed, total)
}

// history runs one.
func history(t *testing.T, seed uint64, total *tally) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		defer total.add(w)
		defer func() {
			if t.Failed() || *show {
				w.tell(os.Stderr)
			}
		}()
		w.begin()
		defer func() {
			w.bury(w.current())
			w.current().die()
		}()
		w.weather()
		o := &operator{w: w, random: chance(seed, "operator"), saved: make(map[*site]*saved)}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			o.run(stop)
		}()
		var running sync.WaitGroup
		for i := range clients {
			name := fmt.Sprintf("c%d", i)
			running.Go(func() { (&client{w: w, name: name, random: chance(seed, name), seen: make(map[string]string)}).run() })
		}
		running.Wait()
		close(stop)
		<-stopped
		w.heal()
		w.rest()
		w.judge()
	})
}

// weather is what the seed begins with.
func (w *world) weather() {
	r := chance(w.seed, "weather")
	for _, s := range w.sites {
		s.set(r.IntN(15))
	}
	w.journalPercent.Store(int64(r.IntN(6)))
}

// tell writes the history down, and the audit chain after it.
func (w *world) tell(to io.Writer) {
	fmt.Fprintf(to, "history of seed %d:\n%s\n", w.seed, strings.Join(w.events, "\n"))
	for _, l := range w.chain {
		fmt.Fprintf(to, "audit %d %9.3f %s %s %s %s %s %s\n", l.Index, l.At.Sub(w.began).Seconds(), l.Action, l.Key, l.Version, l.Region, l.Actor, l.Detail)
	}
}
