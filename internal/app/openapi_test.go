package app_test

import (
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/gnew/tandem/internal/restapi/restapitest"
)

// document is the OpenAPI document, as the first gateway of the tests serves it.
var document struct {
	sync.Mutex
	*restapitest.Document
}

// wantDocumented checks that an answer is one that the document knows. Every answer that any test here gets is held
// against it.
func (g *rig) wantDocumented(method, path string, resp *http.Response, body []byte) {
	g.t.Helper()
	d, err := g.document()
	if err == nil {
		var u *url.URL
		if u, err = url.ParseRequestURI(path); err == nil {
			err = d.CheckAnswer(method, u.EscapedPath(), resp.StatusCode, resp.Header, body)
		}
	}
	if err != nil {
		g.t.Error(err)
	}
}

func (g *rig) document() (*restapitest.Document, error) {
	document.Lock()
	defer document.Unlock()
	if document.Document != nil {
		return document.Document, nil
	}
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.URL+"/openapi.json", nil)
	if err != nil {
		return nil, err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	document.Document, err = restapitest.Parse(data)
	return document.Document, err
}

// The rigs of the front alone have fakes behind it; here metrics, statistics and states are real.
func TestWhatARealGatewayTellsIsAsItsDocumentSays(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("docs/readme.md", "# Read me\n")
	g.mustPromote("secondary")
	d, err := g.document()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range d.Operations() {
		want := http.StatusOK
		switch {
		case o.Method != http.MethodGet && o.Method != http.MethodHead:
			continue
		case o.ID == "GetConflict", o.ID == "HeadConflict":
			want = http.StatusNotFound
		}
		if r := g.do(o.Method, o.ExamplePath(), nil); r.Status != want {
			t.Errorf("%s: got %v, want %d", o.ID, r, want)
		}
	}
	scraped := g.do(http.MethodGet, "/metrics", nil, header("Accept", "application/openmetrics-text; version=1.0.0"))
	if scraped.Status != http.StatusOK {
		t.Errorf("metrics: got %v", scraped)
	}
}
