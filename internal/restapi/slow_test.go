package restapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/region"
)

// largeBytes is more than any buffer on the way.
const largeBytes = 4 << 20

// large is a gateway whose answers are large.
type large struct{ Gateway }

func (large) List(context.Context, gateway.ListInput) (*gateway.Listing, error) {
	page := &gateway.Listing{}
	for i := range region.MaxListKeys {
		page.Objects = append(page.Objects, region.ListedObject{Key: fmt.Sprint(strings.Repeat("k", largeBytes/region.MaxListKeys), i)})
	}
	return page, nil
}

func (large) Read(context.Context, string, gateway.ReadInput) (*gateway.Read, error) {
	body := io.NopCloser(strings.NewReader(strings.Repeat("x", largeBytes)))
	return &gateway.Read{Attributes: region.Attributes{Status: http.StatusOK}, Body: body}, nil
}

const idle = time.Minute

// dial serves the front on one connection without any buffer, and returns the client's
// end of it; closed is closed with the server's.
func dial(t *testing.T) (conn net.Conn, closed <-chan struct{}) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- theirs
	a := newAPI(t, large{})
	a.IdleTimeout = idle
	a.MetricsHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, largeBytes)) })
	gone, served := make(chan struct{}), make(chan struct{})
	s := &http.Server{Handler: a, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(gone)
		}
	}}
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		_ = s.Close()
		<-served
	})
	return ours, gone
}

// oneConn is a listener that has one connection to give.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "front", Net: "pipe"} }

func ask(t *testing.T, conn net.Conn, method, path, rest string) {
	t.Helper()
	if _, err := io.WriteString(conn, method+" "+path+" HTTP/1.1\r\nHost: localhost\r\n"+rest+"\r\n"); err != nil {
		t.Fatal(err)
	}
}

// Whatever is asked for, a client that stops reading holds nothing for longer than the
// time-out.
func TestAClientThatDoesNotReadIsLetGo(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"GET /objects", "GET /objects/k", "HEAD /objects/k", "GET /metrics", "GET /livez", "GET /nothing", "PATCH /objects/k"} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn, closed := dial(t)
				started := time.Now()
				method, path, _ := strings.Cut(request, " ")
				ask(t, conn, method, path, "")
				select {
				case <-closed:
				case <-time.After(10 * idle):
					t.Fatal("the connection is still open")
				}
				if took := time.Since(started); took > idle+time.Second {
					t.Errorf("let go after %v, want %v", took, idle)
				}
			})
		})
	}
}

// One that reads slowly, and goes on, gets the whole answer.
func TestAClientThatReadsSlowlyGetsItAll(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/objects", "/objects/k", "/metrics"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn, _ := dial(t)
				ask(t, conn, "GET", path, "")
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				var n int64
				for err == nil {
					time.Sleep(idle / 4)
					var more int64
					more, err = io.CopyN(io.Discard, resp.Body, pace.WriteBytes/2)
					n += more
				}
				if err != io.EOF || n < largeBytes {
					t.Errorf("read %d bytes (%v), want %d or more", n, err, largeBytes)
				}
			})
		})
	}
}

// The deadline of one answer is not that of the next on the same connection, 100
// Continue included.
func TestADeadlineEndsWithItsAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, _ := dial(t)
		answers := bufio.NewReader(conn)
		for _, path := range []string{"/livez", "/objects/k", "/objects", "/metrics"} {
			ask(t, conn, "GET", path, "")
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("GET %s: %v", path, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("GET %s: got %d (%v), want 200", path, resp.StatusCode, err)
			}
			time.Sleep(2 * idle)
		}
		ask(t, conn, "POST", "/objects", "Content-Length: 2\r\nExpect: 100-continue\r\n")
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusContinue {
			t.Fatalf("POST: got %v (%v), want 100", resp, err)
		}
	})
}
