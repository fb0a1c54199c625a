package app_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

func TestWhatIsStoredWithAnObjectComesBackAndReachesBothRegions(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	stored := map[string]string{
		"Content-Type": "text/markdown; charset=utf-8", "Cache-Control": "max-age=60, public", "Content-Disposition": `attachment; filename="a b.md"`,
		"Content-Encoding": "br", "Content-Language": "es", "Expires": "Wed, 21 Oct 2026 07:28:00 GMT",
		"X-Amz-Meta-Author": "someone else", "X-Amz-Meta-Empty": "", "X-Amz-Storage-Class": "STANDARD_IA",
	}
	sizes := map[string]int{"empty": 0, "small": 5, "held back": 100 << 10, "parts": 9 << 20}
	for name, size := range sizes {
		for _, e := range []edit{func(*http.Request) {}, unsized} {
			edits := []edit{e}
			for h, v := range stored {
				edits = append(edits, header(h, v))
			}
			if r := g.PUT(name, make([]byte, size), edits...); r.Status != 201 {
				t.Fatalf("PUT %s: got %v, want 201", name, r)
			}
			g.awaitSettled(name)
			for _, read := range []response{g.GET(name), g.HEAD(name), g.GET(name, query("prefer", "replica"))} {
				for h, v := range stored {
					if got := read.Header.Get(h); got != v {
						t.Errorf("%s from %s: got %s %q, want %q", name, read.Header.Get("X-Tandem-Region"), h, got, v)
					}
				}
				if got := read.Header.Get("Content-Length"); got != fmt.Sprint(size) {
					t.Errorf("%s: got Content-Length %s, want %d", name, got, size)
				}
			}
		}
	}
	g.awaitConverged()
}

func TestAnswersCarryWhatTheyPromise(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	w := g.put("k", "content")
	if w.Key != "k" || w.Size != 7 || w.ContentType != "application/octet-stream" || w.Region != "primary" ||
		w.Version == "" || w.ETag != "9a0364b9e99bb480dd25e1f0284c8555" || !maps.Equal(w.Replication, map[string]string{"secondary": "pending"}) {
		t.Errorf("answer to PUT: %+v", w)
	}
	r := g.wantObject("k", "content")
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Etag": `"` + w.ETag + `"`, "X-Tandem-Region": "primary",
		"X-Tandem-Freshness": "current", "X-Tandem-Version": w.Version, "X-Tandem-Fallback": "", "X-Tandem-Repair": "",
		"Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "Content-Length": "7",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("GET: got %s %q, want %q", name, got, want)
		}
	}
	head := g.HEAD("k")
	for _, h := range []http.Header{r.Header, head.Header} {
		h.Del("Date")
	}
	if diff := cmp.Diff(r.Header, head.Header); diff != "" {
		t.Errorf("headers of GET and HEAD differ (-GET +HEAD):\n%s", diff)
	}
	for i := range r.Header {
		if strings.HasPrefix(i, "X-Amz-Request") || strings.HasPrefix(i, "X-Amz-Id") || i == "Server" {
			t.Errorf("the region's own header %s is passed on", i)
		}
	}
	first := g.status("k")
	second := g.put("k", "content two")
	if r := g.DELETE("k"); r.Status != 204 || r.Header.Get("X-Tandem-Version") == "" || len(r.Body) > 0 {
		t.Errorf("answer to DELETE: %v %v", r, r.Header)
	}
	s := g.status("k")
	if !s.Deleted || s.ETag != "" || s.Size != 0 || s.CreatedAt != first.CreatedAt || s.Version == second.Version || s.LastRegion != "primary" {
		t.Errorf("index after DELETE: %+v, before: %+v", s, first)
	}
	if _, err := time.Parse(time.RFC3339, s.UpdatedAt); err != nil {
		t.Error(err)
	}
}

func TestConditionalWrites(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for name, size := range map[string]int{"small": 5, "streamed": 100 << 10, "parts": 9 << 20} {
		data := bytes.Repeat([]byte("x"), size)
		edits := []edit{}
		if name == "parts" {
			edits = append(edits, unsized)
		}
		put := func(more ...edit) response { return g.PUT(name, data, append(slices.Clone(edits), more...)...) }
		wantProblem(t, put(header("If-Match", `"00000000000000000000000000000000"`)), 404, "NoSuchKey")
		r := put(header("If-None-Match", "*"))
		if r.Status != 201 {
			t.Fatalf("%s: create: got %v, want 201", name, r)
		}
		etag := r.Header.Get("Etag")
		wantProblem(t, put(header("If-None-Match", "*")), 412, "PreconditionFailed")
		wantProblem(t, put(header("If-Match", `"00000000000000000000000000000000"`)), 412, "PreconditionFailed")
		if r := put(header("If-Match", etag)); r.Status != 201 {
			t.Errorf("%s: overwrite: got %v, want 201", name, r)
		}
		wantProblem(t, g.DELETE(name, header("If-Match", `"00000000000000000000000000000000"`)), 412, "PreconditionFailed")
		if open := g.A.Uploads(bucketA); len(open) > 0 {
			t.Errorf("%s: refused uploads are left: %+v", name, open)
		}
		if r := g.DELETE(name, header("If-Match", etag)); r.Status != 204 {
			t.Errorf("%s: delete: got %v, want 204", name, r)
		}
		if r := put(header("If-None-Match", "*")); r.Status != 201 {
			t.Errorf("%s: create again: got %v, want 201", name, r)
		}
		if s := g.status(name); !s.Settled || s.Deleted {
			t.Errorf("%s: %+v", name, s)
		}
	}
	g.awaitConverged()
}

func TestConditionalReadsAndRanges(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	w := g.put("k", "0123456789", header("Cache-Control", "max-age=1"))
	etag, other := `"`+w.ETag+`"`, `"00000000000000000000000000000000"`
	past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		name, value string
		status      int
		body, span  string
	}{
		{"If-None-Match", etag, 304, "", ""},
		{"If-None-Match", "*", 304, "", ""},
		{"If-None-Match", other, 200, "0123456789", ""},
		{"If-Match", etag, 200, "0123456789", ""},
		{"If-Match", other, 412, "", ""},
		{"If-Modified-Since", future, 304, "", ""},
		{"If-Modified-Since", past, 200, "0123456789", ""},
		{"If-Unmodified-Since", past, 412, "", ""},
		{"If-Unmodified-Since", future, 200, "0123456789", ""},
		{"Range", "bytes=0-0", 206, "0", "bytes 0-0/10"},
		{"Range", "bytes=3-5", 206, "345", "bytes 3-5/10"},
		{"Range", "bytes=7-", 206, "789", "bytes 7-9/10"},
		{"Range", "bytes=7-100", 206, "789", "bytes 7-9/10"},
		{"Range", "bytes=-2", 206, "89", "bytes 8-9/10"},
		{"Range", "bytes=10-", 416, "", ""},
		{"Range", "bytes=5-4", 200, "0123456789", ""},
		{"Range", "lines=1-2", 200, "0123456789", ""},
		{"Range", "bytes=0-1,3-4", 200, "0123456789", ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := g.do(method, "/objects/k", nil, header(c.name, c.value))
			if r.Status != c.status || r.Header.Get("Content-Range") != c.span {
				t.Errorf("%s with %s %s: got %v %q, want %d %q", method, c.name, c.value, r, r.Header.Get("Content-Range"), c.status, c.span)
			}
			switch {
			case c.status == 304:
				if r.Header.Get("Etag") != etag || len(r.Body) > 0 {
					t.Errorf("%s with %s %s: got %v %v, want the ETag and no body", method, c.name, c.value, r, r.Header)
				}
			case method == "GET" && c.status < 300:
				if string(r.Body) != c.body {
					t.Errorf("GET with %s %s: got %q, want %q", c.name, c.value, r.Body, c.body)
				}
			case method == "GET":
				wantProblem(t, r, c.status, map[int]string{412: "PreconditionFailed", 416: "InvalidRange"}[c.status])
			}
		}
	}
}

func TestTagsReachTheReplica(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("small", "x", header("x-amz-tagging", "a=1&b=two%20words&c%3D=%2B"))
	if r := g.PUT("parts", make([]byte, 9<<20), unsized, header("x-amz-tagging", "a=1")); r.Status != 201 {
		t.Fatalf("PUT: got %v", r)
	}
	g.awaitConverged()
	o, _ := g.B.Object(bucketB, "small")
	if want := map[string]string{"a": "1", "b": "two words", "c=": "+"}; !maps.Equal(o.Tags, want) {
		t.Errorf("tags in B: got %v, want %v", o.Tags, want)
	}
	if o, _ := g.B.Object(bucketB, "parts"); !maps.Equal(o.Tags, map[string]string{"a": "1"}) {
		t.Errorf("tags in B: got %v, want a=1", o.Tags)
	}
	if got := g.GET("small", query("prefer", "replica")).Header.Get("X-Amz-Tagging-Count"); got != "3" {
		t.Errorf("got X-Amz-Tagging-Count %q, want 3", got)
	}
	// The same bytes with other tags are another version.
	g.put("small", "x", header("x-amz-tagging", "a=2"))
	g.put("parts", "x")
	g.awaitConverged()
	if o, _ := g.B.Object(bucketB, "small"); !maps.Equal(o.Tags, map[string]string{"a": "2"}) {
		t.Errorf("tags in B: got %v, want a=2", o.Tags)
	}
}

// An overwrite that changes only what is stored beside the bytes has the same ETag,
// and is a change all the same.
func TestMetadataOnlyOverwriteReachesTheReplica(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	first := g.put("k", "same", header("x-amz-meta-n", "1"))
	g.awaitConverged()
	second := g.put("k", "same", header("x-amz-meta-n", "2"), header("Content-Type", "text/plain"))
	if first.ETag != second.ETag || first.Version == second.Version {
		t.Errorf("got %+v after %+v, want the same ETag and another version", second, first)
	}
	g.awaitConverged()
	g.put("k", "same")
	g.awaitConverged()
	if o, _ := g.B.Object(bucketB, "k"); len(o.Metadata) > 0 || o.Header["Content-Type"] != "application/octet-stream" {
		t.Errorf("B holds %+v", o)
	}
}

// Parts are copied as they are, so that the ETags of both regions agree.
func TestObjectOfUnknownSizeIsMadeOfEqualPartsInBothRegions(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for name, size := range map[string]int{"just one part": 8 << 20, "a byte more": 8<<20 + 1, "several": 25 << 20, "small": 100} {
		data := bytes.Repeat([]byte("tandem--"), size/8+1)[:size]
		r := g.PUT(name, data, unsized, header("Content-Type", "text/plain"))
		if r.Status != 201 {
			t.Fatalf("PUT %s: got %v, want 201", name, r)
		}
		if w := decode[written](t, r); w.Size != int64(size) {
			t.Errorf("%s: got size %d, want %d", name, w.Size, size)
		}
		g.awaitSettled(name)
		a, _ := g.A.Object(bucketA, name)
		b, _ := g.B.Object(bucketB, name)
		if a.ETag != b.ETag || !bytes.Equal(a.Data, data) || !bytes.Equal(b.Data, data) {
			t.Errorf("%s: A has %d bytes with ETag %s, B %d with %s, want %d equal ones", name, a.Size, a.ETag, b.Size, b.ETag, size)
		}
		sizes := func(parts []regiontest.Part) (all []int64) {
			for _, p := range parts {
				all = append(all, p.Size)
			}
			return all
		}
		if !slices.Equal(sizes(a.Parts), sizes(b.Parts)) {
			t.Errorf("%s: A has parts of %v, B of %v", name, sizes(a.Parts), sizes(b.Parts))
		}
		for i, p := range a.Parts {
			if i < len(a.Parts)-1 && p.Size != 8<<20 {
				t.Errorf("%s: part %d has %d bytes, want 8 MiB", name, i+1, p.Size)
			}
		}
		g.wantObject(name, string(data), query("prefer", "replica"))
	}
	g.awaitConverged()
}

func TestPostMakesSortableUniqueKeys(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	post := func(body string) written {
		t.Helper()
		r := g.do(http.MethodPost, "/objects", strings.NewReader(body))
		w := decode[written](t, r)
		if r.Status != 201 || r.Header.Get("Location") == "" {
			t.Fatalf("POST: got %v with Location %q, want 201", r, r.Header.Get("Location"))
		}
		if read := g.do(http.MethodGet, r.Header.Get("Location"), nil); read.Status != 200 {
			t.Errorf("GET %s: got %v, want 200", r.Header.Get("Location"), read)
		}
		return w
	}
	data := base64.StdEncoding.EncodeToString([]byte("\x00\xff binary"))
	var keys []string
	for range 20 {
		keys = append(keys, post(`{"dataBase64": "`+data+`"}`).Key)
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Errorf("keys are not sorted and unique: %q", keys)
	}
	g.wantObject(keys[0], "\x00\xff binary")
	w := post(`{"dataBase64": "` + data + `", "key": "a//b ?#%", "contentType": "image/png"}` + "\n")
	if w.Key != "a//b ?#%" || w.ContentType != "image/png" || w.Size != 9 {
		t.Errorf("got %+v", w)
	}
	if got := g.wantObject("a//b ?#%", "\x00\xff binary").Header.Get("Content-Type"); got != "image/png" {
		t.Errorf("got Content-Type %q, want image/png", got)
	}
	post(`{"dataBase64": "", "key": "empty"}`)
	g.wantObject("empty", "")
}

// A checksum that is right is kept with the object, and the copy is held against it.
func TestRightChecksumsAreTakenAndKept(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, data := range []string{"", "x", strings.Repeat("y", 100<<10)} {
		for name, value := range map[string]string{
			"Content-MD5": md5Of(data), "x-amz-checksum-crc32": crc32Of(data),
			"x-amz-checksum-sha256": sha256Of(data), "x-amz-checksum-crc64nvme": crc64Of(data),
		} {
			key := fmt.Sprintf("%s of %d", name, len(data))
			g.put(key, data, header(name, value))
			if name != "Content-MD5" {
				if got := g.HEAD(key, header("x-amz-checksum-mode", "ENABLED")).Header.Get(name); got != value {
					t.Errorf("%s: got %q, want %q", key, got, value)
				}
			}
			g.put(key+" unsized", data, unsized, header(name, value))
		}
	}
	g.awaitConverged()
	o, _ := g.B.Object(bucketB, "x-amz-checksum-sha256 of 1")
	if o.Checksum.Algorithm != "SHA256" || o.Checksum.Value != sha256Of("x") {
		t.Errorf("checksum in B: got %+v, want the SHA-256 that the client sent", o.Checksum)
	}
}
