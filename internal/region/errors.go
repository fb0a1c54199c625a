package region

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/s3op"
)

// Outcome is what is known of the effect of a request that failed.
type Outcome int

const (
	// Ambiguous: the region may have applied the request, or may yet.
	Ambiguous Outcome = iota
	// NotSent: the region cannot have applied it.
	NotSent
	// Rejected: the region answered that it did not apply it.
	Rejected
)

func (o Outcome) String() string {
	return [...]string{"ambiguous", "not sent", "rejected"}[o]
}

// Error is the only error that a Region returns.
type Error struct {
	Region    string
	Operation string
	Outcome   Outcome
	// Status is the answer's HTTP status, 0 where there was no answer.
	Status int
	// Code and Message are the S3 error of the answer, "" where it had none.
	Code    string
	Message string
	// Header is the answer's header, nil where there was no answer.
	Header http.Header
	// Document is the answer's body, at most 64 KiB, nil where it was no S3 error.
	Document []byte
	// Bucket is the region's own, as the Document calls it.
	Bucket string
	Err    error
	// namesOwner: the request was to be denied where the bucket is not that account's.
	namesOwner bool
}

func (e *Error) Error() string {
	s := fmt.Sprintf("region %s: %s: ", e.Region, e.Operation)
	switch {
	case e.Status != 0:
		s += fmt.Sprintf("status %d %s %s", e.Status, e.Code, e.Message)
	case e.Err != nil:
		s += e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// OutcomeOf is the Outcome of the *Error in err's chain; without one the
// request is taken to be Ambiguous.
func OutcomeOf(err error) Outcome {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Outcome
	}
	return Ambiguous
}

// IsNotFound reports whether a region that answered has no such key. A missing
// bucket, a time-out or a refusal is not an absence.
func IsNotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound && (e.Code == "NoSuchKey" || mutant.On(mutant.BucketsAbsence))
}

// IsPrecondition reports whether a condition of the request did not hold. An
// If-Match on a key that is not there is not among them: S3 answers it with
// NoSuchKey, see IsNotFound.
func IsPrecondition(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusPreconditionFailed || e.Status == http.StatusConflict && e.Code == "ConditionalRequestConflict")
}

// IsDown reports whether err says that the region, rather than the request, has
// failed: no connection, a time-out, a cut, or a 5xx. A 403 or a 404 does not.
func IsDown(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == 0 && e.Outcome != Rejected || e.Status >= 500 && e.Status != http.StatusNotImplemented)
}

// ErrStalled is the cause of a request that made no progress in time.
var ErrStalled = errors.New("the region made no progress in time")

// ErrKey is the cause where the region cannot hold a key exactly.
var ErrKey = errors.New("the region cannot hold this key")

const maxErrorBytes = 64 << 10

type errorBody struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

// answered makes the Error for an answer that is not a success.
func (r *Region) answered(op string, resp *http.Response) *Error {
	var body errorBody
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if err == nil {
		err = xml.Unmarshal(data, &body)
	}
	if err != nil {
		data = nil // a proxy's HTML: the status alone speaks
	}
	e := &Error{
		Region: r.name, Operation: op, Status: resp.StatusCode,
		Code: body.Code, Message: body.Message, Header: resp.Header, Document: data, Bucket: r.bucket,
	}
	if q := resp.Request; q != nil {
		e.namesOwner = len(q.Header["X-Amz-Expected-Bucket-Owner"]) > 0 || len(q.Header["X-Amz-Source-Expected-Bucket-Owner"]) > 0
	}
	e.Outcome = OutcomeOfAnswer(op, e.Status, e.Code)
	return e
}

// OutcomeOfAnswer says what an answer with this status and error code means for a write. 4xx are refusals, but for an upload that is
// not there when it is completed: something on the way may have sent that twice, and the first has completed
// it. Of the 5xx only those that S3 gives before it acts are: an InternalError, or a
// proxy's 502 or 504, may hide a write that was applied or will be.
func OutcomeOfAnswer(op string, status int, code string) Outcome {
	switch {
	case mutant.On(mutant.ServerErrorRefuses):
		return Rejected
	case op == "CompleteMultipartUpload" && code == "NoSuchUpload" && !mutant.On(mutant.OwnCompletionRefuses):
		return Ambiguous
	case status < 500, status == http.StatusNotImplemented, code == "SlowDown":
		return Rejected
	}
	return Ambiguous
}

// refuseKey is the Error for a key that the region cannot hold.
func (r *Region) refuseKey(op string, err error) *Error {
	return &Error{
		Region: r.name, Operation: op, Outcome: Rejected, Status: http.StatusBadRequest,
		Code: "InvalidArgument", Message: err.Error(), Err: ErrKey,
	}
}

// ToClient turns a region's answer into the error that a client may see. The
// region's message is passed on for what the client can mend; anything that is
// the region's own failure is Unavailable.
func ToClient(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	kind, isClients := clientKinds[e.Status]
	isMissing := e.Status == http.StatusNotFound && !IsNotFound(err) // the bucket, not the key
	if !isClients || isMissing {
		return &s3op.Error{
			Kind: s3op.Unavailable, Code: "ServiceUnavailable", Region: e.Region,
			Message: fmt.Sprintf("region %s did not answer as it should; try again", e.Region), Err: err,
		}
	}
	code := e.Code
	if code == "" {
		code = http.StatusText(e.Status)
	}
	message := e.Message
	if message == "" {
		message = fmt.Sprintf("region %s answered %d", e.Region, e.Status)
	}
	return &s3op.Error{Kind: kind, Code: code, Message: message, Region: e.Region, Header: e.Header, Err: err}
}

// clientKinds are the statuses of a region that a client may see. A 403 is not
// among them: the client is ours to authorise, so a region's 403 is a fault of our own
// credentials. Of the 404 only that of a key is: bucket and uploads are ours.
var clientKinds = map[int]s3op.Kind{
	http.StatusNotModified:                  s3op.NotModified,
	http.StatusBadRequest:                   s3op.Invalid,
	http.StatusNotFound:                     s3op.NotFound,
	http.StatusMethodNotAllowed:             s3op.Invalid,
	http.StatusConflict:                     s3op.Conflict,
	http.StatusPreconditionFailed:           s3op.Precondition,
	http.StatusRequestEntityTooLarge:        s3op.TooLarge,
	http.StatusRequestedRangeNotSatisfiable: s3op.Range,
	http.StatusNotImplemented:               s3op.NotImplemented,
}

// AsAnswered turns a region's refusal of a request that was passed on into the error that its client
// sees: what the region said. What only our own credentials, or our own bucket there, can have been refused for,
// and what is the region's own failure, is Unavailable.
func AsAnswered(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	if e.Outcome == NotSent || e.Status == 0 || IsDown(err) || isOurs(e) {
		return &s3op.Error{
			Kind: s3op.Unavailable, Code: "ServiceUnavailable", Region: e.Region,
			Message: fmt.Sprintf("region %s did not answer as it should; try again", e.Region), Err: err,
		}
	}
	kind, isKnown := clientKinds[e.Status]
	if !isKnown {
		kind = s3op.Denied
	}
	return &s3op.Error{
		Kind: kind, Code: cmp.Or(e.Code, http.StatusText(e.Status)), Message: e.Message, Region: e.Region, Header: e.Header,
		Answered: &s3op.Answered{Status: e.Status, Document: e.Document, Bucket: e.Bucket}, Err: err,
	}
}

// isOurs reports whether a refusal is of us, rather than of what the client asks.
func isOurs(e *Error) bool {
	switch e.Code {
	case "":
		return e.Status == http.StatusForbidden || e.Status == http.StatusNotFound || e.Status == http.StatusUnauthorized
	case "NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken", "InvalidToken",
		"AuthorizationHeaderMalformed", "TokenRefreshRequired", "PermanentRedirect", "AllAccessDisabled", "AccountProblem":
		return true
	case "AccessDenied":
		// The client is ours to authorise, and AWS names who asked, which is us, and the bucket there; what is locked is locked for everybody.
		return !e.namesOwner && !strings.Contains(strings.ToLower(e.Message), "object lock")
	}
	return e.Status >= 300 && e.Status < 400 && e.Status != http.StatusNotModified
}
