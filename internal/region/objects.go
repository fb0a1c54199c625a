package region

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// Attributes are what a region says of an object.
type Attributes struct {
	Status int
	Header http.Header
}

// ETag is the object's ETag without quotes.
func (a Attributes) ETag() string { return s3op.TrimETag(a.Header.Get("Etag")) }

// Size is the size of the whole object in bytes, also where a range was asked
// for; -1 where the region does not say.
func (a Attributes) Size() int64 {
	if contentRange := a.Header.Get("Content-Range"); contentRange != "" {
		_, total, _ := strings.Cut(contentRange, "/")
		return parseSize(total)
	}
	return parseSize(a.Header.Get("Content-Length"))
}

// LastModified is zero where the region does not say.
func (a Attributes) LastModified() time.Time {
	t, err := http.ParseTime(a.Header.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// PartsCount is the number of parts of an object that was asked for by part
// number, 0 where the region does not say.
func (a Attributes) PartsCount() int {
	return parseCount(a.Header.Get("X-Amz-Mp-Parts-Count"))
}

// TagCount is the number of the object's tags.
func (a Attributes) TagCount() int {
	return parseCount(a.Header.Get("X-Amz-Tagging-Count"))
}

func parseCount(s string) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

func parseSize(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 63) // no sign: digits are all that a size has
	if err != nil {
		return -1
	}
	return int64(n)
}

// Object is an object's attributes and its content, which the caller closes.
// A read of Body that fails returns an *Error.
type Object struct {
	Attributes
	Body io.ReadCloser
}

// Get reads an object. The header holds conditions, Range and
// X-Amz-Checksum-Mode; a condition that does not hold is an *Error with status
// 304 or 412.
func (r *Region) Get(ctx context.Context, key string, h http.Header) (*Object, error) {
	resp, err := r.do(ctx, request{op: "GetObject", method: http.MethodGet, key: key, header: h})
	if err != nil {
		return nil, err
	}
	return &Object{Attributes: Attributes{resp.StatusCode, resp.Header}, Body: resp.Body}, nil
}

// Head reads an object's attributes; the header is as for Get. The answer to a
// HEAD cannot tell a missing key from a missing bucket, so the bucket is asked for
// before a 404 is believed.
func (r *Region) Head(ctx context.Context, key string, h http.Header) (Attributes, error) {
	return r.head(ctx, key, h, nil)
}

// HeadPart reads the attributes of one part, counted from 1, of the object with
// this ETag; Size is the part's.
func (r *Region) HeadPart(ctx context.Context, key, etag string, number int) (Attributes, error) {
	h := http.Header{"If-Match": {s3op.QuoteETag(etag)}}
	a, err := r.head(ctx, key, h, url.Values{"partNumber": {strconv.Itoa(number)}})
	if err == nil {
		a.Header.Del("Content-Range") // it speaks of the whole object
	}
	return a, err
}

func (r *Region) head(ctx context.Context, key string, h http.Header, query url.Values) (Attributes, error) {
	resp, err := r.do(ctx, request{op: "HeadObject", method: http.MethodHead, key: key, header: h, query: query})
	if e, ok := err.(*Error); ok && e.Status == http.StatusNotFound {
		return Attributes{}, r.absent(ctx, e)
	}
	if err != nil {
		return Attributes{}, err
	}
	_ = resp.Body.Close()
	return Attributes{resp.StatusCode, resp.Header}, nil
}

// absent says what a 404 without a document means.
func (r *Region) absent(ctx context.Context, e *Error) error {
	if err := r.CheckBucket(ctx); err != nil {
		return err
	}
	e.Code, e.Message = "NoSuchKey", "The specified key does not exist."
	return e
}

// Put writes an object of exactly size bytes and returns its ETag. The header
// holds what is stored with it, checksums, conditions and X-Amz-Tagging. A body
// that ends early or fails leaves the object as it was: the region sees a request
// cut short.
func (r *Region) Put(ctx context.Context, key string, h http.Header, body io.Reader, size int64) (string, error) {
	resp, err := r.do(ctx, request{op: "PutObject", method: http.MethodPut, key: key, header: h, body: body, size: size})
	if err != nil {
		return "", err
	}
	// The header of a 200 says that the object is there, whatever becomes of the rest.
	_ = finish(resp)
	return r.written("PutObject", resp.Header.Get("Etag"))
}

// written returns the ETag of a write without its quotes. An answer that has none is
// not that of an S3.
func (r *Region) written(op, etag string) (string, error) {
	if etag = s3op.TrimETag(etag); etag == "" {
		return "", &Error{Region: r.name, Operation: op, Outcome: Ambiguous, Err: errors.New("the answer has no ETag")}
	}
	return etag, nil
}

// AnyETag as the condition of a Delete: whatever object is there.
const AnyETag = "*"

// Delete removes an object; one that is not there is no error. With ifMatch it
// is removed only where it has that ETag, on regions that honour conditions.
func (r *Region) Delete(ctx context.Context, key, ifMatch string) error {
	var h http.Header
	switch ifMatch {
	case "":
	case AnyETag:
		h = http.Header{"If-Match": {AnyETag}} // in quotes it would be an ETag that nothing has
	default:
		h = http.Header{"If-Match": {s3op.QuoteETag(ifMatch)}}
	}
	resp, err := r.do(ctx, request{op: "DeleteObject", method: http.MethodDelete, key: key, header: h})
	if err != nil {
		return err
	}
	_ = finish(resp)
	return nil
}

type tagging struct {
	XMLName xml.Name                      `xml:"Tagging"` // nothing else passes for no tags
	Tags    []struct{ Key, Value string } `xml:"TagSet>Tag"`
}

// Tags returns an object's tags as an X-Amz-Tagging header holds them, "" for none.
func (r *Region) Tags(ctx context.Context, key string) (string, error) {
	var t tagging
	q := request{op: "GetObjectTagging", method: http.MethodGet, key: key, query: url.Values{"tagging": {""}}}
	if err := r.decode(ctx, q, &t); err != nil {
		return "", err
	}
	tags := make(url.Values, len(t.Tags))
	for _, tag := range t.Tags {
		tags.Set(tag.Key, tag.Value)
	}
	return tags.Encode(), nil
}

// opCheckBucket asks whether the region is there.
const opCheckBucket = "HeadBucket"

// CheckBucket returns nil when the region answers and the bucket is there.
func (r *Region) CheckBucket(ctx context.Context) error {
	resp, err := r.do(ctx, request{op: opCheckBucket, method: http.MethodHead, onBucket: true})
	if e, ok := err.(*Error); ok && e.Status == http.StatusNotFound {
		e.Code, e.Message = "NoSuchBucket", fmt.Sprintf("bucket %q does not exist", r.bucket)
	}
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	return nil
}

const maxXMLBytes = 16 << 20

// decode sends q and reads the XML of its answer into v.
func (r *Region) decode(ctx context.Context, q request, v any) error {
	resp, err := r.do(ctx, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxXMLBytes))
	if err == nil {
		err = xml.Unmarshal(data, v)
	}
	if err != nil {
		return &Error{Region: r.name, Operation: q.op, Outcome: Ambiguous, Err: fmt.Errorf("read the answer: %w", err)}
	}
	return nil
}

// Span is the part of the object that Body holds: the offset of its first byte and
// the one after its last; both 0 where the region does not say.
func (a Attributes) Span() (start, end int64) {
	contentRange := a.Header.Get("Content-Range")
	if contentRange == "" {
		return 0, max(parseSize(a.Header.Get("Content-Length")), 0)
	}
	ofBytes, isBytes := strings.CutPrefix(contentRange, "bytes ")
	span, total, _ := strings.Cut(ofBytes, "/")
	first, last, _ := strings.Cut(span, "-")
	start, end = parseSize(first), parseSize(last)
	if !isBytes || total != "*" && parseSize(total) <= end || start < 0 || end < start || end == math.MaxInt64 {
		return 0, 0
	}
	return start, end + 1
}
