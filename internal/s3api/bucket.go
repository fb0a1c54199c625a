package s3api

import (
	"encoding/xml"
	"net/http"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

// timeFormat is that of the times in S3's documents.
const timeFormat = "2006-01-02T15:04:05.000Z"

// owner is everybody's: the regions' own accounts are nothing that clients know.
type owner struct {
	ID          string
	DisplayName string
}

var gatewayOwner = owner{ID: "tandem", DisplayName: "tandem"}

type listedBucket struct {
	Name         string
	CreationDate string
	BucketRegion string
}

type listBucketsResult struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
	Owner   owner
	Buckets struct { // there also where no bucket is
		Bucket []listedBucket
	}
}

// listBuckets lists the buckets that the caller may see. When they were made nobody knows: it says when the gateway was started.
func (c *call) listBuckets() error {
	result := listBucketsResult{Owner: gatewayOwner}
	for _, b := range c.Buckets {
		if c.caller.opens(b.Name) {
			result.Buckets.Bucket = append(result.Buckets.Bucket, listedBucket{b.Name, c.API.started.UTC().Format(timeFormat), c.Region})
		}
	}
	return c.writeXML(result)
}

// createBucket answers for a bucket that is there already: the set of them is configured.
func (c *call) createBucket() error {
	if c.bucket.Gateway != nil {
		return s3op.NewError(s3op.Conflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	}
	return s3op.NewError(s3op.Denied, "AccessDenied", "the buckets are configured (PRIMARY_S3_BUCKET, or buckets in the configuration file); none can be created here")
}

type location struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
	Name    string   `xml:",chardata"`
}

// getBucketLocation says what clients are to sign for. Source: Amazon S3 API Reference, "GetBucketLocation": that of
// us-east-1 is empty.
func (c *call) getBucketLocation() error {
	name := c.Region
	if name == "us-east-1" {
		name = ""
	}
	return c.writeXML(location{Name: name})
}

// ask passes on a read about the bucket.
func (c *call) ask() error {
	answer, err := c.bucket.Gateway.Ask(c.r.Context(), c.request())
	if err != nil {
		return err
	}
	return c.passRenamed(answer)
}

// preflightHeaders are what a browser says of the request to come.
// Source: Amazon S3 API Reference, "OPTIONS object".
var preflightHeaders = []string{"Access-Control-Request-Headers", "Access-Control-Request-Method", "Origin"}

// preflight asks a region's bucket whether a web page may ask. Nobody has signed that: no more of it is passed on than a
// browser says.
func (c *call) preflight() error {
	if c.bucket.Gateway == nil {
		return s3op.NewError(s3op.Denied, "AccessForbidden", "CORSResponse: Bucket not found")
	}
	q := gateway.Request{Operation: c.op.Operation, Method: http.MethodOptions, Key: c.key, Header: make(http.Header)}
	for _, name := range preflightHeaders {
		if values := c.r.Header[name]; len(values) > 0 {
			q.Header[name] = values
		}
	}
	answer, err := c.bucket.Gateway.Ask(c.r.Context(), q)
	if err != nil {
		return err
	}
	return c.pass(answer)
}

func formatTime(t time.Time) string { return t.UTC().Format(timeFormat) }
