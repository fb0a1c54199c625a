package s3op_test

import (
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
