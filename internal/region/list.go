package region

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// MaxListKeys is the most entries that one page of a listing holds.
const MaxListKeys = 1000

// ListOptions choose a page of a listing.
type ListOptions struct {
	Prefix, Delimiter string
	// StartAfter leaves out every key up to and including it.
	StartAfter string
	// Limit is at most MaxListKeys, which is the default.
	Limit int
}

// Listing is a page of a bucket's listing, each part in byte order. Keys and
// prefixes are as they are, never escaped.
type Listing struct {
	Objects        []ListedObject
	CommonPrefixes []string
	Truncated      bool
}

// ListedObject is one object of a Listing.
type ListedObject struct {
	Key          string
	ETag         string
	Size         int64
	LastModified time.Time
	StorageClass string
}

type listBucketResult struct {
	XMLName     xml.Name `xml:"ListBucketResult"` // nothing else passes for an empty bucket
	IsTruncated bool
	// EncodingType is "url" where the names are escaped: not every S3 does as asked.
	EncodingType string
	Contents     []struct {
		Key          string
		ETag         string
		Size         int64
		LastModified time.Time
		StorageClass string
	}
	CommonPrefixes []struct{ Prefix string }
}

// List returns a page of the bucket's listing. Names are asked for URL-encoded,
// since XML 1.0 cannot carry every legal key.
// Source: Amazon S3 API Reference, "ListObjectsV2".
func (r *Region) List(ctx context.Context, o ListOptions) (Listing, error) {
	page, err := r.list(ctx, o)
	if err != nil || page.Truncated || o.StartAfter == "" {
		return page, err
	}
	return r.confirmEnd(ctx, o, page)
}

// confirmEnd looks behind the last page of a listing. MinIO ends some listings that it was asked for from behind a
// key, though they go on: what it passes over on its way there counts for the page. What was left out would pass for not
// there, so an end is believed when nothing is behind it, with room for all that may be passed over.
func (r *Region) confirmEnd(ctx context.Context, o ListOptions, page Listing) (Listing, error) {
	o.StartAfter = max(o.StartAfter, page.last())
	limit := cmp.Or(o.Limit, MaxListKeys)
	o.Limit = MaxListKeys
	next, err := r.list(ctx, o)
	if err != nil || len(next.Objects)+len(next.CommonPrefixes) == 0 {
		return page, err
	}
	if len(page.Objects)+len(page.CommonPrefixes) > 0 {
		page.Truncated = true
		return page, nil
	}
	return next.first(limit), nil
}

// first is the page cut to so many entries.
func (l Listing) first(limit int) Listing {
	for len(l.Objects)+len(l.CommonPrefixes) > limit {
		l.Truncated = true
		n, m := len(l.Objects), len(l.CommonPrefixes)
		if m == 0 || n > 0 && l.Objects[n-1].Key > l.CommonPrefixes[m-1] {
			l.Objects = l.Objects[:n-1]
		} else {
			l.CommonPrefixes = l.CommonPrefixes[:m-1]
		}
	}
	return l
}

// last is a place behind all that is on the page.
func (l Listing) last() string {
	last := ""
	for _, o := range l.Objects {
		last = max(last, o.Key)
	}
	for _, prefix := range l.CommonPrefixes {
		last = max(last, prefix+strings.Repeat("\U0010ffff", max(s3op.MaxKeyBytes-len(prefix), 0)/len("\U0010ffff")))
	}
	return last
}

func (r *Region) list(ctx context.Context, o ListOptions) (Listing, error) {
	query := url.Values{"list-type": {"2"}, "encoding-type": {"url"}}
	setNonEmpty(query, "prefix", o.Prefix)
	setNonEmpty(query, "delimiter", o.Delimiter)
	setNonEmpty(query, "start-after", o.StartAfter)
	if o.Limit > 0 {
		query.Set("max-keys", strconv.Itoa(o.Limit))
	}
	q := request{op: "ListObjectsV2", method: http.MethodGet, onBucket: true, query: query}
	var result listBucketResult
	if err := r.decode(ctx, q, &result); err != nil {
		return Listing{}, err
	}
	name := func(s string) (string, error) { return s, nil }
	if result.EncodingType == "url" {
		name = url.QueryUnescape
	}
	page := Listing{Truncated: result.IsTruncated}
	for _, c := range result.Contents {
		key, err := name(c.Key)
		if err == nil && c.Size < 0 {
			err = fmt.Errorf("read the answer: an object has a size of %d", c.Size)
		}
		if err != nil {
			return Listing{}, &Error{Region: r.name, Operation: q.op, Err: err}
		}
		page.Objects = append(page.Objects, ListedObject{
			Key: key, ETag: s3op.TrimETag(c.ETag), Size: c.Size, LastModified: c.LastModified, StorageClass: c.StorageClass,
		})
	}
	for _, c := range result.CommonPrefixes {
		prefix, err := name(c.Prefix)
		if err != nil {
			return Listing{}, &Error{Region: r.name, Operation: q.op, Err: err}
		}
		page.CommonPrefixes = append(page.CommonPrefixes, prefix)
	}
	return page, nil
}

func setNonEmpty(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}
