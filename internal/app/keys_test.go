package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// oddKeys are legal S3 keys that something on the way may want to change.
func oddKeys() []string {
	keys := []string{
		"a//b", "..", "a/../b", ".", "./a", "a/.", "/leading", "//", "trailing/", "a/b", "a%2Fb", "a%252Fb", "%", "%zz",
		"a b", " ", "a+b", "a%20b", "a?b", "?", "a#b", "a&b=c", "a;b", "a=b", "a:b", "a\\b", "a'b\"c", "<a>&amp;",
		"objects", "objects/objects", "replication/x", "healthz", "naïve", "ключ", "👩‍🚀/🌍", "e\u0301", "\u00e9",
		"\uFFFD", "\U0010FFFF", "control\x01\x1f\x7f", "line\nbreak\r\ttab", "nul\x00nul", "tandem/", ".tandem",
		strings.Repeat("k", 1024), strings.Repeat("é", 512),
	}
	slices.Sort(keys)
	return keys
}

func TestEveryLegalKeyIsHeldByteForByte(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, key := range oddKeys() {
		if w := g.put(key, "content of "+key); w.Key != key {
			t.Errorf("PUT %q answers with key %q", key, w.Key)
		}
	}
	for _, key := range oddKeys() {
		g.wantObject(key, "content of "+key)
		if r := g.HEAD(key); r.Status != http.StatusOK || r.Header.Get("Content-Length") != fmt.Sprint(len("content of "+key)) {
			t.Errorf("HEAD %q: got %v %v, want 200", key, r, r.Header)
		}
	}
	if diff := cmp.Diff(oddKeys(), g.listKeys("")); diff != "" {
		t.Errorf("listed keys (-want +got):\n%s", diff)
	}
	g.awaitSettled(oddKeys()...)
	g.awaitConverged()
	held := slices.DeleteFunc(g.B.Keys(bucketB), func(key string) bool { return strings.HasPrefix(key, ".tandem/") })
	if diff := cmp.Diff(oddKeys(), held); diff != "" {
		t.Errorf("keys in B (-want +got):\n%s", diff)
	}
	for _, key := range oddKeys() {
		g.remove(key)
		if r := g.GET(key); r.Status != http.StatusNotFound {
			t.Errorf("GET %q after DELETE: got %v, want 404", key, r)
		}
	}
	g.awaitConverged()
	g.wantNothing()
}

// An escaped slash in a path is a slash; an escaped percent sign is a percent sign.
func TestPathIsUnescapedOnce(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for path, key := range map[string]string{
		"a%2Fb": "a/b", "a%252Fb": "a%2Fb", "%61": "a", "a+b": "a+b", "a%2Bb": "a+b", "a%20b": "a b",
		"%2E%2E": "..", "x/%2E%2E/y": "x/../y", "%2F": "/", "caf%C3%A9": "café", "colon:at@dollar$": "colon:at@dollar$",
	} {
		r := g.do(http.MethodPut, "/objects/"+path, strings.NewReader("x"))
		if w := decode[written](t, r); r.Status != http.StatusCreated || w.Key != key {
			t.Errorf("PUT /objects/%s: got %v, want key %q", path, r, key)
		}
		if _, ok := g.A.Object(bucketA, key); !ok {
			t.Errorf("PUT /objects/%s: A does not hold %q but %q", path, key, g.A.Keys(bucketA))
		}
	}
}

type listing struct {
	Objects []struct {
		Key, ETag, LastModified string
		Size                    int64
	}
	CommonPrefixes []string
	Truncated      bool
	Cursor         *string
}

// list asks for one page.
func (g *rig) list(params url.Values, edits ...edit) response {
	return g.do(http.MethodGet, "/objects?"+params.Encode(), nil, edits...)
}

// listAll goes through all pages and returns keys and common prefixes as they come;
// a prefix is marked with a trailing "*".
func (g *rig) listAll(params url.Values) []string {
	g.t.Helper()
	var names []string
	for range 2000 {
		r := g.list(params)
		if r.Status != http.StatusOK {
			g.t.Fatalf("list %v: got %v, want 200", params, r)
		}
		page := decode[listing](g.t, r)
		var entries []string
		for _, o := range page.Objects {
			entries = append(entries, o.Key)
		}
		for _, p := range page.CommonPrefixes {
			entries = append(entries, p+"*")
		}
		slices.Sort(entries)
		names = append(names, entries...)
		if page.Truncated != (page.Cursor != nil) {
			g.t.Fatalf("list %v: truncated %v with cursor %v", params, page.Truncated, page.Cursor)
		}
		if page.Cursor == nil {
			return names
		}
		params = mapsWith(params, "cursor", *page.Cursor)
	}
	g.t.Fatalf("list %v: no end after 2000 pages", params)
	return nil
}

func mapsWith(params url.Values, name, value string) url.Values {
	with := url.Values{name: {value}}
	for n, v := range params {
		if n != name {
			with[n] = v
		}
	}
	return with
}

func (g *rig) listKeys(prefix string) []string {
	g.t.Helper()
	return g.listAll(url.Values{"prefix": {prefix}})
}
