package region

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/gnew/tandem/internal/s3op"
)

// probeKey is written once for each run of a gateway, to learn what the region does.
const probeKey = s3op.ReservedPrefix + "probe"

// Conditions says which conditional writes a region honours.
type Conditions struct {
	// Put: If-Match and If-None-Match, on PutObject and so on completing an upload.
	Put bool
	// Delete: If-Match on DeleteObject.
	Delete bool
}

// Conditions reports which conditional writes the region honours. It learns this by
// trying, once, with a small object of Tandem's own: a region that takes the headers
// and ignores them would otherwise let a late copy overwrite a newer object. An *Error
// says that it could not be learned now: the region is down, or takes no object at all.
func (r *Region) Conditions(ctx context.Context) (Conditions, error) {
	select {
	case r.conditions.lock <- struct{}{}:
	case <-ctx.Done():
		return Conditions{}, &Error{Region: r.name, Operation: "PutObject", Outcome: NotSent, Err: context.Cause(ctx)}
	}
	defer func() { <-r.conditions.lock }()
	if c := r.conditions.known.Load(); c != nil {
		return *c, nil
	}
	c, err := r.probeConditions(ctx)
	if err != nil {
		return Conditions{}, err
	}
	r.conditions.known.Store(&c)
	return c, nil
}

// MayIgnoreConditions reports whether the region does not honour conditions on PUTs, as far as that is known: nobody is
// asked, and what was never learned counts as not honoured.
func (r *Region) MayIgnoreConditions() bool {
	c := r.conditions.known.Load()
	return c == nil || !c.Put
}

const noSuchETag = "00000000000000000000000000000000"

func (r *Region) probeConditions(ctx context.Context) (Conditions, error) {
	put := func(h http.Header) error {
		_, err := r.Put(ctx, probeKey, h, bytes.NewReader(nil), 0)
		return err
	}
	if err := put(nil); err != nil {
		return Conditions{}, err
	}
	create, err := isHonoured(put(http.Header{"If-None-Match": {"*"}}))
	if err != nil {
		return Conditions{}, err
	}
	overwrite, err := isHonoured(put(http.Header{"If-Match": {s3op.QuoteETag(noSuchETag)}}))
	if err != nil {
		return Conditions{}, err
	}
	remove, err := isHonoured(r.Delete(ctx, probeKey, noSuchETag))
	if err != nil {
		return Conditions{}, err
	}
	return Conditions{Put: create && overwrite, Delete: remove}, nil
}

// isHonoured reads the answer to a request whose condition does not hold. A region
// that refuses it on other grounds does not honour the condition: without one it took the
// probe, and a region that lets nobody delete can be copied to all the same.
func isHonoured(err error) (bool, error) {
	switch e, ok := errors.AsType[*Error](err); {
	case err == nil:
		return false, nil
	case IsPrecondition(err):
		return true, nil
	case ok && e.Outcome == Rejected && !IsDown(err) && e.Status != http.StatusTooManyRequests && e.Status != http.StatusConflict:
		return false, nil
	}
	return false, err
}
