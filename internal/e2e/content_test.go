package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// content is an object's bytes, made from a seed as they are read.
type content struct {
	seed byte
	size int64
}

func (c content) reader() io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{c.seed}), c.size)
}

// text is the content of a small object.
func (c content) text() string {
	data, _ := io.ReadAll(c.reader()) // of a generator
	return string(data)
}

// sum is the SHA-256 of all of the content.
func (c content) sum() string {
	h := sha256.New()
	_, _ = io.Copy(h, c.reader()) // of a generator
	return sumOf(h)
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// put uploads content, and returns its SHA-256, taken on the way. It must be acknowledged.
func (g *gateway) put(t *testing.T, key string, c content, size int64, h http.Header) string {
	t.Helper()
	sum := sha256.New()
	a := g.do(t, http.MethodPut, object(key), h, io.TeeReader(c.reader(), sum), size)
	if a.status != http.StatusCreated {
		t.Fatalf("put %s: %s", key, a)
	}
	return sumOf(sum)
}

// download reads an object to its end, and returns the SHA-256 of what came.
func (g *gateway) download(t *testing.T, path string) (sum string, size int64, h http.Header) {
	t.Helper()
	resp, err := g.request(t.Context(), http.MethodGet, path, nil, nil, 0)
	if err != nil {
		t.Fatalf("get %s: %v", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("get %s: status %d", path, resp.StatusCode)
	}
	digest := sha256.New()
	size, err = io.Copy(digest, resp.Body)
	if err != nil {
		t.Fatalf("get %s: %v after %d bytes", path, err, size)
	}
	return sumOf(digest), size, resp.Header
}

// checkContent downloads a key and compares it.
func (g *gateway) checkContent(t *testing.T, key string, want content) {
	t.Helper()
	if sum, size, _ := g.download(t, object(key)); sum != want.sum() || size != want.size {
		t.Errorf("%s: %d bytes with SHA-256 %s came back, not the %d bytes that were put", key, size, sum, want.size)
	}
}

// gate is a body that lets a number of bytes through, and the rest once it is opened.
type gate struct {
	body io.Reader
	left int64
	// reached is closed when the number is.
	reached chan struct{}
	// wait is closed by open; passed is set by Read alone.
	wait   chan struct{}
	open   func()
	passed bool
}

func newGate(t *testing.T, body io.Reader, bytes int64) *gate {
	g := &gate{body: body, left: bytes, reached: make(chan struct{}), wait: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.wait) })
	t.Cleanup(g.open)
	return g
}

func (g *gate) Read(p []byte) (int, error) {
	if !g.passed && g.left == 0 {
		close(g.reached)
		<-g.wait
		g.passed = true
	}
	if !g.passed {
		p = p[:min(int64(len(p)), g.left)]
	}
	n, err := g.body.Read(p)
	g.left -= int64(n)
	return n, err
}

// outcome is the end of a request that may have been cut.
type outcome struct {
	answer
	err error
}

// upload sends a body of content without waiting for an answer.
func (g *gateway) upload(t *testing.T, key string, body io.Reader, size int64) <-chan outcome {
	t.Helper()
	ended := make(chan outcome, 1)
	go func() {
		a, err := g.send(t.Context(), http.MethodPut, object(key), nil, body, size)
		ended <- outcome{a, err}
	}()
	return ended
}

// receive waits for what must come.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("still waiting for %s", what)
	}
	panic("not reached")
}
