package restapi

import (
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
)

// taking is a gateway that reads what it is given.
type taking struct {
	large
	ended chan error // of the body of a PUT
}

func (g taking) Put(_ context.Context, _ string, in gateway.PutInput) (gateway.Result, error) {
	_, err := io.Copy(io.Discard, in.Body)
	g.ended <- err
	return gateway.Result{}, err
}

// dialHTTP2 serves the front over HTTP/2 to a client that holds little of what it does not read.
func dialHTTP2(t *testing.T, g Gateway) *http.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- theirs
	a := newAPI(t, g)
	a.IdleTimeout = idle
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: a, Protocols: protocols}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	transport := &http.Transport{
		Protocols: protocols, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = ours.Close()
		_ = s.Close()
		<-served
	})
	return &http.Client{Transport: transport}
}

// With HTTP/2 a client that stops reading loses its answer, and the others of the same
// connection theirs not.
func TestAStreamThatIsNotReadIsLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dialHTTP2(t, large{})
		resp, err := c.Get("http://localhost/objects/k")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle + time.Second)
		synctest.Wait()
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil || n >= largeBytes {
			t.Errorf("read %d bytes (%v) after %s, want the answer cut", n, err, idle)
		}
		_ = resp.Body.Close()
		other, err := c.Get("http://localhost/livez")
		if err != nil || other.ProtoMajor != 2 {
			t.Fatalf("another request: %v (%v)", other, err)
		}
		_ = other.Body.Close()
	})
}

// One that reads slowly, and goes on, gets the whole answer.
func TestAStreamThatIsReadSlowlyIsReadWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		resp, err := dialHTTP2(t, large{}).Get("http://localhost/objects/k")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var n int64
		for err == nil {
			time.Sleep(idle / 4)
			var more int64
			more, err = io.CopyN(io.Discard, resp.Body, pace.WriteBytes/2)
			n += more
		}
		if err != io.EOF || n != largeBytes {
			t.Errorf("read %d bytes (%v), want %d", n, err, largeBytes)
		}
	})
}

// A client that stops sending is let go, and what it sent is no body.
func TestAStreamThatSendsNoMoreIsLetGo(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{-1, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			g := taking{ended: make(chan error, 1)}
			c := dialHTTP2(t, g)
			body, sending := io.Pipe()
			defer sending.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://localhost/objects/k", body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = size
			answered := make(chan string, 1)
			go func() {
				resp, err := c.Do(req)
				if err != nil {
					answered <- err.Error()
					return
				}
				_ = resp.Body.Close()
				answered <- fmt.Sprint(resp.StatusCode)
			}()
			_, _ = io.WriteString(sending, strings.Repeat("x", 1000))
			began := time.Now()
			if err := <-g.ended; err == nil {
				t.Errorf("size %d: the body ended well", size)
			}
			if took := time.Since(began); took > idle+time.Second {
				t.Errorf("size %d: let go after %s, want %s", size, took, idle)
			}
			if got := <-answered; strings.HasPrefix(got, "2") {
				t.Errorf("size %d: answered %s", size, got)
			}
		})
	}
}
