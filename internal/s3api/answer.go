package s3api

import (
	"bytes"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
)

// requestID is one that tells two requests apart, in the form that S3's have.
func requestID() string { return rand.Text()[:16] }

// notPassed are the headers of a region's answer that are of its own connection, or say what is ours to say.
var notPassed = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Date": true, "Server": true, "Alt-Svc": true, "Strict-Transport-Security": true, "Set-Cookie": true, "X-Amz-Replication-Status": true,
	"X-Amz-Request-Id": true, // by ours the log finds the request
}

// header passes a region's header on.
func (c *call) header(from http.Header) {
	h := c.w.Header()
	for name, values := range from {
		switch {
		case notPassed[name], strings.HasPrefix(name, "X-Tandem-"): // the region may be a gateway, too
		case strings.HasPrefix(name, s3op.MetadataPrefix):
			h[strings.ToLower(name)] = values // as S3 gives it back: to some clients "Side" is not "side"
		default:
			h[name] = values
		}
	}
	if len(h["X-Amz-Bucket-Region"]) > 0 {
		h.Set("X-Amz-Bucket-Region", c.Region) // what clients sign for
	}
}

// pass passes a region's answer on, with our bucket's name in the place of its own.
func (c *call) pass(answer *gateway.Answer) error {
	if answer.Body != nil {
		defer answer.Body.Close()
	}
	c.header(answer.Header)
	h := c.w.Header()
	h.Set("X-Tandem-Region", answer.Region)
	if answer.Freshness != "" {
		h.Set("X-Tandem-Freshness", string(answer.Freshness))
	}
	if answer.Fallback {
		h.Set("X-Tandem-Fallback", "true")
	}
	if answer.Document != nil {
		return c.writeDocument(answer.Status, c.renamed(answer.Document, answer.Bucket))
	}
	c.w.WriteHeader(answer.Status)
	if answer.Body == nil || c.r.Method == http.MethodHead {
		return nil
	}
	return pace.Copy(c.w, answer.Body)
}

func (c *call) writeDocument(status int, document []byte) error {
	h := c.w.Header()
	h.Del("Content-Length")                               // it may have another name in it
	if len(document) > 0 && h.Get("Content-Type") == "" { // a policy is JSON
		h.Set("Content-Type", "application/xml")
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(document) // the client may have left
	return nil
}

// writeXML answers with a document of our own.
func (c *call) writeXML(document any) error {
	body, err := xml.Marshal(document)
	if err != nil {
		return err
	}
	return c.writeDocument(http.StatusOK, append([]byte(xml.Header), body...))
}

// renamed puts the client's name of the bucket where a document has the region's.
func (c *call) renamed(document []byte, bucket string) []byte {
	if bucket == c.name || bucket == "" {
		return document
	}
	for _, element := range []string{"Bucket", "Name", "BucketName"} {
		document = bytes.ReplaceAll(document, textElement(element, bucket), textElement(element, c.name))
	}
	for _, before := range []string{"<Resource>/", "<Resource>"} {
		document = bytes.ReplaceAll(document, []byte(before+bucket+"/"), []byte(before+c.name+"/"))
		document = bytes.ReplaceAll(document, []byte(before+bucket+"<"), []byte(before+c.name+"<"))
	}
	return document
}

func textElement(name, value string) []byte {
	return []byte("<" + name + ">" + value + "</" + name + ">")
}

// replaced puts content into every element of that name, which has no other of its name inside.
func replaced(document []byte, name string, content []byte) []byte {
	begin, end := []byte("<"+name+">"), []byte("</"+name+">")
	var out []byte
	for {
		before, rest, ok := bytes.Cut(document, begin)
		_, after, closed := bytes.Cut(rest, end)
		if !ok || !closed {
			return append(out, document...)
		}
		out = slices.Concat(out, before, begin, content, end)
		document = after
	}
}

// escapedXML is s as the text of an element.
func escapedXML(s string) []byte {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a Buffer takes everything
	return b.Bytes()
}

// withoutAccounts puts everybody's owner in the place of the region's accounts, which are nothing that clients know: with some
// servers an owner's name is the access key.
func withoutAccounts(document []byte) []byte {
	content := slices.Concat(textElement("ID", gatewayOwner.ID), textElement("DisplayName", gatewayOwner.DisplayName))
	return replaced(replaced(document, "Owner", content), "Initiator", content)
}

// withoutGrantees is withoutAccounts for an ACL: whoever is named in one is the region's.
func withoutGrantees(document []byte) []byte {
	return replaced(replaced(document, "ID", []byte(gatewayOwner.ID)), "DisplayName", []byte(gatewayOwner.DisplayName))
}

// statuses are those of codes that have another than their kind.
var statuses = map[string]int{
	"MissingContentLength": http.StatusLengthRequired,
	"MethodNotAllowed":     http.StatusMethodNotAllowed,
	"EntityTooLarge":       http.StatusBadRequest, // S3's, unlike HTTP's
}

// fail answers an error as S3 does: with the region's own document where it is the region's, and with ours otherwise. What nobody
// classified is our fault: the client is told no more than that, and the log has the rest.
func (c *call) fail(err error) {
	if c.w.Status() != 0 {
		// The answer has begun: only cutting it short tells the client.
		c.Logger.DebugContext(c.r.Context(), "answer cut short", "err", err, "request", c.id)
		panic(http.ErrAbortHandler)
	}
	status := s3op.KindOf(err).HTTPStatus()
	h := c.w.Header()
	e, isKnown := errors.AsType[*s3op.Error](err)
	if isKnown {
		if other, ok := statuses[e.Code]; ok {
			status = other
		}
		for _, name := range []string{"Allow", "Cache-Control", "Content-Range", "Etag", "Expires", "Last-Modified", "X-Amz-Delete-Marker", "X-Amz-Version-Id"} {
			if values := e.Header[name]; len(values) > 0 {
				h[name] = values
			}
		}
		if e.Region != "" {
			h.Set("X-Tandem-Region", e.Region)
		}
	}
	var document []byte
	if isKnown && e.Answered != nil {
		status, document = e.Answered.Status, c.renamed(e.Answered.Document, e.Answered.Bucket)
		c.header(e.Header)
	}
	switch {
	case status == http.StatusInternalServerError:
		c.Logger.ErrorContext(c.r.Context(), "request failed", "op", c.op.Operation, "err", err, "request", c.id)
	case status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
		c.Logger.InfoContext(c.r.Context(), "request answered 503", "op", c.op.Operation, "err", err, "request", c.id)
	}
	if status == http.StatusNotModified || c.r.Method == http.MethodHead {
		h.Del("Content-Length")
		c.w.WriteHeader(status)
		return
	}
	if document == nil {
		h.Del("Content-Type") // of what the region's document would have been
		document = s3op.ErrorXML(err, s3op.Subject{Resource: c.r.URL.EscapedPath(), BucketName: c.name, Key: c.key, RequestID: c.id})
	}
	_ = c.writeDocument(status, document)
}

// passedHeaders are those of a request that are the region's to judge, beside the X-Amz- ones.
var passedHeaders = []string{
	"Access-Control-Request-Headers", "Access-Control-Request-Method", "Cache-Control", "Content-Disposition", "Content-Language", "Content-Md5",
	"Content-Type", "Expires", "If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "Origin", "Range",
}

// ourHeaders are those of the client's signature, and of what is named anew.
var ourHeaders = map[string]bool{
	"X-Amz-Content-Sha256": true, "X-Amz-Copy-Source": true, "X-Amz-Date": true, "X-Amz-Decoded-Content-Length": true, "X-Amz-Security-Token": true,
	"X-Amz-Trailer": true, "X-Amz-User-Agent": true,
}

// requestHeader is what a region is given of the request's header.
func (c *call) requestHeader() http.Header {
	h := make(http.Header, 8)
	for _, name := range passedHeaders {
		if values := c.r.Header[name]; len(values) > 0 {
			h[name] = values
		}
	}
	for name, values := range c.r.Header {
		if strings.HasPrefix(name, "X-Amz-") && !ourHeaders[name] {
			h[name] = values
		}
	}
	if encoding := storedEncoding(c.r.Header["Content-Encoding"]); encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	return h
}

// storedEncoding is a Content-Encoding without what is of the transport.
func storedEncoding(values []string) string {
	var kept []string
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if part = strings.TrimSpace(part); part != "" && !strings.EqualFold(part, "aws-chunked") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ",")
}

// ofPresigned are the parameters of a presigned URL that no header has.
var ofPresigned = map[string]bool{"X-Amz-Algorithm": true, "X-Amz-Credential": true, "X-Amz-Expires": true, "X-Amz-Signature": true, "X-Amz-Signedheaders": true}

// request is what a region is given of the request, but for its body. What SDKs that presign put into the query is the header
// that it stands for, a checksum say: left out, it would not be verified.
func (c *call) request() gateway.Request {
	if c.passed != nil {
		return *c.passed
	}
	query, header := c.r.URL.Query(), c.requestHeader()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		of := http.CanonicalHeaderKey(name)
		if !strings.HasPrefix(of, "X-Amz-") {
			continue
		}
		if !ourHeaders[of] && !ofPresigned[of] && len(header[of]) == 0 {
			header[of] = query[name]
		}
		delete(query, name)
	}
	delete(query, "x-id") // what an SDK calls the operation
	c.passed = &gateway.Request{Operation: c.op.Operation, Method: c.r.Method, Key: c.key, Query: query, Header: header}
	return *c.passed
}
