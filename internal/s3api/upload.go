package s3api

import (
	"bytes"
	"encoding/xml"
	"io"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

// stage passes on a request about an upload that has no body.
func (c *call) stage(source *gateway.Source) error {
	answer, err := c.bucket.Gateway.Stage(c.r.Context(), c.request(), source)
	if err != nil {
		return err
	}
	return c.passRenamed(answer)
}

// stageWithBody passes on a request about an upload, a part with its content.
func (c *call) stageWithBody() error {
	if c.op.Operation != opUploadPart {
		return c.stage(nil)
	}
	b, err := c.body()
	if err != nil {
		return err
	}
	q := c.request()
	q.Body, q.Size, q.Payload, q.Trailer = b.reader, b.size, b.sha256, b.trailer
	answer, err := c.bucket.Gateway.Stage(c.r.Context(), q, nil)
	if err != nil {
		return err
	}
	return c.pass(answer)
}

func (c *call) uploadPartCopy() error {
	source, err := c.source()
	if err != nil {
		return err
	}
	return c.stage(&source)
}

// completeUpload makes the object from its parts.
func (c *call) completeUpload() error {
	document, err := c.document()
	if err != nil {
		return err
	}
	etags, err := parseParts(document.data)
	if err != nil {
		return err
	}
	q := c.request()
	q.Body, q.Size = bytes.NewReader(document.data), int64(len(document.data)) // a checksum in the header would be the object's
	result, err := c.bucket.Gateway.Complete(c.r.Context(), q, etags)
	if err != nil {
		return err
	}
	result.Answer.Document = replaced(result.Answer.Document, "Location", escapedXML(c.location()))
	return c.written(result)
}

// location is where clients find the key, as they have named it: they do not know the region's endpoint.
func (c *call) location() string {
	scheme := "http://"
	if c.r.TLS != nil {
		scheme = "https://"
	}
	return scheme + c.r.Host + c.r.URL.EscapedPath()
}

// maxParts is the most parts that an object has.
// Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
const maxParts = 10_000

// parseParts returns the ETags of the parts that a completion names, in order.
func parseParts(document []byte) ([]string, error) {
	var upload struct {
		XMLName xml.Name                `xml:"CompleteMultipartUpload"`
		Parts   []struct{ ETag string } `xml:"Part"`
	}
	if err := xml.Unmarshal(document, &upload); err != nil || len(upload.Parts) == 0 || len(upload.Parts) > maxParts {
		return nil, malformedXML()
	}
	var etags []string
	for _, part := range upload.Parts {
		etags = append(etags, s3op.TrimETag(part.ETag))
	}
	return etags, nil
}

// passRenamed is pass for an answer whose document names the bucket.
func (c *call) passRenamed(answer *gateway.Answer) error {
	document, err := documentOf(answer)
	if err != nil {
		return err
	}
	switch answer.Document = document; c.op.Operation {
	case opListParts:
		answer.Document = withoutAccounts(document)
	case opGetBucketACL, opGetObjectACL:
		answer.Document = withoutGrantees(document)
	}
	return c.pass(answer)
}

// documentOf reads an answer to its end, and leaves it without a Body.
func documentOf(answer *gateway.Answer) ([]byte, error) {
	if answer.Body == nil {
		return answer.Document, nil
	}
	document, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	_ = answer.Body.Close()
	if err != nil {
		return nil, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "region "+answer.Region+" did not end its answer; try again", err)
	}
	answer.Body = nil
	return document, nil
}

// maxAnswerBytes bounds the documents that regions answer: those of the largest listings have less.
const maxAnswerBytes = 16 << 20

func malformedXML() error {
	return s3op.NewError(s3op.Invalid, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}
