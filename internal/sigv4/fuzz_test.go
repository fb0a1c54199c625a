package sigv4_test

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

// checkRefusal: whatever is refused, is refused with an error of S3 that tells nothing.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*s3op.Error](err)
	if !ok || e.Kind == s3op.Internal || e.Code == "" || e.Message == "" || strings.Contains(e.Error(), secretKey) {
		t.Fatalf("got %#v", err)
	}
}

// checkClaim: whatever is parsed can be shown to others.
func checkClaim(t *testing.T, c sigv4.Claim) {
	t.Helper()
	if c.AccessKey == "" || c.Time.IsZero() || c.Time.Format("20060102") != c.Date || len(c.Region) == 0 || len(c.Region) > 64 || strings.ContainsAny(c.Region, "\n\r /") {
		t.Fatalf("got %+v", c)
	}
	if c.IsPresigned && (c.Expires < 1e9 || c.Expires > sigv4.MaxExpires) || !c.IsPresigned && c.Expires != 0 {
		t.Fatalf("got %+v", c)
	}
}

// FuzzAuthorizationHeader is of whatever a client may send in its place: it is refused, unless it is the one that was signed.
func FuzzAuthorizationHeader(f *testing.F) {
	const good = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	for _, authorization := range []string{
		good, strings.ReplaceAll(good, ",", ", "), strings.Replace(good, "host", "", 1), strings.Replace(good, "host;", "host;host;", 1), good + ",",
		"", "AWS a:b", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature=,", "AWS4-ECDSA-P256-SHA256 Credential=a", "Basic YTpi",
		"AWS4-HMAC-SHA256 Credential=a/b/20130524/x/s3/aws4_request,SignedHeaders=host,Signature=0",
	} {
		f.Add(authorization, "20130524T000000Z", sigv4.EmptySHA256)
		f.Add(authorization, "Fri, 24 May 2013 00:00:00 GMT", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	}
	f.Fuzz(func(t *testing.T, authorization, date, hash string) {
		r := received(t, lines("GET /test.txt HTTP/1.1", "Host: "+host, "Range: bytes=0-9"))
		r.Header["Authorization"], r.Header["X-Amz-Date"], r.Header["X-Amz-Content-Sha256"] = []string{authorization}, []string{date}, []string{hash}
		claim, err := sigv4.Parse(r)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkClaim(t, claim)
		_, err = newVerifier(t, "").Verify(r, claim, exampleTime())
		isSigned := date == "20130524T000000Z" && strings.Contains(authorization, "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
		if err != nil {
			checkRefusal(t, err)
		} else if !isSigned || claim.AccessKey != accessKey || claim.Region != region || hash != sigv4.EmptySHA256 {
			t.Fatalf("%q passes", authorization)
		}
	})
}

// FuzzPresignedQuery is of whatever a client may send as the query, which is signed as it is read.
func FuzzPresignedQuery(f *testing.F) {
	good := strings.TrimPrefix(presignedExample, "/test.txt?")
	for _, query := range []string{
		good, good + "&", "&&" + good, good + "&a", strings.ReplaceAll(good, "-", "%2D"), strings.Replace(good, "86400", "604801", 1),
		strings.Replace(good, "=host", "=", 1), "", "a=b&a=a&a-b=c&a.=d&%41=e&+=%20&%=", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "AWSAccessKeyId=a&Signature=b",
		"X-Amz-Signature=a&X-Amz-Signature=b", "%E4=%e4&=&==&a=b=c&;", strings.Repeat("b&a&", 100),
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		checkQuery(t, query)
		r := received(t, lines("GET /test.txt HTTP/1.1", "Host: "+host))
		r.URL.RawQuery = query
		claim, err := sigv4.Parse(r)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkClaim(t, claim)
		if _, err = newVerifier(t, "").Verify(r, claim, exampleTime()); err != nil {
			checkRefusal(t, err)
			return
		}
		got, want := r.URL.Query(), received(t, lines("GET "+presignedExample+" HTTP/1.1", "Host: "+host)).URL.Query()
		if got.Encode() != want.Encode() {
			t.Fatalf("%q passes", query)
		}
	})
}

// checkQuery holds the canonical form against what the standard library reads.
func checkQuery(t *testing.T, raw string) {
	t.Helper()
	got, err := sigv4.CanonicalQuery(raw)
	values, parsed := url.ParseQuery(raw)
	if parsed != nil || err != nil {
		if parsed == nil {
			t.Fatalf("%q can be read, and is refused: %v", raw, err)
		}
		return // a semicolon is refused by the one, anything else by both
	}
	type pair struct{ name, value string }
	var pairs []pair
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	for name, all := range values {
		for _, value := range all {
			if name != "X-Amz-Signature" {
				pairs = append(pairs, pair{escape(name), escape(value)})
			}
		}
	}
	slices.SortFunc(pairs, func(p, q pair) int { return cmp.Or(cmp.Compare(p.name, q.name), cmp.Compare(p.value, q.value)) })
	var want []string
	for _, p := range pairs {
		want = append(want, p.name+"="+p.value)
	}
	if got != strings.Join(want, "&") {
		t.Fatalf("%q: got %q, want %q", raw, got, strings.Join(want, "&"))
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// FuzzChunks is of whatever a client may send as a body in chunks: it is the content that was announced, or it is never
// handed on whole.
func FuzzChunks(f *testing.F) {
	payloads := []string{unsignedTrailer, signedChunks, signedChunksTrailer}
	const crc = "x-amz-checksum-crc32:y/Q5Jg=="
	frame := func(f *framing) { f.chunk("1234"); f.chunk("56789"); f.end(crc) }
	for i, payload := range payloads {
		body, err := io.ReadAll(chunkedPut(f, payload, 9, "x-amz-checksum-crc32", frame).Body)
		if err != nil {
			f.Fatal(err)
		}
		for _, size := range []uint16{0, 8, 9, 10} {
			f.Add(uint8(i), size, body, true)
			f.Add(uint8(i), size, body[:len(body)-3], false)
			f.Add(uint8(i), size, bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), true)
		}
	}
	for _, body := range []string{"", "\r\n", "0\r\n", "0\r\n\r\n", "1\r\na\r\n0\r\n", "ffffffffffffffff\r\n", "7fffffffffffffff\r\na", strings.Repeat("1", 5000), "0\r\n" + strings.Repeat("\n", 5000), "9\n123456789\n0\n" + crc + "\n"} {
		f.Add(uint8(0), uint16(9), []byte(body), false)
		f.Add(uint8(1), uint16(9), []byte(body), false)
	}
	f.Fuzz(func(t *testing.T, which uint8, size uint16, body []byte, byByte bool) {
		payload := payloads[int(which)%len(payloads)]
		r := chunkedPut(t, payload, int(size), "x-amz-checksum-crc32", func(*framing) {})
		from := &counted{Reader: bytes.NewReader(body)}
		r.Body = io.NopCloser(from)
		if byByte {
			r.Body = io.NopCloser(iotest.OneByteReader(from))
		}
		signed, err := verify(newVerifier(t, region), r, exampleTime())
		if err != nil {
			t.Fatal(err)
		}
		c, err := signed.Content(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil {
			checkRefusal(t, err)
			if len(got) >= int(size) && size > 0 || c.Trailer() != nil {
				t.Fatalf("%d of %d bytes were handed on, and then %v", len(got), size, err)
			}
			return
		}
		if len(got) != int(size) || from.n != len(body) {
			t.Fatalf("got %d of %d bytes, and read %d of %d", len(got), size, from.n, len(body))
		}
		if want := c.Trailer().Get("X-Amz-Checksum-Crc32"); payload != signedChunks && want != checksumOf("crc32", string(got)) {
			t.Fatalf("%q has the checksum %s", got, want)
		}
	})
}
