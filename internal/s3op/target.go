package s3op

import (
	"net/netip"
	"net/url"
	"strings"
)

// ParseTarget returns the bucket and the key that a request names, both "" for
// the service and the key "" for a bucket. It takes the request's Host and its
// path as they were sent (url.URL.EscapedPath). The bucket is what stands before
// the domain in the host, or else the first segment of the path; with an empty
// domain it is never in the host.
//
// The key is decoded once and otherwise left alone: empty segments, "..", an
// encoded slash and a plus are what they are. Bucket and key are legal
// (CheckBucket, CheckKey); an error is an *Error of kind Invalid.
func ParseTarget(host, escapedPath, domain string) (bucket, key string, err error) {
	path, isRooted := strings.CutPrefix(escapedPath, "/")
	if !isRooted && path != "" {
		return "", "", NewError(Invalid, "InvalidURI", "the path does not begin with a slash")
	}
	bucket = hostBucket(host, domain)
	if bucket == "" {
		if path == "" {
			return "", "", nil
		}
		// A slash inside an escape is no separator: such a bucket is refused by its name.
		bucket, path, _ = strings.Cut(path, "/")
		if bucket, err = unescapePath(bucket); err != nil {
			return "", "", err
		}
	}
	if err := CheckBucket(bucket); err != nil {
		return "", "", err
	}
	if path == "" {
		return bucket, "", nil
	}
	if key, err = unescapePath(path); err != nil {
		return "", "", err
	}
	if err := CheckKey(key); err != nil {
		return "", "", err
	}
	return bucket, key, nil
}

// hostBucket returns what stands before the domain in the host, "" where the
// host is the domain itself or is not below it. Hosts have no case, and may
// have a port and a final dot.
func hostBucket(host, domain string) string {
	if domain == "" {
		return ""
	}
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 {
		host = host[:colon]
	}
	host = strings.TrimSuffix(host, ".")
	dot := len(host) - len(domain) - 1
	if dot < 1 || host[dot] != '.' || !strings.EqualFold(host[dot+1:], domain) {
		return ""
	}
	return strings.ToLower(host[:dot])
}

func unescapePath(escaped string) (string, error) {
	text, err := url.PathUnescape(escaped)
	if err != nil {
		return "", WrapError(Invalid, "InvalidURI", "the path has a % without two hexadecimal digits; send it as %25", err)
	}
	return text, nil
}

// CheckBucket returns nil for a name that S3's current rules allow, else an
// *Error of kind Invalid.
// Source: Amazon S3 User Guide, "General purpose bucket naming rules".
func CheckBucket(name string) error {
	isLegal := 3 <= len(name) && len(name) <= 63 && isAlphanumeric(name[0]) && isAlphanumeric(name[len(name)-1]) &&
		!strings.Contains(name, "..") && !isIPv4(name)
	for i := 0; isLegal && i < len(name); i++ {
		isLegal = isAlphanumeric(name[i]) || name[i] == '-' || name[i] == '.'
	}
	if !isLegal {
		return NewError(Invalid, "InvalidBucketName",
			`the bucket's name is not valid; it has 3 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends, no "..", and is not an IP address`)
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
}

func isIPv4(name string) bool {
	if strings.Trim(name, "0123456789.") != "" {
		return false // and an error less to allocate
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}
