package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestSIGTERMDrains: with clients at work, the gateway says that it is not ready while
// it still serves, then takes no more connections, finishes what it has, and ends without an
// error. Whatever was acknowledged until then is there at the next start.
func TestSIGTERMDrains(t *testing.T) {
	t.Parallel()
	g := start(t, "DRAIN_TIMEOUT=20s", "REGION_TIMEOUT=20s")
	whole := content{seed: 1, size: 40 * mib}
	g.put(t, "download", whole, whole.size, nil)
	download, err := g.request(t.Context(), http.MethodGet, object("download"), nil, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer download.Body.Close()
	sized, chunked := newGate(t, whole.reader(), 28*mib), newGate(t, whole.reader(), 28*mib)
	uploads := map[string]<-chan outcome{
		"sized": g.upload(t, "sized", sized, whole.size), "chunked": g.upload(t, "chunked", chunked, unsized(whole.size)),
	}
	receive(t, "the first part of a body", sized.reached)
	receive(t, "the first part of a body", chunked.reached)
	written := g.writeUntilRefused(t, 4)

	g.signal(t, syscall.SIGTERM)
	g.checkNotice(t)
	eventually(t, "connections are refused", func() bool { return !g.accepts(t) })
	sized.open()
	chunked.open()
	for key, ended := range uploads {
		if got := receive(t, "the answer", ended); got.err != nil || got.status != http.StatusCreated {
			t.Errorf("upload of %s while draining: %s (%v)", key, got.answer, got.err)
		}
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, download.Body); err != nil || sumOf(sum) != whole.sum() {
		t.Errorf("download while draining: %d bytes (%v), want the whole object", n, err)
	}
	if code := g.waitStopped(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}

	keys := receive(t, "the writers' keys", written)
	g.start(t)
	for _, key := range []string{"download", "sized", "chunked"} {
		g.checkContent(t, key, whole)
	}
	for _, key := range keys {
		if a := g.get(t, key); string(a.body) != key {
			t.Errorf("%s was acknowledged, and is %s", key, a)
		}
	}
	g.waitAtRest(t, append(keys, "download", "sized", "chunked")...)
	g.checkAgree(t)
}

// checkNotice waits until the gateway says that it is not ready; it must serve new
// connections still.
func (g *gateway) checkNotice(t *testing.T) {
	t.Helper()
	probe := &gateway{url: g.url, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: requestTime}}
	eventually(t, "/readyz says no", func() bool {
		return probe.do(t, http.MethodGet, "/readyz", nil, nil, 0).status == http.StatusServiceUnavailable
	})
	probe.putText(t, "put once not ready", "text")
	if a := probe.get(t, "put once not ready"); string(a.body) != "text" {
		t.Errorf("get once not ready: %s", a)
	}
}

// accepts reports whether the gateway takes a new connection.
func (g *gateway) accepts(t *testing.T) bool {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// keysOfAWriter are written in turn, over and over.
const keysOfAWriter = 10

// writeUntilRefused has clients write small objects until the gateway takes no more
// requests, and returns what was acknowledged. It returns once each has written one.
func (g *gateway) writeUntilRefused(t *testing.T, clients int) <-chan []string {
	t.Helper()
	var mu sync.Mutex
	var acknowledged []string
	var working, begun sync.WaitGroup
	for c := range clients {
		begun.Add(1)
		began := sync.OnceFunc(begun.Done)
		working.Go(func() {
			defer began()
			for n := 0; ; n++ {
				key := fmt.Sprintf("written/%d-%d", c, n%keysOfAWriter)
				a, err := g.send(t.Context(), http.MethodPut, object(key), nil, strings.NewReader(key), int64(len(key)))
				if err != nil {
					return
				}
				if a.status != http.StatusCreated {
					t.Errorf("put %s: %s", key, a)
					return
				}
				began()
				if n < keysOfAWriter {
					mu.Lock()
					acknowledged = append(acknowledged, key)
					mu.Unlock()
				}
			}
		})
	}
	begun.Wait()
	ended := make(chan []string, 1)
	go func() {
		working.Wait()
		ended <- acknowledged
	}()
	return ended
}

// TestDrainEndsAtItsTimeout: an upload that does not end is cut, and not stored; the
// gateway says by its exit code that it cut something.
func TestDrainEndsAtItsTimeout(t *testing.T) {
	t.Parallel()
	g := start(t, "DRAIN_TIMEOUT=1s")
	g.putText(t, "key", "old")
	body := newGate(t, content{seed: 1, size: 2 * mib}.reader(), mib)
	ended := g.upload(t, "key", body, 2*mib)
	receive(t, "the first part of the body", body.reached)
	g.signal(t, syscall.SIGTERM)
	if code := g.waitStopped(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	body.open()
	if got := receive(t, "the end of the upload", ended); got.err == nil && got.status < http.StatusBadRequest {
		t.Errorf("the upload that was cut: %s", got.answer)
	}
	g.start(t)
	g.waitAtRest(t, "key")
	if a := g.get(t, "key"); string(a.body) != "old" {
		t.Errorf("after the cut upload the key is %s", a)
	}
	g.checkAgree(t)
}
