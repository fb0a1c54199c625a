package app_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// hold keeps requests in a region until the test lets them go.
type hold struct {
	g *rig
	// arrived has the key and ordinal of each request that is being held.
	arrived chan int
	gates   []chan struct{}
}

// holdInA holds the requests of operations on a key, the nth behind gate n. before is
// whether they take effect before they are held, rather than when they are let go.
func (g *rig) holdInA(key string, n int, before bool, operations ...string) *hold {
	h := &hold{g: g, arrived: make(chan int, n)}
	for range n {
		h.gates = append(h.gates, make(chan struct{}))
	}
	var mu sync.Mutex
	count := 0
	g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Key != key || !slices.Contains(operations, q.Operation) {
			return regiontest.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		if count == n {
			return regiontest.Fault{}
		}
		count++
		h.arrived <- count - 1
		return regiontest.Fault{Hang: h.gates[count-1], Apply: before}
	})
	return h
}

// begin sends a request and returns once A is holding it.
func (h *hold) begin(send func() response) <-chan response {
	h.g.t.Helper()
	answer := make(chan response, 1)
	go func() { answer <- send() }()
	select {
	case <-h.arrived:
	case r := <-answer:
		h.g.t.Fatalf("answered before it was let go: %v", r)
	}
	return answer
}

// Two writes of one key are under way at once: whatever order the region gives them,
// both are acknowledged, and the key settles to what the region holds.
func TestOverlappingWritesSettleToWhatTheActiveHolds(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	put := func(key, data string) func() response { return func() response { return g.PUT(key, []byte(data)) } }
	remove := func(key string) func() response { return func() response { return g.DELETE(key) } }
	for _, c := range []struct {
		name          string
		first, second func(key string) func() response
		firstIsLast   bool // the first to arrive is applied last
		want          string
	}{
		{"puts in order", func(k string) func() response { return put(k, "one") }, func(k string) func() response { return put(k, "two") }, false, "two"},
		{"puts the other way round", func(k string) func() response { return put(k, "one") }, func(k string) func() response { return put(k, "two") }, true, "one"},
		{"put, then delete", func(k string) func() response { return put(k, "one") }, remove, false, ""},
		{"delete before put, begun after it", func(k string) func() response { return put(k, "one") }, remove, true, "one"},
		{"delete, then put", remove, func(k string) func() response { return put(k, "two") }, false, "two"},
		{"put before delete, begun after it", remove, func(k string) func() response { return put(k, "two") }, true, ""},
	} {
		for _, exists := range []bool{false, true} {
			key := fmt.Sprintf("%s/exists=%v", c.name, exists)
			if exists {
				g.put(key, "old")
				g.awaitSettled(key)
			}
			h := g.holdInA(key, 2, false, "PutObject", "DeleteObject")
			answers := []<-chan response{h.begin(c.first(key)), h.begin(c.second(key))}
			order := []int{0, 1}
			if c.firstIsLast {
				order = []int{1, 0}
			}
			for _, i := range order {
				close(h.gates[i])
				if r := <-answers[i]; r.Status != 201 && r.Status != 204 {
					t.Errorf("%s: write %d: got %v, want it acknowledged", key, i, r)
				}
			}
			g.awaitSettled(key)
			if s := g.status(key); s.Deleted != (c.want == "") {
				t.Errorf("%s: got %+v", key, s)
			}
			if c.want != "" {
				g.wantObject(key, c.want)
			} else if r := g.GET(key); r.Status != 404 {
				t.Errorf("%s: got %v, want 404", key, r)
			}
		}
	}
	g.awaitConverged()
}

// The answers of two writes come in another order than they were applied.
func TestOverlappingWritesWhoseAnswersAreSwapped(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, firstAnswered := range []int{0, 1} {
		key := fmt.Sprintf("k%d", firstAnswered)
		h := g.holdInA(key, 2, true, "PutObject")
		answers := []<-chan response{
			h.begin(func() response { return g.PUT(key, []byte("one")) }),
			h.begin(func() response { return g.PUT(key, []byte("two")) }),
		}
		// Both are applied by now or soon, in an order that only A knows.
		for _, i := range []int{firstAnswered, 1 - firstAnswered} {
			close(h.gates[i])
			if r := <-answers[i]; r.Status != 201 {
				t.Errorf("%s: write %d: got %v, want 201", key, i, r)
			}
		}
		g.awaitSettled(key)
		o, _ := g.A.Object(bucketA, key)
		g.wantObject(key, string(o.Data))
	}
	g.awaitConverged()
}

// A write in doubt lands after a newer write of its key was acknowledged. What the
// active holds is the truth, and both regions come to it.
func TestWriteThatLandsAfterANewerOne(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, c := range []struct{ first, second, want string }{
		{"put", "put", "first"}, {"put", "delete", "first"}, {"delete", "put", ""},
	} {
		for _, landsLast := range []bool{true, false} {
			key := fmt.Sprintf("%s, then %s, lands last: %v", c.first, c.second, landsLast)
			g.put(key, "old")
			g.awaitSettled(key)
			send := func(what, data string) response {
				if what == "delete" {
					return g.DELETE(key)
				}
				return g.PUT(key, []byte(data))
			}
			late := make(chan struct{})
			struck := false
			g.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
				isWrite := q.Operation == "PutObject" || q.Operation == "DeleteObject"
				if q.Key != key || !isWrite || struck {
					return regiontest.Fault{}
				}
				struck = true
				return regiontest.Fault{ApplyLater: late}
			})
			if r := send(c.first, "first"); r.Status != 503 {
				t.Errorf("%s: the first write: got %v, want 503", key, r)
			}
			want := c.want
			if !landsLast {
				close(late)
				g.A.WaitLate()
				want = map[string]string{"put": "second", "delete": ""}[c.second]
			}
			if r := send(c.second, "second"); r.Status != 201 && r.Status != 204 {
				t.Errorf("%s: the second write: got %v, want it acknowledged", key, r)
			}
			if landsLast {
				close(late)
				g.A.WaitLate()
			}
			g.awaitSettled(key)
			if want != "" {
				g.wantObject(key, want)
			} else if r := g.GET(key); r.Status != 404 {
				t.Errorf("%s: got %v, want 404", key, r)
			}
		}
	}
	g.awaitConverged()
}

// Many clients write a few keys at once: all is acknowledged, and both regions end
// with the same.
func TestManyWritersOfFewKeysConverge(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := range 12 {
				key := fmt.Sprintf("k%d", (c+i)%3)
				var r response
				switch (c + i) % 5 {
				case 0:
					r = g.DELETE(key)
				case 1:
					r = g.PUT(key, []byte(strings.Repeat(fmt.Sprintf("%d.%d ", c, i), 20_000)))
				default:
					r = g.PUT(key, fmt.Appendf(nil, "%d.%d", c, i))
				}
				if r.Status != 201 && r.Status != 204 {
					t.Errorf("write %d of client %d: got %v, want it acknowledged", i, c, r)
				}
			}
		})
	}
	clients.Wait()
	g.awaitSettled("k0", "k1", "k2")
	g.awaitConverged()
	for key := range objects(g.A, bucketA) {
		o, _ := g.A.Object(bucketA, key)
		g.wantObject(key, string(o.Data))
	}
}
