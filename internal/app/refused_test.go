package app_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// refusal is a request that must be refused, and how.
type refusal struct {
	name, method, path, body string
	edits                    []edit
	status                   int
	code                     string
}

// run sends the request; only a HEAD has no body to say why.
func (f refusal) run(t *testing.T, g *rig) {
	t.Helper()
	r := g.do(f.method, f.path, strings.NewReader(f.body), f.edits...)
	t.Run(f.name, func(t *testing.T) { wantProblem(t, r, f.status, f.code) })
}

// Nothing of what is refused reaches a region or the index.
func TestRefusedRequestsLeaveNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"MAX_OBJECT_BYTES": "1MiB", "MAX_JSON_BYTES": "2KiB"}})
	post := func(name, body string, status int, code string) refusal {
		return refusal{name: name, method: "POST", path: "/objects", body: body, status: status, code: code}
	}
	put := func(name, path, body string, status int, code string, edits ...edit) refusal {
		return refusal{name: name, method: "PUT", path: path, body: body, status: status, code: code, edits: edits}
	}
	get := func(name, path string, status int, code string, edits ...edit) refusal {
		return refusal{name: name, method: "GET", path: path, status: status, code: code, edits: edits}
	}
	long := strings.Repeat("k", 1025)
	for _, f := range []refusal{
		post("malformed JSON", `{"dataBase64": "aGk=", "key": "k"`, 400, "MalformedJSON"),
		post("no JSON", `hello`, 400, "MalformedJSON"),
		post("empty body", ``, 400, "MalformedJSON"),
		post("JSON of another kind", `["aGk="]`, 400, "MalformedJSON"),
		post("a value behind the JSON", `{"dataBase64": "aGk=", "key": "k"} {}`, 400, "MalformedJSON"),
		post("a brace behind the JSON", `{"dataBase64": "aGk=", "key": "k"}}`, 400, "MalformedJSON"),
		post("a bracket behind the JSON", `{"dataBase64": "aGk=", "key": "k"}]`, 400, "MalformedJSON"),
		post("unknown field", `{"dataBase64": "aGk=", "key": "k", "ttl": 5}`, 400, "MalformedJSON"),
		post("field of another type", `{"dataBase64": "aGk=", "key": 5}`, 400, "MalformedJSON"),
		post("invalid UTF-8 in the JSON", "{\"dataBase64\": \"aGk=\", \"key\": \"k\xff\"}", 400, "MalformedJSON"),
		post("no data", `{"key": "k"}`, 400, "InvalidArgument"),
		post("null", `null`, 400, "MalformedJSON"),
		post("bad base64", `{"dataBase64": "a*k=", "key": "k"}`, 400, "InvalidArgument"),
		post("base64 without padding", `{"dataBase64": "aGk", "key": "k"}`, 400, "InvalidArgument"),
		post("base64 with stray bits", `{"dataBase64": "aGl=", "key": "k"}`, 400, "InvalidArgument"),
		post("URL-safe base64", `{"dataBase64": "-_-_", "key": "k"}`, 400, "InvalidArgument"),
		post("key too long", `{"dataBase64": "aGk=", "key": "`+strings.Repeat("é", 513)+`"}`, 400, "KeyTooLongError"),
		post("reserved key", `{"dataBase64": "aGk=", "key": ".tandem/region"}`, 403, "AccessDenied"),
		post("JSON too large", `{"dataBase64": "`+strings.Repeat("aGk=", 1024)+`"}`, 413, "EntityTooLarge"),
		put("key too long", "/objects/"+long, "x", 400, "KeyTooLongError"),
		put("key too long, streamed", "/objects/"+long, strings.Repeat("x", 100<<10), 400, "KeyTooLongError"),
		put("empty key", "/objects/", "x", 400, "InvalidArgument"),
		put("invalid UTF-8", "/objects/%FF", "x", 400, "InvalidURI"),
		put("overlong UTF-8", "/objects/%C0%AF", "x", 400, "InvalidURI"),
		put("surrogate", "/objects/%ED%A0%80", "x", 400, "InvalidURI"),
		put("reserved key", "/objects/.tandem/region", "x", 403, "AccessDenied"),
		put("reserved key, escaped", "/objects/%2Etandem%2Fregion", "x", 403, "AccessDenied"),
		put("wrong Content-MD5", "/objects/k", "x", 400, "BadDigest", header("Content-MD5", md5Of("y"))),
		put("malformed Content-MD5", "/objects/k", "x", 400, "InvalidDigest", header("Content-MD5", "eA==")),
		put("no base64 in Content-MD5", "/objects/k", "x", 400, "InvalidDigest", header("Content-MD5", "?")),
		put("wrong checksum", "/objects/k", "x", 400, "BadDigest", header("x-amz-checksum-sha256", sha256Of("y"))),
		put("wrong checksum, streamed", "/objects/k", strings.Repeat("x", 100<<10), 400, "BadDigest", header("x-amz-checksum-crc32", crc32Of("y"))),
		put("wrong Content-MD5, unsized", "/objects/k", "x", 400, "BadDigest", unsized, header("Content-MD5", md5Of("y"))),
		put("malformed Content-MD5, unsized", "/objects/k", "x", 400, "InvalidDigest", unsized, header("Content-MD5", "eA==")),
		put("wrong checksum, unsized", "/objects/k", "x", 400, "BadDigest", unsized, header("x-amz-checksum-crc64nvme", crc64Of("y"))),
		put("object too large", "/objects/k", strings.Repeat("x", 1<<20+1), 413, "EntityTooLarge"),
		put("object too large, unsized", "/objects/k", strings.Repeat("x", 1<<20+1), 413, "EntityTooLarge", unsized),
		get("reserved key", "/objects/.tandem/probe", 403, "AccessDenied"),
		get("reserved key's replication", "/replication/.tandem/probe", 403, "AccessDenied"),
		get("no such key", "/objects/k", 404, "NoSuchKey"),
		get("no such key's replication", "/replication/k", 404, "NoSuchKey"),
		get("no such path", "/object/k", 404, "NoSuchPath"),
		get("no such path below admin", "/admin/states", 404, "NoSuchPath"),
		get("bad prefer", "/objects/k?prefer=secondary", 400, "InvalidArgument"),
		get("bad repair", "/objects/k?repair=yes", 400, "InvalidArgument"),
		get("bad Allow-Stale", "/objects/k", 400, "InvalidArgument", header("X-Tandem-Allow-Stale", "maybe")),
		get("limit of words", "/objects?limit=many", 400, "InvalidArgument"),
		get("limit 0", "/objects?limit=0", 400, "InvalidArgument"),
		get("negative limit", "/objects?limit=-1", 400, "InvalidArgument"),
		get("limit too high", "/objects?limit=1001", 400, "InvalidArgument"),
		get("bad cursor", "/objects?cursor=%25%25", 400, "InvalidArgument"),
		{name: "delete of a reserved key", method: "DELETE", path: "/objects/.tandem/probe", status: 403, code: "AccessDenied"},
		{name: "delete of no key", method: "DELETE", path: "/objects/", status: 400, code: "InvalidArgument"},
	} {
		f.run(t, g)
	}
	g.wantNothing()
	if s := g.status("k"); s.Version != "" || len(s.Regions) > 0 {
		t.Errorf("the index knows of a key that was never written: %+v", s)
	}
	if got := g.listKeys(""); len(got) > 0 {
		t.Errorf("listed %q, want nothing", got)
	}
	if n := g.A.Count("ListObjectsV2"); n == 0 {
		t.Error("the listing did not reach A: the test asks for nothing")
	}
}

func TestMethodThatIsNotAllowedNamesThoseThatAre(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, c := range []struct{ method, path, allow string }{
		{"POST", "/objects/k", "DELETE, GET, HEAD, PUT"},
		{"PATCH", "/objects/k", "DELETE, GET, HEAD, PUT"},
		{"OPTIONS", "/objects/k", "DELETE, GET, HEAD, PUT"},
		{"PUT", "/objects", "GET, POST"},
		{"DELETE", "/objects", "GET, POST"},
		{"PUT", "/replication/k", "GET"},
		{"POST", "/admin/state", "GET, HEAD"},
		{"DELETE", "/healthz", "GET, HEAD"},
	} {
		r := g.do(c.method, c.path, nil)
		wantProblem(t, r, 405, "MethodNotAllowed")
		if got := r.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: got Allow %q, want %q", c.method, c.path, got, c.allow)
		}
	}
	g.wantNothing()
}

const (
	adminToken = "admin-token-of-the-test"
	apiToken   = "api-token-of-the-test"
)

func bearer(token string) edit { return header("Authorization", "Bearer "+token) }

func TestTokensOpenWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{
		env:     map[string]string{"ADMIN_TOKEN": adminToken, "API_TOKENS": "app:" + apiToken},
		unknown: true, // the harness has no token to ask with
	})
	paths := []string{"/objects/k", "/objects", "/replication/k", "/admin/state", "/admin/stats"}
	for _, path := range paths {
		for name, e := range map[string]edit{
			"none": func(*http.Request) {}, "wrong": bearer(apiToken + "x"), "empty": bearer(""),
			"basic": header("Authorization", "Basic "+apiToken), "bare": header("Authorization", adminToken),
		} {
			r := g.do(http.MethodGet, path, nil, e)
			wantProblem(t, r, 401, "Unauthorized")
			if r.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("GET %s with token %s: no WWW-Authenticate", path, name)
			}
		}
		if r := g.do(http.MethodGet, path, nil, bearer(adminToken)); r.Status == 401 || r.Status == 403 {
			t.Errorf("GET %s with the admin token: got %v", path, r)
		}
	}
	wantProblem(t, g.do(http.MethodGet, "/admin/state", nil, bearer(apiToken)), 403, "AccessDenied")
	wantProblem(t, g.do(http.MethodGet, "/admin/stats", nil, bearer(apiToken)), 403, "AccessDenied")
	for _, method := range []string{"PUT", "DELETE"} {
		wantProblem(t, g.do(method, "/objects/k", strings.NewReader("x"), bearer("nobody's")), 401, "Unauthorized")
	}
	g.wantNothing()
	if r := g.PUT("k", []byte("x"), header("Authorization", "bearer "+apiToken)); r.Status != 201 {
		t.Errorf("PUT with an API token: got %v, want 201", r)
	}
	for _, path := range []string{"/healthz", "/livez", "/readyz", "/metrics"} {
		if r := g.do(http.MethodGet, path, nil); r.Status != 200 {
			t.Errorf("GET %s without a token: got %v, want 200", path, r)
		}
	}
	r := g.do(http.MethodGet, "/objects/k", nil, bearer(apiToken), header("Origin", "https://example.org"))
	if r.Status != 200 {
		t.Errorf("GET with a token from another origin: got %v, want 200", r)
	}
}

// Without tokens, only this machine's own programs are answered.
func TestForeignPagesAreRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	host := func(name string) edit { return func(r *http.Request) { r.Host = name } }
	for _, path := range []string{"/objects/k", "/objects", "/replication/k", "/admin/state", "/healthz", "/metrics"} {
		for code, e := range map[string][]edit{
			"ForeignHost": {host("tandem.example"), host("127.0.0.1.example:80"), host("10.0.0.1"), host("[2001:db8::1]:80")},
			"ForeignOrigin": {header("Origin", "https://tandem.example"), header("Origin", "null"),
				header("Origin", "http://127.0.0.1.example"), header("Sec-Fetch-Site", "cross-site")},
		} {
			for _, one := range e {
				wantProblem(t, g.do(http.MethodGet, path, nil, one), 403, code)
			}
		}
	}
	for _, method := range []string{"PUT", "DELETE"} {
		wantProblem(t, g.do(method, "/objects/k", strings.NewReader("x"), header("Origin", "https://tandem.example")), 403, "ForeignOrigin")
	}
	wantProblem(t, g.do("POST", "/objects", strings.NewReader(`{"dataBase64": "aGk="}`), header("Sec-Fetch-Site", "cross-site")), 403, "ForeignOrigin")
	g.wantNothing()
	for _, e := range []edit{host("localhost:1"), host("LOCALHOST"), host("127.8.9.10"), host("[::1]:80"),
		header("Origin", g.URL), header("Origin", "http://localhost:3000"), header("Sec-Fetch-Site", "same-origin")} {
		if r := g.do(http.MethodGet, "/healthz", nil, e); r.Status != 200 {
			t.Errorf("a request of this machine's own: got %v, want 200", r)
		}
	}
}

// A large body whose checksum is wrong is refused after its parts went to the region.
func TestWrongChecksumOfAnUnsizedBodyLeavesNoParts(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	body := bytes.Repeat([]byte("0123456789abcdef"), 9<<20/16)
	for name, value := range map[string]string{
		"Content-MD5": md5Of("y"), "x-amz-checksum-crc32": crc32Of("y"), "x-amz-checksum-sha256": sha256Of("y"),
	} {
		wantProblem(t, g.PUT("big", body, unsized, header(name, value)), 400, "BadDigest")
	}
	g.wantNothing()
	if s := g.status("big"); len(s.Regions) > 0 {
		t.Errorf("the index knows of a key that was never written: %+v", s)
	}
	r := g.PUT("big", body, unsized, header("Content-MD5", md5Of(string(body))), header("x-amz-checksum-crc32", crc32Of(string(body))))
	if r.Status != 201 {
		t.Errorf("PUT with the right checksums: got %v, want 201", r)
	}
}

// What is too large is refused even where nobody said its length, and leaves no parts.
func TestTooLargeUnsizedBodyLeavesNoParts(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"MAX_OBJECT_BYTES": "9MiB"}})
	wantProblem(t, g.PUT("big", make([]byte, 9<<20+1), unsized), 413, "EntityTooLarge")
	g.wantNothing()
	if r := g.PUT("big", make([]byte, 9<<20), unsized); r.Status != 201 {
		t.Errorf("PUT of the most that is allowed: got %v, want 201", r)
	}
}

// A body that the client cuts short is never stored, streamed or not.
func TestBodyThatBreaksOffIsNotStored(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, size := range []int{10, 100 << 10, 9 << 20} {
		for _, e := range []edit{unsized, func(r *http.Request) { r.ContentLength = int64(size) + 1 }} {
			half := io.MultiReader(strings.NewReader(strings.Repeat("x", size)), brokenReader{})
			if r := g.do(http.MethodPut, "/objects/k", half, e); r.Status == 201 {
				t.Errorf("PUT of a body that breaks off after %d bytes: got %v", size, r)
			}
		}
	}
	g.eventually(func() error {
		if n := len(g.A.Uploads(bucketA)); n > 0 {
			return fmt.Errorf("A has %d unfinished uploads", n)
		}
		return nil
	})
	g.wantNothing()
	if s := g.status("k"); s.Version != "" {
		t.Errorf("the index knows of a key that was never written: %+v", s)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A region's own refusal is passed on, and nothing stays open.
func TestRegionsRefusalIsTheClients(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for code, want := range map[string]int{"AccessDenied": 503, "InvalidStorageClass": 400, "NotImplemented": 501, "SlowDown": 503} {
		g.A.SetFaults(onKey("PutObject", "k", regiontest.Fault{Code: code}))
		r := g.PUT("k", []byte("x"))
		if r.Status != want {
			t.Errorf("PUT that A refuses with %s: got %v, want %d", code, r, want)
		}
		if s := g.status("k"); len(s.Regions) > 0 || s.Version != "" {
			t.Errorf("PUT that A refuses with %s leaves %+v", code, s)
		}
	}
	g.wantNothing()
}

func base64Of(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return base64Of(sum[:])
}

func sha256Of(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64Of(sum[:])
}

func crc32Of(s string) string {
	h := crc32.NewIEEE()
	h.Write([]byte(s))
	return base64Of(h.Sum(nil))
}

// crc64Of is CRC-64/NVME, whose polynomial is written here with its bits reversed.
func crc64Of(s string) string {
	h := crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5))
	h.Write([]byte(s))
	return base64Of(h.Sum(nil))
}
