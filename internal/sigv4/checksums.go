package sigv4

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"
)

// crc64NVMe is the reversed polynomial of CRC-64/NVME.
// Source: NVM Express NVM Command Set Specification, "64b CRC".
const crc64NVMe = 0x9a6c9329ac4bc9b5

// checksum is a header of a trailer, and what it is verified against.
type checksum struct {
	name, algorithm string
	hash            hash.Hash
	value           string // "" until it came
}

// newChecksums returns the checksums that the values of X-Amz-Trailer promise. A trailer that cannot be verified is
// refused before anything is read.
func newChecksums(values []string) ([]*checksum, error) {
	const maxTrailers = 5 // one of each algorithm
	sums := make([]*checksum, 0, 1)
	for name := range strings.SplitSeq(strings.Join(values, ","), ",") {
		sum := newChecksum(strings.ToLower(strings.TrimSpace(name)))
		if sum == nil || len(sums) == maxTrailers {
			return nil, invalid("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

func newChecksum(name string) *checksum {
	switch name {
	case "x-amz-checksum-crc32":
		return &checksum{name: name, algorithm: "CRC32", hash: crc32.NewIEEE()}
	case "x-amz-checksum-crc32c":
		return &checksum{name: name, algorithm: "CRC32C", hash: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	case "x-amz-checksum-crc64nvme":
		return &checksum{name: name, algorithm: "CRC64NVME", hash: crc64.New(crc64.MakeTable(crc64NVMe))}
	case "x-amz-checksum-sha1":
		return &checksum{name: name, algorithm: "SHA1", hash: sha1.New()}
	case "x-amz-checksum-sha256":
		return &checksum{name: name, algorithm: "SHA256", hash: sha256.New()}
	}
	return nil
}
