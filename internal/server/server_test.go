package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/server"
)

// pipes is a listener whose connections are net.Pipe, so that a bubble has its own clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, conn := net.Pipe()
	select {
	case p.conns <- conn:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "server", Net: "pipe"} }

// rig is a server under way, and a client of it.
type rig struct {
	*pipes
	client *http.Client
	drain  context.CancelFunc
	ended  chan error
}

func start(t *testing.T, cfg server.Config) *rig {
	t.Helper()
	p := newPipes()
	transport := &http.Transport{DialContext: p.dial, DisableKeepAlives: true}
	s := &rig{pipes: p, client: &http.Client{Transport: transport}, ended: make(chan error, 1)}
	cfg.Fronts[0].Listener, cfg.Logger = p, slog.New(slog.DiscardHandler)
	if cfg.Draining == nil {
		cfg.Draining = func() {}
	}
	var ctx context.Context
	ctx, s.drain = context.WithCancel(t.Context())
	go func() { s.ended <- server.Run(ctx, cfg) }()
	return s
}

// write opens a connection, and sends what is there at once, and then byte by byte.
func (s *rig) write(t *testing.T, atOnce string, interval time.Duration, slowly string) net.Conn {
	t.Helper()
	conn, err := s.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	t.Cleanup(func() {
		_ = conn.Close()
		writing.Wait()
	})
	writing.Go(func() {
		_, err := io.WriteString(conn, atOnce)
		for i := 0; i < len(slowly) && err == nil; i++ {
			time.Sleep(interval)
			_, err = conn.Write([]byte{slowly[i]})
		}
	})
	return conn
}

// get returns the body, or the error, of an answer.
func (s *rig) get(path string) (string, error) {
	resp, err := s.client.Get("http://server" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// begin sends a request that the handler keeps, and returns where its end will show.
func (s *rig) begin(path string) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		body, err := s.get(path)
		if err == nil && body != "done" {
			err = errors.New("got " + body)
		}
		ended <- err
	}()
	synctest.Wait()
	return ended
}

func TestDrainSaysSoFirstAndFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		told := make(chan error, 1)
		var s *rig
		s = start(t, server.Config{
			DrainTimeout: 10 * time.Second,
			Fronts: []server.Front{{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-release
				}
				_, _ = io.WriteString(w, "done")
			})}},
			Draining: func() {
				_, err := s.get("/quick")
				told <- err
			},
		})
		slow := s.begin("/slow")
		s.drain()
		time.Sleep(time.Second - 1) // the notice is a tenth of the time-out
		if err := <-told; err != nil {
			t.Errorf("while draining is told: %v, want new connections to be served", err)
		}
		if _, err := s.get("/quick"); err != nil {
			t.Errorf("before the notice is over: %v, want new connections to be served", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if _, err := s.get("/quick"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("once the notice is over: %v, want no new connections", err)
		}
		time.Sleep(8 * time.Second)
		select {
		case err := <-s.ended:
			t.Fatalf("ended with a request under way: %v", err)
		default:
		}
		close(release)
		if err := <-slow; err != nil {
			t.Errorf("the request under way: %v", err)
		}
		if err := <-s.ended; err != nil {
			t.Errorf("got %v, want an end without an error", err)
		}
	})
}

func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, server.Config{
			DrainTimeout: 10 * time.Second,
			Fronts:       []server.Front{{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}},
		})
		endless := s.begin("/")
		began := time.Now()
		s.drain()
		err := <-s.ended
		if err == nil || !strings.Contains(err.Error(), "DRAIN_TIMEOUT") {
			t.Errorf("got %v, want an error that names the setting", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("drained for %v, want 10s", took)
		}
		if err := <-endless; err == nil {
			t.Error("the request under way was answered, want it cut")
		}
	})
}

// Load balancers are given two seconds at most, however long the drain may take.
func TestNoticeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, server.Config{DrainTimeout: time.Hour, Fronts: []server.Front{{Handler: http.NotFoundHandler()}}})
		began := time.Now()
		s.drain()
		if err := <-s.ended; err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("an idle server: %v after %v, want an end after 2s", err, time.Since(began))
		}
	})
}

// A client that sends its header byte by byte does not keep a connection; one that
// sends its body slowly does, as that is for the handler to judge.
func TestOnlyASlowHeaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, server.Config{
			HeaderTimeout: 5 * time.Second, DrainTimeout: time.Second,
			Fronts: []server.Front{{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(w, r.Body)
			})}},
		})
		began := time.Now()
		slowHeader := s.write(t, "GET / HTTP/1.1\r\nHost: server\r\nX-Slow: ", time.Second, strings.Repeat("x", 100))
		if _, err := io.Copy(io.Discard, slowHeader); err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("a slow header: the connection ended after %v (%v), want 5s", time.Since(began), err)
		}
		slow := s.write(t, "PUT / HTTP/1.1\r\nHost: server\r\nConnection: close\r\nContent-Length: 4\r\n\r\n", 4*time.Second, "xxxx")
		resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
		if err != nil {
			t.Fatalf("a slow body: %v", err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "xxxx" {
			t.Errorf("a slow body: got %q (%v)", body, err)
		}
		s.drain()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
}

// A server that cannot listen any more says so, rather than to wait for its end.
func TestFailedListenerIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, server.Config{Fronts: []server.Front{{Handler: http.NotFoundHandler()}}, Draining: func() { t.Error("drained") }})
		synctest.Wait()
		_ = s.Close()
		if err := <-s.ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want the listener's error", err)
		}
	})
}
