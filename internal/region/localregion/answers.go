package localregion

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofrs/flock"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// The gateway believes what a region answers, so an answer that is wrong now and then
// is worse than an error. These are the backend's answers that were.

const (
	publishLockDir   = ".vgwlocks" // where the backend keeps its locks
	publishLockRetry = time.Millisecond
	readTries        = 20
)

// CompleteMultipartUpload answers NoSuchUpload for an upload that is not there. The
// backend calls that a success, with an ETag made up from the request, as long as
// the key holds any object at all: after a failover a client would be told that its
// upload is complete in a region that never saw a part of it. It also calls a
// second completion a success while the first still runs; here both
// get the answer of the first.
func (s *store) CompleteMultipartUpload(
	ctx context.Context, in *s3.CompleteMultipartUploadInput,
) (s3response.CompleteMultipartUploadResult, string, error) {
	type completion struct {
		result  s3response.CompleteMultipartUploadResult
		version string
	}
	v, err, _ := s.completions.Do(*in.UploadId, func() (any, error) {
		_, err := s.ListParts(ctx, &s3.ListPartsInput{
			Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, MaxParts: new(int32(1)),
		})
		if err != nil {
			return completion{}, err
		}
		result, version, err := s.Posix.CompleteMultipartUpload(ctx, in)
		return completion{result, version}, err
	})
	c, _ := v.(completion)
	return c.result, c.version, err
}

// CopyObject refuses a lock that the bucket has not, before there is a copy.
func (s *store) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	if err := s.admitLock(ctx, *in.Bucket, in.ObjectLockMode, in.ObjectLockLegalHoldStatus); err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	return s.Posix.CopyObject(ctx, in)
}

// admitLock refuses an object that is to be locked in a bucket without locks. The backend does so once the object is in its
// place: the gateway would take the write for one that was not made, and no other region would ever have it.
func (s *store) admitLock(ctx context.Context, bucket string, mode types.ObjectLockMode, hold types.ObjectLockLegalHoldStatus) error {
	if mode == "" && hold != types.ObjectLockLegalHoldStatusOn {
		return nil
	}
	data, err := s.GetObjectLockConfiguration(ctx, bucket)
	var config auth.BucketLockConfig
	switch {
	case errors.Is(err, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(data, &config); err != nil {
			return fmt.Errorf("read the lock configuration: %w", err)
		}
	}
	if !config.Enabled {
		return s3err.GetAPIError(s3err.ErrMissingObjectLockConfigurationNoSpaces)
	}
	return nil
}

// DeleteObject holds the lock under which objects are published. The backend
// does not, so a delete with If-Match could remove an object that was put after the comparison.
func (s *store) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	lock := flock.New(s.publishLock(*in.Bucket, *in.Key), flock.SetPermissions(0o600))
	if err := os.MkdirAll(filepath.Dir(lock.Path()), 0o700); err != nil {
		return nil, fmt.Errorf("make lock folder: %w", err)
	}
	if _, err := lock.TryLockContext(ctx, publishLockRetry); err != nil {
		return nil, fmt.Errorf("lock object: %w", err)
	}
	defer lock.Close()
	return s.Posix.DeleteObject(ctx, in)
}

// publishLock names the file that the backend locks while it puts an object in its place.
func (s *store) publishLock(bucket, key string) string {
	b, k := sha256.Sum256([]byte(bucket)), sha256.Sum256([]byte(key))
	return filepath.Join(s.root, publishLockDir, fmt.Sprintf("%x", b), fmt.Sprintf("%02x", k[0]))
}

// GetObject answers with one version of the object. The backend reads ETag, metadata and
// body one after the other by the object's name, and mixes two versions when it is overwritten meanwhile.
func (s *store) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	return readWhole(*in.Bucket, *in.Key, in.VersionId,
		func() (*s3.GetObjectOutput, error) { return s.Posix.GetObject(ctx, in) },
		func(mixed *s3.GetObjectOutput) {
			if mixed != nil && mixed.Body != nil {
				_ = mixed.Body.Close() // of a file only read
			}
		})
}

// HeadObject answers with one version of the object, as GetObject does.
func (s *store) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	return readWhole(*in.Bucket, *in.Key, in.VersionId,
		func() (*s3.HeadObjectOutput, error) { return s.Posix.HeadObject(ctx, in) },
		func(*s3.HeadObjectOutput) {})
}

// readWhole calls read again until the same file had the object's name before and
// after: every write makes a file of its own. Older versions never change.
func readWhole[T any](bucket, key string, version *string, read func() (T, error), discard func(T)) (T, error) {
	name := filepath.Join(bucket, key)
	for range readTries {
		before, _ := os.Stat(name) // nil where there is none
		out, err := read()
		after, _ := os.Stat(name)
		if sameFile(before, after) || (version != nil && *version != "") {
			return out, err
		}
		discard(out)
	}
	var none T
	return none, s3err.GetAPIError(s3err.ErrSlowDown)
}

// sameFile compares times too, for the number of a removed file is soon given to another. A
// folder is no object, and its time changes with what is in it.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && (a.IsDir() || a.ModTime().Equal(b.ModTime()))
}
