package region_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gnew/tandem/internal/region"
)

// wire is a region of which a test decides every byte. Its connections are net.Pipe:
// what the region does not read was never written.
type wire struct {
	// serve has a connection to itself, numbered from 0, which is closed when it returns.
	serve func(c *wireConn)

	mu    sync.Mutex
	conns []*wireConn
}

// wireConn is the region's end of a connection.
type wireConn struct {
	net.Conn
	number int
	r      *bufio.Reader
	read   bytes.Buffer // all that came; owned by serve, read by the test at its end
	ended  chan struct{}
}

func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &wireConn{Conn: server, number: len(w.conns), ended: make(chan struct{})}
	c.r = bufio.NewReader(io.TeeReader(server, &c.read))
	w.conns = append(w.conns, c)
	go func() {
		defer close(c.ended)
		defer server.Close()
		w.serve(c)
	}()
	return client, nil
}

// received returns what came on each connection, once all are closed.
func (w *wire) received() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		<-c.ended
		all = append(all, c.read.String())
	}
	return all
}

// request reads a request whole, and reports whether one came.
func (c *wireConn) request() bool {
	req, err := http.ReadRequest(c.r)
	if err != nil {
		return false
	}
	if req.Header.Get("Expect") != "" {
		c.answer("HTTP/1.1 100 Continue\r\n\r\n")
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

// answer writes as it is; where the client is gone there is nobody to tell.
func (c *wireConn) answer(text string) { _, _ = io.WriteString(c.Conn, text) }

// ok is a 200 with a body.
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nEtag: \"e\"\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// newWire returns a client of the wire with a transport of its own, and a function that
// closes the client's idle connections.
func newWire(t testing.TB, w *wire, edits ...func(*region.Config)) (r *region.Region, closeIdle func()) {
	t.Helper()
	transport := &http.Transport{DialContext: w.dial, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	edits = append(edits, func(c *region.Config) { c.Transport = transport })
	return newRegion(t, edits...), transport.CloseIdleConnections
}

// operation is a way to change something in a region.
type operation struct {
	name   string
	answer string // the body of a good answer
	do     func(ctx context.Context, r *region.Region) error
}

// streamed hides what a reader is, so that the client streams it.
func streamed(body string) io.Reader { return io.MultiReader(strings.NewReader(body)) }

// streamedBytes is more than a transport's write buffer.
const streamedBytes = 10_000

// writes are all the requests that change something.
func writes() []operation {
	put := func(h http.Header, body func() io.Reader, size int64) func(context.Context, *region.Region) error {
		return func(ctx context.Context, r *region.Region) error {
			_, err := r.Put(ctx, "key", h, body(), size)
			return err
		}
	}
	return []operation{
		{"put of bytes", "", put(nil, func() io.Reader { return bytes.NewReader([]byte("body")) }, 4)},
		{"put of a stream", "", put(nil, func() io.Reader { return streamed(strings.Repeat("x", streamedBytes)) }, streamedBytes)},
		{"put of nothing", "", put(http.Header{"If-None-Match": {"*"}}, func() io.Reader { return bytes.NewReader(nil) }, 0)},
		{"delete", "", func(ctx context.Context, r *region.Region) error { return r.Delete(ctx, "key", "") }},
		{"create upload", "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
			func(ctx context.Context, r *region.Region) error {
				_, err := r.CreateUpload(ctx, "key", nil)
				return err
			}},
		{"upload part", "", func(ctx context.Context, r *region.Region) error {
			_, err := r.UploadPart(ctx, "key", "u", 1, nil, streamed("body"), 4)
			return err
		}},
		{"complete upload", "<CompleteMultipartUploadResult><ETag>e-1</ETag></CompleteMultipartUploadResult>",
			func(ctx context.Context, r *region.Region) error {
				_, err := r.CompleteUpload(ctx, "key", "u", nil, []string{"e"})
				return err
			}},
		{"abort upload", "", func(ctx context.Context, r *region.Region) error { return r.AbortUpload(ctx, "key", "u") }},
	}
}

// reads are all the requests that change nothing.
func reads() []operation {
	return []operation{
		{"get", "body", func(ctx context.Context, r *region.Region) error {
			o, err := r.Get(ctx, "key", nil)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, o.Body)
			return errors.Join(err, o.Body.Close())
		}},
		{"head", "", func(ctx context.Context, r *region.Region) error {
			_, err := r.Head(ctx, "key", nil)
			return err
		}},
		{"tags", "<Tagging></Tagging>", func(ctx context.Context, r *region.Region) error {
			_, err := r.Tags(ctx, "key")
			return err
		}},
		{"list", "<ListBucketResult></ListBucketResult>", func(ctx context.Context, r *region.Region) error {
			_, err := r.List(ctx, region.ListOptions{})
			return err
		}},
		{"check bucket", "", func(ctx context.Context, r *region.Region) error { return r.CheckBucket(ctx) }},
	}
}

// wantError checks what is known of a request that failed.
func wantError(t testing.TB, what string, err error, want region.Outcome) *region.Error {
	t.Helper()
	e, ok := errors.AsType[*region.Error](err)
	if !ok {
		t.Fatalf("%s: %v, want an *Error", what, err)
	}
	if e.Outcome != want {
		t.Errorf("%s: outcome %v, want %v: %v", what, e.Outcome, want, err)
	}
	return e
}
