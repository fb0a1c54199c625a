package restapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/gnew/tandem/internal/s3op"
)

// keyOf is the key that a path is about, and whether it is about one at all.
func keyOf(t *testing.T, method, escapedPath string) (key, op string, err error) {
	t.Helper()
	var unescaped string
	u, parseErr := url.ParseRequestURI(escapedPath)
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	r := httptest.NewRequest(method, "/", nil)
	r.URL = u
	a := newAPI(t, noGateway{})
	found, err := a.find(r)
	if err != nil {
		return "", found.name, err
	}
	for _, prefix := range []string{"/objects/", "/replication/"} {
		if len(u.EscapedPath()) >= len(prefix) && u.EscapedPath()[:len(prefix)] == prefix {
			take := func(_ http.ResponseWriter, _ *http.Request, _ Bucket, k string) error { unescaped = k; return nil }
			err = a.serve(withKey(take), httptest.NewRecorder(), r)
		}
	}
	return unescaped, found.name, err
}

// A key is what the path says, unescaped once and otherwise left alone.
func TestThePathIsTheKey(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/objects/k":                   "k",
		"/objects/":                    "",
		"/objects/a/b":                 "a/b",
		"/objects/a%2Fb":               "a/b",
		"/objects/a%252Fb":             "a%2Fb",
		"/objects//":                   "/",
		"/objects/a//b":                "a//b",
		"/objects/..":                  "..",
		"/objects/a/../b":              "a/../b",
		"/objects/%2E%2E/x":            "../x",
		"/objects/./a/.":               "./a/.",
		"/objects/trailing/":           "trailing/",
		"/objects/a+b":                 "a+b",
		"/objects/a%20b":               "a b",
		"/objects/a;b=c":               "a;b=c",
		"/objects/%00":                 "\x00",
		"/objects/%FF":                 "\xff", // it is for the gateway to refuse
		"/objects/objects/objects":     "objects/objects",
		"/objects/caf%C3%A9":           "café",
		"/objects/k?prefer=replica":    "k",
		"/objects/k%3Fprefer=replica":  "k?prefer=replica",
		"/replication/a%2F..%2F/b%2Fc": "a/..//b/c",
	} {
		key, _, err := keyOf(t, http.MethodGet, path)
		if err != nil || key != want {
			t.Errorf("%s: got key %q (%v), want %q", path, key, err, want)
		}
	}
}

func TestAPathAndAMethodAreAnOperation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, path, want string }{
		{"PUT", "/objects/k", "PutObject"}, {"GET", "/objects/k", "GetObject"}, {"HEAD", "/objects/k", "HeadObject"},
		{"DELETE", "/objects/k", "DeleteObject"}, {"GET", "/objects", "ListObjects"}, {"POST", "/objects", "PostObject"},
		{"GET", "/replication/k", "GetReplication"}, {"GET", "/admin/state", "GetState"}, {"HEAD", "/admin/state", "GetState"}, {"GET", "/admin/stats", "GetStats"},
		{"GET", "/healthz", "GetHealth"}, {"GET", "/livez", "GetLive"}, {"GET", "/readyz", "GetReady"}, {"GET", "/metrics", "GetMetrics"},
	} {
		if _, op, err := keyOf(t, c.method, c.path); err != nil || op != c.want {
			t.Errorf("%s %s: got %s (%v), want %s", c.method, c.path, op, err, c.want)
		}
	}
	for _, path := range []string{"/", "/object/k", "/Objects/k", "/objectsk", "/replication", "/admin", "/admin/state/", "/healthz/x", "//objects/k", "/objects%2Fk"} {
		if _, op, err := keyOf(t, http.MethodGet, path); s3op.KindOf(err) != s3op.NotFound || op != "Unknown" {
			t.Errorf("GET %s: got %s (%v), want NoSuchPath", path, op, err)
		}
	}
}
