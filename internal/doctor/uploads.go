package doctor

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// minPartBytes is the least size of every part but the last.
// Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
const minPartBytes = 5 << 20

// short is a time with as many digits as one reads.
func short(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// checkMultipart makes an object of two parts, and aborts another upload.
func (s *session) checkMultipart(ctx context.Context) {
	const instead = "objects of more than 5 GiB or of unknown length cannot be written to this region, and those that were made of parts elsewhere are not " +
		"copied here: their copies stay pending, with this error"
	first, last := strings.Repeat("tandem.", minPartBytes/7+1)[:minPartBytes], "end"
	etag, err := s.uploadParts(ctx, "parts", first, last)
	if err != nil {
		status := Failed
		if isUnimplemented(err) {
			status = NotSupported
		}
		s.add("multipart", status, instead, "%s", said(err))
		return
	}
	s.partsETag = etag
	o, err := s.r.Get(ctx, s.key("parts"), nil)
	if err != nil {
		s.add("multipart", Failed, "", "%s", said(err))
		return
	}
	size, err := drain(o.Body)
	part, partErr := s.r.HeadPart(ctx, s.key("parts"), etag, 1)
	switch {
	case err != nil || size != minPartBytes+int64(len(last)):
		s.add("multipart", Failed, "do not use this S3", "an object of %d bytes in two parts came back with %d (%v)", minPartBytes+len(last), size, err)
	case etag != etagOfParts(first, last):
		s.add("multipart", Warning, "Tandem compares such copies byte by byte", "its ETag is %s, not made from the parts' MD5 as S3 makes it", etag)
	case partErr != nil || part.PartsCount() != 2 || part.Size() != minPartBytes:
		s.add("multipart", Warning, "copies from here are made in parts of other sizes, so their ETags differ and Tandem compares them byte by byte",
			"it does not tell an object's parts")
	default:
		s.add("multipart", OK, "", "two parts make one object, ETag and parts as S3 has them")
	}
	s.checkAbort(ctx)
}

func (s *session) uploadParts(ctx context.Context, name string, parts ...string) (string, error) {
	id, err := s.r.CreateUpload(ctx, s.key(name), nil)
	if err != nil {
		return "", err
	}
	var etags []string
	for i, body := range parts {
		etag, err := s.r.UploadPart(ctx, s.key(name), id, i+1, nil, strings.NewReader(body), int64(len(body)))
		if err != nil {
			return "", errors.Join(err, s.abort(ctx, name, id))
		}
		etags = append(etags, etag)
	}
	etag, err := s.r.CompleteUpload(ctx, s.key(name), id, nil, etags)
	if err != nil {
		return "", errors.Join(err, s.abort(ctx, name, id))
	}
	return etag, nil
}

// abort gives an upload up, also where ctx has ended. Not every region lists its unfinished uploads, so this is
// not left to the clean-up.
func (s *session) abort(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	return s.r.AbortUpload(ctx, s.key(name), id)
}

func etagOfParts(parts ...string) string {
	var sums []byte
	for _, body := range parts {
		sum := md5.Sum([]byte(body))
		sums = append(sums, sum[:]...)
	}
	sum := md5.Sum(sums)
	return fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:]), len(parts))
}

// checkAbort: what is aborted is gone, and what is unfinished can be found.
func (s *session) checkAbort(ctx context.Context) {
	const name = "aborted"
	id, err := s.r.CreateUpload(ctx, s.key(name), nil)
	if err != nil {
		s.add("uploads", Failed, "", "%s", said(err))
		return
	}
	_, partErr := s.r.UploadPart(ctx, s.key(name), id, 1, nil, strings.NewReader("part"), 4)
	listed, listErr := s.r.Uploads(ctx, s.key(name))
	if err := errors.Join(partErr, s.abort(ctx, name, id)); err != nil {
		s.add("uploads", Warning, "parts of failed copies may stay, and cost: add a lifecycle rule that aborts incomplete uploads", "%s", said(firstOf(err)))
		return
	}
	_, lateErr := s.r.UploadPart(ctx, s.key(name), id, 1, nil, strings.NewReader("late"), 4)
	isListed := slices.ContainsFunc(listed, func(u region.Upload) bool { return u.ID == id })
	switch {
	case lateErr == nil:
		s.add("uploads", Warning, "parts of failed copies may stay, and cost: add a lifecycle rule that aborts incomplete uploads", "an aborted upload takes parts still")
	case listErr != nil || !isListed:
		s.add("uploads", Warning, "nothing to do for Tandem, which aborts its own; what a crash leaves cannot be found by listing it",
			"aborted uploads are gone; unfinished ones are not listed")
	default:
		s.add("uploads", OK, "", "unfinished ones are listed, aborted ones gone")
	}
}

// checksums are those of a body, by the names of their headers.
func checksums(body string) map[string]string {
	md5Sum := md5.Sum([]byte(body))
	sums := map[string]string{"Content-Md5": base64.StdEncoding.EncodeToString(md5Sum[:])}
	for _, name := range []string{"X-Amz-Checksum-Crc32", "X-Amz-Checksum-Crc64nvme", "X-Amz-Checksum-Sha256"} {
		sum := s3op.NewChecksum(name)
		_, _ = io.WriteString(sum, body) // a hash takes everything
		sums[name] = base64.StdEncoding.EncodeToString(sum.Sum(nil))
	}
	return sums
}

// checkChecksums puts a body with each of its checksums, and with each of another's.
func (s *session) checkChecksums(ctx context.Context) {
	const body = "what is sent"
	right, wrong := checksums(body), checksums("what is not")
	var refused, ignored, unsaid, verified []string
	for _, name := range []string{"Content-Md5", "X-Amz-Checksum-Crc32", "X-Amz-Checksum-Crc64nvme", "X-Amz-Checksum-Sha256"} {
		label := strings.ToLower(strings.TrimPrefix(name, "X-Amz-Checksum-"))
		key := "checksum-" + label
		_, err := s.put(ctx, key, body, http.Header{name: {right[name]}})
		if isRefusal(err) {
			refused = append(refused, label)
			continue
		}
		var a region.Attributes
		if err == nil {
			a, err = s.r.Head(ctx, s.key(key), http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}})
		}
		if err != nil {
			s.add("checksums", Failed, "", "%s", said(err))
			return
		}
		if name != "Content-Md5" && a.Header.Get(name) != right[name] {
			unsaid = append(unsaid, label)
		}
		switch _, err := s.put(ctx, key, body, http.Header{name: {wrong[name]}}); {
		case err == nil:
			ignored = append(ignored, label)
		case isRefusal(err):
			verified = append(verified, label)
		default:
			s.add("checksums", Failed, "", "%s", said(err))
			return
		}
	}
	s.reportChecksums(verified, ignored, refused, unsaid)
}

func (s *session) reportChecksums(verified, ignored, refused, unsaid []string) {
	list := func(names []string) string { return strings.Join(names, ", ") }
	if len(ignored) > 0 {
		s.add("checksums", Warning, "while this region is active, a body that is damaged on its way there is stored as it came, whatever its client sent along; "+
			"copies are verified by their ETags all the same", "not verified: %s", list(ignored))
	}
	if len(refused) > 0 {
		s.add("checksums", NotSupported, "while this region is active, writes with them are refused; copies to here of objects that have one stay pending, with this error",
			"refused: %s", list(refused))
	}
	if len(verified) > 0 {
		s.add("checksums", OK, "", "verified: %s", list(verified))
	}
	if len(unsaid) > 0 {
		s.add("checksums", NotSupported, "an object read from here comes without the checksum that it was written with", "not told afterwards: %s", list(unsaid))
	}
}

// checkTrailers: SDKs of today send checksums so, unless they are told otherwise.
func (s *session) checkTrailers(ctx context.Context) {
	const instead = "nothing to do: Tandem sends checksums in headers. What writes to the bucket past Tandem may need another setting"
	const body = "behind this comes a checksum"
	if _, err := s.r.PutWithTrailer(ctx, s.key("trailer"), body, false); err != nil {
		s.add("trailers", NotSupported, instead, "%s", said(err))
		return
	}
	got, a, err := s.get(ctx, "trailer", nil)
	_, damagedErr := s.r.PutWithTrailer(ctx, s.key("trailer"), body, true)
	switch {
	case err != nil:
		s.add("trailers", Failed, "", "%s", said(err))
	case got != body:
		s.add("trailers", Warning, instead, "taken for a part of the object: %d bytes came back for %d", len(got), len(body))
	case strings.Contains(a.Header.Get("Content-Encoding"), "aws-chunked"):
		s.add("trailers", Warning, instead, "taken; the object is then said to have the Content-Encoding aws-chunked, which was only its upload's")
	case damagedErr == nil:
		s.add("trailers", Warning, instead, "taken, and a wrong checksum in one not noticed")
	default:
		s.add("trailers", OK, "", "taken, and a wrong checksum in one refused")
	}
}
