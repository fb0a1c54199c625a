package region_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/region"
)

// lengthOf is how many bytes a write's request has.
func lengthOf(t *testing.T, op operation) (length int) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{serve: func(c *wireConn) {
			c.request()
			c.answer(ok(op.answer))
		}}
		r, closeIdle := newWire(t, w)
		if err := op.do(t.Context(), r); err != nil {
			t.Fatalf("%s: %v", op.name, err)
		}
		closeIdle()
		length = len(w.received()[0])
	})
	return length
}

// cutPoints are the numbers of bytes after which requests are cut: every one near the
// ends and around the write buffer, some between.
func cutPoints(length int) (points []int) {
	for n := 0; n <= length; n++ {
		if n < 20 || n > length-20 || n%61 == 0 || n >= 4090 && n <= 4100 {
			points = append(points, n)
		}
	}
	return points
}

// TestNoWriteIsSentTwice cuts every write after so many bytes, on a new and on a used
// connection. Where a byte has left, no other connection may ever see the request.
func TestNoWriteIsSentTwice(t *testing.T) {
	for _, op := range writes() {
		length := lengthOf(t, op)
		for _, used := range []bool{false, true} {
			for _, n := range cutPoints(length) {
				synctest.Test(t, func(t *testing.T) { cutRequest(t, op, used, n, length) })
			}
		}
	}
}

func cutRequest(t *testing.T, op operation, used bool, n, length int) {
	what := fmt.Sprintf("%s cut after %d bytes of %d (used connection: %v)", op.name, n, length, used)
	warmUp := 0
	w := &wire{serve: func(c *wireConn) {
		switch {
		case c.number > 0:
			for c.request() {
				c.answer(ok(op.answer))
			}
			return
		case used:
			c.request()
			c.answer(ok(""))
			warmUp = c.read.Len()
		}
		_, _ = io.CopyN(io.Discard, c.r, int64(n))
	}}
	r, closeIdle := newWire(t, w)
	if used {
		if err := r.CheckBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	err := op.do(t.Context(), r)
	closeIdle()
	got := w.received()
	if sent := len(got[0]) - warmUp; sent < n {
		t.Fatalf("%s: %d bytes were read", what, sent)
	}
	switch {
	case n > 0 && len(got) > 1:
		t.Errorf("%s: sent again: %.60q", what, got[1:])
	case len(got) > 2 || len(got) == 2 && strings.Count(got[1], "HTTP/1.1") != 1:
		t.Errorf("%s: nothing was written, then sent more than once: %.60q", what, got)
	}
	if len(got) == 2 {
		if err != nil {
			t.Errorf("%s: sent again, for the only time, with %v", what, err)
		}
		return
	}
	e := wantNoAnswer(t, what, err)
	if n == length && e.Outcome != region.Ambiguous {
		t.Errorf("%s: outcome %v of a request that was there whole", what, e.Outcome)
	}
}

// wantNoAnswer checks that the region is to blame, and said nothing.
func wantNoAnswer(t testing.TB, what string, err error) *region.Error {
	t.Helper()
	e := wantError(t, what, err, region.OutcomeOf(err))
	if e.Outcome == region.Rejected || e.Status != 0 || !region.IsDown(err) || region.IsNotFound(err) || region.IsPrecondition(err) {
		t.Errorf("%s: %v (%v), want an error without an answer", what, err, e.Outcome)
	}
	return e
}

// TestNoWriteIsSentTwiceWhateverIsLeftOfItsAnswer cuts the answer to every write.
func TestNoWriteIsSentTwiceWhateverIsLeftOfItsAnswer(t *testing.T) {
	for _, op := range writes() {
		whole := ok(op.answer)
		answers := []string{"\r\n\r\n", "garbage\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"}
		for n := range len(whole) {
			answers = append(answers, whole[:n])
		}
		for _, used := range []bool{false, true} {
			for _, answer := range answers {
				synctest.Test(t, func(t *testing.T) { cutAnswer(t, op, used, answer) })
			}
		}
	}
}

func cutAnswer(t *testing.T, op operation, used bool, answer string) {
	what := fmt.Sprintf("%s answered %q (used connection: %v)", op.name, answer, used)
	w := &wire{serve: func(c *wireConn) {
		if used && c.number == 0 {
			c.request()
			c.answer(ok(""))
		}
		c.request()
		c.answer(answer)
	}}
	r, _ := newWire(t, w)
	if used {
		if err := r.CheckBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	err := op.do(t.Context(), r)
	if got := w.received(); len(got) != 1 {
		t.Errorf("%s: sent again: %.60q", what, got[1:])
	}
	// Where the header says that it was done, it was, whatever became of the rest.
	if strings.HasSuffix(answer, "\r\n\r\n") && strings.Contains(answer, "Etag") && err == nil && op.answer == "" {
		return
	}
	if e := wantNoAnswer(t, what, err); e.Outcome != region.Ambiguous {
		t.Errorf("%s: outcome %v, want ambiguous", what, e.Outcome)
	}
}

// TestConnectionsClosedWhileIdleCostNothing: the region closes the connection between
// two requests, as servers do with those that are not used.
func TestConnectionsClosedWhileIdleCostNothing(t *testing.T) {
	for _, op := range append(writes(), reads()...) {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{serve: func(c *wireConn) {
				c.request()
				if c.number == 0 {
					c.answer(ok(""))
					return
				}
				c.answer(ok(op.answer))
			}}
			r, _ := newWire(t, w)
			if err := r.CheckBucket(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // until the client has seen that it is closed
			if err := op.do(t.Context(), r); err != nil {
				t.Errorf("%s: %v", op.name, err)
			}
			if got := w.received(); len(got) != 2 {
				t.Errorf("%s: %d connections, want 2", op.name, len(got))
			}
		})
	}
}

// TestReadsThatAreRepeatedAreRight: a transport may repeat what changes nothing, when a
// used connection turns out to be closed.
func TestReadsThatAreRepeatedAreRight(t *testing.T) {
	for _, op := range reads() {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{serve: func(c *wireConn) {
				c.request()
				if c.number == 0 {
					c.answer(ok(""))
					c.request()
					return
				}
				c.answer(ok(op.answer))
			}}
			r, _ := newWire(t, w)
			if err := r.CheckBucket(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := op.do(t.Context(), r); err != nil {
				wantNoAnswer(t, op.name, err)
			}
		})
	}
}

// TestNoWriteIsSentTwiceOverTCP is what the pipes cannot show: closed and reset sockets,
// noticed by the client now or later, with the client's own transport.
func TestNoWriteIsSentTwiceOverTCP(t *testing.T) {
	for _, op := range writes() {
		for _, reset := range []bool{false, true} {
			for _, take := range []int{-1, 0, 1, 200, 1 << 20} {
				for range 3 {
					cutOverTCP(t, op, take, reset)
				}
			}
		}
	}
}

// cutOverTCP closes a used connection: at once (-1), or after so many bytes of the next request.
func cutOverTCP(t *testing.T, op operation, take int, reset bool) {
	s := newTCPServer(t, func(c *net.TCPConn, number int) (received int) {
		if number == 0 {
			serveOne(c, ok(""))
			if take >= 0 {
				// What is there when the first bytes come is what is taken.
				received, _ = c.Read(make([]byte, max(take, 1)))
			}
			if reset {
				c.SetLinger(0)
			}
			return received
		}
		return serveOne(c, ok(op.answer))
	})
	r := newRegion(t, at("http://"+s.address))
	if err := r.CheckBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := op.do(t.Context(), r)
	s.close()
	what := fmt.Sprintf("%s cut after %d bytes (reset: %v)", op.name, take, reset)
	times := 0
	for _, received := range s.received {
		if received > 0 {
			times++
		}
	}
	if times > 1 {
		t.Errorf("%s: sent %d times, %v bytes", what, times, s.received)
	}
	if err == nil {
		if take >= 0 {
			t.Errorf("%s: succeeded", what)
		}
		return
	}
	if e := wantNoAnswer(t, what, err); take > 0 && e.Outcome != region.Ambiguous {
		t.Errorf("%s: outcome %v of what was sent", what, e.Outcome)
	}
}

// tcpServer counts the bytes of requests by connection.
type tcpServer struct {
	address  string
	received []int // by connection; complete once close has returned
	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

// newTCPServer hands each connection to serve, which returns what it received of the
// request under test.
func newTCPServer(t *testing.T, serve func(c *net.TCPConn, number int) int) *tcpServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &tcpServer{address: listener.Addr().String(), listener: listener}
	t.Cleanup(s.close)
	s.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			number := len(s.conns)
			s.conns = append(s.conns, conn)
			s.received = append(s.received, 0)
			s.mu.Unlock()
			s.wg.Go(func() {
				defer conn.Close()
				n := serve(conn.(*net.TCPConn), number)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.received[number] = n
			})
		}
	})
	return s
}

func (s *tcpServer) close() {
	s.listener.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// serveOne reads a request whole and answers it; it returns how many bytes came.
func serveOne(c net.Conn, answer string) int {
	w := &wireConn{Conn: c}
	counted := &countingReader{r: c}
	w.r = bufio.NewReader(counted)
	if w.request() {
		w.answer(answer)
	}
	return counted.n
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}
