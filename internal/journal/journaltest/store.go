package journaltest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gnew/tandem/internal/journal"
)

const (
	bucket  = "bucket"
	active  = "alpha"
	replica = "beta"
	third   = "gamma" // attached by the tests that need it

	// long is a lease or a wait that does not end during a test.
	long = time.Hour
)

// store is the journal under test, with the words that histories are told in. Its
// methods end the test on an error that the history does not expect.
type store struct {
	journal.Journal
	t     *testing.T
	crash Crasher
	// now is the instant that the history gives for its own times, exact where
	// they are stored in microseconds.
	now time.Time
}

func newStore(t *testing.T, open Opener, crash Crasher) *store {
	s := &store{Journal: open(t), t: t, crash: crash, now: time.Now().UTC().Truncate(time.Microsecond)}
	s.ok(s.Attach(t.Context(), bucket, []string{active, replica}))
	s.begin(0, active)
	return s
}

func (s *store) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// refused checks an error by identity.
func (s *store) refused(err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Fatalf("got error %v, want %v", err, want)
	}
}

// crashed is the store after its process died.
func (s *store) crashed() *store {
	s.t.Helper()
	again := *s
	again.Journal = s.crash(s.t, s.Journal)
	return &again
}

func (s *store) begin(after int64, region string) journal.State {
	s.t.Helper()
	state, err := s.BeginEpoch(s.t.Context(), after, region)
	s.ok(err)
	return state
}

// intent is of the present epoch, and can land for a long time yet.
func (s *store) intent(key string, op journal.Operation) journal.Intent {
	s.t.Helper()
	state, err := s.State(s.t.Context())
	s.ok(err)
	return journal.Intent{
		Bucket: bucket, Key: key, Region: state.Active, Operation: op, Epoch: state.Epoch,
		OpenedAt: s.now, DoubtUntil: s.now.Add(long),
	}
}

func (s *store) open(key string, op journal.Operation) int64 {
	s.t.Helper()
	return s.openIntent(s.intent(key, op))
}

func (s *store) openIntent(i journal.Intent) int64 {
	s.t.Helper()
	id, err := s.Open(s.t.Context(), i)
	s.ok(err)
	return id
}

func (s *store) commit(id int64, etag string) journal.Committed {
	s.t.Helper()
	c, err := s.Commit(s.t.Context(), id, holds(etag))
	s.ok(err)
	return c
}

func (s *store) abandon(id int64) {
	s.t.Helper()
	s.ok(s.Abandon(s.t.Context(), id))
}

func (s *store) doubt(id int64) {
	s.t.Helper()
	s.ok(s.Doubt(s.t.Context(), id, time.Time{}))
}

// doubtful opens an intent whose outcome is unknown.
func (s *store) doubtful(key string, op journal.Operation) int64 {
	s.t.Helper()
	id := s.open(key, op)
	s.doubt(id)
	return id
}

// holds is what a region answers to a write of the etag.
func holds(etag string) journal.Written {
	return journal.Written{ETag: etag, Size: int64(100 * len(etag)), ContentType: "text/" + etag}
}

// put is an acknowledged write that overlaps with nothing.
func (s *store) put(key, etag string) journal.Version {
	s.t.Helper()
	return s.settled(s.commit(s.open(key, journal.Put), etag))
}

// del is an acknowledged delete that overlaps with nothing.
func (s *store) del(key string) journal.Version {
	s.t.Helper()
	return s.settled(s.commit(s.open(key, journal.Delete), ""))
}

func (s *store) settled(c journal.Committed) journal.Version {
	s.t.Helper()
	if !c.Settled {
		s.t.Fatalf("write %v is not settled, though nothing overlaps with it", c.Version)
	}
	return c.Version
}

// overlapping leaves the key unsettled: two acknowledged writes, both begun before
// either was committed. The row has the second's etag.
func (s *store) overlapping(key string, first, second journal.Operation, etag1, etag2 string) {
	s.t.Helper()
	id1, id2 := s.open(key, first), s.open(key, second)
	s.commit(id1, etag1)
	s.commit(id2, etag2)
}

func (s *store) lookup(key string) *journal.Object {
	s.t.Helper()
	o, err := s.Lookup(s.t.Context(), bucket, key)
	s.ok(err)
	return o
}

func (s *store) unknown(key string) {
	s.t.Helper()
	_, err := s.Lookup(s.t.Context(), bucket, key)
	s.refused(err, journal.ErrNotFound)
}

func (s *store) copyOf(key, region string) journal.Copy {
	s.t.Helper()
	return s.lookup(key).Copy(region)
}

// found and absent are what the active is seen to hold now, once nothing that was
// open can land any more; see within.
func (s *store) found(key, etag string) journal.Observation {
	s.t.Helper()
	o := s.absent(key)
	o.Found, o.Written = true, holds(etag)
	return o
}

func (s *store) absent(key string) journal.Observation {
	s.t.Helper()
	state, err := s.State(s.t.Context())
	s.ok(err)
	seen := journal.Observation{Bucket: bucket, Key: key, Region: state.Active, Epoch: state.Epoch, ReadAt: s.now.Add(2 * long)}
	o, err := s.Lookup(s.t.Context(), bucket, key)
	if errors.Is(err, journal.ErrNotFound) {
		return seen
	}
	s.ok(err)
	seen.Version = o.Version
	for _, i := range o.Intents {
		seen.Intents = append(seen.Intents, i.ID)
	}
	return seen
}

// within is the same observation, made while the intents may still land.
func (s *store) within(o journal.Observation) journal.Observation {
	o.ReadAt = s.now
	return o
}

func (s *store) settle(o journal.Observation, want journal.Decision) {
	s.t.Helper()
	got, err := s.Settle(s.t.Context(), o)
	s.ok(err)
	if got != want {
		s.t.Fatalf("settle: got %q, want %q", got, want)
	}
}

func (s *store) claim(region string, limit int, lease time.Duration) []journal.Task {
	s.t.Helper()
	tasks, err := s.Claim(s.t.Context(), bucket, region, journal.Claim{Limit: limit, Lease: lease, Conditional: true, Window: long})
	s.ok(err)
	return tasks
}

// claimOne claims the only copy that is due in the region.
func (s *store) claimOne(region string) journal.Task {
	s.t.Helper()
	tasks := s.claim(region, 10, long)
	if len(tasks) != 1 {
		s.t.Fatalf("claimed %d copies, want 1", len(tasks))
	}
	return tasks[0]
}

// claimNone checks that nothing is due in the region.
func (s *store) claimNone(region string) {
	s.t.Helper()
	if tasks := s.claim(region, 10, long); len(tasks) != 0 {
		s.t.Fatalf("claimed %d copies, want none", len(tasks))
	}
}

// request has the copy of the key's present version put into the queue.
func (s *store) request(key, region string) bool {
	s.t.Helper()
	o, err := s.Lookup(s.t.Context(), bucket, key)
	if errors.Is(err, journal.ErrNotFound) {
		o, err = &journal.Object{}, nil
	}
	s.ok(err)
	queued, err := s.Request(s.t.Context(), bucket, key, region, o.Version)
	s.ok(err)
	return queued
}

func (s *store) finish(task journal.Task, etag string, want journal.CopyState) {
	s.t.Helper()
	got, err := s.Finish(s.t.Context(), task, etag)
	s.ok(err)
	if got != want {
		s.t.Fatalf("finish: got %q, want %q", got, want)
	}
	if state := s.copyOf(task.Object.Key, task.Region).State; state != want {
		s.t.Fatalf("the copy is %q after finish said %q", state, want)
	}
}

func (s *store) fail(task journal.Task, f journal.Failure) {
	s.t.Helper()
	s.ok(s.Fail(s.t.Context(), task, f))
}

// replicated is an acknowledged write that the replica has.
func (s *store) replicated(key, etag string) journal.Version {
	s.t.Helper()
	v := s.put(key, etag)
	s.finish(s.claimOne(replica), etag, journal.Current)
	return v
}

// promote makes the replica the active of epoch 2.
func (s *store) promote() {
	s.t.Helper()
	s.begin(1, replica)
}

// same compares rows, states or figures. Empty and nil are alike.
func (s *store) same(what string, got, want any) {
	s.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// unchanged runs f, which must leave the key as it is.
func (s *store) unchanged(key string, f func()) {
	s.t.Helper()
	before := s.lookup(key)
	f()
	s.same("the key changed", s.lookup(key), before)
}

func keysOf(objects []*journal.Object) []string {
	keys := make([]string, len(objects))
	for i, o := range objects {
		keys[i] = o.Key
	}
	return keys
}

func taskKeys(tasks []journal.Task) []string {
	keys := make([]string, len(tasks))
	for i, task := range tasks {
		keys[i] = task.Object.Key
	}
	slices.Sort(keys)
	return keys
}

// atOnce runs f n times, all at the same time. f reports with t.Error.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// eventually asks until f is true, for at most 20 seconds.
func (s *store) eventually(what string, f func() bool) {
	s.t.Helper()
	limit := time.After(20 * time.Second)
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-limit:
			s.t.Fatalf("after 20 s still not: %s", what)
		case <-again.C:
		}
	}
}
