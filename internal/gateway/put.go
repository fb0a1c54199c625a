package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/s3op"
)

// PutInput is an object on its way in.
type PutInput struct {
	// Header holds what is stored with the object (s3op.StoredHeaders),
	// X-Amz-Tagging, Content-Md5, checksums, If-Match and If-None-Match. What else is
	// in it is left out.
	Header http.Header
	Body   io.Reader
	// Size in bytes, -1 where it is not known.
	Size int64
}

const (
	// smallBytes: a body up to this size is read before the region is called.
	smallBytes = 64 << 10
	// singleBytes is the largest object of one PUT.
	// Source: Amazon S3 User Guide, "Uploading objects".
	singleBytes = 5 << 30
)

// Put writes an object to the active and returns once the write is acknowledged:
// the active has it, and the journal has it on disk. Memory does not grow with the object.
// An error is an *s3op.Error; one that is not Unavailable says that nothing was written.
func (g *Gateway) Put(ctx context.Context, key string, in PutInput) (Result, error) {
	if in.Size > g.MaxObjectBytes {
		return Result{}, tooLarge(g.MaxObjectBytes)
	}
	op := journal.Put
	if in.Size > singleBytes || in.Size < 0 {
		op = journal.Complete
	}
	w, err := g.begin(ctx, key, op)
	if err != nil {
		return Result{}, err
	}
	h, conditions := storedHeader(in.Header), conditionHeader(in.Header)
	if len(conditions) > 0 {
		if err := g.requireSettled(ctx, key); err != nil {
			return w.end(journal.Written{}, err)
		}
	}
	if op == journal.Complete {
		return w.putParts(h, conditions, in)
	}
	maps.Copy(h, integrityHeader(in.Header))
	maps.Copy(h, conditions)
	if in.Size <= smallBytes {
		return w.putSmall(h, in.Body, in.Size)
	}
	body := &heldBody{body: in.Body, left: in.Size, release: w.open}
	etag, err := w.active.Put(w.ctx, key, h, body, in.Size)
	if ours := body.failure(); ours != nil {
		err = ours
	}
	return w.end(written(h, etag, in.Size), err)
}

// putSmall reads the body first, so that a client's fault costs the region nothing
// and the request leaves in one piece.
func (w *write) putSmall(h http.Header, body io.Reader, size int64) (Result, error) {
	data := make([]byte, size)
	if _, err := io.ReadFull(body, data); err != nil {
		return w.end(journal.Written{}, incomplete(err))
	}
	return w.putBytes(h, data)
}

func (w *write) putBytes(h http.Header, data []byte) (Result, error) {
	if err := w.open(); err != nil {
		return w.end(journal.Written{}, err)
	}
	size := int64(len(data))
	etag, err := w.active.Put(w.ctx, w.key, h, bytes.NewReader(data), size)
	return w.end(written(h, etag, size), err)
}

// Delete removes a key from the active and returns once that is acknowledged; a
// key that is not there is no error. ifMatch, where not empty, is the ETag it must have.
func (g *Gateway) Delete(ctx context.Context, key, ifMatch string) (Result, error) {
	w, err := g.begin(ctx, key, journal.Delete)
	if err != nil {
		return Result{}, err
	}
	if ifMatch != "" {
		if err := g.requireSettled(ctx, key); err != nil {
			return w.end(journal.Written{}, err)
		}
	}
	// Without a body the first byte may be the last: the intent comes before it.
	if err := w.open(); err != nil {
		return w.end(journal.Written{}, err)
	}
	return w.end(journal.Written{}, w.active.Delete(w.ctx, key, s3op.TrimETag(ifMatch)))
}

// heldBody holds the last byte back until release has returned nil.
type heldBody struct {
	body    io.Reader
	left    int64
	release func() error
	last    [1]byte

	mu  sync.Mutex
	err error // guarded by mu
}

func (b *heldBody) Read(p []byte) (int, error) {
	switch {
	case b.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case b.left > 1:
		n, err := b.body.Read(p[:min(int64(len(p)), b.left-1)])
		b.left -= int64(n)
		if n == 0 && err != nil {
			return 0, b.fail(incomplete(err))
		}
		return n, nil
	}
	if _, err := io.ReadFull(b.body, b.last[:]); err != nil {
		return 0, b.fail(incomplete(err))
	}
	if err := b.release(); err != nil {
		return 0, b.fail(err)
	}
	b.left = 0
	return copy(p, b.last[:]), nil
}

func (b *heldBody) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	return err
}

// failure is why the body ended early, nil where that was not our side's doing.
func (b *heldBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// incomplete is the error of a body that the client did not send whole.
func incomplete(err error) error {
	if _, ok := errors.AsType[*s3op.Error](err); ok {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s3op.WrapError(s3op.Invalid, "IncompleteBody",
			"the body is shorter than its Content-Length; nothing was written", err)
	}
	return s3op.WrapError(s3op.Invalid, "IncompleteBody", "the body could not be read to its end; nothing was written", err)
}

func tooLarge(limit int64) *s3op.Error {
	return s3op.NewError(s3op.TooLarge, "EntityTooLarge",
		fmt.Sprintf("the object is larger than the %d bytes allowed (MAX_OBJECT_BYTES)", limit))
}

func written(h http.Header, etag string, size int64) journal.Written {
	return journal.Written{ETag: etag, Size: size, ContentType: h.Get("Content-Type")}
}

// DefaultContentType is stored where a client names none.
const DefaultContentType = "application/octet-stream"

func storedHeader(from http.Header) http.Header {
	h := s3op.StoredHeaders(from)
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", DefaultContentType)
	}
	if tags := from["X-Amz-Tagging"]; len(tags) > 0 {
		h["X-Amz-Tagging"] = tags
	}
	return h
}

func integrityHeader(from http.Header) http.Header {
	h := s3op.ChecksumHeaders(from)
	if md5 := from["Content-Md5"]; len(md5) > 0 {
		h["Content-Md5"] = md5
	}
	return h
}

func conditionHeader(from http.Header) http.Header {
	h := make(http.Header)
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if values := from[name]; len(values) > 0 {
			h[name] = values
		}
	}
	return h
}
