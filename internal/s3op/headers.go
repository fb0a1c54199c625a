package s3op

import (
	"net/http"
	"strings"
)

// MetadataPrefix begins the name of every header of user metadata.
const MetadataPrefix = "X-Amz-Meta-"

// systemHeaders are the headers that S3 keeps with an object and gives back.
// Source: Amazon S3 User Guide, "Working with object metadata".
var systemHeaders = [...]string{
	"Cache-Control",
	"Content-Disposition",
	"Content-Encoding",
	"Content-Language",
	"Content-Type",
	"Expires",
	"X-Amz-Storage-Class",
	"X-Amz-Website-Redirect-Location",
}

// checksumHeaders are the whole-object checksums that a client can send and a
// region verifies. Source: Amazon S3 User Guide, "Checking object integrity".
var checksumHeaders = [...]string{
	"X-Amz-Checksum-Crc32",
	"X-Amz-Checksum-Crc32c",
	"X-Amz-Checksum-Crc64nvme",
	"X-Amz-Checksum-Sha1",
	"X-Amz-Checksum-Sha256",
}

// StoredHeaders returns a new header with what S3 keeps with an object: system
// headers and user metadata, whatever else h holds.
func StoredHeaders(h http.Header) http.Header {
	kept := make(http.Header, 4)
	copyNamed(kept, h, systemHeaders[:])
	for name, values := range h {
		if strings.HasPrefix(name, MetadataPrefix) {
			kept[name] = values
		}
	}
	if kept.Get("X-Amz-Storage-Class") == "STANDARD" {
		kept.Del("X-Amz-Storage-Class") // what S3 means by not saying
	}
	return kept
}

// ChecksumHeaders returns a new header with the checksums in h.
func ChecksumHeaders(h http.Header) http.Header {
	kept := make(http.Header, 1)
	copyNamed(kept, h, checksumHeaders[:])
	return kept
}

func copyNamed(to, from http.Header, names []string) {
	for _, name := range names {
		if values := from[name]; len(values) > 0 {
			to[name] = values
		}
	}
}

// TrimETag takes the quotes off an ETag header; the index and JSON hold it bare.
func TrimETag(etag string) string {
	return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
}

// QuoteETag puts the quotes back on for a header. An empty ETag stays empty.
func QuoteETag(etag string) string {
	if etag == "" {
		return ""
	}
	return `"` + etag + `"`
}
