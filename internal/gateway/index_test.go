package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/route"
	"github.com/gnew/tandem/internal/s3op"
)

const bucket = "bucket"

// failingJournal is the real journal until it is told to fail.
type failingJournal struct {
	*sqlite.Journal
	reads, opens, commits atomic.Bool
	lookups               atomic.Int64
}

var errDisk = errors.New("the disk fails")

func (j *failingJournal) Lookup(ctx context.Context, bucket, key string) (*journal.Object, error) {
	j.lookups.Add(1)
	if j.reads.Load() {
		return nil, errDisk
	}
	return j.Journal.Lookup(ctx, bucket, key)
}

func (j *failingJournal) Differing(ctx context.Context, bucket, region, after, upTo string, limit int) ([]*journal.Object, error) {
	if j.reads.Load() {
		return nil, errDisk
	}
	return j.Journal.Differing(ctx, bucket, region, after, upTo, limit)
}

func (j *failingJournal) Open(ctx context.Context, i journal.Intent) (int64, error) {
	if j.opens.Load() {
		return 0, journal.ErrUnavailable
	}
	return j.Journal.Open(ctx, i)
}

func (j *failingJournal) Commit(ctx context.Context, id int64, w journal.Written) (journal.Committed, error) {
	if j.commits.Load() {
		return journal.Committed{}, journal.ErrUnavailable
	}
	return j.Journal.Commit(ctx, id, w)
}

func (j *failingJournal) Doubt(ctx context.Context, id int64, until time.Time) error {
	if j.commits.Load() {
		return journal.ErrUnavailable
	}
	return j.Journal.Doubt(ctx, id, until)
}

// rig is a gateway with one region, A, of which the bucket was compared.
type rig struct {
	*gateway.Gateway
	t       *testing.T
	A       *regiontest.Server
	journal *failingJournal
}

// newRig takes edits of what is known of the region.
func newRig(t *testing.T, edits ...func(*region.Config)) *rig {
	t.Helper()
	a := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}, AccessKey: "key"})
	cfg := region.Config{
		Name: "a", Endpoint: regiontest.Start(t, a), S3Region: "us-east-1", Bucket: bucket, AccessKey: "key", SecretKey: "secret",
		ForcePathStyle: true, Timeout: time.Second,
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	active, err := region.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "journal.db"), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	state, err := store.BeginEpoch(t.Context(), 0, "a")
	if err == nil {
		err = store.Attach(t.Context(), bucket, []string{"a"})
	}
	if err != nil {
		t.Fatal(err)
	}
	j := &failingJournal{Journal: store}
	g, err := gateway.New(gateway.Config{
		Bucket: bucket, Regions: []*region.Region{active}, Journal: j, State: state, SpoolDir: t.TempDir(), Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.SetCompared([]string{"a"})
	return &rig{Gateway: g, t: t, A: a, journal: j}
}

func (r *rig) put(key, data string) (gateway.Result, error) {
	return r.Put(r.t.Context(), key, gateway.PutInput{
		Header: http.Header{}, Body: bytes.NewReader([]byte(data)), Size: int64(len(data)),
	})
}

func (r *rig) get(key string) (string, *gateway.Read, error) {
	answer, err := r.Read(r.t.Context(), key, gateway.ReadInput{Header: http.Header{}})
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return string(data), answer, err
}

func (r *rig) wantRefused(what string, err error) {
	r.t.Helper()
	if s3op.KindOf(err) != s3op.Unavailable {
		r.t.Errorf("%s: got %v, want it unavailable", what, err)
	}
}

// The path of nearly every read has no database on it.
func TestSettledKeyIsReadWithoutTheIndex(t *testing.T) {
	r := newRig(t)
	w, err := r.put("k", "content")
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		data, answer, err := r.get("k")
		if err != nil || data != "content" || answer.Freshness != route.Current || answer.Version != w.Version {
			t.Fatalf("got %q, %+v, %v, want the content, current", data, answer, err)
		}
	}
	if n := r.journal.lookups.Load(); n != 0 {
		t.Errorf("the index was asked %d times", n)
	}
}

func TestWithoutTheIndexNothingIsGuessed(t *testing.T) {
	r := newRig(t)
	if _, err := r.put("k", "content"); err != nil {
		t.Fatal(err)
	}
	r.journal.reads.Store(true)
	if data, answer, err := r.get("k"); err != nil || data != "content" || answer.Freshness != route.Current {
		t.Errorf("a settled key: got %q, %+v, %v", data, answer, err)
	}
	_, err := r.List(t.Context(), gateway.ListInput{Limit: 10})
	r.wantRefused("a listing", err)
	_, err = r.Status(t.Context(), "k")
	r.wantRefused("the state of a key", err)
	_, _, err = r.get("never was") // the active's 404: perhaps it has lost the key
	r.wantRefused("a key that the active does not hold", err)
	r.Distrust("k")
	_, _, err = r.get("k")
	r.wantRefused("a key in the dirty set", err)
	r.SetCompared(nil)
	if data, answer, err := r.get("other"); err == nil {
		t.Errorf("got %q, %+v", data, answer)
	}
	r.A.Put(bucket, "past", []byte("from before"))
	if data, answer, err := r.get("past"); err != nil || data != "from before" || answer.Freshness != route.Unknown {
		t.Errorf("a bucket that was not compared: got %q, %+v, %v, want it with unknown freshness", data, answer, err)
	}
}

// Nothing reaches the region that the journal does not know of.
func TestWriteWithoutAnIntentIsNotMade(t *testing.T) {
	r := newRig(t)
	r.journal.opens.Store(true)
	for _, size := range []int{0, 100, 200_000} {
		_, err := r.put("k", string(make([]byte, size)))
		r.wantRefused("a write", err)
	}
	_, err := r.Delete(t.Context(), "k", http.Header{})
	r.wantRefused("a delete", err)
	if keys := r.A.Keys(bucket); len(keys) != 0 {
		t.Errorf("the region holds %q", keys)
	}
}

// What was applied and not recorded is not acknowledged; once the journal is back, the
// key is in doubt, and Settle finds what became of it.
func TestWriteWhoseCommitFailsIsInDoubt(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r.journal.commits.Store(true)
	_, err := r.put("k", "content")
	r.wantRefused("a write", err)
	r.journal.commits.Store(false)
	for deadline := time.Now().Add(20 * time.Second); ; {
		o, err := r.journal.Lookup(t.Context(), bucket, "k")
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Intents) == 1 && o.Intents[0].InDoubt && o.Version.IsZero() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, want one intent, in doubt", o)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The journal's lock may be given up once Stop has returned: no write is on its way to a
// region that is not recorded as in doubt.
func TestStopLeavesNoWriteUnrecorded(t *testing.T) {
	r := newRig(t)
	gate, asked := make(chan struct{}), make(chan struct{}, 1)
	defer close(gate)
	r.A.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation != "PutObject" {
			return regiontest.Fault{}
		}
		asked <- struct{}{}
		return regiontest.Fault{Hang: gate}
	})
	ended := make(chan error, 1)
	go func() {
		_, err := r.put("k", "content")
		ended <- err
	}()
	<-asked
	r.Stop()
	o, err := r.journal.Lookup(t.Context(), bucket, "k")
	if err != nil || len(o.Intents) != 1 || !o.Intents[0].InDoubt {
		t.Errorf("got %+v, %v, want one intent, in doubt", o, err)
	}
	r.wantRefused("the write that was cut", <-ended)
	_, err = r.put("k", "more")
	r.wantRefused("a write after Stop", err)
}
