package replicate_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/replicate"
	"github.com/gnew/tandem/internal/s3op"
)

const bucket = "bucket"

// hookedJournal is the real journal, which can be kept from answering.
type hookedJournal struct {
	*sqlite.Journal
	mu sync.Mutex
	// claiming is called before copies are claimed, claimed once some were, failed before one
	// that failed is recorded, hurried for the error of a Hurry. guarded by mu
	claiming, claimed, failed func()
	hurried                   func(region string) error
}

func (j *hookedJournal) set(f func(*hookedJournal)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(j)
}

func (j *hookedJournal) Claim(ctx context.Context, bucket, region string, c journal.Claim) ([]journal.Task, error) {
	j.mu.Lock()
	claiming, claimed := j.claiming, j.claimed
	j.mu.Unlock()
	if claiming != nil {
		claiming()
	}
	tasks, err := j.Journal.Claim(ctx, bucket, region, c)
	if claimed != nil && len(tasks) > 0 {
		claimed()
	}
	return tasks, err
}

func (j *hookedJournal) Fail(ctx context.Context, t journal.Task, f journal.Failure) error {
	j.mu.Lock()
	hook := j.failed
	j.mu.Unlock()
	if hook != nil {
		hook()
	}
	return j.Journal.Fail(ctx, t, f)
}

func (j *hookedJournal) Hurry(ctx context.Context, bucket, region string) error {
	j.mu.Lock()
	hook := j.hurried
	j.mu.Unlock()
	if hook != nil {
		if err := hook(region); err != nil {
			return err
		}
	}
	return j.Journal.Hurry(ctx, bucket, region)
}

// rig are the workers of three regions, of which a is active, until the test ends.
type rig struct {
	*replicate.Replicator
	t       *testing.T
	servers map[string]*regiontest.Server
	journal *hookedJournal
	// stall has the bodies that regions send stop half-way.
	stall  atomic.Bool
	mu     sync.Mutex
	errors []string // what was logged as an error; guarded by mu
}

// stalling is a client's transport whose answers may stop half-way.
type stalling struct {
	http.RoundTripper
	stall *atomic.Bool
}

func (s stalling) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && s.stall.Load() {
		resp.Body = &stalledBody{ReadCloser: resp.Body, ctx: r.Context()}
	}
	return resp, err
}

// stalledBody ends with its request.
type stalledBody struct {
	io.ReadCloser
	ctx  context.Context
	read bool
}

func (b *stalledBody) Read(p []byte) (int, error) {
	if !b.read {
		b.read = true
		return b.ReadCloser.Read(p[:1])
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func inBubble(t *testing.T, test func(t *testing.T, g *rig)) {
	t.Helper()
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		g := &rig{t: t, servers: make(map[string]*regiontest.Server), journal: &hookedJournal{Journal: store}}
		state, err := store.BeginEpoch(t.Context(), 0, "a")
		g.ok(err)
		names := []string{"a", "b", "c"}
		g.ok(store.Attach(t.Context(), bucket, names))
		cfg := replicate.Config{
			Bucket: bucket, Journal: g.journal, State: func() journal.State { return state }, Workers: 2,
			LeftOpen: func(int64, string, bool) {}, Unsettled: func(string) {}, Logger: slog.New(&errorHandler{rig: g}),
		}
		for _, name := range names {
			g.servers[name] = regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
			cfg.Regions = append(cfg.Regions, newRegion(t, name, g.servers[name], &g.stall))
		}
		g.Replicator, err = replicate.New(cfg)
		g.ok(err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		synctest.Wait()
		test(t, g)
	})
}

func newRegion(t *testing.T, name string, s *regiontest.Server, stall *atomic.Bool) *region.Region {
	t.Helper()
	transport := &http.Transport{DialContext: regiontest.StartPipe(t, s)}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := region.New(t.Context(), region.Config{
		Name: name, Endpoint: "http://127.0.0.1", Bucket: bucket, AccessKey: "key", SecretKey: "secret", Transport: stalling{transport, stall},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// errorHandler notes what is logged as an error.
type errorHandler struct{ rig *rig }

func (h *errorHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}
func (h *errorHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *errorHandler) WithGroup(string) slog.Handler      { return h }

func (h *errorHandler) Handle(_ context.Context, r slog.Record) error {
	h.rig.mu.Lock()
	defer h.rig.mu.Unlock()
	h.rig.errors = append(h.rig.errors, r.Message)
	return nil
}

func (g *rig) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// put makes a write that the active and the index have, and wakes the workers.
func (g *rig) put(key string) {
	g.t.Helper()
	id, err := g.journal.Open(g.t.Context(), journal.Intent{
		Bucket: bucket, Key: key, Region: "a", Operation: journal.Put, Epoch: 1, OpenedAt: time.Now(), DoubtUntil: time.Now().Add(time.Hour),
	})
	g.ok(err)
	o := g.servers["a"].Put(bucket, key, []byte("content"))
	_, err = g.journal.Commit(g.t.Context(), id, journal.Written{ETag: s3op.TrimETag(o.ETag), Size: o.Size})
	g.ok(err)
	g.Wake()
	synctest.Wait()
}

// hang has one kind of request to the region wait until it is let go.
func (g *rig) hang(name, operation string) (goOn func()) {
	wait := make(chan struct{})
	g.servers[name].SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == operation && !s3op.IsReserved(q.Key) {
			return regiontest.Fault{Hang: wait}
		}
		return regiontest.Fault{}
	})
	return func() {
		g.servers[name].SetFaults(nil)
		close(wait)
	}
}

// hold holds the regions, which is to take no time.
func (g *rig) hold(names ...string) (release func()) {
	g.t.Helper()
	began := time.Now()
	release, err := g.Hold(g.t.Context(), names...)
	if took := time.Since(began); err != nil || took > 0 {
		g.t.Errorf("hold %q: %v after %v, want it held at once", names, err, took)
	}
	return release
}

func (g *rig) want(key, name string, state journal.CopyState) {
	g.t.Helper()
	o, err := g.journal.Lookup(g.t.Context(), bucket, key)
	g.ok(err)
	if c := o.Copy(name); c.State != state {
		g.t.Errorf("%s in %s is %s (%s), want it %s", key, name, c.State, c.LastError, state)
	}
	if _, isThere := g.servers[name].Object(bucket, key); state == journal.Current && !isThere {
		g.t.Errorf("%s does not hold %s", name, key)
	}
}

// wantNoErrors: that copies are cut is nothing a human must act upon.
func (g *rig) wantNoErrors() {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.errors) > 0 {
		g.t.Errorf("logged as errors: %q", g.errors)
	}
}

// late is what the journal holds to be on its way to the region.
func (g *rig) late(name string) []journal.LateCopy {
	g.t.Helper()
	tasks, err := g.journal.Journal.Claim(g.t.Context(), bucket, name, journal.Claim{Limit: 1, Lease: time.Second, Conditional: true, Window: time.Second})
	g.ok(err)
	if len(tasks) != 1 {
		g.t.Fatalf("got %d copies to be made in %s, want one", len(tasks), name)
	}
	g.ok(g.journal.Journal.Fail(g.t.Context(), tasks[0], journal.Failure{Reason: "test", NextTry: time.Now()}))
	return tasks[0].Late
}

func TestHoldCutsTheCopiesUnderWay(t *testing.T) {
	for name, tt := range map[string]struct {
		region, operation string
		isLate            bool
	}{
		"being written: it may have landed":    {"b", "PutObject", true},
		"whose source hangs: nothing is there": {"a", "GetObject", false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *rig) {
				goOn := g.hang(tt.region, tt.operation)
				g.put("k")
				release := g.hold("b")
				g.want("k", "b", journal.Pending)
				if late := g.late("b"); (len(late) > 0) != tt.isLate {
					t.Errorf("got %+v on its way, want some: %v", late, tt.isLate)
				}
				goOn()
				g.later(time.Minute)
				g.want("k", "b", journal.Pending)
				release()
				synctest.Wait()
				g.want("k", "b", journal.Current)
				g.wantNoErrors()
			})
		})
	}
}

// A promotion does not wait for the region that it is made because of: the body of a source
// stops half-way, and nobody there answers any more.
func TestHoldDoesNotAskWhetherARegionIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.stall.Store(true)
		g.put("k")
		never := make(chan struct{})
		g.servers["a"].SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Hang: never} })
		release := g.hold("b", "a")
		g.want("k", "b", journal.Pending)
		g.stall.Store(false)
		g.servers["a"].SetFaults(nil)
		release()
		synctest.Wait()
		g.want("k", "b", journal.Current)
		g.wantNoErrors()
	})
}

func TestNothingIsTakenUpWhileARegionIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		release := g.hold("b")
		g.put("k")
		g.later(time.Minute)
		g.want("k", "b", journal.Pending)
		g.want("k", "c", journal.Current) // the others go on
		if n := g.servers["b"].Count("PutObject"); n != 0 {
			t.Errorf("the region was written to %d times", n)
		}
		release()
		synctest.Wait()
		g.want("k", "b", journal.Current)
	})
}

func TestRegionIsHeldUntilTheLastReleases(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		first, second := g.hold("b"), g.hold("b", "c")
		g.put("k")
		first()
		g.later(time.Minute)
		g.want("k", "b", journal.Pending)
		g.want("k", "c", journal.Pending)
		second()
		synctest.Wait()
		g.want("k", "b", journal.Current)
		g.want("k", "c", journal.Current)
	})
}

func TestHoldOfARegionThatThereIsNotHoldsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		release := g.hold("d")
		g.put("k")
		g.want("k", "b", journal.Current)
		release()
	})
}

// Who holds waits until what is known of each copy is on record, and no longer than it may.
func TestHoldWaitsForTheRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.hang("b", "PutObject")
		record := make(chan struct{})
		g.journal.set(func(j *hookedJournal) { j.failed = func() { <-record } })
		g.put("k")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		release, err := g.Hold(ctx, "b")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("got %v after %v, want the end of its time", err, time.Since(began))
		}
		release()
		held := make(chan func(), 1)
		go func() { held <- g.hold0("b") }()
		synctest.Wait()
		if len(held) > 0 {
			t.Error("held before the copy is on record")
		}
		g.journal.set(func(j *hookedJournal) { j.failed = nil })
		close(record)
		release = <-held
		if late := g.late("b"); len(late) == 0 {
			t.Error("the copy is not on record")
		}
		release()
	})
}

// hold0 holds for as long as that takes.
func (g *rig) hold0(names ...string) (release func()) {
	release, err := g.Hold(g.t.Context(), names...)
	if err != nil {
		g.t.Error(err)
	}
	return release
}

// The hold begins between the claim of a copy and its first request.
func TestCopyThatIsClaimedDuringAHoldIsNotMade(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		goOn := make(chan struct{})
		g.journal.set(func(j *hookedJournal) { j.claimed = func() { <-goOn } })
		g.put("k")
		held := make(chan func(), 1)
		go func() { held <- g.hold0("b") }()
		synctest.Wait()
		if len(held) > 0 {
			t.Error("held before the claiming has ended")
		}
		before := g.servers["b"].Requests()
		g.journal.set(func(j *hookedJournal) { j.claimed = nil })
		close(goOn)
		release := <-held
		synctest.Wait()
		if after := g.servers["b"].Requests(); len(after) > len(before) {
			t.Errorf("the region was sent %+v", after[len(before):])
		}
		g.want("k", "b", journal.Pending)
		g.want("k", "c", journal.Current)
		release()
		g.later(5 * time.Second)
		g.want("k", "b", journal.Current)
		g.wantNoErrors()
	})
}

// The hold begins before the journal is asked for copies: it refuses, and that is no fault
// of the journal's.
func TestClaimThatIsCutIsNoError(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		goOn := make(chan struct{})
		g.journal.set(func(j *hookedJournal) { j.claiming = func() { <-goOn } })
		g.put("k")
		held := make(chan func(), 1)
		go func() { held <- g.hold0("b") }()
		synctest.Wait()
		g.journal.set(func(j *hookedJournal) { j.claiming = nil })
		close(goOn)
		release := <-held
		g.want("k", "b", journal.Pending)
		g.wantNoErrors()
		release()
		synctest.Wait()
		g.want("k", "b", journal.Current)
	})
}

// A region that hangs is asked what it honours before anything is claimed for it.
func TestHoldCutsTheClaiming(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		never := make(chan struct{})
		g.servers["b"].SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Hang: never} })
		g.put("k")
		release := g.hold("b")
		g.servers["b"].SetFaults(nil)
		release()
		g.later(5 * time.Second)
		g.want("k", "b", journal.Current)
		g.wantNoErrors()
	})
}

// What waits for a region that has returned is due then, also where the journal fails for a
// moment.
func TestReturnOfARegionIsNotForgottenByAJournalThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, g *rig) {
		g.servers["b"].SetFaults(func(q regiontest.Request) regiontest.Fault {
			if q.Key == "k" {
				return regiontest.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
			}
			return regiontest.Fault{}
		})
		g.put("k")
		g.later(20 * time.Minute) // by now it is tried every few minutes
		tries := slices.IndexFunc(g.servers["b"].Requests(), func(q regiontest.Request) bool { return q.Key == "k" })
		if tries < 0 {
			t.Error("the copy was not tried")
		}
		g.want("k", "b", journal.Pending)
		g.servers["b"].SetFaults(nil)
		failures := 1
		g.journal.set(func(j *hookedJournal) {
			j.hurried = func(region string) error {
				if region != "b" || failures == 0 {
					return nil
				}
				failures--
				return errors.New("the disk fails")
			}
		})
		g.Returned()
		g.later(20 * time.Second)
		g.want("k", "b", journal.Current)
	})
}
