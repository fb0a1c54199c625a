package replicate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gnew/tandem/internal/failpoint"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// copyError is why a copy was not made, with what has to be remembered of it.
type copyError struct {
	err           error
	atTarget      bool
	state         journal.CopyState
	late          *journal.LateCopy
	sourceChanged bool
}

func (e *copyError) Error() string { return e.err.Error() }
func (e *copyError) Unwrap() error { return e.err }

// copier makes one copy.
type copier struct {
	*Replicator
	task   journal.Task
	o      *journal.Object
	target *region.Region
	// conditions that the target honours.
	conditions region.Conditions
	// expected is the ETag that the target must hold, "" for nothing.
	expected string
	// unverifiable: the source's ETag turned out not to be the MD5 of its bytes.
	unverifiable bool
}

// copy brings the target to the task's version and returns the ETag it then holds.
func (c *copier) copy(ctx context.Context) (string, error) {
	if err := c.target.CheckKey(c.o.Key); err != nil {
		if c.o.Deleted {
			return "", nil // what it cannot hold it does not hold
		}
		return "", &copyError{err: err, state: journal.Unreplicable}
	}
	var err error
	if c.conditions, err = c.target.Conditions(ctx); err != nil {
		return "", &copyError{err: fmt.Errorf("learn what the region honours: %w", err), atTarget: true}
	}
	c.expected = c.task.Target().ETag
	if c.o.Deleted && !c.o.Contested() {
		return c.remove(ctx)
	}
	source, etag, err := c.source(ctx)
	if err != nil {
		return "", err
	}
	src := &sourceObject{region: source, key: c.o.Key, etag: etag}
	if c.task.Target().Attempts > 0 || len(c.task.Late) > 0 || !c.conditions.Put {
		held, err := c.look(ctx, src)
		if err != nil || held {
			return etag, err
		}
	}
	return c.put(ctx, src)
}

// restTime is how long a contested key may hold its copy back. It usually rests
// within milliseconds; one that never does is copied anyway, and stays pending.
const restTime = 3 * time.Second

// source is a region to copy from, and the ETag that it must show. Of a contested
// key, only what the active holds at the moment is known.
func (c *copier) source(ctx context.Context) (*region.Region, string, error) {
	active := c.State().Active
	if c.o.Contested() {
		if c.task.Region == active || time.Since(c.task.Target().PendingSince) < restTime {
			return nil, "", &copyError{err: errors.New("the key is being written; it is copied when it rests")}
		}
		a, err := c.regions[active].Head(ctx, c.o.Key, nil)
		if err != nil {
			return nil, "", &copyError{err: fmt.Errorf("read the source of a key that is being written: %w", err)}
		}
		return c.regions[active], a.ETag(), nil
	}
	for _, name := range append([]string{active}, c.order...) {
		if held := c.o.Copy(name); name != c.task.Region && held.State == journal.Current {
			return c.regions[name], held.ETag, nil
		}
	}
	return nil, "", &copyError{err: errors.New("no region is known to hold the version")}
}

// sourceObject is what is copied.
type sourceObject struct {
	region *region.Region
	key    string
	etag   string
}

func (s *sourceObject) condition() http.Header {
	return http.Header{"If-Match": {s3op.QuoteETag(s.etag)}, "X-Amz-Checksum-Mode": {"ENABLED"}}
}

// sourceFailed: a source that does not hold what the index says is to be looked at
// before anything is copied from it.
func (c *copier) sourceFailed(ctx context.Context, s *sourceObject, err error) error {
	changed := region.IsPrecondition(err) || region.IsNotFound(err)
	if !changed {
		return &copyError{err: fmt.Errorf("read the source: %w", err)}
	}
	if s.region.Name() == c.State().Active {
		return &copyError{err: fmt.Errorf("the active holds something else than the index says: %w", err), sourceChanged: true}
	}
	if err := c.Journal.MarkMissing(ctx, c.Bucket, c.o.Key, s.region.Name(), c.o.Version); err != nil {
		return err
	}
	return &copyError{err: fmt.Errorf("the source does not hold what the index says: %w", err)}
}

// look reports whether the target already holds what is to be copied, and sets
// expected to what it may be holding of our own making. Anything else is not overwritten.
func (c *copier) look(ctx context.Context, src *sourceObject) (bool, error) {
	held, err := c.target.Head(ctx, c.o.Key, nil)
	if region.IsNotFound(err) {
		c.expected = "" // nothing is there to be overwritten
		return false, nil
	}
	if err != nil {
		return false, &copyError{err: fmt.Errorf("look at the target: %w", err), atTarget: true}
	}
	if held.ETag() == src.etag {
		same, err := c.isSame(ctx, src, held)
		if err != nil || same {
			return same, err
		}
	}
	if err := c.claimHeld(held.ETag()); err != nil && held.ETag() != src.etag {
		return false, err
	}
	c.expected = held.ETag()
	return false, nil
}

// claimHeld returns nil where what the target holds is what the index says it holds, or
// was brought there by a copy of ours that had no answer.
func (c *copier) claimHeld(etag string) error {
	if etag == c.expected && etag != "" {
		return nil
	}
	for _, late := range c.task.Late {
		if late.ETag == etag {
			return nil
		}
	}
	return &copyError{err: fmt.Errorf("the region holds an object (ETag %s) that the index does not know of; it is not overwritten", etag)}
}

// isSame compares headers and tags of an object whose ETag agrees.
func (c *copier) isSame(ctx context.Context, src *sourceObject, held region.Attributes) (bool, error) {
	a, err := src.region.Head(ctx, src.key, src.condition())
	if err != nil {
		return false, c.sourceFailed(ctx, src, err)
	}
	sameHeaders := maps.EqualFunc(s3op.StoredHeaders(a.Header), s3op.StoredHeaders(held.Header), slices.Equal[[]string])
	if !sameHeaders || a.Size() != held.Size() {
		return false, nil
	}
	if a.TagCount() == 0 && held.TagCount() == 0 {
		return true, nil
	}
	ours, err := src.region.Tags(ctx, src.key)
	if err != nil {
		return false, &copyError{err: fmt.Errorf("read the source's tags: %w", err)}
	}
	theirs, err := c.target.Tags(ctx, src.key)
	if err != nil {
		return false, &copyError{err: fmt.Errorf("read the target's tags: %w", err), atTarget: true}
	}
	return ours == theirs, nil
}

// condition is what the target must hold for a write to be applied.
func (c *copier) condition() http.Header {
	switch {
	case !c.conditions.Put:
		return make(http.Header)
	case c.expected == "":
		return http.Header{"If-None-Match": {"*"}}
	}
	return http.Header{"If-Match": {s3op.QuoteETag(c.expected)}}
}

// put copies the object, in the parts in which the source was made.
func (c *copier) put(ctx context.Context, src *sourceObject) (string, error) {
	if c.task.Region == c.State().Active {
		return c.repair(ctx, src)
	}
	etag, err := c.transfer(ctx, src)
	if isBadDigest(err) {
		// Not every S3's ETag is an MD5; without it, verify compares the bytes.
		c.unverifiable = true
		etag, err = c.transfer(ctx, src)
	}
	if (region.IsPrecondition(err) || region.IsNotFound(err)) && isTargets(err) {
		// It holds something else than expected: perhaps our own copy, or nothing any more.
		held, lookErr := c.look(ctx, src)
		if lookErr != nil || held {
			return src.etag, lookErr
		}
		etag, err = c.transfer(ctx, src)
	}
	return etag, err
}

func isBadDigest(err error) bool {
	e, ok := errors.AsType[*region.Error](err)
	return ok && e.Outcome == region.Rejected && e.Code == "BadDigest"
}

func isTargets(err error) bool {
	e, ok := errors.AsType[*copyError](err)
	return ok && e.atTarget
}

// transfer makes one attempt.
func (c *copier) transfer(ctx context.Context, src *sourceObject) (string, error) {
	o, err := src.region.Get(ctx, src.key, src.condition())
	if err != nil {
		return "", c.sourceFailed(ctx, src, err)
	}
	defer o.Body.Close()
	h := s3op.StoredHeaders(o.Header)
	if o.TagCount() > 0 {
		tags, err := src.region.Tags(ctx, src.key)
		if err != nil {
			return "", &copyError{err: fmt.Errorf("read the source's tags: %w", err)}
		}
		h.Set("X-Amz-Tagging", tags)
	}
	var etag string
	if isMultipart(src.etag) || o.Size() > singleBytes {
		_ = o.Body.Close() // it is read part by part
		etag, err = c.transferParts(ctx, src, o.Size(), h)
	} else {
		etag, err = c.transferWhole(ctx, src, o, h)
	}
	if err != nil {
		return "", err
	}
	failpoint.Hit(failpoint.AfterCopy)
	return etag, c.verify(ctx, src, etag)
}

// remove brings a tombstone to the target.
func (c *copier) remove(ctx context.Context) (string, error) {
	held, err := c.target.Head(ctx, c.o.Key, nil)
	if region.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", &copyError{err: fmt.Errorf("look at the target: %w", err), atTarget: true}
	}
	etag := held.ETag()
	if err := c.claimHeld(etag); err != nil {
		return "", err
	}
	if c.task.Region == c.State().Active {
		return c.repairDelete(ctx, etag)
	}
	err = c.target.Delete(ctx, c.o.Key, etag)
	if region.IsNotFound(err) {
		err = nil
	}
	if err != nil {
		return "", c.unanswered(err, "delete in the target", etag, "", c.conditions.Delete)
	}
	return "", nil
}

// unanswered makes the error of a write to the target, and remembers it where the
// target may yet apply it.
func (c *copier) unanswered(err error, what, expects, etag string, conditional bool) error {
	e := &copyError{err: fmt.Errorf("%s: %w", what, err), atTarget: true}
	if region.OutcomeOf(err) == region.Ambiguous {
		if !conditional {
			expects = journal.AnyETag
		}
		e.late = &journal.LateCopy{Expects: expects, ETag: etag, Until: time.Now().Add(c.DoubtWindow)}
	}
	return e
}

// repair writes an acknowledged version back into the active. That is a write: it
// has an intent, so that a client's write meanwhile is not overtaken unseen.
func (c *copier) repair(ctx context.Context, src *sourceObject) (string, error) {
	if !c.conditions.Put {
		return "", &copyError{err: errors.New("the active does not honour conditional writes, so a repair could overwrite a client's newer write")}
	}
	if held, err := c.look(ctx, src); err != nil || held {
		return src.etag, err
	}
	return c.withIntent(ctx, src.etag, func() (string, error) { return c.transfer(ctx, src) })
}

func (c *copier) repairDelete(ctx context.Context, etag string) (string, error) {
	if !c.conditions.Delete {
		return "", &copyError{err: errors.New("the active does not honour conditional deletes, so a repair could delete a client's newer write")}
	}
	return c.withIntent(ctx, "", func() (string, error) {
		if err := c.target.Delete(ctx, c.o.Key, etag); err != nil && !region.IsNotFound(err) {
			return "", c.unanswered(err, "delete in the active", etag, "", true)
		}
		return "", nil
	})
}

func (c *copier) withIntent(ctx context.Context, etag string, write func() (string, error)) (string, error) {
	state := c.State()
	now := time.Now()
	id, err := c.Journal.Open(ctx, journal.Intent{
		Bucket: c.Bucket, Key: c.o.Key, Region: c.task.Region, Operation: journal.Repair, Epoch: state.Epoch,
		OpenedAt: now, DoubtUntil: now.Add(c.DoubtWindow), Restores: c.o.Version, RestoresETag: etag,
	})
	if err != nil {
		return "", fmt.Errorf("record the repair: %w", err)
	}
	ended := context.WithoutCancel(ctx)
	etag, err = write()
	if err == nil {
		_, err = c.Journal.Commit(ended, id, journal.Written{ETag: etag})
		return etag, err
	}
	if f, ok := errors.AsType[*copyError](err); ok && f.late != nil {
		return "", errors.Join(err, c.Journal.Doubt(ended, id))
	}
	return "", errors.Join(err, c.Journal.Abandon(ended, id))
}

// verify believes a copy whose ETag is the source's: both are made from the bytes, in
// the same parts. Otherwise the bytes of both are compared.
func (c *copier) verify(ctx context.Context, src *sourceObject, etag string) error {
	if etag == src.etag {
		return nil
	}
	ours, err := src.region.Get(ctx, src.key, src.condition())
	if err != nil {
		return c.sourceFailed(ctx, src, err)
	}
	defer ours.Body.Close()
	theirs, err := c.target.Get(ctx, src.key, http.Header{"If-Match": {s3op.QuoteETag(etag)}})
	if err != nil {
		return &copyError{err: fmt.Errorf("read the copy back: %w", err), atTarget: true}
	}
	defer theirs.Body.Close()
	same, err := sameBytes(ours.Body, theirs.Body)
	if err != nil {
		return &copyError{err: fmt.Errorf("compare the copy with its source: %w", err)}
	}
	if !same {
		return &copyError{err: errors.New("the copy's bytes are not the source's")}
	}
	return nil
}

const compareBytes = 64 << 10

func sameBytes(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, compareBytes), make([]byte, compareBytes)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if n != m || !slices.Equal(bufA[:n], bufB[:m]) {
			return false, cmp.Or(realError(errA), realError(errB))
		}
		if errA != nil || errB != nil {
			return true, cmp.Or(realError(errA), realError(errB))
		}
	}
}

func realError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}
