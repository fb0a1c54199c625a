package regiontest

import (
	"net/http"
	"strings"
	"time"
)

// mayWrite judges the conditions of a write against what the key holds now.
func (s *Server) mayWrite(h http.Header, current *Object) error {
	ifMatch, ifNoneMatch := h.Get("If-Match"), h.Get("If-None-Match")
	switch {
	case s.opts.IgnoreConditions || (ifMatch == "" && ifNoneMatch == ""):
		return nil
	case s.opts.NoConditions || (ifMatch != "" && ifNoneMatch != "") || ifMatch == "*":
		return conditionNotImplemented()
	case ifNoneMatch != "" && ifNoneMatch != "*":
		return conditionNotImplemented()
	case ifNoneMatch == "*" && current != nil:
		return failCondition("If-None-Match")
	case ifNoneMatch == "*":
		return nil
	case current == nil:
		return noSuchKey()
	case !sameETag(ifMatch, current.ETag):
		return failCondition("If-Match")
	}
	return nil
}

// mayDelete judges the condition of a delete. S3 answers NoSuchKey to any
// condition on a key that holds nothing, and to none at all it says 204.
func (s *Server) mayDelete(ifMatch string, current *Object) error {
	switch {
	case s.opts.IgnoreConditions || ifMatch == "":
		return nil
	case s.opts.NoConditions:
		return conditionNotImplemented()
	case current == nil:
		return noSuchKey()
	case ifMatch != "*" && !sameETag(ifMatch, current.ETag):
		return failCondition("If-Match")
	}
	return nil
}

func conditionNotImplemented() error {
	return fail("NotImplemented", "A header you provided implies functionality that is not implemented")
}

// checkRead judges the conditions of a read, in the order of RFC 9110, 13.2.2,
// which S3 follows: an ETag settles what a date would. The headers' names
// begin with prefix. The status is 200, 304 or 412, and header says which failed.
func checkRead(h http.Header, prefix string, o *Object) (status int, header string) {
	get := func(name string) string { return h.Get(prefix + name) }
	since := func(name string) (time.Time, bool) {
		t, err := http.ParseTime(get(name))
		return t, err == nil
	}
	if v := get("If-Match"); v != "" {
		if !matchesAny(v, o.ETag) {
			return http.StatusPreconditionFailed, prefix + "If-Match"
		}
	} else if t, ok := since("If-Unmodified-Since"); ok && o.LastModified.After(t) {
		return http.StatusPreconditionFailed, prefix + "If-Unmodified-Since"
	}
	if v := get("If-None-Match"); v != "" {
		if matchesAny(v, o.ETag) {
			return http.StatusNotModified, prefix + "If-None-Match"
		}
	} else if t, ok := since("If-Modified-Since"); ok && !o.LastModified.After(t) {
		return http.StatusNotModified, prefix + "If-Modified-Since"
	}
	return http.StatusOK, ""
}

func matchesAny(list, etag string) bool {
	for v := range strings.SplitSeq(list, ",") {
		if v = strings.TrimSpace(v); v == "*" || sameETag(v, etag) {
			return true
		}
	}
	return false
}

// sameETag forgives missing quotes, as S3 does.
func sameETag(a, b string) bool { return strings.Trim(a, `"`) == strings.Trim(b, `"`) }
