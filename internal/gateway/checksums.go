package gateway

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// checksums verifies a whole body against what the client said of it, where the
// region sees only parts of it.
type checksums struct {
	sums []checksum
}

type checksum struct {
	header, value string
	want          []byte
	hash          hash.Hash
}

// newChecksums refuses a checksum that cannot be one.
func newChecksums(h http.Header) (*checksums, error) {
	c := &checksums{}
	for _, header := range slices.Concat([]string{"Content-Md5"}, slices.Sorted(maps.Keys(s3op.ChecksumHeaders(h)))) {
		values := h[header]
		if len(values) == 0 {
			continue
		}
		value := strings.Join(values, ", ") // two are none
		sum := s3op.NewChecksum(header)
		if sum == nil {
			sum = md5.New()
		}
		want, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || len(want) != sum.Size() {
			return nil, s3op.NewError(s3op.Invalid, "InvalidDigest",
				fmt.Sprintf("%s is not the base64 of %d bytes", header, sum.Size()))
		}
		c.sums = append(c.sums, checksum{header, value, want, sum})
	}
	return c, nil
}

// Write never fails.
func (c *checksums) Write(p []byte) (int, error) {
	for _, s := range c.sums {
		s.hash.Write(p)
	}
	return len(p), nil
}

func (c *checksums) verify() error {
	for _, s := range c.sums {
		if got := s.hash.Sum(nil); subtle.ConstantTimeCompare(got, s.want) != 1 {
			return s3op.NewError(s3op.Invalid, "BadDigest", fmt.Sprintf("%s is %s, the body has %s; nothing was written",
				s.header, s.value, base64.StdEncoding.EncodeToString(got)))
		}
	}
	return nil
}

// VerifyBody holds a body that no region will see against what its client said of it in the header: Content-MD5 and checksums.
func VerifyBody(h http.Header, body []byte) error {
	sums, err := newChecksums(h)
	if err != nil {
		return err
	}
	_, _ = sums.Write(body)
	return sums.verify()
}
