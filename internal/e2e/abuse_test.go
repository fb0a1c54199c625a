package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	idleConnections   = 2000
	concurrentUploads = 500
	// slowClients of each kind.
	slowClients = 30
	// abuseLimit is MAX_OBJECT_BYTES, abuseJSON is MAX_JSON_BYTES.
	abuseLimit = 20 * mib
	abuseJSON  = mib
	// promptly is what a write and a read may usually take beside all that, on a busy machine.
	promptly = time.Second
)

// TestAbuseLeavesNothingBehind: clients that send and read one byte at a time or not at all,
// thousands that do nothing, bodies without an end, and requests that break off. Others are answered
// meanwhile; and once they are gone the gateway has the memory, the goroutines and the descriptors
// that it had before, and the regions hold no upload that was not finished.
func TestAbuseLeavesNothingBehind(t *testing.T) {
	needs(t, regions.uploads, "uploads in parts")
	t.Parallel()
	g := start(t, "REGION_TIMEOUT=30s", "LOG_LEVEL=warn", fmt.Sprintf("MAX_OBJECT_BYTES=%d", abuseLimit), fmt.Sprintf("MAX_JSON_BYTES=%d", abuseJSON))
	g.waitCompared(t)
	large := content{seed: 1, size: 4 * mib}
	g.put(t, "large", large, large.size, nil)
	g.putText(t, "small", "small")
	g.warmUp(t)
	before := g.takeStock(t)
	t.Logf("before: %v", before)
	for _, abuse := range []struct {
		name string
		does func(*testing.T)
	}{
		{"idle connections", g.idle},
		{"slow clients", g.slow},
		{"concurrent uploads", g.uploads},
		{"endless bodies", g.endless},
		{"cancelled requests", g.cancelled},
	} {
		began := time.Now()
		abuse.does(t)
		g.client.CloseIdleConnections()
		g.checkReturned(t, abuse.name, before, time.Since(began))
	}
	g.checkContent(t, "large", large)
	g.checkPrompt(t, "afterwards")
	eventually(t, "everything is replicated", func() bool { return g.state(t).region(secondary).Pending.Keys == 0 })
	keys, _ := g.keys(t, "")
	keys = slices.DeleteFunc(keys, func(key string) bool {
		return strings.HasPrefix(key, "uploaded/") || strings.HasPrefix(key, "warm/")
	})
	if slices.Sort(keys); !slices.Equal(keys, []string{"large", "probe", "small"}) {
		t.Errorf("keys %v are there; a request that was refused or broken off has left one", keys)
	}
	for _, name := range []string{primary, secondary} {
		if left := g.servers[name].unfinished(t); len(left) > 0 {
			t.Errorf("%s holds what was not finished: %v", name, left)
		}
	}
}

// warmUp has the gateway make what it keeps: buffers for parts, and some connections.
func (g *gateway) warmUp(t *testing.T) {
	t.Helper()
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error { return g.sendPattern(t.Context(), fmt.Sprintf("warm/%d", i), 9*mib, unknown) })
		group.Go(func() error { return g.sendPattern(t.Context(), fmt.Sprintf("warm/sized/%d", i), mib, mib) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	g.client.CloseIdleConnections()
	eventually(t, "the warm-up is replicated", func() bool { return g.state(t).region(secondary).Pending.Keys == 0 })
}

// checkPrompt has another client write and read.
func (g *gateway) checkPrompt(t *testing.T, when string) {
	t.Helper()
	var took []time.Duration
	for i := range 10 {
		text := strconv.Itoa(i)
		began := time.Now()
		g.putText(t, "probe", text)
		if a := g.get(t, "probe"); string(a.body) != text {
			t.Errorf("%s: get probe: %s, want %q", when, a, text)
		}
		took = append(took, time.Since(began).Round(time.Millisecond))
	}
	slices.Sort(took)
	median, most := took[len(took)/2], took[len(took)-1]
	t.Logf("%s: a write and a read took %s, %s at most", when, median, most)
	if median > promptly {
		t.Errorf("%s: a write and a read took %s, want less than %s", when, median, promptly)
	}
}

// dial opens a connection and sends what is given.
func (g *gateway) dial(ctx context.Context, text string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(4 * kib) // or the kernel would read for a slow reader
	if _, err := io.WriteString(conn, text); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// roomFor is how many of so many connections this process and the gateway may have beside their
// other descriptors, of which there are two for each upload at most.
func roomFor(t *testing.T, connections int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fits := max(0, int(limit.Cur)/2-100)
	if fits < connections {
		t.Logf("%d connections, not %d: RLIMIT_NOFILE is %d", fits, connections, limit.Cur)
	}
	return min(connections, fits)
}

// idle: half of the connections have sent nothing, half have had an answer and are kept.
func (g *gateway) idle(t *testing.T) {
	t.Helper()
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	for i := range roomFor(t, idleConnections) {
		text := ""
		if i%2 == 1 {
			text = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
		}
		conn, err := g.dial(t.Context(), text)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, conn)
	}
	g.checkPrompt(t, fmt.Sprintf("beside %d idle connections", len(conns)))
	if n := g.descriptors(t); n < len(conns) {
		t.Errorf("the gateway has %d descriptors, want one for each of %d connections at least", n, len(conns))
	}
}

// slow: clients that send, or read, a byte at a time, and others that have stopped.
func (g *gateway) slow(t *testing.T) {
	t.Helper()
	const put = "PUT /objects/slow%d HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n%s"
	half := strings.Repeat("x", 100*kib)
	kinds := []struct {
		text    string
		writes  string // over and over
		isReads bool
	}{
		{text: "GET /objects/large HTTP/1.1\r\nHost: localhost\r\n\r\n", isReads: true},
		{text: "GET /objects/large HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		{text: fmt.Sprintf(put, 1, "Content-Length: 1000000", ""), writes: "x"},
		{text: fmt.Sprintf(put, 2, "Content-Length: 1000", ""), writes: "x"},
		{text: fmt.Sprintf(put, 3, "Transfer-Encoding: chunked", ""), writes: "1\r\nx\r\n"},
		{text: fmt.Sprintf(put, 4, "Content-Length: 1000000", half)},
		{text: fmt.Sprintf(put, 5, "Transfer-Encoding: chunked", "f0000\r\n"+half)},
		{text: "GET /objects/small HTTP/1.1\r\nX-Slow: ", writes: "x"},
	}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop()
	var moved atomic.Int64
	for _, kind := range kinds {
		for range slowClients {
			conn, err := g.dial(ctx, kind.text)
			if err != nil {
				t.Fatal(err)
			}
			clients.Go(func() {
				defer conn.Close()
				byteByByte(ctx, conn, kind.writes, kind.isReads, &moved)
			})
		}
	}
	eventually(t, "the slow clients are at it", func() bool { return moved.Load() > 20*slowClients })
	g.checkPrompt(t, fmt.Sprintf("beside %d slow and stalled clients", slowClients*len(kinds)))
}

// byteByByte sends or reads until ctx ends, or the gateway has had enough.
func byteByByte(ctx context.Context, conn net.Conn, writes string, isReads bool, moved *atomic.Int64) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var err error
		if writes != "" {
			_, err = io.WriteString(conn, writes)
		} else if isReads {
			_, err = conn.Read(make([]byte, 1))
		}
		if err != nil {
			<-ctx.Done()
			return
		}
		moved.Add(1)
	}
}

// uploads: every third says nothing of its size.
func (g *gateway) uploads(t *testing.T) {
	t.Helper()
	const size = 96 * kib
	clients := roomFor(t, concurrentUploads)
	transport := &http.Transport{DisableKeepAlives: true}
	each := &gateway{url: g.url, client: &http.Client{Transport: transport, Timeout: requestTime}}
	var group errgroup.Group
	begun := make(chan struct{})
	for i := range clients {
		group.Go(func() error {
			<-begun
			told := int64(size)
			if i%3 == 0 {
				told = unknown
			}
			return each.sendPattern(t.Context(), fmt.Sprintf("uploaded/%d", i), size, told)
		})
	}
	began := time.Now()
	close(begun)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d uploads at once took %s", clients, time.Since(began).Round(time.Millisecond))
	if a := g.get(t, "uploaded/0"); len(a.body) != size {
		t.Errorf("get of an upload: status %d with %d bytes", a.status, len(a.body))
	}
	eventually(t, "the uploads are replicated", func() bool { return g.state(t).region(secondary).Pending.Keys == 0 })
}

// endlessBody never ends, and counts what was taken.
type endlessBody struct{ taken *atomic.Int64 }

func (b endlessBody) Read(p []byte) (int, error) {
	n := min(len(p), 64*kib)
	b.taken.Add(int64(n))
	return n, nil
}

// endless: bodies that go on beyond what is allowed are refused, and not read much further.
func (g *gateway) endless(t *testing.T) {
	t.Helper()
	var clients sync.WaitGroup
	for i := range 6 {
		for _, r := range []struct {
			method, path string
			size, limit  int64
		}{
			{http.MethodPut, fmt.Sprintf("/objects/endless%d", i), unknown, abuseLimit},
			{http.MethodPut, fmt.Sprintf("/objects/endless%d", i), abuseLimit + 1, 0},
			{http.MethodPost, "/objects", unknown, abuseJSON},
		} {
			clients.Go(func() {
				var taken atomic.Int64
				a, err := g.send(t.Context(), r.method, r.path, nil, endlessBody{&taken}, r.size)
				// The answer may be lost where the connection is closed with bytes unread.
				if err == nil && a.status != http.StatusRequestEntityTooLarge {
					t.Errorf("%s %s without an end: %s, want 413", r.method, r.path, a)
				}
				if most := r.limit + 32*mib; taken.Load() > most {
					t.Errorf("%s %s: %d bytes were taken of a body without an end, want %d at most", r.method, r.path, taken.Load(), most)
				}
			})
		}
	}
	clients.Wait()
	g.checkPrompt(t, "after endless bodies")
}

// brokenBody has its client close the connection.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, context.Canceled }

// cancelled: uploads and downloads that their clients break off half-way.
func (g *gateway) cancelled(t *testing.T) {
	t.Helper()
	var clients sync.WaitGroup
	defer clients.Wait()
	for i := range 12 {
		for _, size := range []int64{2 * mib, unknown} {
			clients.Go(func() {
				at := int64(mib)
				if size == unknown {
					at = 10 * mib // its first part is in the region
				}
				body := io.MultiReader(content{seed: 2, size: at}.reader(), brokenBody{})
				if a, err := g.send(t.Context(), http.MethodPut, object(fmt.Sprintf("cancelled%d", i)), nil, body, size); err == nil {
					t.Errorf("an upload that was broken off: %s", a)
				}
			})
		}
		for range 5 {
			clients.Go(func() {
				resp, err := g.request(t.Context(), http.MethodGet, object("large"), nil, nil, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.CopyN(io.Discard, resp.Body, 100*kib); err != nil {
					t.Error(err)
				}
				_ = resp.Body.Close()
			})
		}
	}
}
