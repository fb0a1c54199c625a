package regiontest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// oddKeys are legal, and all different from each other.
func oddKeys() []string {
	return []string{
		"a", "a/b", "a//b", "a/./b", "a/../b", "b", "..", ".", "/", "//", "/a", "a/", "a//", "../..", "/../a",
		"with space", "with+plus", "with%2Fescape", "with%20escape", "%", "%zz", "a?b=c", "a#b", "a&b;c=d",
		"emoji-🦀/ñ", "\u0301combining", "quote\"'<>&", "back\\slash", "tab\tnewline\nreturn\r", "\x01\x1f\x7f",
		"nul\x00", "~*!()'", "trailing.", " ", strings.Repeat("k", 1024), strings.Repeat("é", 512),
	}
}

func TestEveryLegalKeyIsHeldExactly(t *testing.T) {
	s, c := newRegion(t)
	want := make(map[string]string)
	for i, key := range oddKeys() {
		want[key] = string(rune('A' + i))
		put(t, c, key, want[key])
	}
	for key, body := range want {
		if got, _ := get(t, c, key); got != body {
			t.Errorf("get %q: got %q, want %q", key, got, body)
		}
		if _, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: &key}); err != nil {
			t.Errorf("head %q: %v", key, err)
		}
	}
	if got := len(s.Keys(bucket)); got != len(want) {
		t.Errorf("got %d keys, want %d: %q", got, len(want), s.Keys(bucket))
	}
	for key := range want {
		if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: &key}); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
	}
	if got := s.Keys(bucket); len(got) > 0 {
		t.Errorf("left after deleting all: %q", got)
	}
}

func TestIllegalKeysAreRefused(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	endpoint := regiontest.Start(t, s)
	for path, code := range map[string]string{
		strings.Repeat("k", 1025): "KeyTooLongError",
		"bad%FFutf8":              "InvalidURI",
	} {
		res, body := raw(t, "PUT", endpoint+"/"+bucket+"/"+path, strings.NewReader("x"), nil)
		if res.StatusCode != 400 || !strings.Contains(body, "<Code>"+code+"</Code>") {
			t.Errorf("put %.20s: got %d %s, want 400 %s", path, res.StatusCode, body, code)
		}
	}
}

func TestAllThatWasSentComesBack(t *testing.T) {
	_, c := newRegion(t)
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	put(t, c, "full", "body", func(in *s3.PutObjectInput) {
		in.CacheControl, in.ContentDisposition = new("no-cache"), new(`attachment; filename="a.txt"`)
		in.ContentEncoding, in.ContentLanguage, in.ContentType = new("gzip"), new("es"), new("text/plain")
		in.Expires = &expires
		in.StorageClass = types.StorageClassStandardIa
		in.WebsiteRedirectLocation = new("/other")
		in.Metadata = map[string]string{"owner": "ana", "mixed-Case": "Kept"}
		in.Tagging = new(url.Values{"team": {"blue"}, "odd key": {"a=b+c"}}.Encode())
	})
	body, out := get(t, c, "full")
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("full")})
	if err != nil {
		t.Fatal(err)
	}
	type all struct {
		CC, CD, CE, CL, CT, Expires, Redirect string
		Class                                 types.StorageClass
		Meta                                  map[string]string
		Size                                  int64
		ETag                                  string
	}
	want := all{"no-cache", `attachment; filename="a.txt"`, "gzip", "es", "text/plain", expires.Format(http.TimeFormat),
		"/other", types.StorageClassStandardIa, map[string]string{"owner": "ana", "mixed-case": "Kept"}, 4,
		`"841a2d689ad86bd1611447453c22c6fc"`}
	gotGet := all{*out.CacheControl, *out.ContentDisposition, *out.ContentEncoding, *out.ContentLanguage, *out.ContentType,
		*out.ExpiresString, *out.WebsiteRedirectLocation, out.StorageClass, out.Metadata, *out.ContentLength, *out.ETag}
	gotHead := all{*head.CacheControl, *head.ContentDisposition, *head.ContentEncoding, *head.ContentLanguage, *head.ContentType,
		*head.ExpiresString, *head.WebsiteRedirectLocation, head.StorageClass, head.Metadata, *head.ContentLength, *head.ETag}
	if d := cmp.Diff(want, gotGet); d != "" || body != "body" {
		t.Errorf("get: body %q, -want +got\n%s", body, d)
	}
	if d := cmp.Diff(want, gotHead); d != "" {
		t.Errorf("head: -want +got\n%s", d)
	}
	if out.TagCount == nil || *out.TagCount != 2 || out.LastModified.IsZero() {
		t.Errorf("got tag count %v and time %v", out.TagCount, out.LastModified)
	}
	tags, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: new(bucket), Key: new("full")})
	if err != nil {
		t.Fatal(err)
	}
	if got := tagMap(tags.TagSet); !cmp.Equal(got, map[string]string{"team": "blue", "odd key": "a=b+c"}) {
		t.Errorf("got tags %v", got)
	}
}

func tagMap(set []types.Tag) map[string]string {
	m := make(map[string]string)
	for _, tag := range set {
		m[*tag.Key] = *tag.Value
	}
	return m
}

func TestTagsCanBeReplacedAndDeleted(t *testing.T) {
	s, c := newRegion(t)
	before := put(t, c, "k", "x", func(in *s3.PutObjectInput) { in.Tagging = new("a=1") })
	_, err := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: new(bucket), Key: new("k"),
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: new("b"), Value: new("2")}, {Key: new("c"), Value: new("")}}}})
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := s.Object(bucket, "k"); !cmp.Equal(o.Tags, map[string]string{"b": "2", "c": ""}) || o.ETag != *before.ETag {
		t.Errorf("after put: got tags %v, ETag %s", o.Tags, o.ETag)
	}
	if _, err := c.DeleteObjectTagging(t.Context(), &s3.DeleteObjectTaggingInput{Bucket: new(bucket), Key: new("k")}); err != nil {
		t.Fatal(err)
	}
	if o, _ := s.Object(bucket, "k"); len(o.Tags) > 0 {
		t.Errorf("after delete: got tags %v", o.Tags)
	}
	_, err = c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: new(bucket), Key: new("k"),
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: new("b"), Value: new("2")}, {Key: new("b"), Value: new("3")}}}})
	wantError(t, err, 400, "InvalidTag")
	_, err = c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: new(bucket), Key: new("none")})
	wantError(t, err, 404, "NoSuchKey")
}

func TestWhatIsMissingIsSaidAsS3SaysIt(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	endpoint := regiontest.Start(t, s)
	c := newClient(t, endpoint, nil)
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new("none")})
	wantError(t, err, 404, "NoSuchKey")
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("other"), Key: new("none")})
	wantError(t, err, 404, "NoSuchBucket")
	_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("none")})
	wantError(t, err, 404, "NotFound")
	_, err = c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: new("other")})
	wantError(t, err, 404, "NotFound")
	if _, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: new("none")}); err != nil {
		t.Errorf("delete of nothing: %v, want success", err)
	}
	_, err = c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: new(bucket), Key: new("none")})
	wantError(t, err, 501, "NotImplemented")

	res, body := raw(t, "GET", endpoint+"/"+bucket+"/a%26b//c", nil, nil)
	for _, want := range []string{"<Code>NoSuchKey</Code>", "<Message>", "<Resource>/photos/a&amp;b//c</Resource>",
		"<RequestId>" + res.Header.Get("X-Amz-Request-Id") + "</RequestId>"} {
		if !strings.Contains(body, want) {
			t.Errorf("got error %s, want it to contain %s", body, want)
		}
	}
	if res, body := raw(t, "HEAD", endpoint+"/"+bucket+"/none", nil, nil); res.StatusCode != 404 || body != "" {
		t.Errorf("head: got %d with body %q", res.StatusCode, body)
	}
}

func TestBucketsAreCreatedOnce(t *testing.T) {
	_, c := newRegion(t)
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("fresh")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: new("fresh")}); err != nil {
		t.Error(err)
	}
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("fresh")})
	wantError(t, err, 409, "BucketAlreadyOwnedByYou")
}

func TestOnlyTheConfiguredAccessKeyIsLetIn(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}, AccessKey: "AKIAOTHER"})
	endpoint := regiontest.Start(t, s)
	_, err := newClient(t, endpoint, nil).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: new(bucket)})
	wantError(t, err, 403, "InvalidAccessKeyId")
	if res, _ := raw(t, "GET", endpoint+"/"+bucket+"/k", nil, nil); res.StatusCode != 403 {
		t.Errorf("unsigned: got %d, want 403", res.StatusCode)
	}
	for url, want := range map[string]int{
		"/k?X-Amz-Credential=AKIAOTHER%2F20260101": 404,
		"/k?X-Amz-Credential=AKIAOTHER2":           403,
	} {
		if res, _ := raw(t, "GET", endpoint+"/"+bucket+url, nil, nil); res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", url, res.StatusCode, want)
		}
	}
}

func TestRanges(t *testing.T) {
	_, c := newRegion(t)
	put(t, c, "k", "0123456789")
	put(t, c, "empty", "")
	for _, tt := range []struct{ header, body, contentRange string }{
		{"bytes=0-3", "0123", "bytes 0-3/10"},
		{"bytes=4-", "456789", "bytes 4-9/10"},
		{"bytes=-3", "789", "bytes 7-9/10"},
		{"bytes=-100", "0123456789", "bytes 0-9/10"},
		{"bytes=8-100", "89", "bytes 8-9/10"},
		{"bytes=9-9", "9", "bytes 9-9/10"},
		{"bytes=-0x", "0123456789", ""},
		{"bytes=5-4", "0123456789", ""},
		{"bytes=0-1,3-4", "0123456789", ""},
		{"lines=0-3", "0123456789", ""},
	} {
		body, out := get(t, c, "k", func(in *s3.GetObjectInput) { in.Range = &tt.header })
		got := ""
		if out.ContentRange != nil {
			got = *out.ContentRange
		}
		if body != tt.body || got != tt.contentRange {
			t.Errorf("%s: got %q, %q; want %q, %q", tt.header, body, got, tt.body, tt.contentRange)
		}
	}
	if body, out := get(t, c, "empty", func(in *s3.GetObjectInput) { in.Range = new("bytes=-5") }); body != "" || out.ContentRange != nil {
		t.Errorf("the end of nothing: got %q, %+v", body, out)
	}
	for key, header := range map[string]string{"k": "bytes=10-", "empty": "bytes=0-0"} {
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: &key, Range: &header})
		wantError(t, err, 416, "InvalidRange")
	}
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new("k"), Range: new("bytes=-0")})
	wantError(t, err, 416, "InvalidRange")
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("k"), Range: new("bytes=2-4")})
	if err != nil || *head.ContentLength != 3 || *head.ContentRange != "bytes 2-4/10" {
		t.Errorf("head of a range: %v, %+v", err, head)
	}
}

func TestCopyTakesOrReplacesMetadata(t *testing.T) {
	s, c := newRegion(t)
	put(t, c, "from//+ %", "body", func(in *s3.PutObjectInput) {
		in.ContentType, in.Metadata, in.Tagging = new("text/plain"), map[string]string{"a": "1"}, new("t=1")
		in.StorageClass = types.StorageClassGlacierIr
	})
	source := bucket + "/" + (&url.URL{Path: "from//+ %"}).EscapedPath()
	_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new(bucket), Key: new("kept"), CopySource: &source})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new(bucket), Key: new("new"), CopySource: &source,
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"b": "2"}, ContentType: new("image/png"),
		TaggingDirective: types.TaggingDirectiveReplace, Tagging: new("u=2")})
	if err != nil {
		t.Fatal(err)
	}
	from, kept, replaced := state(t, s, "from//+ %"), state(t, s, "kept"), state(t, s, "new")
	want := from
	want.Header = map[string]string{"Content-Type": "text/plain"} // the class is not inherited
	if d := cmp.Diff(want, kept); d != "" {
		t.Errorf("copied: -want +got\n%s", d)
	}
	want.Header, want.Metadata, want.Tags = map[string]string{"Content-Type": "image/png"}, map[string]string{"b": "2"}, map[string]string{"u": "2"}
	if d := cmp.Diff(want, replaced); d != "" {
		t.Errorf("replaced: -want +got\n%s", d)
	}
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new(bucket), Key: new("kept"), CopySource: new(bucket + "/kept")})
	wantError(t, err, 400, "InvalidRequest")
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new(bucket), Key: new("k"), CopySource: new(bucket + "/none")})
	wantError(t, err, 404, "NoSuchKey")
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new(bucket), Key: new("k"), CopySource: &source, CopySourceIfMatch: new(`"no"`)})
	wantError(t, err, 412, "PreconditionFailed")
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new(bucket), Key: new("kept"), CopySource: &source, IfNoneMatch: new("*")})
	wantError(t, err, 412, "PreconditionFailed")
}

func state(t *testing.T, s *regiontest.Server, key string) regiontest.State {
	t.Helper()
	st, ok := s.Snapshot()[bucket][key]
	if !ok {
		t.Fatalf("no object %q", key)
	}
	return st
}

func TestDeleteObjectsAnswersForEachKey(t *testing.T) {
	s, c := newRegion(t)
	for _, key := range []string{"a", "b//<&>", "kept"} {
		put(t, c, key, key)
	}
	out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: new(bucket), Delete: &types.Delete{
		Objects: []types.ObjectIdentifier{{Key: new("a")}, {Key: new("b//<&>")}, {Key: new("never")}, {Key: new("kept"), ETag: new(`"no"`)}}}})
	if err != nil {
		t.Fatal(err)
	}
	var deleted []string
	for _, d := range out.Deleted {
		deleted = append(deleted, *d.Key)
	}
	if d := cmp.Diff([]string{"a", "b//<&>", "never"}, deleted); d != "" {
		t.Errorf("deleted: -want +got\n%s", d)
	}
	if len(out.Errors) != 1 || *out.Errors[0].Key != "kept" || *out.Errors[0].Code != "PreconditionFailed" {
		t.Errorf("got errors %+v", out.Errors)
	}
	if d := cmp.Diff([]string{"kept"}, s.Keys(bucket)); d != "" {
		t.Errorf("left: -want +got\n%s", d)
	}
}
