package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/reconcile"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

const bucket = "bucket"

// rig is a journal and two regions; a is the active.
type rig struct {
	*reconcile.Attacher
	t       *testing.T
	a, b    *regiontest.Server
	journal *sqlite.Journal
	epoch   int64
	mu      sync.Mutex
	told    []string // what Compared was told last; guarded by mu
}

func (g *rig) tell(regions []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = slices.Sorted(slices.Values(regions))
}

// inBubble runs a test whose regions and journal are its bubble's.
func inBubble(t *testing.T, test func(g *rig)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		j, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
		state, err := j.BeginEpoch(t.Context(), 0, "a")
		if err != nil {
			t.Fatal(err)
		}
		g := &rig{t: t, journal: j, epoch: state.Epoch}
		g.a, g.b = newServer(), newServer()
		g.Attacher = &reconcile.Attacher{
			Bucket: bucket, Regions: []*region.Region{newRegion(t, "a", g.a), newRegion(t, "b", g.b)}, Journal: j,
			Compared: g.tell, Logger: log,
		}
		if err := g.Attach(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(g)
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

// open begins a write in the active.
func (g *rig) open(key string, op journal.Operation) int64 {
	g.t.Helper()
	id, err := g.journal.Open(g.t.Context(), journal.Intent{
		Bucket: bucket, Key: key, Region: "a", Operation: op, Epoch: g.epoch, OpenedAt: time.Now(), DoubtUntil: time.Now().Add(time.Hour),
	})
	if err != nil {
		g.t.Error(err)
	}
	return id
}

func (g *rig) commit(id int64) {
	g.t.Helper()
	if _, err := g.journal.Commit(g.t.Context(), id, journal.Written{ETag: "e", Size: 1}); err != nil {
		g.t.Error(err)
	}
}

// put makes a write that both the active and the index have.
func (g *rig) put(key string) {
	g.t.Helper()
	g.commit(g.open(key, journal.Put))
	g.a.Put(bucket, key, []byte("x"))
}

// begin compares beside the test; wait returns once that has ended.
func (g *rig) begin() (wait func()) {
	g.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- g.Compare(g.t.Context()) }()
	synctest.Wait()
	return func() {
		g.t.Helper()
		if err := <-ended; err != nil {
			g.t.Errorf("compare: %v", err)
		}
	}
}

func (g *rig) uncompared(region string) int64 {
	keys, known := g.Uncompared(region)
	if !known {
		return -1
	}
	return keys
}

// want checks what was told, and what the journal will tell the next start.
func (g *rig) want(regions ...string) {
	g.t.Helper()
	kept, err := g.journal.Compared(g.t.Context(), bucket)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.told, regions) || !slices.Equal(kept, regions) {
		g.t.Errorf("told %q and recorded %q, want %q", g.told, kept, regions)
	}
}

func TestRegionsOfWhichTheIndexKnowsEveryKeyAreCompared(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(g *rig)
		want    []string
	}{
		{"both empty", func(*rig) {}, []string{"a", "b"}},
		{"what was written through the gateway", func(g *rig) {
			g.put("k")
			g.b.Put(bucket, "k", []byte("x"))
		}, []string{"a", "b"}},
		{"a tombstone whose object is still there", func(g *rig) {
			g.commit(g.open("k", journal.Delete))
			g.b.Put(bucket, "k", []byte("x"))
		}, []string{"a", "b"}},
		{"keys of our own", func(g *rig) {
			g.a.Put(bucket, ".tandem/probe", nil)
			g.b.Put(bucket, ".tandem/probe", nil)
		}, []string{"a", "b"}},
		{"a past in the replica", func(g *rig) { g.b.Put(bucket, "past", nil) }, []string{"a"}},
		{"a past in the active: the empty replica lacks it", func(g *rig) { g.a.Put(bucket, "past", nil) }, nil},
		{"more keys than one page lists", func(g *rig) {
			var writers sync.WaitGroup
			for i := range region.MaxListKeys + 1 {
				writers.Go(func() { g.put(fmt.Sprint(i)) })
			}
			writers.Wait()
		}, []string{"a", "b"}},
		{"a key unknown on the second page", func(g *rig) {
			for i := range region.MaxListKeys + 1 {
				g.a.Put(bucket, fmt.Sprintf("past-%04d", i), nil)
			}
			if g.begin()(); g.uncompared("a") != int64(region.MaxListKeys+1) || g.uncompared("b") != 0 {
				g.t.Errorf("uncompared keys: %d in a, %d in b; want all of a's, none of b's", g.uncompared("a"), g.uncompared("b"))
			}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(g *rig) {
				tt.prepare(g)
				began := time.Now()
				g.begin()()
				g.want(tt.want...)
				if took := time.Since(began); took > 0 {
					g.t.Errorf("took %v, want no second look at what was answered", took)
				}
			})
		})
	}
}

// What the region holds of a key that has only an intent may have been there before.
func TestKeyThatHasOnlyAnIntentIsNotKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(g *rig, id int64) error
		want []string
	}{
		"committed": {func(g *rig, id int64) error {
			g.commit(id)
			return nil
		}, []string{"a", "b"}},
		"abandoned": {func(g *rig, id int64) error { return g.journal.Abandon(g.t.Context(), id) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(g *rig) {
				g.a.Put(bucket, "k", []byte("x"))
				id := g.open("k", journal.Put)
				wait := g.begin()
				g.want()
				if err := tt.end(g, id); err != nil {
					g.t.Fatal(err)
				}
				wait()
				g.want(tt.want...)
			})
		})
	}
}

// A region that does not answer is asked again; a replica does not count before the active.
func TestRegionsThatAreDownAreComparedOnceTheyAreBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		down  func(g *rig) *regiontest.Server
		early []string
	}{
		{"the active", func(g *rig) *regiontest.Server { return g.a }, nil},
		{"the replica", func(g *rig) *regiontest.Server { return g.b }, []string{"a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(g *rig) {
				tt.down(g).SetDown(true)
				wait := g.begin()
				g.want(tt.early...)
				time.Sleep(time.Minute)
				synctest.Wait()
				g.want(tt.early...)
				tt.down(g).SetDown(false)
				wait()
				g.want("a", "b")
			})
		})
	}
}

// faultyJournal is the journal, which fails a number of times.
type faultyJournal struct {
	*sqlite.Journal
	compared, setCompared, lookup int
}

var errJournal = errors.New("no such device")

func failed(times *int) error {
	if *times--; *times >= 0 {
		return errJournal
	}
	return nil
}

func (j *faultyJournal) Compared(ctx context.Context, bucket string) ([]string, error) {
	if err := failed(&j.compared); err != nil {
		return nil, err
	}
	return j.Journal.Compared(ctx, bucket)
}

func (j *faultyJournal) SetCompared(ctx context.Context, bucket string, regions []string) error {
	if err := failed(&j.setCompared); err != nil {
		return err
	}
	return j.Journal.SetCompared(ctx, bucket, regions)
}

func (j *faultyJournal) Lookup(ctx context.Context, bucket, key string) (*journal.Object, error) {
	if err := failed(&j.lookup); err != nil {
		return nil, err
	}
	return j.Journal.Lookup(ctx, bucket, key)
}

// The gateway does not end because its journal failed for a while.
func TestJournalThatFailsForAWhileIsAskedAgain(t *testing.T) {
	for name, faults := range map[string]faultyJournal{
		"what was compared": {compared: 2}, "a row": {lookup: 2}, "the record": {setCompared: 2}, "all of it": {compared: 1, lookup: 1, setCompared: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(g *rig) {
				faults.Journal = g.journal
				g.Journal = &faults
				g.put("k")
				wait := g.begin()
				g.want()
				wait()
				g.want("a", "b")
			})
		})
	}
}

func TestComparingEndsWithItsContext(t *testing.T) {
	inBubble(t, func(g *rig) {
		g.a.SetDown(true)
		ctx, cancel := context.WithCancel(g.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Compare(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("got %v, want an end without an error", err)
		}
		g.want()
	})
}

// A region that is added later has a pending copy of every key that the index knows,
// and what was compared before stays so.
func TestRegionAddedLaterIsToBeFilled(t *testing.T) {
	inBubble(t, func(g *rig) {
		g.put("k")
		g.begin()()
		c := newServer()
		g.Regions = append(g.Regions, newRegion(g.t, "c", c))
		g.tell(nil)
		if err := g.Attach(g.t.Context()); err != nil {
			g.t.Fatal(err)
		}
		g.want("a", "b")
		o, err := g.journal.Lookup(g.t.Context(), bucket, "k")
		if err != nil || o.Copy("a").State != journal.Current || o.Copy("c").State != journal.Pending {
			g.t.Errorf("got %+v (%v), want a pending copy in c", o, err)
		}
		if lag, err := g.journal.Lag(g.t.Context(), bucket, "c"); err != nil || lag.Keys != 1 {
			g.t.Errorf("got lag %+v (%v), want one key", lag, err)
		}
		g.begin()()
		g.want("a", "b", "c")
		if listed := g.a.Count("ListObjectsV2"); listed != 1 {
			g.t.Errorf("the active was listed %d times, want once", listed)
		}
	})
}
