package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gnew/tandem/internal/region/regiontest"
)

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// signed sends a request as it is written, with a good signature over all of its headers; payload is what stands for the body.
func (g *s3Rig) signed(method, target, payload, body string, headers ...string) response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.ctx, method, g.S3+target, strings.NewReader(body))
	g.must(err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.Header.Set("X-Amz-Content-Sha256", payload)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	g.must(signer.SignHTTP(g.ctx, aws.Credentials{AccessKeyID: s3Key, SecretAccessKey: s3Secret}, req, payload, "s3", "eu-central-1", time.Now()))
	resp, err := g.client.Do(req)
	g.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return response{Status: resp.StatusCode, Header: resp.Header, Body: data, err: err}
}

// wantError checks an answer's status and the code in its document.
func wantError(t *testing.T, r response, status int, code string) {
	t.Helper()
	if r.Status != status || !strings.Contains(string(r.Body), "<Code>"+code+"</Code>") {
		t.Errorf("got %v, want %d %s", r, status, code)
	}
}

// framed is a body in one chunk, with the CRC32 of said behind it.
func framed(body, said string) string {
	chunk := ""
	if body != "" {
		chunk = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
	}
	return chunk + "0\r\nx-amz-checksum-crc32:" + crc32Of(said) + "\r\n\r\n"
}

func framedHeaders(size int) []string {
	return []string{"Content-Encoding", "aws-chunked", "X-Amz-Trailer", "x-amz-checksum-crc32", "X-Amz-Decoded-Content-Length", fmt.Sprint(size)}
}

// The checksum behind a body is verified whatever the size of that, and the region is given it.
func TestS3ChecksumBehindABodyOfAnySizeIsVerified(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1} {
		body, key := strings.Repeat("x", size), fmt.Sprintf("k%d", size)
		target := "/tandem/" + key
		wantError(t, g.signed("PUT", target, unsignedTrailer, framed(body, "other"), framedHeaders(size)...), 400, "BadDigest")
		if size > 0 {
			wantError(t, g.signed("PUT", target, unsignedTrailer, framed(body[1:], body), framedHeaders(size)...), 400, "IncompleteBody")
		}
		if s := g.status(key); len(s.Regions) > 0 {
			t.Errorf("%d bytes: the index knows of what was never written: %+v", size, s)
		}
		if r := g.signed("PUT", target, unsignedTrailer, framed(body, body), framedHeaders(size)...); r.Status != 200 {
			t.Errorf("%d bytes: got %v", size, r)
		}
		if got, _ := g.read(key); got != body {
			t.Errorf("%d bytes: got %d", size, len(got))
		}
	}
}

// A part that does not come as it was sent is the client's to mend, and says nothing of the region.
func TestS3PartThatIsNotWhatItsChecksumSaysIsRefused(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	created, err := g.CreateMultipartUpload(g.ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String("tandem"), Key: aws.String("k")})
	g.must(err)
	target := "/tandem/k?partNumber=1&uploadId=" + *created.UploadId
	for _, size := range []int{0, 1, 100 << 10} {
		body := strings.Repeat("x", size)
		wantError(t, g.signed("PUT", target, unsignedTrailer, framed(body, "other"), framedHeaders(size)...), 400, "BadDigest")
		if size > 0 {
			wantError(t, g.signed("PUT", target, unsignedTrailer, framed(body[1:], body), framedHeaders(size)...), 400, "IncompleteBody")
		}
		if r := g.signed("PUT", target, unsignedTrailer, framed(body, body), framedHeaders(size)...); r.Status != 200 {
			t.Errorf("%d bytes: got %v", size, r)
		}
	}
}

// What cannot be passed on to a region is refused before anything is begun.
func TestS3TrailersThatCannotBePassedOnAreRefused(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	for _, size := range []int{1, 100 << 10} {
		body := strings.Repeat("x", size)
		two := strings.TrimSuffix(framed(body, body), "\r\n") + "x-amz-checksum-sha256:" + sha256Of(body) + "\r\n\r\n"
		h := append(framedHeaders(size), "X-Amz-Trailer", "x-amz-checksum-crc32,x-amz-checksum-sha256")
		wantError(t, g.signed("PUT", "/tandem/k", unsignedTrailer, two, h...), 400, "InvalidRequest")
	}
	h := framedHeaders(1)
	h[5] = "9223372036854775807"
	wantError(t, g.signed("PUT", "/tandem/k", unsignedTrailer, framed("x", "x"), h...), 400, "EntityTooLarge")
	if s := g.status("k"); len(s.Regions) > 0 {
		t.Errorf("the index knows of what was never written: %+v", s)
	}
}

// An SDK that presigns puts headers into the query, checksums among them.
func TestS3HeadersInAPresignedQueryAreHeaders(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	presign := func(of string) string {
		query := "?X-Amz-Expires=60&x-amz-checksum-sha256=" + url.QueryEscape(sha256Of(of))
		req, err := http.NewRequestWithContext(g.ctx, http.MethodPut, g.S3+"/tandem/k"+query, nil)
		g.must(err)
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		signed, _, err := signer.PresignHTTP(g.ctx, aws.Credentials{AccessKeyID: s3Key, SecretAccessKey: s3Secret}, req, unsignedPayload, "s3", "eu-central-1", time.Now())
		g.must(err)
		return signed
	}
	put := func(url, body string) response {
		req, err := http.NewRequestWithContext(g.ctx, http.MethodPut, url, strings.NewReader(body))
		g.must(err)
		resp, err := g.client.Do(req)
		g.must(err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		return response{Status: resp.StatusCode, Header: resp.Header, Body: data, err: err}
	}
	wantError(t, put(presign("other"), "content"), 400, "BadDigest")
	if r := put(presign("content"), "content"); r.Status != 200 {
		t.Errorf("got %v", r)
	}
	if r := g.signed("PUT", "/tandem/meta?x-amz-meta-side=A", unsignedPayload, "x"); r.Status != 200 {
		t.Errorf("got %v", r)
	}
	if _, out := g.read("meta"); out.Metadata["side"] != "A" {
		t.Errorf("got metadata %v", out.Metadata)
	}
}

// On a bucket without versions "null" is whatever is there, and an empty id is none: neither is a way around the index.
func TestS3VersionIDIsNoWayToReadWhatIsOlder(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "old")
	g.write("deleted", "old")
	g.awaitSettled("k", "deleted")
	if r := g.signed("GET", "/tandem/k?versionId=null", unsignedPayload, ""); r.Status != 200 || string(r.Body) != "old" {
		t.Errorf("got %v, want the current version, for the key is settled", r)
	}
	g.B.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation == "PutObject" || q.Operation == "DeleteObject" {
			return regiontest.Fault{Status: 500}
		}
		return regiontest.Fault{}
	})
	g.write("k", "at risk")
	_, err := g.DeleteObject(g.ctx, &s3.DeleteObjectInput{Bucket: aws.String("tandem"), Key: aws.String("deleted")})
	g.must(err)
	g.down("primary")
	g.mustPromote("secondary")
	for _, key := range []string{"k", "deleted"} {
		for _, what := range []string{"?versionId=null", "?tagging&versionId=null"} {
			if r := g.signed("GET", "/tandem/"+key+what, unsignedPayload, ""); r.Status != 503 && r.Status != 404 {
				t.Errorf("GET %s%s: got %v, want what is older refused", key, what, r)
			}
		}
		wantError(t, g.signed("GET", "/tandem/"+key+"?versionId=", unsignedPayload, ""), 400, "InvalidArgument")
		if r := g.signed("PUT", "/tandem/copy", unsignedPayload, "", "X-Amz-Copy-Source", "/tandem/"+key+"?versionId=null"); r.Status != 503 && r.Status != 404 {
			t.Errorf("copy of %s: got %v, want what is older refused", key, r)
		}
	}
	for _, target := range []string{"/tandem/k?versionId=1", "/tandem/k?versionId=null"} {
		wantError(t, g.signed("PUT", target, unsignedPayload, "x"), 501, "NotImplemented")
		wantError(t, g.signed("PUT", target, unsignedPayload, "", "X-Amz-Copy-Source", "/tandem/k"), 501, "NotImplemented")
	}
}

// Nobody has learned whether a region honours conditions on these, so a write that may be made where its client forbade it is none.
func TestS3ConditionThatNobodyJudgesIsRefused(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "content")
	copied := []string{"X-Amz-Copy-Source", "/tandem/k"}
	past := "Mon, 01 Jan 2001 00:00:00 GMT"
	for _, h := range [][]string{{"If-None-Match", "*"}, {"If-Match", noSuchETag}, {"If-Unmodified-Since", past}, {"If-Modified-Since", past}} {
		wantError(t, g.signed("PUT", "/tandem/k2", unsignedPayload, "", append(h, copied...)...), 501, "NotImplemented")
		wantError(t, g.signed("DELETE", "/tandem/k?tagging", unsignedPayload, "", h...), 501, "NotImplemented")
	}
	wantError(t, g.signed("POST", "/tandem/k?uploadId=x", unsignedPayload, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
		"If-Unmodified-Since", past), 501, "NotImplemented")
	wantError(t, g.signed("PUT", "/tandem/k2", unsignedPayload, "", append(copied, "X-Amz-Copy-Source-If-Match", noSuchETag)...), 412, "PreconditionFailed")
	if s := g.status("k2"); len(s.Regions) > 0 {
		t.Errorf("the index knows of what was never written: %+v", s)
	}
}

// Most servers forget an upload once it is an object. Asked again, they say that it is gone, and that leaves nothing in doubt
// where the index knows the object.
func TestS3UploadThatWasCompletedIsGone(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{a: regiontest.Options{ForgetUploads: true}})
	bucket, key := aws.String("tandem"), aws.String("k")
	created, err := g.CreateMultipartUpload(g.ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	g.must(err)
	part, err := g.UploadPart(g.ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	g.must(err)
	in := &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: created.UploadId, MultipartUpload: &types.CompletedMultipartUpload{
		Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32}},
	}}
	done, err := g.CompleteMultipartUpload(g.ctx, in)
	g.must(err)
	if at := *done.Location; strings.Contains(at, bucketA) || !strings.Contains(at, g.S3+"/tandem/k") {
		t.Errorf("got location %q, want that of the gateway", at)
	}
	g.awaitSettled("k")
	_, err = g.CompleteMultipartUpload(g.ctx, in)
	wantCode(t, err, 404, "NoSuchUpload")
	if s := g.status("k"); !s.Settled {
		t.Errorf("got %+v, want nothing left in doubt", s)
	}
	_, err = g.PutObject(g.ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("y"), IfMatch: done.ETag})
	g.must(err)
}

// A document is what was sent, or nothing is deleted; and a condition in it is not left out.
func TestS3DeletesOnlyWhatTheClientAskedFor(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "content")
	document := "<Delete><Object><Key>k</Key></Object></Delete>"
	wantError(t, g.signed("POST", "/tandem?delete", unsignedPayload, document, "Content-Md5", md5Of("other")), 400, "BadDigest")
	wantError(t, g.signed("POST", "/tandem?delete", unsignedPayload, document, "X-Amz-Checksum-Sha256", sha256Of("other")), 400, "BadDigest")
	wantError(t, g.signed("POST", "/tandem?delete", unsignedPayload, document, "Content-Md5", "none"), 400, "InvalidDigest")
	for _, condition := range []string{"<Size>1</Size>", "<LastModifiedTime>Mon, 01 Jan 2001 00:00:00 GMT</LastModifiedTime>"} {
		with := strings.Replace(document, "</Object>", condition+"</Object>", 1)
		if r := g.signed("POST", "/tandem?delete", unsignedPayload, with, "Content-Md5", md5Of(with)); r.Status != 200 || !bytes.Contains(r.Body, []byte("<Code>NotImplemented</Code>")) {
			t.Errorf("%s: got %v", condition, r)
		}
	}
	if got, _ := g.read("k"); got != "content" {
		t.Errorf("got %q", got)
	}
	hash := sha256.Sum256([]byte(document))
	if r := g.signed("POST", "/tandem?delete", hex.EncodeToString(hash[:]), document, "Content-Md5", md5Of(document)); r.Status != 200 || !bytes.Contains(r.Body, []byte("<Deleted>")) {
		t.Errorf("got %v", r)
	}
}

// A part of an object goes only to whoever has the rest of it.
func TestS3RangeOfAnotherObjectIsNotAnswered(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "0123456789")
	_, out := g.read("k")
	if r := g.signed("GET", "/tandem/k", unsignedPayload, "", "Range", "bytes=5-", "If-Range", noSuchETag); r.Status != 200 || string(r.Body) != "0123456789" {
		t.Errorf("got %v, want all of it", r)
	}
	if r := g.signed("GET", "/tandem/k", unsignedPayload, "", "Range", "bytes=5-", "If-Range", *out.ETag); r.Status != 206 || string(r.Body) != "56789" {
		t.Errorf("got %v, want the part", r)
	}
}

// Where an older version is allowed, what belongs to it is said to be older too.
func TestS3WhatBelongsToAnOlderVersionIsSaidToBeStale(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "old")
	g.awaitSettled("k")
	if r := g.signed("GET", "/tandem/k?tagging", unsignedPayload, ""); r.Status != 200 || r.Header.Get("X-Tandem-Freshness") != "current" {
		t.Errorf("got %v, %v", r, r.Header)
	}
	refuse(g.B, "k")
	g.write("k", "at risk")
	g.down("primary")
	g.mustPromote("secondary")
	wantError(t, g.signed("GET", "/tandem/k?tagging", unsignedPayload, ""), 503, "NotYetReplicated")
	r := g.signed("GET", "/tandem/k?tagging", unsignedPayload, "", "X-Tandem-Allow-Stale", "true")
	if r.Status != 200 || r.Header.Get("X-Tandem-Freshness") != "stale" {
		t.Errorf("got %v, %v, want it said to be stale", r, r.Header)
	}
}

// What the other regions would not get is not taken: the object would be another one after a promotion.
func TestS3ACLsAndLocksThatAreNotCopiedAreRefused(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "content")
	for _, h := range [][]string{
		{"X-Amz-Acl", "public-read"}, {"X-Amz-Grant-Read", `uri="http://acs.amazonaws.com/groups/global/AllUsers"`},
		{"X-Amz-Object-Lock-Mode", "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date", "2100-01-01T00:00:00Z"}, {"X-Amz-Object-Lock-Legal-Hold", "ON"},
	} {
		wantError(t, g.signed("PUT", "/tandem/k2", unsignedPayload, "x", h...), 501, "NotImplemented")
		wantError(t, g.signed("PUT", "/tandem/k2", unsignedPayload, "", append(h, "X-Amz-Copy-Source", "/tandem/k")...), 501, "NotImplemented")
		wantError(t, g.signed("POST", "/tandem/k2?uploads", unsignedPayload, "", h...), 501, "NotImplemented")
	}
	wantError(t, g.signed("PUT", "/tandem/k2?x-amz-acl=public-read", unsignedPayload, "x"), 501, "NotImplemented")
	for _, what := range []string{"acl", "retention", "legal-hold"} {
		wantError(t, g.signed("PUT", "/tandem/k?"+what, unsignedPayload, "<X/>"), 501, "NotImplemented")
	}
	if r := g.signed("PUT", "/tandem/k2", unsignedPayload, "x", "X-Amz-Acl", "private"); r.Status != 200 {
		t.Errorf("got %v, want what every object has anyway taken", r)
	}
}

// tags are what a region holds of the key's.
func tags(s *regiontest.Server, bucket, key string) string {
	held, _ := s.Object(bucket, key)
	return fmt.Sprint(held.Tags)
}

// A change of tags without an answer leaves the ETag as it was, so only the end of its window settles it: then what the active
// holds is the truth, in every region.
func TestS3TagsWithoutAnAnswerAreSettledInEveryRegion(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]regiontest.Fault{"applied": {Apply: true, CutBefore: true}, "not applied": {CutBefore: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newS3(t, options{})
			g.write("k", "content")
			g.awaitSettled("k")
			g.A.SetFaults(onKey("PutObjectTagging", "k", fault))
			wantError(t, g.signed("PUT", "/tandem/k?tagging", unsignedPayload, "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"), 503, "ServiceUnavailable")
			g.A.SetFaults(nil)
			g.awaitSettled("k")
			if a, b := tags(g.A, bucketA, "k"), tags(g.B, bucketB, "k"); a != b || (a != "[]" && a != "map[]") != (name == "applied") {
				t.Errorf("the regions have tags %s and %s", a, b)
			}
		})
	}
}

// The same in a region that was demoted meanwhile: what it was given without an answer does not stay there alone.
func TestS3TagsWithoutAnAnswerDoNotStayInTheDemotedRegionAlone(t *testing.T) {
	t.Parallel()
	g := newS3(t, options{})
	g.write("k", "content")
	g.awaitSettled("k")
	g.A.SetFaults(onKey("PutObjectTagging", "k", regiontest.Fault{Apply: true, CutBefore: true}))
	wantError(t, g.signed("PUT", "/tandem/k?tagging", unsignedPayload, "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"), 503, "ServiceUnavailable")
	g.down("primary")
	g.mustPromote("secondary")
	g.A.SetFaults(nil)
	g.up("primary")
	g.awaitClosed()
	g.awaitSettled("k")
	g.eventually(func() error {
		a, b := tags(g.A, bucketA, "k"), tags(g.B, bucketB, "k")
		return happened(a == b, fmt.Sprintf("tags %s are tags %s", a, b))
	})
}
