package sigv4_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gnew/tandem/internal/sigv4"
)

// credential is that of the examples.
const credential = accessKey + "/20130524/us-east-1/s3/aws4_request"

// chunkedHead is the request of the example of a chunked upload: 65 KiB of the letter a.
func chunkedHead() string {
	return lines("PUT /examplebucket/chunkObject.txt HTTP/1.1", "Host: s3.amazonaws.com", "x-amz-date: 20130524T000000Z",
		"x-amz-storage-class: REDUCED_REDUNDANCY",
		"Authorization: AWS4-HMAC-SHA256 Credential="+credential+
			",SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"+
			",Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "Content-Encoding: aws-chunked",
		"x-amz-decoded-content-length: 66560", "Content-Length: 66824")
}

func chunkedBody() string {
	return "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
}

// trailerHead is the request of the example of a trailing header.
func trailerHead() string {
	return lines("PUT /examplebucket/chunkObject.txt HTTP/1.1", "Host: s3.amazonaws.com", "x-amz-date: 20130524T000000Z",
		"x-amz-storage-class: REDUCED_REDUNDANCY",
		"Authorization: AWS4-HMAC-SHA256 Credential="+credential+
			",SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer"+
			",Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
		"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "Content-Encoding: aws-chunked",
		"x-amz-decoded-content-length: 66560", "x-amz-trailer: x-amz-checksum-crc32c", "Content-Length: "+strconv.Itoa(len(trailerBody())))
}

func trailerBody() string {
	return "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\n\r\n" +
		"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
}

func examples() map[string]string {
	return map[string]string{
		"get object": lines("GET /test.txt HTTP/1.1", "Host: "+host,
			"Authorization: AWS4-HMAC-SHA256 Credential="+credential+
				",SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
			"Range: bytes=0-9", "x-amz-content-sha256: "+sigv4.EmptySHA256, "x-amz-date: 20130524T000000Z"),
		"put object, with its date in Date": lines("PUT /test$file.text HTTP/1.1", "Host: "+host, "Date: Fri, 24 May 2013 00:00:00 GMT",
			"Authorization: AWS4-HMAC-SHA256 Credential="+credential+
				",SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
			"x-amz-date: 20130524T000000Z", "x-amz-storage-class: REDUCED_REDUNDANCY", "Content-Length: 21",
			"x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072") + "Welcome to Amazon S3.",
		"get bucket lifecycle": lines("GET /?lifecycle HTTP/1.1", "Host: "+host,
			"Authorization: AWS4-HMAC-SHA256 Credential="+credential+
				",SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
			"x-amz-date: 20130524T000000Z", "x-amz-content-sha256: "+sigv4.EmptySHA256),
		"list objects": lines("GET /?max-keys=2&prefix=J HTTP/1.1", "Host: "+host,
			"Authorization: AWS4-HMAC-SHA256 Credential="+credential+
				",SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
			"x-amz-date: 20130524T000000Z", "x-amz-content-sha256: "+sigv4.EmptySHA256),
		"presigned get": lines("GET "+presignedExample+" HTTP/1.1", "Host: "+host),
		"chunked put":   chunkedHead() + chunkedBody(),
		"trailing put":  trailerHead() + trailerBody(),
	}
}

const presignedExample = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
	"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
	"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"

// TestPublishedExamplesVerify is of the requests with which the S3 API Reference shows how signatures are calculated.
func TestPublishedExamplesVerify(t *testing.T) {
	for name, text := range examples() {
		t.Run(name, func(t *testing.T) {
			r := received(t, text)
			content, trailer, err := readAll(newVerifier(t, region), r, exampleTime())
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case strings.Contains(name, "ing put") || strings.HasPrefix(name, "chunked"):
				if string(content) != strings.Repeat("a", 65<<10) {
					t.Errorf("got %d bytes", len(content))
				}
			case strings.HasPrefix(name, "put"):
				if string(content) != "Welcome to Amazon S3." {
					t.Errorf("got %q", content)
				}
			}
			want := http.Header(nil)
			if strings.HasPrefix(name, "trailing") {
				want = http.Header{"X-Amz-Checksum-Crc32c": {"sOO8/Q=="}}
			}
			if !maps.EqualFunc(trailer, want, func(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }) {
				t.Errorf("got the trailer %v, want %v", trailer, want)
			}
		})
	}
}

func TestClaimSaysWhatTheRequestSays(t *testing.T) {
	put := sha256.Sum256([]byte("Welcome to Amazon S3."))
	for name, want := range map[string]sigv4.Claim{
		"get object":                        {Payload: sigv4.SignedPayload, ContentSHA256: sigv4.EmptySHA256},
		"put object, with its date in Date": {Payload: sigv4.SignedPayload, ContentSHA256: hex.EncodeToString(put[:])},
		"presigned get":                     {Payload: sigv4.UnsignedPayload, ContentSHA256: "UNSIGNED-PAYLOAD", IsPresigned: true, Expires: 24 * 60 * 60e9},
		"chunked put":                       {Payload: sigv4.SignedChunks, ContentSHA256: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
		"trailing put":                      {Payload: sigv4.SignedChunksTrailer, ContentSHA256: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"},
	} {
		got, err := sigv4.Parse(received(t, examples()[name]))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want.AccessKey, want.Date, want.Region, want.Time = accessKey, "20130524", region, exampleTime()
		if sigv4.Shown(got) != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// TestReadersOfOneByteSeeTheSame is of bodies that come in the smallest pieces.
func TestReadersOfOneByteSeeTheSame(t *testing.T) {
	r := received(t, trailerHead())
	r.Body = io.NopCloser(iotest.OneByteReader(strings.NewReader(trailerBody())))
	signed, err := verify(newVerifier(t, region), r, exampleTime())
	if err != nil {
		t.Fatal(err)
	}
	c, err := signed.Content(r)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(iotest.OneByteReader(c)); err != nil || len(content) != 65<<10 || c.SizeBytes != 65<<10 {
		t.Errorf("got %d of %d bytes, %v", len(content), c.SizeBytes, err)
	}
}
