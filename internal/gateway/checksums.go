package gateway

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// crc64NVMe is the reversed polynomial of CRC-64/NVME.
// Source: NVM Express NVM Command Set Specification, "64b CRC".
const crc64NVMe = 0x9a6c9329ac4bc9b5

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
	for _, kind := range []struct {
		header string
		make   func() hash.Hash
	}{
		{"Content-Md5", md5.New},
		{"X-Amz-Checksum-Crc32", func() hash.Hash { return crc32.NewIEEE() }},
		{"X-Amz-Checksum-Crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
		{"X-Amz-Checksum-Crc64nvme", func() hash.Hash { return crc64.New(crc64.MakeTable(crc64NVMe)) }},
		{"X-Amz-Checksum-Sha1", sha1.New},
		{"X-Amz-Checksum-Sha256", sha256.New},
	} {
		values := h[kind.header]
		if len(values) == 0 {
			continue
		}
		value := strings.Join(values, ", ") // two are none
		sum := kind.make()
		want, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || len(want) != sum.Size() {
			return nil, s3op.NewError(s3op.Invalid, "InvalidDigest",
				fmt.Sprintf("%s is not the base64 of %d bytes", kind.header, sum.Size()))
		}
		c.sums = append(c.sums, checksum{kind.header, value, want, sum})
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
