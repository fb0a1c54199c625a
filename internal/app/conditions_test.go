package app_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/region/regiontest"
)

const noSuchETag = `"00000000000000000000000000000000"`

// raw sets a header's values as they are, none of them left out for being empty.
func raw(name string, values ...string) edit {
	return func(r *http.Request) { r.Header[name] = values }
}

// Where the active's S3 takes conditions and ignores them, or refuses them itself, a
// conditional write is refused before anything reaches the key.
func TestConditionThatTheRegionDoesNotHonourIsRefused(t *testing.T) {
	t.Parallel()
	for name, traits := range map[string]regiontest.Options{"ignored": {IgnoreConditions: true}, "refused": {NoConditions: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, options{a: traits})
			w := g.put("k", "content")
			for _, body := range [][]byte{[]byte("other"), make([]byte, 100<<10)} {
				for _, how := range []edit{func(*http.Request) {}, unsized} {
					wantProblem(t, g.PUT("k", body, how, header("If-None-Match", "*")), 501, "NotImplemented")
					wantProblem(t, g.PUT("k", body, how, header("If-Match", noSuchETag)), 501, "NotImplemented")
					wantProblem(t, g.PUT("new", body, how, header("If-None-Match", "*")), 501, "NotImplemented")
				}
			}
			for _, etag := range []string{noSuchETag, `"` + w.ETag + `"`, "*"} {
				wantProblem(t, g.DELETE("k", header("If-Match", etag)), 501, "NotImplemented")
			}
			g.wantObject("k", "content")
			if r := g.GET("new"); r.Status != 404 {
				t.Errorf("GET of what was never written: got %v, want 404", r)
			}
			g.put("k", "without conditions")
			g.remove("k")
		})
	}
}

// Until the active has said what it honours, nothing is written on a condition.
func TestConditionalWriteWaitsForWhatTheRegionHonours(t *testing.T) {
	t.Parallel()
	// The mark of the start is not to learn it first.
	g := newGateway(t, options{prepare: func(a, _ *regiontest.Server) {
		a.SetFaults(onKey("PutObject", ".tandem/probe", regiontest.Fault{Status: 500}))
	}})
	for name, f := range map[string]regiontest.Fault{
		"error": {Status: 500}, "refusal": {Code: "AccessDenied"}, "no bucket": {Code: "NoSuchBucket"}, "cut": {CutBefore: true},
	} {
		g.A.SetFaults(onKey("PutObject", ".tandem/probe", f))
		r := g.PUT("k", []byte("x"), header("If-None-Match", "*"))
		if p := wantProblem(t, r, 503, "ServiceUnavailable"); p.Region != "primary" {
			t.Errorf("%s: got %+v, want the region named", name, p)
		}
		wantProblem(t, g.DELETE("k", header("If-Match", noSuchETag)), 503, "ServiceUnavailable")
	}
	g.wantNothing()
	if s := g.status("k"); len(s.Regions) > 0 {
		t.Errorf("the index knows of a key that was never written: %+v", s)
	}
	g.A.SetFaults(nil)
	g.put("k", "x", header("If-None-Match", "*"))
	wantProblem(t, g.PUT("k", []byte("y"), header("If-None-Match", "*")), 412, "PreconditionFailed")
}

// A condition that cannot be understood, or that S3 has not, is never left out: the
// write would be made where its client forbade it.
func TestConditionIsNeverLeftOut(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	w := g.put("k", "content")
	past, future := "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	for _, c := range []struct {
		name     string
		e        edit
		put, del int
	}{
		{"empty If-Match", raw("If-Match", ""), 400, 400},
		{"If-Match of no ETag", raw("If-Match", `""`), 400, 400},
		{"If-Match of a quote", raw("If-Match", `"`), 400, 400},
		{"If-Match of a star in quotes", raw("If-Match", `"*"`), 400, 400},
		{"weak If-Match", raw("If-Match", `W/"`+w.ETag+`"`), 400, 400},
		{"two ETags", raw("If-Match", `"`+w.ETag+`", `+noSuchETag), 400, 400},
		{"two If-Match", raw("If-Match", `"`+w.ETag+`"`, noSuchETag), 400, 400},
		{"If-Match of another", raw("If-Match", noSuchETag), 412, 412},
		{"If-Match of another, bare", raw("If-Match", strings.Trim(noSuchETag, `"`)), 412, 412},
		{"empty If-None-Match", raw("If-None-Match", ""), 400, 400},
		{"If-None-Match", raw("If-None-Match", "*"), 412, 501},
		{"If-None-Match of an ETag", raw("If-None-Match", noSuchETag), 501, 501},
		{"If-Unmodified-Since", raw("If-Unmodified-Since", past), 501, 501},
		{"If-Unmodified-Since that holds", raw("If-Unmodified-Since", future), 501, 501},
		{"If-Modified-Since", raw("If-Modified-Since", future), 501, 501},
		{"empty If-Unmodified-Since", raw("If-Unmodified-Since", ""), 501, 501},
		{"If-Match by size", raw("X-Amz-If-Match-Size", "1"), 501, 501},
		{"If-Match by time", raw("X-Amz-If-Match-Last-Modified-Time", past), 501, 501},
	} {
		codes := map[int]string{400: "InvalidArgument", 412: "PreconditionFailed", 501: "NotImplemented"}
		t.Run(c.name, func(t *testing.T) {
			wantProblem(t, g.PUT("k", []byte("other"), c.e), c.put, codes[c.put])
			wantProblem(t, g.PUT("k", []byte("other"), c.e, unsized), c.put, codes[c.put])
			wantProblem(t, g.DELETE("k", c.e), c.del, codes[c.del])
			body := strings.NewReader(`{"dataBase64": "aGk=", "key": "k"}`)
			if r := g.do(http.MethodPost, "/objects", body, c.e); r.Status < 400 {
				t.Errorf("POST: got %v, want a refusal", r)
			}
			g.wantObject("k", "content")
		})
	}
	wantProblem(t, g.PUT("k", []byte("other"), raw("If-Match", "*")), 501, "NotImplemented")
	wantProblem(t, g.PUT("k", []byte("other"), raw("If-Match", noSuchETag), raw("If-None-Match", "*")), 501, "NotImplemented")
	g.wantObject("k", "content")
}

// If-Match: * on a DELETE asks for any object.
func TestDeleteOfWhateverIsThere(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "content")
	if r := g.DELETE("k", header("If-Match", "*")); r.Status != 204 {
		t.Errorf("DELETE with If-Match: * of a key that is there: got %v, want 204", r)
	}
	wantProblem(t, g.DELETE("k", header("If-Match", "*")), 404, "NoSuchKey")
	g.awaitConverged()
	g.wantNothing()
}

// A part of an object is answered only to a client that has the rest of the same one.
func TestRangeOfAnotherObjectIsNotAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	old := g.put("k", "0123456789")
	now := g.put("k", "abcdefghij")
	g.awaitSettled("k")
	for _, down := range []bool{false, true} {
		g.A.SetDown(down)
		for _, c := range []struct {
			name   string
			edits  []edit
			status int
			body   string
		}{
			{"the object's ETag", []edit{header("If-Range", `"`+now.ETag+`"`)}, 206, "fghij"},
			{"an older one's ETag", []edit{header("If-Range", `"`+old.ETag+`"`)}, 200, "abcdefghij"},
			{"a weak ETag", []edit{header("If-Range", `W/"`+now.ETag+`"`)}, 200, "abcdefghij"},
			{"two ETags", []edit{header("If-Range", `"`+old.ETag+`", "`+now.ETag+`"`)}, 200, "abcdefghij"},
			{"a date", []edit{header("If-Range", "Fri, 01 Jan 2100 00:00:00 GMT")}, 200, "abcdefghij"},
			{"nothing", []edit{raw("If-Range", "")}, 200, "abcdefghij"},
			{"an older ETag and a condition", []edit{header("If-Range", `"`+old.ETag+`"`), header("If-Match", `"`+now.ETag+`"`)}, 200, "abcdefghij"},
			{"an older ETag and one that does not hold", []edit{header("If-Range", `"`+old.ETag+`"`), header("If-Match", `"`+old.ETag+`"`)}, 412, ""},
			{"an older ETag, nothing new", []edit{header("If-Range", `"`+old.ETag+`"`), header("If-None-Match", `"`+now.ETag+`"`)}, 304, ""},
			{"the object's ETag, nothing new", []edit{header("If-Range", `"`+now.ETag+`"`), header("If-None-Match", `"`+now.ETag+`"`)}, 304, ""},
		} {
			r := g.GET("k", append(c.edits, header("Range", "bytes=5-"))...)
			if r.Status != c.status || r.Status < 300 && string(r.Body) != c.body {
				t.Errorf("A down=%v, If-Range of %s: got %v, want %d %q", down, c.name, r, c.status, c.body)
			}
		}
		wantProblem(t, g.GET("k", header("If-Range", `"`+now.ETag+`"`), header("Range", "bytes=50-")), 416, "InvalidRange")
		wantProblem(t, g.GET("none", header("If-Range", `"`+now.ETag+`"`), header("Range", "bytes=5-")), 404, "NoSuchKey")
	}
}

// A fragment is not stored as if it were the object.
func TestPutOfAPartIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "content")
	for _, value := range []string{"bytes 3-6/7", "bytes 0-3/4", ""} {
		wantProblem(t, g.PUT("k", []byte("TAIL"), raw("Content-Range", value)), 400, "InvalidArgument")
		wantProblem(t, g.PUT("k", bytes.Repeat([]byte("T"), 100<<10), unsized, raw("Content-Range", value)), 400, "InvalidArgument")
	}
	g.wantObject("k", "content")
}
