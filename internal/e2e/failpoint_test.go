package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/failpoint"
)

// failpointVariable names the failpoint at which a test build dies.
const failpointVariable = "TANDEM_FAILPOINT"

// The settings of crash tests: an intent is resolved within twice the region's
// time-out (twenty times for an upload in parts) and the doubt window.
const (
	crashRegionTimeout = time.Second
	crashDoubtWindow   = 500 * time.Millisecond
	// resolveTime is the longest of these, with a margin for a busy machine.
	resolveTime = 20*crashRegionTimeout + crashDoubtWindow + 10*time.Second
)

func crashSettings() []string {
	return []string{"REGION_TIMEOUT=" + crashRegionTimeout.String(), "DOUBT_WINDOW=" + crashDoubtWindow.String()}
}

// change is a write on which the gateway is to die.
type change struct {
	key    string
	method string
	body   content
	size   int64 // as it is told
	// before is what the key holds before, nil for nothing; after is what it holds if
	// the write was applied.
	before, after *content
}

func changes() []change {
	old := &content{seed: 100, size: 10 * kib}
	put := func(key string, c content, size int64, before *content) change {
		return change{key, http.MethodPut, c, size, before, &c}
	}
	return []change{
		put("small put", content{1, kib}, kib, nil),
		put("streamed put", content{2, mib}, mib, nil),
		put("chunked put", content{3, 20 * mib}, unsized(20*mib), nil),
		put("small overwrite", content{4, 2 * kib}, 2*kib, old),
		put("streamed overwrite", content{5, mib}, mib, old),
		put("chunked overwrite", content{6, 20 * mib}, unsized(20*mib), old),
		put("same again", *old, old.size, old),
		{"delete", http.MethodDelete, content{}, 0, old, nil},
		{"delete of nothing", http.MethodDelete, content{}, 0, nil, nil},
	}
}

// TestCrashAtEachStepOfAWrite kills the gateway at each step between a write's intent
// and its answer, for each kind of write, one after the other in one folder. Started
// again, it has every acknowledged write, has each unacknowledged one whole or not at
// all, as the step says, and resolves every intent within its window.
func TestCrashAtEachStepOfAWrite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		point   string
		applied bool
	}{
		{failpoint.BeforeIntent, false},
		{failpoint.AfterIntent, false},
		{failpoint.AfterRegion, true},
		{failpoint.AfterCommit, true},
	} {
		t.Run(tt.point, func(t *testing.T) {
			t.Parallel()
			g := start(t, crashSettings()...)
			want := make(map[string]content)
			keys := []string{"acknowledged"}
			g.put(t, "acknowledged", content{99, mib}, mib, nil)
			want["acknowledged"] = content{99, mib}
			for _, c := range changes() {
				if c.before != nil {
					g.put(t, c.key, *c.before, c.before.size, nil)
				}
				keys = append(keys, c.key)
				if left := c.left(tt.applied); left != nil {
					want[c.key] = *left
				}
			}
			g.waitAtRest(t, keys...)
			g.stop(t)
			for _, c := range changes() {
				g.crash(t, tt.point, c)
			}
			g.start(t)
			resolved := time.Now()
			g.waitAtRest(t, keys...)
			if took := time.Since(resolved); took > resolveTime {
				t.Errorf("the intents were resolved after %s, want it within %s", took, resolveTime)
			}
			g.checkHolds(t, want)
			if s := g.status(t, "small put"); (s != nil) != tt.applied {
				t.Errorf("status of a new key %+v, want one where the write was applied", s)
			}
		})
	}
}

// left is what the key holds in the end, nil for nothing.
func (c change) left(applied bool) *content {
	if applied {
		return c.after
	}
	return c.before
}

// crash starts the gateway with a failpoint, and makes the change that it dies on.
func (g *gateway) crash(t *testing.T, point string, c change) {
	t.Helper()
	g.start(t, failpointVariable+"="+point)
	a, err := g.send(t.Context(), c.method, object(c.key), nil, c.body.reader(), c.size)
	if err == nil {
		t.Errorf("%s %s was answered: %s", c.method, c.key, a)
	}
	g.waitKilled(t)
}

// checkHolds compares clients' view and both regions with what there must be.
func (g *gateway) checkHolds(t *testing.T, want map[string]content) {
	t.Helper()
	wantSizes := make(map[string]int64)
	for key, c := range want {
		wantSizes[key] = c.size
		g.checkContent(t, key, c)
		if sum, _, h := g.download(t, object(key)+"?prefer=replica"); sum != c.sum() || h.Get("X-Tandem-Region") != secondary {
			t.Errorf("%s in the replica has SHA-256 %s, header %v", key, sum, h)
		}
	}
	if diff := cmp.Diff(wantSizes, sizes(g.checkAgree(t))); diff != "" {
		t.Errorf("objects differ (-want +held):\n%s", diff)
	}
	listed, _ := g.keys(t, "")
	if len(listed) != len(want) {
		t.Errorf("listing %q, want %d keys", listed, len(want))
	}
}

// TestCrashAfterACopy kills the gateway when a replica has a copy and the journal does
// not know: the copy is recognised, and not taken for somebody else's object.
func TestCrashAfterACopy(t *testing.T) {
	t.Parallel()
	g := start(t, crashSettings()...)
	small, large, old := content{1, kib}, content{2, 20 * mib}, content{3, 3 * kib}
	g.put(t, "overwritten", old, old.size, nil)
	g.waitAtRest(t, "overwritten")
	g.stop(t)
	g.crashAfterCopy(t, "small", small, small.size)
	g.crashAfterCopy(t, "large", large, unsized(large.size))
	g.crashAfterCopy(t, "overwritten", small, small.size)
	g.start(t)
	g.waitAtRest(t, "small", "large", "overwritten")
	g.checkHolds(t, map[string]content{"small": small, "large": large, "overwritten": small})
}

// crashAfterCopy starts the gateway, and has it die once it has copied the object.
func (g *gateway) crashAfterCopy(t *testing.T, key string, c content, size int64) {
	t.Helper()
	g.start(t, failpointVariable+"="+failpoint.AfterCopy)
	// The copy may be made before the client reads its answer.
	_, _ = g.send(t.Context(), http.MethodPut, object(key), nil, c.reader(), size)
	g.waitKilled(t)
}

// TestCopyThatNobodyRecordedIsReplaced: a copy that landed in the replica, and that
// the journal does not know of, does not keep later writes of the key from the replica.
func TestCopyThatNobodyRecordedIsReplaced(t *testing.T) {
	t.Parallel()
	first, second, third := content{1, kib}, content{2, 2 * kib}, content{3, 3 * kib}
	// unrecorded leaves the second version in the replica, while the index knows of the
	// first there; no gateway runs when it returns.
	for name, unrecorded := range map[string]func(*testing.T, *gateway, string){
		"the gateway was killed": func(t *testing.T, g *gateway, key string) {
			g.stop(t)
			g.crashAfterCopy(t, key, second, second.size)
		},
		"the copy landed late": func(t *testing.T, g *gateway, key string) {
			thaw := g.freeze(t, secondary)
			g.put(t, key, second, second.size, nil)
			eventually(t, "the copy has failed", func() bool { return g.status(t, key).Regions[1].LastError != nil })
			thaw()
			thawed := time.Now()
			eventually(t, "the copy has landed", func() bool { return g.servers[secondary].size(t, key) == second.size })
			g.kill(t)
			eventually(t, "the doubt window is over", func() bool { return time.Since(thawed) > 2*crashDoubtWindow })
		},
	} {
		for _, then := range []string{http.MethodPut, http.MethodDelete} {
			t.Run(name+", then "+then, func(t *testing.T) {
				t.Parallel()
				g := start(t, crashSettings()...)
				g.put(t, "key", first, first.size, nil)
				g.waitAtRest(t, "key")
				unrecorded(t, g, "key")
				if size := g.servers[secondary].size(t, "key"); size != second.size {
					t.Fatalf("the copy was to have landed in the replica, which has %d bytes", size)
				}
				g.start(t)
				// Most of the time this is committed before the copy is tried again.
				want := map[string]content{}
				if then == http.MethodDelete {
					g.delete(t, "key")
				} else {
					g.put(t, "key", third, third.size, nil)
					want["key"] = third
				}
				g.waitAtRest(t, "key")
				g.checkHolds(t, want)
			})
		}
	}
}
