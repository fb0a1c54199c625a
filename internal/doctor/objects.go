package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// rounds is how often the simplest calls are made: enough for a median.
const rounds = 5

// everyByte has each byte once, so that whatever changes bytes on the way is seen.
func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

func (s *session) checkObjects(ctx context.Context) {
	body := everyByte()
	fail := func(advice string, err error) { s.add("objects", Failed, advice, "%s", said(err)) }
	for range rounds {
		etag, err := s.put(ctx, "object", body, nil)
		if err != nil {
			fail("let these credentials put objects (s3:PutObject), or find out why the region takes none", err)
			return
		}
		got, a, err := s.get(ctx, "object", nil)
		if err != nil {
			fail("let these credentials get objects (s3:GetObject)", err)
			return
		}
		head, err := s.r.Head(ctx, s.key("object"), nil)
		if err != nil {
			fail("let these credentials get objects (s3:GetObject)", err)
			return
		}
		if got != body || a.ETag() != etag || head.ETag() != etag || head.Size() != int64(len(body)) {
			s.add("objects", Failed, "do not use this S3, or what is between it and this machine: objects change on the way",
				"%d bytes were put and %d came back, ETag %s for %s", len(body), len(got), a.ETag(), etag)
			return
		}
		if err := s.r.Delete(ctx, s.key("object"), ""); err != nil {
			fail("let these credentials delete objects (s3:DeleteObject)", err)
			return
		}
		if _, err := s.r.Head(ctx, s.key("object"), nil); !region.IsNotFound(err) {
			s.add("objects", Failed, "do not use this S3: Tandem relies on reading what was written last", "it is still there after it was deleted (%v)", err)
			return
		}
	}
	s.reached = true
	s.add("objects", OK, "", "put, got, asked for and deleted, the same to the byte")
}

// checkHeaders puts an object with everything that is stored with one.
func (s *session) checkHeaders(ctx context.Context) {
	want := http.Header{
		"Cache-Control": {"no-cache, max-age=1"}, "Content-Disposition": {`attachment; filename="a.txt"`}, "Content-Encoding": {"gzip"},
		"Content-Language": {"de"}, "Content-Type": {"text/x-tandem"}, "Expires": {"Thu, 01 Dec 2033 16:00:00 GMT"},
		"X-Amz-Meta-Plain": {"value"}, "X-Amz-Meta-Spaces": {"two  spaces"},
	}
	if _, err := s.put(ctx, "headers", "headers", want.Clone()); err != nil {
		s.add("headers", Failed, "objects with such headers are not copied here", "%s", said(err))
		return
	}
	a, err := s.r.Head(ctx, s.key("headers"), nil)
	if err != nil {
		s.add("headers", Failed, "", "%s", said(err))
		return
	}
	var lost []string
	for name, values := range want {
		if !slices.Equal(a.Header[name], values) {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		s.add("headers", Warning, "objects read from this region lack them: it should not be promoted where clients need them",
			"not as they were put: %s", strings.Join(lost, ", "))
		return
	}
	s.add("headers", OK, "", "content headers and user metadata are kept")
	s.checkForeignMetadata(ctx)
	s.checkStorageClass(ctx)
}

// checkForeignMetadata: a header has no encoding of its own, so each S3 has its own way.
func (s *session) checkForeignMetadata(ctx context.Context) {
	const text = "größe"
	const advice = "have clients encode such metadata themselves: a copy that is made from here has it as it is read here"
	_, err := s.put(ctx, "metadata", "metadata", http.Header{"X-Amz-Meta-Text": {text}})
	if err != nil {
		s.add("metadata beyond ASCII", NotSupported, "objects with such metadata are not copied here: their copies stay pending, with this error", "%s", said(err))
		return
	}
	a, err := s.r.Head(ctx, s.key("metadata"), nil)
	switch got := a.Header.Get("X-Amz-Meta-Text"); {
	case err != nil:
		s.add("metadata beyond ASCII", Failed, advice, "%s", said(err))
	case got != text:
		s.add("metadata beyond ASCII", NotSupported, advice, "%q comes back as %q", text, got)
	default:
		s.add("metadata beyond ASCII", OK, "", "kept as it is")
	}
}

// checkStorageClass asks for the one of Amazon's classes that costs least for so short a time.
func (s *session) checkStorageClass(ctx context.Context) {
	const class = "STANDARD_IA"
	_, err := s.put(ctx, "class", "class", http.Header{"X-Amz-Storage-Class": {class}})
	if err != nil {
		s.add("storage classes", NotSupported, "an object of such a class in another region is not copied here: its copy stays pending, with this error", "%s", said(err))
		return
	}
	a, err := s.r.Head(ctx, s.key("class"), nil)
	switch got := a.Header.Get("X-Amz-Storage-Class"); {
	case err != nil:
		s.add("storage classes", Failed, "let these credentials get objects (s3:GetObject)", "%s", said(err))
	case got != class:
		s.add("storage classes", NotSupported, "objects of every class are copied here, and lose it", "taken and not kept")
	default:
		s.add("storage classes", OK, "", "kept")
	}
}

func (s *session) checkTags(ctx context.Context) {
	const tags = "a=1&b=two"
	const instead = "an object with tags is not copied here: its copy stays pending, with this error, until the object is written without tags"
	if _, err := s.put(ctx, "tags", "tags", http.Header{"X-Amz-Tagging": {tags}}); err != nil {
		status := Failed
		if isUnimplemented(err) {
			status = NotSupported
		}
		s.add("tags", status, instead, "%s", said(err))
		return
	}
	got, err := s.r.Tags(ctx, s.key("tags"))
	switch {
	case err != nil:
		s.add("tags", Warning, "Tandem reads tags to copy them from here: let these credentials read them (s3:GetObjectTagging)", "%s", said(err))
	case got != tags:
		s.add("tags", Warning, "tags are lost here, and Tandem cannot tell: write no tags, or use another S3", "taken and not kept: %q for %q", got, tags)
	default:
		s.add("tags", OK, "", "kept")
	}
}

func (s *session) checkRanges(ctx context.Context) {
	const advice = "do not use this S3: Tandem copies large objects and resumes downloads by ranges"
	if _, err := s.put(ctx, "range", "0123456789", nil); err != nil {
		s.add("ranges", Failed, "", "%s", said(err))
		return
	}
	for asked, want := range map[string]string{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-1": "9"} {
		got, a, err := s.get(ctx, "range", http.Header{"Range": {asked}})
		switch {
		case err != nil:
			s.add("ranges", Failed, advice, "%s: %s", asked, said(err))
			return
		case got != want || a.Status != http.StatusPartialContent || a.Size() != 10:
			s.add("ranges", Failed, advice, "%s gives %q, status %d, of %d bytes", asked, got, a.Status, a.Size())
			return
		}
	}
	s.add("ranges", OK, "", "give what was asked for")
}

const noSuchETag = "00000000000000000000000000000000"

func (s *session) checkConditionalReads(ctx context.Context) {
	const advice = "do not use this S3: Tandem reads on the condition that the object is the one it knows"
	etag, err := s.put(ctx, "read", "read", nil)
	if err != nil {
		s.add("conditional reads", Failed, "", "%s", said(err))
		return
	}
	for _, c := range []struct {
		name, etag string
		want       int
	}{
		{"If-Match", etag, http.StatusOK}, {"If-Match", noSuchETag, http.StatusPreconditionFailed},
		{"If-None-Match", etag, http.StatusNotModified}, {"If-None-Match", noSuchETag, http.StatusOK},
	} {
		h := http.Header{c.name: {s3op.QuoteETag(c.etag)}}
		_, _, getErr := s.get(ctx, "read", h)
		_, headErr := s.r.Head(ctx, s.key("read"), h)
		for method, err := range map[string]error{"GET": getErr, "HEAD": headErr} {
			if got := statusOf(err); got != c.want {
				s.add("conditional reads", Failed, advice, "%s with %s that %s: status %d, want %d", method, c.name,
					map[bool]string{true: "matches", false: "does not match"}[c.etag == etag], got, c.want)
				return
			}
		}
	}
	s.add("conditional reads", OK, "", "honoured")
}

// statusOf is the status of the answer that gave err, 0 where there was none.
func statusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if e, ok := errors.AsType[*region.Error](err); ok {
		return e.Status
	}
	return 0
}

// checkConditionalWrites tries what a gateway tries when it first copies to a region, by the same means.
func (s *session) checkConditionalWrites(ctx context.Context) {
	found, err := s.r.ProbeConditions(ctx, s.key("conditions"))
	if err != nil {
		s.add("conditional writes", Failed, "a gateway copies nothing here before it knows", "%s", said(err))
		return
	}
	const put = "before each copy Tandem looks with a HEAD, which leaves a gap in which somebody else's write could be overwritten; while this region is " +
		"active, clients' writes with a condition get 501, and writes of a key that is being repaired 503"
	for _, c := range []struct {
		name    string
		support region.Support
		advice  string
	}{
		{"If-None-Match on PUT", found.Create, put},
		{"If-Match on PUT", found.Overwrite, put},
		{"If-None-Match on complete", found.Complete, "Tandem counts on no condition of a PUT here, and " + put},
		{"If-Match on DELETE", found.Delete, "before each delete Tandem looks with a HEAD, which leaves a gap in which somebody else's write could be deleted; while this region is " +
			"active, clients' deletes with a condition get 501"},
	} {
		status, advice := Warning, c.advice
		switch c.support {
		case region.Honoured:
			status, advice = OK, ""
		case region.Refused:
			status = NotSupported
		case region.Untried:
			status, advice = Skipped, ""
		}
		s.add(c.name, status, advice, "%s", c.support)
	}
}

func (s *session) reportTimes() {
	var shown []string
	for _, c := range s.wire.times() {
		if slices.Contains([]string{"PutObject", "GetObject", "HeadObject", "DeleteObject", "ListObjectsV2"}, c.Operation) {
			shown = append(shown, fmt.Sprintf("%s %s/%s", strings.TrimSuffix(strings.TrimSuffix(c.Operation, "Object"), "ObjectsV2"), short(c.Min), short(c.Median)))
		}
	}
	s.add("times", OK, "", "until the answer began, least/median: %s", strings.Join(shown, ", "))
}

// drain reads what is left of a body, and counts it.
func drain(body io.ReadCloser) (int64, error) {
	n, err := io.Copy(io.Discard, io.LimitReader(body, maxCanaryBytes))
	return n, errors.Join(err, body.Close())
}
