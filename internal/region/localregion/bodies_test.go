package localregion_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestRefusedLockLeavesNoObject: what is refused is not there.
func TestRefusedLockLeavesNoObject(t *testing.T) {
	t.Parallel()
	r, _ := start(t, t.TempDir())
	c := newClient(r)
	put(t, c, "key", "old")
	later := time.Now().Add(time.Hour)
	for name, write := range map[string]func(key string) error{
		"object": func(key string) error {
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: new(bucket), Key: &key, Body: strings.NewReader("new"), ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &later,
			})
			return err
		},
		"held object": func(key string) error {
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: new(bucket), Key: &key, Body: strings.NewReader("new"), ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn,
			})
			return err
		},
		"copy": func(key string) error {
			_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
				Bucket: new(bucket), Key: &key, CopySource: new(bucket + "/key"), ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &later,
			})
			return err
		},
	} {
		if err := write(name); err == nil {
			t.Errorf("%s: it is not refused", name)
		}
		if _, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new(bucket), Key: &name}); err == nil {
			t.Errorf("%s: it is refused, and there", name)
		}
	}
}

// TestBodyCutByItsClientLeavesTheOldObjectAndNoPart: a connection that ends in the
// middle of a body is not the end of the body.
func TestBodyCutByItsClientLeavesTheOldObjectAndNoPart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := start(t, dir)
	c := newClient(r)
	put(t, c, "key", "old")
	upload := multipart{t, c, "parts"}
	id := upload.create()
	staged := func() (n int) {
		_ = filepath.WalkDir(filepath.Join(dir, "buckets", bucket, ".sgwtmp"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.Contains(filepath.Base(path), ".") {
				n++
			}
			return nil // what is gone by now is not staged
		})
		return n
	}
	unsigned := s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	for name, send := range map[string]func(context.Context, *stalledBody) error{
		"object": func(ctx context.Context, body *stalledBody) error {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: new(bucket), Key: new("key"), Body: body}, unsigned)
			return err
		},
		"part": func(ctx context.Context, body *stalledBody) error {
			_, err := c.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: new(bucket), Key: new("parts"), UploadId: &id, PartNumber: new(int32(1)), Body: body,
			}, unsigned)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		body := &stalledBody{Reader: bytes.NewReader(make([]byte, 8<<20)), done: ctx.Done()}
		go func() { done <- send(ctx, body) }()
		eventually(t, name+" has begun", func() bool { return staged() > 0 })
		cancel()
		if err := <-done; err == nil {
			t.Errorf("%s: cut upload succeeded", name)
		}
		eventually(t, name+" was dropped", func() bool { return staged() == 0 })
	}
	if got := get(t, c, "key"); got != "old" {
		t.Errorf("the object has %d bytes, want the old one", len(got))
	}
	parts, err := c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: new(bucket), Key: new("parts"), UploadId: &id})
	if err != nil || len(parts.Parts) > 0 {
		t.Errorf("parts %v (%v), want none", parts, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "buckets", bucket, "parts")); err == nil {
		t.Error("the upload made an object")
	}
}
