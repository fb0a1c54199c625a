// Package apiclient uploads, downloads, lists and deletes objects over a gateway's REST API,
// for commands.
//
// Reads are tried again, with growing delays, and go on at the byte that they had come to.
// A write is sent again only while it certainly was not made: the gateway has nothing applied
// before it has the last byte of a body, so whatever breaks before that byte was handed over has
// written nothing. After it, a missing answer is an *UnknownOutcomeError. A body waits for the
// gateway's 100 Continue, so that what is refused at once can be sent again from a pipe, too.
package apiclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/gnew/tandem/internal/s3op"
)

// Config says which gateway is asked, and how patiently.
type Config struct {
	// URL of the gateway, without a slash at its end. Required.
	URL string
	// Token is sent as a bearer token; "" for none.
	Token string
	// Bucket that every request is about; "" for the gateway's first.
	Bucket string
	// TLS is for https, of the default Transport. Default: the system's authorities.
	TLS *tls.Config
	// Transport sends requests. Default: one of the client's own, that changes no body.
	Transport http.RoundTripper
	// Retries is how often in a row something is tried again that brought nothing; 0 for never.
	Retries int
	// RetryDelay is the first delay between two tries; it grows to MaxRetryDelay. A Retry-After
	// counts where it is longer. Default 500 ms.
	RetryDelay time.Duration
	// IdleTimeout bounds the wait for an answer to a read, or for the next bytes. Default 1 min.
	IdleTimeout time.Duration
	// WriteTimeout bounds the wait for the answer to a write whose end was sent. Default 5 min.
	WriteTimeout time.Duration
	// Retrying is told what failed before each delay. Default: nobody. It may be called by
	// several goroutines at once.
	Retrying func(err error, delay time.Duration)
}

// MaxRetryDelay is the longest delay between two tries, also where the gateway asks for more.
const MaxRetryDelay = 30 * time.Second

// Client is safe for concurrent use.
type Client struct {
	Config
	http *http.Client
}

// New returns a client. It connects to nothing.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL of a gateway; want http://host:port or https://host", cfg.URL)
	}
	cfg.RetryDelay = cmp.Or(cfg.RetryDelay, backoff.DefaultInitialInterval)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, time.Minute)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 5*time.Minute)
	if cfg.Retrying == nil {
		cfg.Retrying = func(error, time.Duration) {}
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport(cfg.TLS)
	}
	return &Client{cfg, &http.Client{
		Transport: cfg.Transport,
		// A gateway redirects nothing: whatever does so is something else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

const (
	dialTimeout = 10 * time.Second
	// continueTimeout is how long the end of a header is waited on before the body follows it.
	continueTimeout = 3 * time.Second
	// idleConnections are kept for the requests that follow.
	idleConnections = 64
)

func newTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   dialTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   idleConnections,
		IdleConnTimeout:       time.Minute,
		ExpectContinueTimeout: continueTimeout,
		// An object that is stored compressed is to arrive as it is stored.
		DisableCompression: true,
	}
}

// StatusError is what the gateway answered instead.
type StatusError struct {
	Status int
	// Code is S3's, or Tandem's own; "" where the answer is not the gateway's.
	Code string
	// Detail is for people; "" where the answer is not the gateway's.
	Detail string
	// RetryAfter is what the answer asks for; 0 where it does not.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	status := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	if e.Detail == "" {
		return fmt.Sprintf("the gateway answered %s: is something else at its URL?", status)
	}
	return fmt.Sprintf("the gateway answered %s: %s", status, e.Detail)
}

// IsNotFound reports whether the gateway knows that there is no such object. A bucket that it does not know says
// nothing of one.
func IsNotFound(err error) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Status == http.StatusNotFound && e.Code != "NoSuchPath" && e.Code != "NoSuchBucket"
}

// UnreachableError is a request that no gateway answered, and that changed nothing.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no gateway answers at %s: %v", e.URL, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// UnknownOutcomeError is a write that was sent to its end, and has no answer. It may have been
// applied, and it may yet be.
type UnknownOutcomeError struct {
	Key string
	Err error
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("no answer came after the end of the request: it may or may not have been applied; look with `tandem head` (%v)", e.Err)
}

// Unwrap returns the cause.
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

var errSilent = errors.New("nothing was heard in time")

// exchange is one request with its answer, under the watch of a timer.
type exchange struct {
	*http.Response
	watch *watch
}

// watch cancels a request when nothing happens for too long.
type watch struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func newWatch(ctx context.Context, timeout time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{time.AfterFunc(timeout, func() {
		cancel(fmt.Errorf("%w (%s)", errSilent, timeout))
	}), cancel}
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// request makes a request to a path of the gateway, which is escaped already.
func (c *Client) request(ctx context.Context, method, path string, h http.Header, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	maps.Copy(req.Header, h)
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return req, nil
}

// objectPath is where the API has the key.
func (c *Client) objectPath(key string) string {
	return c.inBucket("/objects/"+s3op.EscapePath(key), nil)
}

// inBucket is a path about the client's bucket, with parameters.
func (c *Client) inBucket(path string, parameters map[string]string) string {
	all := map[string]string{"bucket": c.Bucket}
	maps.Copy(all, parameters)
	return query(path, all)
}

// ask sends one request that changes nothing, once. The answer's body is the caller's to close,
// by the exchange.
func (c *Client) ask(caller context.Context, method, path string, h http.Header) (*exchange, error) {
	ctx, w := newWatch(caller, c.IdleTimeout)
	req, err := c.request(ctx, method, path, h, nil)
	if err != nil {
		w.end()
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		defer w.end()
		if caller.Err() != nil {
			return nil, context.Cause(caller)
		}
		return nil, &UnreachableError{c.URL, causeOf(ctx, err)}
	}
	e := &exchange{resp, w}
	if resp.StatusCode/100 != 2 {
		return nil, e.refusal()
	}
	w.timer.Stop()
	return e, nil
}

// causeOf is why a request ended: its context's cause, where that ended it.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func (e *exchange) Close() {
	_ = e.Body.Close() // whatever is left of the answer is not wanted
	e.watch.end()
}

// maxProblemBytes bounds what is read of a problem.
const maxProblemBytes = 1 << 20

// refusal reads a problem, and ends the exchange.
func (e *exchange) refusal() error {
	defer e.Close()
	err := &StatusError{Status: e.StatusCode}
	if seconds, convErr := strconv.Atoi(e.Header.Get("Retry-After")); convErr == nil && seconds > 0 {
		err.RetryAfter = time.Duration(seconds) * time.Second
	}
	data, readErr := io.ReadAll(io.LimitReader(e.Body, maxProblemBytes))
	var problem struct{ Detail, Code string }
	if readErr == nil && strings.HasPrefix(e.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(data, &problem) == nil {
		err.Detail, err.Code = problem.Detail, problem.Code
	}
	return err
}

// patience is how often, and after which delays, something is tried again.
type patience struct {
	c      *Client
	left   int
	delays backoff.ExponentialBackOff
}

func (c *Client) newPatience() *patience {
	return &patience{c, c.Retries, backoff.ExponentialBackOff{
		InitialInterval: c.RetryDelay, RandomizationFactor: backoff.DefaultRandomizationFactor,
		Multiplier: backoff.DefaultMultiplier, MaxInterval: MaxRetryDelay,
	}}
}

// renew is called when something was brought.
func (p *patience) renew() {
	p.left = p.c.Retries
	p.delays.Reset()
}

// wait returns nil once it is time for another try, and err where there is to be none.
func (p *patience) wait(ctx context.Context, err error) error {
	if ctx.Err() != nil || p.left == 0 || !isPassing(err) {
		return err
	}
	p.left--
	delay := p.delays.NextBackOff()
	if e, ok := errors.AsType[*StatusError](err); ok {
		delay = min(max(delay, e.RetryAfter), MaxRetryDelay)
	}
	p.c.Retrying(err, delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return err
	}
}

// isPassing reports whether a later try may end otherwise.
func isPassing(err error) bool {
	if e, ok := errors.AsType[*StatusError](err); ok {
		switch e.Status {
		case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	if _, ok := errors.AsType[*UnknownOutcomeError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return true
	}
	_, ok := errors.AsType[*CutError](err)
	return ok
}

// CutError is a connection that broke, or fell silent, before the end of an object. Nothing was
// written by it.
type CutError struct {
	// IsWrite: the object was on its way to the gateway.
	IsWrite bool
	Err     error
}

func (e *CutError) Error() string {
	if e.IsWrite {
		return fmt.Sprintf("the connection broke before the end was sent; nothing was written: %v", e.Err)
	}
	return fmt.Sprintf("the gateway's answer was cut short: %v", e.Err)
}

// Unwrap returns the cause.
func (e *CutError) Unwrap() error { return e.Err }

// traced tells whether a request got as far as a connection.
func traced(ctx context.Context, connected *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
}
