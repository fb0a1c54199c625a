package region

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/s3op"
)

// What follows asks for what a bucket is set up to do. The gateway needs none of it; whoever
// examines a bucket before it is used does.

// subresource reads one of the bucket's settings into v; a setting that was never made, which
// the region answers with code, leaves v as it is.
func (r *Region) subresource(ctx context.Context, op, name, code string, v any) error {
	err := r.decode(ctx, request{op: op, method: http.MethodGet, onBucket: true, query: url.Values{name: {""}}}, v)
	if e, ok := errors.AsType[*Error](err); ok && code != "" && e.Code == code {
		return nil
	}
	return err
}

// Versioning is "Enabled" or "Suspended", "" for a bucket that was never versioned.
func (r *Region) Versioning(ctx context.Context) (string, error) {
	var answer struct {
		XMLName xml.Name `xml:"VersioningConfiguration"`
		Status  string
	}
	err := r.subresource(ctx, "GetBucketVersioning", "versioning", "", &answer)
	return answer.Status, err
}

// ObjectLock is a bucket's object lock.
type ObjectLock struct {
	Enabled bool
	// Mode is that of the default retention, "" where objects are not locked unless it is asked for.
	Mode string
}

// ObjectLock reads the bucket's object lock.
func (r *Region) ObjectLock(ctx context.Context) (ObjectLock, error) {
	var answer struct {
		XMLName           xml.Name `xml:"ObjectLockConfiguration"`
		ObjectLockEnabled string
		Mode              string `xml:"Rule>DefaultRetention>Mode"`
	}
	err := r.subresource(ctx, "GetObjectLockConfiguration", "object-lock", "ObjectLockConfigurationNotFoundError", &answer)
	return ObjectLock{Enabled: answer.ObjectLockEnabled == "Enabled", Mode: answer.Mode}, err
}

// LifecycleRule is what an enabled rule does to which objects.
type LifecycleRule struct {
	ID string
	// Prefix of the keys it applies to, "" for all.
	Prefix string
	// Narrowed: it applies to some of these only, by tags or size.
	Narrowed bool
	// Expires and Transitions: it deletes current objects, or moves them to another storage class.
	Expires, Transitions bool
}

// Lifecycle reads the bucket's lifecycle rules, those that are switched off left out.
func (r *Region) Lifecycle(ctx context.Context) ([]LifecycleRule, error) {
	var answer struct {
		XMLName xml.Name `xml:"LifecycleConfiguration"`
		Rules   []struct {
			ID, Status, Prefix string
			Filter             struct {
				Prefix                string
				Tag                   *struct{}
				ObjectSizeGreaterThan *string
				ObjectSizeLessThan    *string
				And                   *struct {
					Prefix string
				}
			}
			Expiration struct{ Days, Date string }
			Transition []struct{}
		} `xml:"Rule"`
	}
	err := r.subresource(ctx, "GetBucketLifecycleConfiguration", "lifecycle", "NoSuchLifecycleConfiguration", &answer)
	if err != nil {
		return nil, err
	}
	var rules []LifecycleRule
	for _, rule := range answer.Rules {
		if rule.Status != "Enabled" {
			continue
		}
		f := rule.Filter
		prefix := rule.Prefix + f.Prefix // a rule has one of the two
		if f.And != nil {
			prefix = f.And.Prefix
		}
		rules = append(rules, LifecycleRule{
			ID: rule.ID, Prefix: prefix,
			Narrowed:    f.And != nil || f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil,
			Expires:     rule.Expiration.Days != "" || rule.Expiration.Date != "",
			Transitions: len(rule.Transition) > 0,
		})
	}
	return rules, nil
}

// Upload is a multipart upload that was neither completed nor aborted.
type Upload struct {
	Key, ID   string
	Initiated time.Time
}

// Uploads lists the first thousand unfinished uploads of keys that begin with prefix.
func (r *Region) Uploads(ctx context.Context, prefix string) ([]Upload, error) {
	var answer struct {
		XMLName      xml.Name `xml:"ListMultipartUploadsResult"`
		EncodingType string
		Upload       []struct {
			Key, UploadId string
			Initiated     time.Time
		}
	}
	query := url.Values{"uploads": {""}, "encoding-type": {"url"}}
	setNonEmpty(query, "prefix", prefix)
	q := request{op: "ListMultipartUploads", method: http.MethodGet, onBucket: true, query: query}
	if err := r.decode(ctx, q, &answer); err != nil {
		return nil, err
	}
	var uploads []Upload
	for _, u := range answer.Upload {
		key := u.Key
		if answer.EncodingType == "url" {
			var err error
			if key, err = url.QueryUnescape(key); err != nil {
				return nil, &Error{Region: r.name, Operation: q.op, Err: err}
			}
		}
		uploads = append(uploads, Upload{Key: key, ID: u.UploadId, Initiated: u.Initiated})
	}
	return uploads, nil
}

// DeleteVersion removes one version of a versioned bucket's object, or a delete marker, for good.
func (r *Region) DeleteVersion(ctx context.Context, key, version string) error {
	q := request{op: "DeleteObject", method: http.MethodDelete, key: key, query: url.Values{"versionId": {version}}}
	resp, err := r.do(ctx, q)
	if err != nil {
		return err
	}
	_ = finish(resp)
	return nil
}

// PutWithTrailer writes an object whose CRC-32 comes behind its body, as SDKs send those that they stream.
// With damaged set the checksum is wrong.
// Source: Amazon S3 API Reference, "Signature calculations: transferring payload in multiple chunks".
func (r *Region) PutWithTrailer(ctx context.Context, key, body string, damaged bool) (string, error) {
	sum := crc32.ChecksumIEEE([]byte(body))
	if damaged {
		sum = ^sum
	}
	q, err := frame(request{
		op: "PutObject", method: http.MethodPut, key: key, body: strings.NewReader(body), size: int64(len(body)),
	}, Trailer{"X-Amz-Checksum-Crc32", func() string { return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)) }})
	if err != nil {
		return "", err
	}
	resp, err := r.do(ctx, q)
	if err != nil {
		return "", err
	}
	_ = finish(resp)
	return s3op.TrimETag(resp.Header.Get("Etag")), nil
}
