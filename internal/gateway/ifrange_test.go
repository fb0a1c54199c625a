package gateway

import (
	"net/http"
	"testing"
)

func TestIfRangeIsACondition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		header http.Header
		match  string // the If-Match of the read of the part, "" where only the whole is read
		is     bool
	}{
		{"none", http.Header{"Range": {"bytes=1-"}}, "", false},
		{"no range", http.Header{"If-Range": {`"e"`}}, "", false},
		{"strong", http.Header{"Range": {"bytes=1-"}, "If-Range": {`"e"`}}, `"e"`, true},
		{"weak", http.Header{"Range": {"bytes=1-"}, "If-Range": {`W/"e"`}}, "", true},
		{"date", http.Header{"Range": {"bytes=1-"}, "If-Range": {"Mon, 01 Jan 2001 00:00:00 GMT"}}, "", true},
		{"empty", http.Header{"Range": {"bytes=1-"}, "If-Range": {""}}, "", true},
		{"quote", http.Header{"Range": {"bytes=1-"}, "If-Range": {`"`}}, "", true},
		{"list", http.Header{"Range": {"bytes=1-"}, "If-Range": {`"e", "f"`}}, "", true},
		{"two", http.Header{"Range": {"bytes=1-"}, "If-Range": {`"e"`, `"f"`}}, "", true},
		{"star", http.Header{"Range": {"bytes=1-"}, "If-Range": {"*"}}, "", true},
		{"beside If-Match", http.Header{"Range": {"bytes=1-"}, "If-Range": {`"e"`}, "If-Match": {`"f"`}}, "", true},
		{"beside a date", http.Header{"Range": {"bytes=1-"}, "If-Range": {`"e"`}, "If-Unmodified-Since": {"x"}}, "", true},
	} {
		before := c.header.Clone()
		part, whole, is := ifRange(c.header)
		if is != c.is || part.Get("If-Match") != c.match || whole.Get("Range") != "" {
			t.Errorf("%s: got %v, %v, %v", c.name, part, whole, is)
		}
		if part != nil && part.Get("Range") != "bytes=1-" {
			t.Errorf("%s: the part has lost its range: %v", c.name, part)
		}
		if len(c.header) != len(before) || c.header.Get("Range") != before.Get("Range") {
			t.Errorf("%s: the request's own header was changed: %v", c.name, c.header)
		}
	}
}
