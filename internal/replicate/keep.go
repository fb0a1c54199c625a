package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/failpoint"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
)

// keep copies the loser of a conflict out of the region that is about to be overwritten: the one that it was found
// in, or one that still has a copy of it.
// The order, and what a crash after each step leaves:
//
//  1. The loser is written under its own key into the active, as a write of its own:
//     journaled, verified, replicated like every other. A crash leaves it there; the next try
//     finds it, or writes the same again.
//  2. The conflict is recorded as kept, and its ledger entries are closed. A crash leaves
//     nothing to do.
//  3. Only then does the copier go on, and overwrites.
func (c *copier) keep(ctx context.Context, loser journal.Conflict) error {
	err := c.keepObject(ctx, loser)
	if mutant.On(mutant.LoserRecordedFirst) {
		err = nil
	}
	if err == nil {
		failpoint.Hit(failpoint.AfterLoserCopied)
		err = c.Journal.Keep(ctx, loser.ID)
	}
	if err == nil {
		c.Logger.InfoContext(ctx, "conflict: the loser is kept", "conflict", loser.ID, "region", c.task.Region, "version", loser.Loser)
		return nil
	}
	failed := &copyError{err: fmt.Errorf("keep the loser of conflict %d: %w", loser.ID, err), loser: loser.ID}
	if f, ok := errors.AsType[*copyError](err); ok {
		failed.state = f.state
	}
	if failed.state == journal.Missing && c.task.Region != loser.Region {
		return nil // the copy that it had of the loser is gone; where it was lost from is for the other to say
	}
	return failed
}

// errKeptAlone: the loser is kept in the region that holds it, and not outside yet. That is
// only a matter of the next copy, so it is looked at again soon.
var errKeptAlone = errors.New("it waits for another region to have it too")

func (c *copier) keepObject(ctx context.Context, loser journal.Conflict) error {
	active := c.State().Active
	source, target := c.target, c.regions[active]
	held, err := source.Head(ctx, loser.Key, nil)
	isDoubted := c.o.IsUnsettledIn(c.task.Region)
	switch {
	case region.IsNotFound(err) && !isDoubted:
		return &copyError{err: errors.New("the region does not hold it any more"), state: journal.Missing}
	case err != nil:
		return err
	case held.ETag() == loser.ETag:
	case isDoubted, c.o.IsOpenToURLs(c.task.Region): // (an upload takes the place of the one that was found before)
		return errors.New("the region is read again first: an earlier write of the key has no answer there")
	case c.isOfOurMaking(held.ETag()):
		return &copyError{err: fmt.Errorf("a copy has taken its place in the region (ETag %s)", held.ETag()), state: journal.Missing}
	case c.task.Regressed:
		return &copyError{err: fmt.Errorf("the region came back with another object (ETag %s)", held.ETag()), state: journal.Missing}
	}
	// Of writes that overlapped the region may hold another than the index says: what it holds
	// is what there is to be kept.
	etag := held.ETag()
	switch kept, err := c.kept(ctx, loser.KeptKey, etag); {
	case err != nil:
		return err
	case kept != nil && (c.task.Region != active || kept.IsElsewhere(active)):
		return nil
	case kept != nil:
		return errKeptAlone
	}
	k := &copier{
		Replicator: c.Replicator, target: target, unverifiable: c.unverifiable,
		task: journal.Task{Region: active}, o: &journal.Object{Bucket: c.Bucket, Key: loser.KeptKey, ETag: etag, Size: held.Size()},
	}
	if err := k.writeKept(ctx, &sourceObject{region: source, key: loser.Key, etag: etag}); err != nil {
		return err
	}
	if c.task.Region == active && len(c.order) > 1 {
		return errKeptAlone
	}
	return nil
}

// isOfOurMaking reports whether the region is known to hold this, or a copy without an answer may have brought it.
// (A region comes back empty, and is filled; a late copy lands on the loser: what is there would be kept under
// the loser's name.)
func (c *copier) isOfOurMaking(etag string) bool {
	return etag == c.task.Target().ETag || slices.ContainsFunc(c.task.Late, func(l journal.LateCopy) bool { return l.ETag == etag })
}

// kept is the row of what an earlier try has kept, nil where none did, or where no region is known to hold that any
// more. (The active has a loser, and keeps it in itself at first; it comes back older than that: what nobody has would
// be waited for, and the key take no write, for ever.)
func (c *copier) kept(ctx context.Context, key, etag string) (*journal.Object, error) {
	o, err := c.Journal.Lookup(ctx, c.Bucket, key)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case o.Deleted || o.ETag != etag || o.Contested(c.State().Active), !slices.ContainsFunc(o.Copies, isCurrent):
		return nil, nil
	}
	return o, nil
}

func isCurrent(c journal.Copy) bool { return c.State == journal.Current }

// writeKept is a write like a client's: an intent first, then the region, then the commit.
func (c *copier) writeKept(ctx context.Context, src *sourceObject) error {
	state, now := c.State(), time.Now()
	deadline := now.Add(repairTimeout + time.Duration(c.o.Size/repairBytes)*time.Second)
	operation := journal.Put
	if strings.Contains(src.etag, "-") {
		operation = journal.Complete
	}
	id, err := c.Journal.Open(ctx, journal.Intent{
		Bucket: c.Bucket, Key: c.o.Key, Region: state.Active, Operation: operation, Epoch: state.Epoch,
		OpenedAt: now, DoubtUntil: deadline.Add(c.DoubtWindow), Brings: src.etag,
	})
	if err != nil {
		if errors.Is(err, journal.ErrUnknown) && id != 0 {
			c.LeftOpen(id, c.o.Key, false)
		}
		return fmt.Errorf("record the write: %w", err)
	}
	ended := context.WithoutCancel(ctx)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	etag, contentType, err := c.transferKept(ctx, src)
	if err != nil {
		f, ok := errors.AsType[*copyError](err)
		return errors.Join(err, c.endRepair(ended, id, ok && f.late != nil))
	}
	_, err = c.Journal.Commit(ended, id, journal.Written{ETag: etag, Size: c.o.Size, ContentType: contentType})
	if err != nil {
		return errors.Join(fmt.Errorf("record the write: %w", err), c.endRepair(ended, id, true))
	}
	return nil
}

func (c *copier) transferKept(ctx context.Context, src *sourceObject) (etag, contentType string, err error) {
	a, err := src.region.Head(ctx, src.key, src.condition())
	if err != nil {
		return "", "", err
	}
	etag, err = c.transfer(ctx, src)
	return etag, a.Header.Get("Content-Type"), err
}
