package sigv4_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gnew/tandem/internal/sigv4"
)

func sdkCredentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
}

// TestRequestsOfSDKSignerVerify is of what the SDK signs, by header and by query.
func TestRequestsOfSDKSignerVerify(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	v, signer := newVerifier(t, region), newSDKSigner()
	for i := range 1000 {
		r := randomRequest(t, rnd)
		r.Body, r.ContentLength = http.NoBody, 0
		if i%2 == 0 {
			r.Header.Set("X-Amz-Content-Sha256", sigv4.EmptySHA256)
			if err := signer.SignHTTP(t.Context(), sdkCredentials(), r, sigv4.EmptySHA256, "s3", region, exampleTime()); err != nil {
				t.Fatal(err)
			}
		} else {
			q := r.URL.Query()
			q.Set("X-Amz-Expires", "1")
			r.URL.RawQuery = q.Encode()
			presigned, signed, err := signer.PresignHTTP(t.Context(), sdkCredentials(), r, "UNSIGNED-PAYLOAD", "s3", region, exampleTime())
			if err != nil {
				t.Fatal(err)
			}
			if r.URL, err = url.Parse(presigned); err != nil {
				t.Fatal(err)
			}
			r.Header = signed
		}
		var sent bytes.Buffer
		if err := r.Write(&sent); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readAll(v, received(t, sent.String()), exampleTime()); err != nil {
			t.Fatalf("%q: %v", sent.String(), err)
		}
	}
}

func newSDKClient(t *testing.T, s *httptest.Server, checksums aws.RequestChecksumCalculation) *s3.Client {
	t.Helper()
	return s3.New(s3.Options{ // by hand, so that no environment and no file is read
		Region: region, BaseEndpoint: new(s.URL), UsePathStyle: true, HTTPClient: s.Client(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""), RequestChecksumCalculation: checksums,
	})
}

func TestRequestsOfSDKClientVerify(t *testing.T) {
	for _, isTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", isTLS), func(t *testing.T) {
			f, s := newFront(t, isTLS)
			c := newSDKClient(t, s, aws.RequestChecksumCalculationWhenSupported)
			seen := make(map[sigv4.Payload]bool)
			for i, key := range oddKeys() {
				for _, kind := range types.ChecksumAlgorithm("").Values() {
					if !slices.Contains([]types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"}, kind) {
						continue
					}
					sdkPut(t, c, f, key, contentOf(i), kind, seen)
				}
				sdkReads(t, c, s.Client(), key)
			}
			want := sigv4.SignedPayload
			if isTLS {
				want = sigv4.UnsignedTrailer
			}
			if len(seen) != 1 || !seen[want] {
				t.Errorf("got the payloads %v, want %v", seen, want)
			}
		})
	}
}

func sdkPut(t *testing.T, c *s3.Client, f *front, key string, content []byte, kind types.ChecksumAlgorithm, seen map[sigv4.Payload]bool) {
	t.Helper()
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: new("bucket"), Key: new(key), Body: bytes.NewReader(content), ChecksumAlgorithm: kind,
		Metadata: map[string]string{"a": "  two  spaces "}, ContentType: new("a/b; c=d"),
	})
	if err != nil {
		t.Errorf("put %q, %d bytes, %s: %v", key, len(content), kind, err)
	}
	for _, u := range f.take() {
		if len(content) > 0 {
			seen[u.payload] = true
		}
		if !bytes.Equal(u.content, content) {
			t.Errorf("%q: got %d bytes, want %d", key, len(u.content), len(content))
		}
		if u.payload == sigv4.UnsignedTrailer && u.trailer.Get("X-Amz-Checksum-"+string(kind)) == "" {
			t.Errorf("%q, %s: got the trailer %v", key, kind, u.trailer)
		}
	}
}

func sdkReads(t *testing.T, c *s3.Client, client *http.Client, key string) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: new("bucket"), Key: new(key), VersionId: new("a=b/c+d")}); err != nil {
		t.Errorf("head %q: %v", key, err)
	}
	if _, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: new("bucket"), Prefix: new(key), Delimiter: new("/")}); err != nil {
		t.Errorf("list %q: %v", key, err)
	}
	if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: new("bucket"), Key: new(key), CopySource: new("bucket/a%20b")}); err != nil {
		t.Errorf("copy %q: %v", key, err)
	}
	if _, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: new("bucket"), Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: new(key)}}}}); err != nil {
		t.Errorf("delete %q: %v", key, err)
	}
	presign := s3.NewPresignClient(c)
	get, err := presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: new("bucket"), Key: new(key), ResponseContentType: new("a/b; c d")})
	if err != nil {
		t.Fatal(err)
	}
	checkGet(t, client, get.URL)
	put, err := presign.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: new("bucket"), Key: new(key), Metadata: map[string]string{"a": "b"}, ContentType: new("c/d")},
		s3.WithPresignExpires(7*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, put.Method, put.URL, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = put.SignedHeader
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("PUT %s: got %s", put.URL, resp.Status)
	}
}

// TestUnsignedUploadsOfSDKVerify is of streams that the SDK cannot read twice, and of parts.
func TestUnsignedUploadsOfSDKVerify(t *testing.T) {
	f, s := newFront(t, true)
	for _, checksums := range []aws.RequestChecksumCalculation{aws.RequestChecksumCalculationWhenRequired, aws.RequestChecksumCalculationWhenSupported} {
		c := newSDKClient(t, s, checksums)
		content := contentOf(4)
		_, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: new("bucket"), Key: new("key"), UploadId: new("a+b/c="), PartNumber: new(int32(3)), Body: io.MultiReader(bytes.NewReader(content)),
			ContentLength: new(int64(len(content))),
		}, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
		if err != nil {
			t.Fatal(err)
		}
		if uploads := f.take(); len(uploads) != 1 || !bytes.Equal(uploads[0].content, content) || uploads[0].payload == sigv4.SignedPayload {
			t.Errorf("got %d uploads", len(uploads))
		}
	}
}
