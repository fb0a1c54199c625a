package region

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gnew/tandem/internal/s3op"
)

// Config describes a region and how to reach it.
type Config struct {
	// Name is the region's name in Tandem. Required.
	Name string
	// Endpoint is the S3 endpoint's URL, without a path. Empty means AWS's own
	// endpoint for S3Region.
	Endpoint string
	// PublicEndpoint is the endpoint that presigned URLs name, for clients that cannot reach Endpoint.
	// Default: Endpoint.
	PublicEndpoint string
	// S3Region is the name that requests are signed for. Default us-east-1.
	S3Region string
	// Bucket is the region's bucket. Required.
	Bucket string
	// AccessKey and SecretKey sign the requests. Both empty means the AWS SDK's
	// default credential chain.
	AccessKey, SecretKey string
	// ForcePathStyle puts the bucket into the path. It is so in any case where
	// the endpoint's host is an IP address or localhost.
	ForcePathStyle bool
	// CAFile is a PEM file of authorities to trust beside the system's. Default: none. A
	// Transport of one's own has its own.
	CAFile string
	// Timeout is how long the region may make no progress. Default 30 s.
	Timeout time.Duration
	// CheckKey says why the region cannot hold a legal key exactly, nil where it
	// can. Default: every legal key can be held.
	CheckKey func(key string) error
	// Admit says why no request is sent now, nil where it is: the breaker of a region that
	// is down. CheckBucket is sent in any case. Default: always nil.
	Admit func() error
	// Observed is told how each request that was sent has ended, nil where it was answered
	// with a success; it must not block. Default: nobody.
	Observed func(err error)
	// SameAs is another client of the same region: what one learns of it, both know. Default: none.
	SameAs *Region
	// Transport sends the requests. Default: a transport of its own, tuned for
	// many connections to one host.
	Transport http.RoundTripper
	// Metrics counts requests. Default: none.
	Metrics *Metrics
}

// Region is a client of one region's bucket.
type Region struct {
	name        string
	bucket      string
	base        *url.URL // scheme, host and, in path style, "/bucket"
	public      *url.URL // likewise, as presigned URLs name it
	s3Region    string
	credentials aws.CredentialsProvider
	signer      *v4.Signer
	transport   http.RoundTripper
	timeout     time.Duration
	checkKey    func(string) error
	metrics     *Metrics
	traffic     traffic
	admit       func() error
	observed    func(error)

	conditions *learned
}

// learned is what is known of the conditions that a region honours, and of what it takes.
type learned struct {
	// lock has a place for whoever holds it: the region may be asked meanwhile, and who
	// waits for that may leave.
	lock  chan struct{}
	known atomic.Pointer[Conditions]
	// trailers: it takes checksums behind a body.
	trailers atomic.Pointer[bool]
}

// New returns a client for the region; it makes no request. The context bounds
// the reading of the SDK's shared configuration where no keys are given.
func New(ctx context.Context, cfg Config) (*Region, error) {
	if cfg.Name == "" || cfg.Bucket == "" {
		return nil, errors.New("region: Name and Bucket are required")
	}
	r := &Region{
		name:      cfg.Name,
		bucket:    cfg.Bucket,
		s3Region:  cmp.Or(cfg.S3Region, "us-east-1"),
		signer:    v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		transport: cfg.Transport,
		timeout:   cmp.Or(cfg.Timeout, 30*time.Second),
		checkKey:  s3op.CheckKey,
		metrics:   cfg.Metrics,
		traffic:   cfg.Metrics.traffic(cfg.Name),
		admit:     cfg.Admit,
		observed:  cfg.Observed,
	}
	if r.admit == nil {
		r.admit = func() error { return nil }
	}
	if r.observed == nil {
		r.observed = func(error) {}
	}
	if cfg.CheckKey != nil {
		r.checkKey = func(key string) error { return cmp.Or(s3op.CheckKey(key), cfg.CheckKey(key)) }
	}
	var err error
	if r.base, err = baseURL(ctx, cfg, r.s3Region); err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	r.public = r.base
	if cfg.PublicEndpoint != "" {
		public := cfg
		public.Endpoint = cfg.PublicEndpoint
		if r.public, err = baseURL(ctx, public, r.s3Region); err != nil {
			return nil, fmt.Errorf("region %s: public endpoint: %w", cfg.Name, err)
		}
	}
	if r.transport == nil {
		roots, err := trusted(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
		}
		r.transport = newTransport(roots)
	}
	if r.credentials, err = credentialsFor(ctx, cfg, r.s3Region); err != nil {
		return nil, fmt.Errorf("region %s: read the AWS configuration: %w", cfg.Name, err)
	}
	r.conditions = &learned{lock: make(chan struct{}, 1)}
	if cfg.SameAs != nil {
		r.conditions = cfg.SameAs.conditions
	}
	return r, nil
}

// Name is the region's name in Tandem.
func (r *Region) Name() string { return r.name }

// Bucket is the name of the region's own bucket.
func (r *Region) Bucket() string { return r.bucket }

// Endpoint is the URL of the region's S3, without the bucket.
func (r *Region) Endpoint() string { return r.base.Scheme + "://" + r.base.Host }

// CheckKey returns nil when the region can hold the key exactly, else an *Error
// that wraps ErrKey.
func (r *Region) CheckKey(key string) error {
	if err := r.checkKey(key); err != nil {
		return r.refuseKey("CheckKey", err)
	}
	return nil
}

// CloseIdleConnections closes the connections on which nothing is under way. A region that is to stop waits for them.
func (r *Region) CloseIdleConnections() {
	if t, ok := r.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Admit says why no request is sent to the region now, nil where it is.
func (r *Region) Admit() error { return r.admit() }

func baseURL(ctx context.Context, cfg Config, s3Region string) (*url.URL, error) {
	if cfg.Endpoint == "" {
		params := s3.EndpointParameters{
			Region: aws.String(s3Region), Bucket: aws.String(cfg.Bucket), ForcePathStyle: aws.Bool(cfg.ForcePathStyle),
		}
		endpoint, err := s3.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, params)
		if err != nil {
			return nil, fmt.Errorf("find AWS's endpoint for %q: %w", s3Region, err)
		}
		return &endpoint.URI, nil
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse the endpoint: %w", err)
	}
	if cfg.ForcePathStyle || isAddress(u.Hostname()) {
		return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + cfg.Bucket}, nil
	}
	return &url.URL{Scheme: u.Scheme, Host: cfg.Bucket + "." + u.Host}, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// trusted returns the system's authorities and those of a file; nil, for the system's
// alone, where there is no file.
func trusted(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read the file of authorities: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's authorities: %w", err)
	}
	if !roots.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("the file of authorities, %s, has no certificate in PEM", caFile)
	}
	return roots, nil
}

// NewTransport returns a transport such as New makes by default; caFile is Config.CAFile.
func NewTransport(caFile string) (*http.Transport, error) {
	roots, err := trusted(caFile)
	if err != nil {
		return nil, err
	}
	return newTransport(roots), nil
}

// newTransport keeps as many connections as there are requests at once, and
// hands bodies on as they are. It follows HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
func newTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		MaxIdleConnsPerHost:   512,
		IdleConnTimeout:       90 * time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: roots},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		WriteBufferSize:       32 << 10,
		ReadBufferSize:        32 << 10,
	}
}
