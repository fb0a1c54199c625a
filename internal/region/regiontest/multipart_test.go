package regiontest_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

func smallParts(o *regiontest.Options) { o.SmallParts = true }

// plainChecksums keeps the SDK from adding checksums nobody asked for.
func plainChecksums(o *s3.Options) {
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
}

func create(t *testing.T, c *s3.Client, key string, edits ...func(*s3.CreateMultipartUploadInput)) string {
	t.Helper()
	in := &s3.CreateMultipartUploadInput{Bucket: new(bucket), Key: &key}
	for _, edit := range edits {
		edit(in)
	}
	out, err := c.CreateMultipartUpload(t.Context(), in, plainChecksums)
	if err != nil {
		t.Fatal(err)
	}
	return *out.UploadId
}

func uploadPart(t *testing.T, c *s3.Client, key, id string, n int32, body []byte, opts ...func(*s3.Options)) types.CompletedPart {
	t.Helper()
	out, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: new(bucket), Key: &key, UploadId: &id, PartNumber: &n, Body: bytes.NewReader(body)}, opts...)
	if err != nil {
		t.Fatalf("part %d: %v", n, err)
	}
	return types.CompletedPart{PartNumber: &n, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumSHA256: out.ChecksumSHA256}
}

func complete(t *testing.T, c *s3.Client, key, id string, parts []types.CompletedPart, edits ...func(*s3.CompleteMultipartUploadInput)) (*s3.CompleteMultipartUploadOutput, error) {
	in := &s3.CompleteMultipartUploadInput{Bucket: new(bucket), Key: &key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	for _, edit := range edits {
		edit(in)
	}
	return c.CompleteMultipartUpload(t.Context(), in)
}

func TestMultipartUploadKeepsPartBoundaries(t *testing.T) {
	s, c := newRegion(t)
	const key = "a//big +"
	bodies := [][]byte{bytes.Repeat([]byte("1"), 5<<20), bytes.Repeat([]byte("2"), 5<<20), []byte("end")}
	id := create(t, c, key, func(in *s3.CreateMultipartUploadInput) {
		in.ContentType, in.Metadata, in.Tagging = new("video/mp4"), map[string]string{"m": "1"}, new("t=1")
	})
	var parts []types.CompletedPart
	sums := md5.New()
	for i, body := range bodies {
		parts = append(parts, uploadPart(t, c, key, id, int32(i+1), body))
		sum := md5.Sum(body)
		sums.Write(sum[:])
	}
	if len(s.Keys(bucket)) != 0 || len(s.Uploads(bucket)) != 1 || len(s.Uploads(bucket)[0].Parts) != 3 {
		t.Fatalf("before completion: keys %q, uploads %+v", s.Keys(bucket), s.Uploads(bucket))
	}
	out, err := complete(t, c, key, id, parts)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`"%x-3"`, sums.Sum(nil))
	if *out.ETag != want || *out.Key != key {
		t.Errorf("got ETag %s of %q, want %s", *out.ETag, *out.Key, want)
	}
	body, whole := get(t, c, key)
	if body != string(bytes.Join(bodies, nil)) || *whole.ETag != want || *whole.ContentType != "video/mp4" || whole.Metadata["m"] != "1" || *whole.TagCount != 1 {
		t.Errorf("got %d bytes and %+v", len(body), whole)
	}
	if whole.PartsCount != nil {
		t.Error("parts were counted unasked")
	}
	for i, want := range bodies {
		body, part := get(t, c, key, func(in *s3.GetObjectInput) { in.PartNumber = new(int32(i + 1)) })
		if body != string(want) || *part.PartsCount != 3 {
			t.Errorf("part %d: got %d bytes of %v parts", i+1, len(body), part.PartsCount)
		}
	}
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new(key), PartNumber: new(int32(4))})
	wantError(t, err, 416, "InvalidPartNumber")
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new(key), PartNumber: new(int32(1)), Range: new("bytes=0-1")})
	wantError(t, err, 400, "InvalidRequest")

	put(t, c, "single", "xyz")
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("single"), PartNumber: new(int32(1))})
	if err != nil || *head.ContentLength != 3 || head.PartsCount != nil {
		t.Errorf("first part of a single object: %v, %+v", err, head)
	}
}

func TestCompletionChecksItsParts(t *testing.T) {
	s, c := newRegion(t)
	id := create(t, c, "k")
	big := uploadPart(t, c, "k", id, 1, make([]byte, 5<<20))
	small := uploadPart(t, c, "k", id, 2, []byte("small"))
	last := uploadPart(t, c, "k", id, 7, []byte("last"))
	wrong := types.CompletedPart{PartNumber: new(int32(2)), ETag: new(noETag)}
	absent := types.CompletedPart{PartNumber: new(int32(3)), ETag: small.ETag}
	for name, tt := range map[string]struct {
		parts []types.CompletedPart
		code  string
	}{
		"out of order":   {[]types.CompletedPart{small, big}, "InvalidPartOrder"},
		"twice":          {[]types.CompletedPart{big, big}, "InvalidPartOrder"},
		"wrong ETag":     {[]types.CompletedPart{big, wrong}, "InvalidPart"},
		"never sent":     {[]types.CompletedPart{big, absent}, "InvalidPart"},
		"too small":      {[]types.CompletedPart{big, small, last}, "EntityTooSmall"},
		"nothing at all": {nil, "MalformedXML"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := complete(t, c, "k", id, tt.parts)
			wantError(t, err, 400, tt.code)
		})
	}
	if _, err := complete(t, c, "k", id, []types.CompletedPart{big, last}); err != nil {
		t.Error(err)
	}
	if o, _ := s.Object(bucket, "k"); len(o.Parts) != 2 || o.Size != 5<<20+4 || len(s.Uploads(bucket)) != 0 {
		t.Errorf("got %d bytes in %+v, uploads %+v", o.Size, o.Parts, s.Uploads(bucket))
	}
}

func TestCompletionHonoursConditions(t *testing.T) {
	s, c := newRegion(t, smallParts)
	etag := *put(t, c, "k", "v1").ETag
	id := create(t, c, "k")
	parts := []types.CompletedPart{uploadPart(t, c, "k", id, 1, []byte("v")), uploadPart(t, c, "k", id, 2, []byte("2"))}
	_, err := complete(t, c, "k", id, parts, func(in *s3.CompleteMultipartUploadInput) { in.IfNoneMatch = new("*") })
	wantError(t, err, 412, "PreconditionFailed")
	if _, err = complete(t, c, "k", id, parts, func(in *s3.CompleteMultipartUploadInput) { in.IfMatch = &etag }); err != nil {
		t.Errorf("matching: %v", err)
	}
	if o, _ := s.Object(bucket, "k"); string(o.Data) != "v2" {
		t.Errorf("got %q", o.Data)
	}
}

func TestCompletingAgainChangesNothing(t *testing.T) {
	for _, forget := range []bool{false, true} {
		s, c := newRegion(t, smallParts, func(o *regiontest.Options) { o.ForgetUploads = forget })
		id := create(t, c, "k")
		parts := []types.CompletedPart{uploadPart(t, c, "k", id, 1, []byte("v1"))}
		first, err := complete(t, c, "k", id, parts)
		if err != nil {
			t.Fatal(err)
		}
		put(t, c, "k", "v2")
		again, err := complete(t, c, "k", id, parts)
		if forget {
			wantError(t, err, 404, "NoSuchUpload")
		} else if err != nil || *again.ETag != *first.ETag {
			t.Errorf("got %+v, %v; want the first answer", again, err)
		}
		if o, _ := s.Object(bucket, "k"); string(o.Data) != "v2" {
			t.Errorf("forget %v: got %q, want v2", forget, o.Data)
		}
	}
}

func TestUploadsAndPartsAreListedAndAborted(t *testing.T) {
	_, c := newRegion(t, smallParts)
	var ids []string
	for _, key := range []string{"b", "a/1", "a/2", "b"} {
		ids = append(ids, create(t, c, key))
	}
	for n := range int32(5) {
		uploadPart(t, c, "b", ids[0], n+1, []byte{byte(n)})
	}
	var parts []int32
	in := &s3.ListPartsInput{Bucket: new(bucket), Key: new("b"), UploadId: &ids[0], MaxParts: new(int32(2))}
	for more := true; more; {
		out, err := c.ListParts(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range out.Parts {
			parts = append(parts, *p.PartNumber)
		}
		more, in.PartNumberMarker = *out.IsTruncated, out.NextPartNumberMarker
	}
	if d := cmp.Diff([]int32{1, 2, 3, 4, 5}, parts); d != "" {
		t.Errorf("parts: -want +got\n%s", d)
	}
	list := func(in s3.ListMultipartUploadsInput) (got []string) {
		in.Bucket = new(bucket)
		for more := true; more; {
			out, err := c.ListMultipartUploads(t.Context(), &in)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range out.Uploads {
				got = append(got, *u.Key+" "+*u.UploadId)
			}
			for _, p := range out.CommonPrefixes {
				got = append(got, *p.Prefix)
			}
			more, in.KeyMarker, in.UploadIdMarker = *out.IsTruncated, out.NextKeyMarker, out.NextUploadIdMarker
		}
		return got
	}
	for _, size := range []int32{1, 3, 1000} {
		if d := cmp.Diff([]string{"a/1 " + ids[1], "a/2 " + ids[2], "b " + ids[0], "b " + ids[3]}, list(s3.ListMultipartUploadsInput{MaxUploads: &size})); d != "" {
			t.Errorf("uploads by %d: -want +got\n%s", size, d)
		}
		if d := cmp.Diff([]string{"a/", "b " + ids[0], "b " + ids[3]}, list(s3.ListMultipartUploadsInput{MaxUploads: &size, Delimiter: new("/")})); size == 1 && d != "" {
			t.Errorf("grouped uploads: -want +got\n%s", d)
		}
	}
	abort := &s3.AbortMultipartUploadInput{Bucket: new(bucket), Key: new("b"), UploadId: &ids[0]}
	if _, err := c.AbortMultipartUpload(t.Context(), abort); err != nil {
		t.Fatal(err)
	}
	_, err := c.AbortMultipartUpload(t.Context(), abort)
	wantError(t, err, 404, "NoSuchUpload")
	if got := list(s3.ListMultipartUploadsInput{Prefix: new("b")}); len(got) != 1 {
		t.Errorf("after abort: got %q", got)
	}
}

func TestMultipartChecksums(t *testing.T) {
	_, c := newRegion(t, smallParts)
	body := []byte("123456789")
	for _, tt := range []struct {
		algorithm types.ChecksumAlgorithm
		kind      types.ChecksumType
		want      string
	}{
		{types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject, "y/Q5Jg=="},
		{types.ChecksumAlgorithmCrc64nvme, "", "rosUhgp5mIg="},
		{types.ChecksumAlgorithmCrc32, "", "-2"},
		{types.ChecksumAlgorithmSha256, "", "-2"},
	} {
		out, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: new(bucket), Key: new("k"),
			ChecksumAlgorithm: tt.algorithm, ChecksumType: tt.kind})
		if err != nil {
			t.Fatal(err)
		}
		var parts []types.CompletedPart
		for i, b := range [][]byte{body[:4], body[4:]} {
			p, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: new(bucket), Key: new("k"), UploadId: out.UploadId,
				PartNumber: new(int32(i + 1)), Body: bytes.NewReader(b), ChecksumAlgorithm: tt.algorithm})
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, types.CompletedPart{PartNumber: new(int32(i + 1)), ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32,
				ChecksumSHA256: p.ChecksumSHA256, ChecksumCRC64NVME: p.ChecksumCRC64NVME})
		}
		if tt.want == "-2" {
			bare := []types.CompletedPart{{PartNumber: parts[0].PartNumber, ETag: parts[0].ETag}}
			_, err := complete(t, c, "k", *out.UploadId, bare)
			wantError(t, err, 400, "InvalidRequest")
		}
		if _, err := complete(t, c, "k", *out.UploadId, parts); err != nil {
			t.Errorf("%s %s: %v", tt.algorithm, tt.kind, err)
			continue
		}
		head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("k"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		got := aws.ToString(head.ChecksumCRC32) + aws.ToString(head.ChecksumCRC64NVME) + aws.ToString(head.ChecksumSHA256)
		if !strings.HasSuffix(got, tt.want) {
			t.Errorf("%s %s: got checksum %q of type %s, want %q", tt.algorithm, tt.kind, got, head.ChecksumType, tt.want)
		}
		if got, _ := get(t, c, "k"); got != string(body) {
			t.Errorf("%s: got %q", tt.algorithm, got)
		}
	}
}

func TestMultipartChecksumsMustAgree(t *testing.T) {
	s, c := newRegion(t, smallParts)
	id := create(t, c, "k", func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 })
	in := &s3.UploadPartInput{Bucket: new(bucket), Key: new("k"), UploadId: &id, PartNumber: new(int32(1)), Body: strings.NewReader("x")}
	_, err := c.UploadPart(t.Context(), in, plainChecksums)
	wantError(t, err, 400, "InvalidRequest") // a composite needs every part's
	in.Body, in.ChecksumAlgorithm = strings.NewReader("x"), types.ChecksumAlgorithmSha256
	_, err = c.UploadPart(t.Context(), in)
	wantError(t, err, 400, "InvalidRequest")
	part := uploadPart(t, c, "k", id, 1, []byte("x"))

	wrong, other := part, part
	wrong.ChecksumCRC32, other.ChecksumSHA256 = new("AAAAAA=="), new("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")
	_, err = complete(t, c, "k", id, []types.CompletedPart{wrong})
	wantError(t, err, 400, "InvalidPart")
	_, err = complete(t, c, "k", id, []types.CompletedPart{other})
	wantError(t, err, 400, "BadDigest")
	for code, edit := range map[string]func(*s3.CompleteMultipartUploadInput){
		"BadDigest":      func(in *s3.CompleteMultipartUploadInput) { in.ChecksumCRC32 = new("AAAAAA==-1") },
		"InvalidRequest": func(in *s3.CompleteMultipartUploadInput) { in.MpuObjectSize = new(int64(2)) },
	} {
		_, err = complete(t, c, "k", id, []types.CompletedPart{part}, edit)
		wantError(t, err, 400, code)
	}
	if got := s.Keys(bucket); len(got) > 0 {
		t.Errorf("applied: %q", got)
	}
	if _, err = complete(t, c, "k", id, []types.CompletedPart{part}); err != nil {
		t.Error(err)
	}
}

func TestMultipartObjectIsAsOldAsItsUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
		c := newClient(t, "http://region", regiontest.StartPipe(t, s))
		begun := time.Now().UTC()
		id := create(t, c, "k")
		time.Sleep(time.Hour)
		part := uploadPart(t, c, "k", id, 1, []byte("x"), plainChecksums)
		if _, err := complete(t, c, "k", id, []types.CompletedPart{part}); err != nil {
			t.Fatal(err)
		}
		if o, _ := s.Object(bucket, "k"); !o.LastModified.Equal(begun) {
			t.Errorf("got %v, want %v", o.LastModified, begun)
		}
	})
}
