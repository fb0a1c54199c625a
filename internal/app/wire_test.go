package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// dial opens a connection to the gateway, for requests that no HTTP client sends.
func (g *rig) dial() net.Conn {
	g.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// speak sends bytes and returns the answers until the gateway hangs up.
func (g *rig) speak(text string) (statuses []int) {
	g.t.Helper()
	conn := g.dial()
	if _, err := io.WriteString(conn, text); err != nil {
		g.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		g.t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return statuses
		}
		statuses = append(statuses, resp.StatusCode)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

func TestBodyShorterThanItsLengthIsNotStored(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, size := range []int{10, 100 << 10} {
		got := g.speak(fmt.Sprintf("PUT /objects/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size-1)))
		if len(got) > 0 && got[0] != 400 {
			t.Errorf("a body of %d bytes for %d: got %v, want 400 or nothing", size-1, size, got)
		}
	}
	g.wantNothing()
	if s := g.status("k"); s.Version != "" {
		t.Errorf("the index knows of a key that was never written: %+v", s)
	}
}

// A body ends where its Content-Length says. What comes behind it is taken for the
// next request, as HTTP has it, and as garbage ends the connection.
func TestBytesBehindTheBodyDoNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for i, rest := range []string{"and more", "\x00\x01\x02", "PUT ", "DELETE /objects/k\r\n\r\n", " /objects/k HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		key := fmt.Sprintf("k%d", i)
		got := g.speak("PUT /objects/" + key + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nfirst" + rest)
		if len(got) == 0 || got[0] != 201 || len(got) > 2 || len(got) == 2 && got[1] != 400 {
			t.Errorf("a body with %q behind it: got %v, want 201, then 400 or nothing", rest, got)
		}
		g.wantObject(key, "first")
	}
	if n := len(objects(g.A, bucketA)); n != 5 {
		t.Errorf("A holds %d objects, want 5", n)
	}
}

// Two lengths, or a length and chunks, are two opinions on where a request ends.
func TestAmbiguousFramingIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for name, head := range map[string]string{
		"two lengths":         "Content-Length: 5\r\nContent-Length: 6\r\n",
		"negative length":     "Content-Length: -5\r\n",
		"length of words":     "Content-Length: five\r\n",
		"unknown encoding":    "Transfer-Encoding: gzip, chunked\r\n",
		"no host":             "X-No-Host: 1\r\n",
		"bad header":          "Content-Length : 5\r\n",
		"length of two parts": "Content-Length: 5, 6\r\n",
	} {
		host := "Host: localhost\r\n"
		if name == "no host" {
			host = ""
		}
		got := g.speak("PUT /objects/k HTTP/1.1\r\n" + host + head + "\r\nfirst!")
		if len(got) == 0 || got[0] < 400 {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
	// A chunk that is not what it says it is.
	for _, body := range []string{"5\r\nfirst", "zz\r\nfirst\r\n0\r\n\r\n", "6\r\nfirst\r\n0\r\n\r\n", "5\r\nfirst\r\n"} {
		got := g.speak("PUT /objects/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
		if len(got) > 0 && got[0] != 400 {
			t.Errorf("chunks %q: got %v, want 400 or nothing", body, got)
		}
	}
	g.wantNothing()
}

// Headers that would not fit are refused rather than held.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	got := g.speak("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")
	if len(got) == 0 || got[0] != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of header: got %v, want 431", got)
	}
	key := strings.Repeat("%F0%9F%8C%8D", 256) // 1,024 bytes in 3,072
	got = g.speak("PUT /objects/" + key + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nx-amz-meta-m: " + strings.Repeat("m", 2000) + "\r\n\r\nx")
	if len(got) == 0 || got[0] != 201 {
		t.Errorf("the longest key with the most metadata: got %v, want 201", got)
	}
}

// A client that expects 100 Continue learns of a refusal before it sends the body.
func TestRefusalComesBeforeTheBody(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	conn := g.dial()
	_, err := io.WriteString(conn, "PUT /objects/.tandem/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("got status %d, want 403 without 100 Continue", resp.StatusCode)
	}
}
