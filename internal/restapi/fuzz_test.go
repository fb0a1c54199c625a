package restapi_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/s3op"
)

// FuzzRequestIsServedOrRefused is of whole requests, in anybody's name: each is answered,
// never by a fault of ours; what is refused is done in no part; nothing stays unfinished.
func FuzzRequestIsServedOrRefused(f *testing.F) {
	for _, r := range [][4]string{
		{"PUT", "/objects/a%2F..//b", "Content-Type: text/plain\nX-Amz-Meta-A: b\n", "body"},
		{"PUT", "/objects/k", "If-None-Match: *\nX-Amz-Storage-Class: STANDARD_IA\nX-Amz-Tagging: a=b&c=d\n", ""},
		{"PUT", "/objects/kept", "If-Match: \"x\"\nContent-Md5: AAAA\n", "b"},
		{"PUT", "/objects/k", "Content-Range: bytes 0-1/2\nIf-Modified-Since: x\n", "b"},
		{"PUT", "/objects/.tandem/region", "X-Amz-Server-Side-Encryption: AES256\n", "b"},
		{"PUT", "/objects/%FF", "Expect: 100-continue\n", "b"}, {"PUT", "/objects/", "", "b"},
		{"GET", "/objects/kept?prefer=replica&repair=1", "Range: bytes=2-4\nIf-Range: \"x\"\nX-Tandem-Allow-Stale: yes\n", ""},
		{"HEAD", "/objects/kept", "If-None-Match: *\n", ""}, {"DELETE", "/objects/kept", "If-Match: *\n", ""},
		{"GET", "/objects?prefix=k&delimiter=/&limit=1001&cursor=aw", "", ""}, {"GET", "/replication/kept", "", ""},
		{"POST", "/objects", "Content-Type: application/json\n", `{"dataBase64":"aGk=","key":"k"}`},
		{"POST", "/admin/failover/promote", "", `{"dryRun":true}`}, {"POST", "/admin/conflicts/1/resolve", "", `{"keep":"both","key":"k"}`},
		{"GET", "/admin/failovers/2/ledger?format=csv&after=-1", "Accept: text/csv\n", ""}, {"GET", "/admin/audit?limit=0", "", ""},
		{"DELETE", "/admin/regions/b%20c?reason=%00", "", ""}, {"GET", "/admin/state", "", ""}, {"PATCH", "/objects/k", "", ""},
		{"OPTIONS", "*", "", ""}, {"GET", "http://elsewhere/livez?a=%zz;b", "Origin: null\n", ""}, {"GET", "/readyz", "", ""}, {"GET", "/metrics", "", ""},
	} {
		for who := range uint8(4) {
			f.Add(r[0], r[1], r[2], r[3], who%2 == 0, who)
		}
	}
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, method, target, header, body string, isChunked bool, who uint8) {
		r := requestOf(method, target, header, body, isChunked)
		if r == nil || strings.Contains(target+header+body, "c4n4ry") {
			return
		}
		g := newWhole(t, spool)
		if w := g.ask(http.MethodPut, "/objects/kept", "0123456789", nil); w.Code != http.StatusCreated {
			t.Fatalf("got %d: %s", w.Code, w.Body)
		}
		g.changes = nil
		r.Header.Del("Authorization")
		switch who % 4 {
		case 0:
			r.Header.Set("Authorization", "Bearer "+fuzzAdminToken)
		case 1:
			r.Header.Set("Authorization", "Bearer "+fuzzAPIToken)
		case 2:
			r.Header.Set("Authorization", "Bearer "+fuzzRegionKey) // somebody else's
		}
		w := g.serve(r)
		g.wantSecretsKept(w)
		g.wantNothingOpen()
		path := r.URL.EscapedPath()
		isAdmins := strings.HasPrefix(path, "/admin/")
		isOpen := slices.Contains([]string{"/healthz", "/livez", "/readyz", "/metrics"}, path)
		switch {
		case w.Code >= 400:
			g.wantRefusal(w)
		case w.Code < 200:
			t.Errorf("got status %d", w.Code)
		case isAdmins && who%4 != 0, !isOpen && who%4 > 1:
			t.Errorf("%s %s is answered to anybody, with %d", method, target, w.Code)
		case len(g.changes) > 1 || len(g.changes) == 1 && !slices.Contains([]string{"PUT", "POST", "DELETE"}, r.Method):
			t.Errorf("%s %s changed %q", method, target, g.changes)
		}
		if kept, is := g.region.Object(fuzzBucket, "kept"); len(g.changes) == 0 && (!is || string(kept.Data) != "0123456789") {
			t.Errorf("the object is now %+v", kept)
		}
	})
}

// FuzzObjectComesBackAsItWasPut follows an object through everything that speaks of it.
func FuzzObjectComesBackAsItWasPut(f *testing.F) {
	f.Add("k", "body", "text/plain", "author", "someone", "Cache-Control", "no-store", false)
	f.Add("a/../b//\x00\n", "", "", "A_b", "", "Content-Encoding", "gzip", true)
	f.Add(" é%2F+?#\\", "\xff\x00", "x/y; charset=\"é\"", "x.y", "a,b  c", "Expires", "0", false)
	f.Add(strings.Repeat("k", 1024), "b", "text/html", "m", "\xff", "X-Amz-Website-Redirect-Location", "/x", true)
	f.Add("k", "b", "multipart/form-data", "m", "é", "X-Amz-Storage-Class", "STANDARD", false)
	f.Add("k", "b", "", "m", "v", "Content-Language", "de\t, en", false)
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, key, body, contentType, metaName, metaValue, name, value string, isChunked bool) {
		h := http.Header{}
		h.Set("X-Amz-Meta-"+metaName, metaValue)
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		h.Set(name, value)
		if !isSendable(h) || value == "" || h.Get("X-Amz-Meta-"+metaName) != metaValue || strings.ContainsAny(h.Get("Content-Encoding"), ", ") || strings.EqualFold(h.Get("Content-Encoding"), "aws-chunked") {
			return // S3 writes lists of codings anew, without one that is only for the way
		}
		stored := s3op.StoredHeaders(h)
		path := s3op.EscapePath(key)
		g := newWhole(t, spool)
		r := requestOf(http.MethodPut, "/objects/"+path, "Authorization: Bearer "+fuzzAPIToken, body, isChunked)
		if r == nil {
			t.Fatalf("%q has no path", key)
		}
		for name, values := range h {
			if name == "Authorization" {
				return
			}
			r.Header[name] = values
		}
		w := g.serve(r)
		g.wantNothingOpen()
		if w.Code >= 400 {
			g.wantRefusal(w)
			return
		}
		written := decodeInto[struct{ Key, ETag, Version string }](t, w)
		held, _ := g.region.Object(fuzzBucket, key)
		if written.Key != key || string(held.Data) != body || len(g.changes) != 1 || s3op.CheckKey(key) != nil || s3op.IsReserved(key) {
			t.Fatalf("put %q: got %+v, the region has %q", key, written, held.Data)
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := g.ask(method, "/objects/"+path, "", nil)
			if w.Code != http.StatusOK || method == http.MethodGet && w.Body.String() != body || w.Header().Get("Content-Length") != strconv.Itoa(len(body)) ||
				s3op.TrimETag(w.Header().Get("Etag")) != written.ETag {
				t.Errorf("%s %q: got %d, %v, %q", method, key, w.Code, w.Header(), w.Body)
			}
			for name, values := range stored {
				if got := w.Header()[name]; !slices.Equal(got, values) {
					t.Errorf("%s %q: got %s %q, want %q", method, key, name, got, values)
				}
			}
		}
		status := decodeInto[struct {
			Key, Version, ETag string
			Size               int
		}](t, g.ask(http.MethodGet, "/replication/"+path, "", nil))
		if status.Key != key || status.Version != written.Version || status.ETag != written.ETag || status.Size != len(body) {
			t.Errorf("%q is known as %+v, want %+v", key, status, written)
		}
		if got, _ := list(t, g, url.Values{}); !slices.Equal(got, []string{key}) {
			t.Errorf("%q is listed as %q", key, got)
		}
		if w := g.ask(http.MethodDelete, "/objects/"+path, "", nil); w.Code != http.StatusNoContent || len(g.region.Keys(fuzzBucket)) > 0 {
			t.Errorf("delete %q: got %d, the region has %q", key, w.Code, g.region.Keys(fuzzBucket))
		}
		if w := g.ask(http.MethodGet, "/objects/"+path, "", nil); w.Code != http.StatusNotFound {
			t.Errorf("%q was deleted: got %d", key, w.Code)
		}
	})
}

// list returns the names on a page, objects' and common prefixes', and the cursor of the next.
func list(t *testing.T, g *whole, query url.Values) (names []string, next string) {
	t.Helper()
	w := g.ask(http.MethodGet, "/objects?"+query.Encode(), "", nil)
	if w.Code >= 400 {
		g.wantRefusal(w)
		return nil, ""
	}
	page := decodeInto[struct {
		Objects        []struct{ Key string }
		CommonPrefixes []string
		Truncated      bool
		Cursor         *string
	}](t, w)
	for _, o := range page.Objects {
		names = append(names, o.Key)
	}
	names = append(names, page.CommonPrefixes...)
	slices.Sort(names)
	if page.Truncated != (page.Cursor != nil) {
		t.Errorf("truncated: %v, cursor: %v", page.Truncated, page.Cursor)
	}
	if page.Cursor != nil {
		next = *page.Cursor
	}
	return names, next
}

// FuzzListingHasEveryKeyOnce walks a listing from its beginning, and from any cursor.
func FuzzListingHasEveryKeyOnce(f *testing.F) {
	f.Add("a\xffa/b\xffa/c\xffb\xff.tandem/x", "", "/", "2", "")
	f.Add("a b+c%2F\xff\x01\x02\xff\U0010FFFF/\xffé\xff\u007f", "", "", "1", "YQ")
	f.Add("x//y\xffx/\xffx/a/b\xff../z\xff/", "x/", "/", "1", "eC8v")
	f.Add("a\xffab\xffabc\xffabab", "a", "ab", "1", "YWI")
	f.Add("a\x00\xffa\xffb", "a\x00", "\x00", "1000", "")
	f.Add("k", "\xff", "\xff", "0", "*")
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, joined, prefix, delimiter, limit, cursor string) {
		g := newWhole(t, spool)
		want := make(map[string]bool) // names
		for i, key := range strings.Split(joined, "\xff") {
			if i == 12 {
				break
			}
			if s3op.CheckKey(key) != nil {
				continue
			}
			g.region.Put(fuzzBucket, key, nil)
			rest, below := strings.CutPrefix(key, prefix)
			if !below || s3op.IsReserved(key) {
				continue
			}
			if before, _, found := strings.Cut(rest, delimiter); found && delimiter != "" {
				key = prefix + before + delimiter
			}
			want[key] = true
		}
		query := url.Values{"prefix": {prefix}, "delimiter": {delimiter}, "limit": {limit}, "cursor": {cursor}}
		all := slices.Sorted(maps.Keys(want))
		if after, err := base64.RawURLEncoding.DecodeString(cursor); err == nil {
			all = slices.DeleteFunc(all, func(name string) bool { return name <= string(after) })
		}
		n, err := strconv.Atoi(limit)
		w := g.ask(http.MethodGet, "/objects?"+query.Encode(), "", nil)
		if w.Code >= 400 {
			isLegal := (limit == "" || err == nil && 1 <= n && n <= 1000) && cursor == "" && utf8.ValidString(prefix+"|"+delimiter)
			if g.wantRefusal(w); isLegal {
				t.Errorf("%v is refused", query)
			}
			return
		}
		var got []string
		for pages := 0; ; pages++ {
			names, next := list(t, g, query)
			if limit != "" && len(names) > n || pages > 13 {
				t.Fatalf("page %d of %v has %q", pages, query, names)
			}
			if got = append(got, names...); next == "" {
				break
			}
			query.Set("cursor", next)
		}
		if !slices.Equal(got, all) {
			t.Errorf("%v of %q: got %q, want %q", query, joined, got, all)
		}
	})
}

var rangeOfTen = regexp.MustCompile(`^bytes ([0-9])-([0-9])/10$`)

// FuzzRangeIsOfTheObjectAskedFor compares what a read with conditions gives with the object,
// and with what net/http makes of the same request.
func FuzzRangeIsOfTheObjectAskedFor(f *testing.F) {
	const content, etag = "0123456789", `"781e5e245d69b566979b86e28d23f2c7"`
	for _, r := range []string{"", "bytes=2-4", "bytes=-3", "bytes=5-", "bytes=0-99", "bytes=10-", "bytes=4-2", "bytes=0-0,2-3", "octets=1-2", "bytes=18446744073709551616-", "bytes= 1-2", "bytes=-0", "bytes=--1"} {
		f.Add(r, "", "", "", false)
		f.Add(r, etag, "", "", false)
		f.Add(r, `"other"`, etag, "", true)
	}
	f.Add("bytes=1-2", `W/`+etag, "", "", false)
	f.Add("bytes=1-2", "Sun, 01 Mar 2026 12:00:00 GMT", "", "", false)
	f.Add("", "", `"other", `+etag, "", false)
	f.Add("", "", "*", `"other"`, true)
	f.Add("bytes=1-2", "", "", etag, false)
	f.Add("bytes=1-2", etag, "", "*", true)
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, byteRange, ifRange, ifMatch, ifNoneMatch string, headOnly bool) {
		h := http.Header{}
		for name, value := range map[string]string{"Range": byteRange, "If-Range": ifRange, "If-Match": ifMatch, "If-None-Match": ifNoneMatch} {
			if value != "" {
				h.Set(name, value)
			}
		}
		if !isSendable(h) {
			return
		}
		g := newWhole(t, spool)
		if w := g.ask(http.MethodPut, "/objects/k", content, nil); w.Header().Get("Etag") != etag {
			t.Fatalf("got %d, %v", w.Code, w.Header())
		}
		g.changes = nil
		method := http.MethodGet
		if headOnly {
			method = http.MethodHead
		}
		w := g.ask(method, "/objects/k", "", h.Clone())
		body := w.Body.String()
		switch w.Code {
		case http.StatusOK:
			if !headOnly && body != content || w.Header().Get("Content-Length") != "10" || w.Header().Get("Content-Range") != "" {
				t.Errorf("%v: got %q, %v, want all of it", h, body, w.Header())
			}
		case http.StatusPartialContent:
			m := rangeOfTen.FindStringSubmatch(w.Header().Get("Content-Range"))
			if m == nil || byteRange == "" || m[1] > m[2] || !headOnly && body != content[m[1][0]-'0':m[2][0]-'0'+1] {
				t.Errorf("%v: got %q, %v", h, body, w.Header())
			}
			if ifRange != "" && ifRange != etag {
				t.Errorf("%v: a part of another object is answered: %v", h, w.Header())
			}
		case http.StatusNotModified:
			if ifNoneMatch == "" || body != "" || w.Header().Get("Etag") != etag {
				t.Errorf("%v: got 304 with %q, %v", h, body, w.Header())
			}
		default:
			g.wantRefusal(w)
			isExpected := w.Code == http.StatusPreconditionFailed && ifMatch != "" || w.Code == http.StatusRequestedRangeNotSatisfiable && byteRange != ""
			if !isExpected {
				t.Errorf("%v: got %d", h, w.Code)
			}
		}
		if want, comparable := ofNetHTTP(method, h, etag, content); comparable && w.Code != want {
			t.Errorf("%v: got %d, net/http answers %d", h, w.Code, want)
		}
	})
}

var (
	oneRange = regexp.MustCompile(`^bytes=([0-9]{1,9}-[0-9]{0,9}|-[1-9][0-9]{0,8})$`)
	oneETag  = regexp.MustCompile(`^"[0-9a-z]+"$`)
)

// ofNetHTTP is net/http's status, and whether S3 would give the same: it takes one range and
// no list of ETags for granted, and answers what is no range with everything.
func ofNetHTTP(method string, h http.Header, etag, content string) (status int, comparable bool) {
	for name, form := range map[string]*regexp.Regexp{"Range": oneRange, "If-Range": oneETag, "If-Match": oneETag, "If-None-Match": oneETag} {
		if value := h.Get(name); value != "" && !form.MatchString(value) {
			return 0, false
		}
	}
	if h.Get("If-Range") != "" && h.Get("If-Match") != "" {
		return 0, false // the whole is right, if more than was asked for
	}
	r := httptest.NewRequest(method, "/", nil)
	r.Header = h
	w := httptest.NewRecorder()
	w.Header().Set("Etag", etag)
	http.ServeContent(w, r, "k", time.Time{}, strings.NewReader(content))
	first, last, isSpan := strings.Cut(strings.TrimPrefix(h.Get("Range"), "bytes="), "-")
	a, _ := strconv.Atoi(first)
	b, err := strconv.Atoi(last)
	if isSpan && first != "" && err == nil && a > b {
		return 0, false
	}
	return w.Code, true
}

// FuzzBodyIsWhatItsChecksumsSay is of what a client says of its body, sized or not.
func FuzzBodyIsWhatItsChecksumsSay(f *testing.F) {
	sums := []struct {
		name string
		of   func(data []byte) []byte
	}{
		{"Content-Md5", func(data []byte) []byte { s := md5.Sum(data); return s[:] }},
		{"X-Amz-Checksum-Crc32", func(data []byte) []byte { return crc(crc32.IEEE, data) }},
		{"X-Amz-Checksum-Crc32c", func(data []byte) []byte { return crc(crc32.Castagnoli, data) }},
		{"X-Amz-Checksum-Sha1", func(data []byte) []byte { s := sha1.Sum(data); return s[:] }},
		{"X-Amz-Checksum-Sha256", func(data []byte) []byte { s := sha256.Sum256(data); return s[:] }},
	}
	right := func(which int, body string) string {
		return base64.StdEncoding.EncodeToString(sums[which].of([]byte(body)))
	}
	for which := range sums {
		for _, isChunked := range []bool{false, true} {
			f.Add("body", uint8(which), right(which, "body"), isChunked)
			f.Add("body", uint8(which), right(which, "other"), isChunked)
		}
	}
	f.Add("body", uint8(0), strings.TrimRight(right(0, "body"), "="), true)
	f.Add("", uint8(1), "AAAAAB==", true)
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, body string, which uint8, value string, isChunked bool) {
		sum := sums[int(which)%len(sums)]
		h := http.Header{sum.name: {value}}
		if !isSendable(h) || value == "" {
			return
		}
		g := newWhole(t, spool)
		r := requestOf(http.MethodPut, "/objects/k", "Authorization: Bearer "+fuzzAPIToken, body, isChunked)
		maps.Copy(r.Header, h)
		w := g.serve(r)
		g.wantNothingOpen()
		raw, err := base64.StdEncoding.DecodeString(value)
		isRight := err == nil && bytes.Equal(raw, sum.of([]byte(body)))
		switch {
		case w.Code >= 400:
			if g.wantRefusal(w); isRight && base64.StdEncoding.EncodeToString(raw) == value {
				t.Errorf("%s %q of %q is refused: %d", sum.name, value, body, w.Code)
			}
		case !isRight:
			t.Errorf("%s %q of %q is accepted", sum.name, value, body)
		}
	})
}

func crc(polynomial uint32, data []byte) []byte {
	n := crc32.Checksum(data, crc32.MakeTable(polynomial))
	return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// members reads a JSON object with these names, in upper or lower case; nil where the text is
// anything else, or says one thing twice, or has half a character in it.
func members(text string, names ...string) map[string]any {
	decoder := json.NewDecoder(strings.NewReader(text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	all := make(map[string]any)
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil
		}
		var value any
		known := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name.(string)) })
		if known < 0 {
			return nil
		}
		if _, twice := all[names[known]]; twice || decoder.Decode(&value) != nil {
			return nil
		}
		all[names[known]] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil
	}
	if !utf8.ValidString(text) || hasHalfCharacter(text) {
		return nil
	}
	return all
}

var (
	escapedBackslash = strings.NewReplacer(`\\`, "")
	pair             = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`)
	half             = regexp.MustCompile(`(?i)\\ud[89a-f][0-9a-f]{2}`)
)

func hasHalfCharacter(text string) bool {
	return half.MatchString(pair.ReplaceAllString(escapedBackslash.Replace(text), ""))
}

func FuzzPostedObjectIsWhatTheJSONSays(f *testing.F) {
	for _, body := range []string{
		`{"dataBase64":"aGk=","key":"k","contentType":"text/plain"}`, `{"dataBase64":""}`, `{"dataBase64":"aGk","key":"k"}`, `{"dataBase64":"aGl=","key":"k"}`,
		`{"dataBase64":"aG\nk=","key":"k"}`, `{"dataBase64":null,"key":"k"}`, `null`, `[]`, `{"data":"aGk="}`, `{"dataBase64":"aGk=","key":"\ud83d\ude00\\ud800"}`,
		`{"dataBase64":"aGk=","key":"a/../\u0000"}`, `{"dataBase64":"aGk=","contentType":"a\r\nb"}`, `{"dataBase64":"aGk=","key":".tandem/region"} `, `{"dataBase64":"aGk="}{}`,
		`{"dataBase64":"aGk=","key":"k","contentType":"é"}`, `{"DATABASE64":"aGk=","Key":"k"}`, `{"dataBase64":"aGk=","contentType":" x "}`,
	} {
		f.Add(body)
	}
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, body string) {
		g := newWhole(t, spool)
		w := g.ask(http.MethodPost, "/objects", body, nil)
		g.wantNothingOpen()
		if w.Code >= 400 {
			g.wantRefusal(w)
			return
		}
		said := members(body, "dataBase64", "key", "contentType")
		text, _ := said["dataBase64"].(string)
		data, err := base64.StdEncoding.Strict().DecodeString(text)
		if said == nil || said["dataBase64"] == nil || err != nil {
			t.Fatalf("%q is accepted (%v)", body, err)
		}
		written := decodeInto[struct{ Key, ContentType string }](t, w)
		if key, named := said["key"].(string); named && key != "" && key != written.Key {
			t.Errorf("%q: got key %q", body, written.Key)
		}
		if contentType, _ := said["contentType"].(string); contentType != "" && contentType != written.ContentType {
			t.Errorf("%q: got type %q", body, written.ContentType)
		}
		held, is := g.region.Object(fuzzBucket, written.Key)
		if !is || !bytes.Equal(held.Data, data) || len(g.changes) != 1 || held.Header["Content-Type"] != written.ContentType {
			t.Errorf("%q: the region has %+v at %q", body, held, written.Key)
		}
		if location := w.Header().Get("Location"); location != "/objects/"+s3op.EscapePath(written.Key) {
			t.Errorf("%q: it is at %s", body, location)
		}
	})
}

// FuzzOrderIsWhatTheJSONSays is of what an operator sends: a promotion, and the decision of a
// conflict. What is done is what the JSON says, or nothing is.
func FuzzOrderIsWhatTheJSONSays(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `{"region":"b","force":true,"dryRun":false,"reason":"é"}`, `{"dryRun":true}`, `{"dry_run":true}`, `{"region":1}`, `[]`, `{"force":null}`, `{} {}`,
		`{"keep":"winner"}`, `{"keep":"both","key":"a/b"}`, `{"keep":"","key":null}`, `{"KEEP":"loser"}`, `{"keep":"both","key":"\ud83d\ude00"}`,
	} {
		f.Add(body, true)
		f.Add(body, false)
	}
	f.Fuzz(func(t *testing.T, body string, isPromotion bool) {
		front := newFront(t)
		front.failover.result = failover.Result{Failover: &front.records.failovers[0]}
		front.records.conflicts = conflicts()
		path := "/admin/conflicts/1/resolve"
		if isPromotion {
			path = "/admin/failover/promote"
		}
		w := front.do(http.MethodPost, path, body)
		said := members(body, "region", "force", "dryRun", "reason")
		if !isPromotion {
			said = members(body, "keep", "key")
		}
		text := func(name string) string { s, _ := said[name].(string); return s }
		is := func(name string) bool { b, _ := said[name].(bool); return b }
		if w.Code >= 400 {
			front.wantProblem(w, w.Code, map[int]string{400: "MalformedJSON", 413: "EntityTooLarge"}[w.Code])
			if len(front.failover.asked)+len(front.gateway.resolved) > 0 || w.Code >= 500 {
				t.Errorf("%q is refused with %d, and done: %+v, %+v", body, w.Code, front.failover.asked, front.gateway.resolved)
			}
			return
		}
		if said == nil && !(isPromotion && body == "") {
			t.Fatalf("%q is obeyed: %+v, %+v", body, front.failover.asked, front.gateway.resolved)
		}
		if isPromotion {
			want := failover.Request{Region: text("region"), Force: is("force"), DryRun: is("dryRun"), Reason: text("reason"), Actor: "admin"}
			if diff := cmp.Diff([]failover.Request{want}, front.failover.asked, cmp.AllowUnexported(failover.Request{})); diff != "" {
				t.Errorf("%q (-want +got):\n%s", body, diff)
			}
		} else if got := front.gateway.resolved; len(got) != 1 || string(got[0].Keep) != text("keep") || got[0].Key != text("key") || got[0].ID != 1 {
			t.Errorf("%q: got %+v", body, got)
		}
	})
}

var wholeNumber = regexp.MustCompile(`^\+?0*[0-9]{1,18}$`)

// FuzzPageIsTheOneAskedFor is of the parameters of the admin's lists.
func FuzzPageIsTheOneAskedFor(f *testing.F) {
	f.Add("after=1&limit=2", uint8(0))
	f.Add("after=-1", uint8(1))
	f.Add("limit=0&all=1", uint8(0))
	f.Add("limit=1001", uint8(2))
	f.Add("after=99999999999999999999&format=json", uint8(2))
	f.Add("after=1;limit=2&all=yes", uint8(0))
	f.Add("format=CSV&limit=%31", uint8(2))
	f.Add("limit=1&limit=x", uint8(1))
	f.Fuzz(func(t *testing.T, query string, which uint8) {
		path := []string{"/admin/conflicts", "/admin/audit", "/admin/failovers/2/ledger"}[which%3]
		r := requestOf(http.MethodGet, path+"?"+query, "Authorization: Bearer "+adminToken, "", false)
		if r == nil || r.URL.EscapedPath() != path {
			return
		}
		front := newFront(t)
		front.records.ledger = entries(5)
		front.records.conflicts = conflicts()
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		values := r.URL.Query()
		after, limit := values.Get("after"), values.Get("limit")
		n, _ := strconv.Atoi(limit)
		isLegal := (after == "" || wholeNumber.MatchString(after)) && (limit == "" || wholeNumber.MatchString(limit) && 1 <= n && n <= 1000)
		if w.Code >= 400 {
			front.wantProblem(w, 400, "InvalidArgument")
			if isLegal && values.Get("all") == "" && values.Get("format") == "" {
				t.Errorf("%q is refused: %s", query, w.Body)
			}
			return
		}
		if w.Code != http.StatusOK {
			t.Fatalf("%q: got %d", query, w.Code)
		}
		if w.Header().Get("Content-Type") != "application/json" {
			if values.Get("format") != "csv" {
				t.Errorf("%q: got %v", query, w.Header())
			}
			return // all of it, whatever page is asked for
		}
		page := decodeInto[struct {
			Entries, Conflicts []struct{ ID, Index int64 }
			Next               *int64
		}](t, w)
		last, _ := strconv.ParseInt(after, 10, 64)
		rows := append(page.Entries, page.Conflicts...)
		for _, e := range rows {
			if id := e.ID + e.Index; id <= last {
				t.Errorf("%q: row %d comes after %d", query, id, last)
			} else {
				last = id
			}
		}
		if !isLegal || limit != "" && len(rows) > n || page.Next != nil && *page.Next != last {
			t.Errorf("%q: got %s", query, w.Body)
		}
	})
}

// FuzzLedgerHasEveryTextAsItIs reads what an entry says back from CSV, by RFC 4180 alone, and
// from JSON.
func FuzzLedgerHasEveryTextAsItIs(f *testing.F) {
	f.Add("a,b\"c\r\nd\re\n", " =1+1", "e\"-2")
	f.Add("", "", "")
	f.Add(`\.`, "é\u2028</script>", "\x00")
	f.Fuzz(func(t *testing.T, key, reason, etag string) {
		if !utf8.ValidString(key + "|" + reason + "|" + etag) {
			return // no row has it
		}
		front := newFront(t)
		e := entries(1)[0]
		e.Key, e.Reason, e.ETag, e.Outcome = key, reason, etag, "lost"
		front.records.ledger = []failover.Entry{e}
		rows := records(t, front.do(http.MethodGet, "/admin/failovers/2/ledger?format=csv", "").Body.String())
		if len(rows) != 2 || len(rows[0]) != len(rows[1]) {
			t.Fatalf("got %q", rows)
		}
		listed := decodeInto[struct{ Entries []map[string]any }](t, front.do(http.MethodGet, "/admin/failovers/2/ledger", "")).Entries
		if len(listed) != 1 {
			t.Fatalf("got %v", listed)
		}
		for name, want := range map[string]string{"key": key, "reason": reason, "etag": etag} {
			if got := rows[1][slices.Index(rows[0], name)]; got != want {
				t.Errorf("CSV: %s is %q, want %q", name, got, want)
			}
			if got := listed[0][name]; got != want {
				t.Errorf("JSON: %s is %q, want %q", name, got, want)
			}
		}
	})
}

// records reads CSV. Unlike encoding/csv it leaves the ends of lines in a field as they are.
func records(t *testing.T, text string) (rows [][]string) {
	t.Helper()
	var row []string
	for text != "" {
		var field string
		if quoted, ok := strings.CutPrefix(text, `"`); ok {
			for {
				before, rest, found := strings.Cut(quoted, `"`)
				if !found {
					t.Fatalf("a quote is open: %q", text)
				}
				field += before
				if quoted, ok = strings.CutPrefix(rest, `"`); !ok {
					text = rest
					break
				}
				field += `"`
			}
		} else {
			end := strings.IndexAny(text, ",\n")
			field, text = text[:end], text[end:]
		}
		row = append(row, field)
		if text[0] == '\n' {
			rows, row = append(rows, row), nil
		} else if text[0] != ',' {
			t.Fatalf("there is more behind a field: %q", text)
		}
		text = text[1:]
	}
	return rows
}

// FuzzExportedEntryHasItsHash recomputes the hash of an entry of the audit chain from what the
// API says of it, as anybody may who has an export.
func FuzzExportedEntryHasItsHash(f *testing.F) {
	f.Add("write", "client", "photos", "cats/1.jpg", "1-1", "primary", "put e 1", int64(1_772_366_400_000_001))
	f.Add("", "", "", "a\x00\r\n\u2028\ufffd</script>", "", "", "{\"reason\":\"\\u003c\"}", int64(-1))
	f.Fuzz(func(t *testing.T, action, actor, bucket, key, version, region, detail string, micros int64) {
		when := time.UnixMicro(micros).UTC()
		if !utf8.ValidString(action+"|"+actor+"|"+bucket+"|"+key+"|"+version+"|"+region+"|"+detail) || when.Year() < 0 || when.Year() > 9999 {
			return
		}
		e := audit.Entry{
			Index: 1, At: when, Action: audit.Action(action), Actor: actor, Bucket: bucket, Key: key, Version: version, Region: region, Detail: detail,
		}
		before := audit.Genesis("journal")
		front := newFront(t)
		front.records.entries = []audit.Linked{{Entry: e, Hash: audit.Link(before, e)}}
		listed := decodeInto[struct {
			Entries []struct {
				audit.Entry
				Hash audit.Hash
			}
		}](t, front.do(http.MethodGet, "/admin/audit", "")).Entries
		if len(listed) != 1 || listed[0].Entry != e || audit.Link(before, listed[0].Entry) != listed[0].Hash {
			t.Errorf("%+v is exported as %+v", e, listed)
		}
	})
}

// FuzzOnlyAHolderOfATokenIsAnswered is of the headers that decide who is answered, with
// tokens and without.
func FuzzOnlyAHolderOfATokenIsAnswered(f *testing.F) {
	for _, a := range []string{"", "Bearer " + adminToken, "bearer  " + adminToken + " ", "Bearer " + apiToken, "Basic " + adminToken, "Bearer\t" + adminToken, "Bearer " + adminToken + "x"} {
		f.Add(a, "localhost:8110", "", "", true)
	}
	for _, host := range []string{"", "localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "::1", "evil.example@127.0.0.1", "127.0.0.1.example", "127.1", "[localhost]", "[::1%25x]:1", "0x7f000001", "localhost:x"} {
		f.Add("", host, "", "", false)
		f.Add("", "localhost", "http://"+host, "", false)
	}
	f.Add("", "localhost", "null", "", false)
	f.Add("", "localhost", "", "cross-site", false)
	f.Fuzz(func(t *testing.T, authorization, host, origin, site string, hasTokens bool) {
		front := newFront(t)
		r := httptest.NewRequest(http.MethodGet, "/admin/failovers", nil)
		r.Host = host
		for name, value := range map[string]string{"Authorization": authorization, "Origin": origin, "Sec-Fetch-Site": site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if !hasTokens {
			front.Access = restapi.NewAccess("", nil, true)
		}
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			front.wantProblem(w, w.Code, map[int]string{401: "Unauthorized", 403: decodeInto[struct{ Code string }](t, w).Code}[w.Code])
			return
		}
		words := strings.Fields(authorization)
		if hasTokens && (len(words) != 2 || !strings.EqualFold(words[0], "Bearer") || words[1] != adminToken) {
			t.Errorf("%q opens the admin API", authorization)
		}
		if !hasTokens && (!isLocal(host) || site == "cross-site") {
			t.Errorf("Host %q (%q) opens the admin API", host, site)
		}
		if !hasTokens && origin != "" {
			if u, err := url.Parse(origin); err != nil || !isLocal(u.Host) {
				t.Errorf("Origin %q opens the admin API", origin)
			}
		}
	})
}

var localHost = regexp.MustCompile(`(?i)^\[*(localhost|127(\.[0-9]{1,3}){3}|[0:]+:0*1|[0:]+:ffff:(127(\.[0-9]{1,3}){3}|7f[0-9a-f]{2}:[0-9a-f]{1,4}))(%[^\]]*)?\]*(:[^:]*)?$`)

func isLocal(host string) bool { return localHost.MatchString(host) }
