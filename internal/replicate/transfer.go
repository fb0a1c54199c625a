package replicate

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

const (
	// singleBytes is the largest object of one PUT.
	// Source: Amazon S3 User Guide, "Uploading objects".
	singleBytes = 5 << 30
	// fallbackPartBytes is the size of parts where the source does not tell its own.
	fallbackPartBytes = 1 << 30
)

// isMultipart reports whether the ETag is that of an object made of parts.
func isMultipart(etag string) bool { return strings.Contains(etag, "-") }

// fullBody notices whether all of a body was handed over: what was cut short cannot
// have been applied, whatever the answer.
type fullBody struct {
	body io.Reader
	mu   sync.Mutex
	left int64 // guarded by mu
	err  error // guarded by mu
}

func (b *fullBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// cut reports whether the body was not handed over whole, and why, where that was
// the source's doing.
func (b *fullBody) cut() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left > 0, b.err
}

// transferWhole copies in one PUT. Where the source's ETag is an MD5, the target is
// given it to verify the body with; checksums that the source keeps go along too.
func (c *copier) transferWhole(ctx context.Context, src *sourceObject, o *region.Object, h http.Header) (string, error) {
	maps.Copy(h, c.condition())
	if o.Header.Get("X-Amz-Checksum-Type") != "COMPOSITE" {
		maps.Copy(h, s3op.ChecksumHeaders(o.Header))
	}
	if sum, err := hex.DecodeString(src.etag); err == nil && len(sum) == 16 && !isEncrypted(o.Header) && !c.unverifiable {
		h.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum))
	}
	body := &fullBody{body: o.Body, left: o.Size()}
	etag, err := c.target.Put(ctx, c.o.Key, h, body, o.Size())
	if err != nil {
		return "", c.putFailed(err, body, src)
	}
	return etag, nil
}

// isEncrypted: with SSE-KMS or SSE-C an ETag is not the MD5 of the bytes.
func isEncrypted(h http.Header) bool {
	return strings.HasPrefix(h.Get("X-Amz-Server-Side-Encryption"), "aws:kms") ||
		h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
}

func (c *copier) putFailed(err error, body *fullBody, src *sourceObject) error {
	if cut, sourceErr := body.cut(); cut && region.OutcomeOf(err) == region.Ambiguous {
		if sourceErr != nil {
			return &copyError{err: fmt.Errorf("read the source: %w", sourceErr)}
		}
		return &copyError{err: fmt.Errorf("write to the target: %w", err), atTarget: true}
	}
	return c.unanswered(err, "write to the target", c.expected, src.etag, c.conditions.Put)
}

// abortTimeout bounds the clearing up after a copy that failed.
const abortTimeout = 15 * time.Second

// transferParts copies part by part, in the source's own boundaries where it tells
// them, so that the ETags agree.
func (c *copier) transferParts(ctx context.Context, src *sourceObject, size int64, h http.Header) (string, error) {
	sizes, err := c.partSizes(ctx, src, size)
	if err != nil {
		return "", err
	}
	uploadID, err := c.target.CreateUpload(ctx, c.o.Key, h)
	if err != nil {
		return "", &copyError{err: fmt.Errorf("begin the upload: %w", err), atTarget: true}
	}
	etags, err := c.sendParts(ctx, src, uploadID, sizes)
	if err != nil {
		c.abort(ctx, c.o.Key, uploadID)
		return "", err
	}
	etag, err := c.target.CompleteUpload(ctx, c.o.Key, uploadID, c.condition(), etags)
	if err == nil {
		return etag, nil
	}
	if region.OutcomeOf(err) != region.Ambiguous {
		c.abort(ctx, c.o.Key, uploadID)
	}
	return "", c.unanswered(err, "complete the upload", c.expected, src.etag, c.conditions.Put)
}

func (c *copier) sendParts(ctx context.Context, src *sourceObject, uploadID string, sizes []int64) ([]string, error) {
	var etags []string
	offset := int64(0)
	for i, size := range sizes {
		etag, err := c.sendPart(ctx, src, uploadID, i+1, offset, size)
		if err != nil {
			return nil, err
		}
		etags = append(etags, etag)
		offset += size
	}
	return etags, nil
}

func (c *copier) sendPart(ctx context.Context, src *sourceObject, uploadID string, number int, offset, size int64) (string, error) {
	h := http.Header{"If-Match": {s3op.QuoteETag(src.etag)}, "Range": {fmt.Sprintf("bytes=%d-%d", offset, offset+size-1)}}
	if mutant.On(mutant.SourceUnconditional) {
		h.Del("If-Match")
	}
	o, err := src.region.Get(ctx, src.key, h)
	if err != nil {
		return "", c.sourceFailed(ctx, src, err)
	}
	defer o.Body.Close()
	if start, end := o.Span(); start != offset || end != offset+size {
		return "", &copyError{err: fmt.Errorf("read the source: it gave bytes %d to %d for %d to %d", start, end, offset, offset+size)}
	}
	etag, err := c.target.UploadPart(ctx, c.o.Key, uploadID, number, nil, o.Body, size)
	if err != nil {
		return "", &copyError{err: fmt.Errorf("write part %d to the target: %w", number, err), atTarget: true}
	}
	return etag, nil
}

// abort frees the parts. Where it fails the target keeps them until its own rule
// for incomplete uploads removes them.
func (c *copier) abort(ctx context.Context, key, uploadID string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if err := c.target.AbortUpload(ctx, key, uploadID); err != nil {
		c.Logger.WarnContext(ctx, "upload left unfinished in the region", "region", c.target.Name(), "err", err)
	}
}

// maxParts is how many parts an object has at most (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
const maxParts = 10_000

// partSizes asks the source for its parts.
func (c *copier) partSizes(ctx context.Context, src *sourceObject, size int64) ([]int64, error) {
	first, err := src.region.HeadPart(ctx, src.key, src.etag, 1)
	if err != nil {
		return nil, c.sourceFailed(ctx, src, err)
	}
	count := first.PartsCount()
	if count == 0 || mutant.On(mutant.PartsMerged) {
		return evenParts(size, fallbackPartBytes), nil
	}
	if count > maxParts {
		return nil, &copyError{err: fmt.Errorf("read the source: it says that it has %d parts; S3 has %d at most", count, maxParts)}
	}
	sizes := []int64{first.Size()}
	sum := first.Size()
	for number := 2; number <= count; number++ {
		part, err := src.region.HeadPart(ctx, src.key, src.etag, number)
		if err != nil {
			return nil, c.sourceFailed(ctx, src, err)
		}
		sizes = append(sizes, part.Size())
		sum += part.Size()
	}
	if sum != size {
		return nil, &copyError{err: fmt.Errorf("read the source: its %d parts have %d bytes, it has %d", count, sum, size)}
	}
	return sizes, nil
}

func evenParts(size, part int64) []int64 {
	var sizes []int64
	for ; size > part; size -= part {
		sizes = append(sizes, part)
	}
	return append(sizes, size)
}
