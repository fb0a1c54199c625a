package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// Keep says which side of a conflict stays.
type Keep string

// The ways to resolve a conflict.
const (
	// KeepWinner leaves the key as it is and removes what was kept of the loser.
	KeepWinner Keep = "winner"
	// KeepLoser makes the loser the key's newest version; of a delete that is a delete.
	KeepLoser Keep = "loser"
	// KeepBoth leaves the key as it is and writes the loser under another key.
	KeepBoth Keep = "both"
)

// Resolution decides a conflict.
type Resolution struct {
	ID   int64
	Keep Keep
	// Key is where the loser is written with KeepBoth; it must not exist.
	Key string
	// Actor is who decides, for the record.
	Actor string
}

// Resolve carries out what was decided. The order, and what a crash after each step leaves:
//
//  1. The write that was decided on, acknowledged like every other. A crash leaves the
//     conflict as it was; resolving it again writes the same.
//  2. The conflict is recorded as resolved. A crash leaves what was kept of the loser, which
//     nobody needs any more.
//  3. What was kept is deleted.
//
// An error is an *s3op.Error; NotFound where there is no such conflict, Conflict where it is
// not one that can be resolved now.
func (g *Gateway) Resolve(ctx context.Context, r Resolution) error {
	// One after the other: the conflict is looked at and recorded as one step.
	select {
	case g.resolving <- struct{}{}:
	case <-ctx.Done():
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "another conflict is being resolved; try again", context.Cause(ctx))
	}
	defer func() { <-g.resolving }()
	c, err := g.Journal.Conflict(ctx, r.ID)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return s3op.NewError(s3op.NotFound, "NoSuchConflict", fmt.Sprintf("there is no conflict %d", r.ID))
	case err != nil:
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the index cannot be read; try again", err)
	case c.State == journal.ConflictFound:
		return s3op.NewError(s3op.Conflict, "NotKeptYet", fmt.Sprintf("the loser of conflict %d is not kept yet: %s",
			r.ID, cmp.Or(c.LastError, "it is copied once the region that has it answers")))
	case c.State == journal.ConflictResolved:
		return s3op.NewError(s3op.Conflict, "Resolved", fmt.Sprintf("conflict %d was resolved already (%s)", r.ID, c.Resolution))
	}
	resolution := string(r.Keep)
	switch r.Keep {
	case KeepWinner:
	case KeepLoser:
		err = g.restore(ctx, c, c.Key, false)
	case KeepBoth:
		if err = checkKey(r.Key); err == nil {
			err = g.restore(ctx, c, r.Key, true)
		}
		resolution += " (" + r.Key + ")"
	default:
		err = s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("keep is %q; allowed: winner, loser, both", r.Keep))
	}
	if err != nil {
		return err
	}
	err = g.Journal.Resolve(context.WithoutCancel(ctx), r.ID, journal.Resolution{Keep: resolution, Actor: r.Actor})
	switch {
	case errors.Is(err, journal.ErrMovedOn):
		return s3op.NewError(s3op.Conflict, "Resolved", fmt.Sprintf("conflict %d was resolved meanwhile", r.ID))
	case err != nil:
		return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the resolution could not be recorded; resolve it again", err)
	}
	if c.Deleted {
		return nil
	}
	if _, err := g.delete(context.WithoutCancel(ctx), c.KeptKey, nil); err != nil {
		g.Logger.WarnContext(ctx, "what was kept of a resolved conflict is left over", "conflict", r.ID, "err", err)
	}
	return nil
}

// restore writes the loser as the newest version of a key. That of its own key is written
// only over what the index says is there now.
func (g *Gateway) restore(ctx context.Context, c journal.Conflict, key string, isNew bool) error {
	if c.Deleted {
		if isNew {
			return s3op.NewError(s3op.Invalid, "InvalidArgument", "the loser is a delete, of which there is nothing to write; allowed: winner, loser")
		}
		return g.deletePresent(ctx, key)
	}
	kept, err := g.read(ctx, c.KeptKey, ReadInput{})
	if err != nil {
		return err
	}
	defer kept.Body.Close()
	h := s3op.StoredHeaders(kept.Header)
	if kept.TagCount() > 0 {
		tags, err := g.regions[kept.Region].Tags(ctx, c.KeptKey)
		if err != nil {
			return region.ToClient(err)
		}
		h.Set("X-Amz-Tagging", tags)
	}
	condition, err := g.presentCondition(ctx, key, isNew)
	if err != nil {
		return err
	}
	maps.Copy(h, condition)
	_, err = g.put(ctx, key, PutInput{Header: h, Body: kept.Body, Size: kept.Size()})
	return err
}

// deletePresent deletes the key as it is now, where the active can judge that.
func (g *Gateway) deletePresent(ctx context.Context, key string) error {
	conditions, err := g.regions[g.view.Load().Active].Conditions(ctx)
	if err != nil {
		return region.ToClient(err)
	}
	o, err := g.lookup(ctx, key)
	if err != nil || o == nil || o.Deleted {
		return err
	}
	var h http.Header
	if held := o.Copy(g.view.Load().Active); conditions.Delete && held.State == journal.Current {
		h = http.Header{"If-Match": {s3op.QuoteETag(held.ETag)}}
	}
	_, err = g.delete(ctx, key, h)
	return err
}

// presentCondition holds the key to what it is now, where the active can judge that.
func (g *Gateway) presentCondition(ctx context.Context, key string, isNew bool) (http.Header, error) {
	v := g.view.Load()
	conditions, err := g.regions[v.Active].Conditions(ctx)
	if err != nil {
		return nil, region.ToClient(err)
	}
	o, err := g.lookup(ctx, key)
	if err != nil {
		return nil, err
	}
	isThere := o != nil && !o.Deleted && !o.Version.IsZero()
	switch {
	case isNew && isThere:
		return nil, s3op.NewError(s3op.Conflict, "KeyExists", fmt.Sprintf("the key %q exists; choose another", key))
	case !conditions.Put:
		return nil, nil
	case isThere && o.Copy(v.Active).State == journal.Current:
		return http.Header{"If-Match": {s3op.QuoteETag(o.Copy(v.Active).ETag)}}, nil
	case !isThere:
		return http.Header{"If-None-Match": {region.AnyETag}}, nil
	}
	return nil, nil
}
