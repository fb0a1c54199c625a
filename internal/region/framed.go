package region

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// Trailer is a checksum of the body that is known only once that has been read.
type Trailer struct {
	// Name of its header, such as X-Amz-Checksum-Crc32.
	Name string
	// Value is asked for after the last byte of the body.
	Value func() string
}

const (
	framedPayload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	chunkBytes    = 64 << 10
)

// framedBody is a body in chunks, and its checksum behind it.
// Source: Amazon S3 API Reference, "Signature Version 4, trailing headers".
type framedBody struct {
	body    io.Reader
	left    int64
	trailer Trailer
	// size is how long the trailer's value is.
	size  int
	data  []byte
	out   bytes.Buffer
	ended bool
}

// frame returns q with its body framed, for as many bytes as it has; q itself where there is no trailer.
func frame(q request, t Trailer) (request, error) {
	if t.Name == "" {
		return q, nil
	}
	sum := s3op.NewChecksum(http.CanonicalHeaderKey(t.Name))
	if sum == nil {
		return q, fmt.Errorf("no checksum is called %s", t.Name)
	}
	size := base64.StdEncoding.EncodedLen(sum.Size())
	if q.header = q.header.Clone(); q.header == nil {
		q.header = make(http.Header)
	}
	name := strings.ToLower(t.Name) // some servers know no other form behind a body
	q.header.Set("X-Amz-Trailer", name)
	q.header.Set("Content-Encoding", strings.TrimPrefix(q.header.Get("Content-Encoding")+",aws-chunked", ","))
	q.header.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(q.size, 10))
	q.framing = framedPayload
	q.body = &framedBody{body: q.body, left: q.size, trailer: Trailer{name, t.Value}, size: size}
	chunks, rest := q.size/chunkBytes, q.size%chunkBytes
	total := chunks * framedSize(chunkBytes)
	if rest > 0 {
		total += framedSize(rest)
	}
	q.size = total + int64(len("0\r\n")+len(name)+len(":")+size+len("\r\n\r\n"))
	return q, nil
}

func framedSize(n int64) int64 {
	return int64(len(strconv.FormatInt(n, 16))+len("\r\n")) + n + int64(len("\r\n"))
}

func (b *framedBody) Read(p []byte) (int, error) {
	if b.out.Len() == 0 {
		if b.ended {
			return 0, io.EOF
		}
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	return b.out.Read(p)
}

// next makes the next chunk.
func (b *framedBody) next() error {
	if b.left == 0 {
		value := b.trailer.Value()
		if len(value) != b.size {
			return errors.New("the checksum behind the body is none")
		}
		b.ended = true
		fmt.Fprintf(&b.out, "0\r\n%s:%s\r\n\r\n", b.trailer.Name, value)
		return nil
	}
	if b.data == nil {
		b.data = make([]byte, min(b.left, chunkBytes))
	}
	data := b.data[:min(b.left, chunkBytes)]
	if _, err := io.ReadFull(b.body, data); err != nil {
		return err
	}
	b.left -= int64(len(data))
	fmt.Fprintf(&b.out, "%x\r\n", len(data))
	b.out.Write(data)
	b.out.WriteString("\r\n")
	return nil
}

// trailerProbeKey is the object by which it is learned whether a region takes checksums behind a body.
const trailerProbeKey = s3op.ReservedPrefix + "probe-trailers"

// takesTrailers reports whether the region takes checksums behind a body. It learns this by trying, once; while it cannot be
// learned, the answer is that it does not: a checksum that was verified before is then left out.
func (r *Region) takesTrailers(ctx context.Context) bool {
	if known := r.conditions.trailers.Load(); known != nil {
		return *known
	}
	select {
	case r.conditions.lock <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-r.conditions.lock }()
	if known := r.conditions.trailers.Load(); known != nil {
		return *known
	}
	const text = "checksums may come behind a body"
	_, err := r.PutWithTrailer(ctx, trailerProbeKey, text, false)
	takes := err == nil
	if err == nil {
		takes, err = r.holds(ctx, trailerProbeKey, text)
	}
	// What refuses it for a reason of the moment has said nothing of it.
	if e, ok := errors.AsType[*Error](err); err == nil || ok && (e.Status == http.StatusNotImplemented || e.Status == http.StatusBadRequest) {
		r.conditions.trailers.Store(&takes)
	}
	return takes
}

// holds reports whether an object is this text.
func (r *Region) holds(ctx context.Context, key, text string) (bool, error) {
	o, err := r.Get(ctx, key, nil)
	if err != nil {
		return false, err
	}
	defer o.Body.Close()
	data, err := io.ReadAll(io.LimitReader(o.Body, int64(len(text)+1)))
	return string(data) == text, err
}
