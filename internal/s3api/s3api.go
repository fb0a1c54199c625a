// Package s3api is the S3 front: a request is verified, classified, authorised, and carried by the gateway; the
// region that serves it does the work, and its answer is passed on with our names in the place of its own. It holds no rules
// of its own about what may be answered or written.
package s3api

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

// Config describes the front.
type Config struct {
	// Buckets are those that are served, of one name each. Required, at least one.
	Buckets []Bucket
	// Keys knows who may ask. Required.
	Keys Keys
	// Region is what the buckets say to be in. Default us-east-1. Requests may be signed for any: clients are configured for
	// the region that they come from.
	Region string
	// Domain makes bucket.Domain a bucket's own host. Default: buckets are in the path alone.
	Domain string
	// IdleTimeout is how long a client may take to send or take the next bytes. Default 1 min.
	IdleTimeout time.Duration
	// Logger is required.
	Logger *slog.Logger
	// Metrics counts. Default: none.
	Metrics *Metrics
}

// Bucket is one that clients see.
type Bucket struct {
	Name    string
	Gateway *gateway.Gateway
}

// API is the front's http.Handler.
type API struct {
	Config
	verifier *sigv4.Verifier
	started  time.Time
}

// New returns the front.
func New(cfg Config) (*API, error) {
	if len(cfg.Buckets) == 0 || cfg.Keys == nil || cfg.Logger == nil {
		return nil, errors.New("s3api: Buckets, Keys and Logger are required")
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Minute
	}
	a := &API{Config: cfg, started: time.Now()}
	var err error
	a.verifier, err = sigv4.New(sigv4.Config{Secret: func(id string) (string, bool) {
		key, ok := cfg.Keys.Find(id)
		return key.Secret, ok
	}})
	return a, err
}

func (a *API) bucket(name string) (Bucket, bool) {
	for _, b := range a.Buckets {
		if b.Name == name {
			return b, true
		}
	}
	return Bucket{}, false
}

// call is one request under way.
type call struct {
	*API
	w  *pace.Writer
	r  *http.Request
	op s3op.Info
	// bucket is the zero Bucket, and key "", where the request names none.
	bucket Bucket
	name   string
	key    string
	signed sigv4.Signed
	caller Key
	id     string
	// passed is what request has made, nil before.
	passed *gateway.Request
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	c := &call{API: a, w: pace.NewWriter(w, a.IdleTimeout), r: r, id: requestID()}
	defer func() {
		a.Metrics.observe(string(c.op.Operation), c.w.Status(), time.Since(started))
		a.Logger.DebugContext(r.Context(), "request", "op", c.op.Operation, "method", r.Method, "status", c.w.Status(), "elapsed", time.Since(started), "request", c.id)
	}()
	w.Header().Set("X-Amz-Request-Id", c.id)
	if err := c.serve(); err != nil {
		c.w.Discard()
		c.fail(err)
	}
}

// serve answers, or returns the error to be answered. The order is S3's: who asks is asked first, and what for only then.
func (c *call) serve() error {
	var err error
	if c.name, c.key, err = s3op.ParseTarget(c.r.Host, c.r.URL.EscapedPath(), c.Domain); err != nil {
		return err
	}
	c.bucket, _ = c.API.bucket(c.name)
	c.op, err = s3op.Classify(c.r.Method, c.name, c.key, c.r.URL.RawQuery, c.r.Header)
	if err == nil && c.op.Class == s3op.Preflight {
		return c.preflight()
	}
	if verifyErr := c.verify(); verifyErr != nil {
		return verifyErr
	}
	if err != nil {
		return err
	}
	if err := c.authorise(); err != nil {
		return err
	}
	if c.name != "" && c.bucket.Gateway == nil && c.op.Operation != opCreateBucket {
		return noSuchBucket(c.name)
	}
	if err := c.checkVersionID(); err != nil {
		return err
	}
	if err := c.checkCopied(); err != nil {
		return err
	}
	return c.dispatch()
}

// ownACLs are the canned ACLs that leave an object to those who have it without one.
// Source: Amazon S3 User Guide, "Access control list (ACL) overview".
var ownACLs = []string{"private", "bucket-owner-read", "bucket-owner-full-control"}

// checkCopied refuses a write with what the other regions would not get. (An object is locked in the active; another region is
// promoted: it can be deleted, and was said to be everywhere as it was written.)
func (c *call) checkCopied() error {
	if c.op.Class != s3op.WriteObject && c.op.Class != s3op.StageMultipart {
		return nil
	}
	for name, values := range c.request().Header {
		isACL := name == "X-Amz-Acl" && !(len(values) == 1 && slices.Contains(ownACLs, values[0]))
		if isACL || strings.HasPrefix(name, "X-Amz-Grant-") || strings.HasPrefix(name, "X-Amz-Object-Lock-") {
			return notCopied(name)
		}
	}
	return nil
}

func notCopied(what string) error {
	return s3op.NewError(s3op.NotImplemented, "NotImplemented", what+": ACLs and locks of objects are not copied to the other regions, so none are taken")
}

// checkVersionID refuses what servers do not take alike: to some an empty id is none, and of two one is meant. No write is of a
// version that is named.
func (c *call) checkVersionID() error {
	values, isThere := c.r.URL.Query()["versionId"]
	switch {
	case !isThere:
		return nil
	case len(values) > 1 || values[0] == "":
		return s3op.NewError(s3op.Invalid, "InvalidArgument", "Version id cannot be the empty string")
	case c.op.Class == s3op.WriteObject || c.op.Class == s3op.StageMultipart:
		return s3op.NewError(s3op.NotImplemented, "NotImplemented", "writing or deleting a version by its id is not implemented; leave the id out for the current one")
	}
	return nil
}

func (c *call) verify() error {
	claim, err := sigv4.Parse(c.r)
	if err != nil {
		return err
	}
	if claim.SessionToken != "" {
		return s3op.NewError(s3op.Invalid, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	}
	if c.signed, err = c.verifier.Verify(c.r, claim, time.Now()); err != nil {
		return err
	}
	// Again, for a key may be disabled at any moment.
	key, ok := c.Keys.Find(claim.AccessKey)
	if !ok {
		return s3op.NewError(s3op.Denied, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	c.caller = key
	return nil
}

// The operations that are told apart here.
const (
	opListBuckets             s3op.Operation = "ListBuckets"
	opCreateBucket            s3op.Operation = "CreateBucket"
	opGetBucketLocation       s3op.Operation = "GetBucketLocation"
	opListObjects             s3op.Operation = "ListObjects"
	opListObjectsV2           s3op.Operation = "ListObjectsV2"
	opListObjectVersions      s3op.Operation = "ListObjectVersions"
	opListMultipartUploads    s3op.Operation = "ListMultipartUploads"
	opListParts               s3op.Operation = "ListParts"
	opGetObject               s3op.Operation = "GetObject"
	opHeadObject              s3op.Operation = "HeadObject"
	opPutObject               s3op.Operation = "PutObject"
	opPostObject              s3op.Operation = "PostObject"
	opCopyObject              s3op.Operation = "CopyObject"
	opDeleteObject            s3op.Operation = "DeleteObject"
	opDeleteObjects           s3op.Operation = "DeleteObjects"
	opUploadPart              s3op.Operation = "UploadPart"
	opUploadPartCopy          s3op.Operation = "UploadPartCopy"
	opCompleteMultipartUpload s3op.Operation = "CompleteMultipartUpload"
	opGetBucketACL            s3op.Operation = "GetBucketAcl"
	opGetObjectACL            s3op.Operation = "GetObjectAcl"
	opPutObjectACL            s3op.Operation = "PutObjectAcl"
	opPutObjectLegalHold      s3op.Operation = "PutObjectLegalHold"
	opPutObjectRetention      s3op.Operation = "PutObjectRetention"
)

func (c *call) dispatch() error {
	switch c.op.Operation {
	case opPutObjectACL, opPutObjectLegalHold, opPutObjectRetention:
		return notCopied(string(c.op.Operation))
	case opPostObject:
		return s3op.NewError(s3op.NotImplemented, "NotImplemented", "uploads by a browser's form are not implemented; presign a PUT")
	case opListBuckets:
		return c.listBuckets()
	case opCreateBucket:
		return c.createBucket()
	case opGetBucketLocation:
		return c.getBucketLocation()
	case opListObjects, opListObjectsV2:
		return c.listObjects()
	case opListObjectVersions, opListMultipartUploads:
		return c.listFiltered()
	case opGetObject, opHeadObject:
		return c.readObject()
	case opListParts:
		return c.stage(nil)
	case opPutObject:
		return c.putObject()
	case opCopyObject:
		return c.copyObject()
	case opDeleteObject:
		return c.deleteObject()
	case opDeleteObjects:
		return c.deleteObjects()
	case opCompleteMultipartUpload:
		return c.completeUpload()
	case opUploadPartCopy:
		return c.uploadPartCopy()
	}
	switch c.op.Class {
	case s3op.ReadBucket:
		return c.ask()
	case s3op.ReadObject:
		return c.look()
	case s3op.StageMultipart:
		return c.stageWithBody()
	case s3op.WriteObject:
		return c.changeObject()
	}
	return notCarried(c.op.Operation)
}

func noSuchBucket(name string) error {
	return s3op.NewError(s3op.NotFound, "NoSuchBucket", "The specified bucket does not exist: "+name)
}

// notCarried is answered for what a region could do and the gateway does not replicate.
func notCarried(op s3op.Operation) error {
	return s3op.NewError(s3op.NotImplemented, "NotImplemented",
		string(op)+": a bucket's configuration is not carried to the regions by the gateway; set it in each of them")
}
