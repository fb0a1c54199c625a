package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// restartAfter is how long a process that died is waited with, as a gateway does with its regions' at first.
const restartAfter = 100 * time.Millisecond

// supervised is a process that is started again whenever it dies, unless it is kept away.
type supervised struct {
	command func() *exec.Cmd
	log     buffer
	wake    chan struct{}

	mu      sync.Mutex
	process *os.Process   // nil while none runs
	ended   chan struct{} // closed once that process has ended
	barred  int           // how many keep it away
}

// supervise runs a process until the test ends. It ends with this process too, however that ends.
func supervise(t *testing.T, command func() *exec.Cmd) *supervised {
	t.Helper()
	s := &supervised{command: command, wake: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		runtime.LockOSThread() // a process that is to end with its parent ends with the thread that started it
		defer runtime.UnlockOSThread()
		s.run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-finished
		if t.Failed() {
			fmt.Fprintf(t.Output(), "--- the log of a region ---\n%s\n", s.log.tail(8<<10))
		}
	})
	return s
}

func (s *supervised) run(ctx context.Context) {
	for ctx.Err() == nil {
		if cmd := s.start(); cmd != nil {
			isOver := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait() // it is killed, and nothing else is expected of it
			isOver()
			s.gone()
		}
		select {
		case <-time.After(restartAfter):
		case <-s.wake:
		case <-ctx.Done():
		}
	}
}

// start starts the process, nil where it is kept away or does not start.
func (s *supervised) start() *exec.Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.barred > 0 {
		return nil
	}
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.SysProcAttr = endsWithParent()
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(&s.log, err)
		return nil
	}
	s.process, s.ended = cmd.Process, make(chan struct{})
	return cmd
}

func (s *supervised) gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = nil
	close(s.ended)
}

func (s *supervised) pid(*testing.T) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0, false
	}
	return s.process.Pid, true
}

func (s *supervised) keepAway(*testing.T) (comeBack func(), isAway bool) {
	s.mu.Lock()
	s.barred++
	process, ended := s.process, s.ended
	s.mu.Unlock()
	if process != nil {
		_ = process.Kill() // it may have ended
		<-ended
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.barred--
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}), true
}

func (s *supervised) isAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.barred > 0
}

// remote is what servers beside the gateway have in common.
type remote struct {
	*supervised
	at     access
	client *region.Region
}

func newRemote(t *testing.T, name string, at access, command func() *exec.Cmd) remote {
	t.Helper()
	r := remote{at: at, client: newRegion(t, name, at)} // whose connections outlast the process
	r.supervised = supervise(t, command)
	return r
}

func (r remote) access(*testing.T) access { return r.at }

func (r remote) awaitServing(t *testing.T) {
	t.Helper()
	eventually(t, "the region at "+r.at.endpoint+" answers", func() bool { return r.isAway() || r.client.CheckBucket(t.Context()) == nil })
}

func (r remote) size(t *testing.T, key string) int64 {
	t.Helper()
	a, err := r.client.Head(t.Context(), key, nil)
	switch {
	case region.IsNotFound(err):
		return -1
	case err != nil:
		t.Fatal(err)
	}
	return a.Size()
}

func (r remote) lose(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := r.client.Delete(t.Context(), key, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func (r remote) loseOwn(t *testing.T) {
	t.Helper()
	var own []string
	for after, more := "", true; more; {
		page, err := r.client.List(t.Context(), region.ListOptions{Prefix: s3op.ReservedPrefix, StartAfter: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			after = o.Key
			own = append(own, o.Key)
		}
		more = page.Truncated
	}
	r.lose(t, own...)
}

func (r remote) plant(t *testing.T, keys []string, text string) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for _, key := range keys {
		group.Go(func() error {
			_, err := r.client.Put(ctx, key, nil, strings.NewReader(text), int64(len(text)))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// The ports of servers are below those that outgoing connections get: nobody takes one while its server is away.
const lowestServerPort, serverPorts = 12000, 7000

var serversSoFar atomic.Int64

// freeAddress is one that nobody listens on, and that no other server of this run is given.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range serverPorts {
		port := lowestServerPort + (int64(os.Getpid())*100+serversSoFar.Add(1))%serverPorts
		address := net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
