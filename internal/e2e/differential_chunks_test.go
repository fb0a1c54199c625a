package e2e_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/sigv4"
)

// framing is how a body is framed as aws-chunked. Source: Amazon S3 API Reference, "Signature Calculations for the
// Authorization Header: Transferring Payload in Multiple Chunks", and the page on trailing headers after it.
type framing struct {
	word    string
	trailer string // the name of a checksum
	value   string
	chunks  [][]byte
	size    int
	spoiled string
	key     []byte // nil before the request is signed
	scope   string
	first   string
}

func framingOf(c trial, body []byte) (*framing, bool) {
	f := &framing{size: len(body), spoiled: c.how["spoil"]}
	for word, how := range map[string]string{
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": "chunks", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": "chunks-trailer", "STREAMING-UNSIGNED-PAYLOAD-TRAILER": "unsigned-trailer",
	} {
		if _, ok := c.how[how]; ok {
			f.word = word
		}
	}
	if f.word == "" {
		return nil, false
	}
	if strings.HasSuffix(f.word, "TRAILER") {
		sum := crc32.ChecksumIEEE(body)
		f.trailer, f.value = "x-amz-checksum-crc32", base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	}
	const chunk = 8 << 10 // the least that S3 takes
	for len(body) > 0 {
		n := min(chunk, len(body))
		f.chunks = append(f.chunks, body[:n])
		body = body[n:]
	}
	f.chunks = append(f.chunks, nil)
	return f, true
}

func (f *framing) header() []string {
	size := f.size
	switch f.spoiled {
	case "decoded-less":
		size--
	case "decoded-more":
		size++
	}
	h := []string{"Content-Encoding: aws-chunked", fmt.Sprintf("X-Amz-Decoded-Content-Length: %d", size)}
	if f.spoiled == "no-decoded" {
		h = h[:1]
	}
	if f.trailer != "" && f.spoiled != "no-trailer-header" {
		h = append(h, "X-Amz-Trailer: "+f.trailer)
	}
	return h
}

// seed takes what the first chunk is signed with from the request's own signature.
func (f *framing) seed(secret string, header []string) {
	authorization := headerOf(header, "Authorization")
	_, f.first, _ = strings.Cut(authorization, "Signature=")
	_, scope, _ := strings.Cut(authorization, "Credential=")
	_, f.scope, _ = strings.Cut(strings.SplitN(scope, ",", 2)[0], "/")
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(f.scope, "/") {
		key = macOf(key, part)
	}
	f.key = key
}

func macOf(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	_, _ = io.WriteString(m, text)
	return m.Sum(nil)
}

// frame is the framed body; without a key all signatures are of zeros, and its length is right.
func (f *framing) frame(at time.Time) []byte {
	var b bytes.Buffer
	previous := f.first
	for i, chunk := range f.chunks {
		isLast := i == len(f.chunks)-1
		if f.spoiled == "no-last" && isLast {
			break
		}
		size := fmt.Sprintf("%x", len(chunk))
		if f.spoiled == "size" && i == 0 {
			size = "zz"
		}
		if f.isSigned() {
			previous = f.sign("PAYLOAD", at, previous, sigv4.EmptySHA256+"\n", chunk)
			shown := previous
			if f.spoiled == "chunk-signature" && i == 0 || f.spoiled == "last-signature" && isLast {
				shown = strings.Repeat("a", len(shown))
			}
			size += ";chunk-signature=" + shown
		}
		b.WriteString(size + "\r\n")
		b.Write(chunk)
		switch {
		case isLast:
		case f.spoiled == "no-crlf":
			b.WriteString("xx")
		default:
			b.WriteString("\r\n")
		}
	}
	if f.trailer != "" && f.spoiled != "no-trailer" {
		line := f.trailer + ":" + f.value
		switch f.spoiled {
		case "checksum":
			line = f.trailer + ":AAAAAQ=="
		case "other-trailer":
			line = "x-amz-checksum-sha1:" + f.value
		}
		b.WriteString(line + "\r\n")
		if f.isSigned() {
			signature := f.sign("TRAILER", at, previous, "", []byte(line+"\n"))
			if f.spoiled == "trailer-signature" {
				signature = strings.Repeat("b", len(signature))
			}
			b.WriteString("x-amz-trailer-signature:" + signature + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func (f *framing) isSigned() bool { return strings.HasPrefix(f.word, "STREAMING-AWS4") }

func (f *framing) sign(kind string, at time.Time, previous, middle string, data []byte) string {
	if f.key == nil {
		return strings.Repeat("0", 2*sha256.Size)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(macOf(f.key,
		"AWS4-HMAC-SHA256-"+kind+"\n"+at.UTC().Format("20060102T150405Z")+"\n"+f.scope+"\n"+previous+"\n"+middle+hex.EncodeToString(sum[:])))
}
