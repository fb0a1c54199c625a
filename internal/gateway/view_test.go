package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/s3op"
)

// hookedJournal is the real journal, which can be kept from answering.
type hookedJournal struct {
	*sqlite.Journal
	lookups atomic.Int64
	mu      sync.Mutex
	// differing is called once a page was read, lookup once a row was; each is the answer's
	// error. guarded by mu
	differing, lookup func() error
}

func (j *hookedJournal) set(f func(*hookedJournal)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(j)
}

func (j *hookedJournal) call(pick func() func() error) error {
	j.mu.Lock()
	hook := pick()
	j.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook()
}

func (j *hookedJournal) Differing(ctx context.Context, bucket, region, after, upTo string, limit int) ([]*journal.Object, error) {
	rows, err := j.Journal.Differing(ctx, bucket, region, after, upTo, limit)
	return rows, errors.Join(err, j.call(func() func() error { return j.differing }))
}

func (j *hookedJournal) Lookup(ctx context.Context, bucket, key string) (*journal.Object, error) {
	j.lookups.Add(1)
	o, err := j.Journal.Lookup(ctx, bucket, key)
	return o, errors.Join(err, j.call(func() func() error { return j.lookup }))
}

// pair is a gateway with two regions, of which a is active; both were compared.
type pair struct {
	*gateway.Gateway
	t       *testing.T
	a, b    *regiontest.Server
	journal *hookedJournal
}

// inBubble runs a test whose gateway, regions and journal are its bubble's.
func inBubble(t *testing.T, test func(t *testing.T, g *pair)) {
	t.Helper()
	t.Parallel()
	path, spool := filepath.Join(t.TempDir(), "journal.db"), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		g := &pair{t: t, journal: &hookedJournal{Journal: store}}
		state, err := store.BeginEpoch(t.Context(), 0, "a")
		g.ok(err)
		g.ok(store.Attach(t.Context(), bucket, []string{"a", "b"}))
		g.ok(store.SetCompared(t.Context(), bucket, []string{"a", "b"}))
		g.a, g.b = newServer(), newServer()
		g.Gateway, err = gateway.New(gateway.Config{
			Bucket: bucket, Regions: []*region.Region{newRegion(t, "a", g.a), newRegion(t, "b", g.b)}, Journal: g.journal, State: state,
			SpoolDir: spool, Logger: log,
		})
		g.ok(err)
		g.SetCompared([]string{"a", "b"})
		test(t, g)
	})
}

func newServer() *regiontest.Server {
	return regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
}

func newRegion(t *testing.T, name string, s *regiontest.Server) *region.Region {
	t.Helper()
	transport := &http.Transport{DialContext: regiontest.StartPipe(t, s)}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := region.New(t.Context(), region.Config{
		Name: name, Endpoint: "http://127.0.0.1", Bucket: bucket, AccessKey: "key", SecretKey: "secret", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (g *pair) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *pair) put(key, data string) (gateway.Result, error) {
	return g.Put(g.t.Context(), key, gateway.PutInput{Header: http.Header{}, Body: bytes.NewReader([]byte(data)), Size: int64(len(data))})
}

// begin puts beside the test.
func (g *pair) begin(key, data string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := g.put(key, data)
		ended <- err
	}()
	synctest.Wait()
	return ended
}

// replicated is an object that both regions have.
func (g *pair) replicated(key, data string) {
	g.t.Helper()
	_, err := g.put(key, data)
	g.ok(err)
	etag := s3op.TrimETag(g.b.Put(bucket, key, []byte(data)).ETag)
	tasks, err := g.journal.Claim(g.t.Context(), bucket, "b", journal.Claim{Limit: 100, Lease: time.Hour, Conditional: true, Window: time.Hour})
	g.ok(err)
	for _, task := range tasks {
		if task.Object.Key == key {
			_, err = g.journal.Finish(g.t.Context(), task, etag)
			g.ok(err)
		}
	}
}

// promoted has the journal begin the epoch of b.
func (g *pair) promoted() journal.State {
	g.t.Helper()
	_, err := g.journal.Promote(g.t.Context(), journal.Promotion{After: 1, Region: "b", Actor: "test"})
	g.ok(err)
	state, err := g.journal.State(g.t.Context())
	g.ok(err)
	return state
}

// switching serves the epoch beside the test, and returns once the first page of what may
// be dirty was read; loaded lets the page through.
func (g *pair) switching(s journal.State) (loaded func(error), ended <-chan error) {
	read := make(chan error)
	g.journal.set(func(j *hookedJournal) { j.differing = func() error { return <-read } })
	end := make(chan error, 1)
	go func() { end <- g.Switch(g.t.Context(), s) }()
	synctest.Wait()
	return func(err error) {
		g.journal.set(func(j *hookedJournal) { j.differing = nil })
		read <- err
	}, end
}

// wantRead checks what is read, from where, and whether the index was asked for it.
func (g *pair) wantRead(key, data, from string, isAsked bool) {
	g.t.Helper()
	before := g.journal.lookups.Load()
	answer, err := g.Read(g.t.Context(), key, gateway.ReadInput{Header: http.Header{}})
	if err != nil {
		g.t.Errorf("%s: %v", key, err)
		return
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || string(got) != data || answer.Region != from {
		g.t.Errorf("%s: got %q of %s (%v), want %q of %s", key, got, answer.Region, err, data, from)
	}
	if asked := g.journal.lookups.Load() > before; asked != isAsked {
		g.t.Errorf("%s: the index was asked: %v, want %v", key, asked, isAsked)
	}
}

func (g *pair) wantActive(name string, epoch int64) {
	g.t.Helper()
	if s := g.State(); s.Active != name || s.Epoch != epoch {
		g.t.Errorf("epoch %d of %s is served, want %d of %s", s.Epoch, s.Active, epoch, name)
	}
}

func (g *pair) wantUnavailable(what string, err error) {
	g.t.Helper()
	if s3op.KindOf(err) != s3op.Unavailable {
		g.t.Errorf("%s: got %v, want it unavailable", what, err)
	}
}

// An older version in the new active is never served in silence: until all that it may lack
// is known, the old epoch is served.
func TestEpochIsServedOnceItIsKnownWhatItsActiveLacks(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		g.replicated("k", "older")
		_, err := g.put("k", "newer")
		g.ok(err)
		g.replicated("settled", "content")
		loaded, ended := g.switching(g.promoted())
		g.wantActive("a", 1)
		g.wantRead("k", "newer", "a", false)
		g.wantRead("settled", "content", "a", false)
		_, err = g.put("k", "of an old epoch")
		g.wantUnavailable("a write of an old epoch", err)
		loaded(nil)
		g.ok(<-ended)
		g.wantActive("b", 2)
		g.wantRead("k", "newer", "a", true)
		g.wantRead("settled", "content", "b", false)
	})
}

func TestEpochThatCannotBeLoadedIsNotServed(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		g.replicated("k", "older")
		_, err := g.put("k", "newer")
		g.ok(err)
		state := g.promoted()
		loaded, ended := g.switching(state)
		loaded(errDisk)
		if err := <-ended; !errors.Is(err, errDisk) {
			t.Errorf("got %v, want %v", err, errDisk)
		}
		g.wantActive("a", 1)
		g.wantRead("k", "newer", "a", false)
		g.ok(g.Switch(t.Context(), state))
		g.wantActive("b", 2)
		g.wantRead("k", "newer", "a", true)
	})
}

// What becomes doubtful while the next epoch is loaded is doubtful in both.
func TestDistrustDuringASwitchCountsBeforeAndAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		g.replicated("k", "content")
		loaded, ended := g.switching(g.promoted())
		g.Distrust("k")
		g.wantRead("k", "content", "a", true) // and finds it clean, in the old epoch
		g.wantRead("k", "content", "a", false)
		loaded(nil)
		g.ok(<-ended)
		g.wantRead("k", "content", "b", true)
		g.wantRead("k", "content", "b", false)
		g.Distrust("k")
		g.wantRead("k", "content", "b", true)
	})
}

// A reader of the old epoch has looked the key up, and is slow; what it found clean there is
// not clean in the new one.
func TestReaderOfTheOldEpochClearsNothingOfTheNew(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		g.replicated("k", "older")
		_, err := g.put("k", "newer")
		g.ok(err)
		g.Distrust("k")
		goOn, answered := make(chan struct{}), make(chan error, 1)
		g.journal.set(func(j *hookedJournal) {
			j.lookup = func() error {
				<-goOn
				return nil
			}
		})
		go func() {
			answer, err := g.Read(t.Context(), "k", gateway.ReadInput{Header: http.Header{}})
			if err == nil {
				err = answer.Body.Close()
			}
			answered <- err
		}()
		synctest.Wait()
		g.ok(g.Switch(t.Context(), g.promoted()))
		g.journal.set(func(j *hookedJournal) { j.lookup = nil })
		close(goOn)
		g.ok(<-answered)
		g.wantRead("k", "newer", "a", true)
		g.wantRead("k", "newer", "a", true)
	})
}

func TestSwitchCutsTheWritesToTheOldActive(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		never := make(chan struct{})
		g.a.SetFaults(func(q regiontest.Request) regiontest.Fault {
			if q.Operation == "PutObject" {
				return regiontest.Fault{Hang: never}
			}
			return regiontest.Fault{}
		})
		ended := g.begin("k", "content")
		began := time.Now()
		g.ok(g.Switch(t.Context(), g.promoted()))
		g.wantUnavailable("a write that was cut", <-ended)
		if took := time.Since(began); took > 0 {
			t.Errorf("it was cut after %v, want at once", took)
		}
		o, err := g.journal.Journal.Lookup(t.Context(), bucket, "k")
		if err != nil || len(o.Intents) != 1 || !o.Intents[0].InDoubt || o.Intents[0].Region != "a" {
			t.Errorf("got %+v (%v), want one intent, in doubt in a", o, err)
		}
		w, err := g.put("other", "content")
		if err != nil || w.Region != "b" || w.Version.Epoch != 2 {
			t.Errorf("got %+v (%v), want a write into b", w, err)
		}
	})
}

func TestOnlyALaterEpochIsServed(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		before := g.State()
		g.ok(g.Switch(t.Context(), g.promoted()))
		g.ok(g.Switch(t.Context(), before))
		g.wantActive("b", 2)
		if err := g.Switch(t.Context(), journal.State{Epoch: 3, Active: "c"}); err == nil {
			t.Error("got no error of an active that there is not")
		}
		g.wantActive("b", 2)
	})
}

// A promotion says nothing of which regions were compared or came back older.
func TestSwitchKeepsWhatIsKnownOfTheRegions(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		g.SetCompared([]string{"b"})
		g.SetRegressed([]string{"a"})
		g.ok(g.Switch(t.Context(), g.promoted()))
		if got := g.ComparedRegions(); !maps.Equal(got, map[string]bool{"b": true}) {
			t.Errorf("compared: got %v, want b", got)
		}
		if got := g.RegressedRegions(); !maps.Equal(got, map[string]bool{"a": true}) {
			t.Errorf("regressed: got %v, want a", got)
		}
		if got := g.Regions(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("got regions %q, want both in their order", got)
		}
	})
}

func TestReadsOfARegressedActiveAskTheIndex(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		g.replicated("k", "content")
		g.wantRead("k", "content", "a", false)
		g.SetRegressed([]string{"a"})
		for range 2 {
			g.wantRead("k", "content", "a", true)
		}
		g.SetRegressed(nil)
		g.wantRead("k", "content", "a", false)
	})
}

func TestDetachedRegionIsKnownNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T, g *pair) {
		g.SetRegressed([]string{"b"})
		g.ok(g.journal.Detach(t.Context(), "b", "test", "gone"))
		g.Detach("b")
		if got := g.Regions(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("got regions %q, want a", got)
		}
		if g.ComparedRegions()["b"] || g.RegressedRegions()["b"] || !g.ComparedRegions()["a"] {
			t.Errorf("got compared %v and regressed %v, want nothing of b", g.ComparedRegions(), g.RegressedRegions())
		}
		w, err := g.put("k", "content")
		if err != nil || len(w.Replication) != 0 {
			t.Errorf("got %+v (%v), want a write without replicas", w, err)
		}
		statuses, err := g.RegionStatuses(t.Context())
		if err != nil || len(statuses) != 1 {
			t.Errorf("got %+v (%v), want the status of one region", statuses, err)
		}
		o, err := g.Status(t.Context(), "k")
		if err != nil || len(o.Copies) != 1 {
			t.Errorf("got %+v (%v), want one copy", o, err)
		}
	})
}
