package sigv4

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	// maxLineBytes is the longest line of a frame or of a trailer; it is the buffer of the reader, too.
	maxLineBytes = 4096
	// maxTrailerBytes bounds what may follow the last chunk.
	maxTrailerBytes = 4096

	chunkSignature   = ";chunk-signature="
	trailerSignature = "x-amz-trailer-signature"
)

// chunkReader reads a body framed as aws-chunked:
//
//	size in hex[;chunk-signature=…]\r\n  bytes\r\n   for each chunk, the last of which has none
//	name:value\r\n                                   for each header of the trailer
//	x-amz-trailer-signature:…\r\n                    where chunks and trailer are signed
//	\r\n
//
// The trailer is all that follows, up to the end of the body. Empty lines mean nothing in it: some clients send one before
// its signature, and some end their lines with \n alone.
type chunkReader struct {
	from  *bufio.Reader
	left  int64  // of the content
	chunk int64  // of the chunk
	chain *chain // nil where chunks are not signed

	checksums []*checksum // those that X-Amz-Trailer names
	trailer   http.Header
	err       error
}

func newChunkReader(s *Signed, r *http.Request, size int64) (*chunkReader, error) {
	c := &chunkReader{from: bufio.NewReaderSize(r.Body, maxLineBytes), left: size}
	if s.Payload != UnsignedTrailer {
		c.chain = newChain(s)
	}
	if s.Payload == SignedChunks {
		return c, nil
	}
	var err error
	c.checksums, err = newChecksums(r.Header["X-Amz-Trailer"])
	return c, err
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errIncomplete(err)
	}
	c.err = err
	if err != nil && err != io.EOF {
		n = 0
	}
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// read returns io.EOF where, with the bytes that it returns, the content has ended, and all of it is verified.
func (c *chunkReader) read(p []byte) (n int, err error) {
	if c.chunk == 0 {
		if err := c.startChunk(); err != nil {
			return 0, err
		}
	}
	if int64(len(p)) > c.chunk {
		p = p[:c.chunk]
	}
	if n, err = c.from.Read(p); err != nil {
		return 0, noEOF(err)
	}
	if c.chain != nil {
		c.chain.sum.Write(p[:n])
	}
	for _, sum := range c.checksums {
		sum.hash.Write(p[:n])
	}
	c.chunk -= int64(n)
	c.left -= int64(n)
	if c.chunk > 0 || len(p) == 0 {
		return n, nil
	}
	if err = c.endChunk(); err == nil && c.left == 0 {
		err = c.startChunk() // the last one, which ends the content
	}
	return n, err
}

// startChunk reads the line before a chunk. The last chunk it reads to the end, and returns io.EOF where all is well.
func (c *chunkReader) startChunk() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, signature, _ := bytes.Cut(line, []byte(chunkSignature))
	size, err := strconv.ParseUint(string(digits), 16, 63)
	if err != nil || len(digits) > 16 {
		return errIncomplete(nil)
	}
	if c.chain != nil && !c.chain.accept(signature) {
		return errIncomplete(nil)
	}
	if c.chain == nil && len(digits) != len(line) {
		return errIncomplete(nil)
	}
	if size > 0 && int64(size) <= c.left {
		c.chunk = int64(size)
		return nil
	}
	if size > 0 || c.left > 0 {
		return errLength()
	}
	if c.chain != nil {
		if err := c.chain.endChunk(); err != nil {
			return err
		}
	}
	if err := c.readTrailer(); err != nil {
		return err
	}
	return io.EOF
}

func (c *chunkReader) endChunk() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if len(line) > 0 {
		return errIncomplete(nil)
	}
	if c.chain != nil {
		return c.chain.endChunk()
	}
	return nil
}

// line returns the next line without its end; it is good until the next one.
func (c *chunkReader) line() ([]byte, error) {
	line, err := c.from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errIncomplete(nil)
	}
	if err != nil {
		return nil, noEOF(err)
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readTrailer reads and verifies all that follows the last chunk.
func (c *chunkReader) readTrailer() error {
	var signature []byte
	for total := 0; ; {
		if _, err := c.from.Peek(1); err == io.EOF {
			break
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		if total += len(line) + 1; total > maxTrailerBytes {
			return errTrailer()
		}
		if len(line) == 0 {
			continue
		}
		name, value, _ := strings.Cut(string(line), ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case signature != nil: // nothing comes after it
			return errTrailer()
		case name == trailerSignature && c.chain != nil && c.checksums != nil:
			signature = []byte(value)
		case !c.accept(name, value):
			return errTrailer()
		}
	}
	if c.chain != nil && c.checksums != nil {
		if !c.chain.accept(signature) {
			return errTrailer()
		}
		if err := c.chain.endTrailer(); err != nil {
			return err
		}
	}
	return c.verifyChecksums()
}

// accept takes a header of the trailer, if it was promised and is not yet there.
func (c *chunkReader) accept(name, value string) bool {
	for _, sum := range c.checksums {
		if sum.name != name || sum.value != "" || value == "" {
			continue
		}
		sum.value = value
		if c.chain != nil {
			// In the order in which they come: that is how clients that send several sign them.
			_, _ = fmt.Fprintf(c.chain.sum, "%s:%s\n", name, value)
		}
		return true
	}
	return false
}

func (c *chunkReader) verifyChecksums() error {
	if len(c.checksums) > 0 {
		c.trailer = make(http.Header, len(c.checksums))
	}
	for _, sum := range c.checksums {
		if sum.value == "" {
			return errTrailer()
		}
		want, err := base64.StdEncoding.Strict().DecodeString(sum.value)
		if err != nil || len(want) != sum.hash.Size() {
			return invalid("InvalidRequest", fmt.Sprintf("Value for %s trailing header is invalid.", sum.name))
		}
		if subtle.ConstantTimeCompare(sum.hash.Sum(nil), want) != 1 {
			return invalid("BadDigest", fmt.Sprintf("The %s you specified did not match the calculated checksum.", sum.algorithm))
		}
		c.trailer.Set(sum.name, sum.value)
	}
	return nil
}
