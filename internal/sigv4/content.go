package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
)

// Content is what a client uploaded, without the frames around it, verified while it is read. It reads the body of the
// request, and leaves closing it to whoever owns that. Not safe for concurrent use.
//
// Errors, which come instead of io.EOF and again with every Read after: XAmzContentSHA256Mismatch, SignatureDoesNotMatch
// of a chunk or of the trailer, BadDigest of a checksum in the trailer, MalformedTrailerError, InvalidRequest, and
// IncompleteBody where there is less than was said, or more; anything else is the connection's.
type Content struct {
	io.Reader
	// SizeBytes is how long it is, or it ends with an error; -1 where only its end will tell.
	SizeBytes int64
	chunks    *chunkReader // nil of a body without frames
}

// Trailer are the headers that came after the content, their checksums verified; nil before all was read, or where the
// payload has none.
func (c *Content) Trailer() http.Header {
	if c.chunks == nil || c.chunks.err != io.EOF {
		return nil
	}
	return c.chunks.trailer
}

// Content returns a reader of what r, which is the request that was verified, uploads. It reads nothing yet.
func (s *Signed) Content(r *http.Request) (*Content, error) {
	if s.Payload.IsChunked() {
		return s.chunked(r)
	}
	p := &plainReader{body: r.Body, left: r.ContentLength}
	if s.Payload == SignedPayload {
		want, err := hex.DecodeString(s.ContentSHA256)
		if err != nil {
			return nil, err
		}
		p.sum, p.want = sha256.New(), want
	}
	return &Content{Reader: p, SizeBytes: r.ContentLength}, nil
}

func (s *Signed) chunked(r *http.Request) (*Content, error) {
	values := r.Header["X-Amz-Decoded-Content-Length"]
	if len(values) == 0 {
		return nil, invalid("MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	size, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || len(values) > 1 {
		return nil, invalid("InvalidArgument", "x-amz-decoded-content-length must be the number of bytes of the content")
	}
	c, err := newChunkReader(s, r, int64(size))
	if err != nil {
		return nil, err
	}
	return &Content{Reader: c, SizeBytes: int64(size), chunks: c}, nil
}

// plainReader reads a body without frames.
type plainReader struct {
	body io.Reader
	left int64     // -1 where unknown
	sum  hash.Hash // nil where the body is not signed
	want []byte
	err  error
}

func (r *plainReader) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left > 0 && int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if r.left != 0 {
		n, err = r.body.Read(p)
	}
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	if r.left > 0 {
		r.left -= int64(n)
	}
	r.err = r.end(err)
	if r.err != nil && r.err != io.EOF {
		n = 0
	}
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// end returns what a Read ends with that left err: nil where more is to come.
func (r *plainReader) end(err error) error {
	switch {
	case r.left > 0 && err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return errIncomplete(err)
	case r.left != 0 && err != io.EOF:
		return err
	case r.sum != nil && subtle.ConstantTimeCompare(r.sum.Sum(nil), r.want) != 1:
		return invalid("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return io.EOF
}
