package regiontest_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

// listAll pages through a listing as a client does, and returns keys and
// prefixes ("p:") page by page.
func listAll(t *testing.T, c *s3.Client, in s3.ListObjectsV2Input) (pages [][]string) {
	t.Helper()
	in.Bucket, in.EncodingType = new(bucket), types.EncodingTypeUrl
	for {
		out, err := c.ListObjectsV2(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		var page []string
		for _, o := range out.Contents {
			page = append(page, decode(t, *o.Key))
		}
		for _, p := range out.CommonPrefixes {
			page = append(page, "p:"+decode(t, *p.Prefix))
		}
		if int(*out.KeyCount) != len(page) {
			t.Errorf("got KeyCount %d for %d entries", *out.KeyCount, len(page))
		}
		pages = append(pages, page)
		if !*out.IsTruncated {
			return pages
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func decode(t *testing.T, s string) string {
	t.Helper()
	d, err := url.QueryUnescape(s)
	if err != nil {
		t.Fatalf("decode %q: %v", s, err)
	}
	return d
}

func TestListingsAreInByteOrderAndComplete(t *testing.T) {
	s, c := newRegion(t)
	want := oddKeys()
	for _, key := range want {
		s.Put(bucket, key, []byte(key))
	}
	slices.Sort(want)
	for _, size := range []int32{1, 3, 7, 1000} {
		pages := listAll(t, c, s3.ListObjectsV2Input{MaxKeys: &size})
		if d := cmp.Diff(want, slices.Concat(pages...)); d != "" {
			t.Errorf("pages of %d: -want +got\n%s", size, d)
		}
	}
	after := listAll(t, c, s3.ListObjectsV2Input{StartAfter: new("a/b")})
	i, _ := slices.BinarySearch(want, "a/b")
	if d := cmp.Diff(want[i+1:], slices.Concat(after...)); d != "" {
		t.Errorf("start after: -want +got\n%s", d)
	}
}

func TestListingsGroupByDelimiter(t *testing.T) {
	s, c := newRegion(t)
	for _, key := range []string{"a", "a/1", "a/2", "a0", "b/x/1", "b/x/2", "b/y", "b//z", "c"} {
		s.Put(bucket, key, nil)
	}
	for name, tt := range map[string]struct {
		in   s3.ListObjectsV2Input
		want [][]string
	}{
		"top": {s3.ListObjectsV2Input{Delimiter: new("/")}, [][]string{{"a", "a0", "c", "p:a/", "p:b/"}}},
		"prefix": {s3.ListObjectsV2Input{Delimiter: new("/"), Prefix: new("b/")},
			[][]string{{"b/y", "p:b//", "p:b/x/"}}},
		"prefixes count": {s3.ListObjectsV2Input{Delimiter: new("/"), MaxKeys: new(int32(2))},
			[][]string{{"a", "p:a/"}, {"a0", "p:b/"}, {"c"}}},
		"long delimiter":      {s3.ListObjectsV2Input{Delimiter: new("/x/")}, [][]string{{"a", "a/1", "a/2", "a0", "b//z", "b/y", "c", "p:b/x/"}}},
		"start inside prefix": {s3.ListObjectsV2Input{Delimiter: new("/"), StartAfter: new("a/1")}, [][]string{{"a0", "c", "p:a/", "p:b/"}}},
		"start at prefix":     {s3.ListObjectsV2Input{Delimiter: new("/"), StartAfter: new("a/")}, [][]string{{"a0", "c", "p:b/"}}},
		"no such prefix":      {s3.ListObjectsV2Input{Prefix: new("zz")}, [][]string{nil}},
		"none wanted":         {s3.ListObjectsV2Input{MaxKeys: new(int32(0))}, [][]string{nil}},
	} {
		if d := cmp.Diff(tt.want, listAll(t, c, tt.in)); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}

func TestListingsPageAtAThousand(t *testing.T) {
	s, c := newRegion(t)
	for i := range 2001 {
		s.Put(bucket, fmt.Sprintf("key-%05d", i), nil)
	}
	var sizes []int
	for _, p := range listAll(t, c, s3.ListObjectsV2Input{MaxKeys: new(int32(5000))}) {
		sizes = append(sizes, len(p))
	}
	if d := cmp.Diff([]int{1000, 1000, 1}, sizes); d != "" {
		t.Errorf("page sizes: -want +got\n%s", d)
	}
	_, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: new(bucket), ContinuationToken: new("!")})
	wantError(t, err, 400, "InvalidArgument")
}

func TestPlainListingsNameWhatXMLCanName(t *testing.T) {
	s, c := newRegion(t)
	etag := s.Put(bucket, "a<&>\"' +%//", []byte("xyz")).ETag
	out, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: new(bucket)})
	if err != nil {
		t.Fatal(err)
	}
	o := out.Contents[0]
	if *o.Key != "a<&>\"' +%//" || *o.ETag != etag || *o.Size != 3 || o.StorageClass != "STANDARD" || o.LastModified.IsZero() {
		t.Errorf("got %+v", o)
	}
	s.Put(bucket, "\x01", nil)
	if _, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: new(bucket)}); err == nil {
		t.Error("a control character was read from XML 1.0, so it must have been changed on the way")
	}
}

func TestListingsURLEncodeAsForms(t *testing.T) {
	s, c := newRegion(t)
	s.Put(bucket, "a b+c/~*é", nil)
	out, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: new(bucket), EncodingType: types.EncodingTypeUrl, Prefix: new("a b")})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join([]string{*out.Contents[0].Key, *out.Prefix}, " "); got != "a+b%2Bc/%7E*%C3%A9 a+b" {
		t.Errorf("got %s", got)
	}
}
