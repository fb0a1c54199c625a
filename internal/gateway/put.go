package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" // what S3 makes the ETag of a single PUT from
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// PutInput is an object on its way in.
type PutInput struct {
	// Header holds what is stored with the object (s3op.StoredHeaders),
	// X-Amz-Tagging, Content-Md5, checksums and conditions. What else is in it is left out.
	Header http.Header
	Body   io.Reader
	// Size in bytes, -1 where it is not known.
	Size int64
	// AsSent passes all of the header on to the region, and the Query, and makes one request of it, whatever the size, which is
	// then known.
	AsSent bool
	Query  url.Values
	// Payload is the body's SHA-256 in hex, "" where the client has signed none: the region verifies it.
	Payload string
	// Trailer is a checksum that comes behind the body: the region is given it as it keeps those.
	Trailer region.Trailer
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
	if err := checkKey(key); err != nil {
		return Result{}, err
	}
	return g.put(ctx, key, in)
}

func (g *Gateway) put(ctx context.Context, key string, in PutInput) (Result, error) {
	if in.Size > g.MaxObjectBytes {
		return Result{}, tooLarge(g.MaxObjectBytes)
	}
	conditions, err := putConditions(in.Header)
	if err != nil {
		return Result{}, err
	}
	op := journal.Put
	if (in.Size > singleBytes || in.Size < 0) && !in.AsSent {
		op = journal.Complete
	}
	w, err := g.begin(ctx, key, op)
	if err != nil {
		return Result{}, err
	}
	h := storedHeader(in.Header)
	if w.conditions = conditions; len(conditions) > 0 {
		if err := w.admitConditions(ctx, func(c region.Conditions) bool { return c.Put }); err != nil {
			return w.end(journal.Written{}, err)
		}
	}
	if op == journal.Complete {
		return w.putParts(h, conditions, in)
	}
	maps.Copy(h, integrityHeader(in.Header))
	maps.Copy(h, conditions)
	if in.AsSent {
		h = in.Header
		w.passed = &region.Passed{Operation: "PutObject", Method: http.MethodPut, Key: key, Query: in.Query, Payload: in.Payload, Trailer: in.Trailer}
	}
	if in.Size <= smallBytes {
		return w.putSmall(h, in.Body, in.Size)
	}
	return w.putHeld(h, in.Body, in.Size)
}

// putHeld streams a body, and holds its last byte back until the intent is on disk. What it brings is worth
// hashing only where that is asked for later: by a condition that failed, or in a region where a late write
// can overwrite anything.
func (w *write) putHeld(h http.Header, from io.Reader, size int64) (Result, error) {
	body := &heldBody{body: from, left: size}
	if w.conditional || w.active.MayIgnoreConditions() {
		body.sum = md5.New()
	}
	body.release = func() error {
		w.brings = body.etag()
		return w.open()
	}
	etag, err := w.sendObject(h, body, size)
	if ours := body.failure(); ours != nil {
		err = ours
	}
	return w.end(written(h, etag, size), w.judged(err, body.etag()))
}

// judged is err, made ambiguous where the condition may have failed on account of the write itself:
// what stands between us and the region may have sent it twice, and this is the second one's answer. etag is that
// of the write, "" where that is not known: then anything but what the index says may be it. (A lock is created; a proxy sends that again; 412: nobody holds it, and nobody ever will.) Where the
// condition does not hold by the index, for which the key was settled when it was begun, the answer is what it seems.
func (w *write) judged(err error, etag string) error {
	if !w.conditional || !region.IsPrecondition(err) || mutant.On(mutant.OwnDuplicateRefuses) {
		return err
	}
	o, lookupErr := w.g.lookup(w.ctx, w.key)
	if lookupErr == nil && !holds(w.conditions, o, w.active.Name()) {
		return err
	}
	held, headErr := w.active.Head(w.ctx, w.key, nil)
	isKnown := etag != "" || lookupErr == nil && held.ETag() == heldBy(o, w.active.Name())
	if headErr != nil && !region.IsNotFound(headErr) || headErr == nil && (held.ETag() == etag || !isKnown) {
		return &region.Error{Region: w.active.Name(), Operation: string(w.operation), Outcome: region.Ambiguous, Err: err}
	}
	return err
}

// holds reports whether the conditions of a PUT hold by what the index says that the region holds.
func holds(conditions http.Header, o *journal.Object, name string) bool {
	held := heldBy(o, name)
	if ifMatch := conditions.Get("If-Match"); ifMatch != "" {
		return s3op.TrimETag(ifMatch) == held
	}
	return held == ""
}

// heldBy is the ETag of what the index says that the region holds, "" where that is nothing.
func heldBy(o *journal.Object, name string) string {
	if o == nil || o.Deleted {
		return ""
	}
	return o.Copy(name).ETag
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
	sum := md5.Sum(data)
	w.brings = hex.EncodeToString(sum[:])
	if mutant.On(mutant.IntentAfterSending) {
		etag, err := w.active.Put(w.ctx, w.key, h, bytes.NewReader(data), int64(len(data)))
		return w.end(written(h, etag, int64(len(data))), cmp.Or(w.open(), err))
	}
	if err := w.open(); err != nil {
		return w.end(journal.Written{}, err)
	}
	size := int64(len(data))
	if mutant.On(mutant.CommitBeforeAnswer) {
		defer w.active.Put(context.WithoutCancel(w.ctx), w.key, h, bytes.NewReader(data), size)
		return w.end(written(h, w.brings, size), nil)
	}
	etag, err := w.sendObject(h, bytes.NewReader(data), size)
	return w.end(written(h, etag, size), w.judged(err, w.brings))
}

// sendObject sends the object to the active and returns its ETag.
func (w *write) sendObject(h http.Header, body io.Reader, size int64) (string, error) {
	if w.passed == nil {
		return w.active.Put(w.ctx, w.key, h, body, size)
	}
	w.passed.Header, w.passed.Body, w.passed.Size = h, body, size
	if t := w.passed.Trailer; t.Name != "" && size <= smallBytes { // it was read to its end
		w.passed.Header = h.Clone()
		w.passed.Header.Set(t.Name, t.Value())
		w.passed.Trailer = region.Trailer{}
	}
	answer, err := w.active.Pass(w.ctx, *w.passed)
	if err != nil {
		return "", err
	}
	_ = answer.Body.Close() // the header of a 200 says that the object is there
	w.answer = answer.Attributes
	return w.answered("PutObject", answer.ETag())
}

// answered is the ETag of a write; an answer that has none is not that of an S3.
func (w *write) answered(op, etag string) (string, error) {
	if etag == "" {
		return "", &region.Error{Region: w.active.Name(), Operation: op, Outcome: region.Ambiguous, Err: errors.New("the answer has no ETag")}
	}
	return etag, nil
}

// Delete removes a key from the active and returns once that is acknowledged; a
// key that is not there is no error. The header may hold If-Match: an ETag, or "*" for
// any object; what is not a condition is left out.
func (g *Gateway) Delete(ctx context.Context, key string, h http.Header) (Result, error) {
	if err := checkKey(key); err != nil {
		return Result{}, err
	}
	return g.delete(ctx, key, h)
}

func (g *Gateway) delete(ctx context.Context, key string, h http.Header) (Result, error) {
	ifMatch, err := deleteCondition(h)
	if err != nil {
		return Result{}, err
	}
	w, err := g.begin(ctx, key, journal.Delete)
	if err != nil {
		return Result{}, err
	}
	if ifMatch != "" {
		if err := w.admitConditions(ctx, func(c region.Conditions) bool { return c.Delete }); err != nil {
			return w.end(journal.Written{}, err)
		}
	}
	if mutant.On(mutant.IntentAfterSending) {
		err := w.active.Delete(w.ctx, key, ifMatch)
		return w.end(journal.Written{}, cmp.Or(w.open(), err))
	}
	// Without a body the first byte may be the last: the intent comes before it.
	if err := w.open(); err != nil {
		return w.end(journal.Written{}, err)
	}
	return w.end(journal.Written{}, w.active.Delete(w.ctx, key, ifMatch))
}

// heldBody holds the last byte back until release has returned nil.
type heldBody struct {
	body    io.Reader
	left    int64
	release func() error
	last    [1]byte

	mu  sync.Mutex
	err error     // guarded by mu
	sum hash.Hash // guarded by mu; nil where nobody asks for the ETag
}

// hash takes in what was read, in order.
func (b *heldBody) hash(p []byte) {
	if b.sum != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sum.Write(p)
	}
}

// etag is that of what was read so far, "" where nobody asked for it.
func (b *heldBody) etag() string {
	if b.sum == nil {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return hex.EncodeToString(b.sum.Sum(nil))
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
		b.hash(p[:n])
		if n == 0 && err != nil {
			return 0, b.fail(incomplete(err))
		}
		return n, nil
	}
	if _, err := io.ReadFull(b.body, b.last[:]); err != nil {
		return 0, b.fail(incomplete(err))
	}
	b.hash(b.last[:])
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
	return journal.Written{ETag: etag, Size: size, ContentType: cmp.Or(h.Get("Content-Type"), s3ContentType)}
}

// DefaultContentType is stored where a client names none.
const DefaultContentType = "application/octet-stream"

// s3ContentType is what S3 stores where a client names none.
// Source: Amazon S3 User Guide, "Working with object metadata".
const s3ContentType = "binary/octet-stream"

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

// admitConditions refuses a conditional write where nobody could judge its condition:
// in a region that ignores it the write would be made whatever the key holds, and two
// clients that both create the key would both be told that they did.
func (w *write) admitConditions(ctx context.Context, honoured func(region.Conditions) bool) error {
	w.conditional = true
	c, err := w.active.Conditions(ctx)
	if err != nil {
		return unavailable(w.active.Name(), "it did not say whether it honours conditional writes, so nothing was written", err)
	}
	if !honoured(c) {
		return &s3op.Error{
			Kind: s3op.NotImplemented, Code: "NotImplemented", Region: w.active.Name(),
			Message: fmt.Sprintf("the S3 of region %s does not honour this condition on this method, so nothing was written; send the request without it",
				w.active.Name()),
		}
	}
	return w.g.requireSettled(ctx, w.key)
}

// foreignConditions are those that no region judges. To leave one out would make a
// write that its client has forbidden.
var foreignConditions = []string{"If-Modified-Since", "If-Unmodified-Since", "X-Amz-If-Match-Last-Modified-Time", "X-Amz-If-Match-Size"}

// ConditionHeaders returns a new header with all in h on whose account a write may be refused.
func ConditionHeaders(h http.Header) http.Header {
	kept := make(http.Header)
	for _, name := range append([]string{"If-Match", "If-None-Match"}, foreignConditions...) {
		if values := h[name]; len(values) > 0 {
			kept[name] = values
		}
	}
	return kept
}

// putConditions are the conditions of a PUT as a region takes them.
func putConditions(h http.Header) (http.Header, error) {
	ifMatch, ifNoneMatch, err := writeConditions(h)
	switch {
	case err != nil:
		return nil, err
	case ifMatch != "" && ifNoneMatch != "":
		return nil, notImplemented("If-Match together with If-None-Match is not implemented")
	case ifMatch == region.AnyETag:
		return nil, notImplemented("If-Match: * is not implemented for PUT; allowed: one ETag")
	case ifMatch != "":
		return http.Header{"If-Match": {s3op.QuoteETag(ifMatch)}}, nil
	case ifNoneMatch == region.AnyETag:
		return http.Header{"If-None-Match": {region.AnyETag}}, nil
	case ifNoneMatch != "":
		return nil, notImplemented("If-None-Match with an ETag is not implemented for PUT; allowed: *")
	}
	return nil, nil
}

// deleteCondition is the ETag that the key must have, region.AnyETag for any, "" where
// there is no condition.
func deleteCondition(h http.Header) (string, error) {
	ifMatch, ifNoneMatch, err := writeConditions(h)
	if err == nil && ifNoneMatch != "" {
		err = notImplemented("If-None-Match is not implemented for DELETE; If-Match is")
	}
	return ifMatch, err
}

func writeConditions(h http.Header) (ifMatch, ifNoneMatch string, err error) {
	for _, name := range foreignConditions {
		if len(h[name]) > 0 {
			return "", "", notImplemented(name + " is not implemented for writes; If-Match with an ETag is")
		}
	}
	if ifMatch, err = etagCondition(h, "If-Match"); err == nil {
		ifNoneMatch, err = etagCondition(h, "If-None-Match")
	}
	return ifMatch, ifNoneMatch, err
}

// etagCondition is a header's ETag without its quotes, or region.AnyETag; "" only where
// the header is not there. S3 takes ETags without quotes, so we do.
func etagCondition(h http.Header, name string) (string, error) {
	values := h[name]
	if len(values) == 0 {
		return "", nil
	}
	value := strings.Join(values, ", ")
	if value == region.AnyETag {
		return value, nil
	}
	etag := value
	if len(value) > 1 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
		etag = value[1 : len(value)-1]
	}
	// A weak ETag matches nothing here (RFC 9110, section 13.1.1).
	isWeak := strings.HasPrefix(value, "W/")
	if etag == "" || etag == region.AnyETag || isWeak || strings.ContainsAny(etag, "\", \t") {
		return "", s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("%s is %q; allowed: one strong ETag, or *", name, value))
	}
	return etag, nil
}

func notImplemented(message string) *s3op.Error {
	return s3op.NewError(s3op.NotImplemented, "NotImplemented", message)
}
