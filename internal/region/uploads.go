package region

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/s3op"
)

// completeTimeoutFactor: a region may take far longer to put parts together
// than to answer anything else.
const completeTimeoutFactor = 10

// CreateUpload begins a multipart upload and returns its id. The header is as
// for Put, without checksums and conditions.
func (r *Region) CreateUpload(ctx context.Context, key string, h http.Header) (string, error) {
	var answer struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadId string
	}
	q := request{op: "CreateMultipartUpload", method: http.MethodPost, key: key, header: h, query: url.Values{"uploads": {""}}}
	if err := r.decode(ctx, q, &answer); err != nil {
		return "", err
	}
	if answer.UploadId == "" { // a part of no upload could pass for the object
		return "", &Error{Region: r.name, Operation: q.op, Outcome: Ambiguous, Err: errors.New("the answer has no upload id")}
	}
	return answer.UploadId, nil
}

// UploadPart writes part number (1 to 10,000) of size bytes and returns its ETag.
// Content-MD5 may be in the header.
func (r *Region) UploadPart(ctx context.Context, key, uploadID string, number int, h http.Header, body io.Reader, size int64) (string, error) {
	q := request{
		op: "UploadPart", method: http.MethodPut, key: key, header: h, body: body, size: size,
		query: url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {uploadID}},
	}
	resp, err := r.do(ctx, q)
	if err != nil {
		return "", err
	}
	_ = finish(resp)
	return r.written(q.op, resp.Header.Get("Etag"))
}

type completedPart struct {
	PartNumber int
	ETag       string
}

// CompleteUpload makes the object from its parts, whose ETags are given in
// order, and returns the object's ETag. The header holds conditions. The answer is the
// body: a 200 may carry an error.
// Source: Amazon S3 API Reference, "CompleteMultipartUpload".
func (r *Region) CompleteUpload(ctx context.Context, key, uploadID string, h http.Header, etags []string) (string, error) {
	upload := struct {
		XMLName xml.Name        `xml:"CompleteMultipartUpload"`
		Parts   []completedPart `xml:"Part"`
	}{}
	for i, etag := range etags {
		upload.Parts = append(upload.Parts, completedPart{PartNumber: i + 1, ETag: s3op.QuoteETag(etag)})
	}
	body, err := xml.Marshal(upload)
	if err != nil {
		return "", &Error{Region: r.name, Operation: "CompleteMultipartUpload", Outcome: NotSent, Err: err}
	}
	q := request{
		op: "CompleteMultipartUpload", method: http.MethodPost, key: key, header: h,
		query: url.Values{"uploadId": {uploadID}}, body: bytes.NewReader(body), size: int64(len(body)),
		timeout: completeTimeoutFactor * r.timeout,
	}
	var answer struct {
		XMLName       xml.Name
		ETag          string
		Code, Message string
	}
	if err := r.decode(ctx, q, &answer); err != nil {
		return "", err
	}
	switch name := answer.XMLName.Local; name {
	case "CompleteMultipartUploadResult":
		return r.written(q.op, answer.ETag)
	case "Error":
		if mutant.On(mutant.ErrorInside200) {
			return "", nil
		}
		e := &Error{Region: r.name, Operation: q.op, Status: http.StatusInternalServerError, Code: answer.Code, Message: answer.Message}
		e.Outcome = OutcomeOfAnswer(q.op, e.Status, e.Code)
		return "", e
	default:
		return "", &Error{Region: r.name, Operation: q.op, Outcome: Ambiguous, Err: fmt.Errorf("read the answer: it is <%s>, which ends no upload", name)}
	}
}

// AbortUpload gives up a multipart upload and its parts.
func (r *Region) AbortUpload(ctx context.Context, key, uploadID string) error {
	q := request{op: "AbortMultipartUpload", method: http.MethodDelete, key: key, query: url.Values{"uploadId": {uploadID}}}
	resp, err := r.do(ctx, q)
	if err != nil {
		return err
	}
	_ = finish(resp)
	return nil
}
