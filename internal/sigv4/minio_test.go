package sigv4_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/gnew/tandem/internal/sigv4"
)

func TestRequestsOfMinIOClientVerify(t *testing.T) {
	for _, tt := range []struct {
		isTLS, trailers bool
		want            []sigv4.Payload
	}{
		{false, false, []sigv4.Payload{sigv4.SignedChunks}},
		{false, true, []sigv4.Payload{sigv4.SignedChunks, sigv4.SignedChunksTrailer}},
		{true, false, []sigv4.Payload{sigv4.UnsignedPayload}},
		{true, true, []sigv4.Payload{sigv4.UnsignedPayload, sigv4.UnsignedTrailer}},
	} {
		t.Run(fmt.Sprintf("tls %v trailers %v", tt.isTLS, tt.trailers), func(t *testing.T) {
			f, s := newFront(t, tt.isTLS)
			at, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			c, err := minio.New(at.Host, &minio.Options{
				Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: region, Secure: tt.isTLS,
				Transport: s.Client().Transport, TrailingHeaders: tt.trailers,
			})
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[sigv4.Payload]bool)
			for i, key := range oddKeys() {
				for _, u := range minioUploads(t, c, f, key, contentOf(i), tt.trailers) {
					seen[u.payload] = true
				}
				minioReads(t, c, s.Client(), key)
			}
			if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, tt.want) {
				t.Errorf("got the payloads %v, want %v", got, tt.want)
			}
		})
	}
}

// contentOf are bytes of a size that i chooses: none, few, a chunk of most clients, several.
func contentOf(i int) []byte {
	sizes := []int{0, 1, 1000, 64 << 10, 200_000}
	return bytes.Repeat([]byte{byte('a' + i)}, sizes[i%len(sizes)])
}

// minioUploads puts content with each kind of checksum, and returns what arrived.
func minioUploads(t *testing.T, c *minio.Client, f *front, key string, content []byte, trailers bool) []upload {
	t.Helper()
	kinds := []minio.ChecksumType{minio.ChecksumNone}
	if trailers {
		kinds = append(kinds, minio.ChecksumCRC32, minio.ChecksumCRC32C, minio.ChecksumCRC64NVME, minio.ChecksumSHA1, minio.ChecksumSHA256)
	}
	var uploads []upload
	for _, kind := range kinds {
		options := minio.PutObjectOptions{UserMetadata: map[string]string{"a": "  two  spaces "}, Checksum: kind}
		if _, err := c.PutObject(t.Context(), "bucket", key, bytes.NewReader(content), int64(len(content)), options); err != nil {
			t.Errorf("put %q, %d bytes, %v: %v", key, len(content), kind, err)
		}
		for _, u := range f.take() {
			uploads = append(uploads, u)
			if !bytes.Equal(u.content, content) {
				t.Errorf("%q: got %d bytes, want %d", key, len(u.content), len(content))
			}
			if kind != minio.ChecksumNone && len(content) > 0 && u.trailer.Get(kind.Key()) == "" {
				t.Errorf("%q, %v, payload %d: got the trailer %v", key, kind, u.payload, u.trailer)
			}
		}
	}
	return uploads
}

// minioReads asks for an object by header and by presigned URL.
func minioReads(t *testing.T, c *minio.Client, client *http.Client, key string) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.StatObject(ctx, "bucket", key, minio.StatObjectOptions{}); err != nil {
		t.Errorf("stat %q: %v", key, err)
	}
	presigned, err := c.PresignedGetObject(ctx, "bucket", key, time.Hour, url.Values{"response-content-type": {"a/b; c=d e"}})
	if err != nil {
		t.Fatal(err)
	}
	checkGet(t, client, presigned.String())
	for o := range c.ListObjects(ctx, "bucket", minio.ListObjectsOptions{Prefix: key, StartAfter: key}) {
		t.Errorf("list: %v", o.Err)
	}
}
