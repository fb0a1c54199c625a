package localregion_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

// The facts about embedded regions that the gateway and the replicator build on.

const minPart = 5 << 20

func TestEmbeddedRegionHonoursListingOrder(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	keys := []string{"B/x", "a-b", "a.b", "a/b", "a/b!", "a/c-d", "a/c.d", "a/c/d", "a/c0", "a0", "z", "é", "\uffee", "😀"}
	for _, key := range slices.Backward(keys) {
		put(t, c, key, "x")
	}
	for _, tt := range []struct {
		name string
		in   s3.ListObjectsV2Input
		want []string
	}{
		{"all", s3.ListObjectsV2Input{}, keys},
		{"one a page", s3.ListObjectsV2Input{MaxKeys: new(int32(1))}, keys},
		{"prefix", s3.ListObjectsV2Input{Prefix: new("a/c")}, keys[5:9]},
		{"start after a key", s3.ListObjectsV2Input{StartAfter: new("a/b")}, keys[4:]},
		{"start between keys", s3.ListObjectsV2Input{StartAfter: new("a/bzz")}, keys[5:]},
		{"start after a folder", s3.ListObjectsV2Input{StartAfter: new("a/")}, keys[3:]},
		{"delimiter", s3.ListObjectsV2Input{Delimiter: new("/")}, []string{"a-b", "a.b", "a0", "z", "é", "\uffee", "😀", "B/", "a/"}},
		{"delimiter in a folder", s3.ListObjectsV2Input{Delimiter: new("/"), Prefix: new("a/")},
			[]string{"a/b", "a/b!", "a/c-d", "a/c.d", "a/c0", "a/c/"}},
	} {
		if diff := cmp.Diff(tt.want, list(t, c, &tt.in)); diff != "" {
			t.Errorf("%s: listing differs (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestEmbeddedRegionHonoursConditions(t *testing.T) {
	t.Parallel()
	eachMetadata(t, func(t *testing.T, dir string) {
		r, _ := start(t, dir)
		c := newClient(r)
		putIf := func(key string, ifMatch, ifNoneMatch *string) string {
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: new(bucket), Key: &key, Body: strings.NewReader("other"), IfMatch: ifMatch, IfNoneMatch: ifNoneMatch,
			})
			return code(err)
		}
		removeIf := func(key string, ifMatch *string) string {
			_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: &key, IfMatch: ifMatch})
			return code(err)
		}
		old, wrong, any := put(t, c, "key", "body"), new(`"00000000000000000000000000000000"`), new("*")
		for _, tt := range []struct{ name, got, want string }{
			{"put if absent, present", putIf("key", nil, any), "PreconditionFailed"},
			{"put if absent, absent", putIf("new", nil, any), ""},
			{"put if match, other", putIf("key", wrong, nil), "PreconditionFailed"},
			{"put if match, absent", putIf("absent", wrong, nil), "NoSuchKey"},
			{"delete if match, other", removeIf("key", wrong), "PreconditionFailed"},
			{"delete if match, absent", removeIf("absent", wrong), ""},
			{"put if match, same", putIf("key", &old, nil), ""},
			{"put if match, no longer", putIf("key", &old, nil), "PreconditionFailed"},
			{"delete if match, no longer", removeIf("key", &old), "PreconditionFailed"},
			{"delete if match, same", removeIf("key", head(t, c, "key").ETag), ""},
			{"delete, absent", removeIf("key", nil), ""},
		} {
			if tt.got != tt.want {
				t.Errorf("%s: code %q, want %q", tt.name, tt.got, tt.want)
			}
		}
	})
}

func TestEmbeddedRegionHonoursConditionsOfRacingWriters(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	for i := range 30 {
		created, changed := fmt.Sprint("created", i), fmt.Sprint("changed", i)
		old := put(t, c, changed, "old")
		var wg sync.WaitGroup
		var creators, changers atomic.Int32
		for writer := range 3 {
			wg.Go(func() {
				if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: &created,
					Body: strings.NewReader(fmt.Sprint(writer)), IfNoneMatch: new("*")}); err == nil {
					creators.Add(1)
				}
			})
			wg.Go(func() {
				if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: &changed,
					Body: strings.NewReader(fmt.Sprint(writer)), IfMatch: &old}); err == nil {
					changers.Add(1)
				}
			})
		}
		wg.Wait()
		if creators.Load() != 1 || changers.Load() != 1 {
			t.Fatalf("%d creators and %d changers succeeded, want one of each", creators.Load(), changers.Load())
		}
	}
}

func TestEmbeddedRegionHonoursMetadataOfTheLastWriteOnly(t *testing.T) {
	t.Parallel()
	eachMetadata(t, func(t *testing.T, dir string) {
		r, _ := start(t, dir)
		c := newClient(r)
		full := func(in *s3.PutObjectInput) {
			in.ContentType, in.CacheControl = new("text/x"), new("no-cache, max-age=1")
			in.ContentDisposition, in.ContentEncoding, in.ContentLanguage = new(`attachment; filename="é"`), new("gzip"), new("de")
			in.Metadata = map[string]string{"foo": "bar", "empty": ""}
			in.Tagging = new("a=b&c=d%20e")
		}
		expires := func(in *s3.PutObjectInput) { in.Expires = new(testTime()) }
		put(t, c, "key", "body", full, expires)
		checkFull(t, c, "key")

		upload := multipart{t, c, "parts"}
		id := upload.create(func(in *s3.CreateMultipartUploadInput) {
			var p s3.PutObjectInput
			full(&p)
			in.ContentType, in.CacheControl, in.ContentDisposition = p.ContentType, p.CacheControl, p.ContentDisposition
			in.ContentEncoding, in.ContentLanguage = p.ContentEncoding, p.ContentLanguage
			in.Metadata, in.Tagging, in.Expires = p.Metadata, p.Tagging, new(testTime())
		})
		if err := upload.complete(id, upload.part(id, 1, "body")); err != nil {
			t.Fatal(err)
		}
		checkFull(t, c, "parts")

		for _, key := range []string{"key", "parts"} {
			put(t, c, key, "body")
			got := head(t, c, key)
			if *got.ContentType != "application/octet-stream" || got.CacheControl != nil || got.ContentEncoding != nil ||
				got.ExpiresString != nil || len(got.Metadata) > 0 || len(tags(t, c, key)) > 0 {
				t.Errorf("%s: metadata of the write before shows through", key)
			}
		}
	})
}

func checkFull(t *testing.T, c *s3.Client, key string) {
	t.Helper()
	got := head(t, c, key)
	text := fmt.Sprintln(*got.ContentType, *got.CacheControl, *got.ContentDisposition, *got.ContentEncoding, *got.ContentLanguage, *got.ExpiresString)
	want := fmt.Sprintln("text/x", "no-cache, max-age=1", `attachment; filename="é"`, "gzip", "de", "Wed, 21 Oct 2026 07:28:00 GMT")
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("%s: headers differ (-want +got):\n%s", key, diff)
	}
	if diff := cmp.Diff(map[string]string{"foo": "bar", "empty": ""}, got.Metadata); diff != "" {
		t.Errorf("%s: user metadata differs (-want +got):\n%s", key, diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "b", "c": "d e"}, tags(t, c, key)); diff != "" {
		t.Errorf("%s: tags differ (-want +got):\n%s", key, diff)
	}
	if got.StorageClass != types.StorageClassStandard {
		t.Errorf("%s: storage class %q, want STANDARD", key, got.StorageClass)
	}
}

func TestEmbeddedRegionHonoursChecksums(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	for name, change := range map[string]func(*s3.PutObjectInput){
		"md5":       func(in *s3.PutObjectInput) { in.ContentMD5 = new("AAAAAAAAAAAAAAAAAAAAAA==") },
		"crc32":     func(in *s3.PutObjectInput) { in.ChecksumCRC32 = new("AAAAAA==") },
		"crc32c":    func(in *s3.PutObjectInput) { in.ChecksumCRC32C = new("AAAAAA==") },
		"crc64nvme": func(in *s3.PutObjectInput) { in.ChecksumCRC64NVME = new("AAAAAAAAAAA=") },
		"sha1":      func(in *s3.PutObjectInput) { in.ChecksumSHA1 = new("AAAAAAAAAAAAAAAAAAAAAAAAAAA=") },
		"sha256":    func(in *s3.PutObjectInput) { in.ChecksumSHA256 = new("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") },
	} {
		in := &s3.PutObjectInput{Bucket: new(bucket), Key: &name, Body: strings.NewReader("body")}
		change(in)
		if _, err := c.PutObject(t.Context(), in); code(err) != "BadDigest" {
			t.Errorf("put with a wrong %s: %v, want BadDigest", name, err)
		}
		if _, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: &name}); code(err) != "NotFound" {
			t.Errorf("head after a wrong %s: %v, want NotFound", name, err)
		}
	}
}

func TestEmbeddedRegionHonoursPartBoundaries(t *testing.T) {
	t.Parallel()
	eachMetadata(t, func(t *testing.T, dir string) {
		r, _ := start(t, dir)
		c := newClient(r)
		upload := multipart{t, c, "key"}
		id := upload.create()
		parts := []types.CompletedPart{
			upload.part(id, 1, strings.Repeat("a", minPart)), upload.part(id, 2, strings.Repeat("b", minPart+1)), upload.part(id, 3, "c"),
		}
		if err := upload.complete(id, parts...); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int64{minPart, minPart + 1, 1} {
			got, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("key"), PartNumber: new(int32(i + 1))})
			if err != nil {
				t.Fatal(err)
			}
			if *got.ContentLength != want || *got.PartsCount != 3 {
				t.Errorf("part %d: %d bytes of %d parts, want %d of 3", i+1, *got.ContentLength, *got.PartsCount, want)
			}
		}
		if got := *head(t, c, "key").ETag; !strings.HasSuffix(got, `-3"`) {
			t.Errorf("ETag %s, want one of three parts", got)
		}
		put(t, c, "key", "plain")
		got, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("key"), PartNumber: new(int32(1))})
		if err != nil || got.PartsCount != nil {
			t.Errorf("parts of an object without parts: %v, %v, want none", got.PartsCount, err)
		}
	})
}

func TestEmbeddedRegionHonoursAbsence(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	get := func(bucket, key string) string {
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		return code(err)
	}
	put(t, c, "file", "body")
	for _, tt := range []struct{ name, got, want string }{
		{"key", get(bucket, "absent"), "NoSuchKey"},
		{"below a file", get(bucket, "file/below"), "NoSuchKey"},
		{"bucket", get("no-such-bucket", "key"), "NoSuchBucket"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: code %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func TestEmbeddedRegionRefusesAKeyBelowAnother(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	try := func(key string) string {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: &key, Body: strings.NewReader("other")})
		return code(err)
	}
	put(t, c, "p/q", "body")
	put(t, c, "f", "body")
	if got := try("p"); got != "ExistingObjectIsDirectory" {
		t.Errorf("put p over p/q: %q", got)
	}
	if got := try("f/g"); got != "ObjectParentIsFile" {
		t.Errorf("put f/g below f: %q", got)
	}
	if get(t, c, "p/q") != "body" || get(t, c, "f") != "body" {
		t.Error("a refused put changed an object")
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: new("p/q")}); err != nil {
		t.Fatal(err)
	}
	put(t, c, "p", "now there is room")
}

func get(t *testing.T, c *s3.Client, key string) string {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: &key})
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return string(body)
}

// list returns the keys of every page in their order, then the common prefixes.
func list(t *testing.T, c *s3.Client, in *s3.ListObjectsV2Input) (keys []string) {
	t.Helper()
	in.Bucket = new(bucket)
	var prefixes []string
	for pages := s3.NewListObjectsV2Paginator(c, in); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			keys = append(keys, *object.Key)
		}
		for _, prefix := range page.CommonPrefixes {
			prefixes = append(prefixes, *prefix.Prefix)
		}
	}
	return append(keys, prefixes...)
}

func tags(t *testing.T, c *s3.Client, key string) map[string]string {
	t.Helper()
	out, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: new(bucket), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, tag := range out.TagSet {
		set[*tag.Key] = *tag.Value
	}
	return set
}
