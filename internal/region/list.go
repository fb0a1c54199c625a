package region

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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
