package regiontest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region"
)

func (c trial) objectsComeBack() {
	began := time.Now()
	// The last is long enough for the region to be asked before the body is sent.
	for _, size := range []int64{0, 1, 4 << 10, 1<<20 + 1} {
		want := patterned(size)
		for kind, body := range map[string]io.Reader{
			"hashed": bytes.NewReader([]byte(want)), "streamed": io.MultiReader(strings.NewReader(want)),
		} {
			key := fmt.Sprint(kind, size)
			etag, err := c.r.Put(c.t.Context(), key, nil, body, size)
			if err != nil {
				c.t.Fatalf("put %s: %v", key, err)
			}
			got, a := c.get(key, nil)
			if got != want {
				c.t.Errorf("%s: body of %d bytes differs", key, len(got))
			}
			for method, a := range map[string]region.Attributes{"get": a, "head": c.head(key)} {
				if etag != md5Hex(want) || a.ETag() != etag || a.Size() != size || a.PartsCount() != 0 || a.TagCount() != 0 {
					c.t.Errorf("%s %s: put said ETag %s; ETag %s, %d bytes, %d parts, %d tags", method, key, etag, a.ETag(), a.Size(), a.PartsCount(), a.TagCount())
				}
				if since := a.LastModified().Sub(began).Abs(); since > time.Hour {
					c.t.Errorf("%s %s: modified %v, want about now", method, key, a.LastModified())
				}
			}
			if start, end := a.Span(); start != 0 || end != size {
				c.t.Errorf("get %s: span %d to %d, want 0 to %d", key, start, end, size)
			}
			c.remove(key)
			c.remove(key) // once more is no error
			c.wantHeld("deleted", key, "")
		}
	}
}

// storedHeaders are all that S3 keeps with an object, but for what the region drops.
func (c trial) storedHeaders() http.Header {
	h := http.Header{
		"Cache-Control":                   {"no-cache, max-age=1"},
		"Content-Disposition":             {`attachment; filename="größe.txt"`},
		"Content-Encoding":                {"gzip"},
		"Content-Language":                {"de, en"},
		"Content-Type":                    {"text/plain; charset=utf-8"},
		"Expires":                         {"Wed, 21 Oct 2026 07:28:00 GMT"},
		"X-Amz-Storage-Class":             {"STANDARD_IA"},
		"X-Amz-Website-Redirect-Location": {"/elsewhere"},
		"X-Amz-Meta-Plain":                {"some words"},
		"X-Amz-Meta-Utf8":                 {"größe 😀"},
		"X-Amz-Meta-Empty":                {""},
		"X-Amz-Meta-Mixed-Case_9":         {"=?&%20+,;\"'"},
	}
	for _, name := range c.facts.Drops {
		h.Del(name)
	}
	return h
}

// kept are the headers of an answer that were once given with a write.
func (c trial) kept(a region.Attributes) http.Header {
	kept := make(http.Header)
	for name, values := range a.Header {
		_, given := c.storedHeaders()[name]
		if given && !slices.Equal(values, []string{"STANDARD"}) || strings.HasPrefix(name, "X-Amz-Meta-") {
			kept[name] = values
		}
	}
	return kept
}

func (c trial) headersComeBack() {
	want := c.storedHeaders()
	c.put("key", "body", want)
	body, a := c.get("key", nil)
	if body != "body" {
		c.t.Errorf("body %q: the client decoded what it was to hand on", body)
	}
	if diff := cmp.Diff(want, c.kept(a)); diff != "" {
		c.t.Errorf("get: headers differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, c.kept(c.head("key"))); diff != "" {
		c.t.Errorf("head: headers differ (-want +got):\n%s", diff)
	}
	_, a = c.get("key", http.Header{"Range": {"bytes=1-2"}})
	if diff := cmp.Diff(want, c.kept(a)); diff != "" {
		c.t.Errorf("get of a range: headers differ (-want +got):\n%s", diff)
	}
}

func (c trial) writesReplace() {
	full := c.storedHeaders()
	full.Set("X-Amz-Tagging", "a=1")
	c.put("key", "a long body", full)
	c.put("key", "short", http.Header{"Content-Type": {"text/x"}})
	body, a := c.get("key", nil)
	if body != "short" || a.Size() != 5 || a.ETag() != md5Hex("short") {
		c.t.Errorf("body %q of %d bytes, ETag %s", body, a.Size(), a.ETag())
	}
	if diff := cmp.Diff(http.Header{"Content-Type": {"text/x"}}, c.kept(a)); diff != "" {
		c.t.Errorf("headers differ (-want +got):\n%s", diff)
	}
	c.wantTags("key", "")
}

func (c trial) wantTags(key, want string) {
	c.t.Helper()
	got, err := c.r.Tags(c.t.Context(), key)
	if err != nil || got != want {
		c.t.Errorf("tags of %q: %q, %v, want %q", key, got, err, want)
	}
	tags, err := url.ParseQuery(got)
	if err != nil {
		c.t.Errorf("tags of %q: %v", key, err)
	}
	_, a := c.get(key, nil)
	for method, n := range map[string]int{"get": a.TagCount(), "head": c.head(key).TagCount()} {
		if n != len(tags) {
			c.t.Errorf("%s %q: %d tags, want %d", method, key, n, len(tags))
		}
	}
}

func (c trial) tagsComeBack() {
	c.put("none", "body", nil)
	c.wantTags("none", "")
	// What Tags returns is what Put takes.
	all := url.Values{"a": {"1"}, "two words": {"b c"}, "empty": {""}, "sign+-=._:/@": {"+-=._:/@"}, "größe": {"groß"}}
	if c.facts.PlainTags {
		all.Del("größe")
	}
	tags := all.Encode()
	c.put("some", "body", http.Header{"X-Amz-Tagging": {tags}})
	c.wantTags("some", tags)
	if _, err := c.r.Tags(c.t.Context(), "absent"); !region.IsNotFound(err) {
		c.t.Errorf("tags of an absent key: %v, want no such key", err)
	}
}

func (c trial) ranges() {
	const body = "0123456789"
	c.put("key", body, nil)
	for header, want := range map[string][2]int64{
		"bytes=0-0": {0, 1}, "bytes=2-4": {2, 5}, "bytes=5-": {5, 10}, "bytes=9-": {9, 10},
		"bytes=-3": {7, 10}, "bytes=-99": {0, 10}, "bytes=4-99": {4, 10}, "bytes=0-9": {0, 10},
	} {
		got, a := c.get("key", http.Header{"Range": {header}, "If-Match": {`"` + md5Hex(body) + `"`}})
		start, end := a.Span()
		if got != body[want[0]:want[1]] || start != want[0] || end != want[1] {
			c.t.Errorf("%s: %q, span %d to %d, want %d", header, got, start, end, want)
		}
		if a.Status != http.StatusPartialContent || a.Size() != int64(len(body)) || a.ETag() != md5Hex(body) {
			c.t.Errorf("%s: status %d, size %d, ETag %s, want 206 and those of the whole object", header, a.Status, a.Size(), a.ETag())
		}
	}
	for _, header := range []string{"bytes=10-", "bytes=99-100"} {
		_, err := c.r.Get(c.t.Context(), "key", http.Header{"Range": {header}})
		c.wantRefused(header, err, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
	}
}

func (c trial) conditionalReads() {
	etag := c.put("key", "body", nil)
	modified := c.head("key").LastModified()
	date := func(name string, t time.Time) http.Header {
		return http.Header{name: {t.UTC().Format(http.TimeFormat)}}
	}
	tests := []struct {
		name string
		h    http.Header
		want int
	}{
		{"if match, same", ifMatch(etag), http.StatusOK},
		{"if match, other", ifMatch(otherETag), http.StatusPreconditionFailed},
		{"if none match, same", ifNoneMatch(etag), http.StatusNotModified},
		{"if none match, other", ifNoneMatch(otherETag), http.StatusOK},
		{"modified since before", date("If-Modified-Since", modified.Add(-time.Minute)), http.StatusOK},
		{"not unmodified since", date("If-Unmodified-Since", modified.Add(-time.Minute)), http.StatusPreconditionFailed},
		{"not modified since", date("If-Modified-Since", modified), http.StatusNotModified},
		{"unmodified since", date("If-Unmodified-Since", modified), http.StatusOK},
	}
	if c.facts.FineDates {
		tests = tests[:len(tests)-2]
	}
	for _, tt := range tests {
		o, getErr := c.r.Get(c.t.Context(), "key", tt.h)
		_, headErr := c.r.Head(c.t.Context(), "key", tt.h)
		if tt.want == http.StatusOK {
			if getErr != nil || headErr != nil {
				c.t.Errorf("%s: %v, %v", tt.name, getErr, headErr)
				continue
			}
			o.Body.Close()
			continue
		}
		c.wantRefused("get "+tt.name, getErr, tt.want)
		c.wantRefused("head "+tt.name, headErr, tt.want)
		if tt.want == http.StatusNotModified {
			c.wantETag(tt.name, getErr, etag)
			c.wantETag(tt.name, headErr, etag)
		} else if !region.IsPrecondition(getErr) || !region.IsPrecondition(headErr) {
			c.t.Errorf("%s: %v, %v, want preconditions", tt.name, getErr, headErr)
		}
	}
}

// wantETag checks what a 304 says of the object.
func (c trial) wantETag(what string, err error, want string) {
	c.t.Helper()
	e, ok := errors.AsType[*region.Error](err)
	if !ok || c.facts.BareNotModified {
		return
	}
	if got := (region.Attributes{Header: e.Header}).ETag(); got != want {
		c.t.Errorf("%s: status %d with ETag %q, want %q", what, e.Status, got, want)
	}
}

func (c trial) probe() {
	want := region.Conditions{Put: !c.facts.NoPutConditions, Delete: !c.facts.NoDeleteConditions}
	for range 2 {
		got, err := c.r.Conditions(c.t.Context())
		if err != nil || got != want {
			c.t.Errorf("conditions: %+v, %v, want %+v", got, err, want)
		}
	}
}

// putIf is a write of "new" under a condition.
func (c trial) putIf(key string, h http.Header) error {
	_, err := c.r.Put(c.t.Context(), key, h, strings.NewReader("new"), 3)
	return err
}

func (c trial) conditionalWrites() {
	if c.facts.NoPutConditions {
		return // what it does not honour is not asked of it
	}
	c.wantConditions(c.putIf)
}

// wantConditions checks a way to write "new" under each condition.
func (c trial) wantConditions(write func(key string, h http.Header) error) {
	c.t.Helper()
	old := c.put("key", "old", nil)
	err := write("key", ifAbsent())
	c.wantRefused("if absent, present", err, http.StatusPreconditionFailed, "PreconditionFailed")
	if !region.IsPrecondition(err) {
		c.t.Errorf("if absent, present: %v is no precondition", err)
	}
	c.wantHeld("if absent, present", "key", "old")
	c.wantRefused("if match, other", write("key", ifMatch(otherETag)), http.StatusPreconditionFailed, "PreconditionFailed")
	c.wantHeld("if match, other", "key", "old")

	err = write("absent", ifMatch(old))
	c.wantRefused("if match, absent", err, http.StatusNotFound, "NoSuchKey")
	if !region.IsNotFound(err) {
		c.t.Errorf("if match, absent: %v is no absence", err)
	}
	c.wantHeld("if match, absent", "absent", "")

	for _, tt := range []struct {
		key string
		h   http.Header
	}{{"absent", ifAbsent()}, {"key", ifMatch(old)}} {
		if err := write(tt.key, tt.h); err != nil {
			c.t.Errorf("%s, %v: %v", tt.key, tt.h, err)
		}
		c.wantHeld("a condition that holds", tt.key, "new")
	}
	c.wantRefused("if match, no longer", write("key", ifMatch(old)), http.StatusPreconditionFailed, "PreconditionFailed")
}

func (c trial) conditionalDeletes() {
	if c.facts.NoDeleteConditions {
		return // what it does not honour is not asked of it
	}
	etag := c.put("key", "body", nil)
	err := c.r.Delete(c.t.Context(), "key", otherETag)
	c.wantRefused("delete if match, other", err, http.StatusPreconditionFailed, "PreconditionFailed")
	if !region.IsPrecondition(err) {
		c.t.Errorf("delete if match, other: %v is no precondition", err)
	}
	c.wantHeld("delete if match, other", "key", "body")
	if err := c.r.Delete(c.t.Context(), "key", etag); err != nil {
		c.t.Errorf("delete if match, same: %v", err)
	}
	c.wantHeld("delete if match, same", "key", "")
	// Not every S3 says so; all leave it at that.
	if err := c.r.Delete(c.t.Context(), "key", etag); err != nil && !region.IsNotFound(err) {
		c.t.Errorf("delete if match, absent: %v, want success or no such key", err)
	}
}

// integrity are the headers that say what a body is, each by its name.
func integrity(body string) http.Header {
	h := make(http.Header)
	sum := md5.Sum([]byte(body))
	h.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	for _, a := range checksumAlgorithms() {
		h.Set(checksumHeader(a), checksumOf(a, []byte(body)))
	}
	return h
}

func (c trial) damagedBodies() {
	c.put("old", "old", nil)
	for name, values := range integrity("another body") {
		for _, key := range []string{"old", "absent"} {
			codes := []string{"BadDigest"}
			if name != "Content-Md5" {
				codes = append(codes, "XAmzContentChecksumMismatch") // MinIO's name for it
			}
			c.wantRefused("put with a wrong "+name, c.putIf(key, http.Header{name: values}), http.StatusBadRequest, codes...)
		}
	}
	c.wantHeld("damaged bodies", "old", "old")
	c.wantHeld("damaged bodies", "absent", "")
}

func (c trial) soundBodies() {
	for name, values := range integrity("new") {
		if err := c.putIf(name, http.Header{name: values}); err != nil {
			c.t.Errorf("put with the right %s: %v", name, err)
			continue
		}
		c.wantHeld("sound body", name, "new")
		_, a := c.get(name, http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}})
		if got := a.Header[name]; name != "Content-Md5" && !slices.Equal(got, values) {
			c.t.Errorf("%s is %q, want %q", name, got, values)
		}
	}
}

func (c trial) bodiesCutShort() {
	c.put("old", "old", nil)
	errBroken := errors.New("the body broke")
	for name, body := range map[string]func() io.Reader{
		"streamed, ended": func() io.Reader { return io.MultiReader(strings.NewReader("ne")) },
		"streamed, empty": func() io.Reader { return io.MultiReader() },
		"streamed, broken": func() io.Reader {
			return io.MultiReader(strings.NewReader("ne"), iotest.ErrReader(errBroken))
		},
		"broken at once": func() io.Reader { return iotest.ErrReader(errBroken) },
		"hashed, ended":  func() io.Reader { return bytes.NewReader([]byte("ne")) },
	} {
		for _, key := range []string{"old", "absent"} {
			_, err := c.r.Put(c.t.Context(), key, nil, body(), 3)
			if _, ok := errors.AsType[*region.Error](err); !ok || region.OutcomeOf(err) == region.Rejected {
				c.t.Errorf("%s: put: %v, want an error without an answer", name, err)
			}
			if strings.Contains(name, "broken") && !errors.Is(err, errBroken) {
				c.t.Errorf("%s: put: %v, want the body's error in it", name, err)
			}
		}
	}
	c.wantHeld("bodies cut short", "old", "old")
	c.wantHeld("bodies cut short", "absent", "")
}

func (c trial) absences() {
	ctx := c.t.Context()
	if err := c.r.CheckBucket(ctx); err != nil {
		c.t.Errorf("check bucket: %v", err)
	}
	reads := func(r *region.Region) map[string]error {
		_, getErr := r.Get(ctx, "absent", nil)
		_, headErr := r.Head(ctx, "absent", nil)
		_, partErr := r.HeadPart(ctx, "absent", otherETag, 1)
		_, tagsErr := r.Tags(ctx, "absent")
		return map[string]error{"get": getErr, "head": headErr, "head part": partErr, "tags": tagsErr}
	}
	for name, err := range reads(c.r) {
		c.wantRefused(name+" of an absent key", err, http.StatusNotFound, "NoSuchKey")
		if !region.IsNotFound(err) || region.IsDown(err) || region.IsPrecondition(err) {
			c.t.Errorf("%s of an absent key: %v, want an absence and nothing else", name, err)
		}
	}
	missing := c.facts.WithoutBucket(c.t)
	errs := reads(missing)
	errs["check bucket"] = missing.CheckBucket(ctx)
	_, errs["put"] = missing.Put(ctx, "key", nil, strings.NewReader("body"), 4)
	errs["delete"] = missing.Delete(ctx, "key", "")
	_, errs["list"] = missing.List(ctx, region.ListOptions{})
	_, errs["create upload"] = missing.CreateUpload(ctx, "key", nil)
	_, errs["conditions"] = missing.Conditions(ctx)
	for name, err := range errs {
		c.wantRefused(name+" without a bucket", err, http.StatusNotFound, "NoSuchBucket")
		if region.IsNotFound(err) {
			c.t.Errorf("%s without a bucket: %v is taken for an absence", name, err)
		}
	}
}
