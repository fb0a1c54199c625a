package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The variables that say how much is done, and which faults are drawn.
const (
	roundsVariable = "TANDEM_TORTURE_ROUNDS"
	seedVariable   = "TANDEM_TORTURE_SEED"
)

const (
	// roundsOfALife is how long one gateway's data are kept, with one history.
	roundsOfALife   = 5
	tortureClients  = 16
	keysOfAClient   = 3
	keysOfAll       = 2
	roomBytes       = 48 * mib
	tortureInterval = 10 * time.Millisecond
)

// More names of what is counted.
const (
	rounds           = "rounds"
	acknowledgements = "writes acknowledged"
	refusals         = "writes refused"
	unansweredWrites = "writes unanswered"
	foundLater       = "writes unanswered and found to be a key's last, after the round"
	lateOverNewer    = "writes unanswered that landed over a later acknowledged one"
	answeredReads    = "reads checked"
	unansweredReads  = "reads without an answer"
	comparisons      = "keys compared in both regions"
	conflictsKept    = "losers of conflicts checked"
	atRiskEntries    = "ledger entries at risk"
	inDoubtEntries   = "ledger entries in doubt"
	claimsLeft       = "held back for minutes: copies still claimed"
	repairsLeft      = "held back for minutes: repairs and keepings that were cut"
	lateCopiesLeft   = "held back for minutes: copies after a repair that was cut"
	slowRounds       = "rounds that did not come to rest within 20 seconds"
)

// tortureSettings are those of the failover tests: everything in milliseconds. A write in doubt is
// open for six seconds at most.
var tortureSettings = []string{
	"LOG_FORMAT=text", "LOG_LEVEL=debug", "DRAIN_TIMEOUT=10s",
	"HEALTH_INTERVAL=100ms", "HEALTH_TIMEOUT=400ms", "HEALTH_FAILURES=2", "HEALTH_RECOVERIES=2", "FAILOVER_HOLD_DOWN=0s",
	"MARK_INTERVAL=200ms", "REPLICATION_WORKERS=2", "DOUBT_WINDOW=5s", "REGION_TIMEOUT=500ms",
}

// tally counts over all lives.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (y *tally) add(name string, n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.counts[name] += n
}

func (y *tally) of(name string) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.counts[name]
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(y.counts)) {
		fmt.Fprintf(&b, "%8d  %s\n", y.counts[name], name)
	}
	return b.String()
}

// number reads a variable of the environment.
func number(t *testing.T, name string, without uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestTorture: under load, whatever is killed, stopped, kept away, promoted or filled, and
// whenever: what was acknowledged is what is read and what both regions hold, what was deleted stays
// deleted, what was refused was not done, the losers of conflicts are kept, and nothing is lost.
func TestTorture(t *testing.T) {
	t.Parallel()
	n, seed := number(t, roundsVariable, 20), number(t, seedVariable, 1)
	y := &tally{counts: make(map[string]int)}
	began := time.Now()
	t.Run("life", func(t *testing.T) {
		for i := 0; uint64(i*roundsOfALife) < n; i++ {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				l := newLife(t, i, seed, y)
				for round := i * roundsOfALife; round < min((i+1)*roundsOfALife, int(n)) && !t.Failed(); round++ {
					l.round(round)
				}
				l.end()
			})
		}
	})
	t.Logf("seed %d, %s\n%s", seed, time.Since(began).Round(time.Second), y)
	if n >= 20 && !t.Failed() {
		y.checkThatMuchHappened(t)
	}
}

// checkThatMuchHappened: a run in which a fault never struck, or nothing was compared, proves
// nothing.
func (y *tally) checkThatMuchHappened(t *testing.T) {
	t.Helper()
	for _, f := range faults() {
		if f.name != promoted && y.of(f.name) == 0 {
			t.Errorf("%s: never", f.name)
		}
	}
	for _, much := range []struct {
		least int
		names []string
	}{
		{500, []string{acknowledgements}}, {10, []string{unansweredWrites}}, {10, []string{refusals}}, {1, []string{foundLater}},
		{200, []string{answeredReads}}, {500, []string{comparisons}}, {1, []string{conflictsKept}},
		{2, []string{promoted, promotedItself}}, {1, []string{atRiskEntries}}, {1, []string{inDoubtEntries}},
		{1, []string{guardRefusals, fullRefusals, failedStarts}},
	} {
		got := 0
		for _, name := range much.names {
			got += y.of(name)
		}
		if got < much.least {
			t.Errorf("%s: %d, want %d at least", strings.Join(much.names, " and "), got, much.least)
		}
	}
}

// ending is who had a gateway's process end.
type ending int

const (
	byItself ending = iota
	byKill
	byOperator
)

// life is one gateway with its data through some rounds. Everything but the clients is done by
// the test's goroutine.
type life struct {
	t       *testing.T
	g       *gateway
	room    *room
	random  *rand.Rand
	seed    uint64
	tally   *tally
	history *history
	// url is that of the present gateway, or of the last.
	url    atomic.Pointer[string]
	events []event
	notes  []string
	// endings are those of the gateways that were had to end; asked are requests that go on
	// beside the plan.
	endings map[*process]ending
	asked   sync.WaitGroup
	// full: the disk is; wasFull: it was since the last gateway began to start.
	full, wasFull bool
	clients       []*tortured
	keys          []string
	// epoch is the last whose promotion was counted.
	epoch int64
}

// newLife makes a gateway with an empty history. Of four lives two promote by themselves, and two
// meet a full disk before the guard does.
func newLife(t *testing.T, number int, seed uint64, y *tally) *life {
	t.Helper()
	settings := slices.Clone(tortureSettings)
	if number%2 == 0 {
		settings = append(settings, "FAILOVER_MODE=auto")
	} else {
		settings = append(settings, "FAILOVER_MODE=manual")
	}
	if number/2%2 == 0 {
		settings = append(settings, "MIN_FREE_BYTES=0")
	} else {
		settings = append(settings, "MIN_FREE_BYTES=8MiB")
	}
	l := &life{
		t: t, g: newGateway(t, settings...), seed: seed, tally: y, history: newHistory(), endings: make(map[*process]ending), epoch: 1,
		random: rand.New(rand.NewPCG(seed, uint64(number))),
	}
	l.g.env = append(l.g.env, "DATA_DIR="+l.g.dir+"/data")
	l.room = newRoom(t, l.g.dir, roomBytes)
	t.Cleanup(l.readLogs)
	none := "http://127.0.0.1:1"
	l.url.Store(&none)
	for i := range keysOfAll {
		l.keys = append(l.keys, fmt.Sprintf("torture/all/%d", i))
	}
	for i := range tortureClients {
		own := slices.Clone(l.keys[:keysOfAll])
		for k := range keysOfAClient {
			own = append(own, fmt.Sprintf("torture/%02d/%d", i, k))
		}
		l.keys = append(l.keys, own[keysOfAll:]...)
		l.clients = append(l.clients, &tortured{life: l, id: i, random: rand.New(rand.NewPCG(seed, uint64(1000*(number+1)+i))), keys: own})
	}
	l.launch()
	l.awaitServing()
	l.g.waitCompared(t)
	return l
}

// launch starts a gateway in the room, and returns at once. Its URL is known once it serves.
func (l *life) launch() {
	p := &process{cmd: l.room.command("serve"), ended: make(chan struct{})}
	p.cmd.Dir = l.g.dir
	p.cmd.Env = slices.Concat([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.g.dir, "AWS_EC2_METADATA_DISABLED=true", "PORT=0", "S3_PORT=0",
	}, l.g.env)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &l.g.logs
	l.wasFull = l.full
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.g.process = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	go l.publish(p)
}

// publish tells the clients where a gateway serves.
func (l *life) publish(p *process) {
	tick := time.NewTicker(tortureInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-tick.C:
		}
		if url := p.url(); url != "" {
			l.url.Store(&url)
			return
		}
	}
}

// url is where a process serves, "" until it does.
func (p *process) url() string {
	_, rest, _ := strings.Cut(p.stdout.String(), "Tandem serves ")
	url, _, whole := strings.Cut(rest, "\n")
	if !whole {
		return ""
	}
	return url
}

// awaitServing waits until a gateway serves. It starts another where the last one was made to
// end; one that ends by itself may only do so because it found no room to start.
func (l *life) awaitServing() {
	eventually(l.t, "a gateway serves", func() bool {
		p := l.running()
		if p == nil {
			l.checkEnding(l.g.process)
			l.launch()
			return false
		}
		l.g.url = p.url()
		return l.g.url != "" && *l.url.Load() == l.g.url && l.endings[p] == byItself
	})
}

// checkEnding: a gateway ends only when it is made to, or did not start.
func (l *life) checkEnding(p *process) {
	switch {
	case p == nil || l.endings[p] == byKill:
	case l.endings[p] == byOperator && p.err == nil:
	case p.url() == "" && l.wasFull:
		l.tally.add(failedStarts, 1)
	default:
		l.t.Errorf("the gateway ended by itself, or not well: %v", p.err)
	}
}

// round has the clients at work while its faults strike, lets everything come to rest, and
// compares.
func (l *life) round(number int) {
	l.note("round %d", number)
	ctx, stop := context.WithCancel(l.t.Context())
	defer stop()
	var group sync.WaitGroup
	for _, c := range l.clients {
		group.Go(func() { c.run(ctx) })
	}
	l.plan(number)
	l.play()
	l.awaitServing()
	l.after(l.between(100*time.Millisecond, 500*time.Millisecond), func() {}) // writes go on for a while
	l.play()
	stop()
	group.Wait()
	l.asked.Wait()
	l.awaitServing()
	l.check(number)
	l.tally.add(rounds, 1)
}

// end stops the gateway, which must end well.
func (l *life) end() {
	if l.running() == nil {
		return
	}
	verified := l.room.command("audit", "verify")
	verified.Env = slices.Concat([]string{"HOME=" + l.g.dir}, l.g.env)
	if out, err := verified.CombinedOutput(); err != nil {
		l.t.Errorf("audit verify: %v: %s", err, out)
	}
	l.g.stop(l.t)
}

var settledLine = regexp.MustCompile(`msg="key settled" decision=(\S+) intents=(\d+)`)

// readLogs counts what the gateways said of writes in doubt, and keeps the log of a failure.
func (l *life) readLogs() {
	logs := l.g.logs.String()
	for _, found := range settledLine.FindAllStringSubmatch(logs, -1) {
		if found[2] != "0" {
			l.tally.add("keys with writes in doubt settled: "+found[1], 1)
		}
	}
	l.tally.add("writes that a gateway said were in doubt", strings.Count(logs, `msg="write in doubt"`))
	if l.t.Failed() {
		if err := os.WriteFile(filepath.Join(l.t.ArtifactDir(), "gateway.log"), []byte(logs), 0o600); err != nil {
			l.t.Error(err)
		}
		copyTree(l.t, l.room.data+"/.", l.t.ArtifactDir())
	}
}
