package apiclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// ErrChanged is an object that is not any more what it was when its download began.
var ErrChanged = errors.New("the object was changed or deleted meanwhile")

// Freshness of a read, as the API tells it.
const (
	Current = "current"
	Stale   = "stale"
	Unknown = "unknown"
)

// Object is what a read says of an object.
type Object struct {
	Key  string
	ETag string // without quotes
	// Size in bytes, -1 where the gateway did not say.
	Size         int64
	ContentType  string
	LastModified time.Time // zero where the gateway did not say
	// Version is "" where the gateway did not ask its index.
	Version   string
	Region    string
	Freshness string
	// Fallback: a replica answered, for the active did not.
	Fallback bool
	// Header is all of the answer's.
	Header http.Header
}

// Metadata is what users have stored with the object, by lower-case names.
func (o *Object) Metadata() map[string]string {
	found := make(map[string]string)
	for name, values := range o.Header {
		if rest, ok := strings.CutPrefix(name, s3op.MetadataPrefix); ok {
			found[strings.ToLower(rest)] = strings.Join(values, ",")
		}
	}
	return found
}

// StoredHeader is what has to be sent to store another object like this one.
func (o *Object) StoredHeader() http.Header { return s3op.StoredHeaders(o.Header) }

func newObject(key string, resp *http.Response) (Object, error) {
	h := resp.Header
	o := Object{
		Key: key, ETag: s3op.TrimETag(h.Get("Etag")), Size: resp.ContentLength, ContentType: h.Get("Content-Type"), Version: h.Get("X-Tandem-Version"),
		Region: h.Get("X-Tandem-Region"), Freshness: h.Get("X-Tandem-Freshness"), Fallback: h.Get("X-Tandem-Fallback") == "true", Header: h,
	}
	if o.Region == "" {
		return o, fmt.Errorf("what answers at the URL is no gateway: X-Tandem-Region is missing")
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		o.LastModified = t
	}
	return o, nil
}

// ReadOptions chooses what a read may answer.
type ReadOptions struct {
	// AllowStale takes an older version rather than none.
	AllowStale bool
}

func (o ReadOptions) header() http.Header {
	h := make(http.Header)
	if o.AllowStale {
		h.Set("X-Tandem-Allow-Stale", "true")
	}
	return h
}

// Head tells of an object without its bytes.
func (c *Client) Head(ctx context.Context, key string, options ReadOptions) (Object, error) {
	p := c.newPatience()
	for {
		o, err := c.head(ctx, key, options)
		if err == nil || p.wait(ctx, err) != nil {
			return o, err
		}
	}
}

func (c *Client) head(ctx context.Context, key string, options ReadOptions) (Object, error) {
	e, err := c.ask(ctx, http.MethodHead, c.objectPath(key), options.header())
	if _, ok := errors.AsType[*StatusError](err); ok {
		// The answer to a HEAD cannot say why. That to a GET does, or is as good.
		e, err = c.ask(ctx, http.MethodGet, c.objectPath(key), options.header())
	}
	if err != nil {
		return Object{}, err
	}
	defer e.Close()
	return newObject(key, e.Response)
}

// Reader is an object on its way. It goes on where it was cut, of the same object: its bytes
// are those of one version, or it ends in an error. Not safe for concurrent use.
type Reader struct {
	Object
	c        *Client
	ctx      context.Context
	options  ReadOptions
	patience *patience
	answer   *exchange
	at       int64
	// cut is why the last answer ended early, until another try was waited for.
	cut error
}

// Open begins a download at offset, which is at most the object's size. With an ETag it is that object's, or
// ErrChanged. The caller closes the Reader.
func (c *Client) Open(ctx context.Context, key, etag string, offset int64, options ReadOptions) (*Reader, error) {
	r := &Reader{c: c, ctx: ctx, options: options, patience: c.newPatience(), at: offset}
	r.Key, r.ETag = key, etag
	for {
		err := r.connect()
		if err == nil {
			return r, nil
		}
		if err := r.patience.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// connect asks for what is left.
func (r *Reader) connect() error {
	h := r.options.header()
	if r.at > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", r.at))
	}
	if r.ETag != "" {
		h.Set("If-Match", s3op.QuoteETag(r.ETag))
	}
	answer, err := r.c.ask(r.ctx, http.MethodGet, r.c.objectPath(r.Key), h)
	if e, ok := errors.AsType[*StatusError](err); ok && r.ETag != "" {
		// By its ETag the object was there, and longer.
		if e.Status == http.StatusPreconditionFailed || e.Status == http.StatusRequestedRangeNotSatisfiable || IsNotFound(err) {
			return ErrChanged
		}
	}
	if err != nil {
		return err
	}
	o, err := newObject(r.Key, answer.Response)
	if err == nil {
		err = r.accept(&o, answer.StatusCode)
	}
	if err != nil {
		answer.Close()
		return err
	}
	r.Object, r.answer = o, answer
	return nil
}

// accept refuses an answer that does not go on where this one is.
func (r *Reader) accept(o *Object, status int) error {
	if r.at > 0 {
		if status != http.StatusPartialContent {
			return fmt.Errorf("the gateway sent the whole object where the bytes from %d on were asked for", r.at)
		}
		var ok bool
		if o.Size, ok = sizeOf(o.Header.Get("Content-Range"), r.at); !ok {
			return fmt.Errorf("the gateway sent the bytes %q where those from %d on were asked for", o.Header.Get("Content-Range"), r.at)
		}
	}
	if r.ETag != "" && o.ETag != r.ETag {
		return ErrChanged
	}
	return nil
}

// sizeOf is the whole size that a Content-Range tells, if it begins at first and goes to the end.
func sizeOf(contentRange string, first int64) (int64, bool) {
	text, ok := strings.CutPrefix(contentRange, fmt.Sprintf("bytes %d-", first))
	last, whole, found := strings.Cut(text, "/")
	if !ok || !found {
		return 0, false
	}
	end, err := strconv.ParseInt(last, 10, 64)
	size, wholeErr := strconv.ParseInt(whole, 10, 64)
	return size, err == nil && wholeErr == nil && end == size-1
}

// Read reads on, through cut connections.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		if err := r.reconnect(); err != nil {
			return 0, err
		}
		r.answer.watch.timer.Reset(r.c.IdleTimeout)
		n, err := r.answer.Body.Read(p)
		r.answer.watch.timer.Stop()
		if r.at += int64(n); n > 0 {
			r.patience.renew()
		}
		switch {
		case r.Size >= 0 && r.at == r.Size, r.Size < 0 && err == io.EOF:
			return n, io.EOF
		case err == nil:
			return n, nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		err = &CutError{Err: causeOf(r.answer.Request.Context(), err)}
		r.Close()
		if r.ctx.Err() != nil {
			return n, context.Cause(r.ctx)
		}
		if r.ETag == "" || r.Size < 0 {
			return n, err // nothing says that more of it would be of the same object
		}
		if r.cut = err; n > 0 {
			return n, nil
		}
	}
}

// reconnect has an answer to read from, or an error once it is of no use to try on.
func (r *Reader) reconnect() error {
	for r.answer == nil {
		if r.cut != nil {
			if err := r.patience.wait(r.ctx, r.cut); err != nil {
				return err
			}
		}
		r.cut = r.connect()
	}
	return nil
}

// Close ends the download.
func (r *Reader) Close() {
	if r.answer != nil {
		r.answer.Close()
		r.answer = nil
	}
}

// maxPageBytes bounds a page of a listing, or another JSON answer.
const maxPageBytes = 16 << 20

// readJSON asks for JSON until it gets some.
func (c *Client) readJSON(ctx context.Context, path string, h http.Header, into func(data []byte, h http.Header) error) error {
	p := c.newPatience()
	for {
		data, answered, err := c.readAll(ctx, path, h)
		if err == nil {
			return into(data, answered)
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}

func (c *Client) readAll(ctx context.Context, path string, h http.Header) ([]byte, http.Header, error) {
	e, err := c.ask(ctx, http.MethodGet, path, h)
	if err != nil {
		return nil, nil, err
	}
	defer e.Close()
	e.watch.timer.Reset(c.IdleTimeout)
	data, err := io.ReadAll(io.LimitReader(e.Body, maxPageBytes))
	if err != nil {
		return nil, nil, &CutError{Err: causeOf(e.Request.Context(), err)}
	}
	return data, e.Header, nil
}

// query is a path with parameters; those that are "" are left out.
func query(path string, parameters map[string]string) string {
	q := make(url.Values)
	for name, value := range parameters {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
