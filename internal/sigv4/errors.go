package sigv4

import (
	"errors"

	"github.com/gnew/tandem/internal/s3op"
)

// ErrAnonymous is the cause of the AccessDenied that a request without any signature gets.
var ErrAnonymous = errors.New("the request is not signed")

func invalid(code, message string) error { return s3op.NewError(s3op.Invalid, code, message) }

func denied(message string) error { return s3op.NewError(s3op.Denied, "AccessDenied", message) }

func malformed(what string) error {
	return invalid("AuthorizationHeaderMalformed", "The authorization header is malformed; "+what)
}

func queryError(message string) error { return invalid("AuthorizationQueryParametersError", message) }

func errURI() error { return invalid("InvalidURI", "Couldn't parse the specified URI.") }

func errVersion2() error {
	return invalid("InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

func errAsymmetric() error {
	return s3op.NewError(s3op.NotImplemented, "NotImplemented",
		"AWS4-ECDSA-P256-SHA256, the asymmetric Signature Version 4, is not implemented. Please use AWS4-HMAC-SHA256.")
}

func errAccessKey() error {
	return s3op.NewError(s3op.Denied, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
}

func errSignature() error {
	return s3op.NewError(s3op.Denied, "SignatureDoesNotMatch",
		"The request signature we calculated does not match the signature you provided. Check your key and signing method.")
}

// errIncomplete is of a body that ends too soon, or whose chunks are none; cause may be nil.
func errIncomplete(cause error) error {
	return s3op.WrapError(s3op.Invalid, "IncompleteBody", "The request body terminated unexpectedly", cause)
}

// errLength is of chunks that hold more or less than X-Amz-Decoded-Content-Length says.
func errLength() error {
	return invalid("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

func errTrailer() error {
	return invalid("MalformedTrailerError",
		"The request contained trailing data that was not well-formed or did not conform to our published schema.")
}
