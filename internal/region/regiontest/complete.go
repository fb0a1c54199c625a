package regiontest

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

type completeXML struct {
	Part []completePartXML
}

type completePartXML struct {
	PartNumber int
	ETag       string
	checksumXML
}

type completeResultXML struct {
	XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location text
	Bucket   string
	Key      text
	ETag     string
	checksumXML
}

func (s *Server) completeUpload(c *call) (effect, error) {
	// A checksum in the headers is the whole object's, not that of this body.
	var said claims
	if err := said.readChecksum(withoutComposite(c.Header)); err != nil {
		return nil, err
	}
	var doc completeXML
	if _, err := c.receiveXML(&doc, false); err != nil {
		return nil, err
	}
	if len(doc.Part) == 0 || slices.ContainsFunc(doc.Part, func(p completePartXML) bool { return p.ETag == "" || p.PartNumber == 0 }) {
		return nil, fail("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	return func(b *bucket) (*reply, error) {
		name := [2]string{c.Key, c.Query.Get("uploadId")}
		if result, done := b.done[name]; done && !s.opts.ForgetUploads {
			return xmlReply(http.StatusOK, result), nil
		}
		u, err := uploadOf(c, b)
		if err != nil {
			return nil, err
		}
		if err := s.mayWrite(c.Header, b.current(c.Key)); err != nil && !s.opts.IgnoreUploadConditions {
			return nil, err
		}
		parts, err := u.pick(doc.Part, s.opts.SmallParts)
		if err != nil {
			return nil, err
		}
		o := u.assemble(parts, s.opts.Discard)
		if err := u.checkWhole(c.Header, o); err != nil {
			return nil, err
		}
		delete(b.uploads, u.id)
		b.done[name] = completeResultXML{
			Location:    escape("http://" + c.r.Host + "/" + c.Bucket + "/" + urlEncode(c.Key)),
			Bucket:      c.Bucket,
			Key:         escape(c.Key),
			ETag:        o.ETag,
			checksumXML: checksumElements(o.Checksum),
		}
		s.setLocked(c.Request, b, c.Key, o)
		return xmlReply(http.StatusOK, b.done[name]), nil
	}, nil
}

// withoutComposite drops the "-N" of a composite checksum, so that the rest
// can be judged as any other.
func withoutComposite(h http.Header) http.Header {
	h = h.Clone()
	for _, a := range checksumAlgorithms() {
		if v, _, ok := strings.Cut(h.Get(checksumHeader(a)), "-"); ok {
			h.Set(checksumHeader(a), v)
		}
	}
	return h
}

// pick finds the parts that the client lists. Others are thrown away.
func (u *upload) pick(list []completePartXML, smallParts bool) ([]*part, error) {
	for i := range list[1:] {
		if list[i].PartNumber >= list[i+1].PartNumber {
			return nil, fail("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
	}
	var parts []*part
	for i, want := range list {
		p := u.parts[want.PartNumber]
		switch {
		case p == nil || !sameETag(p.ETag, want.ETag):
			return nil, invalidPart()
		case p.Size < minPartBytes && i < len(list)-1 && !smallParts:
			return nil, fail("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		if err := u.checkPart(p, want); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func invalidPart() error {
	return fail("InvalidPart", "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
}

func (u *upload) checkPart(p *part, want completePartXML) error {
	for _, a := range checksumAlgorithms() {
		switch said := *want.field(a); {
		case said == "" || said == p.Checksum.Value:
		case a == p.Checksum.Algorithm:
			return invalidPart()
		default:
			return fail("BadDigest", fmt.Sprintf("The %s you specified for part %d did not match what we received.", strings.ToLower(a), p.Number))
		}
	}
	if u.checksum.Type == "COMPOSITE" && *want.field(u.checksum.Algorithm) == "" {
		return fail("InvalidRequest", fmt.Sprintf("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.",
			strings.ToLower(u.checksum.Algorithm), p.Number))
	}
	return nil
}

// assemble makes the object. Its time is that of the upload's beginning, as in
// S3: not that of its completion.
func (u *upload) assemble(parts []*part, discard bool) *Object {
	o := new(u.object.clone())
	o.LastModified = u.initiated
	sums := md5.New()
	for _, p := range parts {
		sums.Write(p.md5)
		o.Parts = append(o.Parts, p.Part)
		o.Size += p.Size
	}
	if !discard {
		o.Data = make([]byte, 0, o.Size)
		for _, p := range parts {
			o.Data = append(o.Data, p.data...)
		}
	}
	o.ETag = fmt.Sprintf(`"%x-%d"`, sums.Sum(nil), len(parts))
	o.Checksum = u.wholeChecksum(o)
	return o
}

// wholeChecksum is over the parts' checksums or over all bytes, which are not
// there to be summed where they were discarded.
func (u *upload) wholeChecksum(o *Object) Checksum {
	sum := u.checksum
	switch {
	case sum.Type == "COMPOSITE":
		h := newHash(sum.Algorithm)
		for _, p := range o.Parts {
			b, err := base64.StdEncoding.DecodeString(p.Checksum.Value)
			if err != nil {
				panic(err) // it was encoded here
			}
			h.Write(b)
		}
		sum.Value = fmt.Sprintf("%s-%d", sum64(h), len(o.Parts))
		return sum
	case o.Data == nil:
		return Checksum{}
	case sum.Algorithm == "":
		sum = Checksum{Algorithm: defaultAlgorithm, Type: "FULL_OBJECT"}
	}
	sum.Value = checksumOf(sum.Algorithm, o.Data)
	return sum
}

// checkWhole holds the object against what the request says of it.
func (u *upload) checkWhole(h http.Header, o *Object) error {
	if v := h.Get("X-Amz-Mp-Object-Size"); v != "" && v != strconv.FormatInt(o.Size, 10) {
		return fail("InvalidRequest", fmt.Sprintf("The provided 'x-amz-mp-object-size' header value %s does not match what was computed: %d", v, o.Size))
	}
	if u.checksum.Algorithm == "" {
		return nil // S3 ignores a checksum that the upload was not begun with
	}
	if v := strings.ToUpper(h.Get("X-Amz-Checksum-Type")); v != "" && v != u.checksum.Type {
		return fail("InvalidRequest", fmt.Sprintf("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", u.checksum.Type))
	}
	for _, a := range checksumAlgorithms() {
		v := h.Get(checksumHeader(a))
		if v == "" || o.Checksum.Value == "" {
			continue
		}
		if a != o.Checksum.Algorithm || v != o.Checksum.Value {
			return fail("BadDigest", "The "+a+" you specified did not match the calculated checksum.")
		}
	}
	return nil
}
