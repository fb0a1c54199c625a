package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/sigv4"
)

// trial is one request of testdata/differential.txt, whose comment says how it is written.
type trial struct {
	line              int
	kind, name        string
	method, target    string
	header            []string // "Name: value", in the order in which they are sent
	body              []byte
	hasBody           bool
	how               map[string]string // how it is signed, framed and spoiled
	classes           map[string]string // of differences that it has, beside those that every request may have; and what the gateway answers
	dropped, unsigned []string          // headers that are taken away, or added, once it is signed
}

// readTrials reads the requests, and counts them by kind.
func readTrials(t *testing.T) ([]trial, map[string]int) {
	t.Helper()
	data, err := os.ReadFile("testdata/differential.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []trial
	kind, counts, names := "", make(map[string]int), make(map[string]bool)
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "= "):
			kind = line[2:]
			continue
		}
		c, err := parseTrial(line)
		if err != nil || names[c.name] || kind == "" {
			t.Fatalf("differential.txt, line %d: %v (named before: %v)", i+1, err, names[c.name])
		}
		c.kind, c.line = kind, i+1
		counts[kind]++
		names[c.name] = true
		all = append(all, c)
	}
	return all, counts
}

func parseTrial(line string) (trial, error) {
	fields := strings.Split(line, " | ")
	if len(fields) < 2 {
		return trial{}, fmt.Errorf("%q has no request", line)
	}
	c := trial{name: strings.TrimSpace(fields[0]), how: make(map[string]string), classes: make(map[string]string)}
	var ok bool
	if c.method, c.target, ok = strings.Cut(strings.TrimSpace(fields[1]), " "); !ok {
		return c, fmt.Errorf("%q is no request", fields[1])
	}
	for _, f := range fields[2:] {
		f = strings.TrimSpace(f)
		switch {
		case strings.HasPrefix(f, "<@"):
			if c.body, ok = namedBodies()[f[2:]]; !ok {
				return c, fmt.Errorf("no body is named %q", f[2:])
			}
			c.hasBody = true
		case strings.HasPrefix(f, "<"):
			c.body, c.hasBody = []byte(f[1:]), true
		case strings.HasPrefix(f, "!drop "):
			c.dropped = append(c.dropped, f[6:])
		case strings.HasPrefix(f, "!add "):
			c.unsigned = append(c.unsigned, f[5:])
		case strings.HasPrefix(f, "!"):
			name, value, _ := strings.Cut(f[1:], "=")
			c.how[name] = value
		case strings.HasPrefix(f, "~"):
			class, answer, _ := strings.Cut(f[1:], "=")
			c.classes[class] = answer
		case strings.Contains(f, ":"):
			c.header = append(c.header, f)
		default:
			return c, fmt.Errorf("%q is no part of a request", f)
		}
	}
	return c, nil
}

// names reports whether the request may be about a key.
func (c trial) names(key string) bool {
	all := c.target + strings.Join(c.header, " ") + string(c.body[:min(len(c.body), 4<<10)])
	return strings.Contains(all, s3op.EscapePath(key)) || strings.Contains(all, key)
}

// namedBodies are those that do not fit into a line.
func namedBodies() map[string][]byte {
	many := func(n int, one string) string {
		var all strings.Builder
		for i := range n {
			fmt.Fprintf(&all, one, i+1)
		}
		return all.String()
	}
	return map[string][]byte{
		"64k":      bytes.Repeat([]byte("0123456789abcdef"), 4<<10),
		"1m":       bytes.Repeat([]byte("fedcba9876543210"), 64<<10),
		"part":     firstPart(),
		"del-1001": []byte("<Delete>" + many(1001, "<Object><Key>none-%d</Key></Object>") + "</Delete>"),
		"del-200":  []byte("<Delete>" + many(200, "<Object><Key>none-%d</Key></Object>") + "</Delete>"),
		"tags-11":  []byte("<Tagging><TagSet>" + many(11, "<Tag><Key>k%d</Key><Value>v</Value></Tag>") + "</TagSet></Tagging>"),
		"tags-10":  []byte("<Tagging><TagSet>" + many(10, "<Tag><Key>k%d</Key><Value>v</Value></Tag>") + "</TagSet></Tagging>"),
	}
}

// side is where a request is sent, and by whom.
type side struct {
	name        string
	host        string
	credentials sigv4.Credentials
	// ids are what this side called the fixture's uploads.
	ids map[string]string
	// parts are those that were seen of each upload.
	parts map[string]string
}

// fill puts what a side calls things where a case has a name in braces.
func (s *side) fill(text string) string {
	for name, value := range s.ids {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	for name, o := range fixtureObjects() {
		text = strings.ReplaceAll(text, "{etag:"+name+"}", md5Of(o.body))
	}
	for n, part := range [][]byte{firstPart(), lastPart()} {
		text = strings.ReplaceAll(text, fmt.Sprintf("{part%d}", n+1), md5Of(part))
	}
	return strings.ReplaceAll(text, "{bucket}", differentialBucket)
}

func md5Of(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

const signedFor = "us-east-1"

// wire is the request as it is sent, byte by byte. What cannot be parsed is not signed.
func (s *side) wire(c trial) ([]byte, error) {
	target, body := s.fill(c.target), c.body
	if !strings.HasPrefix(string(body[:min(len(body), 16)]), "0123456789") {
		body = []byte(s.fill(string(body)))
	}
	header := []string{"Host: " + s.host}
	isHostGiven, isLengthGiven := false, false
	for _, h := range c.header {
		name, _, _ := strings.Cut(strings.ToLower(h), ":")
		isHostGiven = isHostGiven || name == "host"
		isLengthGiven = isLengthGiven || name == "content-length" || name == "transfer-encoding"
	}
	if isHostGiven {
		header = nil
	}
	for _, h := range c.header {
		header = append(header, s.fill(h))
	}
	at := time.Now()
	if by, err := time.ParseDuration(c.how["at"]); err == nil {
		at = at.Add(by)
	}
	if _, ok := c.how["md5"]; ok {
		sum := md5.Sum(body)
		header = append(header, "Content-Md5: "+base64.StdEncoding.EncodeToString(sum[:]))
	}
	f, isFramed := framingOf(c, body)
	if isFramed {
		header = append(header, f.header()...)
		body = f.frame(at)
	}
	_, hasNoLength := c.how["no-length"]
	if (c.hasBody || c.method == http.MethodPut || c.method == http.MethodPost) && !isLengthGiven && !hasNoLength {
		header = append(header, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	header, target, err := s.signed(c, target, header, body, at)
	if err != nil {
		return nil, err
	}
	if isFramed {
		f.seed(s.credentials.SecretKey, header)
		body = f.frame(at)
	}
	if strings.EqualFold(headerOf(header, "Transfer-Encoding"), "chunked") {
		body = fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	if cut, ok := c.how["cut"]; ok { // the client leaves before the end
		n := 0
		_, _ = fmt.Sscan(cut, &n)
		body = body[:min(n, len(body))]
	}
	return slices.Concat([]byte(c.method+" "+target+" HTTP/1.1\r\n"+strings.Join(header, "\r\n")+"\r\n\r\n"), body), nil
}

func headerOf(header []string, name string) string {
	for _, h := range header {
		if n, value, _ := strings.Cut(h, ":"); strings.EqualFold(n, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// signed returns header and target as they are once the request is signed, and spoiled after that.
func (s *side) signed(c trial, target string, header []string, body []byte, at time.Time) ([]string, string, error) {
	if _, anonymous := c.how["anonymous"]; !anonymous {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.method + " " + target + " HTTP/1.1\r\n" + strings.Join(header, "\r\n") + "\r\n\r\n")))
		if err == nil {
			if header, target, err = s.sign(c, r, target, header, body, at); err != nil {
				return nil, "", err
			}
		} else if _, mayBeUnsigned := c.how["unparsed"]; !mayBeUnsigned {
			return nil, "", err
		}
	}
	for _, name := range c.dropped {
		header = slices.DeleteFunc(header, func(h string) bool {
			n, _, _ := strings.Cut(h, ":")
			return strings.EqualFold(n, name)
		})
	}
	for _, h := range c.unsigned {
		header = append(header, s.fill(h))
	}
	if old, ok := c.how["replace"]; ok {
		from, to, _ := strings.Cut(old, "=>")
		for i := range header {
			header[i] = strings.Replace(header[i], from, to, 1)
		}
		target = strings.Replace(target, from, to, 1)
	}
	return header, target, nil
}

func (s *side) sign(c trial, r *http.Request, target string, header []string, body []byte, at time.Time) ([]string, string, error) {
	who := s.credentials
	if key, ok := c.how["key"]; ok {
		who.AccessKey = key
	}
	if secret, ok := c.how["secret"]; ok {
		who.SecretKey = secret
	}
	who.SessionToken = c.how["token"]
	forRegion := signedFor
	if name, ok := c.how["region"]; ok {
		forRegion = name
	}
	sum := sha256.Sum256(body)
	payload := hex.EncodeToString(sum[:])
	if f, ok := framingOf(c, c.body); ok {
		payload = f.word
	}
	if word, ok := c.how["payload"]; ok {
		payload = word
	}
	if expires, ok := c.how["presign"]; ok {
		query := "X-Amz-Expires=" + expires
		if !strings.Contains(target, "?") {
			query = "?" + query
		} else {
			query = "&" + query
		}
		if expires == "" {
			query = ""
		}
		again, err := http.NewRequest(r.Method, "http://"+s.host+target+query, nil)
		if err != nil {
			return nil, "", err
		}
		again.Header = r.Header
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		uri, _, err := signer.PresignHTTP(context.Background(),
			aws.Credentials{AccessKeyID: who.AccessKey, SecretAccessKey: who.SecretKey, SessionToken: who.SessionToken}, again, "UNSIGNED-PAYLOAD", "s3", forRegion, at)
		return header, strings.TrimPrefix(uri, "http://"+s.host), err
	}
	var signer sigv4.Signer
	if err := signer.Sign(r, who, forRegion, payload, at); err != nil {
		return nil, "", err
	}
	for _, name := range []string{"X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token", "Authorization"} {
		if value := r.Header.Get(name); value != "" {
			header = append(header, name+": "+value)
		}
	}
	return header, target, nil
}

// send sends the request over a connection of its own.
func (s *side) send(c trial) (answer, error) {
	request, err := s.wire(c)
	if err != nil {
		return answer{}, fmt.Errorf("make the request: %w", err)
	}
	conn, err := net.Dial("tcp", s.host)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = conn.Write(request) // it may be answered before it was read
		if _, ok := c.how["cut"]; ok {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}()
	defer func() { conn.Close(); <-written }()
	from := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(from, &http.Request{Method: c.method})
		if err != nil {
			return answer{}, err
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		return answer{resp.StatusCode, resp.Header, body}, err
	}
}
