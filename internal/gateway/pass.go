package gateway

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/route"
	"github.com/gnew/tandem/internal/s3op"
)

// Request is a client's S3 request, verified and classified, that a region is to do the work of: the bucket is
// named and the signature made anew, and all else is passed on as it is.
type Request struct {
	Operation s3op.Operation
	Method    string
	// Key is "" for a request about the bucket itself.
	Key    string
	Query  url.Values
	Header http.Header
	// Body is nil where there is none, and Size 0.
	Body io.Reader
	Size int64
	// Payload and Trailer are as in PutInput.
	Payload string
	Trailer region.Trailer
}

func (q Request) passed() region.Passed {
	return region.Passed{
		Operation: string(q.Operation), Method: q.Method, Key: q.Key, Query: q.Query, Header: q.Header, Body: q.Body, Size: q.Size,
		Payload: q.Payload, Trailer: q.Trailer,
	}
}

// Source is what a copy is made from: a key of a bucket, and of that a version of the region's where VersionID is not "".
type Source struct {
	Of        *Gateway
	Key       string
	VersionID string
}

// versionIn is what comes before a version's id in the name of a source.
const versionIn = "?versionId="

// header names the source as the region does.
func (s *Source) header(active string) (string, error) {
	r := s.Of.regions[active]
	if r == nil {
		return "", unavailable(active, "the bucket of the source is not in it", nil)
	}
	// Where keys are paths of files "a//b" would name another key, and ".." another bucket.
	if err := r.CheckKey(s.Key); err != nil {
		return "", region.ToClient(err)
	}
	value := "/" + r.Bucket() + "/" + s3op.EscapePath(s.Key)
	if s.VersionID != "" {
		value += versionIn + url.QueryEscape(s.VersionID)
	}
	return value, nil
}

// from puts the source into the request, once it is what clients were told of.
func (q *Request) from(ctx context.Context, s *Source, active string) error {
	if err := checkKey(s.Key); err != nil {
		return err
	}
	if strings.Contains(s.Key, versionIn) {
		return notImplemented("a copy of a key with " + versionIn + " in it is not implemented: to some servers that is an id, and they would copy something else")
	}
	if s.VersionID == "" || s.VersionID == nullVersion {
		if err := s.Of.settled(ctx, s.Key, active); err != nil {
			return err
		}
	}
	value, err := s.header(active)
	if err != nil {
		return err
	}
	q.Header = q.Header.Clone()
	q.Header.Set("X-Amz-Copy-Source", value)
	return nil
}

// nullVersion is the id of what a key was given while its bucket had no versions: where that is still so, of whatever it holds.
// Source: Amazon S3 User Guide, "How S3 Versioning works".
const nullVersion = "null"

// Trailer is a checksum behind a body.
type Trailer = region.Trailer

// Answer is what a region answered. Either Document holds all of its body, or the caller closes Body; both are nil
// where it has none.
type Answer struct {
	region.Attributes
	Document []byte
	Body     io.ReadCloser
	Region   string
	// Bucket is what the region calls the bucket, in the Document too.
	Bucket string
	// Freshness is "" where the answer is of no version that the index could know.
	Freshness route.Freshness
	// Fallback: a replica answered, although the active was asked first.
	Fallback bool
}

// maxDocumentBytes bounds an answer that is looked into.
const maxDocumentBytes = 16 << 20

// Stage carries a request about a multipart upload that makes no object yet; source is nil but for a part that is copied. Uploads
// live in the region where they began, so only the active is asked, and nothing of it is journaled.
func (g *Gateway) Stage(ctx context.Context, q Request, source *Source) (*Answer, error) {
	if q.Key != "" {
		if err := checkKey(q.Key); err != nil {
			return nil, err
		}
	}
	if q.Size > g.MaxObjectBytes {
		return nil, tooLarge(g.MaxObjectBytes)
	}
	switch q.Operation {
	case "CreateMultipartUpload", "UploadPart", "UploadPartCopy":
		if err := g.AdmitWrite(); err != nil {
			return nil, err
		}
	}
	active := g.view.Load().Active
	if source != nil {
		if err := q.from(ctx, source, active); err != nil {
			return nil, err
		}
	}
	body := &countedBody{body: q.Body, limit: math.MaxInt64}
	if q.Body != nil {
		q.Body = body
	}
	answer, err := g.passTo(ctx, active, q)
	if ours := body.failure(); err != nil && ours != nil {
		err = ours // the region saw a request cut short
	}
	return answer, err
}

func (g *Gateway) passTo(ctx context.Context, name string, q Request) (*Answer, error) {
	answer, err := g.regions[name].Pass(ctx, q.passed())
	if err != nil {
		return nil, region.AsAnswered(err)
	}
	return &Answer{Attributes: answer.Attributes, Body: answer.Body, Region: name, Bucket: g.regions[name].Bucket()}, nil
}

// Ask carries a read about the bucket: the active answers, or, while that is down, the next region that does.
func (g *Gateway) Ask(ctx context.Context, q Request) (*Answer, error) {
	if q.Key != "" {
		if err := checkKey(q.Key); err != nil {
			return nil, err
		}
	}
	v := g.view.Load()
	answer, err := g.passTo(ctx, v.Active, q)
	for _, name := range v.names {
		e, ok := errors.AsType[*region.Error](err)
		if name == v.Active || !ok || !region.IsDown(e) {
			continue
		}
		if other, otherErr := g.passTo(ctx, name, q); otherErr == nil {
			other.Fallback = true
			return other, nil
		}
	}
	return answer, err
}

// Look carries a read of something that belongs to a key, such as its tags, or of a version by its id, which only the
// active's own S3 knows. Its answer has no ETag to tell a version by,
// so a region answers that holds the acknowledged one: the active where the key is settled there, else the one that a
// read of the key is answered by. allowStale takes what belongs to an older version rather than nothing.
func (g *Gateway) Look(ctx context.Context, q Request, allowStale bool) (*Answer, error) {
	if err := checkKey(q.Key); err != nil {
		return nil, err
	}
	for {
		v := g.view.Load()
		answer, err := g.look(ctx, v, q, allowStale)
		if !g.foundOlder(v) {
			return answer, err
		}
		if err == nil {
			_ = answer.Body.Close()
		}
	}
}

func (g *Gateway) look(ctx context.Context, v *view, q Request, allowStale bool) (*Answer, error) {
	if q.Query.Has("versionId") {
		if q.Query.Get("versionId") == nullVersion {
			// On a bucket without versions that is whatever is there. (A key is deleted; a replica that has not heard of
			// that is promoted: the deleted object would be read.)
			if err := g.settled(ctx, q.Key, v.Active); err != nil {
				return nil, err
			}
		}
		return g.passTo(ctx, v.Active, q)
	}
	if _, dirty := v.dirty.has(q.Key); !dirty && !v.regressed[v.Active] && v.compared[v.Active] {
		answer, err := g.passTo(ctx, v.Active, q)
		if err == nil {
			answer.Freshness = route.Current
			return answer, nil
		}
		if e, ok := errors.AsType[*region.Error](err); !ok || !region.IsDown(e) && !region.IsNotFound(e) {
			return nil, err
		}
	}
	held, err := g.read(ctx, q.Key, ReadInput{HeadOnly: true, AllowStale: allowStale})
	if err != nil {
		return nil, err
	}
	answer, err := g.passTo(ctx, held.Region, q)
	if err != nil {
		return nil, err
	}
	answer.Freshness, answer.Fallback = held.Freshness, held.Fallback
	return answer, nil
}

// settled reports nil where the region of that name, which is active, holds the acknowledged version of a key that a write is
// to be made from.
func (g *Gateway) settled(ctx context.Context, key, active string) error {
	if err := g.requireSettled(ctx, key); err != nil {
		return err
	}
	// The source may be of another bucket, which is told of a promotion a little earlier or later.
	if g.view.Load().Active != active {
		return unavailable(active, "another region is being promoted", nil)
	}
	return nil
}

// carried is a write whose request the region carries out by itself.
type carried struct {
	Request
	// needsSettled: its effect depends on what the key is now.
	needsSettled bool
	// source is nil where nothing is copied.
	source *Source
	// isLong: the region may take far longer for it than for any other.
	isLong bool
	// brings is the ETag that it leaves, "" where that is not known before.
	brings string
	// etag finds the ETag of what it left in its answer, "" where that says none.
	etag func(region.Attributes, []byte) (string, error)
}

// conditions are those of the request, for whose sake it may be refused.
func (c *carried) conditions(op journal.Operation) (http.Header, error) {
	conditions, err := putConditions(c.Header)
	if err == nil && len(conditions) > 0 && op != journal.Complete {
		// Regions are asked what they do with conditions on a PUT and on a completion. One that ignored this would let
		// two clients create one key.
		err = notImplemented("conditions on " + string(c.Operation) + " are not implemented; on PutObject and CompleteMultipartUpload they are")
	}
	return conditions, err
}

// Copy carries a CopyObject.
func (g *Gateway) Copy(ctx context.Context, q Request, source Source) (Result, error) {
	return g.carry(ctx, journal.Put, carried{Request: q, source: &source, isLong: true, etag: func(_ region.Attributes, document []byte) (string, error) {
		return etagIn(document, "CopyObjectResult")
	}})
}

// Complete carries a CompleteMultipartUpload. etags are those of its parts, in order.
func (g *Gateway) Complete(ctx context.Context, q Request, etags []string) (Result, error) {
	return g.carry(ctx, journal.Complete, carried{Request: q, isLong: true, brings: etagOfParts(etags), etag: func(_ region.Attributes, document []byte) (string, error) {
		return etagIn(document, "CompleteMultipartUploadResult")
	}})
}

// Change carries a write of something that belongs to a key, such as its tags, and leaves its content as it is.
func (g *Gateway) Change(ctx context.Context, q Request) (Result, error) {
	return g.carry(ctx, journal.Put, carried{Request: q, needsSettled: true, etag: func(region.Attributes, []byte) (string, error) { return "", nil }})
}

// carry carries a write that the region does all of. What it left is read back, for the answer does not
// say all that the index has of a key.
func (g *Gateway) carry(ctx context.Context, op journal.Operation, c carried) (Result, error) {
	if err := checkKey(c.Key); err != nil {
		return Result{}, err
	}
	conditions, err := c.conditions(op)
	if err != nil {
		return Result{}, err
	}
	w, err := g.begin(ctx, c.Key, op)
	if err != nil {
		return Result{}, err
	}
	p := c.passed()
	w.passed, w.brings, w.conditions, w.conditional = &p, c.brings, conditions, c.needsSettled
	if c.isLong {
		w.timeout *= completeTimeoutFactor
		p.Timeout = w.timeout
	}
	switch {
	case len(conditions) > 0:
		err = w.admitConditions(w.ctx, func(honoured region.Conditions) bool { return honoured.Put })
	case c.needsSettled:
		err = g.requireSettled(w.ctx, c.Key)
	}
	if err == nil && c.source != nil {
		err = c.from(w.ctx, c.source, w.active.Name())
		p.Header = c.Header
	}
	switch {
	case err != nil:
	case op == journal.Complete:
		err = w.remember()
	case c.source == nil, c.source.Of == g && c.source.Key == c.Key && c.source.VersionID == "":
		w.brings = w.keptETag(c.source != nil)
	}
	if err == nil {
		err = w.open()
	}
	if err != nil {
		return w.end(journal.Written{}, err)
	}
	return w.end(w.carryOut(p, c.etag))
}

// formerly is what was known of a key before a write.
type formerly struct {
	version journal.Version
	// held is what the active said of it, where that held already what the write brings; else nil.
	held *region.Attributes
}

// remember notes what is known of the key before the write.
func (w *write) remember() error {
	o, err := w.g.lookup(w.ctx, w.key)
	if err != nil {
		return err
	}
	w.before = &formerly{held: w.heldAlready()}
	if o != nil {
		w.before.version = o.Version
	}
	return nil
}

// carryOut sends the request and reads back what it left.
func (w *write) carryOut(p region.Passed, etagOf func(region.Attributes, []byte) (string, error)) (journal.Written, error) {
	answer, err := w.active.Pass(w.ctx, p)
	if err != nil {
		return journal.Written{}, w.uploadGone(w.judged(err, w.brings))
	}
	w.answer = answer.Attributes
	w.document, err = io.ReadAll(io.LimitReader(answer.Body, maxDocumentBytes))
	_ = answer.Body.Close()
	if err != nil {
		return journal.Written{}, err
	}
	etag, err := etagOf(answer.Attributes, w.document)
	if err != nil {
		return journal.Written{}, w.errorInside(p.Operation, err)
	}
	held, err := w.active.Head(w.ctx, w.key, customerKey(p.Header))
	if err != nil {
		// It was carried out, and what it left is for the settler to find.
		return journal.Written{}, &region.Error{Region: w.active.Name(), Operation: p.Operation, Outcome: region.Ambiguous, Err: err}
	}
	if etag == "" {
		etag = held.ETag()
	}
	return written(held.Header, etag, held.Size()), nil
}

// customerKey is what a region that encrypts with its client's key has to be told before it says anything of the object.
// Source: Amazon S3 User Guide, "Using server-side encryption with customer-provided keys".
func customerKey(h http.Header) http.Header {
	of := make(http.Header)
	for name, values := range h {
		if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption-Customer-") {
			of[name] = values
		}
	}
	return of
}

// keptETag is the ETag that a write which leaves the content as it is leaves too: the one that the active has by the index. It is ""
// where that is not known, and of a copy of an object of parts to itself, which does not keep it.
func (w *write) keptETag(isCopy bool) string {
	o, err := w.g.lookup(w.ctx, w.key)
	if err != nil {
		return ""
	}
	etag := heldBy(o, w.active.Name())
	if isCopy && strings.Contains(etag, "-") {
		return ""
	}
	return etag
}

// heldAlready is what the active says of the key where that has, by the index, what the write brings; else nil.
func (w *write) heldAlready() *region.Attributes {
	o, err := w.g.lookup(w.ctx, w.key)
	if err != nil || o == nil || o.Deleted || w.brings == "" || o.ETag != w.brings || !isClean(o, w.active.Name()) {
		return nil
	}
	held, err := w.active.Head(w.ctx, w.key, nil)
	if err != nil || held.ETag() != w.brings {
		return nil
	}
	return &held
}

// uploadGone is err, made a refusal where the upload that was to be completed is gone, and certainly was not completed by a first
// sending of the request, which something on the way has then repeated: nothing was written since before the intent, and the region holds what
// the index says. (An id of long ago, or of another region, is not in doubt; nor is an upload whose completion was acknowledged, and whose
// client asks again.)
func (w *write) uploadGone(err error) error {
	e, ok := errors.AsType[*region.Error](err)
	if !ok || e.Code != "NoSuchUpload" || w.before == nil {
		return err
	}
	o, lookupErr := w.g.lookup(w.ctx, w.key)
	held, headErr := w.active.Head(w.ctx, w.key, nil)
	if lookupErr != nil || headErr != nil && !region.IsNotFound(headErr) {
		return err
	}
	expected := ""
	if o != nil {
		active := w.active.Name()
		ours := slices.DeleteFunc(slices.Clone(o.Intents), func(i journal.Intent) bool { return i.Region != active })
		if o.Version != w.before.version || o.Unsettled || len(ours) > 1 {
			return err
		}
		if !o.Deleted && !o.Version.IsZero() {
			expected = o.Copy(active).ETag
		}
	}
	isHeld := headErr == nil
	if isHeld != (expected != "") || isHeld && held.ETag() != expected {
		return err
	}
	// What it brings was there before: only that it is as it was tells that it was not written once more.
	if isHeld && expected == w.brings && (w.before.held == nil || !isSame(*w.before.held, held)) {
		return err
	}
	refused := *e
	refused.Outcome = region.Rejected
	return &refused
}

// isSame reports whether two answers speak of one object, as far as anybody can see.
func isSame(a, b region.Attributes) bool {
	return a.ETag() == b.ETag() && a.LastModified().Equal(b.LastModified()) &&
		maps.EqualFunc(s3op.StoredHeaders(a.Header), s3op.StoredHeaders(b.Header), slices.Equal)
}

// document is the answer of an operation that may say in the body of a 200 that it failed.
type document struct {
	XMLName       xml.Name
	ETag          string
	Code, Message string
}

// errInside is what a 200 says of a write that was not made.
type errInside struct{ document }

func (e *errInside) Error() string { return e.Code + ": " + e.Message }

// etagIn is the ETag in the answer of that name.
// Source: Amazon S3 API Reference, "CopyObject" and "CompleteMultipartUpload".
func etagIn(answer []byte, name string) (string, error) {
	var d document
	if err := xml.NewDecoder(bytes.NewReader(answer)).Decode(&d); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	switch {
	case d.XMLName.Local == "Error":
		return "", &errInside{d}
	case d.XMLName.Local != name || d.ETag == "":
		return "", fmt.Errorf("read the answer: it is <%s>, and has no ETag", d.XMLName.Local)
	}
	return s3op.TrimETag(d.ETag), nil
}

// errorInside is what the error in the body of a 200 means for the write.
func (w *write) errorInside(op string, err error) error {
	e := &region.Error{Region: w.active.Name(), Operation: op, Outcome: region.Ambiguous, Err: err}
	if inside, ok := errors.AsType[*errInside](err); ok {
		e.Status, e.Code, e.Message, e.Document = http.StatusInternalServerError, inside.Code, inside.Message, w.document
		e.Outcome = region.OutcomeOfAnswer(op, e.Status, e.Code)
	}
	return e
}
