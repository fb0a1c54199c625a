package s3api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

// body is the content of a write.
type body struct {
	reader io.Reader
	size   int64
	// sha256 is the hash that was signed, for the region to verify; "" where there is none.
	sha256 string
	// trailer is a checksum behind the content, the zero Trailer where there is none.
	trailer gateway.Trailer
}

// body is the request's content, without its framing. Of chunks that are signed, and of checksums behind
// the content, nothing is given out to the last byte before they were verified; a hash of the whole is the region's to verify.
func (c *call) body() (body, error) {
	size, err := c.contentLength()
	if err != nil {
		return body{}, err
	}
	from := pace.NewBody(c.w, c.r, c.IdleTimeout)
	if !c.signed.Payload.IsChunked() {
		b := body{reader: from, size: size}
		if c.signed.Payload == sigv4.SignedPayload {
			b.sha256 = c.signed.ContentSHA256
		}
		return b, nil
	}
	c.r.Body = io.NopCloser(from)
	content, err := c.signed.Content(c.r)
	if err != nil {
		return body{}, err
	}
	b := body{reader: content, size: size}
	if c.signed.Payload != sigv4.SignedChunks {
		// That there are checksums was seen to by Content.
		name := http.CanonicalHeaderKey(strings.TrimSpace(strings.Join(c.r.Header["X-Amz-Trailer"], ",")))
		if strings.Contains(name, ",") {
			return body{}, s3op.NewError(s3op.Invalid, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		b.trailer = gateway.Trailer{Name: name, Value: func() string { return content.Trailer().Get(name) }}
	}
	if size == 0 {
		// Whoever asks for no bytes would not come to the checksum behind them.
		if _, err := io.Copy(io.Discard, content); err != nil {
			return body{}, incomplete(err)
		}
	}
	return b, nil
}

// maxDocumentBytes bounds the documents that clients send: 1,000 keys, or 10,000 parts.
const maxDocumentBytes = 4 << 20

// document is one that a request brings.
type document struct {
	data []byte
	// trailer is a checksum that came behind it, and is verified; the zero Trailer where there is none.
	trailer gateway.Trailer
}

// in puts the document into a request, for the region to do with it what the operation says.
func (d document) in(q *gateway.Request) {
	q.Body, q.Size = bytes.NewReader(d.data), int64(len(d.data))
	if d.trailer.Name != "" {
		q.Header.Set(d.trailer.Name, d.trailer.Value())
	}
}

// document reads a document that the request brings, and verifies its hash where that was signed. Other checksums in the
// header are for whoever acts on the document.
func (c *call) document() (document, error) {
	b, err := c.body()
	if err != nil {
		return document{}, err
	}
	if b.size > maxDocumentBytes {
		return document{}, s3op.NewError(s3op.Invalid, "EntityTooLarge", fmt.Sprintf("the document is larger than the %d bytes allowed", maxDocumentBytes))
	}
	data := make([]byte, b.size)
	if _, err := io.ReadFull(b.reader, data); err != nil {
		return document{}, incomplete(err)
	}
	if b.sha256 != "" {
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != b.sha256 {
			return document{}, s3op.NewError(s3op.Invalid, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
		}
	}
	return document{data, b.trailer}, nil
}

func incomplete(err error) error {
	if s3op.KindOf(err) != s3op.Internal {
		return err
	}
	return s3op.WrapError(s3op.Invalid, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header", err)
}
