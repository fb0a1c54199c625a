package regiontest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"
)

const (
	maxPutBytes = 5 << 30
	maxXMLBytes = 4 << 20
)

// payload is a body that came in whole and was what the request said.
type payload struct {
	data     []byte // nil where it was discarded
	size     int64
	md5      []byte // nil where nobody needs it
	checksum Checksum
	claimed  bool // the client sent the checksum, as opposed to the default
}

// receiveObject reads a body that is an object or a part of one.
func (s *Server) receiveObject(c *call) (payload, error) {
	if c.r.ContentLength < 0 && c.Header.Get("X-Amz-Decoded-Content-Length") == "" {
		if len(c.r.TransferEncoding) > 0 {
			return payload{}, fail("NotImplemented", "A header you provided implies functionality that is not implemented")
		}
		return payload{}, fail("MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	said, err := claimsOf(c.r)
	if err == nil {
		err = said.readChecksum(c.Header)
	}
	if err != nil {
		return payload{}, err
	}
	if s.opts.IgnoreChecksums {
		said.md5 = nil
		if !said.trailer {
			said.algorithm, said.checksum = "", ""
		}
	}
	return c.receive(said, s.opts.Discard)
}

// receiveXML reads a body that is an argument of the operation, and holds it
// against a checksum in the headers where that is about the body.
func (c *call) receiveXML(into any, checksummed bool) (payload, error) {
	said, err := claimsOf(c.r)
	if err == nil && checksummed {
		err = said.readChecksum(c.Header)
	}
	if err != nil {
		return payload{}, err
	}
	if said.length > maxXMLBytes {
		return payload{}, fail("MaxMessageLengthExceeded", "Your request was too big.")
	}
	p, err := c.receive(said, false)
	if err != nil {
		return p, err
	}
	if xml.Unmarshal(p.data, into) != nil {
		return p, fail("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	return p, nil
}

// receive reads the body to its end and holds it against what the request
// claimed. A body that ends early, whatever the reason, is an error.
func (c *call) receive(said claims, discard bool) (payload, error) {
	if said.length > maxPutBytes {
		return payload{}, fail("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	var src io.Reader = &c.body
	var chunks *chunkReader
	if said.chunked {
		chunks = newChunkReader(src)
		src = chunks
	}
	d := newDigests(said, discard)
	if !discard {
		d.data = bytes.NewBuffer([]byte{}) // never nil: no bytes are not discarded bytes
		d.data.Grow(int(min(max(said.length, 0), 64<<20)))
		d.sinks = append(d.sinks, d.data)
	}
	n, err := io.Copy(io.MultiWriter(d.sinks...), src)
	switch e, own := errors.AsType[*apiError](err); {
	case errors.Is(err, errCut):
		return payload{}, errCut
	case own:
		return payload{}, e
	case err != nil || (said.length >= 0 && n != said.length):
		return payload{}, fail("IncompleteBody", "The request body terminated unexpectedly")
	}
	if said.trailer {
		switch said.checksum = chunks.trailer.Get(checksumHeader(said.algorithm)); {
		case said.checksum == "":
			return payload{}, fail("MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
		case !validChecksum(said.algorithm, said.checksum):
			return payload{}, fail("InvalidRequest", "Value for "+strings.ToLower(checksumHeader(said.algorithm))+" trailing header is invalid.")
		}
	}
	return d.verify(said, n)
}

// digests are the sums taken of a body while it passes.
type digests struct {
	md5, sha256, checksum hash.Hash // nil where nobody needs it
	algorithm             string
	data                  *bytes.Buffer
	sinks                 []io.Writer
}

func newDigests(said claims, discard bool) *digests {
	d := &digests{algorithm: said.algorithm}
	if !discard || said.md5 != nil {
		d.md5 = md5.New()
		d.sinks = append(d.sinks, d.md5)
	}
	if said.sha256 != "" {
		d.sha256 = sha256.New()
		d.sinks = append(d.sinks, d.sha256)
	}
	if d.algorithm == "" && !discard {
		d.algorithm = defaultAlgorithm
	}
	if d.algorithm != "" {
		d.checksum = newHash(d.algorithm)
		d.sinks = append(d.sinks, d.checksum)
	}
	return d
}

func (d *digests) verify(said claims, n int64) (payload, error) {
	p := payload{size: n, claimed: said.algorithm != ""}
	if d.data != nil {
		p.data = d.data.Bytes()
	}
	if d.md5 != nil {
		p.md5 = d.md5.Sum(nil)
	}
	if d.checksum != nil {
		p.checksum = Checksum{Algorithm: d.algorithm, Value: sum64(d.checksum), Type: "FULL_OBJECT"}
	}
	switch {
	case d.sha256 != nil && hex.EncodeToString(d.sha256.Sum(nil)) != said.sha256:
		return p, fail("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	case said.md5 != nil && !bytes.Equal(p.md5, said.md5):
		return p, fail("BadDigest", "The Content-MD5 you specified did not match what we received.")
	case said.algorithm != "" && p.checksum.Value != said.checksum:
		return p, fail("BadDigest", "The "+said.algorithm+" you specified did not match the calculated checksum.")
	}
	return p, nil
}

// withoutChunked is a Content-Encoding as it is kept: aws-chunked is about the
// upload only.
func withoutChunked(h http.Header) string {
	var kept []string
	for token := range strings.SplitSeq(h.Get("Content-Encoding"), ",") {
		if token = strings.TrimSpace(token); token != "" && token != "aws-chunked" {
			kept = append(kept, token)
		}
	}
	return strings.Join(kept, ",")
}
