package e2e_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region"
)

// TestUploadCutByTheActivesDeathIsAllOrNothing kills or freezes the active's process
// while a body is on its way to it. The client is told 503, and the key stays what it was in
// both regions; or, where no request to the region was cut, the write is complete, and
// so it may be, in the end, where the region is frozen. The same upload succeeds afterwards.
func TestUploadCutByTheActivesDeathIsAllOrNothing(t *testing.T) {
	t.Parallel()
	kill := func(t *testing.T, g *gateway) { g.killRegion(t, primary) }
	restart := func(t *testing.T, g *gateway) {
		g.killRegion(t, primary)
		g.waitUp(t, primary)
	}
	freeze := func(t *testing.T, g *gateway) { g.freeze(t, primary) }
	for _, tt := range []struct {
		name string
		fail func(*testing.T, *gateway)
		size int64 // as it is told
		old  bool  // the key has an older version
		// mayEnd: parts that are in the region already survive the death of its process.
		mayEnd bool
		// mayLand: the sockets' buffers may hold the rest of the body until the region goes on.
		mayLand bool
	}{
		{"killed, with a length", kill, 40 * mib, false, false, false},
		{"killed, without a length", kill, unknown, true, true, false},
		{"killed while the client pauses, with a length", restart, 40 * mib, true, false, false},
		{"killed while the client pauses, without a length", restart, unknown, false, true, false},
		{"frozen, with a length", freeze, 40 * mib, true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needs(t, tt.size != unknown || regions.uploads, "uploads in parts")
			t.Parallel()
			g := start(t)
			if tt.old {
				g.putText(t, "key", "old")
			}
			whole := content{seed: 7, size: 40 * mib}
			body := newGate(t, whole.reader(), 28*mib)
			ended := g.upload(t, "key", body, tt.size)
			receive(t, "the first part of the body", body.reached)
			tt.fail(t, g)
			body.open()
			got := receive(t, "the answer", ended)
			g.signalRegion(t, primary, syscall.SIGCONT)
			g.waitUp(t, primary)
			g.waitAtRest(t, "key")
			isWhole := tt.mayEnd && got.status == http.StatusCreated
			if !isWhole && (got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "") {
				t.Errorf("upload: %s (%v), want 503 with Retry-After", got.answer, got.err)
			}
			held := sizes(g.checkAgree(t))
			isWhole = isWhole || tt.mayLand && held["key"] == whole.size
			want := map[string]int64{}
			switch {
			case isWhole:
				want["key"] = whole.size
				g.checkContent(t, "key", whole)
			case tt.old:
				want["key"] = int64(len("old"))
				if after := g.get(t, "key"); string(after.body) != "old" {
					t.Errorf("after the cut upload the key is %s", after)
				}
			default:
				if after := g.get(t, "key"); after.status != http.StatusNotFound {
					t.Errorf("after the cut upload the key is %s", after)
				}
			}
			if diff := cmp.Diff(want, held); diff != "" {
				t.Errorf("after the cut upload objects differ (-want +held):\n%s", diff)
			}
			g.put(t, "key", whole, tt.size, nil)
			g.checkContent(t, "key", whole)
			g.waitAtRest(t, "key")
			g.checkAgree(t)
		})
	}
}

// TestUploadCutByItsClientWritesNothing: a client that leaves in the middle of a body
// leaves the key as it was, and nothing behind in the active.
func TestUploadCutByItsClientWritesNothing(t *testing.T) {
	needs(t, regions.uploads, "uploads in parts")
	t.Parallel()
	g := start(t)
	g.putText(t, "with a length", "old")
	g.putText(t, "without a length", "old")
	for key, size := range map[string]int64{"with a length": 40 * mib, "without a length": unknown, "new": 40 * mib} {
		ctx, leave := context.WithCancel(t.Context())
		body := newGate(t, content{seed: 5, size: 40 * mib}.reader(), 28*mib)
		ended := make(chan error, 1)
		go func() {
			_, err := g.send(ctx, http.MethodPut, object(key), nil, body, size)
			ended <- err
		}()
		receive(t, "the first part of the body", body.reached)
		eventually(t, "the active stages the upload", func() bool { return len(g.servers[primary].unfinished(t)) > 0 })
		leave()
		body.open()
		if err := receive(t, "the client's end", ended); err == nil {
			t.Errorf("%s: the client that left was answered", key)
		}
		eventually(t, "the active has dropped the upload", func() bool { return len(g.servers[primary].unfinished(t)) == 0 })
	}
	g.waitAtRest(t, "with a length", "without a length", "new")
	want := map[string]int64{"with a length": 3, "without a length": 3}
	if diff := cmp.Diff(want, sizes(g.checkAgree(t))); diff != "" {
		t.Errorf("objects differ (-want +held):\n%s", diff)
	}
	if s := g.status(t, "new"); s != nil {
		t.Errorf("status of new: %+v, want none", s)
	}
}

// TestDownloadCutByTheActivesDeath kills or freezes the active's process while it
// sends an object: what is replicated is received whole, through the replica; what is not is cut,
// and never looks like all there is.
func TestDownloadCutByTheActivesDeath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		freeze     bool
		replicated bool
	}{
		{"killed, replicated", false, true},
		{"frozen, replicated", true, true},
		{"killed, not replicated", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			if !tt.replicated {
				g.down(t, secondary)
			}
			whole := content{seed: 9, size: 64 * mib}
			want := g.put(t, "key", whole, whole.size, nil)
			if tt.replicated {
				g.waitAtRest(t, "key")
			}
			resp, err := g.request(t.Context(), http.MethodGet, object("key"), nil, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			sum := sha256.New()
			if _, err := io.CopyN(sum, resp.Body, mib); err != nil {
				t.Fatal(err)
			}
			if tt.freeze {
				g.freeze(t, primary)
			} else {
				g.down(t, primary)
			}
			n, err := io.Copy(sum, resp.Body)
			switch {
			case tt.replicated && (err != nil || sumOf(sum) != want):
				t.Errorf("%d bytes and %v, with another SHA-256; want the whole object", mib+n, err)
			case !tt.replicated && err == nil:
				t.Errorf("the download ended without an error after %d of %d bytes", mib+n, whole.size)
			}
		})
	}
}

// TestReadsGoOnWhileTheActiveIsDown: with the active's process killed or frozen, the
// replica answers for what it is known to hold, and for nothing else: no older version, no
// deleted key, in reads and listings alike.
func TestReadsGoOnWhileTheActiveIsDown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"killed", "frozen"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, "REGION_TIMEOUT=1s")
			g.waitCompared(t)
			for _, key := range []string{"kept", "overwritten", "deleted", "deleted everywhere"} {
				g.putText(t, key, "first")
			}
			g.delete(t, "deleted everywhere")
			g.waitAtRest(t, "kept", "overwritten", "deleted", "deleted everywhere")

			bringBack := g.down(t, secondary)
			g.putText(t, "overwritten", "second")
			g.putText(t, "new", "second")
			g.delete(t, "deleted")
			var restore func()
			if name == "frozen" {
				restore = g.freeze(t, primary)
			} else {
				restore = g.down(t, primary)
			}
			if g.servers[secondary].size(t, "deleted") < 0 {
				t.Fatal("the replica was to hold the deleted key still")
			}
			bringBack()
			g.waitUp(t, secondary)
			t.Run("reads", func(t *testing.T) { g.checkReadsFromReplica(t) })
			if a := g.do(t, http.MethodPut, object("kept"), nil, strings.NewReader("third"), 5); a.status != http.StatusServiceUnavailable {
				t.Errorf("put while the active is down: %s, want 503", a)
			}

			restore()
			g.waitUp(t, primary)
			g.waitAtRest(t, "kept", "overwritten", "deleted", "deleted everywhere", "new")
			if diff := cmp.Diff(map[string]int64{"overwritten": 6, "new": 6, "kept": 5}, sizes(g.checkAgree(t))); diff != "" {
				t.Errorf("objects differ in the end (-want +held):\n%s", diff)
			}
		})
	}
}

func sizes(all map[string]held) map[string]int64 {
	n := make(map[string]int64)
	for key, o := range all {
		n[key] = o.Size
	}
	return n
}

func (g *gateway) checkReadsFromReplica(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		got := g.do(t, method, object("kept"), nil, nil, 0)
		h := got.header
		if got.status != http.StatusOK || h.Get("X-Tandem-Region") != secondary || h.Get("X-Tandem-Fallback") != "true" || h.Get("X-Tandem-Freshness") != "current" {
			t.Errorf("%s of a replicated key: %s, header %v, want it from the replica, current", method, got, h)
		}
		if method == http.MethodGet && string(got.body) != "first" {
			t.Errorf("body %q, want first", got.body)
		}
	}
	for key, want := range map[string]int{
		"overwritten": http.StatusServiceUnavailable, "new": http.StatusServiceUnavailable,
		"deleted": http.StatusNotFound, "deleted everywhere": http.StatusNotFound,
	} {
		if got := g.get(t, key); got.status != want {
			t.Errorf("get %q: %s, want %d", key, got, want)
		}
	}
	stale := g.do(t, http.MethodGet, object("overwritten"), http.Header{"X-Tandem-Allow-Stale": {"true"}}, nil, 0)
	if string(stale.body) != "first" || stale.header.Get("X-Tandem-Freshness") != "stale" {
		t.Errorf("get that allows stale: %s, header %v, want the older version, said to be stale", stale, stale.header)
	}
	listed, h := g.keys(t, "")
	if diff := cmp.Diff([]string{"kept", "new", "overwritten"}, listed); diff != "" {
		t.Errorf("listing differs (-want +got):\n%s", diff)
	}
	if h.Get("X-Tandem-Region") != secondary || h.Get("X-Tandem-Fallback") != "true" {
		t.Errorf("listing header %v, want the replica's", h)
	}
}

// TestWriteToAFrozenActiveIsSettled: a write that has no answer is in doubt, is told
// as such, and lands when the active goes on. The regions agree in the end on what it left.
func TestWriteToAFrozenActiveIsSettled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, method, body string }{
		{"put", http.MethodPut, "new"},
		{"delete", http.MethodDelete, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, "REGION_TIMEOUT=1s")
			g.putText(t, "key", "old")
			g.waitAtRest(t, "key")
			thaw := g.freeze(t, primary)
			got := g.do(t, tt.method, object("key"), nil, strings.NewReader(tt.body), int64(len(tt.body)))
			if got.status != http.StatusServiceUnavailable {
				t.Fatalf("%s: %s, want 503", tt.method, got)
			}
			if s := g.status(t, "key"); s == nil || s.Settled {
				t.Errorf("status %+v, want unsettled", s)
			}
			// A replica cannot know which version it is now.
			if got := g.get(t, "key"); got.status != http.StatusServiceUnavailable {
				t.Errorf("get of a key in doubt: %s, want 503", got)
			}
			thaw()
			g.waitAtRest(t, "key")
			g.checkAgree(t)
			_, err := g.region(t, primary).Head(t.Context(), "key", nil)
			if err != nil && !region.IsNotFound(err) {
				t.Fatal(err)
			}
			if got := g.get(t, "key"); (err == nil) != (got.status == http.StatusOK) {
				t.Errorf("get: %s, and the active's own answer is %v", got, err)
			}
		})
	}
}
