package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const (
	s3Key    = "AKIATESTOFTANDEM"
	s3Secret = "the-secret-of-the-tests"
)

// withS3 are options with an access key that s3Client has.
func withS3(o options) options {
	if o.env == nil {
		o.env = make(map[string]string)
	}
	o.env["GATEWAY_ACCESS_KEY"], o.env["GATEWAY_SECRET_KEY"] = s3Key, s3Secret
	return o
}

// s3Client is AWS's own client, of the gateway.
func (g *rig) s3Client() *s3.Client {
	return s3.New(s3.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(g.S3), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s3Key, s3Secret, ""), HTTPClient: g.client,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	})
}

func wantCode(t *testing.T, err error, status int, code string) {
	t.Helper()
	var answered interface{ HTTPStatusCode() int }
	var api smithy.APIError
	if !errors.As(err, &answered) || !errors.As(err, &api) || answered.HTTPStatusCode() != status || api.ErrorCode() != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}

// s3Rig is a gateway with a client, whose errors end the test.
type s3Rig struct {
	*rig
	*s3.Client
	ctx context.Context
}

func newS3(t *testing.T, o options) *s3Rig {
	t.Helper()
	g := newPair(t, withS3(o))
	return &s3Rig{g, g.s3Client(), t.Context()}
}

func (g *s3Rig) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *s3Rig) read(key string) (string, *s3.GetObjectOutput) {
	g.t.Helper()
	out, err := g.GetObject(g.ctx, &s3.GetObjectInput{Bucket: aws.String("tandem"), Key: &key})
	g.must(err)
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	g.must(err)
	return string(data), out
}

func (g *s3Rig) write(key, data string) {
	g.t.Helper()
	_, err := g.PutObject(g.ctx, &s3.PutObjectInput{Bucket: aws.String("tandem"), Key: &key, Body: strings.NewReader(data)})
	g.must(err)
}

func TestS3ObjectIsStoredReplicatedAndReadAsItWasSent(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 3<<20 + 7} {
		key := fmt.Sprintf("a b/é+%d", size)
		data := make([]byte, size)
		_, _ = rand.Read(data)
		put, err := g.PutObject(g.ctx, &s3.PutObjectInput{
			Bucket: aws.String("tandem"), Key: &key, Body: bytes.NewReader(data), ContentType: aws.String("text/plain"), CacheControl: aws.String("max-age=7"),
			Metadata: map[string]string{"side": "A"}, Tagging: aws.String("x=1"),
		})
		g.must(err)
		got, out := g.read(key)
		if got != string(data) || *out.ETag != *put.ETag || *out.ContentType != "text/plain" || *out.CacheControl != "max-age=7" || out.Metadata["side"] != "A" || *out.TagCount != 1 {
			t.Errorf("%s: got %d bytes, %+v", key, len(got), out)
		}
		g.awaitSettled(key)
		held, ok := g.B.Object(bucketB, key)
		if !ok || string(held.Data) != string(data) || held.Header["Content-Type"] != "text/plain" {
			t.Errorf("%s: the replica has %+v", key, held)
		}
		if put.ChecksumCRC32 == nil {
			t.Errorf("%s: got no checksum back, which the client sent", key)
		}
	}
}

func TestS3ReadsHonourRangesAndConditions(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "0123456789")
	bucket, key := aws.String("tandem"), aws.String("k")
	out, err := g.GetObject(g.ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=2-4")})
	g.must(err)
	data, _ := io.ReadAll(out.Body)
	_ = out.Body.Close()
	if string(data) != "234" || *out.ContentRange != "bytes 2-4/10" {
		t.Errorf("got %q, %s", data, *out.ContentRange)
	}
	_, err = g.GetObject(g.ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=90-")})
	wantCode(t, err, 416, "InvalidRange")
	_, err = g.GetObject(g.ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, IfMatch: aws.String(`"other"`)})
	wantCode(t, err, 412, "PreconditionFailed")
	_, err = g.GetObject(g.ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("none")})
	wantCode(t, err, 404, "NoSuchKey")
	_, err = g.HeadObject(g.ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("none")})
	wantCode(t, err, 404, "NotFound")
	_, err = g.GetObject(g.ctx, &s3.GetObjectInput{Bucket: aws.String("no-such"), Key: key})
	wantCode(t, err, 404, "NoSuchBucket")
	head, err := g.HeadObject(g.ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
	g.must(err)
	if *head.ContentLength != 10 {
		t.Errorf("got %d bytes", *head.ContentLength)
	}
	g.awaitSettled("k")
	if head, err = g.HeadObject(g.ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key}); err != nil || head.ReplicationStatus != "COMPLETED" {
		t.Errorf("got %q (%v), want the replication completed", head.ReplicationStatus, err)
	}
	refuse(g.B, "k")
	g.write("k", "newer")
	if head, err = g.HeadObject(g.ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key}); err != nil || head.ReplicationStatus != types.ReplicationStatusPending {
		t.Errorf("got %q (%v), want the replication pending", head.ReplicationStatus, err)
	}
}

func TestS3ConditionalWritesAreTheActives(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	put := func(in s3.PutObjectInput) error {
		in.Bucket, in.Key, in.Body = aws.String("tandem"), aws.String("k"), strings.NewReader("x")
		_, err := g.PutObject(g.ctx, &in)
		return err
	}
	g.must(put(s3.PutObjectInput{IfNoneMatch: aws.String("*")}))
	wantCode(t, put(s3.PutObjectInput{IfNoneMatch: aws.String("*")}), 412, "PreconditionFailed")
	wantCode(t, put(s3.PutObjectInput{IfMatch: aws.String(`"0123456789abcdef0123456789abcdef"`)}), 412, "PreconditionFailed")
}

func TestS3CopiesAndDeletes(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	bucket := aws.String("tandem")
	g.write("from é", "copied")
	copied, err := g.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("to"), CopySource: aws.String("tandem/from%20%C3%A9")})
	g.must(err)
	if got, out := g.read("to"); got != "copied" || *out.ETag != *copied.CopyObjectResult.ETag {
		t.Errorf("got %q", got)
	}
	g.awaitSettled("to")
	if bytesOf(g.B, bucketB, "to") != "copied" {
		t.Error("the copy is not in the replica")
	}
	_, err = g.CopyObject(g.ctx, &s3.CopyObjectInput{
		Bucket: bucket, Key: aws.String("to"), CopySource: aws.String("tandem/to"), MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"new": "yes"},
	})
	g.must(err)
	g.awaitSettled("to")
	if held, _ := g.B.Object(bucketB, "to"); held.Metadata["new"] != "yes" {
		t.Errorf("the replica has %v, want the new metadata", held.Metadata)
	}
	_, err = g.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("to"), CopySource: aws.String("tandem/none")})
	wantCode(t, err, 404, "NoSuchKey")
	_, err = g.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("to"), CopySource: aws.String("tandem/.tandem/region")})
	wantCode(t, err, 403, "AccessDenied")
	_, err = g.DeleteObject(g.ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("to")})
	g.must(err)
	g.write("1", "x")
	out, err := g.DeleteObjects(g.ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("1")}, {Key: aws.String("never there")}, {Key: aws.String(".tandem/region")},
	}}})
	g.must(err)
	if len(out.Deleted) != 2 || len(out.Errors) != 1 || *out.Errors[0].Code != "AccessDenied" {
		t.Errorf("got %+v", out)
	}
	g.awaitSettled("1")
	if held := slices.DeleteFunc(g.B.Keys(bucketB), func(key string) bool { return strings.HasPrefix(key, ".tandem/") }); !slices.Equal(held, []string{"from é"}) {
		t.Errorf("the replica has %q", held)
	}
}

func TestS3UploadInPartsKeepsItsBoundariesInEveryRegion(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{env: map[string]string{"REGION_TIMEOUT": "1m"}})
	bucket, key := aws.String("tandem"), aws.String("in parts")
	created, err := g.CreateMultipartUpload(g.ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ContentType: aws.String("text/x")})
	g.must(err)
	first := strings.Repeat("1", 5<<20)
	one, err := g.UploadPart(g.ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader(first)})
	g.must(err)
	two, err := g.UploadPart(g.ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(2), Body: strings.NewReader(strings.Repeat("s", 5<<20))})
	g.must(err)
	three, err := g.UploadPart(g.ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(3), Body: strings.NewReader("end")})
	g.must(err)
	parts, err := g.ListParts(g.ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: created.UploadId})
	g.must(err)
	uploads, err := g.ListMultipartUploads(g.ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})
	g.must(err)
	if len(parts.Parts) != 3 || *parts.Bucket != "tandem" || len(uploads.Uploads) != 1 || *uploads.Bucket != "tandem" {
		t.Errorf("got parts %+v, uploads %+v", parts, uploads)
	}
	done, err := g.CompleteMultipartUpload(g.ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: created.UploadId, MultipartUpload: &types.CompletedMultipartUpload{
		Parts: []types.CompletedPart{
			{PartNumber: aws.Int32(1), ETag: one.ETag, ChecksumCRC32: one.ChecksumCRC32}, {PartNumber: aws.Int32(2), ETag: two.ETag, ChecksumCRC32: two.ChecksumCRC32},
			{PartNumber: aws.Int32(3), ETag: three.ETag, ChecksumCRC32: three.ChecksumCRC32},
		},
	}})
	g.must(err)
	if *done.Bucket != "tandem" {
		t.Errorf("got bucket %q", *done.Bucket)
	}
	got, out := g.read("in parts")
	if got != first+strings.Repeat("s", 5<<20)+"end" || *out.ETag != *done.ETag || *out.ContentType != "text/x" {
		t.Errorf("got %d bytes of %s", len(got), *out.ETag)
	}
	g.awaitSettled("in parts")
	if held, _ := g.B.Object(bucketB, "in parts"); held.ETag != *done.ETag {
		t.Errorf("the replica has %s, want %s", held.ETag, *done.ETag)
	}
	_, err = g.CompleteMultipartUpload(g.ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: aws.String("none"), MultipartUpload: &types.CompletedMultipartUpload{
		Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: three.ETag}},
	}})
	wantCode(t, err, 404, "NoSuchUpload")
	_, err = g.AbortMultipartUpload(g.ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: aws.String("none")})
	wantCode(t, err, 404, "NoSuchUpload")
}

func TestS3ListingsArePagedAndPutRight(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	var want []string
	for i := range 7 {
		key := fmt.Sprintf("dir %d/é", i)
		want = append(want, key)
		g.write(key, "x")
	}
	g.awaitConverged()
	bucket := aws.String("tandem")
	var keys, v1 []string
	for pages := s3.NewListObjectsV2Paginator(g.Client, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2)}); pages.HasMorePages(); {
		page, err := pages.NextPage(g.ctx)
		g.must(err)
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	marker := ""
	for {
		page, err := g.ListObjects(g.ctx, &s3.ListObjectsInput{Bucket: bucket, MaxKeys: aws.Int32(2), Marker: &marker})
		g.must(err)
		for _, o := range page.Contents {
			v1 = append(v1, *o.Key)
			marker = *o.Key
		}
		if !*page.IsTruncated {
			break
		}
	}
	if !slices.Equal(keys, want) || !slices.Equal(v1, want) {
		t.Errorf("got %q and %q, want %q", keys, v1, want)
	}
	refuse(g.B, "dir 3/é")
	g.write("dir 3/é", "longer")
	g.down("primary")
	g.mustPromote("secondary")
	out, err := g.ListObjectsV2(g.ctx, &s3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/"), EncodingType: types.EncodingTypeUrl})
	g.must(err)
	if len(out.CommonPrefixes) != 7 || *out.CommonPrefixes[1].Prefix != "dir+1/" && *out.CommonPrefixes[1].Prefix != "dir 1/" {
		t.Errorf("got %+v", out.CommonPrefixes)
	}
	out, err = g.ListObjectsV2(g.ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("dir 3/")})
	g.must(err)
	if len(out.Contents) != 1 || *out.Contents[0].Size != 6 {
		t.Errorf("got %+v, want what was acknowledged and is at risk", out.Contents)
	}
}

// What the rules of reading say holds for S3's clients.
func TestS3ReadIsNeverStaleInSilence(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "old")
	g.awaitSettled("k")
	refuse(g.B, "k")
	g.write("k", "at risk")
	g.down("primary")
	g.mustPromote("secondary")
	bucket, key := aws.String("tandem"), aws.String("k")
	_, err := g.GetObject(g.ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
	wantCode(t, err, 503, "NotYetReplicated")
	_, err = g.GetObjectTagging(g.ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})
	wantCode(t, err, 503, "NotYetReplicated")
	_, err = g.PutObjectTagging(g.ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: &types.Tagging{TagSet: []types.Tag{}}})
	wantCode(t, err, 503, "NotYetReplicated")
	_, err = g.CopyObject(g.ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("tandem/k")})
	wantCode(t, err, 503, "NotYetReplicated")
	g.B.SetFaults(nil)
	g.up("primary")
	g.awaitClosed()
	if got, _ := g.read("k"); got != "at risk" {
		t.Errorf("got %q", got)
	}
}

func TestS3TagsAreReplicated(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "x")
	g.awaitSettled("k")
	bucket, key := aws.String("tandem"), aws.String("k")
	_, err := g.PutObjectTagging(g.ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("1 2")}}}})
	g.must(err)
	g.awaitSettled("k")
	tags, err := g.GetObjectTagging(g.ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})
	g.must(err)
	if len(tags.TagSet) != 1 || *tags.TagSet[0].Value != "1 2" {
		t.Errorf("got %+v", tags.TagSet)
	}
	g.eventually(func() error {
		held, _ := g.B.Object(bucketB, "k")
		return happened(len(held.Tags) == 1, "the replica has the tags")
	})
	_, err = g.DeleteObjectTagging(g.ctx, &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: key})
	g.must(err)
	g.eventually(func() error {
		held, _ := g.B.Object(bucketB, "k")
		return happened(len(held.Tags) == 0, "the replica has lost the tags")
	})
}

func TestS3PresignedURLsAreForClientsOfTheGateway(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	presigner := s3.NewPresignClient(g.Client)
	put, err := presigner.PresignPutObject(g.ctx, &s3.PutObjectInput{Bucket: aws.String("tandem"), Key: aws.String("k")}, s3.WithPresignExpires(time.Minute))
	g.must(err)
	send := func(method, url, body string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(g.ctx, method, url, strings.NewReader(body))
		g.must(err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := g.client.Do(req)
		g.must(err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		g.must(err)
		return resp.StatusCode, string(data)
	}
	if status, _ := send("PUT", put.URL, "by URL"); status != 200 {
		t.Errorf("got %d", status)
	}
	if status, body := send("PUT", put.URL, "", "X-Amz-Copy-Source", "/tandem/other"); status != 403 {
		t.Errorf("got %d %q, want a header that was not signed refused", status, body)
	}
	get, err := presigner.PresignGetObject(g.ctx, &s3.GetObjectInput{Bucket: aws.String("tandem"), Key: aws.String("k"), ResponseContentType: aws.String("text/y")})
	g.must(err)
	if status, body := send("GET", get.URL, ""); status != 200 || body != "by URL" {
		t.Errorf("got %d %q", status, body)
	}
	if status, body := send("GET", strings.Replace(get.URL, "/tandem/k", "/tandem/other", 1), ""); status != 403 || !strings.Contains(body, "SignatureDoesNotMatch") {
		t.Errorf("got %d %q, want it refused", status, body)
	}
	if status, body := send("GET", g.S3+"/tandem/k", ""); status != 403 || !strings.Contains(body, "AccessDenied") {
		t.Errorf("got %d %q, want it refused", status, body)
	}
}

// A gateway without an access key makes one, which only its owner can read, and keeps it.
func TestS3AccessKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	path := filepath.Join(g.env["DATA_DIR"], "s3-credentials")
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want 0600", info, err)
	}
	_ = g.stop()
	g.start()
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(first, again) {
		t.Errorf("got another key (%v)", err)
	}
}

// What MAX_OBJECT_BYTES says holds for a part as well as for the whole.
func TestS3TakesNothingLargerThanIsAllowed(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{env: map[string]string{"MAX_OBJECT_BYTES": "10"}})
	bucket, key := aws.String("tandem"), aws.String("k")
	g.write("k", "0123456789")
	_, err := g.PutObject(g.ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("0123456789a")})
	wantCode(t, err, 400, "EntityTooLarge")
	created, err := g.CreateMultipartUpload(g.ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	g.must(err)
	_, err = g.UploadPart(g.ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("0123456789a")})
	wantCode(t, err, 400, "EntityTooLarge")
	if got, _ := g.read("k"); got != "0123456789" {
		t.Errorf("got %q", got)
	}
}
