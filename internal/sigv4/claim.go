package sigv4

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

const (
	algorithm           = "AWS4-HMAC-SHA256"
	algorithmAsymmetric = "AWS4-ECDSA-P256-SHA256"
	service             = "s3"
	terminator          = "aws4_request"

	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"

	// maxScopePart is the longest date, region or service that is looked at: errors repeat them.
	maxScopePart = 64
	// maxSignedHeaders bounds the list of names, which is searched for each header of a request.
	maxSignedHeaders = 4096
)

// Payload is how the body of a request is signed.
type Payload int

// The ways, and what X-Amz-Content-Sha256 says for each.
const (
	// SignedPayload: the header is the hash of the whole body, in hex.
	SignedPayload Payload = iota
	// UnsignedPayload: UNSIGNED-PAYLOAD, and always so where a presigned request says nothing.
	UnsignedPayload
	// UnsignedTrailer: STREAMING-UNSIGNED-PAYLOAD-TRAILER, chunks without signatures, then checksums.
	UnsignedTrailer
	// SignedChunks: STREAMING-AWS4-HMAC-SHA256-PAYLOAD.
	SignedChunks
	// SignedChunksTrailer: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, then checksums, signed too.
	SignedChunksTrailer
)

// IsChunked reports whether the body is framed as aws-chunked.
func (p Payload) IsChunked() bool { return p >= UnsignedTrailer }

const (
	unsignedPayload     = "UNSIGNED-PAYLOAD"
	unsignedTrailer     = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	signedChunks        = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedChunksTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
)

// Claim is what a request says of its signature. Nothing of it is proved until a Verifier has verified it.
type Claim struct {
	AccessKey string
	// SessionToken is that of temporary credentials, "" without one. Whether it belongs to the key is not known here.
	SessionToken string
	// Time is when the request was signed, to the second.
	Time time.Time
	// Date and Region are the scope of the signing key; Date is that of Time, in the form 20060102.
	Date, Region string
	IsPresigned  bool
	// Expires is how long after Time a presigned request is good for; 0 of any other.
	Expires time.Duration
	Payload Payload
	// ContentSHA256 is what was signed in place of the body: for SignedPayload its hash in hex.
	ContentSHA256 string

	signedHeaders string // in lower case, with a semicolon between
	signature     string
}

// Parse reads from a request, as net/http's server gives it, who says to have signed it, and how.
//
// A request without any signature is AccessDenied, and ErrAnonymous by errors.Is. Version 2 is InvalidRequest, and the
// asymmetric version 4 NotImplemented.
func Parse(r *http.Request) (Claim, error) {
	q, err := readQuery(r.URL.RawQuery)
	if err != nil {
		return Claim{}, err
	}
	authorization := r.Header["Authorization"]
	switch {
	case len(authorization) > 1 || len(authorization) == 1 && (q.isPresigned() || q.isVersion2):
		return Claim{}, invalid("InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query "+
			"parameter, Signature query string parameter or the Authorization header should be specified")
	case q.isPresigned():
		return parsePresigned(r, q)
	case q.isVersion2:
		return Claim{}, errVersion2()
	case len(authorization) == 0:
		return Claim{}, s3op.WrapError(s3op.Denied, "AccessDenied", "Access Denied", ErrAnonymous)
	}
	return parseHeader(r, authorization[0])
}

func parseHeader(r *http.Request, authorization string) (c Claim, err error) {
	kind, rest, _ := strings.Cut(authorization, " ")
	switch kind {
	case algorithm:
	case "AWS":
		return Claim{}, errVersion2()
	case algorithmAsymmetric:
		return Claim{}, errAsymmetric()
	default:
		return Claim{}, invalid("InvalidArgument", "Unsupported Authorization Type")
	}
	var credential string
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var to *string
		switch name {
		case "Credential":
			to = &credential
		case "SignedHeaders":
			to = &c.signedHeaders
		case "Signature":
			to = &c.signature
		}
		if to == nil || *to != "" || value == "" {
			return Claim{}, malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
		}
		*to = value
	}
	if credential == "" || c.signedHeaders == "" || c.signature == "" {
		return Claim{}, malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
	}
	if wrong := cmp.Or(c.readCredential(credential), wrongNames(c.signedHeaders)); wrong != "" {
		return Claim{}, malformed(wrong)
	}
	if c.Time, err = headerTime(r.Header); err != nil {
		return Claim{}, err
	}
	if !c.isOfItsDate() {
		return Claim{}, malformed(fmt.Sprintf("Invalid credential date %q. This date is not the same as X-Amz-Date: %q.",
			c.Date, c.Time.Format(dateFormat)))
	}
	c.SessionToken = r.Header.Get("X-Amz-Security-Token")
	c.ContentSHA256 = strings.Join(r.Header["X-Amz-Content-Sha256"], ",") // two are none
	if c.ContentSHA256 == "" {
		return Claim{}, invalid("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	c.Payload, err = parsePayload(c.ContentSHA256)
	return c, err
}

// readCredential takes a credential apart, from its end: nothing forbids a slash in an access key. It returns what is
// wrong with it, "" where nothing is.
func (c *Claim) readCredential(credential string) (wrong string) {
	rest, end, ok := cutLast(credential)
	rest, of, ok2 := cutLast(rest)
	rest, region, ok3 := cutLast(rest)
	accessKey, date, ok4 := cutLast(rest)
	if !ok || !ok2 || !ok3 || !ok4 || accessKey == "" || !isScopePart(end) || !isScopePart(of) || !isScopePart(region) || !isScopePart(date) {
		return `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`
	}
	switch {
	case end != terminator:
		return fmt.Sprintf(`incorrect terminal %q. This endpoint uses "aws4_request".`, end)
	case of != service:
		return fmt.Sprintf(`incorrect service %q. This endpoint belongs to "s3".`, of)
	case !isDate(date):
		return fmt.Sprintf(`incorrect date format %q. This date in the credential must be in the format "yyyyMMdd".`, date)
	}
	c.AccessKey, c.Date, c.Region = accessKey, date, region
	return ""
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func isScopePart(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxScopePart
}

// wrongNames returns what is wrong with a list of signed headers, "" where nothing is. A name that is there twice would
// multiply a long value; one with a line in it could pass for several.
func wrongNames(list string) string {
	last, isFine := "", len(list) <= maxSignedHeaders
	for name := range strings.SplitSeq(list, ";") {
		isFine = isFine && name > last
		for i := range len(name) {
			isFine = isFine && name[i] > ' ' && name[i] <= '~' && name[i] != ':' && name[i] == lower(name[i])
		}
		last = name
	}
	if !isFine {
		return fmt.Sprintf("SignedHeaders must be names in lower case, sorted, each once, in at most %d bytes.", maxSignedHeaders)
	}
	return ""
}

func isDate(s string) bool {
	_, err := time.Parse(dateFormat, s)
	return err == nil && len(s) == len(dateFormat)
}

func (c *Claim) isOfItsDate() bool {
	var room [len(dateFormat)]byte
	return string(c.Time.AppendFormat(room[:0], dateFormat)) == c.Date
}

// headerTime is when a request says to have been signed: X-Amz-Date, or else Date.
func headerTime(h http.Header) (time.Time, error) {
	name := "X-Amz-Date"
	if len(h[name]) == 0 {
		name = "Date"
	}
	if values := h[name]; len(values) == 1 {
		if at, ok := parseTime(values[0]); ok {
			return at, nil
		}
		if at, err := http.ParseTime(values[0]); err == nil && name == "Date" {
			return at.UTC(), nil
		}
	}
	return time.Time{}, denied("AWS authentication requires a valid Date or x-amz-date header")
}

// parseTime takes exactly the form that is signed. The length is looked at, since time.Parse lets fractions pass.
func parseTime(s string) (time.Time, bool) {
	if len(s) != len(timeFormat) {
		return time.Time{}, false
	}
	at, err := time.Parse(timeFormat, s)
	return at, err == nil
}

func parsePayload(s string) (Payload, error) {
	switch s {
	case unsignedPayload:
		return UnsignedPayload, nil
	case unsignedTrailer:
		return UnsignedTrailer, nil
	case signedChunks:
		return SignedChunks, nil
	case signedChunksTrailer:
		return SignedChunksTrailer, nil
	}
	if strings.HasPrefix(s, "STREAMING-"+algorithmAsymmetric) {
		return 0, errAsymmetric()
	}
	if !isSHA256(s) {
		return 0, invalid("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "+
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
	}
	return SignedPayload, nil
}

func isSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := 0; i < len(s); i += 16 {
		if _, err := strconv.ParseUint(s[i:i+16], 16, 64); err != nil {
			return false
		}
	}
	return true
}
