package e2e_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// minio-go signs each chunk of a body, and the checksum behind it.
func TestMinioGoWorksUnchanged(t *testing.T) {
	needs(t, regions.uploads && regions.tags, "uploads in parts, and tags")
	t.Parallel()
	g := startForS3(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client, err := miniogo.New(strings.TrimPrefix(g.s3, "http://"), &miniogo.Options{
		Creds: credentials.NewStaticV4(s3AccessKey, s3SecretKey, ""), TrailingHeaders: true, Transport: &http.Transport{DisableKeepAlives: true},
	})
	must(err)
	read := func(key string) []byte {
		t.Helper()
		o, err := client.GetObject(ctx, "tandem", key, miniogo.GetObjectOptions{})
		must(err)
		defer o.Close()
		data, err := io.ReadAll(o)
		must(err)
		return data
	}
	for key, size := range map[string]int{"m/empty": 0, "m/small é": 100, "m/held": 300 << 10, "m/in parts": 40 << 20} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		for _, length := range []int64{int64(size), -1} {
			if length < 0 && size < 1<<20 {
				continue
			}
			_, err := client.PutObject(ctx, "tandem", key, bytes.NewReader(data), length, miniogo.PutObjectOptions{
				ContentType: "text/plain", UserMetadata: map[string]string{"side": "a"}, UserTags: map[string]string{"x": "1"},
				PartSize: 16 << 20, Checksum: miniogo.ChecksumCRC32C,
			})
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			info, err := client.StatObject(ctx, "tandem", key, miniogo.StatObjectOptions{})
			must(err)
			if !bytes.Equal(read(key), data) || info.ContentType != "text/plain" || info.UserMetadata["Side"] != "a" {
				t.Errorf("%s: got %+v", key, info)
			}
		}
	}
	_, err = client.CopyObject(ctx, miniogo.CopyDestOptions{Bucket: "tandem", Object: "m/copy"}, miniogo.CopySrcOptions{Bucket: "tandem", Object: "m/small é"})
	must(err)
	_, err = client.ComposeObject(ctx, miniogo.CopyDestOptions{Bucket: "tandem", Object: "m/composed"},
		miniogo.CopySrcOptions{Bucket: "tandem", Object: "m/in parts"}, miniogo.CopySrcOptions{Bucket: "tandem", Object: "m/held"})
	must(err)
	if got := read("m/composed"); !bytes.Equal(got, append(read("m/in parts"), read("m/held")...)) {
		t.Errorf("composed %d bytes", len(got))
	}
	signed, err := client.PresignedGetObject(ctx, "tandem", "m/copy", time.Minute, nil)
	must(err)
	resp, err := g.client.Get(signed.String())
	must(err)
	defer resp.Body.Close()
	if data, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(data, read("m/small é")) {
		t.Errorf("by URL: got %d, %v", resp.StatusCode, err)
	}
	g.checkReplicated(t)
	found := make(chan miniogo.ObjectInfo)
	go func() {
		defer close(found)
		for o := range client.ListObjects(ctx, "tandem", miniogo.ListObjectsOptions{Prefix: "m/", Recursive: true, MaxKeys: 2}) {
			found <- o
		}
	}()
	for failed := range client.RemoveObjects(ctx, "tandem", found, miniogo.RemoveObjectsOptions{}) {
		t.Errorf("remove %s: %v", failed.ObjectName, failed.Err)
	}
	for o := range client.ListObjects(ctx, "tandem", miniogo.ListObjectsOptions{Prefix: "m/", Recursive: true}) {
		t.Errorf("left: %+v", o)
	}
}
