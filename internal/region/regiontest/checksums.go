package regiontest

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"
)

// The algorithm S3 uses for what is sent without a checksum.
const defaultAlgorithm = "CRC64NVME"

// Checksum is one of the additional checksums of S3.
type Checksum struct {
	Algorithm string // as in the API: CRC32, CRC32C, CRC64NVME, SHA1 or SHA256
	Value     string // base64; of parts put together one by one, with "-N"
	Type      string // FULL_OBJECT or COMPOSITE
}

func checksumAlgorithms() []string {
	return []string{"CRC32", "CRC32C", defaultAlgorithm, "SHA1", "SHA256"}
}

// newHash returns nil for an unknown algorithm.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "CRC32":
		return crc32.NewIEEE()
	case "CRC32C":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "CRC64NVME":
		return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) // the NVMe polynomial, bits reversed
	case "SHA1":
		return sha1.New()
	case "SHA256":
		return sha256.New()
	}
	return nil
}

func checksumOf(algorithm string, data []byte) string {
	h := newHash(algorithm)
	h.Write(data)
	return sum64(h)
}

func sum64(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

func checksumHeader(algorithm string) string {
	return http.CanonicalHeaderKey("x-amz-checksum-" + algorithm)
}

func (c Checksum) addTo(h http.Header) {
	if c.Value != "" {
		h.Set(checksumHeader(c.Algorithm), c.Value)
		h.Set("X-Amz-Checksum-Type", c.Type)
	}
}

// claims is what a request says its body will turn out to be.
type claims struct {
	length    int64 // after decoding; -1 where unknown
	chunked   bool  // aws-chunked
	md5       []byte
	sha256    string // hex
	algorithm string // of the checksum; "" where none was given
	checksum  string // "" where it comes in the trailer
	trailer   bool
}

// claimsOf reads all claims but the additional checksum.
func claimsOf(r *http.Request) (claims, error) {
	c := claims{length: r.ContentLength}
	switch h := r.Header.Get("X-Amz-Content-Sha256"); {
	case strings.HasPrefix(h, "STREAMING-"):
		c.chunked = true
		if _, err := fmt.Sscan(r.Header.Get("X-Amz-Decoded-Content-Length"), &c.length); err != nil || c.length < 0 {
			return c, fail("MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.")
		}
	case h != "" && h != "UNSIGNED-PAYLOAD":
		if b, err := hex.DecodeString(h); err != nil || len(b) != sha256.Size {
			return c, fail("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value or a valid sha256 value.")
		}
		c.sha256 = strings.ToLower(h)
	}
	if h := r.Header["Content-Md5"]; len(h) > 0 {
		b, err := base64.StdEncoding.DecodeString(h[0])
		if err != nil || len(b) != md5.Size {
			return c, fail("InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
		c.md5 = b
	}
	return c, nil
}

// readChecksum finds the one checksum that a request may carry, in a header or
// announced for the trailer.
func (c *claims) readChecksum(h http.Header) error {
	for _, a := range checksumAlgorithms() {
		name := checksumHeader(a)
		value, announced := h.Get(name), strings.EqualFold(h.Get("X-Amz-Trailer"), name)
		_, sent := h[name]
		if !sent && !announced {
			continue
		}
		if c.algorithm != "" || (sent && announced) {
			return fail("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		c.algorithm, c.checksum, c.trailer = a, value, announced
		if !announced && !validChecksum(a, value) {
			return fail("InvalidRequest", "Value for "+strings.ToLower(name)+" header is invalid.")
		}
	}
	switch said := h.Get("X-Amz-Sdk-Checksum-Algorithm"); {
	case c.trailer && !c.chunked:
		return fail("InvalidRequest", "x-amz-trailer needs a STREAMING- value in x-amz-content-sha256.")
	case said != "" && c.algorithm == "":
		return fail("InvalidRequest", "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case said != "" && !strings.EqualFold(said, c.algorithm):
		return fail("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return nil
}

func validChecksum(algorithm, value string) bool {
	b, err := base64.StdEncoding.DecodeString(value)
	return err == nil && len(b) == newHash(algorithm).Size()
}
