package localregion

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// PutObject refuses a body that ends before its length. The server takes the end of a
// connection for the end of the body, and the backend puts what has come in the
// object's place: a client that leaves half-way would cut the acknowledged object short.
func (s *store) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	if err := s.admitLock(ctx, *in.Bucket, in.ObjectLockMode, in.ObjectLockLegalHoldStatus); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	in.Body = whole(in.Body, in.ContentLength)
	return s.Posix.PutObject(ctx, in)
}

// UploadPart refuses a body that ends before its length, as PutObject does.
func (s *store) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	in.Body = whole(in.Body, in.ContentLength)
	return s.Posix.UploadPart(ctx, in)
}

// whole makes a body that ends before its length an error. A body in chunks of S3's
// own says itself where it ends.
func whole(body io.Reader, length *int64) io.Reader {
	if _, ok := body.(middlewares.ChecksumReader); ok || body == nil || length == nil {
		return body
	}
	return &wholeBody{body: body, left: *length}
}

type wholeBody struct {
	body io.Reader
	left int64
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return n, err
}
