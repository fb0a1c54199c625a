package sigv4_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/sigv4"
)

// front is a server that does nothing but verify: it keeps what was uploaded, and how.
type front struct {
	t        testing.TB
	verifier *sigv4.Verifier

	mu struct {
		sync.Mutex
		uploads []upload
	}
}

type upload struct {
	payload sigv4.Payload
	content []byte
	trailer http.Header
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	signed, err := verify(f.verifier, r, time.Now())
	var content *sigv4.Content
	if err == nil {
		content, err = signed.Content(r)
	}
	var b []byte
	if err == nil {
		b, err = io.ReadAll(content)
	}
	if err != nil {
		f.t.Errorf("%s %s is refused: %v\n%v", r.Method, r.RequestURI, err, r.Header)
		http.Error(w, "refused", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") == "" && !signed.IsPresigned {
		f.mu.Lock()
		f.mu.uploads = append(f.mu.uploads, upload{signed.Payload, b, content.Trailer()})
		f.mu.Unlock()
	}
	w.Header().Set("ETag", `"e"`)
	switch {
	case r.URL.Query().Has("location"):
		_, _ = io.WriteString(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	case r.Method == http.MethodGet && strings.Count(r.URL.Path, "/") == 1 || r.URL.Query().Has("list-type"):
		_, _ = io.WriteString(w, `<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>`)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", "0")
	}
}

func (f *front) take() []upload {
	f.mu.Lock()
	defer f.mu.Unlock()
	uploads := f.mu.uploads
	f.mu.uploads = nil
	return uploads
}

// newFront serves on loopback, with TLS or without.
func newFront(t testing.TB, isTLS bool) (*front, *httptest.Server) {
	t.Helper()
	f := &front{t: t, verifier: newVerifier(t, region)}
	s := httptest.NewUnstartedServer(f)
	if isTLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return f, s
}

// oddKeys are keys that clients escape, each in its way.
func oddKeys() []string {
	return []string{
		"plain", "a/b/c", "a//b", "a/../b", "/leading", "trailing/", "a b", "a+b", "a%2Fb", "ä/日本", "q?x=y&z#f", "!'()*~-._", "a:b;c,d=e@f$g", `"<>[]{}|\^` + "`",
	}
}

// checkGet asks for a URL as anybody who was given it would.
func checkGet(t *testing.T, client *http.Client, u string) {
	t.Helper()
	resp, err := client.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET %s: got %s", u, resp.Status)
	}
}
