package region_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/certtest"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// serveTLS serves a region with a certificate of the authority, and returns its port.
func serveTLS(t *testing.T, authority *certtest.Authority, hosts ...string) (port string) {
	t.Helper()
	issued := authority.Issue(t, time.Now().Add(time.Hour), hosts...)
	pair, err := tls.X509KeyPair(issued.Cert, issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	s := regiontest.NewServer(regiontest.Options{Buckets: []string{bucket}})
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug) // clients that do not trust it are the point
	server.StartTLS()
	t.Cleanup(func() {
		s.Close()
		server.Close()
	})
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func trusting(file string) func(*region.Config) {
	return func(c *region.Config) { c.CAFile = file }
}

func TestRegionOfAnAuthorityOfOnesOwn(t *testing.T) {
	authority, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
	endpoint := at("https://127.0.0.1:" + serveTLS(t, authority, "127.0.0.1"))
	putAndGet(t, newRegion(t, endpoint, trusting(authority.File)))

	elsewhere := at("https://127.0.0.1:" + serveTLS(t, authority, "192.0.2.1"))
	for name, r := range map[string]*region.Region{
		"nobody told of the authority": newRegion(t, endpoint),
		"another authority":            newRegion(t, endpoint, trusting(other.File)),
		"another host":                 newRegion(t, elsewhere, trusting(authority.File)),
	} {
		_, err := r.Put(t.Context(), "key", nil, strings.NewReader("x"), 1)
		if region.OutcomeOf(err) != region.NotSent || !strings.Contains(fmt.Sprint(err), "certificate") {
			t.Errorf("%s: got %v, want an error about the certificate, and nothing sent", name, err)
		}
	}
}

func TestAuthoritiesThatCannotBeReadAreRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + "x"} {
		c := region.Config{Name: "primary", Endpoint: "https://127.0.0.1:1", Bucket: bucket, AccessKey: "AKIATEST", SecretKey: "secret", CAFile: file}
		if _, err := region.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v, want an error that names %s", err, file)
		}
	}
}

// proxy is one that tunnels, and the tunnels it was asked for. All lead to one address.
type proxy struct {
	mu      sync.Mutex
	asked   []string
	target  string
	refuses bool
}

const proxyUser = "user:hunter2"

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(proxyUser)) || p.refuses {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	to, err := net.Dial("tcp", p.target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	if _, err := io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var copying sync.WaitGroup
	copying.Go(func() {
		_, _ = io.Copy(to, buffered)
		_ = to.Close()
	})
	_, _ = io.Copy(from, to)
	_ = from.Close()
	copying.Wait()
}

func (p *proxy) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// apart runs the role below in a process of its own, whose environment is read anew.
func apart(t *testing.T, endpoint, caFile string, env ...string) (said string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRoleOfAProcessApart$", "-test.count=1")
	cmd.Env = append([]string{roleEndpoint + "=" + endpoint, roleCAFile + "=" + caFile, "HOME=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const (
	roleEndpoint = "TANDEM_TEST_ENDPOINT"
	roleCAFile   = "TANDEM_TEST_CA_FILE"
	roleIdentity = "TANDEM_TEST_IDENTITY"
)

// TestRoleOfAProcessApart is what apart runs: some requests to a region, to one of its own
// where it is told of none.
func TestRoleOfAProcessApart(t *testing.T) {
	endpoint, caFile := os.Getenv(roleEndpoint), os.Getenv(roleCAFile)
	if endpoint == "" {
		authority := certtest.NewAuthority(t)
		endpoint, caFile = "https://127.0.0.1:"+serveTLS(t, authority, "127.0.0.1"), authority.File
	}
	edits := []func(*region.Config){at(endpoint), trusting(caFile), func(c *region.Config) { c.ForcePathStyle, c.S3Region = true, "eu-west-1" }}
	if identity := os.Getenv(roleIdentity); identity != "" { // TestMain leaves no AWS variable there
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", identity)
		t.Setenv("AWS_ROLE_ARN", roleARN)
		edits = append(edits, withoutKeys)
	}
	r := newRegion(t, edits...)
	_, err := r.Put(t.Context(), "key", nil, bytes.NewReader([]byte("x")), 1)
	if err != nil && region.OutcomeOf(err) != region.NotSent {
		t.Errorf("outcome %v, want that nothing was sent", region.OutcomeOf(err))
	}
	if err != nil {
		t.Fatal(err)
	}
	putAndGet(t, r)
}

// A proxy of the environment is used, also with a password, and NO_PROXY is followed. The name
// of the region is the proxy's to resolve; 0.0.0.0, where this machine listens too, is none
// of the addresses that Go never asks a proxy for.
func TestRegionIsReachedThroughTheProxyOfTheEnvironment(t *testing.T) {
	authority := certtest.NewAuthority(t)
	port := serveTLS(t, authority, "store.example", "0.0.0.0")
	for _, c := range []struct {
		name, endpoint, noProxy string
		refuses, fails          bool
		want                    []string
	}{
		{"a name", "https://store.example", "", false, false, []string{"CONNECT store.example:443"}},
		{"a name and a port", "https://store.example:8443", "", false, false, []string{"CONNECT store.example:8443"}},
		{"an address", "https://0.0.0.0:" + port, "", false, false, []string{"CONNECT 0.0.0.0:" + port}},
		{"an address without a proxy", "https://0.0.0.0:" + port, "0.0.0.0", false, false, nil},
		{"a proxy that refuses", "https://store.example", "", true, true, []string{"CONNECT store.example:443"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &proxy{target: "127.0.0.1:" + port, refuses: c.refuses}
			server := httptest.NewServer(p)
			defer server.Close()
			said, err := apart(t, c.endpoint, authority.File,
				"HTTPS_PROXY=http://"+proxyUser+"@"+strings.TrimPrefix(server.URL, "http://"), "NO_PROXY="+c.noProxy)
			if (err != nil) != c.fails {
				t.Errorf("the requests ended with %v: %s", err, said)
			}
			if got := p.seen(); !slices.Equal(got, c.want) {
				t.Errorf("the proxy was asked for %q, want %q", got, c.want)
			}
			if strings.Contains(said, "hunter2") || strings.Contains(said, "outcome") {
				t.Errorf("the password of the proxy is shown, or the request counts as sent: %s", said)
			}
		})
	}
}

// Where AWS_REGION says nothing the token service of the region's own name is asked; through the
// proxy too, which here lets nobody pass.
func TestTokenServiceIsTheOneOfTheRegion(t *testing.T) {
	p := &proxy{refuses: true}
	server := httptest.NewServer(p)
	defer server.Close()
	authority := certtest.NewAuthority(t)
	said, err := apart(t, "https://127.0.0.1:1", authority.File, roleIdentity+"="+authority.File, "HTTPS_PROXY="+server.URL)
	if got := p.seen(); err == nil || len(got) == 0 || got[0] != "CONNECT sts.eu-west-1.amazonaws.com:443" {
		t.Errorf("the proxy was asked for %q, want the token service of eu-west-1: %v, %s", got, err, said)
	}
}

// The system's authorities are trusted still.
func TestAuthoritiesAreAddedToTheSystems(t *testing.T) {
	system, own, none := certtest.NewAuthority(t), certtest.NewAuthority(t), certtest.NewAuthority(t)
	for _, c := range []struct {
		issuer *certtest.Authority
		fails  bool
	}{{system, false}, {own, false}, {none, true}} {
		endpoint := "https://127.0.0.1:" + serveTLS(t, c.issuer, "127.0.0.1")
		if said, err := apart(t, endpoint, own.File, "SSL_CERT_FILE="+system.File, "SSL_CERT_DIR="+t.TempDir()); (err != nil) != c.fails {
			t.Errorf("the requests ended with %v, want them to fail: %v; %s", err, c.fails, said)
		}
	}
}
