package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/audit"
)

const signInterval = time.Minute

var errDisk = errors.New("the disk fails")

// growing is a chain of which only the head is asked for.
type growing struct {
	mu   sync.Mutex
	size int64         // guarded by mu
	err  error         // guarded by mu
	slow time.Duration // how long the next answer is on its way; guarded by mu
}

func (c *growing) AuditHead(context.Context) (int64, audit.Hash, error) {
	c.mu.Lock()
	size, err, slow := c.size, c.err, c.slow
	c.slow = 0
	c.mu.Unlock()
	time.Sleep(slow)
	if err != nil {
		return 0, audit.Hash{}, err
	}
	return size, witness(chain(size), size, "").Head, nil
}

func (c *growing) set(f func(*growing)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *growing) grow() { c.set(func(c *growing) { c.size++ }) }

// signing is a notary in a bubble.
type signing struct {
	*audit.Notary
	t     *testing.T
	chain *growing
	mu    sync.Mutex
	lines map[string]int // how often each line was logged; guarded by mu
}

func inBubble(t *testing.T, test func(t *testing.T, n *signing)) {
	t.Helper()
	t.Parallel()
	signer := newTestSigner(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		n := &signing{t: t, chain: &growing{}, lines: make(map[string]int)}
		n.Notary = &audit.Notary{JournalID: journalID, Chain: n.chain, Signer: signer, Interval: signInterval, Logger: slog.New(&counter{n})}
		test(t, n)
	})
}

// counter counts what is logged, by level and message.
type counter struct{ n *signing }

func (h *counter) Enabled(context.Context, slog.Level) bool { return true }
func (h *counter) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *counter) WithGroup(string) slog.Handler            { return h }

func (h *counter) Handle(_ context.Context, r slog.Record) error {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.n.lines[r.Level.String()+" "+r.Message]++
	return nil
}

func (n *signing) logged(line string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lines[line]
}

// run signs until the test ends, and returns once that has been done for the first time.
func (n *signing) run() {
	ctx, cancel := context.WithCancel(n.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

func (n *signing) later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want checks the newest checkpoint: of which size it is, and when it was made.
func (n *signing) want(size int64, at time.Time) {
	n.t.Helper()
	c, err := audit.OpenCheckpoint([]byte(n.Latest()), n.Signer.Verifier())
	if err != nil {
		n.t.Errorf("%q: %v", n.Latest(), err)
		return
	}
	want := audit.Checkpoint{JournalID: journalID, Size: size, Head: witness(chain(size), size, "").Head, At: at.UTC()}
	if c != want {
		n.t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestHeadIsSignedEachInterval(t *testing.T) {
	inBubble(t, func(t *testing.T, n *signing) {
		if got := n.Latest(); got != "" {
			t.Errorf("got %q before the first", got)
		}
		n.run()
		n.want(0, time.Now()) // of an empty chain, too
		for size := int64(1); size <= 3; size++ {
			n.chain.grow()
			n.later(signInterval - time.Second)
			n.want(size-1, time.Now().Add(time.Second-signInterval))
			n.later(time.Second)
			n.want(size, time.Now())
		}
		if got := n.logged("INFO audit checkpoint"); got != 4 {
			t.Errorf("logged %d checkpoints, want 4", got)
		}
	})
}

func TestChainThatHasNotGrownKeepsItsCheckpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, n *signing) {
		n.chain.grow()
		n.run()
		began, first := time.Now(), n.Latest()
		n.later(10 * signInterval)
		if again, err := n.Sign(t.Context()); err != nil || again != first || n.Latest() != first {
			t.Errorf("got %q (%v), want %q", again, err, first)
		}
		n.want(1, began)
		if got := n.logged("INFO audit checkpoint"); got != 1 {
			t.Errorf("logged %d checkpoints, want 1", got)
		}
	})
}

func TestHeadIsSignedWhenAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *signing) {
		n.run()
		n.later(time.Second)
		n.chain.grow()
		note, err := n.Sign(t.Context())
		if err != nil || note != n.Latest() {
			t.Errorf("got %q (%v), latest %q", note, err, n.Latest())
		}
		n.want(1, time.Now())
	})
}

func TestHeadThatCannotBeReadIsSignedLater(t *testing.T) {
	inBubble(t, func(t *testing.T, n *signing) {
		n.chain.grow()
		n.run()
		began := time.Now()
		n.chain.grow()
		n.chain.set(func(c *growing) { c.err = errDisk })
		n.later(2 * signInterval)
		n.want(1, began)
		if got := n.logged("WARN no audit checkpoint"); got != 2 {
			t.Errorf("complained %d times, want twice", got)
		}
		if _, err := n.Sign(t.Context()); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want %v", err, errDisk)
		}
		n.chain.set(func(c *growing) { c.err = nil })
		n.later(signInterval)
		n.want(2, time.Now())
	})
}

// What another journal's key would sign is signed by nobody.
func TestNotaryOfAnotherJournalSignsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *signing) {
		n.JournalID = "another"
		n.run()
		if got := n.Latest(); got != "" || n.logged("WARN no audit checkpoint") != 1 {
			t.Errorf("got %q, complained %d times", got, n.logged("WARN no audit checkpoint"))
		}
	})
}

// Two sign at once, and the head that was read first arrives last.
func TestNewestCheckpointIsNotReplacedByAnOlder(t *testing.T) {
	inBubble(t, func(t *testing.T, n *signing) {
		n.chain.grow()
		n.chain.set(func(c *growing) { c.slow = time.Second })
		slow := make(chan string, 1)
		go func() {
			note, err := n.Sign(t.Context())
			if err != nil {
				t.Error(err)
			}
			slow <- note
		}()
		n.later(time.Millisecond)
		n.chain.grow()
		if _, err := n.Sign(t.Context()); err != nil {
			t.Error(err)
		}
		began, newest := time.Now(), n.Latest()
		if got := <-slow; got != newest {
			t.Errorf("got %q, want the newest", got)
		}
		n.want(2, began)
	})
}

func TestNotaryNeedsItsParts(t *testing.T) {
	if err := new(audit.Notary).Run(t.Context()); err == nil {
		t.Error("got a notary of nothing")
	}
}
