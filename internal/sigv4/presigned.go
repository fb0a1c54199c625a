package sigv4

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxExpires is how long a presigned request may be good for at most.
	MaxExpires = 7 * 24 * time.Hour
	minExpires = time.Second
)

// query is what a query says of a signature.
type query struct {
	algorithm, credential, date, expires, signedHeaders, signature string
	token, contentSHA256                                           string
	isVersion2                                                     bool
}

// isPresigned: the query has one of the parameters that nothing but a presigned request has.
func (q *query) isPresigned() bool {
	return q.algorithm != "" || q.credential != "" || q.signature != ""
}

// readQuery refuses a parameter of the signature that is there twice: one would be verified, and somebody else might read
// the other.
func readQuery(raw string) (q query, err error) {
	var accessKey, signature string // those of version 2
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name, err = url.QueryUnescape(name); err != nil {
			return query{}, errURI()
		}
		var to *string
		switch name {
		case "X-Amz-Algorithm":
			to = &q.algorithm
		case "X-Amz-Credential":
			to = &q.credential
		case "X-Amz-Date":
			to = &q.date
		case "X-Amz-Expires":
			to = &q.expires
		case "X-Amz-SignedHeaders":
			to = &q.signedHeaders
		case "X-Amz-Signature":
			to = &q.signature
		case "X-Amz-Security-Token":
			to = &q.token
		case "X-Amz-Content-Sha256":
			to = &q.contentSHA256
		case "AWSAccessKeyId":
			to = &accessKey
		case "Signature":
			to = &signature
		default:
			continue
		}
		if *to != "" {
			return query{}, queryError(name + " is there more than once")
		}
		if *to, err = url.QueryUnescape(value); err != nil {
			return query{}, errURI()
		}
	}
	q.isVersion2 = accessKey != "" && signature != ""
	return q, nil
}

func parsePresigned(r *http.Request, q query) (c Claim, err error) {
	switch {
	case q.algorithm == algorithmAsymmetric:
		return Claim{}, errAsymmetric()
	case q.algorithm != "" && q.algorithm != algorithm:
		return Claim{}, queryError(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`)
	case q.algorithm == "" || q.credential == "" || q.signature == "" || q.date == "" || q.signedHeaders == "" || q.expires == "":
		return Claim{}, queryError("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, " +
			"X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
	}
	c.IsPresigned, c.signedHeaders, c.signature, c.SessionToken = true, q.signedHeaders, q.signature, q.token
	if wrong := c.readCredential(q.credential); wrong != "" {
		return Claim{}, queryError("Error parsing the X-Amz-Credential parameter; " + wrong)
	}
	if wrong := wrongNames(c.signedHeaders); wrong != "" {
		return Claim{}, queryError("Error parsing the X-Amz-SignedHeaders parameter; " + wrong)
	}
	var ok bool
	if c.Time, ok = parseTime(q.date); !ok {
		return Claim{}, queryError(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if !c.isOfItsDate() {
		return Claim{}, queryError(fmt.Sprintf("Invalid credential date %q. This date is not the same as X-Amz-Date: %q.",
			c.Date, c.Time.Format(dateFormat)))
	}
	if c.Expires, err = parseExpires(q.expires); err != nil {
		return Claim{}, err
	}
	// Whoever presigns seldom knows the body. Where they do, they say it in a signed header or in the query.
	c.ContentSHA256 = cmp.Or(strings.Join(r.Header["X-Amz-Content-Sha256"], ","), q.contentSHA256, unsignedPayload)
	c.Payload, err = parsePayload(c.ContentSHA256)
	return c, err
}

func parseExpires(s string) (time.Duration, error) {
	seconds, err := strconv.ParseInt(s, 10, 32)
	switch expires := time.Duration(seconds) * time.Second; {
	case err != nil:
		return 0, queryError("X-Amz-Expires should be a number")
	case seconds < 0:
		return 0, queryError("X-Amz-Expires must be non-negative")
	case expires < minExpires:
		return 0, queryError("X-Amz-Expires must be at least 1 second")
	case expires > MaxExpires:
		return 0, queryError("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	default:
		return expires, nil
	}
}
