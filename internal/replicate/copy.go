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
	"github.com/gnew/tandem/internal/mutant"
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
	// held is what the target holds instead, where state is Missing.
	held string
	// loser is the conflict whose loser could not be kept, 0 for none.
	loser int64
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
	for _, loser := range c.task.Losers {
		if mutant.On(mutant.LoserNotKept) {
			break
		}
		if err := c.keep(ctx, loser); err != nil {
			return "", err
		}
	}
	if c.task.Region != c.State().Active && c.o.IsUnsettledIn(c.task.Region) {
		return "", &copyError{err: errors.New("the region is read again first: an earlier write of the key has no answer there")}
	}
	if c.o.IsOpenToURLs(c.task.Region) && !(c.conditions.Put && c.conditions.Delete) && !mutant.On(mutant.CopyUnderURL) {
		// (It would be looked at and then overwritten; an upload by the URL lands in between: it is gone, and nobody has it.)
		return "", &copyError{err: errors.New("a presigned URL for the key is open there, and the region does not honour conditional writes and deletes: " +
			"an upload could be overwritten unseen; it is copied once the URL is over")}
	}
	c.expected = c.task.Target().ETag
	if c.o.Deleted && !c.o.Contested(c.State().Active) {
		if mutant.On(mutant.TombstoneNotCarried) {
			return "", nil
		}
		return c.remove(ctx)
	}
	if c.o.Contested(c.State().Active) && c.isBrought() {
		// (A PUT times out; the next write is acknowledged and copied; the first lands over it: the
		// copy of what the active then holds would take the acknowledged one away for good.)
		return "", &copyError{err: errors.New("the region has the key's last acknowledged write, and keeps it until the key rests")}
	}
	source, etag, err := c.source(ctx)
	if errors.Is(err, errNoSource) {
		return c.holdsItself(ctx)
	}
	if err != nil {
		return "", err
	}
	if c.o.Contested(c.State().Active) {
		if err := c.Journal.Announce(ctx, c.task, etag); err != nil {
			return "", err
		}
	}
	src := &sourceObject{region: source, key: c.o.Key, etag: etag}
	if (c.task.Target().Attempts > 0 || len(c.task.Late) > 0 || !c.conditions.Put) && !mutant.On(mutant.CopyUnconditional) {
		held, err := c.look(ctx, src)
		if err != nil || held != "" {
			return held, err
		}
	}
	return c.put(ctx, src)
}

// isBrought reports whether the target has been brought to the key's version, bytes and all,
// though that does not count yet.
func (c *copier) isBrought() bool {
	held := c.task.Target()
	return held.Version == c.o.Version && held.ETag == c.o.ETag && !c.o.Version.IsZero()
}

// restTime is how long a contested key may hold its copy back. It usually rests
// within milliseconds; one that never does is copied anyway, and stays pending.
const restTime = 3 * time.Second

// source is a region to copy from, and the ETag that it must show. Of a contested
// key, only what the active holds at the moment is known.
func (c *copier) source(ctx context.Context) (*region.Region, string, error) {
	active := c.State().Active
	if c.o.Contested(c.State().Active) {
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
	return nil, "", errNoSource
}

var errNoSource = errors.New("no region is known to hold the version")

// holdsItself: the region was thought to lack the version, and nobody else is known to
// have it. If it holds it after all, it is found again.
func (c *copier) holdsItself(ctx context.Context) (string, error) {
	held, err := c.target.Head(ctx, c.o.Key, nil)
	// Whoever took the write, or came back older, was the last who could have it.
	isLast := (c.task.Regressed || c.o.LastRegion == c.task.Region) && !c.isElsewhere()
	if region.IsNotFound(err) && isLast {
		return "", &copyError{err: fmt.Errorf("%w, and the region does not hold it any more", errNoSource), state: journal.Missing}
	}
	if err != nil {
		return "", &copyError{err: fmt.Errorf("%w; nor does the region itself: %w", errNoSource, err), atTarget: true}
	}
	isSame := held.ETag() == c.o.ETag && held.Size() == c.o.Size && held.Header.Get("Content-Type") == c.o.ContentType
	// Of what a copy of ours brought it is known that it is not the version. (A region comes back without it, and what
	// the active holds of a key that never rests is copied there: the version would be waited for, for ever.)
	isOther := !isSame && (c.task.Regressed || held.ETag() == c.task.Target().ETag && held.ETag() != c.o.ETag)
	if isOther && isLast {
		return "", &copyError{err: fmt.Errorf("%w, and the region holds another object (ETag %s)", errNoSource, held.ETag()), state: journal.Missing, held: held.ETag()}
	}
	if isSame && (c.task.Regressed || c.isBrought()) {
		return held.ETag(), nil
	}
	// The same bytes may have been there before, with other metadata.
	if !isSame || c.claimHeld(held.ETag()) == nil {
		return "", &copyError{err: fmt.Errorf("%w; the region itself is not known to (ETag %s)", errNoSource, held.ETag())}
	}
	return held.ETag(), nil
}

// isElsewhere reports whether another region may have the version, though none is known to. (Of a key that
// never rests what is found is copied, under the version that the row then has: its bytes are not that one's.)
func (c *copier) isElsewhere() bool {
	return slices.ContainsFunc(c.o.Copies, func(held journal.Copy) bool {
		return held.Region != c.task.Region && held.Version == c.o.Version && held.ETag == c.o.ETag && held.State != journal.Missing
	})
}

// sourceObject is what is copied.
type sourceObject struct {
	region *region.Region
	key    string
	etag   string
}

func (s *sourceObject) condition() http.Header {
	if mutant.On(mutant.SourceUnconditional) {
		return http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}}
	}
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

// look returns the ETag under which the target already holds what is to be copied, ""
// where it does not, and sets expected to what it may be holding of our own making. Anything
// else is not overwritten.
func (c *copier) look(ctx context.Context, src *sourceObject) (string, error) {
	held, err := c.target.Head(ctx, c.o.Key, nil)
	if region.IsNotFound(err) {
		c.expected = "" // nothing is there to be overwritten
		return "", nil
	}
	if err != nil {
		return "", &copyError{err: fmt.Errorf("look at the target: %w", err), atTarget: true}
	}
	etag := held.ETag()
	ours := c.claimHeld(etag)
	// A copy without an answer may be there under an ETag of the region's own making.
	if etag == src.etag || ours != nil && len(c.task.Late) > 0 {
		same, err := c.isSame(ctx, src, held)
		if err == nil && same {
			err = c.verify(ctx, src, etag)
		}
		if err == nil && same {
			return etag, nil
		}
		if err != nil && !errors.Is(err, errOtherBytes) {
			return "", err
		}
	}
	if ours != nil && etag != src.etag {
		return "", ours
	}
	c.expected = etag
	return "", nil
}

// claimHeld returns nil where what the target holds is what the index says it holds, or
// was brought there by a copy of ours that had no answer.
func (c *copier) claimHeld(etag string) error {
	if etag == c.expected && etag != "" {
		return nil
	}
	if c.task.Regressed && (!c.o.IsOpenToURLs(c.task.Region) || mutant.On(mutant.UploadInRegressed)) {
		return nil // something older of our own: what it may have had alone is in the ledger
	}
	for _, late := range c.task.Late {
		if late.ETag == etag {
			return nil
		}
	}
	return &copyError{err: fmt.Errorf("the region holds an object (ETag %s) that the index does not know of; it is not overwritten", etag)}
}

// isSame compares headers, size and tags.
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
	theirs, err := c.target.Tags(ctx, c.o.Key)
	if err != nil {
		return false, &copyError{err: fmt.Errorf("read the target's tags: %w", err), atTarget: true}
	}
	return ours == theirs, nil
}

// condition is what the target must hold for a write to be applied.
func (c *copier) condition() http.Header {
	switch {
	case !c.conditions.Put, mutant.On(mutant.CopyUnconditional), mutant.On(mutant.RepairUnconditional) && c.task.Region == c.State().Active:
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
	if (region.IsPrecondition(err) || region.IsNotFound(err)) && isTargets(err) {
		// It holds something else than expected: perhaps this very version. If not, the
		// next attempt looks first, under a claim that says so.
		expected := c.expected
		held, lookErr := c.look(ctx, src)
		if lookErr != nil {
			return "", c.sentTwice(lookErr, expected, src.etag)
		}
		if held != "" {
			return held, nil
		}
	}
	return etag, err
}

// sentTwice: something on the way may have sent the copy twice, and what was refused is the second. The next
// attempt is to know the first for ours. (A proxy repeats a PUT; 412; the source does not answer just then; the
// key is written again: what the target holds would be nobody's, for ever.)
func (c *copier) sentTwice(err error, expected, etag string) error {
	e, ok := errors.AsType[*copyError](err)
	if ok && e.late == nil {
		e.late = &journal.LateCopy{Expects: expected, ETag: etag, Until: time.Now()}
	}
	return err
}

func isBadDigest(err error) bool {
	e, ok := errors.AsType[*region.Error](err)
	return ok && e.Outcome == region.Rejected && e.Code == "BadDigest"
}

func isTargets(err error) bool {
	e, ok := errors.AsType[*copyError](err)
	return ok && e.atTarget
}

// transfer makes one attempt; where the source's ETag turns out not to be an MD5, as
// not every S3's is, a second without it.
func (c *copier) transfer(ctx context.Context, src *sourceObject) (string, error) {
	etag, err := c.transferOnce(ctx, src)
	if isBadDigest(err) && !c.unverifiable {
		c.unverifiable = true
		return c.transferOnce(ctx, src)
	}
	return etag, err
}

func (c *copier) transferOnce(ctx context.Context, src *sourceObject) (string, error) {
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
	if err := c.verify(ctx, src, etag); err != nil {
		return "", c.unverified(err, etag)
	}
	return etag, nil
}

// unverified makes the error of a copy that was applied and could not be verified: the
// next attempt is to know it for ours.
func (c *copier) unverified(err error, etag string) error {
	e, ok := errors.AsType[*copyError](err)
	if !ok {
		e = &copyError{err: err}
	}
	e.late = &journal.LateCopy{Expects: c.expected, ETag: etag, Until: time.Now()}
	return e
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
	condition := ""
	if c.conditions.Delete && !mutant.On(mutant.CopyUnconditional) {
		condition = etag
	}
	err = c.target.Delete(ctx, c.o.Key, condition)
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
	theirs, err := c.target.Get(ctx, c.o.Key, http.Header{"If-Match": {s3op.QuoteETag(etag)}})
	if err != nil {
		return &copyError{err: fmt.Errorf("read the copy back: %w", err), atTarget: true}
	}
	defer theirs.Body.Close()
	same, err := sameBytes(ours.Body, theirs.Body)
	if err != nil {
		return &copyError{err: fmt.Errorf("compare the copy with its source: %w", err)}
	}
	if !same {
		return &copyError{err: errOtherBytes}
	}
	return nil
}

var errOtherBytes = errors.New("the copy's bytes are not the source's")

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
