package apiclient_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/apiclient"
)

// gateway answers as the REST API does, of one object, and breaks as it is told.
type gateway struct {
	*httptest.Server
	mu sync.Mutex
	// data and etag are the object; without data there is none.
	data []byte
	etag string
	// cut is after how many bytes each answer breaks; 0 for never.
	cut int
	// requests are those so far, as method, Range and If-Match.
	requests []string
	// before answers instead, where it returns true.
	before func(w http.ResponseWriter, r *http.Request) bool
	// put is what the last PUT brought.
	put []byte
}

func newGateway(t *testing.T, data []byte) *gateway {
	g := &gateway{}
	g.set(data)
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) set(data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sum := md5.Sum(data)
	g.data, g.etag = data, hex.EncodeToString(sum[:])
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = append(g.requests, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")+" "+r.Header.Get("If-Match")))
	if g.before != nil && g.before(w, r) {
		return
	}
	switch {
	case r.Method == http.MethodPut:
		var err error
		if g.put, err = io.ReadAll(r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"key":"k","etag":"e","size":%d,"version":"1-1","region":"primary"}`, len(g.put))
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case g.data == nil:
		problem(w, http.StatusNotFound, "NoSuchKey", "the key does not exist")
	default:
		g.get(w, r)
	}
}

func (g *gateway) get(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Etag", `"`+g.etag+`"`)
	h.Set("X-Tandem-Region", "primary")
	h.Set("X-Tandem-Freshness", "current")
	if match := r.Header.Get("If-Match"); match != "" && match != `"`+g.etag+`"` {
		problem(w, http.StatusPreconditionFailed, "PreconditionFailed", "another ETag")
		return
	}
	first, status := 0, http.StatusOK
	if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		first, _ = strconv.Atoi(strings.TrimSuffix(text, "-"))
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(g.data)-1, len(g.data)))
	}
	rest := g.data[first:]
	h.Set("Content-Length", strconv.Itoa(len(rest)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if g.cut > 0 && g.cut < len(rest) {
		_, _ = w.Write(rest[:g.cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(rest)
}

// change changes how it answers from now on.
func (g *gateway) change(how func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	how()
}

// brought is what the last PUT brought.
func (g *gateway) brought() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.put
}

func (g *gateway) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests
}

func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":%q}`, status, code, detail)
}

// newClient does not wait long, and is as patient as retries says.
func newClient(t *testing.T, url string, retries int) *apiclient.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 10 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := apiclient.New(apiclient.Config{URL: url, Token: "a-token-that-is-secret", Retries: retries, RetryDelay: time.Millisecond, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data)
	return data
}

func TestAURLThatIsNoneIsRefused(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:8110", "http://", "ftp://x", "http://%zz"} {
		if _, err := apiclient.New(apiclient.Config{URL: url}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}
