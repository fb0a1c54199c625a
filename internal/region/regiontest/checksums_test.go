package regiontest_test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// These are the published check values, over "123456789".
func TestChecksumsAreVerifiedKeptAndReturned(t *testing.T) {
	_, c := newRegion(t)
	const body = "123456789"
	for algorithm, want := range map[types.ChecksumAlgorithm]string{
		types.ChecksumAlgorithmCrc32:     "y/Q5Jg==",
		types.ChecksumAlgorithmCrc32c:    "4waSgw==",
		types.ChecksumAlgorithmCrc64nvme: "rosUhgp5mIg=",
		types.ChecksumAlgorithmSha1:      "98O8HYCOBHMq32eZZczDTKeuNEE=",
		types.ChecksumAlgorithmSha256:    "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
	} {
		put(t, c, "k", body, func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = algorithm })
		got, out := get(t, c, "k", func(in *s3.GetObjectInput) { in.ChecksumMode = types.ChecksumModeEnabled })
		sums := map[types.ChecksumAlgorithm]*string{
			types.ChecksumAlgorithmCrc32: out.ChecksumCRC32, types.ChecksumAlgorithmCrc32c: out.ChecksumCRC32C,
			types.ChecksumAlgorithmCrc64nvme: out.ChecksumCRC64NVME, types.ChecksumAlgorithmSha1: out.ChecksumSHA1,
			types.ChecksumAlgorithmSha256: out.ChecksumSHA256,
		}
		if got != body || sums[algorithm] == nil || *sums[algorithm] != want || out.ChecksumType != types.ChecksumTypeFullObject {
			t.Errorf("%s: got body %q, %v", algorithm, got, sums)
		}
	}
}

func TestBodiesThatAreNotAsClaimedAreRefused(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	url := regiontest.Start(t, s) + "/" + bucket + "/k"
	sum := md5.Sum([]byte("other"))
	for name, tt := range map[string]struct {
		header map[string]string
		status int
		code   string
	}{
		"wrong MD5":            {map[string]string{"Content-MD5": base64.StdEncoding.EncodeToString(sum[:])}, 400, "BadDigest"},
		"no MD5 at all":        {map[string]string{"Content-MD5": "abc"}, 400, "InvalidDigest"},
		"wrong SHA-256":        {map[string]string{"X-Amz-Content-Sha256": strings.Repeat("0", 64)}, 400, "XAmzContentSHA256Mismatch"},
		"empty MD5":            {map[string]string{"Content-MD5": ""}, 400, "InvalidDigest"},
		"unknown checksum":     {map[string]string{"X-Amz-Checksum-Xxhash3": "AAAAAAAAAAA="}, 501, "NotImplemented"},
		"malformed SHA-256":    {map[string]string{"X-Amz-Content-Sha256": "zz"}, 400, "InvalidArgument"},
		"wrong CRC32":          {map[string]string{"X-Amz-Checksum-Crc32": "AAAAAA=="}, 400, "BadDigest"},
		"malformed CRC32":      {map[string]string{"X-Amz-Checksum-Crc32": "AAAA"}, 400, "InvalidRequest"},
		"two checksums":        {map[string]string{"X-Amz-Checksum-Crc32": "AAAAAA==", "X-Amz-Checksum-Crc32c": "AAAAAA=="}, 400, "InvalidRequest"},
		"checksum not sent":    {map[string]string{"X-Amz-Sdk-Checksum-Algorithm": "CRC32"}, 400, "InvalidRequest"},
		"unknown encryption":   {map[string]string{"X-Amz-Server-Side-Encryption-Customer-Key": "k"}, 501, "NotImplemented"},
		"unknown condition":    {map[string]string{"X-Amz-If-Match-Size": "1"}, 501, "NotImplemented"},
		"too much metadata":    {map[string]string{"X-Amz-Meta-A": strings.Repeat("x", 2048)}, 400, "MetadataTooLarge"},
		"duplicate tags":       {map[string]string{"X-Amz-Tagging": "a=1&a=2"}, 400, "InvalidArgument"},
		"odd tags":             {map[string]string{"X-Amz-Tagging": "a=%26"}, 400, "InvalidTag"},
		"streaming, no length": {map[string]string{"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, 411, "MissingContentLength"},
	} {
		h := http.Header{}
		for k, v := range tt.header {
			h.Set(k, v)
		}
		res, body := raw(t, "PUT", url, strings.NewReader("body"), h)
		if res.StatusCode != tt.status || !strings.Contains(body, "<Code>"+tt.code+"</Code>") {
			t.Errorf("%s: got %d %s, want %d %s", name, res.StatusCode, body, tt.status, tt.code)
		}
	}
	if res, body := raw(t, "PUT", url, io.MultiReader(strings.NewReader("no length")), nil); res.StatusCode != 501 {
		t.Errorf("no length: got %d %s", res.StatusCode, body)
	}
	if got := s.Keys(bucket); len(got) > 0 {
		t.Errorf("applied: %q", got)
	}
}

func TestChunkedBodiesAreDecodedAndTheirTrailersVerified(t *testing.T) {
	const head = "9;chunk-signature=00\r\n123456789\r\n0\r\n"
	for name, tt := range map[string]struct {
		body, trailer string
		status        int
		code          string
	}{
		"right":              {head + "x-amz-checksum-crc32:y/Q5Jg==\r\n\r\n", "x-amz-checksum-crc32", 200, ""},
		"signed trailer":     {head + "x-amz-checksum-crc32: y/Q5Jg==\r\nx-amz-trailer-signature:00\r\n\r\n", "x-amz-checksum-crc32", 200, ""},
		"without trailer":    {head + "\r\n", "", 200, ""},
		"wrong sum":          {head + "x-amz-checksum-crc32:AAAAAA==\r\n\r\n", "x-amz-checksum-crc32", 400, "BadDigest"},
		"sum missing":        {head + "\r\n", "x-amz-checksum-crc32", 400, "MalformedTrailerError"},
		"another sum":        {head + "x-amz-checksum-crc32c:y/Q5Jg==\r\n\r\n", "x-amz-checksum-crc32", 400, "MalformedTrailerError"},
		"malformed sum":      {head + "x-amz-checksum-crc32:AAAA\r\n\r\n", "x-amz-checksum-crc32", 400, "InvalidRequest"},
		"small chunk first":  {"4\r\n1234\r\n5\r\n56789\r\n0\r\n\r\n", "", 400, "InvalidChunkSizeError"},
		"no last chunk":      {"9\r\n123456789\r\n", "", 400, "IncompleteBody"},
		"no last line":       {head, "", 400, "IncompleteBody"},
		"trailer cut":        {head + "x-amz-checksum-crc32:y/Q5Jg==\r\n", "x-amz-checksum-crc32", 400, "IncompleteBody"},
		"cut in a chunk":     {"9\r\n12", "", 400, "IncompleteBody"},
		"fewer than decoded": {"4\r\n1234\r\n0\r\n\r\n", "", 400, "IncompleteBody"},
		"more than decoded":  {"A\r\n1234567890\r\n0\r\n\r\n", "", 400, "IncompleteBody"},
		"bytes after":        {head + "\r\nmore", "", 400, "IncompleteBody"},
		"no chunk line":      {"hello\r\n", "", 400, "IncompleteBody"},
		"line without CR":    {"9\n123456789\r\n0\r\n\r\n", "", 400, "IncompleteBody"},
		"chunk too long":     {"9\r\n1234567890\r\n0\r\n\r\n", "", 400, "IncompleteBody"},
		"endless line":       {strings.Repeat("0", 8192), "", 400, "IncompleteBody"},
	} {
		t.Run(name, func(t *testing.T) {
			s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
			h := http.Header{"X-Amz-Content-Sha256": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
				"X-Amz-Decoded-Content-Length": {"9"}, "Content-Encoding": {"aws-chunked,gzip"}}
			if tt.trailer != "" {
				h.Set("X-Amz-Trailer", tt.trailer)
			}
			res, body := raw(t, "PUT", regiontest.Start(t, s)+"/"+bucket+"/k", strings.NewReader(tt.body), h)
			if res.StatusCode != tt.status || (tt.code != "" && !strings.Contains(body, "<Code>"+tt.code+"</Code>")) {
				t.Errorf("got %d %s, want %d %s", res.StatusCode, body, tt.status, tt.code)
			}
			o, ok := s.Object(bucket, "k")
			if ok != (tt.status == 200) || (ok && (string(o.Data) != "123456789" || o.Header["Content-Encoding"] != "gzip")) {
				t.Errorf("holds %v %+v", ok, o)
			}
		})
	}
}

// Over TLS the SDK streams what cannot be rewound, with its checksum behind.
func TestSDKStreamsWithTrailer(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	ts := httptest.NewTLSServer(s)
	t.Cleanup(ts.Close)
	c := newClient(t, ts.URL, nil, func(o *s3.Options) { o.HTTPClient = ts.Client() })
	body := strings.Repeat("stream ", 100_000)
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(bucket), Key: new("k"),
		Body: io.MultiReader(strings.NewReader(body)), ContentLength: new(int64(len(body)))})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Requests()[0].Header.Get("X-Amz-Content-Sha256"); got != "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
		t.Errorf("the SDK sent %s, so this test tests nothing", got)
	}
	if o, _ := s.Object(bucket, "k"); string(o.Data) != body || o.Checksum.Algorithm != "CRC32" || o.Header["Content-Encoding"] != "" {
		t.Errorf("got %d bytes, checksum %+v, encoding %q", o.Size, o.Checksum, o.Header["Content-Encoding"])
	}
}

func TestBodyCutShortIsNeverApplied(t *testing.T) {
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	applied := make(chan regiontest.Request, 10)
	s.OnApply(func(q regiontest.Request, _, _ *regiontest.Object) { applied <- q })
	addr := strings.TrimPrefix(regiontest.Start(t, s), "http://")
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PUT /%s/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n%s\r\n12345", bucket, expect)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(bufio.NewReader(conn))
		if err != nil && len(answer) == 0 {
			t.Fatal(err)
		}
		if !bytes.Contains(answer, []byte("<Code>IncompleteBody</Code>")) {
			t.Errorf("got %s", answer)
		}
		conn.Close()
	}
	if len(s.Keys(bucket)) > 0 || len(applied) > 0 {
		t.Errorf("applied: %q", s.Keys(bucket))
	}
}
