package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// requestTime bounds one request of a client, so that nothing hangs.
const requestTime = 2 * time.Minute

// newClient has connections of its own, and tries nothing twice.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: requestTime}
}

// unknown is the size of a body that is sent without a length.
const unknown = -1

// request makes a request for a path below the gateway's URL. A body of unknown size
// is sent in chunks.
func (g *gateway) request(ctx context.Context, method, path string, h http.Header, body io.Reader, size int64) (*http.Response, error) {
	if body != nil {
		body = struct{ io.Reader }{body} // net/http is not to find out its length
	}
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = size
		req.GetBody = nil
		if size == 0 {
			req.Body = http.NoBody
		}
	}
	maps.Copy(req.Header, h)
	return g.client.Do(req)
}

// object is the path of a key.
func object(key string) string { return "/objects/" + s3op.EscapePath(key) }

// answer is a response that was read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string {
	return fmt.Sprintf("status %d: %.500q", a.status, bytes.TrimSpace(a.body))
}

// send makes a request and reads its answer into memory.
func (g *gateway) send(ctx context.Context, method, path string, h http.Header, body io.Reader, size int64) (answer, error) {
	resp, err := g.request(ctx, method, path, h, body, size)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, data}, err
}

// do is send for a request that must be answered.
func (g *gateway) do(t *testing.T, method, path string, h http.Header, body io.Reader, size int64) answer {
	t.Helper()
	a, err := g.send(t.Context(), method, path, h, body, size)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// putText writes a small object, which must be acknowledged.
func (g *gateway) putText(t *testing.T, key, text string) {
	t.Helper()
	a := g.do(t, http.MethodPut, object(key), nil, strings.NewReader(text), int64(len(text)))
	if a.status != http.StatusCreated {
		t.Fatalf("put %s: %s", key, a)
	}
}

// delete removes a key, which must be acknowledged.
func (g *gateway) delete(t *testing.T, key string) {
	t.Helper()
	if a := g.do(t, http.MethodDelete, object(key), nil, nil, 0); a.status != http.StatusNoContent {
		t.Fatalf("delete %s: %s", key, a)
	}
}

// get reads a small object.
func (g *gateway) get(t *testing.T, key string) answer {
	t.Helper()
	return g.do(t, http.MethodGet, object(key), nil, nil, 0)
}

// keyStatus is what GET /replication/{key} tells.
type keyStatus struct {
	Version string
	Deleted bool
	Settled bool
	ETag    string
	Regions []copyStatus
}

type copyStatus struct {
	Region, State, Version, ETag string
	LastError                    *string
}

// status returns nil for a key that the index does not know.
func (g *gateway) status(t *testing.T, key string) *keyStatus {
	t.Helper()
	a := g.do(t, http.MethodGet, "/replication/"+s3op.EscapePath(key), nil, nil, 0)
	if a.status == http.StatusNotFound {
		return nil
	}
	if a.status != http.StatusOK {
		t.Fatalf("replication of %s: %s", key, a)
	}
	var s keyStatus
	if err := json.Unmarshal(a.body, &s); err != nil {
		t.Fatalf("replication of %s: %v", key, err)
	}
	return &s
}

// isAtRest reports whether nothing is open for the key: it is settled, and every
// region holds its version, or nothing is known of it at all.
func (s *keyStatus) isAtRest() bool {
	if s == nil {
		return true
	}
	for _, c := range s.Regions {
		if c.State != "current" {
			return false
		}
	}
	return s.Settled
}

// waitAtRest waits until nothing is open for the keys.
func (g *gateway) waitAtRest(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		var last *keyStatus
		defer func() {
			if t.Failed() && !last.isAtRest() {
				t.Logf("key %s: %+v", key, last)
			}
		}()
		eventually(t, "key "+key+" is at rest", func() bool {
			last = g.status(t, key)
			return last.isAtRest()
		})
	}
}

// listing is what GET /objects tells.
type listing struct {
	Objects []struct {
		Key, ETag string
		Size      int64
	}
	Truncated bool
	Cursor    *string
}

// keys lists the keys below a prefix, page by page, and the header of the last answer.
func (g *gateway) keys(t *testing.T, prefix string) ([]string, http.Header) {
	t.Helper()
	keys := []string{}
	path := "/objects?limit=100&prefix=" + prefix
	for next := path; ; {
		a := g.do(t, http.MethodGet, next, nil, nil, 0)
		var page listing
		if a.status != http.StatusOK || json.Unmarshal(a.body, &page) != nil {
			t.Fatalf("list %s: %s", next, a)
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if page.Cursor == nil {
			return keys, a.header
		}
		next = path + "&cursor=" + *page.Cursor
	}
}
