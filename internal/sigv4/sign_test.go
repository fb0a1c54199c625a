package sigv4_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

func newSDKSigner() *v4.Signer {
	return v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}

// randomRequest is a request to a region, with whatever a key, a query or a header may hold.
func randomRequest(t testing.TB, rnd *rand.Rand) *http.Request {
	t.Helper()
	word := func(letters string, most int) string {
		var b strings.Builder
		for range rnd.IntN(most + 1) {
			b.WriteRune([]rune(letters)[rnd.IntN(len([]rune(letters)))])
		}
		return b.String()
	}
	const any = "ab/A9 +%-_.~!'()*&=?#;:@$,\"<>[]{}|\\^`\tä日\x00"
	key := "/" + word(any, 12)
	// The SDK sorts a query before it encodes it. Letters whose order that changes are in values alone, one for each name.
	query := url.Values{}
	for range rnd.IntN(5) {
		query.Set(word("abcXYZ019-_.", 4), word(any, 8))
	}
	for range rnd.IntN(4) {
		query.Add("many", word("ab019", 4))
	}
	u := &url.URL{Scheme: "https", Host: "region.example:9000", Path: key, RawPath: s3op.EscapePath(key)}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	r, err := http.NewRequest([]string{"GET", "PUT", "HEAD", "DELETE", "POST"}[rnd.IntN(5)], "https://region.invalid", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL, r.Host, r.ContentLength = u, "", int64(max(0, rnd.IntN(2000)-1000))
	if rnd.IntN(2) == 0 {
		r.Host = "bucket.example"
	}
	for _, name := range []string{"Content-Type", "Content-Md5", "X-Amz-Meta-A", "X-Amz-Meta-A-B", "X-Amz-Meta-Ab", "Range", "User-Agent", "Expect", "X-Amzn-Trace-Id", "If-Match"} {
		for range rnd.IntN(3) {
			r.Header.Add(name, word("ab  \t,;\"ä", 9))
		}
	}
	return r
}

// TestSignsAsTheSDKDoes is of thousands of requests, each signed twice.
func TestSignsAsTheSDKDoes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	ours, theirs := new(sigv4.Signer), newSDKSigner()
	for i := range 3000 {
		r := randomRequest(t, rnd)
		c := sigv4.Credentials{AccessKey: fmt.Sprint(accessKey, i%3), SecretKey: fmt.Sprint(secretKey, i%3)}
		if i%4 == 0 {
			c.SessionToken = "token/+="
		}
		at := exampleTime().Add(time.Duration(rnd.Int64N(int64(72 * time.Hour)))).In(time.FixedZone("east", 7*3600))
		in := []string{"us-east-1", "eu-west-1"}[i%2]
		sdk := r.Clone(t.Context())
		sdk.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		if err := theirs.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, SessionToken: c.SessionToken},
			sdk, "UNSIGNED-PAYLOAD", "s3", in, at); err != nil {
			t.Fatal(err)
		}
		if err := ours.Sign(r, c, in, "UNSIGNED-PAYLOAD", at); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"} {
			if got, want := r.Header.Get(name), sdk.Header.Get(name); got != want {
				t.Fatalf("%s %q %q %v: %s: got %q, want %q", r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, name, got, want)
			}
		}
	}
}

// TestVerifiesWhatItSigns is of the same requests, sent through net/http's parser.
func TestVerifiesWhatItSigns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	s, v := new(sigv4.Signer), newVerifier(t, region)
	for range 1000 {
		r := randomRequest(t, rnd)
		r.Body, r.ContentLength = http.NoBody, 0
		if err := s.Sign(r, sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}, region, sigv4.EmptySHA256, exampleTime()); err != nil {
			t.Fatal(err)
		}
		var sent bytes.Buffer
		if err := r.Write(&sent); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readAll(v, received(t, sent.String()), exampleTime()); err != nil {
			t.Fatalf("%q: %v", sent.String(), err)
		}
	}
}

func TestSigningAgainReplacesTheSignature(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 6))
	s, c := new(sigv4.Signer), sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}
	r := randomRequest(t, rnd)
	again := r.Clone(t.Context())
	for _, at := range []time.Time{exampleTime(), exampleTime().AddDate(0, 0, 1)} {
		if err := s.Sign(r, c, region, sigv4.EmptySHA256, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := new(sigv4.Signer).Sign(again, c, region, sigv4.EmptySHA256, exampleTime().AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Header.Get("Authorization"), again.Header.Get("Authorization"); got != want || len(r.Header["Authorization"]) != 1 {
		t.Errorf("got %q, want %q", r.Header["Authorization"], want)
	}
}

func TestQueryThatCannotBeDecodedIsNotSigned(t *testing.T) {
	r := randomRequest(t, rand.New(rand.NewPCG(7, 7)))
	r.URL.RawQuery = "a=%zz"
	err := new(sigv4.Signer).Sign(r, sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}, region, sigv4.EmptySHA256, exampleTime())
	checkError(t, err, s3op.Invalid, "InvalidURI", "")
}

func TestHMACIsThatOfTheStandardLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	for range 2000 {
		key, message := make([]byte, rnd.IntN(200)), make([]byte, rnd.IntN(1000))
		for _, b := range [][]byte{key, message} {
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
		}
		h := hmac.New(sha256.New, key)
		h.Write(message)
		if got := sigv4.HMACSHA256(key, message); !hmac.Equal(got[:], h.Sum(nil)) {
			t.Fatalf("a key of %d bytes, a message of %d: got %x", len(key), len(message), got)
		}
	}
}

// signedGet is a plain GET, signed by header.
func signedGet(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "https://gateway.example/bucket/folder/key?response-content-type=a%2Fb&versionId=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Range", "bytes=0-9")
	r.Header.Set("User-Agent", "a client")
	if err := new(sigv4.Signer).Sign(r, sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}, region, sigv4.EmptySHA256, exampleTime()); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestVerifyingAndSigningCostFewAllocations is of both, as every request through a gateway needs them.
func TestVerifyingAndSigningCostFewAllocations(t *testing.T) {
	const most = 5
	v, s, r := newVerifier(t, region), new(sigv4.Signer), signedGet(t)
	to, now := r.Clone(t.Context()), exampleTime()
	c := sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}
	var failed error
	verifying := testing.AllocsPerRun(100, func() {
		_, err := verify(v, r, now)
		failed = errors.Join(failed, err)
	})
	signing := testing.AllocsPerRun(100, func() {
		failed = errors.Join(failed, s.Sign(to, c, region, sigv4.EmptySHA256, now))
	})
	if failed != nil {
		t.Fatal(failed)
	}
	if verifying+signing > most && !raceDetector { // that allocates too
		t.Errorf("verifying allocates %v times and signing %v, together more than %d", verifying, signing, most)
	}
}

func BenchmarkVerify(b *testing.B) {
	v, r, now := newVerifier(b, region), signedGet(b), exampleTime()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verify(v, r, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	s, r, now := new(sigv4.Signer), signedGet(b), exampleTime()
	c := sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Sign(r, c, region, sigv4.EmptySHA256, now); err != nil {
			b.Fatal(err)
		}
	}
}
