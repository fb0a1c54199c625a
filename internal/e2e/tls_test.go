package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/certtest"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// mounted is a pair as Kubernetes mounts it: the files are links through a link, ..data, to the
// folder of the moment.
type mounted struct {
	dir string
	n   int
}

func (m *mounted) file(name string) string { return filepath.Join(m.dir, name) }

// replace puts another pair in place, all of it at once.
func (m *mounted) replace(t *testing.T, p certtest.Pair) {
	t.Helper()
	m.n++
	version := fmt.Sprintf("..%d", m.n)
	err := os.Mkdir(m.file(version), 0o700)
	p.Write(t, m.file(version))
	err = errors.Join(err, os.Symlink(version, m.file("..data_tmp")), os.Rename(m.file("..data_tmp"), m.file("..data")))
	if m.n == 1 {
		err = errors.Join(err, os.Symlink("..data/tls.crt", m.file("tls.crt")), os.Symlink("..data/tls.key", m.file("tls.key")))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startTLS runs a gateway that serves HTTPS, and a client that trusts it and speaks HTTP/2.
func startTLS(t *testing.T, authority *certtest.Authority, first certtest.Pair) (*gateway, *mounted) {
	t.Helper()
	m := &mounted{dir: t.TempDir()}
	m.replace(t, first)
	g := newGateway(t, append([]string{"TLS_CERT=" + m.file("tls.crt"), "TLS_KEY=" + m.file("tls.key")}, quick...)...)
	g.client = newTLSClient(t, authority, 2, false)
	g.start(t)
	if !strings.HasPrefix(g.url, "https://127.0.0.1:") {
		t.Fatalf("the gateway says that it serves %s", g.url)
	}
	return g, m
}

// newTLSClient speaks one version of HTTP, on connections that it keeps or not.
func newTLSClient(t *testing.T, authority *certtest.Authority, version int, closes bool) *http.Client {
	t.Helper()
	c := newClient(t)
	transport := c.Transport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{RootCAs: authority.Pool()}
	transport.DisableKeepAlives = closes
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(version == 1)
	transport.Protocols.SetHTTP2(version == 2)
	return c
}

// through is the gateway as another client sees it.
func (g *gateway) through(c *http.Client) *gateway {
	return &gateway{dir: g.dir, url: g.url, client: c, process: g.process}
}

// TestGatewayOverTLS: both versions of HTTP do what plain HTTP does, with the keys that are hard
// on paths, and TLS before 1.2 is refused.
func TestGatewayOverTLS(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t)
	g, _ := startTLS(t, authority, authority.Issue(t, time.Now().Add(time.Hour), "127.0.0.1"))
	for version := 1; version <= 2; version++ {
		c := g.through(newTLSClient(t, authority, version, false))
		resp, err := c.request(t.Context(), http.MethodGet, "/livez", nil, nil, 0)
		if err != nil {
			t.Fatalf("HTTP/%d: %v", version, err)
		}
		_ = resp.Body.Close()
		if resp.ProtoMajor != version {
			t.Errorf("HTTP/%d: the gateway answers with %s", version, resp.Proto)
		}
		for _, key := range []string{"plain", "with space and %", "ключ/☃", "a+b=c&d;e?f#g"} {
			key := fmt.Sprintf("%d/%s", version, key)
			c.putText(t, key, key)
			if a := c.get(t, key); string(a.body) != key || a.header.Get("X-Tandem-Region") != primary {
				t.Errorf("HTTP/%d: get %q: %s", version, key, a)
			}
			if a := c.do(t, http.MethodGet, object(key), http.Header{"Range": {"bytes=1-2"}}, nil, 0); a.status != http.StatusPartialContent || string(a.body) != key[1:3] {
				t.Errorf("HTTP/%d: a part of %q: %s", version, key, a)
			}
		}
		large := content{seed: byte(version), size: 20*mib + 1}
		for i, size := range []int64{large.size, unsized(large.size)} {
			key := fmt.Sprintf("%d/large/%d", version, i)
			c.put(t, key, large, size, nil)
			c.checkContent(t, key, large)
		}
		c.delete(t, fmt.Sprintf("%d/plain", version))
		if keys, _ := c.keys(t, fmt.Sprintf("%d/", version)); len(keys) != 5 {
			t.Errorf("HTTP/%d: %q are listed, want three and two large ones", version, keys)
		}
		if a := c.get(t, fmt.Sprintf("%d/plain", version)); a.status != http.StatusNotFound || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("HTTP/%d: get of what was deleted: %s", version, a)
		}
	}

	address := strings.TrimPrefix(g.url, "https://")
	for version, isSpoken := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: authority.Pool(), MinVersion: version, MaxVersion: version}}
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != isSpoken {
			t.Errorf("%s: %v, want it spoken: %v", tls.VersionName(version), err, isSpoken)
		}
	}
}

// TestCurlOverTLS asks as an operator does. curl is on every machine that the tests run on;
// where it is not, there is nobody to ask as.
func TestCurlOverTLS(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl here")
	}
	authority := certtest.NewAuthority(t)
	g, _ := startTLS(t, authority, authority.Issue(t, time.Now().Add(time.Hour), "127.0.0.1"))
	ask := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--noproxy", "*", "--max-time", "60"}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for option, version := range map[string]string{"--http1.1": "1.1", "--http2": "2"} {
		// Without --path-as-is curl would tidy up the key.
		url := g.url + "/objects/a//../" + version
		put, err := ask(option, "--path-as-is", "--cacert", authority.File, "-T", file, "-w", " HTTP/%{http_version}", url)
		if err != nil || !strings.HasSuffix(put, " HTTP/"+version) {
			t.Errorf("%s: put: %s (%v)", option, put, err)
		}
		if got, err := ask(option, "--cacert", authority.File, "-w", "%{http_code}", "-o", os.DevNull, g.url+"/healthz"); err != nil || got != "200" {
			t.Errorf("%s: healthz: %s (%v)", option, got, err)
		}
	}
	if got, err := ask(g.url + "/livez"); err == nil {
		t.Errorf("without the authority: %s", got)
	}
	if got, err := ask("--cacert", authority.File, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", g.url+"/livez"); err == nil {
		t.Errorf("with TLS 1.1: %s", got)
	}
	if got, err := ask("http" + strings.TrimPrefix(g.url, "https") + "/livez"); err != nil || !strings.Contains(got, "HTTPS") {
		t.Errorf("without TLS: %s (%v), want to be told", got, err)
	}
}

// TestCertificateIsReplacedUnderLoad: while clients of both versions of HTTP write and read, on
// connections that they keep and on new ones, and one upload takes all the while, the
// certificate is replaced, then by a pair that is broken, then by a good one. No request fails.
func TestCertificateIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t)
	issue := func(hours time.Duration) certtest.Pair {
		return authority.Issue(t, time.Now().Add(hours*time.Hour), "127.0.0.1")
	}
	first, second, third := issue(1), issue(2), issue(3)
	g, m := startTLS(t, authority, first)

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop()
	var requests [6]atomic.Int64 // of each client
	for i := range requests {
		c := g.through(newTLSClient(t, authority, 1+i%2, i/2 == 0 && i%2 == 0))
		key := fmt.Sprintf("client/%d", i)
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				text := fmt.Sprint(n)
				put, err := c.send(t.Context(), http.MethodPut, object(key), nil, strings.NewReader(text), int64(len(text)))
				if err != nil || put.status != http.StatusCreated {
					t.Errorf("client %d: put %d: %s (%v)", i, n, put, err)
					return
				}
				got, err := c.send(t.Context(), http.MethodGet, object(key), nil, nil, 0)
				if err != nil || string(got.body) != text {
					t.Errorf("client %d: get %d: %s (%v)", i, n, got, err)
					return
				}
				requests[i].Add(2)
			}
		})
	}
	large := content{seed: 1, size: 10 * mib}
	body := newGate(t, large.reader(), 5*mib)
	uploaded := g.upload(t, "large", body, large.size)
	receive(t, "half of the upload", body.reached)

	// moved waits until every client has been served some more.
	moved := func(when string) {
		var before [len(requests)]int64
		for i := range requests {
			before[i] = requests[i].Load()
		}
		eventually(t, "every client goes on "+when, func() bool {
			for i := range requests {
				if requests[i].Load() < before[i]+20 && !t.Failed() {
					return false
				}
			}
			return true
		})
	}
	expires := func() float64 { return g.metric(t, "tandem_tls_certificate_expiry_timestamp_seconds") }
	successful := func() float64 { return g.metric(t, "tandem_tls_certificate_last_reload_successful") }
	moved("at first")
	g.checkCertificate(t, authority, first)

	m.replace(t, second)
	eventually(t, "the second certificate is served", func() bool { return expires() == float64(second.Leaf.NotAfter.Unix()) })
	g.checkCertificate(t, authority, second)
	moved("with the second certificate")

	m.replace(t, certtest.Pair{Cert: third.Cert, Key: second.Key})
	eventually(t, "the pair that is broken is noticed", func() bool { return successful() == 0 })
	g.checkCertificate(t, authority, second)
	moved("beside a broken pair")

	m.replace(t, third)
	eventually(t, "the third certificate is served", func() bool { return successful() == 1 && expires() == float64(third.Leaf.NotAfter.Unix()) })
	g.checkCertificate(t, authority, third)
	moved("with the third certificate")

	body.open()
	if a := receive(t, "the end of the upload", uploaded); a.err != nil || a.status != http.StatusCreated {
		t.Errorf("the upload that took all the while: %s (%v)", a.answer, a.err)
	}
	stop()
	clients.Wait()
	g.checkContent(t, "large", large)
	if n := strings.Count(g.logs.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors are logged, want one, for the broken pair", n)
	}
	for _, p := range []certtest.Pair{first, second, third} {
		if strings.Contains(g.logs.String(), string(bytes.Split(p.Key, []byte("\n"))[1])) {
			t.Error("the log has a key")
		}
	}
}

// TestUploadThatIsResetIsNoObject: an HTTP/2 client that leaves in the middle of a body without a
// length has not sent an object, as one that closes its connection has not.
func TestUploadThatIsResetIsNoObject(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t)
	g, _ := startTLS(t, authority, authority.Issue(t, time.Now().Add(time.Hour), "127.0.0.1"))
	for _, size := range []int64{unsized(20 * mib), 20 * mib} {
		ctx, leave := context.WithCancel(t.Context())
		body := newGate(t, content{seed: 1, size: 20 * mib}.reader(), 10*mib)
		ended := make(chan error, 1)
		go func() {
			_, err := g.send(ctx, http.MethodPut, object("cut"), nil, body, size)
			ended <- err
		}()
		receive(t, "half of the body", body.reached)
		leave()
		if err := receive(t, "the end of the upload", ended); err == nil {
			t.Error("the upload was answered")
		}
		body.open()
		eventually(t, "the upload is given up", func() bool { return len(g.servers[primary].unfinished(t)) == 0 })
		if a := g.get(t, "cut"); a.status != http.StatusNotFound {
			t.Errorf("get of half an upload: %s", a)
		}
	}
	g.waitAtRest(t, "cut")
	if all := g.checkAgree(t); len(all) > 0 {
		t.Errorf("the regions hold %v", all)
	}
}

// TestRegionWithACertificateOfOnesOwn: the gateway, and the commands that ask regions themselves,
// trust PRIMARY_S3_CA_FILE; the keys are in files.
func TestRegionWithACertificateOfOnesOwn(t *testing.T) {
	embeddedOnly(t, "its region is its own")
	t.Parallel()
	authority := certtest.NewAuthority(t)
	issued := authority.Issue(t, time.Now().Add(time.Hour), "127.0.0.1")
	pair, err := tls.X509KeyPair(issued.Cert, issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	store := regiontest.NewServer(regiontest.Options{Buckets: []string{"gnew-primary"}, AccessKey: "AKIATEST"})
	server := httptest.NewUnstartedServer(store)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(func() {
		store.Close()
		server.Close()
	})
	dir := t.TempDir()
	for name, value := range map[string]string{"access": "AKIATEST\n", "secret": "hunter2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := start(t, "PRIMARY_S3_ENDPOINT="+server.URL, "PRIMARY_S3_CA_FILE="+authority.File,
		"PRIMARY_S3_ACCESS_KEY_FILE="+filepath.Join(dir, "access"), "PRIMARY_S3_SECRET_KEY_FILE="+filepath.Join(dir, "secret"))
	g.putText(t, "key", "text")
	if a := g.get(t, "key"); string(a.body) != "text" {
		t.Errorf("get: %s", a)
	}
	if _, ok := store.Object("gnew-primary", "key"); !ok {
		t.Error("the region has no such object")
	}
	verify := g.launch(t, []string{"audit", "verify", "--region", primary})
	receive(t, "the end of the verification", verify.ended)
	if verify.err != nil {
		t.Errorf("verify the chain against the region: %v: %s", verify.err, verify.stdout.String())
	}
	if strings.Contains(g.logs.String(), "hunter2") {
		t.Error("the log has a secret")
	}
}

// checkCertificate looks at what a new connection is given.
func (g *gateway) checkCertificate(t *testing.T, authority *certtest.Authority, want certtest.Pair) {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: authority.Pool()}}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]; !got.Equal(want.Leaf) {
		t.Errorf("a new connection is given the certificate that expires at %s, want %s", got.NotAfter, want.Leaf.NotAfter)
	}
}
