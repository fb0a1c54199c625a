package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gnew/tandem/internal/certtest"
	"github.com/gnew/tandem/internal/server"
)

const interval = 5 * time.Second

// secret is a pair mounted as Kubernetes does it: tls.crt and tls.key are links through
// ..data, which is a link to the folder of the moment.
type secret struct {
	dir, cert, key string
	n              int
}

func newSecret(t *testing.T, p certtest.Pair) *secret {
	t.Helper()
	dir := t.TempDir()
	s := &secret{dir: dir, cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
	s.replace(t, p)
	for _, name := range []string{"tls.crt", "tls.key"} {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	return s
}

// replace puts another pair in place at once.
func (s *secret) replace(t *testing.T, p certtest.Pair) {
	t.Helper()
	s.n++
	version := filepath.Join(s.dir, strings.Repeat("x", s.n))
	must(t, os.Mkdir(version, 0o700))
	p.Write(t, version)
	link := filepath.Join(s.dir, "..data")
	must(t, os.Symlink(filepath.Base(version), link+"_tmp"))
	must(t, os.Rename(link+"_tmp", link))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logs are written by the server and read by a test.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tlsRig is a server with a certificate in a bubble.
type tlsRig struct {
	*pipes
	authority *certtest.Authority
	secret    *secret
	registry  *prometheus.Registry
	logs      *logs
	config    server.Config
}

func startTLS(t *testing.T, authority *certtest.Authority, first certtest.Pair) *tlsRig {
	t.Helper()
	r := &tlsRig{pipes: newPipes(), authority: authority, secret: newSecret(t, first), registry: prometheus.NewRegistry(), logs: new(logs)}
	logger := slog.New(slog.NewTextHandler(r.logs, nil))
	c, err := server.NewCertificate(server.CertificateConfig{
		CertFile: r.secret.cert, KeyFile: r.secret.key, Interval: interval, Logger: logger, Metrics: server.NewMetrics(r.registry),
	})
	must(t, err)
	r.config = server.Config{
		Certificate: c, Draining: func() {}, DrainTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
		Fronts: []server.Front{{Listener: r.pipes, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}},
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("run the certificate: %v", err)
		}
	})
	running.Go(func() {
		if err := server.Run(ctx, r.config); err != nil {
			t.Errorf("run the server: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return r
}

// handshake returns the state of a new connection, which is closed.
func (r *tlsRig) handshake(t *testing.T, cfg *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	conn, err := r.dial(t.Context(), "", "")
	must(t, err)
	cfg.RootCAs, cfg.ServerName = r.authority.Pool(), "localhost"
	client := tls.Client(conn, cfg)
	defer conn.Close()
	err = client.HandshakeContext(t.Context())
	return client.ConnectionState(), err
}

// served checks which certificate a new connection is given.
func (r *tlsRig) served(t *testing.T, when string, want certtest.Pair) {
	t.Helper()
	state, err := r.handshake(t, &tls.Config{})
	must(t, err)
	if !state.PeerCertificates[0].Equal(want.Leaf) {
		t.Errorf("%s: certificate %v is served, want %v", when, state.PeerCertificates[0].SerialNumber, want.Leaf.SerialNumber)
	}
}

// metrics are the values of the certificate's metrics.
func (r *tlsRig) metrics(t *testing.T) (expiry, successful float64) {
	t.Helper()
	families, err := r.registry.Gather()
	must(t, err)
	values := make(map[string]float64)
	for _, f := range families {
		values[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	return values["tandem_tls_certificate_expiry_timestamp_seconds"], values["tandem_tls_certificate_last_reload_successful"]
}

func (r *tlsRig) checkMetrics(t *testing.T, when string, p certtest.Pair, successful float64) {
	t.Helper()
	if expiry, ok := r.metrics(t); expiry != float64(p.Leaf.NotAfter.Unix()) || ok != successful {
		t.Errorf("%s: metrics tell of expiry at %v and successful %v, want %v and %v", when, expiry, ok, p.Leaf.NotAfter.Unix(), successful)
	}
}

// errorsLogged counts log lines of that level.
func (r *tlsRig) errorsLogged() int { return strings.Count(r.logs.String(), "level=ERROR") }

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestReplacedCertificateIsServedToNewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := certtest.NewAuthority(t)
		first := authority.Issue(t, time.Now().Add(time.Hour), "localhost")
		second := authority.Issue(t, time.Now().Add(2*time.Hour), "localhost")
		r := startTLS(t, authority, first)
		r.served(t, "at first", first)
		r.checkMetrics(t, "at first", first, 1)
		open, err := r.dial(t.Context(), "", "")
		must(t, err)
		conn := tls.Client(open, &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"})
		defer open.Close()
		must(t, conn.HandshakeContext(t.Context()))

		r.secret.replace(t, second)
		pass(interval)
		r.served(t, "after it was replaced", second)
		r.checkMetrics(t, "after it was replaced", second, 1)
		if r.errorsLogged() > 0 {
			t.Errorf("a good pair is an error:\n%s", r.logs)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			t.Errorf("the connection from before: %v", err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("the connection from before answers %q (%v)", answer, err)
		}
	})
}

func TestBrokenPairLeavesTheOldOneAndIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := certtest.NewAuthority(t)
		first := authority.Issue(t, time.Now().Add(time.Hour), "localhost")
		other := authority.Issue(t, time.Now().Add(2*time.Hour), "localhost")
		third := authority.Issue(t, time.Now().Add(3*time.Hour), "localhost")
		r := startTLS(t, authority, first)
		for i, broken := range []certtest.Pair{
			{Cert: other.Cert, Key: first.Key}, {Cert: []byte("x"), Key: first.Key}, {Cert: nil, Key: nil},
		} {
			r.secret.replace(t, broken)
			pass(10 * interval)
			r.served(t, "beside a broken pair", first)
			r.checkMetrics(t, "beside a broken pair", first, 0)
			if n := r.errorsLogged(); n != i+1 {
				t.Errorf("%d errors logged for %d broken pairs:\n%s", n, i+1, r.logs)
			}
		}
		must(t, os.Remove(filepath.Join(r.secret.dir, "..data")))
		pass(10 * interval)
		r.served(t, "without its files", first)
		if n := r.errorsLogged(); n != 4 {
			t.Errorf("%d errors logged, want one for the files that are gone:\n%s", n, r.logs)
		}
		if strings.Contains(r.logs.String(), "PRIVATE KEY") {
			t.Errorf("the log has a key:\n%s", r.logs)
		}
		r.secret.replace(t, first) // as it was
		pass(interval)
		r.checkMetrics(t, "with the first back", first, 1)
		r.secret.replace(t, third)
		pass(interval)
		r.served(t, "mended", third)
		r.checkMetrics(t, "mended", third, 1)
	})
}

// The two files are seldom replaced in one step.
func TestPairThatIsHalfInPlaceIsNoMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := certtest.NewAuthority(t)
		first := authority.Issue(t, time.Now().Add(time.Hour), "localhost")
		second := authority.Issue(t, time.Now().Add(2*time.Hour), "localhost")
		r := startTLS(t, authority, first)
		must(t, os.WriteFile(r.secret.cert, second.Cert, 0o600))
		pass(interval)
		r.served(t, "with half of the second", first)
		must(t, os.WriteFile(r.secret.key, second.Key, 0o600))
		pass(interval)
		r.served(t, "with all of the second", second)
		r.checkMetrics(t, "with all of the second", second, 1)
		if r.errorsLogged() > 0 {
			t.Errorf("half of a pair is an error:\n%s", r.logs)
		}
	})
}

func TestOldTLSIsRefusedAndHTTP2IsOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := certtest.NewAuthority(t)
		r := startTLS(t, authority, authority.Issue(t, time.Now().Add(time.Hour), "localhost"))
		for version, isSpoken := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			_, err := r.handshake(t, &tls.Config{MinVersion: version, MaxVersion: version})
			if (err == nil) != isSpoken {
				t.Errorf("%s: got %v, want it spoken: %v", tls.VersionName(version), err, isSpoken)
			}
		}
		for _, offered := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}, nil} {
			state, err := r.handshake(t, &tls.Config{NextProtos: offered})
			must(t, err)
			if want := append(offered, "")[0]; state.NegotiatedProtocol != want {
				t.Errorf("of %q, %q is spoken, want %q", offered, state.NegotiatedProtocol, want)
			}
		}
	})
}

// It is served all the same: some clients do not look, and the others say why they refuse it.
func TestExpiredCertificateIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := certtest.NewAuthority(t)
		r := startTLS(t, authority, authority.Issue(t, time.Now().Add(-time.Minute), "localhost"))
		if _, err := r.handshake(t, &tls.Config{}); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("the handshake ends with %v", err)
		}
		if n := strings.Count(r.logs.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want one:\n%s", n, r.logs)
		}
	})
}

func TestCertificateThatCannotBeServedIsRefusedAtOnce(t *testing.T) {
	authority := certtest.NewAuthority(t)
	a, b := authority.Issue(t, time.Now().Add(time.Hour), "localhost"), authority.Issue(t, time.Now().Add(time.Hour), "localhost")
	for name, p := range map[string]certtest.Pair{"two pairs": {Cert: a.Cert, Key: b.Key}, "nothing": {}} {
		certFile, keyFile := p.Write(t, t.TempDir())
		if _, err := server.NewCertificate(server.CertificateConfig{CertFile: certFile, KeyFile: keyFile, Logger: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
