package s3api

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

type listedObject struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	Owner        *owner `xml:",omitempty"`
	StorageClass string
}

type prefix struct{ Prefix string }

// listResult is the answer of both versions of the listing; what only one has is a pointer.
// Source: Amazon S3 API Reference, "ListObjects" and "ListObjectsV2".
type listResult struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	Marker                *string `xml:",omitempty"`
	NextMarker            *string `xml:",omitempty"`
	StartAfter            *string `xml:",omitempty"`
	ContinuationToken     *string `xml:",omitempty"`
	NextContinuationToken *string `xml:",omitempty"`
	KeyCount              *int    `xml:",omitempty"`
	MaxKeys               int
	Delimiter             *string `xml:",omitempty"`
	EncodingType          *string `xml:",omitempty"`
	IsTruncated           bool
	Contents              []listedObject
	CommonPrefixes        []prefix
}

// maxKeys is the most that a page has.
const maxKeys = 1000

// listObjects answers both versions from the listing that the gateway has put right.
func (c *call) listObjects() error {
	query := c.r.URL.Query()
	isV2 := c.op.Operation == opListObjectsV2
	limit, err := limitOf(query)
	if err != nil {
		return err
	}
	encode := func(s string) string { return s }
	result := listResult{Name: c.name, MaxKeys: limit}
	switch kind := query.Get("encoding-type"); kind {
	case "":
	case "url":
		encode = escapeName
		result.EncodingType = &kind
	default:
		return s3op.NewError(s3op.Invalid, "InvalidArgument", "Invalid Encoding Method specified in Request")
	}
	in := gateway.ListInput{Prefix: query.Get("prefix"), Delimiter: query.Get("delimiter"), Limit: limit, AllowStale: c.allowsStale()}
	result.Prefix = encode(in.Prefix)
	if in.Delimiter != "" {
		delimiter := encode(in.Delimiter)
		result.Delimiter = &delimiter
	}
	if in.Cursor, err = c.place(query, isV2, encode, &result); err != nil {
		return err
	}
	c.w.Header().Set("X-Amz-Bucket-Region", c.Region)
	if limit == 0 {
		if isV2 {
			result.KeyCount = new(int)
		}
		return c.writeXML(result)
	}
	page, err := c.bucket.Gateway.List(c.r.Context(), in)
	if err != nil {
		return err
	}
	c.fill(&result, page, query, isV2, encode)
	h := c.w.Header()
	h.Set("X-Tandem-Region", page.Region)
	h.Set("X-Tandem-Freshness", string(page.Freshness))
	return c.writeXML(result)
}

func limitOf(query url.Values) (int, error) {
	value := query.Get("max-keys")
	if value == "" {
		return maxKeys, nil
	}
	limit, err := strconv.ParseInt(value, 10, 32)
	if err != nil || limit < 0 {
		return 0, s3op.NewError(s3op.Invalid, "InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
	}
	return int(min(limit, maxKeys)), nil
}

// place is the cursor that the page begins behind.
func (c *call) place(query url.Values, isV2 bool, encode func(string) string, result *listResult) (string, error) {
	if !isV2 {
		marker := query.Get("marker")
		shown := encode(marker)
		result.Marker = &shown
		return cursorAfter(marker), nil
	}
	after := query.Get("start-after")
	if after != "" {
		shown := encode(after)
		result.StartAfter = &shown
	}
	if !query.Has("continuation-token") {
		return cursorAfter(after), nil
	}
	token := query.Get("continuation-token")
	if token == "" {
		return "", s3op.NewError(s3op.Invalid, "InvalidArgument", "The continuation token provided is incorrect")
	}
	result.ContinuationToken = &token
	return token, nil
}

func cursorAfter(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func (c *call) fill(result *listResult, page *gateway.Listing, query url.Values, isV2 bool, encode func(string) string) {
	withOwner := !isV2 || query.Get("fetch-owner") == "true"
	for _, o := range page.Objects {
		listed := listedObject{
			Key: encode(o.Key), LastModified: formatTime(o.LastModified), ETag: s3op.QuoteETag(o.ETag), Size: o.Size, StorageClass: o.StorageClass,
		}
		if listed.StorageClass == "" {
			listed.StorageClass = "STANDARD"
		}
		if withOwner {
			listed.Owner = &gatewayOwner
		}
		result.Contents = append(result.Contents, listed)
	}
	for _, p := range page.CommonPrefixes {
		result.CommonPrefixes = append(result.CommonPrefixes, prefix{encode(p)})
	}
	result.IsTruncated = page.Next != ""
	if isV2 {
		count := len(page.Objects) + len(page.CommonPrefixes)
		result.KeyCount = &count
		if result.IsTruncated {
			result.NextContinuationToken = &page.Next
		}
	} else if result.IsTruncated && (result.Delimiter != nil || len(page.Objects) == 0) {
		// Without a delimiter clients go on behind the last key. The page may reach further than what it shows, which may be
		// nothing: whatever was there is deleted.
		next := encode(keyOf(page.Next))
		result.NextMarker = &next
	}
}

// keyOf is the key that a cursor stands behind.
func keyOf(cursor string) string {
	key, _ := base64.RawURLEncoding.DecodeString(cursor) // the gateway made it
	return string(key)
}

// escapeName is what encoding-type=url makes of a name. AWS leaves the slash as it is.
func escapeName(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "%2F", "/"), "%7E", "~")
}

// deletedObject and deleteError are what became of a key.
type deletedObject struct{ Key string }

type deleteError struct {
	Key, Code, Message string
	VersionID          string `xml:"VersionId,omitempty"`
}

type deleteResult struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
	Deleted []deletedObject
	Error   []deleteError
}

// deleteWorkers bound the deletes of one request that are under way.
const deleteWorkers = 16

type deleteRequest struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool
	Objects []struct {
		Key                    string
		VersionID              string `xml:"VersionId"`
		ETag                   string
		LastModifiedTime, Size *string
	} `xml:"Object"`
}

func (c *call) readDeletes() (deleteRequest, error) {
	document, err := c.document()
	if err != nil {
		return deleteRequest{}, err
	}
	if len(document.data) == 0 {
		return deleteRequest{}, s3op.NewError(s3op.Invalid, "MissingRequestBodyError", "Request Body is empty")
	}
	// No region sees the document, so its checksums are ours to verify. As in S3 it has one: a signature need not cover it.
	h := c.request().Header
	if len(h["Content-Md5"]) == 0 && len(s3op.ChecksumHeaders(h)) == 0 && c.r.Header.Get("X-Amz-Trailer") == "" {
		return deleteRequest{}, s3op.NewError(s3op.Invalid, "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	if err := gateway.VerifyBody(h, document.data); err != nil {
		return deleteRequest{}, err
	}
	return parseDeletes(document.data)
}

func parseDeletes(document []byte) (deleteRequest, error) {
	var in deleteRequest
	if err := xml.Unmarshal(document, &in); err != nil || len(in.Objects) == 0 || len(in.Objects) > maxDeleted {
		return in, malformedXML()
	}
	return in, nil
}

func (c *call) deleteError(key, versionID string, err error) deleteError {
	e := deleteError{Key: key, VersionID: versionID, Code: "InternalError", Message: "We encountered an internal error. Please try again."}
	if known, ok := asError(err); ok {
		e.Code, e.Message = known.Code, known.Message
		if e.Message == "" {
			e.Message = fmt.Sprintf("the region answered %s", e.Code)
		}
	} else {
		c.Logger.ErrorContext(c.r.Context(), "delete failed", "err", err, "request", c.id)
	}
	return e
}
