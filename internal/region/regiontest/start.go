package regiontest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Start serves the region on a free loopback port until the test ends, and
// returns its endpoint, as in "http://127.0.0.1:40000". The region is closed
// with the test; while it runs it may be started at several endpoints.
func Start(t testing.TB, s *Server) (endpoint string) {
	t.Helper()
	ts := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		ts.Close()
	})
	return ts.URL
}

// StartPipe serves the region over net.Pipe until the test ends, and returns
// the dial function for a client's transport: any address leads here. It is
// made for synctest bubbles, where real sockets would stop the clock; call it
// inside the bubble, and close the client's idle connections before its end.
func StartPipe(t testing.TB, s *Server) func(ctx context.Context, network, addr string) (net.Conn, error) {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	hs := &http.Server{Handler: s}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := hs.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve region: %v", err)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		hs.Close()
		<-served
	})
	return l.dial
}

// pipeListener accepts what dial hands it.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{} // closed by Close, which http.Server calls once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "region", Net: "pipe"} }
