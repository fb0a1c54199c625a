package regiontest

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// reply is an answer not yet sent.
type reply struct {
	status int // 0 is 200
	header http.Header
	body   io.Reader // exactly size bytes; nil where size is 0
	size   int64     // also said in answers to HEAD
}

func xmlReply(status int, v any) *reply {
	doc, err := xml.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("regiontest: marshal answer: %v", err))
	}
	doc = append([]byte(xml.Header), doc...)
	return &reply{
		status: status,
		header: http.Header{"Content-Type": {"application/xml"}},
		body:   bytes.NewReader(doc),
		size:   int64(len(doc)),
	}
}

type errorXML struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Condition string `xml:",omitempty"`
	Resource  text
	RequestId string
	HostId    string
}

func (c *call) sendError(e *apiError) {
	if c.r.Method == http.MethodHead {
		// S3 says why only in the status, which some errors share.
		c.send(&reply{status: e.status, header: http.Header{"Content-Type": {"application/xml"}}})
		return
	}
	c.send(xmlReply(e.status, errorXML{
		Code:      e.code,
		Message:   e.message,
		Condition: e.condition,
		Resource:  escape("/" + c.Bucket + "/" + c.Key),
		RequestId: c.id,
		HostId:    "regiontest",
	}))
}

// answer sends what came of the operation.
func (c *call) answer(rep *reply, err error) {
	if err == nil {
		c.send(rep)
		return
	}
	if e, ok := errors.AsType[*apiError](err); ok {
		c.sendError(e)
		return
	}
	c.cut()
}

// send writes the answer out and flushes it, so that it has left for certain
// before the request stops counting as in flight.
func (c *call) send(rep *reply) {
	h := c.w.Header()
	maps.Copy(h, rep.header)
	h.Set("X-Amz-Request-Id", c.id)
	h.Set("X-Amz-Id-2", "regiontest")
	h.Set("Server", "regiontest")
	status := cmp.Or(rep.status, http.StatusOK)
	hasBody := status != http.StatusNoContent && status != http.StatusNotModified
	if hasBody && (c.r.Method != http.MethodHead || status < 300) {
		h.Set("Content-Length", strconv.FormatInt(rep.size, 10))
	}
	rc := http.NewResponseController(c.w)
	if c.hasBody() && !c.body.ended {
		// net/http would wait for the rest of the body before it answers; S3
		// answers and hangs up.
		_ = rc.EnableFullDuplex()
		h.Set("Connection", "close")
	}
	c.w.WriteHeader(status)
	n, cutting := rep.size, false
	if after := c.fault.CutBodyAfter; after != 0 && !c.hasBody() {
		n, cutting = min(n, max(after, 0)), true
	}
	if hasBody && n > 0 && c.r.Method != http.MethodHead {
		if _, err := io.CopyN(c.w, rep.body, n); err != nil {
			c.cut()
			return
		}
	}
	err := rc.Flush()
	if cutting && c.hang(c.fault.CutBodyWhen) {
		return
	}
	if cutting || (err != nil && !errors.Is(err, http.ErrNotSupported)) {
		c.cut()
	}
}

// text is the content of an element, already escaped. Unlike encoding/xml it
// keeps the control characters of keys, as character references. XML 1.0 does
// not allow these, so clients fail to read them rather than read another key:
// as with S3 itself, encoding-type=url is the way around.
type text struct {
	Raw string `xml:",innerxml"`
}

func escape(s string) text {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r < 0x20 || r == 0x7f || r == 0xfffe || r == 0xffff:
			fmt.Fprintf(&b, "&#x%X;", r)
		default:
			b.WriteRune(r)
		}
	}
	return text{b.String()}
}

// encoder returns how keys are written for the encoding-type asked for.
func encoder(encodingType string) func(string) text {
	if encodingType != "url" {
		return escape
	}
	return func(s string) text { return text{urlEncode(s)} }
}

// urlEncode is what S3 does for encoding-type=url: form encoding (a space is a
// plus), with the slashes left alone.
func urlEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.*/", c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
