package regiontest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gnew/tandem/internal/region/regiontest"
)

const bucket = "photos"

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// newClient is the SDK's client as a region's client is configured: static
// credentials, path style, no retries. dial may be nil.
func newClient(t testing.TB, endpoint string, dial dialFunc, opts ...func(*s3.Options)) *s3.Client {
	t.Helper()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	transport := &http.Transport{DialContext: dial, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		Region:           "us-east-1",
		BaseEndpoint:     &endpoint,
		UsePathStyle:     true,
		Credentials:      credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		Retryer:          aws.NopRetryer{},
		RetryMaxAttempts: 1,
		HTTPClient:       &http.Client{Transport: transport},
		// The defaults of the SDK's own configuration, which bypassing it loses.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}, opts...)
}

// newRegion is a region with one bucket, and a client of it.
func newRegion(t testing.TB, edits ...func(*regiontest.Options)) (*regiontest.Server, *s3.Client) {
	t.Helper()
	o := regiontest.Options{Buckets: []string{bucket}}
	for _, edit := range edits {
		edit(&o)
	}
	s := regiontest.NewServer(o)
	return s, newClient(t, regiontest.Start(t, s), nil)
}

func put(t testing.TB, c *s3.Client, key, body string, edits ...func(*s3.PutObjectInput)) *s3.PutObjectOutput {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: new(bucket), Key: &key, Body: strings.NewReader(body)}
	for _, edit := range edits {
		edit(in)
	}
	out, err := c.PutObject(t.Context(), in)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return out
}

func get(t testing.TB, c *s3.Client, key string, edits ...func(*s3.GetObjectInput)) (string, *s3.GetObjectOutput) {
	t.Helper()
	in := &s3.GetObjectInput{Bucket: new(bucket), Key: &key}
	for _, edit := range edits {
		edit(in)
	}
	out, err := c.GetObject(t.Context(), in)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(b), out
}

// wantError checks the status and, unless empty, the code of a region's error.
func wantError(t testing.TB, err error, status int, code string) {
	t.Helper()
	re, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok {
		t.Fatalf("got error %v, want one answered with status %d", err, status)
	}
	if got := re.HTTPStatusCode(); got != status {
		t.Errorf("got status %d (%v), want %d", got, err, status)
	}
	if code == "" {
		return
	}
	ae, ok := errors.AsType[smithy.APIError](err)
	if !ok || ae.ErrorCode() != code {
		t.Errorf("got error %v, want code %s", err, code)
	}
}

// wantNoAnswer checks that the region said nothing at all.
func wantNoAnswer(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("got an answer, want a broken connection")
	}
	if re, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && re.HTTPStatusCode() != 0 {
		t.Fatalf("got an answer: %v, want a broken connection", err)
	}
}

// raw sends one request that the SDK would not, and returns the answer read whole.
func raw(t testing.TB, method, url string, body io.Reader, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatalf("%s %s: read answer: %v", method, url, err)
	}
	return res, b.String()
}
