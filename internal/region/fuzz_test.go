package region_test

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/s3op"
)

// roundTrip is a region that is a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func through(f roundTrip) func(*region.Config) { return func(c *region.Config) { c.Transport = f } }

// read counts the bytes that were taken of an answer.
type read struct {
	io.Reader
	n int
}

func (r *read) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += n
	return n, err
}

// answering gives each request the same answer; the client reads of it as of a
// connection that ends with the text.
func answering(t *testing.T, text string) (r *region.Region, of *read) {
	of = new(read)
	return newRegion(t, through(func(q *http.Request) (*http.Response, error) {
		of.Reader = strings.NewReader(text)
		return http.ReadResponse(bufio.NewReader(of), q)
	})), of
}

// mostOfError is what may be read of an answer that is no content: its header, and what a
// client takes of an error.
const mostOfError = 64<<10 + 4096

// isRoot reports whether the name is that of the first element of a document.
func isRoot(name, document string) bool {
	d := xml.NewDecoder(strings.NewReader(document))
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if start, ok := token.(xml.StartElement); ok {
			return start.Name.Local == name
		}
	}
}

// FuzzAnswerToARequest is of whatever a region may answer, to whatever it is asked: what is
// no answer of an S3 is an *Error, and never an object, a version or an absence.
func FuzzAnswerToARequest(f *testing.F) {
	const number = 11
	add := func(op uint8, status uint16, header, body string) { f.Add(op, status, header, body, uint16(1)) }
	add(0, 200, "Content-Type: application/xml\r\n", `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>a%2Bb+c</Key><ETag>&quot;e&quot;</ETag><Size>5</Size><LastModified>2026-03-01T12:00:00.000Z</LastModified></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>`)
	add(0, 200, "", `<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents></ListBucketResult>`)
	add(1, 200, "", `<CompleteMultipartUploadResult><ETag>"e-1"</ETag></CompleteMultipartUploadResult>`)
	add(1, 200, "", "  \n<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>later</Message></Error>")
	add(1, 200, "", `<Error><Code>InternalError</Code><ETag>e</ETag></Error>`)
	add(2, 200, "", `<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`)
	add(3, 200, "Etag: \"e\"\r\n", "")
	add(4, 412, "", `<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>`)
	add(5, 204, "", "")
	add(6, 200, "Content-Length: 5\r\nEtag: W/\"e\"\r\nLast-Modified: Sun, 01 Mar 2026 12:00:00 GMT\r\nX-Amz-Tagging-Count: 1\r\n", "")
	add(8, 206, "Content-Length: 5\r\nContent-Range: bytes 5-9/10\r\n", "56789")
	add(8, 404, "", `<Error><Code>NoSuchKey</Code></Error>`)
	add(8, 404, "", `<Error><Code>NoSuchBucket</Code></Error>`)
	add(9, 200, "", `<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>`)
	add(10, 503, "Retry-After: 1\r\n", `<Error><Code>SlowDown</Code></Error>`)
	f.Add(uint8(3), uint16(500), "", "<html>", uint16(60_000))
	f.Fuzz(func(t *testing.T, op uint8, status uint16, header, body string, times uint16) {
		if status < 200 || status > 599 || len(body)*int(times) > 1<<20 {
			return // of a 1xx the transport makes nothing
		}
		body = strings.Repeat(body, int(times))
		text := fmt.Sprintf("HTTP/1.1 %d Status\r\n%s\r\n%s", status, header, body)
		if _, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil); err != nil {
			return
		}
		if strings.Contains(header, "\r\n\r\n") {
			return // the body would not be the body
		}
		r, of := answering(t, text)
		ctx := t.Context()
		var err error
		isContent := false
		switch op % number {
		case 0:
			var l region.Listing
			l, err = r.List(ctx, region.ListOptions{})
			isContent = true
			if err == nil {
				checkListing(t, l, body)
			}
		case 1:
			var etag string
			etag, err = r.CompleteUpload(ctx, "key", "u", nil, []string{"e"})
			isContent = true
			checkWritten(t, etag, err)
			if err == nil && !isRoot("CompleteMultipartUploadResult", body) {
				t.Errorf("%q completes an upload", body)
			}
			if e, _ := errors.AsType[*region.Error](err); e != nil && status < 300 && e.Outcome != region.Ambiguous && e.Code != "SlowDown" {
				t.Errorf("after %q it is known that nothing was written: %v", body, err)
			}
		case 2:
			var id string
			id, err = r.CreateUpload(ctx, "key", nil)
			isContent = true
			if err == nil && (id == "" || !isRoot("InitiateMultipartUploadResult", body)) {
				t.Errorf("%q begins upload %q", body, id)
			}
		case 3:
			var etag string
			etag, err = r.Put(ctx, "key", nil, bytes.NewReader(nil), 0)
			checkWritten(t, etag, err)
		case 4:
			var etag string
			etag, err = r.UploadPart(ctx, "key", "u", 1, nil, bytes.NewReader(nil), 0)
			checkWritten(t, etag, err)
		case 5:
			err = r.Delete(ctx, "key", "e")
		case 6:
			var a region.Attributes
			a, err = r.Head(ctx, "key", nil)
			if err == nil {
				checkAttributes(t, a)
			}
		case 7:
			var a region.Attributes
			a, err = r.HeadPart(ctx, "key", "e", 1)
			if err == nil {
				checkAttributes(t, a)
			}
		case 8:
			var o *region.Object
			if o, err = r.Get(ctx, "key", nil); err == nil {
				checkAttributes(t, o.Attributes)
				isContent = true
				if _, failed := io.Copy(io.Discard, o.Body); failed != nil {
					wantError(t, "the content", failed, region.Ambiguous)
				}
				o.Body.Close()
			}
		case 9:
			var tags string
			tags, err = r.Tags(ctx, "key")
			isContent = true
			if _, bad := url.ParseQuery(tags); bad != nil || err == nil && !isRoot("Tagging", body) {
				t.Errorf("%q has the tags %q (%v)", body, tags, bad)
			}
		case 10:
			err = r.CheckBucket(ctx)
		}
		if !isContent && of.n > len(text)-len(body)+mostOfError {
			t.Errorf("%d bytes were read of an answer that is no content", of.n)
		}
		if err != nil {
			checkError(t, err, int(status))
		} else if status >= 300 {
			t.Errorf("status %d passes for a success", status)
		}
	})
}

func checkWritten(t *testing.T, etag string, err error) {
	t.Helper()
	if (etag == "") != (err != nil) || strings.HasPrefix(etag, `"`) || strings.HasSuffix(etag, `"`) {
		t.Errorf("got ETag %q and %v", etag, err)
	}
}

func checkListing(t *testing.T, l region.Listing, body string) {
	t.Helper()
	if !isRoot("ListBucketResult", body) {
		t.Errorf("%q passes for a listing", body)
	}
	for _, o := range l.Objects {
		if o.Size < 0 {
			t.Errorf("%q has a size of %d", o.Key, o.Size)
		}
	}
}

var (
	wholeRange = regexp.MustCompile(`^bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)$`)
	digits     = regexp.MustCompile(`^[0-9]{1,19}$`)
)

func checkAttributes(t *testing.T, a region.Attributes) {
	t.Helper()
	size, parts := a.Size(), a.PartsCount()
	start, end := a.Span()
	if size < -1 || start < 0 || end < start || parts < 0 || a.TagCount() < 0 {
		t.Errorf("of %v: size %d, span %d to %d, %d parts, %d tags", a.Header, size, start, end, parts, a.TagCount())
	}
	contentRange := a.Header.Get("Content-Range")
	if contentRange != "" && !wholeRange.MatchString(contentRange) && (start != 0 || end != 0) {
		t.Errorf("Content-Range %q is %d to %d", contentRange, start, end)
	}
	if said := a.Header.Get("Content-Length"); contentRange == "" && size >= 0 && !digits.MatchString(said) {
		t.Errorf("Content-Length %q is %d", said, size)
	}
	if when, err := http.ParseTime(a.Header.Get("Last-Modified")); err != nil && !a.LastModified().IsZero() || err == nil && !a.LastModified().Equal(when) {
		t.Errorf("Last-Modified %q is %v", a.Header.Get("Last-Modified"), a.LastModified())
	}
}

func checkError(t *testing.T, err error, status int) {
	t.Helper()
	e, ok := errors.AsType[*region.Error](err)
	if !ok {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	isRefusal := status >= 300 && status < 500 || status == 501 || e.Code == "SlowDown"
	isGone := e.Operation == "CompleteMultipartUpload" && e.Code == "NoSuchUpload" // perhaps because it was completed
	if !isGone && isRefusal != (e.Outcome == region.Rejected) || e.Outcome == region.NotSent {
		t.Errorf("status %d, code %s: got outcome %v", status, e.Code, e.Outcome)
	}
	if region.IsNotFound(err) && (status != 404 || e.Code != "NoSuchKey") || region.IsPrecondition(err) && status != 412 && status != 409 {
		t.Errorf("status %d, code %s says what the key is", status, e.Code)
	}
	client, ok := errors.AsType[*s3op.Error](region.ToClient(err))
	if !ok || client.Code == "" || client.Message == "" || client.Kind == s3op.Internal || client.Kind == s3op.Denied {
		t.Errorf("a client is told %+v of %v", client, err)
	}
}

// inProcess hands requests to a region in memory.
func inProcess(s *regiontest.Server) roundTrip {
	return func(q *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		q = q.Clone(q.Context())
		if q.Body == nil {
			q.Body = http.NoBody
		}
		s.ServeHTTP(w, q)
		return w.Result(), nil
	}
}

// FuzzListingIsOfTheKeys compares a page with what the keys alone say it is.
func FuzzListingIsOfTheKeys(f *testing.F) {
	f.Add("a\xffa/b\xffa/c\xffb", "", "/", "", uint8(2))
	f.Add("a b+c%2F\xff\x01\x02\xff\U0010FFFF/\xffé", "", "", "a", uint8(0))
	f.Add("x//y\xffx/\xff../z\xff/", "x/", "/", "x//", uint8(1))
	f.Add("<&>\"'\xff\ufffe\ufffd\xff\r\n", "<", "&", "", uint8(9))
	f.Fuzz(func(t *testing.T, joined, prefix, delimiter, startAfter string, limit uint8) {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
		var keys []string
		for key := range strings.SplitSeq(joined, "\xff") { // no key has that byte
			if s3op.CheckKey(key) == nil && !slices.Contains(keys, key) && len(keys) < 20 {
				keys = append(keys, key)
				s.Put(bucket, key, []byte(key))
			}
		}
		if !utf8.ValidString(prefix + "|" + delimiter + "|" + startAfter) {
			return // no S3 takes them
		}
		if rest, below := strings.CutPrefix(startAfter, prefix); below && delimiter != "" && strings.Contains(rest, delimiter) {
			return // S3s differ in what comes after a common prefix
		}
		slices.Sort(keys)
		r := newRegion(t, through(inProcess(s)))
		got, err := r.List(t.Context(), region.ListOptions{Prefix: prefix, Delimiter: delimiter, StartAfter: startAfter, Limit: int(limit)})
		if err != nil {
			t.Fatalf("list %q: %v", keys, err)
		}
		var objects []string
		for _, o := range got.Objects {
			objects = append(objects, o.Key)
			if o.Size != int64(len(o.Key)) {
				t.Errorf("%q has size %d", o.Key, o.Size)
			}
		}
		wantObjects, wantPrefixes, truncated := page(keys, prefix, delimiter, startAfter, int(limit))
		if diff := cmp.Diff([][]string{wantObjects, wantPrefixes, {strconv.FormatBool(truncated)}},
			[][]string{objects, got.CommonPrefixes, {strconv.FormatBool(got.Truncated)}}); diff != "" {
			t.Errorf("of %q below %q by %q after %q, %d at most (-want +got):\n%s", keys, prefix, delimiter, startAfter, limit, diff)
		}
	})
}

// page is what ListObjectsV2 says that a page of these keys is.
func page(keys []string, prefix, delimiter, startAfter string, limit int) (objects, prefixes []string, truncated bool) {
	isPrefix := make(map[string]bool)
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) || key <= startAfter {
			continue
		}
		before, _, found := strings.Cut(key[len(prefix):], delimiter)
		if found && delimiter != "" {
			isPrefix[prefix+before+delimiter] = true
		} else {
			isPrefix[key] = isPrefix[key] || false
		}
	}
	names := slices.Sorted(maps.Keys(isPrefix))
	if limit == 0 {
		limit = region.MaxListKeys
	}
	for i, name := range names {
		if i == limit {
			return objects, prefixes, true
		}
		if isPrefix[name] {
			prefixes = append(prefixes, name)
		} else {
			objects = append(objects, name)
		}
	}
	return objects, prefixes, false
}
