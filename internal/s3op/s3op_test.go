package s3op_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/s3op"
)

func TestKeysThatS3Takes(t *testing.T) {
	for _, tt := range []struct {
		name, key, code string
	}{
		{"one byte", "k", ""},
		{"the longest", strings.Repeat("k", 1024), ""},
		{"the longest, in characters of two bytes", strings.Repeat("é", 512), ""},
		{"no path", "../a//b/./\x00\n ", ""},
		{"our own", s3op.ReservedPrefix + "probe", ""},
		{"empty", "", "InvalidArgument"},
		{"too long", strings.Repeat("k", 1025), "KeyTooLongError"},
		{"too long in bytes, not in characters", strings.Repeat("é", 513), "KeyTooLongError"},
		{"no UTF-8", "\xff", "InvalidURI"},
		{"half a character", "k\xc3", "InvalidURI"},
		{"a surrogate", "\xed\xa0\x80", "InvalidURI"},
	} {
		err := s3op.CheckKey(tt.key)
		e, refused := errors.AsType[*s3op.Error](err)
		if refused != (tt.code != "") || refused && (e.Code != tt.code || e.Kind != s3op.Invalid || e.Message == "") {
			t.Errorf("%s: got %v, want code %q", tt.name, err, tt.code)
		}
	}
}

func TestKeysOfTandemsOwn(t *testing.T) {
	for key, want := range map[string]bool{
		".tandem/": true, ".tandem/region": true, ".tandem": false, ".tandemx/k": false, "a/.tandem/k": false, "./.tandem/k": false, ".Tandem/k": false,
	} {
		if got := s3op.IsReserved(key); got != want {
			t.Errorf("%q is reserved: %v, want %v", key, got, want)
		}
	}
}

func TestPathsAreEscapedAsAWSSigns(t *testing.T) {
	for key, want := range map[string]string{
		"plain/key-1_2.~": "plain/key-1_2.~",
		"a b+c":           "a%20b%2Bc",
		"é":               "%C3%A9",
		"//../.":          "//../.",
		"?#%&=:@!$'()*,;": "%3F%23%25%26%3D%3A%40%21%24%27%28%29%2A%2C%3B",
		"\x00\n\x7f":      "%00%0A%7F",
	} {
		if got := s3op.EscapePath(key); got != want {
			t.Errorf("%q: got %s, want %s", key, got, want)
		}
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	if back, err := url.PathUnescape(s3op.EscapePath(string(every))); err != nil || back != string(every) {
		t.Errorf("every byte: got %q back (%v)", back, err)
	}
}

func TestStoredHeadersAreThoseThatS3Keeps(t *testing.T) {
	kept := http.Header{
		"Cache-Control": {"no-store"}, "Content-Disposition": {"inline"}, "Content-Encoding": {"gzip"}, "Content-Language": {"de"},
		"Content-Type": {"text/plain"}, "Expires": {"0"}, "X-Amz-Storage-Class": {"STANDARD_IA"}, "X-Amz-Website-Redirect-Location": {"/"},
		"X-Amz-Meta-A": {"1", "2"}, "X-Amz-Meta-": {"x"},
	}
	given := kept.Clone()
	for _, name := range []string{"Authorization", "Content-Length", "Content-Md5", "Host", "If-Match", "Range", "X-Amz-Date", "X-Amz-Checksum-Crc32", "X-Amz-Tagging", "X-Tandem-Version"} {
		given.Set(name, "x")
	}
	if diff := cmp.Diff(kept, s3op.StoredHeaders(given)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got := s3op.StoredHeaders(http.Header{"X-Amz-Storage-Class": {"STANDARD"}}); len(got) > 0 {
		t.Errorf("got %v for the storage class that S3 does not say", got)
	}
	want := http.Header{"X-Amz-Checksum-Crc32": {"x"}}
	if diff := cmp.Diff(want, s3op.ChecksumHeaders(given)); diff != "" {
		t.Errorf("checksums (-want +got):\n%s", diff)
	}
}

func TestETagsLoseAndGetBackTheirQuotes(t *testing.T) {
	for given, want := range map[string][2]string{ // bare, quoted again
		`"e"`: {"e", `"e"`}, `e`: {"e", `"e"`}, `W/"e"`: {"e", `"e"`}, `"e-2"`: {"e-2", `"e-2"`}, ``: {"", ""}, `""`: {"", ""},
	} {
		bare := s3op.TrimETag(given)
		if got := [2]string{bare, s3op.QuoteETag(bare)}; got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}

func TestEveryKindHasItsStatus(t *testing.T) {
	statuses := make(map[int]bool)
	for kind := s3op.Internal; kind <= s3op.NotImplemented; kind++ {
		status := kind.HTTPStatus()
		if statuses[status] || http.StatusText(status) == "" || (status == 500) != (kind == s3op.Internal) {
			t.Errorf("kind %d has status %d", kind, status)
		}
		statuses[status] = true
	}
}

// What nobody classified is our own fault, and its cause is kept for the log.
func TestErrorsKeepKindAndCause(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("wrapped: %w", s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "try again", cause))
	if s3op.KindOf(err) != s3op.Unavailable || !errors.Is(err, cause) || !strings.Contains(err.Error(), "ServiceUnavailable: try again: cause") {
		t.Errorf("got kind %d of %v", s3op.KindOf(err), err)
	}
	for _, err := range []error{nil, cause} {
		if s3op.KindOf(err) != s3op.Internal {
			t.Errorf("got kind %d of %v, want internal", s3op.KindOf(err), err)
		}
	}
}
