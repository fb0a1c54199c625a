package app_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// chaos is what goes wrong in a region, at random.
type chaos struct {
	mu     sync.Mutex
	random *rand.Rand
	// percent of the requests that something happens to.
	percent int
	// late are the operations that land when they are let go, and within the doubt window;
	// those that are not are lost.
	late []lateOperation
}

type lateOperation struct {
	until time.Time
	land  chan struct{}
}

// The doubt window of these tests, and how late an operation may land.
const (
	doubtWindow = time.Second
	latest      = 700 * time.Millisecond
)

func newChaos(seed, region uint64) *chaos {
	return &chaos{random: rand.New(rand.NewPCG(seed, region))}
}

func (c *chaos) set(percent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.percent = percent
}

// land lets go the operations that are late: one of three, or all.
func (c *chaos) land(all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = slices.DeleteFunc(c.late, func(l lateOperation) bool {
		if !all && c.random.IntN(3) > 0 {
			return false
		}
		if time.Now().Before(l.until) {
			close(l.land)
		}
		return true
	})
}

func (c *chaos) rule(q regiontest.Request) regiontest.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.Operation == "HeadBucket" || c.random.IntN(100) >= c.percent {
		return regiontest.Fault{}
	}
	isWrite := slices.Contains([]string{"PutObject", "DeleteObject", "CompleteMultipartUpload"}, q.Operation)
	switch c.random.IntN(6) {
	case 0:
		return regiontest.Fault{Code: "SlowDown"}
	case 1:
		return regiontest.Fault{Code: "InternalError"}
	case 2:
		return regiontest.Fault{CutBefore: true}
	case 3:
		return regiontest.Fault{CutBefore: true, Apply: true}
	case 4:
		return regiontest.Fault{Code: "InternalError", Apply: true}
	}
	if !isWrite {
		return regiontest.Fault{Code: "SlowDown"}
	}
	l := lateOperation{time.Now().Add(latest), make(chan struct{})}
	c.late = append(c.late, l)
	return regiontest.Fault{ApplyLater: l.land}
}

// attempt is one write of a key, by its only client. A delete has an empty body.
type attempt struct {
	body    string
	version string // "" where it was not acknowledged
	answer  response
}

// client writes a few keys, one write after the other.
type client struct {
	g        *rig
	gate     *sync.RWMutex // held while the gateway is restarted
	ops      *atomic.Int64
	random   *rand.Rand
	keys     []string
	attempts map[string][]attempt
}

func (c *client) run(stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		c.gate.RLock()
		c.step(c.keys[c.random.IntN(len(c.keys))], n)
		c.gate.RUnlock()
		c.ops.Add(1)
	}
}

func (c *client) step(key string, n int) {
	switch c.random.IntN(10) {
	case 0, 1:
		c.write(key, "", c.g.DELETE(key))
	case 2, 3:
		body := key + " again " + strconv.Itoa(c.random.IntN(2))
		c.write(key, body, c.g.PUT(key, []byte(body)))
	case 4, 5:
		body := fmt.Sprintf("%s %d", key, n)
		c.write(key, body, c.g.PUT(key, []byte(body)))
	default:
		c.read(key)
	}
}

func (c *client) write(key, body string, r response) {
	a := attempt{body: body, answer: r}
	switch {
	case r.Status == 201:
		a.version = decode[written](c.g.t, r).Version
	case r.Status == 204:
		a.version = r.Header.Get("X-Tandem-Version")
		if a.version == "" {
			a.version = "a delete"
		}
	case r.Status == 503 || r.err != nil:
		if strings.Contains(string(r.Body), "nothing was written") {
			return // that is a promise
		}
	default:
		c.g.t.Errorf("write of %q: got %v", key, r)
	}
	c.attempts[key] = append(c.attempts[key], a)
}

// permitted are what the key may be: what was acknowledged last, or what never was.
func (c *client) permitted(key string) []string {
	last := "" // it never was
	var bodies []string
	for _, a := range c.attempts[key] {
		if a.version != "" {
			last = a.body
		} else {
			bodies = append(bodies, a.body)
		}
	}
	return append(bodies, last)
}

func (c *client) read(key string) {
	r := c.g.GET(key)
	got := string(r.Body)
	switch {
	case r.err != nil || r.Status == 503 || r.Status == 200 && r.Header.Get("X-Tandem-Freshness") == "stale":
		return
	case r.Status == 404:
		got = ""
	case r.Status != 200:
		c.g.t.Errorf("read of %q: got %v", key, r)
		return
	}
	if permitted := c.permitted(key); !slices.Contains(permitted, got) {
		c.g.t.Errorf("%s: %q reads as %d %q (%v), want the last acknowledged, or one that was not: %q; %+v; history %s",
			time.Now().Format("05.000"), key, r.Status, got, r.Header, permitted, c.g.status(key), c.history(key))
	}
}

func (c *client) history(key string) string {
	var b strings.Builder
	for _, a := range c.attempts[key] {
		fmt.Fprintf(&b, "\n  %q %s", a.body, a.version)
		if a.version == "" {
			fmt.Fprintf(&b, "%.200s", a.answer)
		}
	}
	return b.String()
}

// TestRandomHistoriesKeepEveryPromise: clients write and read while regions fail, flap, lose
// answers and apply late, and while one after the other is promoted. Whatever was acknowledged
// last is what is read, and once all is well, both regions hold it and every ledger is closed.
func TestRandomHistoriesKeepEveryPromise(t *testing.T) {
	t.Parallel()
	seeds, first := 4, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("TANDEM_SEEDS")); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("TANDEM_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	for i := range seeds {
		seed := first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { randomHistory(t, seed) })
	}
}

const (
	historyClients = 4
	historySteps   = 20
	opsPerStep     = 12
)

func randomHistory(t *testing.T, seed uint64) {
	var o options
	switch seed % 5 {
	case 3:
		o.a.IgnoreConditions = true
	case 4:
		o.b.NoConditions = true
	}
	o.env = map[string]string{"REGION_TIMEOUT": "300ms", "DOUBT_WINDOW": doubtWindow.String()}
	g := newPair(t, o)
	random := rand.New(rand.NewPCG(seed, 0))
	a, b := newChaos(seed, 1), newChaos(seed, 2)
	a.set(random.IntN(10))
	b.set(random.IntN(10))
	g.A.SetFaults(a.rule)
	g.B.SetFaults(b.rule)
	var gate sync.RWMutex
	var ops atomic.Int64
	var clients []*client
	for n := range historyClients {
		c := &client{
			g: g, gate: &gate, ops: &ops, random: rand.New(rand.NewPCG(seed, uint64(10+n))), attempts: make(map[string][]attempt),
			keys: []string{fmt.Sprintf("k%d/a", n), fmt.Sprintf("k%d/b", n)},
		}
		clients = append(clients, c)
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() { c.run(stop) })
	}
	for range historySteps {
		h := [...]*chaos{a, b}[random.IntN(2)]
		s, name := g.A, "primary"
		if h == b {
			s, name = g.B, "secondary"
		}
		action := ""
		switch random.IntN(10) {
		case 0, 1, 2:
			action = "promote " + name
			r := g.promote(promotion{Region: name, Force: random.IntN(2) == 0})
			action += " " + strconv.Itoa(r.Status)
		case 3:
			action = name + " down"
			s.SetDown(true)
		case 4, 5:
			action = "both up"
			g.A.SetDown(false)
			g.B.SetDown(false)
		case 6:
			h.set(10 + random.IntN(40))
			action = name + " fails often"
		case 7:
			action = "all answer"
			a.set(0)
			b.set(0)
		case 8:
			action = "late ones land in " + name
			h.land(false)
		case 9:
			action = "restart"
			gate.Lock()
			g.restart(nil)
			gate.Unlock()
		}
		t.Logf("%s %s; op %d", time.Now().Format("05.000"), action, ops.Load())
		for until := ops.Load() + opsPerStep; ops.Load() < until; {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	running.Wait()
	a.set(0)
	b.set(0)
	a.land(true)
	b.land(true)
	g.up("primary")
	g.up("secondary")
	g.awaitClosed()
	for _, c := range clients {
		for _, key := range c.keys {
			r := g.GET(key)
			got := string(r.Body)
			if r.Status == 404 {
				got = ""
			}
			if (r.Status != 200 && r.Status != 404) || !slices.Contains(c.permitted(key), got) {
				var entries []ledgerEntry
				for _, f := range g.failovers() {
					entries = append(entries, g.entriesOf(f.Epoch, key)...)
				}
				t.Errorf("%q is %d %q in the end, want one of %q; %+v; ledger %v; conflicts %+v; history %s", key, r.Status, got, c.permitted(key),
					g.status(key), entries, g.conflicts(key), c.history(key))
			}
		}
	}
	wantKeptBytes(t, g)
}

// wantKeptBytes checks that what is kept of each loser is what it was.
func wantKeptBytes(t *testing.T, g *rig) {
	t.Helper()
	for _, c := range g.conflicts("") {
		if c.Deleted || c.State != "kept" {
			continue
		}
		data := bytesOf(g.A, bucketA, c.KeptKey)
		if sum := md5.Sum([]byte(data)); hex.EncodeToString(sum[:]) != c.ETag {
			t.Errorf("%+v keeps %q", c, data)
		}
	}
}
