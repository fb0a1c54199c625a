package s3op

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// crc64NVMe is the reversed polynomial of CRC-64/NVME.
// Source: NVM Express NVM Command Set Specification, "64b CRC".
const crc64NVMe = 0x9a6c9329ac4bc9b5

// NewChecksum returns the hash that a checksum header, by its canonical name, holds in base64; nil for any other header.
// Source: Amazon S3 User Guide, "Checking object integrity".
func NewChecksum(header string) hash.Hash {
	switch header {
	case "X-Amz-Checksum-Crc32":
		return crc32.NewIEEE()
	case "X-Amz-Checksum-Crc32c":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "X-Amz-Checksum-Crc64nvme":
		return crc64.New(crc64.MakeTable(crc64NVMe))
	case "X-Amz-Checksum-Sha1":
		return sha1.New()
	case "X-Amz-Checksum-Sha256":
		return sha256.New()
	}
	return nil
}
