package sigv4_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

// The credentials and the time of every example in the S3 API Reference.
const (
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	region    = "us-east-1"
	host      = "examplebucket.s3.amazonaws.com"
)

func exampleTime() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }

func newVerifier(t testing.TB, region string) *sigv4.Verifier {
	t.Helper()
	v, err := sigv4.New(sigv4.Config{Region: region, Secret: func(key string) (string, bool) { return secretKey, key == accessKey }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// received is a request as the server of net/http gives it to a handler.
func received(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatalf("read %q: %v", text, err)
	}
	return r
}

// lines joins the lines of a request, and ends its header.
func lines(s ...string) string { return strings.Join(s, "\r\n") + "\r\n\r\n" }

func verify(v *sigv4.Verifier, r *http.Request, now time.Time) (sigv4.Signed, error) {
	claim, err := sigv4.Parse(r)
	if err != nil {
		return sigv4.Signed{}, err
	}
	return v.Verify(r, claim, now)
}

// readAll verifies a request, and reads what it uploads.
func readAll(v *sigv4.Verifier, r *http.Request, now time.Time) (content []byte, trailer http.Header, err error) {
	signed, err := verify(v, r, now)
	if err != nil {
		return nil, nil, err
	}
	c, err := signed.Content(r)
	if err != nil {
		return nil, nil, err
	}
	content, err = io.ReadAll(c)
	return content, c.Trailer(), err
}

// checkError holds an error against a kind and a code, and its text against what must not be told.
func checkError(t *testing.T, err error, kind s3op.Kind, code, says string) {
	t.Helper()
	e, ok := errors.AsType[*s3op.Error](err)
	if !ok {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if e.Kind != kind || e.Code != code || !strings.Contains(e.Message, says) {
		t.Errorf("got %v of kind %d, want %s of kind %d that says %q", e, e.Kind, code, kind, says)
	}
	if strings.Contains(e.Error(), secretKey) {
		t.Errorf("the secret is in %q", e)
	}
}
