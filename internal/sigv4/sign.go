package sigv4

import (
	"net/http"
	"slices"
	"time"
)

// EmptySHA256 is the hash of no bytes, in hex: what a request without a body is signed with.
const EmptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Credentials are whose name a request is signed in.
type Credentials struct {
	AccessKey, SecretKey string
	// SessionToken is that of temporary credentials; "" for others.
	SessionToken string
}

// Signer signs requests by header. The zero Signer is ready; it is safe for concurrent use.
type Signer struct{ keys keys }

// Sign signs r as it will be sent, and so comes last: a header that is changed afterwards is no longer what was signed.
// contentSHA256 is the hash of the body in hex, or UNSIGNED-PAYLOAD, or a word for what its chunks are signed by. The
// names of r.Header are in the form that Header.Set gives them. Sign sets X-Amz-Date, X-Amz-Content-Sha256,
// X-Amz-Security-Token and Authorization, and leaves the rest of r alone.
//
// Headers that a proxy, or the client of net/http, may change on the way are not signed. The only error is that of a query
// that cannot be decoded.
func (s *Signer) Sign(r *http.Request, c Credentials, region, contentSHA256 string, at time.Time) error {
	at = at.UTC()
	var roomOfTime [len(timeFormat)]byte
	values := []string{string(at.AppendFormat(roomOfTime[:0], timeFormat)), contentSHA256, c.SessionToken, ""}
	r.Header["X-Amz-Date"] = values[0:1:1]
	r.Header["X-Amz-Content-Sha256"] = values[1:2:2]
	if c.SessionToken != "" {
		r.Header["X-Amz-Security-Token"] = values[2:3:3]
	}
	var roomOfNames [roomForNames]byte
	names := appendNames(roomOfNames[:0], r)
	var room [roomForRequest]byte
	canonical, err := appendCanonical(room[:0], r, names, contentSHA256)
	if err != nil {
		return err
	}
	of := keyOf{c.SecretKey, values[0][:len(dateFormat)], region}
	key, isKept := s.keys.find(of)
	if !isKept {
		s.keys.keep(of, key)
	}
	signature := key.sign(at, region, canonical)
	b := append(canonical[:0], algorithm+" Credential="...)
	b = append(b, c.AccessKey...)
	b = append(b, '/')
	b = appendScope(b, at, region)
	b = append(b, ", SignedHeaders="...)
	b = append(b, names...)
	b = append(b, ", Signature="...)
	b = append(b, signature[:]...)
	values[3] = string(b)
	r.Header["Authorization"] = values[3:4:4]
	return nil
}

// appendNames appends the names of the headers to sign, sorted, in lower case and with a semicolon between.
func appendNames(b []byte, r *http.Request) []byte {
	var room [32]string
	names := append(room[:0], "Host")
	if r.ContentLength > 0 {
		names = append(names, "Content-Length")
	}
	for name := range r.Header {
		switch name {
		case "Authorization", "User-Agent", "X-Amzn-Trace-Id", "Expect", "Transfer-Encoding", "Host", "Content-Length":
		default:
			names = append(names, name)
		}
	}
	slices.SortFunc(names, compareLower)
	for i, name := range names {
		if i > 0 {
			b = append(b, ';')
		}
		for j := range len(name) {
			b = append(b, lower(name[j]))
		}
	}
	return b
}

func compareLower(s, t string) int {
	for i := range min(len(s), len(t)) {
		if d := int(lower(s[i])) - int(lower(t[i])); d != 0 {
			return d
		}
	}
	return len(s) - len(t)
}
