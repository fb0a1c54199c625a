package regiontest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// always is the rule that does f to one operation and nothing to the others.
func always(operation string, f regiontest.Fault) func(regiontest.Request) regiontest.Fault {
	return func(q regiontest.Request) regiontest.Fault {
		if q.Operation != operation {
			return regiontest.Fault{}
		}
		return f
	}
}

// writes are all the ways to change an object, on a region that holds "k", and
// an upload of "k" with the one part given.
func writes(ctx context.Context, c *s3.Client, id string, part types.CompletedPart) map[string]func() error {
	return map[string]func() error{
		"PutObject": func() error {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: new(bucket), Key: new("k"), Body: strings.NewReader("new")})
			return err
		},
		"DeleteObject": func() error {
			_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: new(bucket), Key: new("k")})
			return err
		},
		"DeleteObjects": func() error {
			_, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: new(bucket), Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: new("k")}}}})
			return err
		},
		"CopyObject": func() error {
			_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: new(bucket), Key: new("k2"), CopySource: new(bucket + "/k")})
			return err
		},
		"CompleteMultipartUpload": func() error {
			_, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: new(bucket), Key: new("k"), UploadId: &id,
				MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{part}}})
			return err
		},
		"PutObjectTagging": func() error {
			_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: new(bucket), Key: new("k"),
				Tagging: &types.Tagging{TagSet: []types.Tag{{Key: new("a"), Value: new("2")}}}})
			return err
		},
		"DeleteObjectTagging": func() error {
			_, err := c.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: new(bucket), Key: new("k")})
			return err
		},
	}
}

// TestFaultsStrikeEveryWrite runs every write through every fault that ends it
// at once, refused and applied.
func TestFaultsStrikeEveryWrite(t *testing.T) {
	for name, f := range map[string]regiontest.Fault{
		"error":         {Status: 500},
		"slow down":     {Code: "SlowDown"},
		"early error":   {Status: 503, Early: true},
		"cut":           {CutBefore: true},
		"early cut":     {CutBefore: true, Early: true},
		"body cut":      {CutBodyAfter: math.MaxInt64},
		"error, late":   {Status: 500, Hang: closed()},
		"cut, late":     {CutBefore: true, Hang: closed()},
		"error in 200":  {Status: 200, Code: "InternalError"},
		"body not read": {CutBodyAfter: -1},
	} {
		for _, apply := range []bool{false, true} {
			f.Apply = apply
			t.Run(fmt.Sprintf("%s/apply=%v", name, apply), func(t *testing.T) { strikeEveryWrite(t, name, f) })
		}
	}
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func strikeEveryWrite(t *testing.T, name string, f regiontest.Fault) {
	s, c := newRegion(t)
	id := create(t, c, "k")
	part := uploadPart(t, c, "k", id, 1, []byte("part"))
	for operation, write := range writes(t.Context(), c, id, part) {
		hasBody := operation != "DeleteObject" && operation != "CopyObject" && operation != "DeleteObjectTagging"
		switch {
		case f.CutBodyAfter != 0 && !hasBody:
			continue // there is no request body to cut
		case f.Status == 200 && operation != "CopyObject" && operation != "CompleteMultipartUpload":
			continue // no other operation hides its errors so
		case operation == "CompleteMultipartUpload" && len(s.Uploads(bucket)) == 0:
			t.Fatal("the upload is gone")
		}
		s.Put(bucket, "k", []byte("old"), func(o *regiontest.Object) { o.Tags = map[string]string{"a": "1"} })
		s.Remove(bucket, "k2")
		before := s.Snapshot()
		s.SetFaults(always(operation, f))
		err := write()
		s.SetFaults(nil)
		if f.CutBefore || f.CutBodyAfter != 0 {
			wantNoAnswer(t, err)
		} else if err == nil {
			t.Errorf("%s: got success, want the fault's error", operation)
		} else if f.Status >= 500 {
			wantError(t, err, f.Status, "")
		}
		want := f.Apply && f.CutBodyAfter >= 0
		if changed := !cmp.Equal(before, s.Snapshot()); changed != want {
			t.Errorf("%s: changed %v, want %v", operation, changed, want)
		}
	}
}

func TestRulesSeeWhatIsAsked(t *testing.T) {
	s, c := newRegion(t, smallParts)
	s.SetFaults(func(q regiontest.Request) regiontest.Fault {
		switch {
		case q.Operation == "PutObject" && q.Key == "a//b" && q.Attempt < 3:
			return regiontest.Fault{Code: "SlowDown"}
		case q.Operation == "UploadPart" && q.PartNumber == 2 && q.Attempt == 1:
			return regiontest.Fault{Status: 500}
		case q.Header.Get("If-None-Match") == "*":
			return regiontest.Fault{Status: 409, Code: "ConditionalRequestConflict"}
		}
		return regiontest.Fault{}
	})
	for range 2 {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: new("a//b")})
		wantError(t, err, 503, "SlowDown")
	}
	put(t, c, "a//b", "third time")
	id := create(t, c, "k")
	uploadPart(t, c, "k", id, 1, []byte("1"))
	in := &s3.UploadPartInput{Bucket: new(bucket), Key: new("k"), UploadId: &id, PartNumber: new(int32(2)), Body: strings.NewReader("2")}
	_, err := c.UploadPart(t.Context(), in)
	wantError(t, err, 500, "InternalError")
	uploadPart(t, c, "k", id, 2, []byte("2"))
	wantError(t, putIf(t, c, "new", "", "*"), 409, "ConditionalRequestConflict")
}

func TestDownloadIsCutInItsBody(t *testing.T) {
	s, c := newRegion(t)
	s.Put(bucket, "k", []byte(strings.Repeat("x", 100_000)))
	for _, after := range []int64{-1, 1, 70_000} {
		s.SetFaults(always("GetObject", regiontest.Fault{CutBodyAfter: after}))
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new("k")})
		if err != nil {
			t.Fatalf("after %d: %v", after, err)
		}
		n, err := io.Copy(io.Discard, out.Body)
		out.Body.Close()
		if n != max(after, 0) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d: got %d bytes, then %v", after, n, err)
		}
	}
}

func TestUploadIsCutInItsBody(t *testing.T) {
	s, c := newRegion(t)
	const size = 8 << 20
	s.SetFaults(always("PutObject", regiontest.Fault{CutBodyAfter: size / 2, Apply: true}))
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: new("k"), Body: strings.NewReader(strings.Repeat("x", size))})
	wantNoAnswer(t, err)
	if got := s.Keys(bucket); len(got) > 0 {
		t.Errorf("half a body was applied: %q", got)
	}
	s.SetFaults(always("PutObject", regiontest.Fault{CutBodyAfter: size, Apply: true}))
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: new("k"), Body: strings.NewReader(strings.Repeat("x", size))})
	wantNoAnswer(t, err)
	if o, _ := s.Object(bucket, "k"); o.Size != size {
		t.Errorf("cut behind the body: applied %d bytes, want %d", o.Size, size)
	}
}

func TestEarlyFaultDoesNotWaitForTheBody(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	addr := strings.TrimPrefix(regiontest.Start(t, s), "http://")
	for _, f := range []regiontest.Fault{{Status: 503, Early: true}, {CutBefore: true, Early: true}} {
		s.SetFaults(always("PutObject", f))
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PUT /%s/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n", bucket)
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if f.CutBefore && err == nil {
			t.Errorf("got %q, want a cut", line)
		} else if !f.CutBefore && !strings.HasPrefix(line, "HTTP/1.1 503") {
			t.Errorf("got %q, %v, want 503", line, err)
		}
	}
}

// The history that a worker's late PUT makes: deleted, and back.
func TestLateWriteLandsAfterWhatCameMeanwhile(t *testing.T) {
	s, c := newRegion(t)
	etag := *put(t, c, "k", "v1").ETag
	release := make(chan struct{})
	late := func(edit func(*s3.PutObjectInput)) {
		in := &s3.PutObjectInput{Bucket: new(bucket), Key: new("k"), Body: strings.NewReader("late")}
		edit(in)
		s.SetFaults(always("PutObject", regiontest.Fault{ApplyLater: release}))
		_, err := c.PutObject(t.Context(), in)
		wantNoAnswer(t, err)
		s.SetFaults(nil)
	}
	late(func(in *s3.PutObjectInput) { in.IfMatch = &etag })
	if o, _ := s.Object(bucket, "k"); o.ETag != etag {
		t.Fatal("applied at once")
	}
	put(t, c, "k", "v2")
	close(release)
	s.WaitLate()
	if o, _ := s.Object(bucket, "k"); string(o.Data) != "v2" {
		t.Errorf("a late write whose condition no longer held made %q", o.Data)
	}

	release = make(chan struct{})
	late(func(*s3.PutObjectInput) {})
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(bucket), Key: new("k")}); err != nil {
		t.Fatal(err)
	}
	s.SetDown(true)
	close(release)
	s.WaitLate()
	if o, _ := s.Object(bucket, "k"); string(o.Data) != "late" {
		t.Errorf("got %q, want the late write", o.Data)
	}
}

func TestCloseAbandonsLateWrites(t *testing.T) {
	s, c := newRegion(t)
	s.SetFaults(func(regiontest.Request) regiontest.Fault {
		return regiontest.Fault{ApplyLater: make(chan struct{})}
	})
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: new("k")})
	wantNoAnswer(t, err)
	s.Close()
	s.WaitLate()
	if got := s.Keys(bucket); len(got) > 0 {
		t.Errorf("applied: %q", got)
	}
}

func TestHangHoldsTheAnswerUntilReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
		c := newClient(t, "http://region", regiontest.StartPipe(t, s))
		for _, f := range []regiontest.Fault{{}, {Apply: true}, {Early: true}} {
			release := make(chan struct{})
			f.Hang = release
			s.SetFaults(always("PutObject", f))
			time.AfterFunc(40*time.Second, func() { close(release) })
			begun := time.Now()
			time.AfterFunc(20*time.Second, func() {
				if _, ok := s.Object(bucket, "k"); ok != f.Apply {
					t.Errorf("while hanging: applied %v, want %v", ok, f.Apply)
				}
			})
			put(t, c, "k", "v")
			if _, ok := s.Object(bucket, "k"); !ok {
				t.Error("answered, but not applied")
			}
			if got := time.Since(begun); got != 40*time.Second {
				t.Errorf("answered after %v, want 40s", got)
			}
			s.Remove(bucket, "k")
		}
	})
}

func TestClientThatLeavesAHangLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
		c := newClient(t, "http://region", regiontest.StartPipe(t, s))
		for _, apply := range []bool{false, true} {
			s.SetFaults(always("PutObject", regiontest.Fault{Hang: make(chan struct{}), Apply: apply}))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: new(bucket), Key: new("k"), Body: strings.NewReader("v")})
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the client's own deadline", err)
			}
			synctest.Wait()
			if _, ok := s.Object(bucket, "k"); ok != apply {
				t.Errorf("applied %v, want %v", ok, apply)
			}
		}
	})
}

func TestRegionGoesDownAndComesBackWithAllItHolds(t *testing.T) {
	s, c := newRegion(t)
	put(t, c, "k", "v")
	before := s.Snapshot()
	s.SetDown(true)
	for operation, write := range writes(t.Context(), c, "none", types.CompletedPart{PartNumber: new(int32(1)), ETag: new(noETag)}) {
		t.Run(operation, func(t *testing.T) { wantNoAnswer(t, write()) })
	}
	_, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: new(bucket)})
	wantNoAnswer(t, err)
	s.SetDown(false)
	if got, _ := get(t, c, "k"); got != "v" {
		t.Errorf("got %q", got)
	}
	if d := cmp.Diff(before, s.Snapshot()); d != "" {
		t.Errorf("-before +after\n%s", d)
	}
}

// gate is a body that says when its first half was taken, and gives its second
// half only when told.
type gate struct {
	half, release chan struct{}
	sent          int
}

func (g *gate) Read(p []byte) (int, error) {
	switch g.sent++; g.sent {
	case 1:
		return copy(p, "12345"), nil
	case 2:
		close(g.half)
		<-g.release
		return copy(p, "67890"), nil
	}
	return 0, io.EOF
}

func TestGoingDownCutsWhatIsInFlight(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	endpoint := regiontest.Start(t, s)
	c := newClient(t, endpoint, nil)
	s.Put(bucket, "big", make([]byte, 64<<20))
	hanging := make(chan struct{})
	s.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "HeadObject" {
			close(hanging)
			return regiontest.Fault{Hang: make(chan struct{})}
		}
		return regiontest.Fault{}
	})
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(bucket), Key: new("big")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()

	headErr := make(chan error)
	go func() {
		_, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: new("big")})
		headErr <- err
	}()
	body := &gate{half: make(chan struct{}), release: make(chan struct{})}
	putErr := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", endpoint+"/"+bucket+"/k", body)
		req.ContentLength = 10
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
			err = fmt.Errorf("answered %s", res.Status)
		} else {
			err = nil
		}
		putErr <- err
	}()
	<-hanging
	<-body.half
	s.SetDown(true)
	close(body.release)
	wantNoAnswer(t, <-headErr)
	if err := <-putErr; err != nil {
		t.Errorf("upload in flight: %v, want a cut", err)
	}
	if n, err := io.Copy(io.Discard, out.Body); err == nil || n == 64<<20 {
		t.Errorf("download in flight: got %d bytes and %v, want a cut", n, err)
	}
	s.SetDown(false)
	if d := cmp.Diff([]string{"big"}, s.Keys(bucket)); d != "" {
		t.Errorf("keys: -want +got\n%s", d)
	}
}
