package sigv4

import (
	"bytes"
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Requests up to these sizes are canonicalised without any memory of the heap.
const (
	roomForRequest = 2048
	roomForNames   = 512
	roomForQuery   = 1024
	roomForPairs   = 16
)

// appendCanonical appends what is hashed and signed of a request. names are the signed headers, with a semicolon between,
// in the order in which they are signed: that is for whoever signs to choose.
func appendCanonical(b []byte, r *http.Request, names []byte, contentSHA256 string) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	if r.URL.Path == "" {
		b = append(b, '/')
	}
	for i := range len(r.URL.Path) {
		b = appendEscaped(b, r.URL.Path[i], true)
	}
	b = append(b, '\n')
	b, err := appendQuery(b, r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	for name := range bytes.SplitSeq(names, []byte{';'}) {
		b = append(b, name...)
		b = append(b, ':')
		b = appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, names...)
	b = append(b, '\n')
	return append(b, contentSHA256...), nil
}

// appendHeader appends the values of a header, nothing where it is not there. The server of net/http keeps some apart.
func appendHeader(b []byte, r *http.Request, name []byte) []byte {
	switch string(name) {
	case "host":
		return appendTrimmed(b, cmp.Or(r.Host, r.URL.Host))
	case "content-length":
		if r.ContentLength < 0 {
			return b
		}
		return strconv.AppendInt(b, r.ContentLength, 10)
	case "transfer-encoding":
		return appendJoined(b, r.TransferEncoding)
	}
	var room [64]byte
	return appendJoined(b, r.Header[string(appendHeaderKey(room[:0], name))])
}

func appendJoined(b []byte, values []string) []byte {
	for i, value := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTrimmed(b, value)
	}
	return b
}

// appendTrimmed leaves out the space around a value, and all but one of the spaces that follow each other in it.
func appendTrimmed(b []byte, value string) []byte {
	value = strings.TrimSpace(value)
	for i := range len(value) {
		if value[i] != ' ' || value[i-1] != ' ' { // the first is none
			b = append(b, value[i])
		}
	}
	return b
}

// appendHeaderKey appends a lower-case name as a http.Header has it.
func appendHeaderKey(b, name []byte) []byte {
	upper := true
	for _, c := range name {
		if upper && 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		b = append(b, c)
		upper = c == '-'
	}
	return b
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// pair is one parameter of a query, encoded.
type pair struct{ name, value []byte }

func (p pair) compare(q pair) int {
	return cmp.Or(bytes.Compare(p.name, q.name), bytes.Compare(p.value, q.value))
}

// appendQuery appends a query encoded anew and sorted, without the signature that a presigned one has. What cannot be
// decoded is refused: others would read it in their own way, or not at all.
func appendQuery(b []byte, raw string) ([]byte, error) {
	if raw == "" {
		return b, nil
	}
	var room [roomForQuery]byte
	var roomOfPairs [roomForPairs]pair
	encoded, pairs := room[:0], roomOfPairs[:0]
	for text := range strings.SplitSeq(raw, "&") {
		if text == "" {
			continue
		}
		name, value, _ := strings.Cut(text, "=")
		// Where encoded outgrows its room, what was cut from it before stays as it was.
		start, ok, ok2 := len(encoded), false, false
		encoded, ok = appendReencoded(encoded, name)
		middle := len(encoded)
		encoded, ok2 = appendReencoded(encoded, value)
		if !ok || !ok2 {
			return nil, errURI()
		}
		if p := (pair{encoded[start:middle], encoded[middle:]}); string(p.name) != "X-Amz-Signature" {
			pairs = append(pairs, p)
		}
	}
	slices.SortFunc(pairs, pair.compare)
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	return b, nil
}

// appendReencoded appends a part of a query, decoded and encoded again.
func appendReencoded(b []byte, s string) (_ []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) {
				return b, false
			}
			high, low := unhex(s[i+1]), unhex(s[i+2])
			if high < 0 || low < 0 {
				return b, false
			}
			c, i = byte(high<<4|low), i+2
		}
		b = appendEscaped(b, c, false)
	}
	return b, true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

const upperHex = "0123456789ABCDEF"

// appendEscaped is UriEncode of the S3 API Reference, for one byte.
func appendEscaped(b []byte, c byte, inPath bool) []byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && inPath:
		return append(b, c)
	}
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}
