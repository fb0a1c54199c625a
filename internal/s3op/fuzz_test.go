package s3op_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/gnew/tandem/internal/s3op"
)

func FuzzCheckKeyTakesWhatS3Does(f *testing.F) {
	for _, key := range []string{"", "k", ".tandem/region", "../a//b/./\x00\n ", "\xff", "k\xc3", "\xed\xa0\x80", strings.Repeat("é", 512), strings.Repeat("é", 513)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		// Runes that did not decode come back as other bytes.
		isLegal := 0 < len(key) && len(key) <= 1024 && string([]rune(key)) == key
		err := s3op.CheckKey(key)
		if (err == nil) != isLegal {
			t.Fatalf("got %v of %q, which is legal: %v", err, key, isLegal)
		}
		if err != nil && s3op.KindOf(err) != s3op.Invalid {
			t.Errorf("got kind %d of %q, want Invalid", s3op.KindOf(err), key)
		}
	})
}

func FuzzEscapedPathIsTheKey(f *testing.F) {
	for _, key := range []string{"plain/key-1_2.~", "a b+c", "é", "//../.", "?#%&=:@!$'()*,;", "\x00\n\x7f\xff", "%2F"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		path := s3op.EscapePath(key)
		if want := strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(key)); path != want {
			t.Errorf("got %s of %q, want %s", path, key, want)
		}
		if back, err := url.PathUnescape(path); err != nil || back != key {
			t.Errorf("got %q back (%v), want %q", back, err, key)
		}
		u, err := url.ParseRequestURI("/" + path)
		if err != nil || u.Path != "/"+key || u.EscapedPath() != "/"+path || u.RawQuery != "" {
			t.Errorf("a server reads %q (%v), want %q", u, err, key)
		}
	})
}

func FuzzBareETagStaysBare(f *testing.F) {
	for _, etag := range []string{``, `e`, `"e"`, `W/"e"`, `""`, `"`, `W/`, `"W/e"`, `""e""`} {
		f.Add(etag)
	}
	f.Fuzz(func(t *testing.T, etag string) {
		bare := s3op.TrimETag(etag)
		if !strings.Contains(etag, bare) || strings.HasPrefix(bare, `"`) || strings.HasSuffix(bare, `"`) {
			t.Errorf("got %q of %q", bare, etag)
		}
		if again := s3op.TrimETag(s3op.QuoteETag(bare)); again != bare {
			t.Errorf("got %q, quoted and bare again %q", bare, again)
		}
	})
}

func FuzzStoredHeadersAreThoseOfAnObject(f *testing.F) {
	f.Add("Content-Type", "text/plain", "x-amz-meta-a", "1")
	f.Add("authorization", "Bearer x", "X-Amz-Storage-Class", "STANDARD")
	f.Add("X-Amz-Meta-", "", "X-Amz-Metadata-Directive", "REPLACE")
	f.Add("X-Amz-Tagging", "a=b", "X-Amz-Server-Side-Encryption-Customer-Key", "secret")
	f.Add("X-Amz-Checksum-Crc32", "x", "X-Amz-Checksum-Algorithm", "CRC32")
	stored := []string{"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
		"x-amz-storage-class", "x-amz-website-redirect-location"}
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		if strings.ContainsFunc(name1+name2, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) || r > '~' }) {
			return // http.Header leaves such names as they are
		}
		given := http.Header{}
		given.Add(name1, value1)
		given.Add(name2, value2)
		before := given.Clone()
		kept := s3op.StoredHeaders(given)
		for name, values := range given {
			lower := strings.ToLower(name)
			isStored := slices.Contains(stored, lower) || strings.HasPrefix(lower, "x-amz-meta-")
			if lower == "x-amz-storage-class" && values[0] == "STANDARD" {
				isStored = false
			}
			if got := kept[name]; isStored != (got != nil) || isStored && !slices.Equal(got, values) {
				t.Errorf("%s: %q is kept as %q, want that: %v", name, values, got, isStored)
			}
			if sum := s3op.ChecksumHeaders(given)[name]; sum != nil && !strings.HasPrefix(lower, "x-amz-checksum-") {
				t.Errorf("%s passes for a checksum", name)
			}
		}
		if len(kept) > len(given) || !reflect.DeepEqual(s3op.StoredHeaders(kept), kept) {
			t.Errorf("kept %v of %v, and of that not the same", kept, given)
		}
		if !reflect.DeepEqual(given, before) {
			t.Errorf("%v was changed to %v", before, given)
		}
	})
}

func FuzzTargetIsWhatWasSent(f *testing.F) {
	f.Add("photos.s3.test:8110", "a//../%2F+b", "s3.test")
	f.Add("[::1]:8110", "k", "s3.test")
	f.Add("PHOTOS.S3.TEST.", "%zz", "s3.test")
	f.Add("s3.test", "é\x00", "")
	f.Add(":", "", ".")
	f.Fuzz(func(t *testing.T, host, text, domain string) {
		for _, path := range []string{text, "/" + text, "/photos/" + text} {
			bucket, key, err := s3op.ParseTarget(host, path, domain)
			if err != nil {
				if s3op.KindOf(err) != s3op.Invalid || bucket+key != "" {
					t.Errorf("%q%q: got %q, %q with %v", host, path, bucket, key, err)
				}
				continue
			}
			if bucket == "" && key != "" || bucket != "" && s3op.CheckBucket(bucket) != nil || key != "" && s3op.CheckKey(key) != nil {
				t.Errorf("%q%q: got %q, %q, which are not legal", host, path, bucket, key)
			}
		}
		if s3op.CheckKey(text) != nil {
			return
		}
		for _, path := range []string{"/photos/" + s3op.EscapePath(text), "/photos/" + strings.ReplaceAll(text, "%", "%25")} {
			if bucket, key, err := s3op.ParseTarget("127.0.0.1", path, "s3.test"); bucket != "photos" || key != text || err != nil {
				t.Errorf("%q: got %q, %q (%v), want the key %q", path, bucket, key, err, text)
			}
			path = strings.TrimPrefix(path, "/photos")
			if bucket, key, err := s3op.ParseTarget("photos.s3.test", path, "s3.test"); bucket != "photos" || key != text || err != nil {
				t.Errorf("%q of a host: got %q, %q (%v), want the key %q", path, bucket, key, err, text)
			}
		}
	})
}

// A request is taken for the same operation by who sent it, by us, and by the
// region, to which its query goes in another spelling.
func FuzzOperationDoesNotDependOnSpelling(f *testing.F) {
	for _, query := range []string{"", "acl", "uploadId=u&partNumber=1", "list-type=2&prefix=a%20b", "x-id=GetObject", "metrics&id=", "acl&tagging", "%zz", "a;acl",
		"t%61gging=", "&&=&", "select&select-type=2", "x%2Damz-copy-source=b/k", "uploadId=", "append&position=1"} {
		f.Add("GET", "k", query, "X-Amz-Copy-Source")
		f.Add("PUT", "k", query, "X-Minio-Extract")
		f.Add("POST", "", query, "X-Amz-Request-Route")
	}
	f.Fuzz(func(t *testing.T, method, key, query, header string) {
		h := http.Header{http.CanonicalHeaderKey(header): {"x"}}
		for _, bucket := range []string{"photos", ""} {
			if bucket == "" {
				key = ""
			}
			info, err := s3op.Classify(method, bucket, key, query, h)
			if err != nil {
				e, ok := err.(*s3op.Error)
				if !ok || e.Code == "" || e.Message == "" || !slices.Contains([]s3op.Kind{s3op.Invalid, s3op.NotImplemented, s3op.MethodNotAllowed}, e.Kind) {
					t.Errorf("%s %q?%s: got %#v", method, key, query, err)
				}
				if (e.Kind == s3op.MethodNotAllowed) != (e.Header.Get("Allow") != "") {
					t.Errorf("%s %q?%s: got %v with Allow %q", method, key, query, err, e.Header.Get("Allow"))
				}
			} else if info.Operation == "" || info.Method != method || info.Class == s3op.Refused {
				t.Errorf("%s %q?%s: got %+v", method, key, query, info)
			}
			values, parseErr := url.ParseQuery(query)
			if parseErr != nil {
				if err == nil && method != "OPTIONS" {
					t.Errorf("%s %q?%s: got %s of a query that cannot be parsed", method, key, query, info.Operation)
				}
				continue
			}
			if err == nil && info.Subresource != "" && !values.Has(info.Subresource) {
				t.Errorf("%s %q?%s: got %s without its sub-resource", method, key, query, info.Operation)
			}
			again, againErr := s3op.Classify(method, bucket, key, values.Encode(), h)
			if again != info || s3op.KindOf(againErr) != s3op.KindOf(err) {
				t.Errorf("%s %q?%s: got %s (%v), spelled %s: %s (%v)", method, key, query, info.Operation, err, values.Encode(), again.Operation, againErr)
			}
		}
	})
}

func FuzzErrorDocumentIsXML(f *testing.F) {
	f.Add("NoSuchKey", "a<b>&\x00\x1b\r\n\xff]]>\ufffe")
	f.Fuzz(func(t *testing.T, code, text string) {
		document := s3op.ErrorXML(s3op.NewError(s3op.Invalid, code, text), s3op.Subject{Resource: text, Key: text})
		var back struct{ Code, Message, Resource, Key string }
		if err := xml.Unmarshal(document, &back); err != nil {
			t.Fatalf("got %q: %v", document, err)
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
				return unicode.ReplacementChar
			}
			return r
		}, strings.ToValidUTF8(text, "\ufffd"))
		if isLegal := want == text; isLegal && (back.Message != text || back.Key != text) {
			t.Errorf("got %q and %q, want %q", back.Message, back.Key, text)
		}
		if back.Resource != back.Key || (back.Key == "") != (text == "") {
			t.Errorf("got %q and %q of %q", back.Resource, back.Key, text)
		}
	})
}
