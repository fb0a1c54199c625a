package regiontest

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const minPartBytes = 5 << 20

// upload is a multipart upload that is neither complete nor aborted.
type upload struct {
	id        string
	object    *Object // but for its body
	initiated time.Time
	checksum  Checksum      // what was asked for; no algorithm where nothing was
	parts     map[int]*part // by part number
}

type part struct {
	Part
	md5      []byte
	data     []byte
	modified time.Time
}

type initiateXML struct {
	XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
	Bucket   string
	Key      text
	UploadId string
}

func (s *Server) createUpload(c *call) (effect, error) {
	o, err := newObject(c.Key, c.Header)
	if err != nil {
		return nil, err
	}
	sum, err := uploadChecksum(c.Header)
	if err != nil {
		return nil, err
	}
	return func(b *bucket) (*reply, error) {
		u := &upload{object: s.kept(o), initiated: now(), checksum: sum, parts: make(map[int]*part)}
		// In the order in which they were made, and not guessable.
		u.id = s.idPrefix + c.id
		b.uploads[u.id] = u
		rep := xmlReply(http.StatusOK, initiateXML{Bucket: c.Bucket, Key: escape(c.Key), UploadId: u.id})
		if sum.Algorithm != "" {
			rep.header.Set("X-Amz-Checksum-Algorithm", sum.Algorithm)
			rep.header.Set("X-Amz-Checksum-Type", sum.Type)
		}
		return rep, nil
	}, nil
}

// uploadChecksum reads how the whole object's checksum is to be made.
func uploadChecksum(h http.Header) (Checksum, error) {
	sum := Checksum{Algorithm: strings.ToUpper(h.Get("X-Amz-Checksum-Algorithm")), Type: strings.ToUpper(h.Get("X-Amz-Checksum-Type"))}
	if sum.Algorithm == "" {
		if sum.Type != "" {
			return sum, fail("InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return sum, nil
	}
	if newHash(sum.Algorithm) == nil {
		return sum, fail("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	only := map[string]string{"CRC64NVME": "FULL_OBJECT", "SHA1": "COMPOSITE", "SHA256": "COMPOSITE"}[sum.Algorithm]
	sum.Type = cmp.Or(sum.Type, only, "COMPOSITE")
	if (only != "" && sum.Type != only) || (sum.Type != "COMPOSITE" && sum.Type != "FULL_OBJECT") {
		return sum, fail("InvalidRequest", fmt.Sprintf("The %s checksum type cannot be used with the %s checksum algorithm.", sum.Type, sum.Algorithm))
	}
	return sum, nil
}

// uploadOf finds the upload that the request names.
func uploadOf(c *call, b *bucket) (*upload, error) {
	u := b.uploads[c.Query.Get("uploadId")]
	if u == nil || u.object.Key != c.Key {
		return nil, fail("NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	}
	return u, nil
}

func (c *call) checkPartNumber() error {
	if c.PartNumber < 1 || c.PartNumber > 10000 {
		return fail("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	return nil
}

func (s *Server) uploadPart(c *call) (effect, error) {
	if err := c.checkPartNumber(); err != nil {
		return nil, err
	}
	p, err := s.receiveObject(c)
	if err != nil {
		return nil, err
	}
	if p.data == nil {
		p.md5 = madeUpMD5(c.Key, c.PartNumber, p.size)
	}
	return func(b *bucket) (*reply, error) {
		u, err := uploadOf(c, b)
		if err != nil {
			return nil, err
		}
		if err := u.accepts(&p); err != nil {
			return nil, err
		}
		pt := &part{md5: p.md5, data: p.data, modified: now()}
		pt.Part = Part{Number: c.PartNumber, Size: p.size, ETag: quote(p.md5), Checksum: p.checksum}
		u.parts[c.PartNumber] = pt
		h := http.Header{"Etag": {pt.ETag}}
		if p.checksum.Value != "" {
			h.Set(checksumHeader(p.checksum.Algorithm), p.checksum.Value)
		}
		return &reply{header: h}, nil
	}, nil
}

// accepts holds a part's checksum against the upload's, and takes the missing
// one where S3 does.
func (u *upload) accepts(p *payload) error {
	want := u.checksum.Algorithm
	switch {
	case want == "" || (p.claimed && p.checksum.Algorithm == want):
		return nil
	case p.claimed || u.checksum.Type == "COMPOSITE":
		got := "null"
		if p.claimed {
			got = strings.ToLower(p.checksum.Algorithm)
		}
		return fail("InvalidRequest", fmt.Sprintf("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", strings.ToLower(want), got))
	case p.data != nil:
		p.checksum = Checksum{Algorithm: want, Value: checksumOf(want, p.data), Type: "FULL_OBJECT"}
	}
	return nil
}

func (s *Server) abortUpload(c *call) (effect, error) {
	return func(b *bucket) (*reply, error) {
		u, err := uploadOf(c, b)
		if err != nil {
			return nil, err
		}
		delete(b.uploads, u.id)
		return &reply{status: http.StatusNoContent}, nil
	}, nil
}
