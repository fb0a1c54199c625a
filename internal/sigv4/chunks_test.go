package sigv4_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

// framing is a client that frames and signs bodies by the book, and not by our code.
type framing struct {
	key              []byte
	previous         string
	out              bytes.Buffer
	isSigned         bool
	lineEnd          string
	trailerSignature bool
}

func newFraming(seed string, isSigned bool) *framing {
	key := []byte("AWS4" + secretKey)
	for _, part := range []string{"20130524", region, "s3", "aws4_request"} {
		key = sum(key, part)
	}
	return &framing{key: key, previous: seed, isSigned: isSigned, lineEnd: "\r\n", trailerSignature: isSigned}
}

func sum(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, message)
	return h.Sum(nil)
}

func (f *framing) sign(kind string, parts ...string) string {
	text := strings.Join(append([]string{kind, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", f.previous}, parts...), "\n")
	f.previous = hex.EncodeToString(sum(f.key, text))
	return f.previous
}

func hashOf(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func (f *framing) chunk(content string) {
	fmt.Fprintf(&f.out, "%x", len(content))
	if f.isSigned {
		f.out.WriteString(";chunk-signature=" + f.sign("AWS4-HMAC-SHA256-PAYLOAD", sigv4.EmptySHA256, hashOf(content)))
	}
	f.out.WriteString("\r\n" + content)
	if content != "" {
		f.out.WriteString("\r\n")
	}
}

// end frames the last chunk and the trailer.
func (f *framing) end(trailer ...string) {
	f.chunk("")
	var signed strings.Builder
	for _, line := range trailer {
		f.out.WriteString(line + f.lineEnd)
		signed.WriteString(line + "\n")
	}
	if f.trailerSignature && trailer != nil {
		f.out.WriteString("x-amz-trailer-signature:" + f.sign("AWS4-HMAC-SHA256-TRAILER", hashOf(signed.String())) + "\r\n")
	}
	f.out.WriteString("\r\n")
}

// chunkedPut is a PUT of a body in chunks, whose header is signed; frame frames the body.
func chunkedPut(t testing.TB, payload string, size int, trailers string, frame func(*framing)) *http.Request {
	t.Helper()
	r := received(t, lines("PUT /bucket/key HTTP/1.1", "Host: "+host, "Content-Encoding: aws-chunked", "X-Amz-Decoded-Content-Length: "+strconv.Itoa(size)))
	if trailers != "" {
		r.Header.Set("X-Amz-Trailer", trailers)
	}
	if err := new(sigv4.Signer).Sign(r, sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}, region, payload, exampleTime()); err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	f := newFraming(seed, !strings.Contains(payload, "UNSIGNED"))
	frame(f)
	r.ContentLength, r.Body = int64(f.out.Len()), io.NopCloser(&f.out)
	return r
}

const (
	unsignedTrailer     = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	signedChunks        = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedChunksTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
)

func checksumOf(algorithm, content string) string {
	h := map[string]func() hash.Hash{
		"crc32":     func() hash.Hash { return crc32.NewIEEE() },
		"crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
		"crc64nvme": func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) },
		"sha1":      sha1.New, "sha256": sha256.New,
	}[algorithm]()
	_, _ = io.WriteString(h, content)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func TestTrailersOfEveryFormVerify(t *testing.T) {
	for _, payload := range []string{unsignedTrailer, signedChunksTrailer} {
		for _, algorithm := range []string{"crc32", "crc32c", "crc64nvme", "sha1", "sha256"} {
			for _, end := range []string{"\r\n", "\n", "\n\r\n"} {
				for _, content := range []string{"", "a", "123456789", strings.Repeat("content", 5000)} {
					name := "x-amz-checksum-" + algorithm
					r := chunkedPut(t, payload, len(content), name, func(f *framing) {
						f.lineEnd = end
						for rest := content; rest != ""; rest = rest[min(len(rest), 10_000):] {
							f.chunk(rest[:min(len(rest), 10_000)])
						}
						f.end(name + ":" + checksumOf(algorithm, content))
					})
					got, trailer, err := readAll(newVerifier(t, region), r, exampleTime())
					if err != nil || string(got) != content || trailer.Get(name) != checksumOf(algorithm, content) {
						t.Errorf("%s %s %q, %d bytes: got %d, %v, %v", payload, name, end, len(content), len(got), trailer, err)
					}
				}
			}
		}
	}
}

func TestSeveralTrailersVerify(t *testing.T) {
	for _, payload := range []string{unsignedTrailer, signedChunksTrailer} {
		r := chunkedPut(t, payload, 9, "x-amz-checksum-sha1, X-Amz-Checksum-Crc32", func(f *framing) {
			f.chunk("123456789")
			f.end("x-amz-checksum-crc32:y/Q5Jg==", "x-amz-checksum-sha1:98O8HYCOBHMq32eZZczDTKeuNEE=")
		})
		_, trailer, err := readAll(newVerifier(t, region), r, exampleTime())
		if err != nil || len(trailer) != 2 || trailer.Get("X-Amz-Checksum-Crc32") != "y/Q5Jg==" {
			t.Errorf("%s: got %v, %v", payload, trailer, err)
		}
	}
}

// TestUploadsThatAreNotAsSaidNeverComplete is of bodies that are wrong in one place. What was handed on before is not the
// whole: the last byte is kept back until all is verified.
func TestUploadsThatAreNotAsSaidNeverComplete(t *testing.T) {
	const content, crc = "123456789", "x-amz-checksum-crc32:y/Q5Jg=="
	whole := func(f *framing) { f.chunk("1234"); f.chunk("56789"); f.end(crc) }
	after := func(change func(string) string) func(*framing) {
		return func(f *framing) {
			whole(f)
			text := change(f.out.String())
			f.out.Reset()
			f.out.WriteString(text)
		}
	}
	replace := func(from, to string) func(*framing) {
		return after(func(s string) string {
			if !strings.Contains(s, from) {
				t.Fatalf("%q is not in %q", from, s)
			}
			return strings.Replace(s, from, to, 1)
		})
	}
	const signed, unsigned = signedChunksTrailer, unsignedTrailer
	for _, tt := range []struct {
		what, payload string
		frame         func(*framing)
		code          string
	}{
		{"another byte in the first chunk", signed, replace("1234\r", "1235\r"), "SignatureDoesNotMatch"},
		{"another byte in the last chunk", signed, replace("56789\r", "56780\r"), "SignatureDoesNotMatch"},
		{"another byte, unsigned", unsigned, replace("56789\r", "56780\r"), "BadDigest"},
		{"another signature of a chunk", signed, replace("chunk-signature=", "chunk-signature=0"), "IncompleteBody"},
		{"a signature in capitals", signed, after(func(s string) string {
			i := strings.Index(s, "=") + 1
			return s[:i] + strings.ToUpper(s[i:i+64]) + s[i+64:]
		}), "SignatureDoesNotMatch"},
		{"no signature of a chunk", signed, func(f *framing) { f.isSigned = false; whole(f) }, "IncompleteBody"},
		{"a signature where none belongs", unsigned, func(f *framing) { f.isSigned = true; whole(f) }, "IncompleteBody"},
		{"chunks in another order", signed, func(f *framing) {
			f.chunk("1234")
			first := f.out.String()
			f.out.Reset()
			f.chunk("56789")
			second := f.out.String()
			f.out.Reset()
			f.out.WriteString(second + first)
			f.end(crc)
		}, "SignatureDoesNotMatch"},
		{"a chunk left out", signed, func(f *framing) { f.chunk("1234"); f.end(crc) }, "IncompleteBody"},
		{"less than was said", unsigned, func(f *framing) { f.chunk("1234"); f.end(crc) }, "IncompleteBody"},
		{"more than was said", unsigned, func(f *framing) { f.chunk("1234"); f.chunk("567890"); f.end(crc) }, "IncompleteBody"},
		{"a chunk more than was said", signed, func(f *framing) { f.chunk(content); f.chunk("0"); f.end(crc) }, "IncompleteBody"},
		{"a size that is none", unsigned, replace("4\r\n", "x\r\n"), "IncompleteBody"},
		{"a negative size", unsigned, replace("4\r\n", "-4\r\n"), "IncompleteBody"},
		{"a size too large for any", unsigned, replace("4\r\n", "fffffffffffffffff\r\n"), "IncompleteBody"},
		{"an empty size", unsigned, replace("4\r\n", "\r\n"), "IncompleteBody"},
		{"an endless size", unsigned, replace("4\r\n", strings.Repeat("0", 1<<20)), "IncompleteBody"},
		{"a chunk longer than its size", unsigned, replace("4\r\n", "3\r\n"), "IncompleteBody"},
		{"no last chunk", signed, after(func(s string) string { return s[:strings.LastIndex(s, "0;chunk")] }), "IncompleteBody"},
		{"cut in a chunk", signed, after(func(s string) string { return s[:strings.Index(s, "1234")+2] }), "IncompleteBody"},
		{"cut in a trailer", unsigned, after(func(s string) string { return s[:strings.Index(s, "y/Q5")+4] }), "IncompleteBody"},
		{"no trailer", unsigned, func(f *framing) { f.chunk(content); f.end() }, "MalformedTrailerError"},
		{"no trailer, signed", signed, func(f *framing) { f.chunk(content); f.end() }, "MalformedTrailerError"},
		{"a trailer without a signature", signed, func(f *framing) { f.trailerSignature = false; whole(f) }, "MalformedTrailerError"},
		{"another signature of the trailer", signed, after(func(s string) string {
			i := strings.Index(s, "trailer-signature:") + len("trailer-signature:")
			return s[:i] + strings.Repeat("0", 64) + s[i+64:]
		}), "SignatureDoesNotMatch"},
		{"another trailer, signed", signed, replace("y/Q5Jg==", "y/Q5Jw=="), "SignatureDoesNotMatch"},
		{"a wrong checksum, signed", signed, func(f *framing) { f.chunk(content); f.end("x-amz-checksum-crc32:y/Q5Jw==") }, "BadDigest"},
		{"a wrong checksum", unsigned, replace("y/Q5Jg==", "y/Q5Jw=="), "BadDigest"},
		{"a checksum that is none", unsigned, replace("y/Q5Jg==", "y/Q5Jg="), "InvalidRequest"},
		{"a checksum of another length", unsigned, replace("y/Q5Jg==", "y/Q5JgA="), "InvalidRequest"},
		{"a trailer that was not promised", unsigned, replace(crc, crc+"\r\nx-amz-meta-a:b"), "MalformedTrailerError"},
		{"a trailer twice", unsigned, replace(crc, crc+"\r\n"+crc), "MalformedTrailerError"},
		{"a trailer without a value", unsigned, replace("y/Q5Jg==", ""), "MalformedTrailerError"},
		{"a trailer after the signature", signed, func(f *framing) { whole(f); f.out.WriteString(crc + "\r\n") }, "MalformedTrailerError"},
		{"a signature where none is signed", unsigned, func(f *framing) { whole(f); f.out.WriteString("x-amz-trailer-signature:0\r\n") }, "MalformedTrailerError"},
		{"a line of a trailer without an end", unsigned, func(f *framing) { whole(f); f.out.WriteString(strings.Repeat("x", 1<<20)) }, "IncompleteBody"},
		{"a trailer without an end", unsigned, func(f *framing) { whole(f); f.out.WriteString(strings.Repeat("\r\n", 1<<20)) }, "MalformedTrailerError"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := chunkedPut(t, tt.payload, len(content), "x-amz-checksum-crc32", tt.frame)
			signed, err := verify(newVerifier(t, region), r, exampleTime())
			if err != nil {
				t.Fatal(err)
			}
			c, err := signed.Content(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			kind := s3op.Invalid
			if tt.code == "SignatureDoesNotMatch" {
				kind = s3op.Denied
			}
			checkError(t, err, kind, tt.code, "")
			if len(got) >= len(content) {
				t.Errorf("all of %q was handed on", got)
			}
			if n, again := c.Read(make([]byte, 10)); n != 0 || !errors.Is(again, err) || c.Trailer() != nil {
				t.Errorf("after the error: got %d bytes, %v, %v", n, again, c.Trailer())
			}
		})
	}
}

func TestUploadsWithoutTrailersTakeNone(t *testing.T) {
	r := chunkedPut(t, signedChunks, 1, "", func(f *framing) { f.chunk("a"); f.end() })
	if got, trailer, err := readAll(newVerifier(t, region), r, exampleTime()); err != nil || string(got) != "a" || trailer != nil {
		t.Errorf("got %q, %v, %v", got, trailer, err)
	}
	r = chunkedPut(t, signedChunks, 1, "", func(f *framing) { f.chunk("a"); f.end("x-amz-checksum-crc32:6Le+Qw==") })
	_, _, err := readAll(newVerifier(t, region), r, exampleTime())
	checkError(t, err, s3op.Invalid, "MalformedTrailerError", "")
}

func TestUploadsThatCannotBeVerifiedAreRefusedUnread(t *testing.T) {
	for _, tt := range []struct {
		name, value, code string
	}{
		{"X-Amz-Decoded-Content-Length", "", "MissingContentLength"},
		{"X-Amz-Decoded-Content-Length", "-1", "InvalidArgument"},
		{"X-Amz-Decoded-Content-Length", "9223372036854775808", "InvalidArgument"},
		{"X-Amz-Decoded-Content-Length", "1e3", "InvalidArgument"},
		{"X-Amz-Trailer", "", "InvalidRequest"},
		{"X-Amz-Trailer", "x-amz-meta-a", "InvalidRequest"},
		{"X-Amz-Trailer", "x-amz-checksum-xxhash128", "InvalidRequest"},
		{"X-Amz-Trailer", strings.Repeat("x-amz-checksum-crc32,", 5) + "x-amz-checksum-crc32", "InvalidRequest"},
	} {
		r := chunkedPut(t, unsignedTrailer, 1, "x-amz-checksum-crc32", func(*framing) {})
		signed, err := verify(newVerifier(t, region), r, exampleTime())
		if err != nil {
			t.Fatal(err)
		}
		if r.Header.Set(tt.name, tt.value); tt.value == "" {
			r.Header.Del(tt.name)
		}
		_, err = signed.Content(r)
		checkError(t, err, s3op.Invalid, tt.code, "")
	}
}

func TestFailureOfTheConnectionIsHandedOn(t *testing.T) {
	for _, tt := range []struct {
		err        error
		isTheirOwn bool
	}{{net.ErrClosed, true}, {io.ErrUnexpectedEOF, false}} {
		for _, payload := range []string{signedChunks, "UNSIGNED-PAYLOAD", hashOf("1234")} {
			r := chunkedPut(t, payload, 4, "", func(f *framing) {})
			f := newFraming("", false)
			r.ContentLength, r.Body = 4, io.NopCloser(io.MultiReader(&f.out, iotest.ErrReader(tt.err)))
			_, _, err := readAll(newVerifier(t, region), r, exampleTime())
			if !errors.Is(err, tt.err) {
				t.Errorf("%s: got %v, want %v", payload, err, tt.err)
			}
			if !tt.isTheirOwn {
				checkError(t, err, s3op.Invalid, "IncompleteBody", "terminated unexpectedly")
			}
		}
	}
}

// plainPut is an upload of a body without frames. length is what the request says of it.
func plainPut(t testing.TB, payload, body string, length int64) *http.Request {
	t.Helper()
	r := received(t, lines("PUT /bucket/key HTTP/1.1", "Host: "+host))
	if err := new(sigv4.Signer).Sign(r, sigv4.Credentials{AccessKey: accessKey, SecretKey: secretKey}, region, payload, exampleTime()); err != nil {
		t.Fatal(err)
	}
	r.ContentLength, r.Body = length, io.NopCloser(strings.NewReader(body))
	return r
}

func TestSignedBodyIsTheOneThatCame(t *testing.T) {
	for _, body := range []string{"", "a", strings.Repeat("content", 5000)} {
		for _, payload := range []string{hashOf(body), strings.ToUpper(hashOf(body)), "UNSIGNED-PAYLOAD"} {
			for _, length := range []int64{int64(len(body)), -1} {
				got, trailer, err := readAll(newVerifier(t, region), plainPut(t, payload, body, length), exampleTime())
				if err != nil || string(got) != body || trailer != nil {
					t.Errorf("%s, %d bytes of %d: got %d, %v, %v", payload, len(body), length, len(got), trailer, err)
				}
			}
		}
		got, _, err := readAll(newVerifier(t, region), plainPut(t, hashOf("other"), body, int64(len(body))), exampleTime())
		checkError(t, err, s3op.Invalid, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
		if len(body) > 0 && len(got) >= len(body) {
			t.Errorf("all %d bytes were handed on", len(got))
		}
		_, _, err = readAll(newVerifier(t, region), plainPut(t, hashOf("other"), body, -1), exampleTime())
		checkError(t, err, s3op.Invalid, "XAmzContentSHA256Mismatch", "")
		_, _, err = readAll(newVerifier(t, region), plainPut(t, hashOf(body), body, int64(len(body)+1)), exampleTime())
		checkError(t, err, s3op.Invalid, "IncompleteBody", "")
	}
}

// TestReadingCostsNoMemoryByTheByte is of an upload much larger than what may be allocated for it.
func TestReadingCostsNoMemoryByTheByte(t *testing.T) {
	const chunks, most = 1000, 1 << 20
	content := strings.Repeat("a", 64<<10)
	chunk, rest := newFraming("", false), newFraming("", false)
	chunk.chunk(content)
	rest.end("x-amz-checksum-crc32:AAAAAA==")
	readers := make([]io.Reader, 0, chunks+1)
	for range chunks {
		readers = append(readers, bytes.NewReader(chunk.out.Bytes()))
	}
	r := chunkedPut(t, unsignedTrailer, chunks*len(content), "x-amz-checksum-crc32", func(*framing) {})
	r.Body = io.NopCloser(io.MultiReader(append(readers, &rest.out)...))
	signed, err := verify(newVerifier(t, region), r, exampleTime())
	if err != nil {
		t.Fatal(err)
	}
	c, err := signed.Content(r)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = io.Copy(io.Discard, c)
	runtime.ReadMemStats(&after)
	checkError(t, err, s3op.Invalid, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
	if used := after.TotalAlloc - before.TotalAlloc; used > most && !raceDetector {
		t.Errorf("%d bytes were allocated for %d", used, chunks*len(content))
	}
}

func BenchmarkReadSignedChunks(b *testing.B) {
	content := strings.Repeat("a", 64<<10)
	v := newVerifier(b, region)
	r := chunkedPut(b, signedChunks, 16*len(content), "", func(f *framing) {
		for range 16 {
			f.chunk(content)
		}
		f.end()
	})
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(16 * len(content)))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader(body))
		signed, err := verify(v, r, exampleTime())
		if err != nil {
			b.Fatal(err)
		}
		c, err := signed.Content(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			b.Fatal(err)
		}
	}
}
