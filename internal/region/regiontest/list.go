package regiontest

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// page is one page of a listing: keys and common prefixes, each in order.
type page struct {
	keys, prefixes []string
	truncated      bool
	last           mark // of what the page shows
}

// mark is a place in a listing: behind a key, or behind all of a prefix.
type mark struct {
	at       string
	isPrefix bool
}

func (m mark) token() string {
	kind := "k"
	if m.isPrefix {
		kind = "p"
	}
	return base64.URLEncoding.EncodeToString([]byte(kind + m.at))
}

func parseToken(token string) (mark, bool) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) == 0 || (b[0] != 'k' && b[0] != 'p') {
		return mark{}, false
	}
	return mark{string(b[1:]), b[0] == 'p'}, true
}

// after is the index of the first of the sorted keys behind the mark.
func (m mark) after(keys []string) int {
	return sort.Search(len(keys), func(i int) bool {
		return keys[i] > m.at && !(m.isPrefix && strings.HasPrefix(keys[i], m.at))
	})
}

// paginate walks the sorted keys that begin with prefix, from behind the mark.
// A common prefix counts as one of limit, like a key.
func paginate(keys []string, prefix, delimiter string, from mark, limit int) page {
	var p page
	i := sort.SearchStrings(keys, prefix)
	if from.at != "" {
		i = max(i, from.after(keys))
	}
	for i < len(keys) && strings.HasPrefix(keys[i], prefix) {
		if len(p.keys)+len(p.prefixes) == limit {
			p.truncated = limit > 0
			return p
		}
		rest := keys[i][len(prefix):]
		if end := strings.Index(rest, delimiter); delimiter != "" && end >= 0 {
			p.last = mark{prefix + rest[:end+len(delimiter)], true}
			p.prefixes = append(p.prefixes, p.last.at)
			i = max(i+1, p.last.after(keys))
			continue
		}
		p.last = mark{keys[i], false}
		p.keys = append(p.keys, keys[i])
		i++
	}
	return p
}

// pageSize reads a limit, which S3 caps at 1000 and never refuses for its size.
func pageSize(q url.Values, name string) (int, error) {
	v := q.Get(name)
	if v == "" {
		return 1000, nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 0 {
		return 0, fail("InvalidArgument", "Argument "+name+" must be an integer between 0 and 2147483647")
	}
	return min(int(n), 1000), nil
}

type prefixXML struct{ Prefix text }

func prefixElements(prefixes []string, enc func(string) text) []prefixXML {
	var list []prefixXML
	for _, p := range prefixes {
		list = append(list, prefixXML{enc(p)})
	}
	return list
}

// optional leaves an element out where the request did not have the parameter.
func optional(q url.Values, name string, enc func(string) text) *text {
	if q.Get(name) == "" {
		return nil
	}
	return new(enc(q.Get(name)))
}

type listXML struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                text
	Delimiter             *text
	StartAfter            *text
	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	KeyCount              int
	MaxKeys               int
	IsTruncated           bool
	Contents              []contentXML
	CommonPrefixes        []prefixXML
}

type contentXML struct {
	Key               text
	LastModified      string
	ETag              string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
	Size              int64
	StorageClass      string
}

func (s *Server) listObjects(c *call) (effect, error) {
	q := c.Query
	limit, err := pageSize(q, "max-keys")
	if err != nil {
		return nil, err
	}
	// A start that is itself a common prefix is behind all of it.
	from := mark{at: q.Get("start-after")}
	if rest, ok := strings.CutPrefix(from.at, q.Get("prefix")); ok && q.Get("delimiter") != "" {
		_, behind, found := strings.Cut(rest, q.Get("delimiter"))
		from.isPrefix = found && behind == ""
	}
	if q.Has("continuation-token") {
		var ok bool
		if from, ok = parseToken(q.Get("continuation-token")); !ok {
			return nil, fail("InvalidArgument", "The continuation token provided is incorrect")
		}
	}
	if err := checkEncoding(q); err != nil {
		return nil, err
	}
	enc := encoder(q.Get("encoding-type"))
	return func(b *bucket) (*reply, error) {
		p := paginate(b.keys, q.Get("prefix"), q.Get("delimiter"), from, limit)
		if s.opts.EndsListings && p.truncated && q.Get("start-after") != "" {
			p = paginate(b.keys, q.Get("prefix"), q.Get("delimiter"), from, limit-1)
			p.truncated = false
		}
		doc := listXML{
			Name:              c.Bucket,
			Prefix:            enc(q.Get("prefix")),
			Delimiter:         optional(q, "delimiter", enc),
			StartAfter:        optional(q, "start-after", enc),
			ContinuationToken: q.Get("continuation-token"),
			EncodingType:      q.Get("encoding-type"),
			KeyCount:          len(p.keys) + len(p.prefixes),
			MaxKeys:           limit,
			IsTruncated:       p.truncated,
			CommonPrefixes:    prefixElements(p.prefixes, enc),
		}
		if p.truncated {
			doc.NextContinuationToken = p.last.token()
		}
		for _, key := range p.keys {
			doc.Contents = append(doc.Contents, listed(b.current(key), enc))
		}
		return xmlReply(http.StatusOK, doc), nil
	}, nil
}

func listed(o *Object, enc func(string) text) contentXML {
	return contentXML{
		Key:               enc(o.Key),
		LastModified:      o.LastModified.Format(iso8601),
		ETag:              o.ETag,
		ChecksumAlgorithm: o.Checksum.Algorithm,
		ChecksumType:      o.Checksum.Type,
		Size:              o.Size,
		StorageClass:      storageClass(o),
	}
}

func storageClass(o *Object) string {
	if class := o.Header["X-Amz-Storage-Class"]; class != "" {
		return class
	}
	return "STANDARD"
}

func checkEncoding(q url.Values) error {
	if !slices.Contains([]string{"", "url"}, q.Get("encoding-type")) {
		return fail("InvalidArgument", "Invalid Encoding Method specified in Request")
	}
	return nil
}
