package localregion_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// multipart uploads one key in parts.
type multipart struct {
	t   *testing.T
	c   *s3.Client
	key string
}

func (m multipart) create(change ...func(*s3.CreateMultipartUploadInput)) (id string) {
	m.t.Helper()
	in := &s3.CreateMultipartUploadInput{Bucket: new(bucket), Key: &m.key}
	for _, f := range change {
		f(in)
	}
	out, err := m.c.CreateMultipartUpload(m.t.Context(), in)
	if err != nil {
		m.t.Fatal(err)
	}
	return *out.UploadId
}

func (m multipart) part(id string, number int32, body string) types.CompletedPart {
	m.t.Helper()
	out, err := m.c.UploadPart(m.t.Context(), &s3.UploadPartInput{
		Bucket: new(bucket), Key: &m.key, UploadId: &id, PartNumber: &number, Body: strings.NewReader(body),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return types.CompletedPart{PartNumber: &number, ETag: out.ETag}
}

func (m multipart) complete(id string, parts ...types.CompletedPart) error {
	_, err := m.c.CompleteMultipartUpload(m.t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: new(bucket), Key: &m.key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

func TestEmbeddedRegionHonoursConditionsOfCompletion(t *testing.T) {
	t.Parallel()
	eachMetadata(t, func(t *testing.T, dir string) {
		r, _ := start(t, dir)
		c := newClient(r)
		upload := multipart{t, c, "key"}
		id := upload.create()
		parts := &types.CompletedMultipartUpload{Parts: []types.CompletedPart{upload.part(id, 1, "new")}}
		complete := func(ifMatch, ifNoneMatch *string) string {
			_, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
				Bucket: new(bucket), Key: new("key"), UploadId: &id, MultipartUpload: parts, IfMatch: ifMatch, IfNoneMatch: ifNoneMatch,
			})
			return code(err)
		}
		if got := complete(new(`"0"`), nil); got != "NoSuchKey" {
			t.Errorf("if match, absent: %q", got)
		}
		etag := put(t, c, "key", "old")
		if got := complete(nil, new("*")); got != "PreconditionFailed" {
			t.Errorf("if absent, present: %q", got)
		}
		if got := complete(new(`"0"`), nil); got != "PreconditionFailed" {
			t.Errorf("if match, other: %q", got)
		}
		if got := get(t, c, "key"); got != "old" {
			t.Errorf("body %q after refused completions, want the old one", got)
		}
		if got := complete(&etag, nil); got != "" {
			t.Errorf("if match, same: %q", got)
		}
		if got := get(t, c, "key"); got != "new" {
			t.Errorf("body %q, want the new one", got)
		}
	})
}

func TestCompletionOfAnUnknownUploadIsRefused(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	etag := put(t, c, "key", "body")
	part := types.CompletedPart{PartNumber: new(int32(1)), ETag: &etag}
	upload := multipart{t, c, "key"}
	if err := upload.complete("00000000-0000-0000-0000-000000000000", part); code(err) != "NoSuchUpload" {
		t.Errorf("completion of an unknown upload: %v, want NoSuchUpload", err)
	}
	id := upload.create()
	part = upload.part(id, 1, "new")
	if err := upload.complete(id, part); err != nil {
		t.Fatal(err)
	}
	put(t, c, "key", "newer")
	if err := upload.complete(id, part); code(err) != "NoSuchUpload" {
		t.Errorf("second completion: %v, want NoSuchUpload", err)
	}
	if got := get(t, c, "key"); got != "newer" {
		t.Errorf("body %q, want newer", got)
	}
}

func TestCompletionsAtOnceAgree(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	for i := range 20 {
		upload := multipart{t, c, fmt.Sprint("key", i)}
		id := upload.create()
		part := upload.part(id, 1, "body")
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for j := range errs {
			wg.Go(func() { errs[j] = upload.complete(id, part) })
		}
		wg.Wait()
		succeeded := 0
		for _, err := range errs {
			switch code(err) {
			case "":
				succeeded++
			case "NoSuchUpload":
			default:
				t.Errorf("got %v, want success or NoSuchUpload", err)
			}
		}
		if succeeded == 0 {
			t.Error("no completion succeeded")
		}
		head(t, c, upload.key)
	}
}

func TestKilledCompletionCanBeRepeated(t *testing.T) {
	t.Parallel()
	eachMetadata(t, func(t *testing.T, dir string) {
		r, stop := start(t, dir)
		c := newClient(r)
		upload := multipart{t, c, "key"}
		id := upload.create(func(in *s3.CreateMultipartUploadInput) { in.ContentType = new("text/x") })
		part := upload.part(id, 1, "body")
		stop()
		claim(t, filepath.Join(dir, "buckets", bucket), id)
		claim(t, filepath.Join(dir, "meta", bucket), id)

		r, _ = start(t, dir)
		upload.c = newClient(r)
		if err := upload.complete(id, part); err != nil {
			t.Fatal(err)
		}
		if got := *head(t, upload.c, "key").ContentType; got != "text/x" {
			t.Errorf("content type %q, want text/x", got)
		}
	})
}

// claim leaves an upload under root as a server does that is killed while it completes it.
func claim(t *testing.T, root, id string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, ".sgwtmp", "multipart", "*", id))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range found {
		if err := os.Rename(dir, dir+".0123456789abcdef-1.inprogress"); err != nil {
			t.Fatal(err)
		}
	}
	if len(found) == 0 && filepath.Base(filepath.Dir(root)) == "buckets" {
		t.Fatal("found no upload to claim")
	}
}

func TestKilledUploadLeavesTheOldObjectAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := start(t, dir)
	put(t, newClient(r), "key", "old")
	temporary := func() (names []string) {
		names, err := filepath.Glob(filepath.Join(dir, "buckets", bucket, ".sgwtmp", "*.*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body := &stalledBody{Reader: bytes.NewReader(make([]byte, 8<<20)), done: ctx.Done()}
	done := make(chan error, 1)
	go func() {
		_, err := newClient(r).PutObject(ctx, &s3.PutObjectInput{Bucket: new(bucket), Key: new("key"), Body: body},
			s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
		done <- err
	}()
	eventually(t, "the upload has begun", func() bool {
		select {
		case err := <-done:
			t.Fatalf("upload ended early: %v", err)
		default:
		}
		return len(temporary()) > 0
	})
	killServer(t, r)
	cancel()
	if err := <-done; err == nil {
		t.Error("killed upload succeeded")
	}
	if left := temporary(); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if got := get(t, newClient(r), "key"); got != "old" {
		t.Errorf("body %q, want the old one", got)
	}
}

// stalledBody stops giving after its first half, until done.
type stalledBody struct {
	*bytes.Reader
	done <-chan struct{}
}

func (b *stalledBody) Read(p []byte) (int, error) {
	left := b.Len() - int(b.Size()/2)
	if left <= 0 {
		<-b.done
		return 0, io.ErrUnexpectedEOF
	}
	return b.Reader.Read(p[:min(left, len(p))])
}

// WriteTo would give it all at once.
func (b *stalledBody) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

func TestReadsOfAnOverwrittenKeyAreOfOneVersion(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	bodies := []string{strings.Repeat("a", 10), strings.Repeat("b", 2000)}
	etags := []string{put(t, c, "key", bodies[0]), put(t, c, "key", bodies[1])}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				put(t, c, "key", bodies[i%2])
			}
		}
	})
	defer writer.Wait()
	defer close(stop)
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new("key")})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		h := head(t, c, "key")
		for i := range etags {
			if *out.ETag == etags[i] && string(body) != bodies[i] {
				t.Fatalf("get: ETag of version %d and %d bytes", i, len(body))
			}
			if *h.ETag == etags[i] && *h.ContentLength != int64(len(bodies[i])) {
				t.Fatalf("head: ETag of version %d and length %d", i, *h.ContentLength)
			}
		}
	}
}

// The backend's lock is the one that deletes take: both wait while the test holds it.
func TestPutAndDeleteWaitForOneLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := start(t, dir)
	c := newClient(r)
	put(t, c, "key", "body")
	locks, err := filepath.Glob(filepath.Join(dir, "buckets", ".vgwlocks", "*", "*"))
	if err != nil || len(locks) != 1 {
		t.Fatalf("locks %q, %v, want one", locks, err)
	}
	lock, err := os.OpenFile(locks[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	go func() {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: new("key"), Body: strings.NewReader("x")})
		results <- err
	}()
	go func() {
		_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: new("key")})
		results <- err
	}()
	select {
	case err := <-results:
		t.Fatalf("a write did not wait for the lock: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
