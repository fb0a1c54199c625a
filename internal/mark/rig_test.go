package mark_test

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/gnew/tandem/internal/mark"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/s3op"
)

const (
	bucket   = "bucket"
	interval = time.Minute
	timeout  = 5 * time.Second
)

// rig is a journal and two regions; a is the active.
type rig struct {
	*mark.Keeper
	t       *testing.T
	cfg     mark.Config
	a, b    *regiontest.Server
	journal *faultyJournal
	mu      sync.Mutex
	told    [][]string // guarded by mu
	queued  int        // guarded by mu
}

// faultyJournal is the journal, which fails as its test says.
type faultyJournal struct {
	*sqlite.Journal
	mu sync.Mutex
	// setMark is what becomes of the next SetMark, nil where that goes well.
	setMark error
	// slow is how long the next answer of Regressed is on its way.
	slow time.Duration
}

var errDisk = errors.New("the disk fails")

func (j *faultyJournal) SetMark(ctx context.Context, bucket, region string, m journal.Mark) error {
	j.mu.Lock()
	err := j.setMark
	j.setMark = nil
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.Journal.SetMark(ctx, bucket, region, m)
}

func (j *faultyJournal) Regressed(ctx context.Context, bucket string) (map[string]string, error) {
	regressed, err := j.Journal.Regressed(ctx, bucket)
	j.mu.Lock()
	slow := j.slow
	j.slow = 0
	j.mu.Unlock()
	time.Sleep(slow)
	return regressed, err
}

func (j *faultyJournal) failSetMark() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.setMark = errDisk
}

func (j *faultyJournal) slowRegressed(by time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.slow = by
}

// inBubble runs a test whose regions and journal are its bubble's.
func inBubble(t *testing.T, test func(t *testing.T, g *rig)) {
	t.Helper()
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
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
		g := &rig{t: t, a: newServer(), b: newServer(), journal: &faultyJournal{Journal: store}}
		_, err = store.BeginEpoch(t.Context(), 0, "a")
		g.ok(err)
		g.ok(store.Attach(t.Context(), bucket, []string{"a", "b"}))
		g.cfg = mark.Config{
			Bucket: bucket, Regions: []*region.Region{newRegion(t, "a", g.a), newRegion(t, "b", g.b)}, Journal: g.journal,
			Interval: interval, Timeout: timeout, Checkpoint: func() string { return "signed" },
			Changed: func(regions []string) {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.told = append(g.told, regions)
			},
			Queued: func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.queued++
			},
			Logger: log,
		}
		g.restart()
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

// restart makes a new keeper, which knows what the journal does and no more.
func (g *rig) restart() {
	g.t.Helper()
	k, err := mark.New(g.cfg)
	g.ok(err)
	g.Keeper = k
}

func (g *rig) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// run has the marks written until the test ends, and returns once that has begun.
func (g *rig) run() {
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

// later lets time pass.
func (g *rig) later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (g *rig) write(name string) {
	g.t.Helper()
	g.ok(g.Write(g.t.Context(), name))
}

func (g *rig) check(name string) {
	g.t.Helper()
	g.ok(g.Check(g.t.Context(), name))
}

// put draws a sequence.
func (g *rig) put(key string) journal.Version {
	g.t.Helper()
	state, err := g.journal.State(g.t.Context())
	g.ok(err)
	id, err := g.journal.Open(g.t.Context(), journal.Intent{
		Bucket: bucket, Key: key, Region: state.Active, Operation: journal.Put, Epoch: state.Epoch, OpenedAt: time.Now(), DoubtUntil: time.Now().Add(time.Hour),
	})
	g.ok(err)
	committed, err := g.journal.Commit(g.t.Context(), id, journal.Written{ETag: "e", Size: 1})
	g.ok(err)
	return committed.Version
}

// copied brings every pending copy to the region, by the journal's account.
func (g *rig) copied(name string) {
	g.t.Helper()
	tasks, err := g.journal.Claim(g.t.Context(), bucket, name, journal.Claim{Limit: 100, Lease: time.Hour, Conditional: true, Window: time.Hour})
	g.ok(err)
	for _, task := range tasks {
		_, err := g.journal.Finish(g.t.Context(), task, "e")
		g.ok(err)
	}
}

func (g *rig) copyState(key, name string) journal.CopyState {
	g.t.Helper()
	o, err := g.journal.Lookup(g.t.Context(), bucket, key)
	g.ok(err)
	return o.Copy(name).State
}

// mark is what the region's mark says.
func (g *rig) mark(s *regiontest.Server) mark.Content {
	g.t.Helper()
	o, isThere := s.Object(bucket, mark.Key)
	if !isThere {
		g.t.Fatal("the region has no mark")
	}
	var c mark.Content
	g.ok(json.Unmarshal(o.Data, &c))
	return c
}

// restore brings an older mark back, as whoever restores the region does.
func (g *rig) restore(s *regiontest.Server, c mark.Content) {
	g.t.Helper()
	data, err := json.Marshal(c)
	g.ok(err)
	s.Put(bucket, mark.Key, data)
}

// wantRecorded checks that the journal knows the region's mark for its own.
func (g *rig) wantRecorded(name string, s *regiontest.Server) {
	g.t.Helper()
	got, err := g.journal.Mark(g.t.Context(), bucket, name)
	g.ok(err)
	c := g.mark(s)
	o, _ := s.Object(bucket, mark.Key)
	if got.Epoch != c.Epoch || got.Sequence != c.Sequence || got.ETag != s3op.TrimETag(o.ETag) || !got.WrittenAt.Equal(c.WrittenAt) {
		g.t.Errorf("region %s: recorded %+v, its mark is %+v, ETag %s", name, got, c, o.ETag)
	}
}

// wantRegressed checks what the journal and whoever is told know.
func (g *rig) wantRegressed(names ...string) {
	g.t.Helper()
	recorded, err := g.journal.Journal.Regressed(g.t.Context(), bucket)
	g.ok(err)
	for _, name := range names {
		if recorded[name] == "" {
			g.t.Errorf("region %s is not regressed, want it so, with a reason", name)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var last []string
	if len(g.told) > 0 {
		last = g.told[len(g.told)-1]
	}
	if len(recorded) != len(names) || !slices.Equal(last, names) {
		g.t.Errorf("recorded %v and told %q, want %q", recorded, last, names)
	}
}

// changes is how often somebody was told which regions are regressed.
func (g *rig) changes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.told)
}

// changed returns the requests that change something in the region.
func changed(s *regiontest.Server) []string {
	var made []string
	for _, q := range s.Requests() {
		if q.Operation == "PutObject" || q.Operation == "DeleteObject" {
			made = append(made, q.Operation+" "+q.Key)
		}
	}
	return made
}

// onPut has one fault happen to the next mark that is put.
func onPut(s *regiontest.Server, f regiontest.Fault) {
	var once sync.Once
	s.SetFaults(func(q regiontest.Request) (fault regiontest.Fault) {
		if q.Operation == "PutObject" && q.Key == mark.Key {
			once.Do(func() { fault = f })
		}
		return fault
	})
}
