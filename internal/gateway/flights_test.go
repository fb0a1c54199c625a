package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// hang has puts into the region wait until they are let go.
func hang(s *regiontest.Server) (goOn func()) {
	wait := make(chan struct{})
	s.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "PutObject" {
			return regiontest.Fault{Hang: wait}
		}
		return regiontest.Fault{}
	})
	return func() { close(wait) }
}

// wantWaiting checks that none has ended yet.
func wantWaiting(t *testing.T, what string, ended <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-ended:
		t.Errorf("%s has ended (%v), want it to wait", what, err)
	default:
	}
}

func TestFenceLetsWritesEndAndHoldsOthersBack(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		goOn := hang(g.a)
		underWay := g.begin("first", "content")
		fenced := make(chan func(), 1)
		go func() { fenced <- g.Fence(t.Context()) }()
		synctest.Wait()
		heldBack := g.begin("second", "content")
		wantWaiting(t, "a write that is held back", heldBack)
		if n := g.WritesInFlight(); n != 1 {
			t.Errorf("%d writes are under way, want 1", n)
		}
		if len(fenced) > 0 {
			t.Error("the fence did not wait for the write under way")
		}
		goOn()
		lift := <-fenced
		g.ok(<-underWay)
		wantWaiting(t, "a write that is held back", heldBack)
		if n := g.WritesInFlight(); n != 0 {
			t.Errorf("%d writes are under way, want none", n)
		}
		lift()
		g.ok(<-heldBack)
	})
}

// What was held back is a write of the next epoch.
func TestWriteThatWasHeldBackGoesToTheNewActive(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		lift := g.Fence(t.Context())
		heldBack := g.begin("k", "content")
		g.ok(g.Switch(t.Context(), g.promoted()))
		wantWaiting(t, "a write that is held back", heldBack)
		lift()
		g.ok(<-heldBack)
		if _, isThere := g.a.Object(bucket, "k"); isThere {
			t.Error("the old active was written to")
		}
		g.wantRead("k", "content", "b", false)
	})
}

func TestFenceWaitsNoLongerThanItMay(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		goOn := hang(g.a)
		underWay := g.begin("k", "content")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		lift := g.Fence(ctx)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("waited %v, want 5 s", took)
		}
		lift()
		goOn()
		g.ok(<-underWay)
	})
}

func TestWritesAreHeldBackUntilTheLastFenceIsLifted(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		first, second := g.Fence(t.Context()), g.Fence(t.Context())
		heldBack := g.begin("k", "content")
		second()
		wantWaiting(t, "a write that is held back", heldBack)
		third := g.Fence(t.Context())
		first()
		wantWaiting(t, "a write that is held back", heldBack)
		third()
		g.ok(<-heldBack)
		g.Fence(t.Context())()
		if _, err := g.put("k", "more"); err != nil {
			t.Errorf("after all of them: %v", err)
		}
	})
}

func TestClientThatLeavesAtAFenceWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		lift := g.Fence(t.Context())
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := g.Put(ctx, "k", gateway.PutInput{Header: http.Header{}, Body: bytes.NewReader([]byte("x")), Size: 1})
			ended <- err
		}()
		wantWaiting(t, "a write that is held back", ended)
		leave()
		err := <-ended
		g.wantUnavailable("a write whose client has left", err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the client's leaving for its cause", err)
		}
		lift()
		synctest.Wait()
		if keys := g.a.Keys(bucket); len(keys) > 0 || g.WritesInFlight() != 0 {
			t.Errorf("the region holds %q, %d writes are under way", keys, g.WritesInFlight())
		}
	})
}

func TestAfterStopNoFenceLetsAWriteThrough(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		lift := g.Fence(t.Context())
		heldBack := g.begin("k", "content")
		g.Stop()
		lift()
		g.wantUnavailable("a write that was held back", <-heldBack)
		if keys := g.a.Keys(bucket); len(keys) > 0 {
			t.Errorf("the region holds %q", keys)
		}
	})
}
