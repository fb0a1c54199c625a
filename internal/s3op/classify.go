package s3op

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Classify names the operation of a request: bucket and key as ParseTarget
// returns them, the query as it was sent, the header in canonical form. It
// does not allocate where the query's names are unescaped and nothing is refused.
//
// A sub-resource selects by its name, in this case only and with any value, as
// in S3. Other query parameters are passed on, for SDKs and caches add theirs
// (x-id), and S3 ignores what it does not know. That holds for reads, where
// the worst is an answer that is no answer. A write would have been journaled
// as something that the region did not do: S3 servers have sub-resources of
// their own (append, compose), and S3 gets new ones. So a write with a
// parameter that is neither known nor begins with x-, which S3 promises to
// ignore, is refused. For the same reason a sub-resource of buckets is refused on
// a key: AWS answers it with the bucket's, others with the object.
//
// An error is an *Error, and one of these; the operation is returned beside it
// where the request has one:
//   - NotImplemented: the operation is refused, or a query parameter or header
//     asks for what is not in the table.
//   - MethodNotAllowed: the resource is known, but not this method; the
//     Header has Allow.
//   - InvalidArgument: two sub-resources, or a part of no upload.
//   - InvalidURI: the query cannot be decoded, or servers do not agree how.
func Classify(method, bucket, key, rawQuery string, h http.Header) (Info, error) {
	level := levelOf(bucket, key)
	subresource := ""
	if method != "OPTIONS" {
		var err error
		if subresource, err = checkQuery(method, rawQuery); err != nil {
			return Info{}, err
		}
	}
	candidates := bySubresource[subresource]
	for i := range candidates {
		o := &candidates[i]
		if o.Method != method || o.Level != level || o.Parameter != "" && !hasParameter(rawQuery, o.Parameter) ||
			o.Header != "" && len(h[o.Header]) == 0 {
			continue
		}
		if o.Class == Refused {
			return *o, notImplemented(string(o.Operation) + ": " + o.Why)
		}
		return *o, checkHeader(method, h)
	}
	return Info{}, noOperation(method, level, subresource)
}

func levelOf(bucket, key string) Level {
	switch {
	case bucket == "":
		return ServiceLevel
	case key == "":
		return BucketLevel
	}
	return ObjectLevel
}

// isRead reports whether the method promises to change nothing.
func isRead(method string) bool { return method == "GET" || method == "HEAD" }

// writeParameters are the query parameters of operations that write. Those of
// reads need no list: see Classify.
var writeParameters = [...]string{"annotationName", "id", "partNumber", "select-type", "versionId"}

// checkQuery returns the sub-resource that the query names, "" where none.
func checkQuery(method, rawQuery string) (string, error) {
	if err := checkEscapes(rawQuery); err != nil {
		return "", err
	}
	subresource, hasPart := "", false
	for name, value := range parameters(rawQuery) {
		switch {
		case name != "" && bySubresource[name] != nil:
			if subresource != "" && subresource != name {
				return "", NewError(Invalid, "InvalidArgument",
					fmt.Sprintf("Conflicting query string parameters: %s, %s", min(subresource, name), max(subresource, name)))
			}
			if name == "uploadId" && value == "" {
				// To some servers this is no upload, and then a part replaces the object.
				return "", NewError(Invalid, "InvalidArgument", "uploadId is empty; it takes the id of an upload")
			}
			subresource = name
		case isRead(method):
		case name == "partNumber":
			hasPart = true
		case hasPrefixFold(name, copySource) || refusedHeader(name) != nil:
			return "", notImplemented(name + " is a header, and no query parameter")
		case !hasPrefixFold(name, "x-") && !slices.Contains(writeParameters[:], name):
			return "", notImplemented("query parameter " + name)
		}
	}
	if hasPart && subresource != "uploadId" {
		return "", NewError(Invalid, "InvalidArgument", "partNumber without uploadId; a part belongs to an upload")
	}
	return subresource, nil
}

// checkEscapes refuses what servers do not decode alike: a % that begins no
// byte, and a bare semicolon, which to some separates parameters.
func checkEscapes(rawQuery string) error {
	for i := range len(rawQuery) {
		switch rawQuery[i] {
		case ';':
			return NewError(Invalid, "InvalidURI", "the query has a bare semicolon; send it as %3B")
		case '%':
			if i+2 >= len(rawQuery) || !isHex(rawQuery[i+1]) || !isHex(rawQuery[i+2]) {
				return NewError(Invalid, "InvalidURI", "the query has a % without two hexadecimal digits; send it as %25")
			}
		}
	}
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// parameters yields the names of the query's parameters unescaped, and their
// values as they were sent. The query's escapes are good.
func parameters(rawQuery string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := rawQuery; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, "&")
			if pair == "" {
				continue
			}
			name, value, _ := strings.Cut(pair, "=")
			if !yield(unescapeQuery(name), value) {
				return
			}
		}
	}
}

// unescapeQuery decodes what passed checkEscapes.
func unescapeQuery(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	text, _ = url.QueryUnescape(text) // cannot fail: the escapes are good
	return text
}

// hasParameter reports whether the query has the parameter, given as "name" or
// "name=value".
func hasParameter(rawQuery, parameter string) bool {
	wantName, want, isExact := strings.Cut(parameter, "=")
	for name, value := range parameters(rawQuery) {
		if name == wantName && (!isExact || unescapeQuery(value) == want) {
			return true
		}
	}
	return false
}

// refusal is a header that makes a write into another one than its operation
// says, to the servers that know it.
type refusal struct{ prefix, why string }

var refusals = [...]refusal{
	{"X-Amz-Meta-Snowball-Auto-Extract", "one request would write many keys"},
	{"X-Amz-Rename-Source", "objects are not renamed"},
	{"X-Amz-Write-Offset-Bytes", "objects are written whole"},
	{"X-Cos-", "a header of another protocol"},
	{"X-Goog-", "a header of another protocol"},
	{"X-Minio-", "a header of MinIO alone, which may delete or write many keys"},
	{"X-Obs-", "a header of another protocol"},
	{"X-Oss-", "a header of another protocol"},
}

// checkHeader refuses a write with a header of refusals.
func checkHeader(method string, h http.Header) error {
	if isRead(method) {
		return nil
	}
	for name := range h {
		if r := refusedHeader(name); r != nil {
			return notImplemented(name + ": " + r.why)
		}
	}
	return nil
}

func refusedHeader(name string) *refusal {
	if !hasPrefixFold(name, "x-") {
		return nil
	}
	for i := range refusals {
		if hasPrefixFold(name, refusals[i].prefix) {
			return &refusals[i]
		}
	}
	return nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func notImplemented(what string) error {
	return NewError(NotImplemented, "NotImplemented", "A header or query you provided requested functionality that is not implemented: "+what)
}

// noOperation says why nothing in the table fits.
func noOperation(method string, level Level, subresource string) error {
	var allowed []string
	for _, o := range bySubresource[subresource] {
		if o.Level == level && o.Method != method && !slices.Contains(allowed, o.Method) {
			allowed = append(allowed, o.Method)
		}
	}
	if allowed == nil {
		return notImplemented(fmt.Sprintf("?%s at the level of the %s", subresource, level))
	}
	return &Error{
		Kind: MethodNotAllowed, Code: "MethodNotAllowed", Message: "The specified method is not allowed against this resource.",
		Header: http.Header{"Allow": {strings.Join(allowed, ", ")}},
	}
}
