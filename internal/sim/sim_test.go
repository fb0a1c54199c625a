package sim

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds   = flag.Int("seeds", 24, "how many histories")
	lasting = flag.Duration("for", 0, "as many histories as fit into this time, in place of -seeds")
	start   = flag.Uint64("start", 1, "the first seed")
	showLog = flag.Bool("log", false, "show the gateway's log")
	show    = flag.Bool("history", false, "show each history, also of those that pass")
)

// tally adds up what came about over all histories.
type tally struct {
	mu        sync.Mutex
	counts    map[string]int
	histories int
	failed    []uint64
}

func (y *tally) add(w *world) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.histories++
	if w.t.Failed() {
		y.failed = append(y.failed, w.seed)
	}
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

// enough is how often each fault has to come about, and each promise to be checked, in a run of so many
// histories that this can be asked for.
const (
	enough      = 100
	ofHistories = 2000
)

// check: a promise that nothing tried to break was not tested.
func (y *tally) check(t *testing.T) {
	if y.counts[operations] < 200*y.histories {
		t.Errorf("%d operations in %d histories, want 200 in each", y.counts[operations], y.histories)
	}
	if y.counts[operationsOfS3] < 50*y.histories {
		t.Errorf("%d of them through the S3 API, want 50 in each history", y.counts[operationsOfS3])
	}
	least := enough
	if y.histories < ofHistories {
		t.Logf("that every fault comes about %d times is asserted from %d histories on", enough, ofHistories)
		least = 0
	}
	for _, name := range slices.Concat(faultKinds, promises) {
		if y.counts[name] < least {
			t.Errorf("%q: %d times, want %d", name, y.counts[name], least)
		}
	}
	for name := range y.counts {
		if name != operations && name != operationsOfS3 && !slices.Contains(faultKinds, name) && !slices.Contains(promises, name) {
			t.Errorf("%q is counted, and no fault or promise of the lists", name)
		}
	}
}

// known are the seeds of testdata/seeds.txt: each has found something.
func known(t *testing.T) (list []uint64) {
	data, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		text, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if text == "" || text == "#" {
			continue
		}
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("testdata/seeds.txt: %v", err)
		}
		list = append(list, seed)
	}
	return list
}

// chosen gives the seeds that the flags ask for.
func chosen(give func(seed uint64)) {
	began := time.Now()
	for seed := *start; ; seed++ {
		if *lasting > 0 && time.Since(began) > *lasting || *lasting == 0 && seed >= *start+uint64(*seeds) {
			return
		}
		give(seed)
	}
}

// TestEveryPromiseHoldsInEveryHistory runs -seeds histories from -start, or as many as fit into -for.
func TestEveryPromiseHoldsInEveryHistory(t *testing.T) {
	t.Parallel()
	total := runAll(t, chosen)
	total.check(t)
}

// TestSeedsThatFoundSomethingFindNothing runs those of testdata/seeds.txt again.
func TestSeedsThatFoundSomethingFindNothing(t *testing.T) {
	t.Parallel()
	runAll(t, func(give func(uint64)) {
		for _, seed := range known(t) {
			give(seed)
		}
	})
}

func runAll(t *testing.T, choose func(give func(seed uint64))) *tally {
	total := &tally{counts: make(map[string]int)}
	began := time.Now()
	next := make(chan uint64)
	t.Run("seeds", func(t *testing.T) {
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() {
				for seed := range next {
					t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed, total) })
				}
			})
		}
		choose(func(seed uint64) { next <- seed })
		close(next)
		workers.Wait()
	})
	elapsed := time.Since(began).Seconds()
	t.Logf("%d histories in %.1f s, %.1f a second; failed: %v%s", total.histories, elapsed, float64(total.histories)/elapsed, total.failed, total)
	if len(total.failed) > 0 {
		t.Logf("add these seeds to testdata/seeds.txt, each with what it has found: %v", total.failed)
	}
	return total
}

// history runs one.
func history(t *testing.T, seed uint64, total *tally) {
	inBubble(t, func(t *testing.T) {
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
		if w.hasUploads() {
			running.Go(func() {
				(&client{w: w, name: "uploader", random: chance(seed, "uploader"), seen: make(map[string]string)}).uploads()
			})
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
