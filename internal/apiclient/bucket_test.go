package apiclient_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gnew/tandem/internal/apiclient"
)

// callAll asks for everything that a client can ask for.
func callAll(t *testing.T, c *apiclient.Client) {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }
	_, putErr := c.Put(t.Context(), "a b?c", apiclient.PutInput{Size: 1, Open: open})
	_, headErr := c.Head(t.Context(), "a b?c", apiclient.ReadOptions{})
	_, downloadErr := c.Download(t.Context(), "a b?c", root, "f", apiclient.DownloadInput{})
	_, deleteErr := c.Delete(t.Context(), "a b?c")
	_, replicationErr := c.Replication(t.Context(), "a b?c")
	for _, err := range c.List(t.Context(), apiclient.ListInput{Prefix: "p"}) {
		t.Error(err)
	}
	for _, err := range []error{putErr, headErr, downloadErr, deleteErr, replicationErr} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestEveryRequestNamesTheBucketOfItsClient(t *testing.T) {
	for bucket, want := range map[string][]string{
		"logs": {
			"PUT /objects/a%20b%3Fc?bucket=logs", "HEAD /objects/a%20b%3Fc?bucket=logs", "GET /objects/a%20b%3Fc?bucket=logs", "DELETE /objects/a%20b%3Fc?bucket=logs",
			"GET /replication/a%20b%3Fc?bucket=logs", "GET /objects?bucket=logs&prefix=p",
		},
		"a&b": {
			"PUT /objects/a%20b%3Fc?bucket=a%26b", "HEAD /objects/a%20b%3Fc?bucket=a%26b", "GET /objects/a%20b%3Fc?bucket=a%26b", "DELETE /objects/a%20b%3Fc?bucket=a%26b",
			"GET /replication/a%20b%3Fc?bucket=a%26b", "GET /objects?bucket=a%26b&prefix=p",
		},
		"": {
			"PUT /objects/a%20b%3Fc", "HEAD /objects/a%20b%3Fc", "GET /objects/a%20b%3Fc", "DELETE /objects/a%20b%3Fc",
			"GET /replication/a%20b%3Fc", "GET /objects?prefix=p",
		},
	} {
		g := newGateway(t, []byte("x"))
		var mu sync.Mutex
		var got []string
		g.before = func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, r.Method+" "+r.URL.RequestURI())
			isJSON := r.URL.Path == "/objects" || strings.HasPrefix(r.URL.Path, "/replication/")
			if isJSON {
				fmt.Fprint(w, `{}`)
			}
			return isJSON
		}
		c := newClient(t, g.URL, 0)
		c.Bucket = bucket
		callAll(t, c)
		mu.Lock()
		if !slices.Equal(got, want) {
			t.Errorf("bucket %q: got %q, want %q", bucket, got, want)
		}
		mu.Unlock()
	}
}

// A client that took it for a missing object would take a download for one of an object that is gone.
func TestABucketThatThereIsNotIsNoMissingObject(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, "NoSuchBucket", "there is no bucket")
	}))
	defer s.Close()
	c := newClient(t, s.URL, 0)
	if _, err := c.Head(t.Context(), "k", apiclient.ReadOptions{}); err == nil || apiclient.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

// Another bucket may have another object under the key, which happens to have the same ETag and size.
func TestADownloadDoesNotGoOnFromAnotherBucket(t *testing.T) {
	data := randomBytes(1000)
	g := newGateway(t, data)
	g.cut = 400
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c := newClient(t, g.URL, 0)
	if _, err := c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{}); err == nil {
		t.Fatal("a download that was cut ended well")
	}
	g.change(func() { g.cut, g.requests = 0, nil })
	c.Bucket = "logs"
	if _, err := c.Download(t.Context(), "k", root, "f", apiclient.DownloadInput{}); err != nil {
		t.Fatal(err)
	}
	if got := g.seen(); !slices.Equal(got, []string{"GET"}) {
		t.Errorf("got the requests %q, want the whole object asked for", got)
	}
	if got, err := root.ReadFile("f"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes (%v)", len(got), err)
	}
}
