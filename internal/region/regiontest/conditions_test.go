package regiontest_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gnew/tandem/internal/region/regiontest"
)

const noETag = `"00000000000000000000000000000000"`

func putIf(t *testing.T, c *s3.Client, key, ifMatch, ifNoneMatch string) error {
	in := &s3.PutObjectInput{Bucket: new(bucket), Key: &key}
	if ifMatch != "" {
		in.IfMatch = &ifMatch
	}
	if ifNoneMatch != "" {
		in.IfNoneMatch = &ifNoneMatch
	}
	_, err := c.PutObject(t.Context(), in)
	return err
}

func TestConditionalWritesCompareAndSwap(t *testing.T) {
	s, c := newRegion(t)
	etag := *put(t, c, "k", "v1").ETag
	wantError(t, putIf(t, c, "k", "", "*"), 412, "PreconditionFailed")
	wantError(t, putIf(t, c, "k", noETag, ""), 412, "PreconditionFailed")
	wantError(t, putIf(t, c, "none", etag, ""), 404, "NoSuchKey")
	wantError(t, putIf(t, c, "k", "", etag), 501, "NotImplemented")
	wantError(t, putIf(t, c, "k", etag, "*"), 501, "NotImplemented")
	if o, _ := s.Object(bucket, "k"); o.ETag != etag || len(s.Keys(bucket)) != 1 {
		t.Fatalf("a refused write changed something: %+v, %q", o, s.Keys(bucket))
	}
	if err := putIf(t, c, "k", etag, ""); err != nil {
		t.Errorf("matching: %v", err)
	}
	if err := putIf(t, c, "new", "", "*"); err != nil {
		t.Errorf("absent: %v", err)
	}
}

func TestConditionalDeletes(t *testing.T) {
	s, c := newRegion(t)
	etag := *put(t, c, "k", "v1").ETag
	del := func(key, ifMatch string) error {
		_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: &key, IfMatch: &ifMatch})
		return err
	}
	wantError(t, del("k", noETag), 412, "PreconditionFailed")
	wantError(t, del("none", etag), 404, "NoSuchKey")
	wantError(t, del("none", "*"), 404, "NoSuchKey")
	if err := del("k", etag); err != nil || len(s.Keys(bucket)) != 0 {
		t.Errorf("matching: %v, left %q", err, s.Keys(bucket))
	}
}

func TestConditionalReadsFollowTheirPrecedence(t *testing.T) {
	s, c := newRegion(t)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	etag := s.Put(bucket, "k", []byte("v"), func(o *regiontest.Object) { o.LastModified = at }).ETag
	before, after := at.Add(-time.Hour), at.Add(time.Hour)
	for name, tt := range map[string]struct {
		edit   func(*s3.GetObjectInput)
		status int
	}{
		"match":                        {func(in *s3.GetObjectInput) { in.IfMatch = &etag }, 200},
		"match any":                    {func(in *s3.GetObjectInput) { in.IfMatch = new("*") }, 200},
		"no match":                     {func(in *s3.GetObjectInput) { in.IfMatch = new(noETag) }, 412},
		"none match":                   {func(in *s3.GetObjectInput) { in.IfNoneMatch = new(noETag) }, 200},
		"not modified by ETag":         {func(in *s3.GetObjectInput) { in.IfNoneMatch = &etag }, 304},
		"modified since":               {func(in *s3.GetObjectInput) { in.IfModifiedSince = &before }, 200},
		"not modified since":           {func(in *s3.GetObjectInput) { in.IfModifiedSince = &at }, 304},
		"unmodified since":             {func(in *s3.GetObjectInput) { in.IfUnmodifiedSince = &at }, 200},
		"modified since, unexpectedly": {func(in *s3.GetObjectInput) { in.IfUnmodifiedSince = &before }, 412},
		"ETag over date, match":        {func(in *s3.GetObjectInput) { in.IfMatch, in.IfUnmodifiedSince = &etag, &before }, 200},
		"ETag over date, none match":   {func(in *s3.GetObjectInput) { in.IfNoneMatch, in.IfModifiedSince = new(noETag), &after }, 200},
		"same ETag, older date":        {func(in *s3.GetObjectInput) { in.IfNoneMatch, in.IfModifiedSince = &etag, &before }, 304},
	} {
		in := &s3.GetObjectInput{Bucket: new(bucket), Key: new("k")}
		tt.edit(in)
		out, err := c.GetObject(t.Context(), in)
		if tt.status == 200 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			out.Body.Close()
			continue
		}
		t.Run(name, func(t *testing.T) { wantError(t, err, tt.status, "") })
	}
}

func TestRegionsWithoutConditionalWrites(t *testing.T) {
	t.Run("ignored", func(t *testing.T) {
		s, c := newRegion(t, func(o *regiontest.Options) { o.IgnoreConditions = true })
		put(t, c, "k", "v1")
		if err := putIf(t, c, "k", "", "*"); err != nil {
			t.Errorf("put: %v", err)
		}
		_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: new("k"), IfMatch: new(noETag)})
		if err != nil || len(s.Keys(bucket)) != 0 {
			t.Errorf("delete: %v, left %q", err, s.Keys(bucket))
		}
	})
	t.Run("refused", func(t *testing.T) {
		_, c := newRegion(t, func(o *regiontest.Options) { o.NoConditions = true })
		wantError(t, putIf(t, c, "k", "", "*"), 501, "NotImplemented")
		etag := *put(t, c, "k", "v1").ETag
		_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: new("k"), IfMatch: &etag})
		wantError(t, err, 501, "NotImplemented")
		_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new("k"), IfMatch: new(noETag)})
		wantError(t, err, 412, "")
	})
}
