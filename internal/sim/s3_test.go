package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/sigv4"
)

const (
	s3AccessKey = "AKIAOFTHESIMULATION"
	s3SecretKey = "secret-of-the-simulation"
	unsigned    = "UNSIGNED-PAYLOAD"
	trailing    = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// takesS3 reports whether the client does its n-th operation through the S3 API, as one of three.
func (c *client) takesS3(n int) bool { return chance(c.w.seed, "front", c.name, n).IntN(3) == 0 }

// doS3 is do for a request of the S3 API, signed.
func (w *world) doS3(method, path string, body []byte, header http.Header, payload string) answer {
	req, err := http.NewRequest(method, "http://s3.invalid"+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	maps.Copy(req.Header, header)
	if req.Header.Set("X-Amz-Content-Sha256", payload); method != http.MethodGet {
		// What the REST API stores too, so that the same bytes are the same object: see docs/simulation.md, "Known, and not mended".
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	credentials := sigv4.Credentials{AccessKey: s3AccessKey, SecretKey: s3SecretKey}
	if err := w.signer.Sign(req, credentials, "us-east-1", payload, time.Now()); err != nil {
		panic(err)
	}
	resp, err := w.current().s3Client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: data, err: err}
}

func (w *world) s3Path(key string) string { return "/" + w.bucketOf(key) + "/" + key }

// putS3 sends a small body as it is, and a large one in chunks with its checksum behind it.
func (c *client) putS3(key, body string, conditions http.Header) answer {
	if len(body) < largeBody {
		return c.w.doS3(http.MethodPut, c.w.s3Path(key), []byte(body), conditions, unsigned)
	}
	header := http.Header{
		"X-Amz-Trailer": {"x-amz-checksum-crc32"}, "X-Amz-Decoded-Content-Length": {fmt.Sprint(len(body))}, "Content-Encoding": {"aws-chunked"},
	}
	maps.Copy(header, conditions)
	sum := crc32.ChecksumIEEE([]byte(body))
	checksum := base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	framed := fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", len(body), body, checksum)
	return c.w.doS3(http.MethodPut, c.w.s3Path(key), []byte(framed), header, trailing)
}

// uploadS3 makes an object of parts. What fails before they are put together has written nothing.
func (c *client) uploadS3(key, body string) answer {
	path := c.w.s3Path(key)
	nothing := func(a answer) answer {
		return answer{status: http.StatusServiceUnavailable, body: fmt.Appendf(nil, "nothing was written: %v", a)}
	}
	var upload struct {
		UploadID string `xml:"UploadId"`
	}
	created := c.w.doS3(http.MethodPost, path+"?uploads", nil, nil, unsigned)
	if created.status != http.StatusOK || xml.Unmarshal(created.body, &upload) != nil {
		return nothing(created)
	}
	query := "uploadId=" + url.QueryEscape(upload.UploadID)
	var list strings.Builder
	number := 0
	for part := range slices.Chunk([]byte(body), partBytes) {
		number++
		sent := c.w.doS3(http.MethodPut, fmt.Sprintf("%s?partNumber=%d&%s", path, number, query), part, nil, unsigned)
		if sent.status != http.StatusOK {
			_ = c.w.doS3(http.MethodDelete, path+"?"+query, nil, nil, unsigned)
			return nothing(sent)
		}
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number, sent.header.Get("Etag"))
	}
	return c.w.doS3(http.MethodPost, path+"?"+query, fmt.Appendf(nil, "<CompleteMultipartUpload>%s</CompleteMultipartUpload>", &list), nil, unsigned)
}

// listS3 reads a page, as the REST API tells it.
func (c *client) listS3(bucket string, limit int, token string) (answer, listing) {
	query := url.Values{"list-type": {"2"}, "prefix": {"k/"}, "max-keys": {fmt.Sprint(limit)}}
	if token != "" {
		query.Set("continuation-token", token)
	}
	a := c.w.doS3(http.MethodGet, "/"+bucket+"?"+query.Encode(), nil, nil, unsigned)
	var page struct {
		Contents              []struct{ Key, ETag string }
		IsTruncated           bool
		NextContinuationToken *string
	}
	var l listing
	if a.err == nil && a.status == http.StatusOK {
		if a.err = xml.Unmarshal(a.body, &page); a.err != nil {
			a.status = http.StatusInternalServerError
		}
	}
	for _, o := range page.Contents {
		l.Objects = append(l.Objects, struct{ Key, ETag string }{o.Key, strings.Trim(o.ETag, `"`)})
	}
	l.Truncated, l.Cursor = page.IsTruncated, page.NextContinuationToken
	return a, l
}
