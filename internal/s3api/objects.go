package s3api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
)

// readObject answers GET and HEAD of a key. A version that is named by its id is the active's to know.
func (c *call) readObject() error {
	q := c.request()
	if q.Query.Has("versionId") {
		return c.look()
	}
	if values := c.r.Header["If-Range"]; len(values) > 0 {
		q.Header["If-Range"] = values // the gateway's to judge
	}
	isHead := c.r.Method == http.MethodHead
	answer, err := c.bucket.Gateway.Read(c.r.Context(), c.key, gateway.ReadInput{
		Header: q.Header, Query: q.Query, HeadOnly: isHead, AsSent: true, AllowStale: c.allowsStale(),
	})
	if err != nil {
		return err
	}
	if answer.Body != nil {
		defer answer.Body.Close()
	}
	c.header(answer.Header)
	h := c.w.Header()
	h.Set("X-Tandem-Region", answer.Region)
	h.Set("X-Tandem-Freshness", string(answer.Freshness))
	if answer.Fallback {
		h.Set("X-Tandem-Fallback", "true")
	}
	if !answer.Version.IsZero() {
		h.Set("X-Tandem-Version", answer.Version.String())
	}
	if isHead {
		if status := c.bucket.Gateway.ReplicationStatus(c.r.Context(), c.key, answer.Region); status != "" {
			h.Set("X-Amz-Replication-Status", status)
		}
	}
	c.w.WriteHeader(answer.Status)
	if answer.Body == nil {
		return nil
	}
	return pace.Copy(c.w, answer.Body)
}

func (c *call) allowsStale() bool {
	return strings.EqualFold(c.r.Header.Get("X-Tandem-Allow-Stale"), "true") || c.r.Header.Get("X-Tandem-Allow-Stale") == "1"
}

// written passes the answer to a write on.
func (c *call) written(result gateway.Result) error {
	c.w.Header().Set("X-Tandem-Version", result.Version.String())
	return c.pass(result.Answer)
}

func (c *call) putObject() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	q := c.request()
	result, err := c.bucket.Gateway.Put(c.r.Context(), c.key, gateway.PutInput{
		Header: q.Header, Query: q.Query, AsSent: true, Body: b.reader, Size: b.size, Payload: b.sha256, Trailer: b.trailer,
	})
	if err != nil {
		return err
	}
	return c.written(result)
}

// deleteObject deletes a key. Whether one was there the answer does not say, as in S3.
func (c *call) deleteObject() error {
	result, err := c.bucket.Gateway.Delete(c.r.Context(), c.key, c.request().Header)
	if err != nil {
		return err
	}
	c.w.Header().Set("X-Tandem-Region", result.Region)
	c.w.Header().Set("X-Tandem-Version", result.Version.String())
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) copyObject() error {
	if c.r.ContentLength != 0 {
		return s3op.NewError(s3op.Invalid, "InvalidRequest", "The request included a body. Requests of this type must not include a non-empty body.")
	}
	source, err := c.source()
	if err != nil {
		return err
	}
	result, err := c.bucket.Gateway.Copy(c.r.Context(), c.request(), source)
	if err != nil {
		return err
	}
	return c.written(result)
}

// source is what X-Amz-Copy-Source names: /bucket/key, percent-encoded, with or without the first slash.
// Source: Amazon S3 API Reference, "CopyObject".
func (c *call) source() (gateway.Source, error) {
	wrong := func(why string) (gateway.Source, error) {
		return gateway.Source{}, s3op.NewError(s3op.Invalid, "InvalidArgument", "Copy Source must mention the source bucket and key: "+why)
	}
	values := c.r.Header["X-Amz-Copy-Source"]
	if len(values) != 1 {
		return wrong("there is more than one")
	}
	path, versionID := values[0], ""
	if i := strings.LastIndex(path, "?versionId="); i >= 0 {
		path, versionID = path[:i], path[i+len("?versionId="):]
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return wrong("it is not percent-encoded")
	}
	name, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || name == "" || key == "" {
		return wrong("sourcebucket/sourcekey")
	}
	b, ok := c.API.bucket(name)
	switch {
	case !c.caller.reaches(name, key):
		return gateway.Source{}, accessDenied()
	case !ok:
		return gateway.Source{}, noSuchBucket(name)
	case s3op.IsReserved(key):
		return gateway.Source{}, accessDenied()
	}
	if versionID, err = url.QueryUnescape(versionID); err != nil {
		return wrong("versionId is not percent-encoded")
	}
	return gateway.Source{Of: b.Gateway, Key: key, VersionID: versionID}, s3op.CheckKey(key)
}

// changeObject carries a write that leaves the content of the key: its tags, say.
func (c *call) changeObject() error {
	document, err := c.document()
	if err != nil {
		return err
	}
	q := c.request()
	document.in(&q)
	result, err := c.bucket.Gateway.Change(c.r.Context(), q)
	if err != nil {
		return err
	}
	return c.written(result)
}

// look passes a read on of what belongs to a key.
func (c *call) look() error {
	q := c.request()
	if len(c.r.Header["If-Range"]) > 0 {
		q.Header.Del("Range") // S3 has no If-Range: the part would be of whatever is there
	}
	if c.r.Method == http.MethodPost {
		document, err := c.document()
		if err != nil {
			return err
		}
		document.in(&q)
	}
	answer, err := c.bucket.Gateway.Look(c.r.Context(), q, c.allowsStale())
	if err != nil {
		return err
	}
	if c.op.Operation == opGetObjectACL {
		return c.passRenamed(answer)
	}
	return c.pass(answer)
}

// maxDeleted is how many keys one request deletes.
// Source: Amazon S3 API Reference, "DeleteObjects".
const maxDeleted = 1000

// contentLength is that of the content, which a write has to say. Of what is framed the frames' own does not matter:
// minio-go leaves it out where there is no content.
func (c *call) contentLength() (int64, error) {
	if !c.signed.Payload.IsChunked() {
		if c.r.ContentLength < 0 {
			return 0, s3op.NewError(s3op.Invalid, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		}
		return c.r.ContentLength, nil
	}
	decoded := c.r.Header.Get("X-Amz-Decoded-Content-Length")
	if decoded == "" {
		return 0, s3op.NewError(s3op.Invalid, "MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.")
	}
	n, err := strconv.ParseUint(decoded, 10, 63)
	switch {
	case err != nil:
		return 0, s3op.NewError(s3op.Invalid, "InvalidArgument", "x-amz-decoded-content-length is not a number of bytes")
	case n > maxObjectBytes:
		return 0, s3op.NewError(s3op.Invalid, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	return int64(n), nil
}

// maxObjectBytes is more than any object has, and leaves room for the frames around it.
// Source: Amazon S3 User Guide, "Amazon S3 objects overview".
const maxObjectBytes = 50 << 40
