package region

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Passed is a client's request on its way to the region: the bucket is named and the signature made
// anew, and all else is as it was sent.
type Passed struct {
	// Operation is AWS's name for it. Required, as is Method.
	Operation string
	Method    string
	// Key is "" for a request about the bucket itself.
	Key string
	// Query holds nothing of the client's signature.
	Query url.Values
	// Header holds nothing of the client's signature, and nothing that was for the gateway alone.
	Header http.Header
	// Body is nil where there is none; Size is then 0.
	Body io.Reader
	Size int64
	// Payload is the body's SHA-256, in hex, where the client has signed one: the region verifies it. Default: that of a body that
	// is a *bytes.Reader, and none of any other.
	Payload string
	// Trailer is sent behind the body, to a region that takes checksums there; the zero Trailer is none.
	Trailer Trailer
	// Timeout is how long the region may make no progress, where that is longer than Config.Timeout.
	Timeout time.Duration
}

// Pass sends a request on, and returns the region's successful answer, whose body the caller closes. Any other
// answer is an *Error, which has the region's document. As with Head, a 404 without a document is that of a key
// only where the bucket is there.
func (r *Region) Pass(ctx context.Context, p Passed) (*Object, error) {
	if p.Trailer.Name != "" && !r.takesTrailers(ctx) {
		p.Trailer = Trailer{}
	}
	q, err := frame(request{
		op: p.Operation, method: p.Method, onBucket: p.Key == "", key: p.Key, query: p.Query, header: p.Header,
		body: p.Body, size: p.Size, framing: p.Payload, timeout: p.Timeout,
	}, p.Trailer)
	if err != nil {
		return nil, &Error{Region: r.name, Operation: p.Operation, Outcome: NotSent, Err: err}
	}
	resp, err := r.do(ctx, q)
	if e, ok := err.(*Error); ok && p.Method == http.MethodHead && p.Key != "" && e.Status == http.StatusNotFound {
		return nil, r.absent(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	return &Object{Attributes: Attributes{resp.StatusCode, resp.Header}, Body: resp.Body}, nil
}
