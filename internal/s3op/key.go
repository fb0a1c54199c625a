package s3op

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxKeyBytes is the longest key that S3 takes, in bytes of UTF-8.
// Source: Amazon S3 User Guide, "Naming Amazon S3 objects".
const MaxKeyBytes = 1024

// ReservedPrefix is where Tandem keeps its own objects in each region's
// bucket. Clients can neither touch nor list what is below it.
const ReservedPrefix = ".tandem/"

// CheckKey returns nil for a legal S3 key: 1 to MaxKeyBytes bytes of valid
// UTF-8. Anything else is an *Error of kind Invalid. It says nothing of
// ReservedPrefix.
func CheckKey(key string) error {
	switch {
	case key == "":
		return NewError(Invalid, "InvalidArgument", "the key is empty; a key has 1 to 1024 bytes of UTF-8")
	case len(key) > MaxKeyBytes:
		return NewError(Invalid, "KeyTooLongError",
			fmt.Sprintf("the key has %d bytes; a key has 1 to %d bytes of UTF-8", len(key), MaxKeyBytes))
	case !utf8.ValidString(key):
		return NewError(Invalid, "InvalidURI", "the key is not valid UTF-8; a key has 1 to 1024 bytes of UTF-8")
	}
	return nil
}

// IsReserved reports whether the key is one of Tandem's own.
func IsReserved(key string) bool {
	return strings.HasPrefix(key, ReservedPrefix)
}

const upperHex = "0123456789ABCDEF"

// EscapePath escapes a key for the path of an S3 request the way AWS signs it:
// everything but unreserved characters and the slash is percent-encoded.
// Source: Amazon S3 API Reference, "Signature calculations", UriEncode.
func EscapePath(key string) string {
	escaped := 0
	for i := range len(key) {
		if !isUnreserved(key[i]) {
			escaped++
		}
	}
	if escaped == 0 {
		return key
	}
	b := make([]byte, 0, len(key)+2*escaped)
	for i := range len(key) {
		if c := key[i]; isUnreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

func isUnreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~' || c == '/'
}
