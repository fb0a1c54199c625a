package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
)

// repair writes an acknowledged version back into the active. That is a write: it
// has an intent, so that a client's write meanwhile is not overtaken unseen. Where the active does
// not honour the condition that it still holds what was looked at, the intent is a lease: no
// client's write of an object is let in while it is there, and the active is looked at again
// under it. A delete is let in, for Settle finds out what the repair has then brought back.
func (c *copier) repair(ctx context.Context, src *sourceObject) (string, error) {
	if held, err := c.look(ctx, src); err != nil || held != "" {
		return held, err
	}
	displaces := c.expected
	if !c.conditions.Put {
		displaces = journal.AnyETag
	}
	if mutant.On(mutant.RepairWithoutIntent) {
		return c.transfer(ctx, src)
	}
	return c.withIntent(ctx, src.etag, displaces, func(ctx context.Context) (string, error) {
		if !c.conditions.Put && !mutant.On(mutant.RepairUnconditional) {
			if held, err := c.look(ctx, src); err != nil || held != "" {
				return held, err
			}
		}
		return c.transfer(ctx, src)
	})
}

func (c *copier) repairDelete(ctx context.Context, etag string) (string, error) {
	return c.withIntent(ctx, "", etag, func(ctx context.Context) (string, error) {
		condition := etag
		if mutant.On(mutant.RepairUnconditional) {
			condition = ""
		} else if !c.conditions.Delete {
			condition = ""
			held, err := c.target.Head(ctx, c.o.Key, nil)
			if err == nil && held.ETag() != etag {
				err = &copyError{err: fmt.Errorf("the active holds another object than a moment ago (ETag %s)", held.ETag()), atTarget: true}
			}
			if err != nil && !region.IsNotFound(err) {
				return "", err
			}
		}
		if err := c.target.Delete(ctx, c.o.Key, condition); err != nil && !region.IsNotFound(err) {
			return "", c.unanswered(err, "delete in the active", etag, "", c.conditions.Delete)
		}
		return "", nil
	})
}

const (
	// repairTimeout and repairBytes: a repair is given up after the first, and a second
	// more for each of the second.
	repairTimeout = time.Minute
	repairBytes   = 1 << 20
)

// withIntent makes a write into the active. Its doubt window is counted from its
// deadline, as every write's is. (A repair takes longer than the window and has no answer; it is
// closed at once; the key is deleted; the repair lands: the deleted object is back.)
//
// displaces is what the active holds that the write is to replace or delete, or AnyETag where
// it would replace whatever is there.
func (c *copier) withIntent(ctx context.Context, etag, displaces string, write func(context.Context) (string, error)) (string, error) {
	state, now := c.State(), time.Now()
	deadline := now.Add(repairTimeout + time.Duration(c.o.Size/repairBytes)*time.Second)
	id, err := c.Journal.Open(ctx, journal.Intent{
		Bucket: c.Bucket, Key: c.o.Key, Region: c.task.Region, Operation: journal.Repair, Epoch: state.Epoch,
		OpenedAt: now, DoubtUntil: deadline.Add(c.DoubtWindow), Restores: c.o.Version, Brings: etag, Displaces: displaces,
	})
	if err != nil {
		if errors.Is(err, journal.ErrUnknown) && id != 0 {
			c.LeftOpen(id, c.o.Key, false)
		}
		return "", fmt.Errorf("record the repair: %w", err)
	}
	ended := context.WithoutCancel(ctx)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	etag, err = write(ctx)
	if err == nil {
		return etag, c.commitRepair(ended, id, etag)
	}
	// Without a late copy to remember, nothing of the repair can be there.
	f, ok := errors.AsType[*copyError](err)
	sent := ok && f.late != nil
	return "", errors.Join(err, c.endRepair(ended, id, sent))
}

func (c *copier) commitRepair(ctx context.Context, id int64, etag string) error {
	committed, err := c.Journal.Commit(ctx, id, journal.Written{ETag: etag})
	if err == nil {
		c.Metrics.repaired(c.task.Region)
		if !committed.Settled {
			c.Unsettled(c.o.Key)
		}
		return nil
	}
	late := &journal.LateCopy{Expects: c.expected, ETag: etag, Until: time.Now()}
	return errors.Join(&copyError{err: fmt.Errorf("record the repair: %w", err), late: late}, c.endRepair(ctx, id, true))
}

// endRepair closes the intent of a repair that was not answered as it should.
func (c *copier) endRepair(ctx context.Context, id int64, sent bool) error {
	var err error
	if sent {
		err = c.Journal.Doubt(ctx, id, time.Now().Add(c.DoubtWindow))
	} else {
		err = c.Journal.Abandon(ctx, id)
	}
	if err != nil {
		c.LeftOpen(id, c.o.Key, sent)
		return err
	}
	if sent {
		c.Unsettled(c.o.Key)
	}
	return nil
}
