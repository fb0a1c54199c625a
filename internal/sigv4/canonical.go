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
	for rest, more := names, true; more; { // bytes.SplitSeq would have names on the heap
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte{';'})
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

// appendQuery appends a query encoded anew and sorted, without the signature that a presigned one has. What cannot be
// decoded is refused: others would read it in their own way, or not at all.
func appendQuery(b []byte, raw string) ([]byte, error) {
	start := len(b)
	isSorted, last := true, start
	for text := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(text, "=")
		if text == "" {
			continue
		}
		before := len(b)
		if before > start {
			b = append(b, '&')
		}
		this := len(b)
		var ok, ok2 bool
		b, ok = appendReencoded(b, name)
		if string(b[this:]) == "X-Amz-Signature" {
			b = b[:before]
			continue
		}
		b = append(b, '=')
		b, ok2 = appendReencoded(b, value)
		if !ok || !ok2 {
			return nil, errURI()
		}
		if this > start {
			isSorted = isSorted && comparePairs(b[last:this-1], b[this:]) <= 0
		}
		last = this
	}
	if !isSorted {
		sortPairs(b[start:])
	}
	return b, nil
}

// sortPairs sorts an encoded query in its place. Most clients send theirs as it is signed.
func sortPairs(query []byte) {
	var room [16][]byte
	pairs := room[:0]
	for rest, more := bytes.Clone(query), true; more; {
		var one []byte
		one, rest, more = bytes.Cut(rest, []byte{'&'})
		pairs = append(pairs, one)
	}
	slices.SortFunc(pairs, comparePairs)
	to := query[:0]
	for i, one := range pairs {
		if i > 0 {
			to = append(to, '&')
		}
		to = append(to, one...)
	}
}

// comparePairs is the order of names, and of values where those are the same. Whole pairs have another: a '=' sorts after
// what a longer name may have in its place.
func comparePairs(p, q []byte) int {
	name, value, _ := bytes.Cut(p, []byte{'='})
	name2, value2, _ := bytes.Cut(q, []byte{'='})
	return cmp.Or(bytes.Compare(name, name2), bytes.Compare(value, value2))
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
