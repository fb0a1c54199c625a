package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/failpoint"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// Result is an acknowledged write.
type Result struct {
	Key         string
	ETag        string
	Size        int64
	ContentType string
	// Region is the active that has it.
	Region  string
	Version journal.Version
	// Replication is the state of each replica's copy.
	Replication map[string]journal.CopyState
	// Answer is the region's, of a request that was passed on as it was sent; else nil.
	Answer *Answer
}

// Regions are those that are known to have the write, the active first.
func (r *Result) Regions() []string {
	names := []string{r.Region}
	for _, name := range slices.Sorted(maps.Keys(r.Replication)) {
		if r.Replication[name] == journal.Current {
			names = append(names, name)
		}
	}
	return names
}

var (
	errClientGone = errors.New("the client left")
	errStopping   = errors.New("the gateway is stopping")
	errDeadline   = errors.New("the region did not answer before the write's deadline")
)

// write is one client's write on its way. Its intent is opened by whoever holds the
// last byte, and that may be a goroutine of the transport.
type write struct {
	g         *Gateway
	key       string
	operation journal.Operation
	view      *view
	active    *region.Region
	// timeout is the region's, for its answer.
	timeout time.Duration
	// brings is the ETag that the write leaves, "" where that is not known before it is sent.
	brings string
	// conditional: the write depends on what the key is now. conditions are those of a PUT.
	conditional bool
	conditions  http.Header
	// passed is the client's own request where that is passed on, and answer what the region said.
	passed   *region.Passed
	answer   region.Attributes
	document []byte
	// before is what was known of the key before a write that completes a client's upload; nil for any other.
	before *formerly

	ctx    context.Context
	cancel context.CancelCauseFunc
	// stop, stay and keep end what waits for the client's leaving, for the gateway's stopping
	// and for another epoch.
	stop, stay, keep func() bool

	mu struct {
		sync.Mutex
		// ended: the region has answered, or failed; nothing may be let go any more.
		ended    bool
		opened   bool
		id       int64
		mark     uint64
		wasDirty bool
		deadline *time.Timer
	}
}

// begin starts a write in the active. The request's own context counts only until
// the end of the body is let go: from then on the region's answer is waited for whatever the
// client does, since it decides what is true.
func (g *Gateway) begin(ctx context.Context, key string, op journal.Operation) (*write, error) {
	if err := g.AdmitWrite(); err != nil {
		return nil, err
	}
	if err := g.flights.enter(ctx); err != nil {
		return nil, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the gateway is stopping or another region is being promoted; nothing was written", err)
	}
	v := g.view.Load()
	w := &write{g: g, key: key, operation: op, view: v, active: g.regions[v.Active], timeout: g.AnswerTimeout}
	if err := w.active.CheckKey(key); err != nil {
		g.flights.leave()
		return nil, region.ToClient(err)
	}
	if err := w.active.Admit(); err != nil {
		g.flights.leave()
		return nil, unavailable(v.Active, "it is down, and no other region has become active; nothing was written", err)
	}
	w.ctx, w.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	w.stop = context.AfterFunc(ctx, func() {
		// Whoever has the lock opens the write, or ends it: it is carried through.
		if !w.mu.TryLock() {
			return
		}
		defer w.mu.Unlock()
		if !w.mu.opened {
			w.cancel(errClientGone)
		}
	})
	w.stay = context.AfterFunc(g.stopping, func() { w.cancel(errStopping) })
	w.keep = context.AfterFunc(v.ended, func() {
		if !mutant.On(mutant.IntentEpoch) {
			w.cancel(errPromoted)
		}
	})
	return w, nil
}

// requireSettled refuses a write whose effect depends on what the key is now, while the
// active is known to lack the acknowledged version, or may, or a write without an answer may
// yet land there. Other writes under way do not matter: they go to the same region, and that
// judges between them.
func (g *Gateway) requireSettled(ctx context.Context, key string) error {
	v := g.view.Load()
	mark, dirty := v.dirty.has(key)
	if !dirty && !v.regressed[v.Active] || mutant.On(mutant.ConditionUnjudgeable) {
		return nil
	}
	o, err := g.lookup(ctx, key)
	if err != nil {
		return err
	}
	active := v.Active
	if o == nil || isClean(o, active) {
		v.dirty.clear(key, mark)
		return nil
	}
	if o.IsOpenToURLs(active) && !mutant.On(mutant.LockUnderURL) {
		return unavailable(active, "a presigned URL for the key is open there, so a condition on it cannot be judged until that is over", nil)
	}
	if slices.ContainsFunc(o.Intents, func(i journal.Intent) bool {
		return i.InDoubt && i.Region == active && i.Operation != journal.PresignedPut
	}) {
		return unavailable(active, "an earlier write of the key has no answer and may yet be applied, so a condition on it cannot be judged", nil)
	}
	if o.Version.IsZero() || o.Copy(active).State == journal.Current {
		return nil
	}
	return notYetReplicated(active, time.Time{},
		"the active region is not known to hold the key's acknowledged version, so a condition on it cannot be judged; try again")
}

// open puts the intent on disk. When it returns nil the end of the body may be let
// go; otherwise nothing may be.
func (w *write) open() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.ended {
		return errors.New("the region answered before the end of the body")
	}
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.BeforeIntent)
	now := time.Now()
	deadline := now.Add(w.timeout)
	w.mu.mark, w.mu.wasDirty = w.view.dirty.mark(w.key)
	id, err := w.g.Journal.Open(w.ctx, journal.Intent{
		Bucket: w.g.Bucket, Key: w.key, Region: w.active.Name(), Operation: w.operation, Epoch: w.view.Epoch, Brings: w.brings,
		OpenedAt: now, DoubtUntil: deadline.Add(w.g.DoubtWindow),
	})
	w.mu.id = id
	if err != nil {
		w.notWritten()
		if errors.Is(err, journal.ErrUnknown) && id != 0 {
			w.g.orphan(orphan{id: id, key: w.key})
		}
		return err
	}
	// Again, now that the index would say so: a reader may have found the key clean
	// before the intent was there.
	mark, byOthers := w.view.dirty.markAgain(w.key, w.mu.mark)
	w.mu.mark, w.mu.wasDirty = mark, w.mu.wasDirty || byOthers
	failpoint.Hit(failpoint.AfterIntent)
	if w.conditional {
		// A write may have lost its answer since the body began.
		if err := w.g.requireSettled(w.ctx, w.key); err != nil {
			w.abandon()
			return err
		}
	}
	if w.g.view.Load().Epoch != w.view.Epoch && !mutant.On(mutant.IntentEpoch) || !time.Now().Before(deadline) {
		w.abandon()
		return journal.ErrEpoch
	}
	w.mu.opened = true
	op := opWrite
	if w.operation == journal.Delete {
		op = opDelete
	}
	w.g.Metrics.asked(w.active.Name(), op)
	w.mu.deadline = time.AfterFunc(time.Until(deadline), func() { w.cancel(errDeadline) })
	return nil
}

// notWritten takes back what open did in memory.
func (w *write) notWritten() {
	if !w.mu.wasDirty {
		w.view.dirty.clear(w.key, w.mu.mark)
	}
}

// abandon closes the intent of a write that was not applied.
func (w *write) abandon() {
	if err := w.g.Journal.Abandon(context.WithoutCancel(w.ctx), w.mu.id); err != nil {
		w.g.orphan(orphan{id: w.mu.id, key: w.key})
		return // the intent may still be there: the key stays dirty
	}
	w.notWritten()
}

// end is told what the region answered, commits or closes the intent, and returns
// what the client is told.
func (w *write) end(written journal.Written, err error) (Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.ended = true
	w.stop()
	w.stay()
	w.keep()
	defer w.g.flights.leave()
	defer w.cancel(nil)
	if w.mu.deadline != nil {
		w.mu.deadline.Stop()
	}
	switch {
	case !w.mu.opened && err == nil:
		w.g.Logger.ErrorContext(w.ctx, "region answered a write before its end", "region", w.active.Name())
		return Result{}, unavailable(w.active.Name(), "it answered before the whole body was sent", nil)
	case !w.mu.opened:
		return Result{}, w.refused(err)
	case err == nil:
		failpoint.Hit(failpoint.AfterRegion)
		return w.commit(written)
	}
	if region.OutcomeOf(err) != region.Ambiguous {
		w.abandon()
		return Result{}, w.refused(err)
	}
	w.doubt()
	return Result{}, unavailable(w.active.Name(), "it did not answer; the write may or may not have been applied", err)
}

func (w *write) commit(written journal.Written) (Result, error) {
	committed, err := w.g.Journal.Commit(context.WithoutCancel(w.ctx), w.mu.id, written)
	if err != nil && !mutant.On(mutant.AnswerBeforeCommit) {
		w.doubt()
		return Result{}, unavailable(w.active.Name(), "the write could not be recorded; it may be found applied later", err)
	}
	failpoint.Hit(failpoint.AfterCommit)
	w.g.seen.put(w.key, written.ETag, committed.Version)
	if committed.Settled {
		w.view.dirty.clear(w.key, w.mu.mark)
	} else {
		w.view.dirty.mark(w.key)
		w.g.Unsettled(w.key)
	}
	w.g.Committed()
	w.g.Metrics.written(string(w.operation), "acknowledged")
	r := Result{
		Key: w.key, ETag: written.ETag, Size: written.Size, ContentType: written.ContentType,
		Region: w.active.Name(), Version: committed.Version, Replication: make(map[string]journal.CopyState),
	}
	for _, name := range w.view.names {
		if name != w.active.Name() {
			r.Replication[name] = journal.Pending
		}
	}
	if w.passed != nil {
		r.Answer = &Answer{Attributes: w.answer, Document: w.document, Region: r.Region, Bucket: w.active.Bucket()}
	}
	return r, nil
}

func (w *write) doubt() {
	w.view.dirty.mark(w.key) // another write's end may have cleared it
	w.g.Metrics.written(string(w.operation), "in_doubt")
	w.g.Logger.WarnContext(w.ctx, "write in doubt", "region", w.active.Name(), "op", w.operation)
	if err := w.g.Journal.Doubt(context.WithoutCancel(w.ctx), w.mu.id, time.Time{}); err != nil {
		w.g.orphan(orphan{id: w.mu.id, key: w.key, sent: true})
		return
	}
	w.g.Unsettled(w.key)
}

// refused is what the client is told of a write that was certainly not applied.
func (w *write) refused(err error) error {
	w.g.Metrics.written(string(w.operation), "refused")
	if _, ok := errors.AsType[*s3op.Error](err); ok && s3op.KindOf(err) != s3op.Internal {
		return err
	}
	if errors.Is(err, journal.ErrLoser) {
		return unavailable(w.active.Name(), "it holds an older write of this key that is to be kept as a conflict first; nothing was written", err)
	}
	if errors.Is(err, journal.ErrRepairing) {
		return unavailable(w.active.Name(), "an older object of this key is being removed or replaced there; nothing was written", err)
	}
	if errors.Is(err, journal.ErrEpoch) || errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrUnknown) {
		return &s3op.Error{
			Kind: s3op.Unavailable, Code: "ServiceUnavailable",
			Message: "the write could not be recorded, so nothing was written; try again", Err: err,
		}
	}
	if e, ok := errors.AsType[*region.Error](err); ok && w.passed != nil && e.Status != 0 {
		return region.AsAnswered(err)
	}
	if errors.Is(err, region.ErrKey) {
		return region.ToClient(err)
	}
	if _, ok := errors.AsType[*region.Error](err); ok {
		return region.ToClient(err)
	}
	return unavailable(w.active.Name(), "the write did not reach it; nothing was written", err)
}

func unavailable(regionName, what string, err error) *s3op.Error {
	return &s3op.Error{
		Kind: s3op.Unavailable, Code: "ServiceUnavailable", Region: regionName,
		Message: fmt.Sprintf("region %s: %s; try again", regionName, what), Err: err,
	}
}

func notYetReplicated(behind string, since time.Time, message string) *s3op.Error {
	e := &s3op.Error{Kind: s3op.Unavailable, Code: "NotYetReplicated", Message: message, Region: behind}
	if !since.IsZero() {
		e.Age = time.Since(since)
	}
	return e
}
