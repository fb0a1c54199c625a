package regiontest

import (
	"cmp"
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

type listPartsXML struct {
	XMLName              xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
	Bucket               string
	Key                  text
	UploadId             string
	StorageClass         string
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	ChecksumAlgorithm    string `xml:",omitempty"`
	ChecksumType         string `xml:",omitempty"`
	Part                 []partXML
}

type partXML struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
	checksumXML
}

func (s *Server) listParts(c *call) (effect, error) {
	limit, err := pageSize(c.Query, "max-parts")
	if err != nil {
		return nil, err
	}
	marker, err := strconv.Atoi(cmp.Or(c.Query.Get("part-number-marker"), "0"))
	if err != nil || marker < 0 {
		return nil, fail("InvalidArgument", "Argument part-number-marker must be an integer between 0 and 2147483647")
	}
	return func(b *bucket) (*reply, error) {
		u, err := uploadOf(c, b)
		if err != nil {
			return nil, err
		}
		doc := listPartsXML{
			Bucket: c.Bucket, Key: escape(c.Key), UploadId: u.id, StorageClass: storageClass(u.object),
			PartNumberMarker: marker, MaxParts: limit,
			ChecksumAlgorithm: u.checksum.Algorithm, ChecksumType: u.checksum.Type,
		}
		for _, n := range slices.Sorted(maps.Keys(u.parts)) {
			if n <= marker {
				continue
			}
			if len(doc.Part) == limit {
				doc.IsTruncated = true
				break
			}
			doc.Part = append(doc.Part, u.parts[n].element())
			doc.NextPartNumberMarker = n
		}
		return xmlReply(http.StatusOK, doc), nil
	}, nil
}

func (p *part) element() partXML {
	x := partXML{
		PartNumber:   p.Number,
		LastModified: p.modified.Format(iso8601),
		ETag:         p.ETag,
		Size:         p.Size,
		checksumXML:  checksumElements(p.Checksum),
	}
	x.ChecksumType = "" // said once, of the upload
	return x
}

type listUploadsXML struct {
	XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
	Bucket             string
	KeyMarker          text
	UploadIdMarker     string
	NextKeyMarker      *text
	NextUploadIdMarker string `xml:",omitempty"`
	Prefix             text
	Delimiter          *text
	EncodingType       string `xml:",omitempty"`
	MaxUploads         int
	IsTruncated        bool
	Upload             []uploadXML
	CommonPrefixes     []prefixXML
}

type uploadXML struct {
	Key               text
	UploadId          string
	StorageClass      string
	Initiated         string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

// listUploads pages as a listing of keys does. One key can have many uploads,
// so each stands for itself as key, NUL and id, which sort as S3 wants them.
func (s *Server) listUploads(c *call) (effect, error) {
	q := c.Query
	limit, err := pageSize(q, "max-uploads")
	if err != nil {
		return nil, err
	}
	if err := checkEncoding(q); err != nil {
		return nil, err
	}
	enc := encoder(q.Get("encoding-type"))
	return func(b *bucket) (*reply, error) {
		doc := listUploadsXML{
			Bucket: c.Bucket, KeyMarker: enc(q.Get("key-marker")), UploadIdMarker: q.Get("upload-id-marker"),
			Prefix: enc(q.Get("prefix")), Delimiter: optional(q, "delimiter", enc),
			EncodingType: q.Get("encoding-type"), MaxUploads: limit,
		}
		byName := make(map[string]*upload)
		for _, u := range b.uploads {
			byName[u.object.Key+"\x00"+u.id] = u
		}
		names := slices.Sorted(maps.Keys(byName))
		p := paginate(names, q.Get("prefix"), q.Get("delimiter"), uploadMark(c), limit)
		for _, name := range p.keys {
			doc.Upload = append(doc.Upload, byName[name].element(enc))
		}
		doc.CommonPrefixes = prefixElements(p.prefixes, enc)
		if doc.IsTruncated = p.truncated; p.truncated {
			next := p.last.at
			if u := byName[next]; u != nil {
				next, doc.NextUploadIdMarker = u.object.Key, u.id
			}
			doc.NextKeyMarker = new(enc(next))
		}
		return xmlReply(http.StatusOK, doc), nil
	}, nil
}

// uploadMark is behind all uploads of the marker's key, or behind the one that
// an id marker names. A key marker that ends a common prefix is behind it all.
func uploadMark(c *call) mark {
	key, id := c.Query.Get("key-marker"), c.Query.Get("upload-id-marker")
	delimiter := c.Query.Get("delimiter")
	switch {
	case key == "":
		return mark{}
	case id != "":
		return mark{at: key + "\x00" + id}
	case delimiter != "" && len(key) >= len(delimiter) && key[len(key)-len(delimiter):] == delimiter:
		return mark{key, true}
	}
	return mark{key + "\x00", true}
}

func (u *upload) element(enc func(string) text) uploadXML {
	return uploadXML{
		Key:               enc(u.object.Key),
		UploadId:          u.id,
		StorageClass:      storageClass(u.object),
		Initiated:         u.initiated.Format(iso8601),
		ChecksumAlgorithm: u.checksum.Algorithm,
		ChecksumType:      u.checksum.Type,
	}
}
