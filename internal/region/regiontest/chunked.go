package regiontest

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// Only the last chunk with data may be smaller.
const minChunkBytes = 8192

// chunkReader decodes aws-chunked, as strictly as S3 does: what is not framed
// right has not arrived whole. Signatures of chunks and trailer are read and
// not verified.
type chunkReader struct {
	r       *bufio.Reader
	size    int64 // of the current chunk; 0 before the first
	left    int64 // of the current chunk
	done    bool
	trailer http.Header // complete once Read has returned io.EOF
}

func newChunkReader(r io.Reader) *chunkReader {
	return &chunkReader{r: bufio.NewReader(r), trailer: http.Header{}}
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the last chunk, of size 0, is still to come
	}
	return n, err
}

// next reads up to the data of the next chunk; io.EOF after the last.
func (c *chunkReader) next() error {
	if c.size > 0 {
		if line, err := c.line(); err != nil || len(line) > 0 {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	size, err := strconv.ParseUint(string(digits), 16, 62)
	switch {
	case err != nil:
		return io.ErrUnexpectedEOF
	case size == 0:
		c.done = true
		return c.readTrailer()
	case c.size > 0 && c.size < minChunkBytes:
		return fail("InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes")
	}
	c.size, c.left = int64(size), int64(size)
	return nil
}

// readTrailer returns io.EOF where all went well.
func (c *chunkReader) readTrailer() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		c.trailer.Set(string(name), string(bytes.TrimSpace(value)))
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// line is the next line without its end, which is always CR LF.
func (c *chunkReader) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err == io.EOF || errors.Is(err, bufio.ErrBufferFull) {
		return nil, io.ErrUnexpectedEOF
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if err == nil && !ok {
		err = io.ErrUnexpectedEOF
	}
	return line, err
}
