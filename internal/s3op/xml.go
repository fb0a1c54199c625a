package s3op

import (
	"encoding/xml"
	"errors"
)

// Subject is what an error document says beside the error; what is "" is left out.
type Subject struct {
	// Resource is the path that the request named.
	Resource   string
	BucketName string
	Key        string
	RequestID  string
	HostID     string
}

// ErrorXML returns the document that S3 answers for an error. What is not an
// *Error is shown as InternalError, and nothing of its text. Whatever bytes
// key and resource hold, the document is well-formed: what XML cannot hold
// comes out as U+FFFD.
// Source: Amazon S3 API Reference, "Error responses".
func ErrorXML(err error, about Subject) []byte {
	document := struct {
		XMLName    xml.Name `xml:"Error"`
		Code       string
		Message    string
		Resource   string `xml:",omitempty"`
		BucketName string `xml:",omitempty"`
		Key        string `xml:",omitempty"`
		Region     string `xml:",omitempty"`
		RequestID  string `xml:"RequestId,omitempty"`
		HostID     string `xml:"HostId,omitempty"`
	}{
		Code: "InternalError", Message: "We encountered an internal error. Please try again.",
		Resource: about.Resource, BucketName: about.BucketName, Key: about.Key, RequestID: about.RequestID, HostID: about.HostID,
	}
	if e, ok := errors.AsType[*Error](err); ok {
		document.Code, document.Message, document.Region = e.Code, e.Message, e.Region
	}
	body, err := xml.Marshal(document)
	if err != nil {
		panic(err) // strings alone always marshal
	}
	return append([]byte(xml.Header), body...)
}
