package regiontest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Request is what one request asks for. Header and Query must not be changed.
type Request struct {
	// Operation is the name in the S3 API, such as "PutObject"; what the
	// server does not know is "Unknown".
	Operation string
	Bucket    string
	// Key is empty for operations on a bucket. To an OnApply hook it is the
	// key that changed, also where one DeleteObjects changes many.
	Key string
	// PartNumber is that of the query, 0 where there is none.
	PartNumber int
	// Attempt says that this is the nth request, from 1, with this operation,
	// bucket, key and part number. A client's transport may by itself repeat a
	// GET or HEAD that was cut on a reused connection; that counts too.
	Attempt int
	Header  http.Header
	Query   url.Values
}

type attemptKey struct {
	operation, bucket, key string
	part                   int
}

// call is a request on its way through the server.
type call struct {
	Request
	id     string
	w      http.ResponseWriter
	r      *http.Request
	body   bodyReader
	fault  Fault
	badURI bool
	cutOff bool          // owned by the handler's goroutine
	killed chan struct{} // closed by SetDown, under the server's lock
}

// newCall reads what is asked for out of the request line and headers. The
// escaped path is split before it is decoded, so no byte of a key is lost.
func newCall(w http.ResponseWriter, r *http.Request) *call {
	rawBucket, rawKey, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	bucket, err1 := url.PathUnescape(rawBucket)
	key, err2 := url.PathUnescape(rawKey)
	c := &call{w: w, r: r, killed: make(chan struct{})}
	c.badURI = err1 != nil || err2 != nil || !utf8.ValidString(key)
	c.body = bodyReader{r: r.Body}
	c.Request = Request{Bucket: bucket, Key: key, Header: r.Header, Query: r.URL.Query()}
	c.PartNumber, _ = strconv.Atoi(c.Query.Get("partNumber"))
	c.Operation = operation(r.Method, c.Request)
	return c
}

// operation names what is asked for. A query parameter that is not known to be
// a mere argument is a subresource, so that ?acl never passes for a plain GET.
func operation(method string, q Request) string {
	var subs []string
	for name := range q.Query {
		if !isArgument(name) {
			subs = append(subs, name)
		}
	}
	slices.Sort(subs)
	scope := "object"
	if q.Key == "" {
		scope = "bucket"
	}
	copying := q.Header.Get("X-Amz-Copy-Source") != ""
	switch method + " " + scope + "?" + strings.Join(subs, "&") {
	case "GET object?":
		return "GetObject"
	case "HEAD object?":
		return "HeadObject"
	case "PUT object?":
		if copying {
			return "CopyObject"
		}
		return "PutObject"
	case "DELETE object?":
		return "DeleteObject"
	case "GET object?tagging":
		return "GetObjectTagging"
	case "PUT object?tagging":
		return "PutObjectTagging"
	case "DELETE object?tagging":
		return "DeleteObjectTagging"
	case "POST object?uploads":
		return "CreateMultipartUpload"
	case "PUT object?uploadId":
		if copying {
			return "Unknown" // UploadPartCopy
		}
		return "UploadPart"
	case "POST object?uploadId":
		return "CompleteMultipartUpload"
	case "DELETE object?uploadId":
		return "AbortMultipartUpload"
	case "GET object?uploadId":
		return "ListParts"
	case "GET bucket?list-type":
		return "ListObjectsV2"
	case "GET bucket?uploads":
		return "ListMultipartUploads"
	case "POST bucket?delete":
		return "DeleteObjects"
	case "GET bucket?versioning":
		return "GetBucketVersioning"
	case "GET bucket?object-lock":
		return "GetObjectLockConfiguration"
	case "GET bucket?lifecycle":
		return "GetBucketLifecycleConfiguration"
	case "HEAD bucket?":
		return "HeadBucket"
	case "PUT bucket?":
		return "CreateBucket"
	}
	return "Unknown"
}

func isArgument(name string) bool {
	switch name {
	case "x-id", "partNumber", "versionId", "prefix", "delimiter", "start-after", "continuation-token",
		"max-keys", "encoding-type", "fetch-owner", "key-marker", "upload-id-marker", "max-uploads",
		"part-number-marker", "max-parts":
		return true
	}
	return strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "response-")
}

// admit refuses what no operation can accept.
func (s *Server) admit(c *call) error {
	switch v := c.Query.Get("versionId"); {
	case c.badURI:
		return fail("InvalidURI", "Couldn't parse the specified URI.")
	case len(c.Key) > 1024:
		return fail("KeyTooLongError", "Your key is too long")
	case v != "" && v != "null":
		return fail("InvalidArgument", "Invalid version id specified")
	}
	for name := range c.Header {
		if !isKnownHeader(name) {
			return fail("NotImplemented", name+" is not implemented")
		}
	}
	if s.lacks(c) {
		return fail("NotImplemented", "A header or query you provided implies functionality that is not implemented")
	}
	return s.authenticate(c)
}

// isKnownHeader says no to headers that must not be ignored: an object would
// be kept, or deleted, otherwise than the client asked.
func isKnownHeader(name string) bool {
	for _, prefix := range []string{"X-Amz-Server-Side-Encryption", "X-Amz-Object-Lock", "X-Amz-If-Match-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	switch suffix, _ := strings.CutPrefix(name, "X-Amz-Checksum-"); suffix {
	case name, "Mode", "Type", "Algorithm":
		return true
	default:
		return newHash(strings.ToUpper(suffix)) != nil
	}
}

func (s *Server) authenticate(c *call) error {
	if s.opts.AccessKey == "" {
		return nil
	}
	credential := c.Query.Get("X-Amz-Credential")
	if h := c.Header.Get("Authorization"); h != "" {
		_, credential, _ = strings.Cut(h, "Credential=")
	}
	switch got, _, _ := strings.Cut(credential, "/"); got {
	case s.opts.AccessKey:
		return nil
	case "":
		return fail("AccessDenied", "Access Denied")
	}
	return fail("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
}
