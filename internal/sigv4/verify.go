package sigv4

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// MaxSkew is how far the clock of a client may be from ours.
const MaxSkew = 15 * time.Minute

// Config is what a Verifier needs.
type Config struct {
	// Region that requests must be signed for; "" takes any.
	Region string
	// Secret returns the secret of an access key, and false where there is no such key. Required; safe for concurrent use.
	Secret func(accessKey string) (secret string, ok bool)
}

// Verifier verifies requests. It is safe for concurrent use.
type Verifier struct {
	region string
	secret func(string) (string, bool)
	keys   keys
}

// New returns a Verifier.
func New(cfg Config) (*Verifier, error) {
	if cfg.Secret == nil {
		return nil, errors.New("sigv4: no Secret")
	}
	return &Verifier{region: cfg.Region, secret: cfg.Secret}, nil
}

// Signed is a claim that was verified.
type Signed struct {
	Claim
	key *signingKey
}

// Verify returns nil where r was signed as c, which Parse returned for it, says: by who knows the secret, for this
// region, and at a time that is good now. It does not read the body: that is verified as Content is read.
func (v *Verifier) Verify(r *http.Request, c Claim, now time.Time) (Signed, error) {
	if err := v.checkRegion(&c); err != nil {
		return Signed{}, err
	}
	if err := c.checkTime(now); err != nil {
		return Signed{}, err
	}
	secret, ok := v.secret(c.AccessKey)
	if !ok {
		return Signed{}, errAccessKey()
	}
	if err := c.checkHeaders(r.Header); err != nil {
		return Signed{}, err
	}
	var room [roomForRequest]byte
	var roomOfNames [roomForNames]byte
	canonical, err := appendCanonical(room[:0], r, append(roomOfNames[:0], c.signedHeaders...), c.ContentSHA256)
	if err != nil {
		return Signed{}, err
	}
	of := keyOf{secret, c.Date, c.Region}
	key, isKept := v.keys.find(of)
	want := key.sign(c.Time, c.Region, canonical)
	if subtle.ConstantTimeCompare(want[:], []byte(c.signature)) != 1 {
		return Signed{}, errSignature()
	}
	if !isKept { // now that it is known to be good for something
		v.keys.keep(of, key)
	}
	return Signed{c, key}, nil
}

func (v *Verifier) checkRegion(c *Claim) error {
	if v.region == "" || c.Region == v.region {
		return nil
	}
	wrong := fmt.Sprintf("the region '%s' is wrong; expecting '%s'", c.Region, v.region)
	err := malformed(wrong)
	if c.IsPresigned {
		err = queryError("Error parsing the X-Amz-Credential parameter; " + wrong)
	}
	if e, ok := errors.AsType[*s3op.Error](err); ok {
		e.Region = v.region
	}
	return err
}

func (c *Claim) checkTime(now time.Time) error {
	age := now.Sub(c.Time)
	switch {
	case !c.IsPresigned && (age > MaxSkew || age < -MaxSkew):
		return s3op.NewError(s3op.Denied, "RequestTimeTooSkewed",
			"The difference between the request time and the current time is too large.")
	case c.IsPresigned && age < -MaxSkew:
		return denied("Request is not valid yet")
	case c.IsPresigned && age > c.Expires:
		return denied("Request has expired")
	}
	return nil
}

// checkHeaders refuses a request whose signature leaves out what it must cover.
func (c *Claim) checkHeaders(h http.Header) error {
	const notSigned = "There were headers present in the request which were not signed"
	if !c.signs("Host") {
		return denied(notSigned)
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-") && !c.signs(name) {
			return denied(notSigned)
		}
	}
	return nil
}

// signs reports whether the header of that name is signed.
func (c *Claim) signs(name string) bool {
	for signed := range strings.SplitSeq(c.signedHeaders, ";") {
		if isLowerOf(signed, name) {
			return true
		}
	}
	return false
}

// isLowerOf reports whether s is name in lower case.
func isLowerOf(s, name string) bool {
	if len(s) != len(name) {
		return false
	}
	for i := range len(s) {
		if s[i] != lower(name[i]) {
			return false
		}
	}
	return true
}
