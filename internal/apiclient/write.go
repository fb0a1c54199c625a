package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
)

// PutInput is an object on its way to the gateway.
type PutInput struct {
	// Header is stored with the object: Content-Type, X-Amz-Meta-…; or is a condition: If-Match,
	// If-None-Match.
	Header http.Header
	// Size in bytes, -1 where it is not known.
	Size int64
	// Open returns the body from its beginning. It is called again for another try, where the
	// body that it gave before was read, only if Reopens. Put closes what it gives.
	Open    func() (io.ReadCloser, error)
	Reopens bool
	// Progress is told how much of the body was read by now. Default: nobody.
	Progress func(sent int64)
}

// Written is an acknowledged write.
type Written struct {
	Key         string            `json:"key"`
	ETag        string            `json:"etag"`
	Size        int64             `json:"size"`
	ContentType string            `json:"contentType"`
	Region      string            `json:"region"`
	Version     string            `json:"version"`
	Replication map[string]string `json:"replication"`
	Bucket      string            `json:"bucket"`
}

// Put writes an object. An *UnknownOutcomeError says that it may have been written; with any other
// error but one of the gateway's that says so, it was not.
func (c *Client) Put(ctx context.Context, key string, in PutInput) (Written, error) {
	p := c.newPatience()
	for {
		written, body, err := c.put(ctx, key, in)
		if err == nil {
			return written, nil
		}
		if body.ended() || body.begun() && !in.Reopens {
			return written, err
		}
		if err := p.wait(ctx, err); err != nil {
			return written, err
		}
	}
}

func (c *Client) put(ctx context.Context, key string, in PutInput) (Written, *sentBody, error) {
	from, err := in.Open()
	if err != nil {
		return Written{}, new(sentBody), err
	}
	reqCtx, w := newWatch(ctx, c.IdleTimeout)
	defer w.end()
	body := &sentBody{from: from, size: in.Size, c: c, watch: w, progress: in.Progress}
	defer body.detach()
	var sent io.Reader = body
	if in.Size == 0 {
		sent = http.NoBody
		body.mu.ended = true
		_ = body.Close() // nothing is read from it
	}
	var connected atomic.Bool
	req, err := c.request(traced(reqCtx, &connected), http.MethodPut, c.objectPath(key), in.Header, sent)
	if err != nil {
		_ = body.Close() // nothing was read from it
		return Written{}, body, err
	}
	req.ContentLength = in.Size
	if in.Size != 0 {
		// Who is refused before the body has lost nothing, and can try again.
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Written{}, body, c.unanswered(reqCtx, key, body, &connected, err)
	}
	e := &exchange{resp, w}
	if resp.StatusCode != http.StatusCreated {
		return Written{}, body, e.refusedWrite(key, body.ended())
	}
	defer e.Body.Close()
	w.timer.Reset(c.IdleTimeout)
	var written Written
	if err := json.NewDecoder(io.LimitReader(e.Body, maxPageBytes)).Decode(&written); err != nil {
		return written, body, &UnknownOutcomeError{key, causeOf(reqCtx, err)}
	}
	return written, body, nil
}

// unanswered tells what was certainly not written from what may have been.
func (c *Client) unanswered(ctx context.Context, key string, body *sentBody, connected *atomic.Bool, err error) error {
	if ours := body.failure(); ours != nil {
		return ours
	}
	err = causeOf(ctx, err)
	if !connected.Load() {
		body.unsent()
		return &UnreachableError{c.URL, err}
	}
	if body.ended() {
		return &UnknownOutcomeError{key, err}
	}
	return &CutError{IsWrite: true, Err: err}
}

// refusedWrite reads why a write was refused. What stands before a gateway does not know whether
// it was applied.
func (e *exchange) refusedWrite(key string, ended bool) error {
	err := e.refusal()
	status, ok := errors.AsType[*StatusError](err)
	if ok && ended && status.Detail == "" && status.Status >= http.StatusInternalServerError {
		return &UnknownOutcomeError{key, err}
	}
	return err
}

// sentBody knows how far a body went, and stops the request's watch while its source is slow.
type sentBody struct {
	from     io.ReadCloser
	size     int64
	c        *Client
	watch    *watch
	progress func(int64)

	mu struct {
		sync.Mutex
		isBegun, ended, detached bool
		isReading, isClosed      bool
		sent                     int64
		err                      error
	}
}

var errDetached = errors.New("the request is over")

func (b *sentBody) Read(p []byte) (int, error) {
	left, err := b.begin()
	if err != nil {
		return 0, err
	}
	// A file that grows is sent as long as it was.
	n, err := b.from.Read(p[:min(int64(len(p)), left)])
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.isReading = false; b.mu.isClosed {
		_ = b.from.Close() // it was only read
	}
	if b.mu.detached || b.mu.isClosed {
		return 0, errDetached
	}
	b.mu.sent += int64(n)
	switch {
	case err != nil && err != io.EOF:
		b.mu.err = fmt.Errorf("read what is to be sent: %w", err)
		return n, b.mu.err
	case err == io.EOF && b.mu.sent < b.size:
		b.mu.err = fmt.Errorf("it became shorter while it was sent: it had %d bytes, and has %d; nothing was written", b.size, b.mu.sent)
		return n, b.mu.err
	}
	timeout := b.c.IdleTimeout
	if b.mu.ended = err == io.EOF || b.mu.sent == b.size; b.mu.ended {
		timeout = b.c.WriteTimeout
	}
	b.watch.timer.Reset(timeout)
	if b.progress != nil && n > 0 {
		b.progress(b.mu.sent)
	}
	return n, err
}

// begin stops the watch, and says how much may be read.
func (b *sentBody) begin() (left int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.detached || b.mu.isClosed:
		return 0, errDetached
	case b.size < 0:
		left = math.MaxInt64
	case b.mu.sent == b.size:
		return 0, io.EOF
	default:
		left = b.size - b.mu.sent
	}
	b.mu.isBegun, b.mu.isReading = true, true
	b.watch.timer.Stop()
	return left, nil
}

// Close closes the source, once nobody reads from it: a transport may do both at once.
func (b *sentBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.isClosed {
		return nil
	}
	b.mu.isClosed = true
	if b.mu.isReading {
		return nil
	}
	return b.from.Close()
}

// detach keeps a transport that still reads from telling of it.
func (b *sentBody) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.detached = true
}

// begun reports whether anything was read, and so is gone from a pipe.
func (b *sentBody) begun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.isBegun
}

// ended reports whether the end of the body was handed over.
func (b *sentBody) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.ended
}

// unsent takes back that an empty body counts as sent.
func (b *sentBody) unsent() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.ended = false
}

// failure is why the source could not be read.
func (b *sentBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.err
}

// Deleted is an acknowledged delete.
type Deleted struct {
	Key     string `json:"key"`
	Region  string `json:"region"`
	Version string `json:"version"`
}

// Delete removes an object; one that is not there is no error. It is sent again only where no
// connection was made: a second delete could remove what somebody has written in between.
func (c *Client) Delete(ctx context.Context, key string) (Deleted, error) {
	p := c.newPatience()
	for {
		deleted, connected, err := c.delete(ctx, key)
		if err == nil || connected {
			return deleted, err
		}
		if err := p.wait(ctx, err); err != nil {
			return deleted, err
		}
	}
}

func (c *Client) delete(ctx context.Context, key string) (Deleted, bool, error) {
	ctx, w := newWatch(ctx, c.WriteTimeout)
	defer w.end()
	var connected atomic.Bool
	req, err := c.request(traced(ctx, &connected), http.MethodDelete, c.objectPath(key), nil, nil)
	if err != nil {
		return Deleted{}, false, err
	}
	resp, err := c.http.Do(req)
	switch {
	case err != nil && connected.Load():
		return Deleted{}, true, &UnknownOutcomeError{key, causeOf(ctx, err)}
	case err != nil:
		return Deleted{}, false, &UnreachableError{c.URL, causeOf(ctx, err)}
	}
	e := &exchange{resp, w}
	if resp.StatusCode != http.StatusNoContent {
		return Deleted{}, true, e.refusedWrite(key, true)
	}
	defer e.Body.Close()
	return Deleted{key, resp.Header.Get("X-Tandem-Region"), resp.Header.Get("X-Tandem-Version")}, true, nil
}
