package region

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/s3op"
)

const unsignedPayload = "UNSIGNED-PAYLOAD"

// emptySHA256 is the SHA-256 of no bytes.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// expectContinueBytes is the size from which a region is asked before a body is
// sent, so that a refusal costs no upload.
const expectContinueBytes = 1 << 20

// request is one S3 request. A body that is a *bytes.Reader has its hash
// signed; any other is streamed unsigned.
type request struct {
	op       string
	method   string
	onBucket bool   // it is about the bucket itself, and has no key
	key      string // never "" otherwise: to S3 that would be the bucket
	query    url.Values
	header   http.Header
	body     io.Reader
	size     int64
	framing  string        // what stands for the body's hash where that is framed in chunks, or was signed by a client
	timeout  time.Duration // 0: the region's own
}

// do sends q and returns the region's successful answer, whose body the caller
// closes. Anything else is an *Error.
func (r *Region) do(ctx context.Context, q request) (*http.Response, error) {
	if !q.onBucket {
		if err := r.checkKey(q.key); err != nil {
			return nil, r.refuseKey(q.op, err)
		}
	}
	if q.op != opCheckBucket {
		if err := r.admit(); err != nil {
			return nil, &Error{Region: r.name, Operation: q.op, Outcome: NotSent, Err: err}
		}
	}
	resp, err := r.send(ctx, q)
	if mutant.On(mutant.SentAgain) && err != nil && OutcomeOf(err) == Ambiguous {
		resp, err = r.send(ctx, q)
	}
	if q.op != opCheckBucket {
		r.observed(err)
	}
	return resp, err
}

func (r *Region) send(ctx context.Context, q request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := newWatchdog(max(q.timeout, r.timeout), cancel)
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// A write gets another connection only where no byte left on the one before.
		GetConn:      func(string) { sent.Store(false) },
		WroteHeaders: func() { sent.Store(true) },
	})

	fail := func(err error) error {
		w.stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		e := &Error{Region: r.name, Operation: q.op, Outcome: Ambiguous, Err: err}
		if !sent.Load() {
			e.Outcome = NotSent
		}
		r.metrics.observe(r.name, q.op, "error", w.started)
		return e
	}
	req, err := r.build(ctx, q, w)
	if err != nil {
		return nil, fail(err)
	}
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return nil, fail(err)
	}
	r.metrics.observe(r.name, q.op, statusClass(resp.StatusCode), w.started)
	if resp.StatusCode >= 300 {
		w.touch()
		e := r.answered(q.op, resp)
		_ = resp.Body.Close()
		w.stop()
		cancel(nil)
		return nil, e
	}
	w.pause()
	resp.Body = &watchedResponse{body: resp.Body, watch: w, cancel: cancel, region: r.name, op: q.op, received: r.traffic.of(q).received}
	return resp, nil
}

func (r *Region) build(ctx context.Context, q request, w *watchdog) (*http.Request, error) {
	u := *r.base
	if q.key != "" || u.Path == "" {
		u.Path, u.RawPath = u.Path+"/"+q.key, u.Path+"/"+s3op.EscapePath(q.key)
	}
	if len(q.query) > 0 {
		u.RawQuery = strings.ReplaceAll(q.query.Encode(), "+", "%20")
	}
	req, err := http.NewRequestWithContext(ctx, q.method, "http://region.invalid", nil)
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = &u, u.Host
	hash, sent := unsignedPayload, r.traffic.of(q).sent
	switch b := q.body.(type) {
	case nil:
		hash = emptySHA256
	case *bytes.Reader:
		whole := *b // whatever of it is read, b stays as it was given
		if q.framing == "" {
			sum := sha256.New()
			_, _ = new(whole).WriteTo(sum) // neither side fails
			hash = hex.EncodeToString(sum.Sum(nil))
		}
		req.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(&watchedBody{body: new(whole), watch: w, sent: sent}), nil
		}
		req.Body, _ = req.GetBody()
	default:
		req.Body = io.NopCloser(&watchedBody{body: b, watch: w, sent: sent})
	}
	hash = cmp.Or(q.framing, hash)
	if q.body != nil {
		req.ContentLength = q.size
		if q.size == 0 {
			req.Body = http.NoBody
		}
	}
	maps.Copy(req.Header, q.header)
	req.Header.Set("User-Agent", "tandem")
	req.Header.Set("X-Amz-Content-Sha256", hash)
	if q.size >= expectContinueBytes {
		req.Header.Set("Expect", "100-continue")
	}
	creds, err := r.credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("find credentials: %w", err)
	}
	if err := r.signer.SignHTTP(ctx, creds, req, hash, "s3", r.s3Region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return req, nil
}

// finish reads what is left of an answer that has no body to speak of, so that
// its connection can be used again.
func finish(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBytes))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	return err
}

// watchdog cancels a request whose region makes no progress.
type watchdog struct {
	started time.Time
	timeout time.Duration
	timer   *time.Timer
}

func newWatchdog(timeout time.Duration, cancel context.CancelCauseFunc) *watchdog {
	return &watchdog{
		started: time.Now(), timeout: timeout,
		timer: time.AfterFunc(timeout, func() { cancel(ErrStalled) }),
	}
}

func (w *watchdog) touch() { w.timer.Reset(w.timeout) }
func (w *watchdog) pause() { w.timer.Stop() }
func (w *watchdog) stop()  { w.timer.Stop() }

// watchedBody is a request body: while our own side is slow to give bytes, the
// region is not to blame.
type watchedBody struct {
	body  io.Reader
	watch *watchdog
	sent  prometheus.Counter // nil counts nothing
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.pause()
	n, err := b.body.Read(p)
	b.watch.touch()
	countBytes(b.sent, n)
	return n, err
}

// watchedResponse is an answer's body: only the time spent waiting for the
// region counts.
type watchedResponse struct {
	body   io.ReadCloser
	watch  *watchdog
	cancel context.CancelCauseFunc
	region string
	op     string
	// received counts the bytes; nil counts nothing.
	received prometheus.Counter
}

func (b *watchedResponse) Read(p []byte) (int, error) {
	b.watch.touch()
	n, err := b.body.Read(p)
	b.watch.pause()
	countBytes(b.received, n)
	if err != nil && err != io.EOF {
		err = &Error{Region: b.region, Operation: b.op, Outcome: Ambiguous, Err: err}
	}
	return n, err
}

func (b *watchedResponse) Close() error {
	b.watch.stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}
