package regiontest

import (
	"errors"
	"net/http"
)

// errCut ends a request without an answer.
var errCut = errors.New("connection cut")

// apiError is an error as S3 answers it.
type apiError struct {
	status    int
	code      string
	message   string
	condition string // the header that failed, for PreconditionFailed
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fail(code, message string) *apiError {
	return &apiError{status: statusOf(code), code: code, message: message}
}

func failCondition(header string) *apiError {
	e := fail("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	e.condition = header
	return e
}

// statusOf is the HTTP status that S3 sends with an error code.
func statusOf(code string) int {
	switch code {
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed",
		"ExpiredToken", "InvalidObjectState", "AllAccessDisabled", "AccountProblem":
		return http.StatusForbidden
	case "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoSuchVersion",
		"NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError":
		return http.StatusNotFound
	case "MethodNotAllowed":
		return http.StatusMethodNotAllowed
	case "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "ConditionalRequestConflict", "OperationAborted":
		return http.StatusConflict
	case "MissingContentLength":
		return http.StatusLengthRequired
	case "PreconditionFailed":
		return http.StatusPreconditionFailed
	case "InvalidRange", "InvalidPartNumber":
		return http.StatusRequestedRangeNotSatisfiable
	case "InternalError":
		return http.StatusInternalServerError
	case "NotImplemented":
		return http.StatusNotImplemented
	case "ServiceUnavailable", "SlowDown":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// codeOf is a code that S3 would send with a status, for faults that name none.
func codeOf(status int) string {
	switch status {
	case http.StatusForbidden:
		return "AccessDenied"
	case http.StatusNotFound:
		return "NoSuchKey"
	case http.StatusConflict:
		return "OperationAborted"
	case http.StatusPreconditionFailed:
		return "PreconditionFailed"
	case http.StatusInternalServerError:
		return "InternalError"
	case http.StatusNotImplemented:
		return "NotImplemented"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailable"
	}
	return "InvalidRequest"
}
