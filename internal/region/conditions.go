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
	// Put: If-Match and If-None-Match, on PutObject and, where there are uploads, on completing one.
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
	found, err := r.ProbeConditions(ctx, probeKey)
	if err != nil {
		return Conditions{}, err
	}
	c := found.Conditions()
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

// Support is what a region did with a request that asks for something.
type Support int

const (
	// Untried: it was not asked.
	Untried Support = iota
	// Honoured: it did as it was asked.
	Honoured
	// Ignored: it took the request and did otherwise.
	Ignored
	// Refused: it refused the request.
	Refused
)

func (s Support) String() string {
	return [...]string{"not tried", "honoured", "ignored", "refused"}[s]
}

// ConditionSupport is what a region did with writes whose conditions did not hold.
type ConditionSupport struct {
	// Create is If-None-Match: * and Overwrite If-Match, on PutObject.
	Create, Overwrite Support
	// Complete is If-None-Match: * on CompleteMultipartUpload; Untried where the region has no uploads.
	Complete Support
	// Delete is If-Match on DeleteObject.
	Delete Support
}

// Conditions are those to rely on. Copies are made with PUTs and with uploads, and whoever makes them is to be able to
// rely on either: a late completion overwrites as a late PUT does.
func (s ConditionSupport) Conditions() Conditions {
	return Conditions{
		Put:    s.Create == Honoured && s.Overwrite == Honoured && (s.Complete == Honoured || s.Complete == Untried),
		Delete: s.Delete == Honoured,
	}
}

// ProbeConditions asks for conditional writes of a key that is the caller's own to lose, and leaves a small object there, or
// nothing. An *Error says that it could not be learned now.
func (r *Region) ProbeConditions(ctx context.Context, key string) (found ConditionSupport, err error) {
	put := func(h http.Header) error {
		_, err := r.Put(ctx, key, h, bytes.NewReader(nil), 0)
		return err
	}
	if err := put(nil); err != nil {
		return found, err
	}
	if found.Create, err = supportOf(put(http.Header{"If-None-Match": {"*"}})); err != nil {
		return found, err
	}
	if found.Overwrite, err = supportOf(put(http.Header{"If-Match": {s3op.QuoteETag(noSuchETag)}})); err != nil {
		return found, err
	}
	if found.Complete, err = r.probeCompletion(ctx, key); err != nil {
		return found, err
	}
	found.Delete, err = supportOf(r.Delete(ctx, key, noSuchETag))
	return found, err
}

// probeCompletion completes an upload of a key that is there, on the condition that it is not.
func (r *Region) probeCompletion(ctx context.Context, key string) (Support, error) {
	id, err := r.CreateUpload(ctx, key, nil)
	if isRefusal(err) {
		return Untried, nil
	}
	if err != nil {
		return Untried, err
	}
	etag, err := r.UploadPart(ctx, key, id, 1, nil, bytes.NewReader([]byte("probe")), 5)
	if err == nil {
		_, err = r.CompleteUpload(ctx, key, id, http.Header{"If-None-Match": {"*"}}, []string{etag})
	}
	support, err := supportOf(err)
	if support == Ignored {
		return support, nil // the upload is an object now
	}
	if abortErr := r.AbortUpload(ctx, key, id); err == nil && abortErr != nil && !isRefusal(abortErr) {
		err = abortErr
	}
	return support, err
}

// supportOf reads the answer to a request whose condition does not hold. A region
// that refuses it on other grounds does not honour the condition: without one it took the
// probe, and a region that lets nobody delete can be copied to all the same.
func supportOf(err error) (Support, error) {
	switch {
	case err == nil:
		return Ignored, nil
	case IsPrecondition(err):
		return Honoured, nil
	case isRefusal(err):
		return Refused, nil
	}
	return Untried, err
}

// isRefusal reports whether the region answered that it will not do this, now or later.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Outcome == Rejected && !IsDown(err) && e.Status != http.StatusTooManyRequests && e.Status != http.StatusConflict
}
