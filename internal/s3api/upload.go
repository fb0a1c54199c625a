package s3api

import (
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
	document, size, err := c.document()
	if err != nil {
		return err
	}
	var upload struct {
		XMLName xml.Name                `xml:"CompleteMultipartUpload"`
		Parts   []struct{ ETag string } `xml:"Part"`
	}
	if err := xml.NewDecoder(document).Decode(&upload); err != nil || len(upload.Parts) == 0 {
		return malformedXML()
	}
	var etags []string
	for _, part := range upload.Parts {
		etags = append(etags, s3op.TrimETag(part.ETag))
	}
	if _, err := document.Seek(0, io.SeekStart); err != nil {
		return err
	}
	q := c.request()
	q.Body, q.Size = document, size
	result, err := c.bucket.Gateway.Complete(c.r.Context(), q, etags)
	if err != nil {
		return err
	}
	return c.written(result)
}

// passRenamed is pass for an answer whose document names the bucket.
func (c *call) passRenamed(answer *gateway.Answer) error {
	var err error
	if answer.Document, err = documentOf(answer); err != nil {
		return err
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
