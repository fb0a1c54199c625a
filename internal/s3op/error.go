package s3op

import (
	"errors"
	"net/http"
	"time"
)

// Kind is what a front has to know of an error to answer it.
type Kind int

// The kinds. The zero Kind is Internal: what nobody classified is our fault.
const (
	Internal Kind = iota
	Invalid
	Denied
	NotFound
	Conflict
	Precondition
	NotModified
	Range
	TooLarge
	Unavailable
	MethodNotAllowed
	NotImplemented
)

// HTTPStatus is the status that both fronts answer for the kind.
func (k Kind) HTTPStatus() int {
	switch k {
	case Invalid:
		return http.StatusBadRequest
	case Denied:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case Precondition:
		return http.StatusPreconditionFailed
	case NotModified:
		return http.StatusNotModified
	case Range:
		return http.StatusRequestedRangeNotSatisfiable
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case Unavailable:
		return http.StatusServiceUnavailable
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case NotImplemented:
		return http.StatusNotImplemented
	}
	return http.StatusInternalServerError
}

// Error is an error that may be shown to a client: Code is the S3 error code
// (or Tandem's own, such as NotYetReplicated), Message says what was wrong and
// what is allowed. Err is for the log alone.
type Error struct {
	Kind    Kind
	Code    string
	Message string
	// Region is the region the error speaks of; "" where there is none.
	Region string
	// Age is how long the region has been behind, for NotYetReplicated; 0 where unknown.
	Age time.Duration
	// Header holds what an answer of this kind must carry, such as the ETag
	// of a 304; nil where nothing.
	Header http.Header
	// Answered is what a region has answered of a request that was passed on to it; nil
	// where the error is not a region's.
	Answered *Answered
	Err      error
}

// Answered is a region's refusal, as it gave it.
type Answered struct {
	Status int
	// Document is its error in XML, nil where it gave none, and Bucket how it calls the bucket there.
	Document []byte
	Bucket   string
}

// NewError returns an Error without a cause.
func NewError(kind Kind, code, message string) *Error {
	return &Error{Kind: kind, Code: code, Message: message}
}

// WrapError returns an Error whose cause is kept for the log.
func WrapError(kind Kind, code, message string, err error) *Error {
	return &Error{Kind: kind, Code: code, Message: message, Err: err}
}

func (e *Error) Error() string {
	s := e.Code + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the first *Error in err's chain, Internal without one.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
