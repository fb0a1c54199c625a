package regiontest

import (
	"cmp"
	"crypto/md5"
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

const iso8601 = "2006-01-02T15:04:05.000Z"

type copyResultXML struct {
	XMLName      xml.Name `xml:"CopyObjectResult"`
	ETag         string
	LastModified string
	checksumXML
}

// copyObject makes a single object of the source, whatever parts that has.
func (s *Server) copyObject(c *call) (effect, error) {
	source, _, versioned := strings.Cut(c.Header.Get("X-Amz-Copy-Source"), "?")
	source, err := url.PathUnescape(strings.TrimPrefix(source, "/"))
	fromBucket, fromKey, ok := strings.Cut(source, "/")
	if err != nil || !ok || versioned {
		return nil, fail("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	replacing, err1 := replaces(c, "X-Amz-Metadata-Directive")
	retagging, err2 := replaces(c, "X-Amz-Tagging-Directive")
	if err := cmp.Or(err1, err2); err != nil {
		return nil, err
	}
	o, err := newObject(c.Key, c.Header)
	if err != nil {
		return nil, err
	}
	algorithm := strings.ToUpper(c.Header.Get("X-Amz-Checksum-Algorithm"))
	if algorithm != "" && newHash(algorithm) == nil {
		return nil, fail("InvalidRequest", "Checksum algorithm provided is unsupported.")
	}
	return func(b *bucket) (*reply, error) {
		from, err := s.copySourceLocked(c, fromBucket, fromKey)
		if err != nil {
			return nil, err
		}
		class := o.Header["X-Amz-Storage-Class"]
		if fromBucket == c.Bucket && fromKey == c.Key && !replacing && class == from.Header["X-Amz-Storage-Class"] {
			return nil, fail("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
		}
		if err := s.mayWrite(c.Header, b.current(c.Key)); err != nil {
			return nil, err
		}
		to := *o
		if !replacing {
			to.Metadata, to.Header = from.Metadata, inherit(from.Header, o.Header)
		}
		if !retagging {
			to.Tags = from.Tags
		}
		to.LastModified = now()
		to.fill(copied(from, cmp.Or(algorithm, from.Checksum.Algorithm)))
		s.setLocked(c.Request, b, c.Key, &to)
		return xmlReply(http.StatusOK, copyResultXML{
			ETag:         to.ETag,
			LastModified: to.LastModified.Format(iso8601),
			checksumXML:  checksumElements(to.Checksum),
		}), nil
	}, nil
}

// replaces reads a directive: copy, the default, or replace.
func replaces(c *call, name string) (bool, error) {
	switch c.Header.Get(name) {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	}
	return false, fail("InvalidArgument", "Unknown "+strings.ToLower(name))
}

// inherit is the header of a copy: storage class and redirect are its own, all
// else is the source's.
func inherit(from, own map[string]string) map[string]string {
	h := maps.Clone(from)
	for _, name := range []string{"X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location"} {
		delete(h, name)
		if v := own[name]; v != "" {
			h[name] = v
		}
	}
	return h
}

func (s *Server) copySourceLocked(c *call, bucket, key string) (*Object, error) {
	b := s.mu.buckets[bucket]
	if b == nil {
		return nil, fail("NoSuchBucket", "The specified bucket does not exist")
	}
	o := b.current(key)
	if o == nil {
		return nil, noSuchKey()
	}
	if status, header := checkRead(c.Header, "X-Amz-Copy-Source-", o); status != http.StatusOK {
		return nil, failCondition(strings.ToLower(header))
	}
	return o, nil
}

// copied is the source's body as one that was just received.
func copied(o *Object, algorithm string) payload {
	p := payload{data: o.Data, size: o.Size}
	if o.Data == nil {
		return p
	}
	sum := md5.Sum(o.Data)
	p.md5 = sum[:]
	p.checksum = Checksum{Algorithm: algorithm, Value: checksumOf(algorithm, o.Data), Type: "FULL_OBJECT"}
	return p
}

// checksumXML is a checksum in an answer or a list of parts.
type checksumXML struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

func (x *checksumXML) field(algorithm string) *string {
	switch algorithm {
	case "CRC32":
		return &x.ChecksumCRC32
	case "CRC32C":
		return &x.ChecksumCRC32C
	case "CRC64NVME":
		return &x.ChecksumCRC64NVME
	case "SHA1":
		return &x.ChecksumSHA1
	default:
		return &x.ChecksumSHA256
	}
}

func checksumElements(c Checksum) (x checksumXML) {
	if c.Value != "" {
		*x.field(c.Algorithm), x.ChecksumType = c.Value, c.Type
	}
	return x
}
