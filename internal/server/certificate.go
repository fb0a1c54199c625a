package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// CertificateConfig says where a certificate is.
type CertificateConfig struct {
	// CertFile and KeyFile are PEM files: the certificate with those between it and a root,
	// and its key. Required.
	CertFile, KeyFile string
	// Interval is how often the files are looked at. Default 5 s.
	Interval time.Duration
	// Logger is required.
	Logger *slog.Logger
	// Metrics shows when the certificate expires. Default: none.
	Metrics *Metrics
}

// Certificate is a certificate and its key, read again when their files change. Connections
// that are open keep the one that they began with. It is safe for concurrent use.
type Certificate struct {
	cfg     CertificateConfig
	current atomic.Pointer[tls.Certificate]

	// The rest belongs to Run.

	// served is what the current pair was read from, refused what was not fit to replace it.
	served, refused files
	isLogged        bool // so is why
}

// files is what both files held, or why one could not be read.
type files struct {
	cert, key []byte
	err       string
}

func (f files) equal(other files) bool {
	return f.err == other.err && bytes.Equal(f.cert, other.cert) && bytes.Equal(f.key, other.key)
}

// NewCertificate reads the pair. It fails where that cannot be served.
func NewCertificate(cfg CertificateConfig) (*Certificate, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" || cfg.Logger == nil {
		return nil, errors.New("server: CertFile, KeyFile and Logger are required")
	}
	c := &Certificate{cfg: cfg}
	c.cfg.Interval = cmp.Or(cfg.Interval, 5*time.Second)
	found := c.read()
	pair, err := found.pair()
	if err != nil {
		return nil, fmt.Errorf("read the certificate of the listener: %w", err)
	}
	c.serve(found, pair)
	return c, nil
}

// Run looks at the files until ctx ends. It compares what is in them: Kubernetes replaces
// mounted secrets by renaming a link somewhere above, and a copied file may keep its time.
func (c *Certificate) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.look()
		}
	}
}

// look serves what is in the files now, if it is fit for that.
func (c *Certificate) look() {
	found := c.read()
	if found.equal(c.served) {
		if c.isLogged {
			c.cfg.Logger.Info("the certificate's files hold the pair that is served again", "expires", c.current.Load().Leaf.NotAfter)
		}
		c.refused, c.isLogged = files{}, false
		c.cfg.Metrics.reloaded(true)
		return
	}
	pair, err := found.pair()
	if err == nil {
		c.serve(found, pair)
		c.cfg.Logger.Info("certificate replaced", "expires", pair.Leaf.NotAfter)
		return
	}
	// One file may be in place and the other not yet: only what is still wrong the next
	// time is a mistake.
	if isSettled := found.equal(c.refused); !isSettled || c.isLogged {
		c.isLogged = c.isLogged && isSettled
		c.refused = found
		return
	}
	c.isLogged = true
	c.cfg.Metrics.reloaded(false)
	c.cfg.Logger.Error("the certificate's files changed and cannot be served; the one from before is, until they are mended",
		"err", err, "expires", c.current.Load().Leaf.NotAfter)
}

func (c *Certificate) serve(found files, pair *tls.Certificate) {
	c.current.Store(pair)
	c.served, c.refused, c.isLogged = found, files{}, false
	c.cfg.Metrics.expires(pair.Leaf.NotAfter)
	c.cfg.Metrics.reloaded(true)
	if time.Now().After(pair.Leaf.NotAfter) {
		c.cfg.Logger.Warn("the certificate has expired: clients refuse it", "expires", pair.Leaf.NotAfter)
	}
}

func (c *Certificate) read() (f files) {
	var certErr, keyErr error
	f.cert, certErr = os.ReadFile(c.cfg.CertFile)
	f.key, keyErr = os.ReadFile(c.cfg.KeyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		f.err = err.Error()
	}
	return f
}

func (f files) pair() (*tls.Certificate, error) {
	if f.err != "" {
		return nil, errors.New(f.err)
	}
	pair, err := tls.X509KeyPair(f.cert, f.key)
	return &pair, err
}

func (c *Certificate) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
