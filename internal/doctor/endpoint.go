package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/region"
)

const endpointCheck = "endpoint"

const (
	// certificateMargin is how long a certificate should be good for at least.
	certificateMargin = 14 * 24 * time.Hour
	// clockWarns and clockFails: S3 refuses signatures that are 15 minutes off.
	clockWarns = time.Minute
	clockFails = 15 * time.Minute
)

// route is how far a request came.
type route struct {
	mu        sync.Mutex // the trace is told on goroutines of the transport's
	address   string
	connected bool
	secured   *tls.ConnectionState
	dns, tcp  error
	tls       error
}

func (w *route) trace() *httptrace.ClientTrace {
	locked := func(do func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		do()
	}
	return &httptrace.ClientTrace{
		DNSDone: func(i httptrace.DNSDoneInfo) { locked(func() { w.dns = i.Err }) },
		ConnectDone: func(_, address string, err error) {
			locked(func() {
				w.tcp = err
				if err == nil {
					w.connected, w.address = true, address
				}
			})
		},
		GotConn: func(i httptrace.GotConnInfo) {
			locked(func() { w.connected, w.address = true, i.Conn.RemoteAddr().String() })
		},
		TLSHandshakeDone: func(c tls.ConnectionState, err error) {
			locked(func() {
				if w.tls = err; err == nil {
					w.secured = &c
				}
			})
		},
	}
}

// checkEndpoint sends the first request, and says of endpoint, credentials, bucket and clock what came of it.
func (s *session) checkEndpoint(ctx context.Context) {
	var w route
	page, err := s.r.List(httptrace.WithClientTrace(ctx, w.trace()), region.ListOptions{Limit: 1})
	_ = page // whether there is anything in the bucket is nobody's business here
	e, _ := errors.AsType[*region.Error](err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && (e == nil || e.Status == 0) {
		s.unreached(&w, err)
		return
	}
	s.reportEndpoint(&w)
	s.reportClock()
	if err == nil {
		s.add("credentials", OK, "", "accepted")
		s.add("bucket", OK, "", "%s is there, and can be listed", s.target.Region.Bucket)
		return
	}
	s.refused(ctx, e)
}

// unreached says where a request without an answer ended.
func (s *session) unreached(w *route, err error) {
	host := s.r.Endpoint()
	switch {
	case strings.Contains(err.Error(), "find credentials"):
		s.add(endpointCheck, Skipped, "", "nothing was sent")
		s.add("credentials", Failed, "set the region's ACCESS_KEY and SECRET_KEY, or a profile or role of AWS's", "%s", said(err))
	case w.dns != nil:
		s.add(endpointCheck, Failed, "check the name in the region's ENDPOINT, and this machine's DNS", "the name is not found: %v", w.dns)
	case w.tls != nil:
		s.add(endpointCheck, Failed, "check certificate and scheme (http or https) of the region's ENDPOINT; name an authority of your own in its CA_FILE", "no TLS with %s: %v", host, w.tls)
	case !w.connected:
		s.add(endpointCheck, Failed, "check host and port of the region's ENDPOINT, and what is between it and this machine", "no connection to %s: %s", host, said(err))
	default:
		s.add(endpointCheck, Failed, "check that the region's ENDPOINT is that of an S3, and is well", "%s takes the connection, and does not answer as an S3: %s", host, said(err))
	}
}

func (s *session) reportEndpoint(w *route) {
	u, err := url.Parse(s.r.Endpoint())
	switch {
	case err != nil:
		s.add(endpointCheck, Failed, "", "%v", err)
	case w.secured != nil:
		until := time.Time{}
		if certificates := w.secured.PeerCertificates; len(certificates) > 0 {
			until = certificates[0].NotAfter
		}
		found := fmt.Sprintf("%s answers, %s, certificate until %s", w.address, tls.VersionName(w.secured.Version), until.Format(time.DateOnly))
		if time.Until(until) < certificateMargin {
			s.add(endpointCheck, Warning, "renew the certificate: once it has run out the region is down", "%s", found)
			return
		}
		s.add(endpointCheck, OK, "", "%s", found)
	case u.Scheme == "http" && !isLoopback(w.address):
		s.add(endpointCheck, Warning, "everybody on the way can read and change what passes: use https", "%s answers, without TLS", w.address)
	default:
		s.add(endpointCheck, OK, "", "%s answers", w.address)
	}
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// reportClock: which of the two clocks is wrong nobody can tell from here.
func (s *session) reportClock() {
	ahead, ok := s.wire.clock()
	off := ahead.Abs().Round(time.Second)
	direction := "behind"
	if ahead > 0 {
		direction = "ahead of"
	}
	switch {
	case !ok:
		s.add("clock", Skipped, "", "the answers have no Date")
	case off >= clockFails:
		s.add("clock", Failed, "S3 refuses signatures that are 15 minutes off: set the wrong clock of the two (NTP)", "the region's is %v %s ours", off, direction)
	case off >= clockWarns:
		s.add("clock", Warning, "from 15 minutes on every request is refused: set the wrong clock of the two (NTP)", "the region's is %v %s ours", off, direction)
	default:
		s.add("clock", OK, "", "within %v of ours", max(off, time.Second))
	}
}

// refused says what the refusal of the first request is about.
func (s *session) refused(ctx context.Context, e *region.Error) {
	switch {
	case e.Code == "NoSuchBucket" || e.Status == 404:
		s.add("credentials", OK, "", "accepted")
		advice := "make the bucket, or correct the region's BUCKET"
		if s.report.ClientBucket != "" {
			advice = "make the bucket, or correct its name in the list of buckets"
		}
		s.add("bucket", Failed, advice, "%s does not exist", s.target.Region.Bucket)
	case e.Code == "PermanentRedirect" || e.Code == "AuthorizationHeaderMalformed" || e.Status == 301:
		where := "another region"
		if name := e.Header.Get("X-Amz-Bucket-Region"); name != "" {
			where = name
		}
		s.add("credentials", Failed, "set the region's REGION to the one that the bucket is in", "the bucket is in %s: %s", where, said(e))
	case e.Code == "RequestTimeTooSkewed":
		s.add("credentials", Failed, "set the wrong clock of the two (NTP)", "%s", said(e))
	case e.Code == "AccessDenied":
		s.denied(ctx, e)
	case e.Status == 403 || e.Status == 401 || e.Status == 400:
		s.add("credentials", Failed, "check the region's ACCESS_KEY and SECRET_KEY", "%s", said(e))
	default:
		s.add("bucket", Failed, "check that the region is well", "%s", said(e))
	}
}

// denied: the keys are good, or the answer would be another, but do not open enough.
func (s *session) denied(ctx context.Context, e *region.Error) {
	const grant = "let these credentials list the bucket (s3:ListBucket), and get, put, tag and delete its objects"
	if s.r.CheckBucket(ctx) == nil {
		s.add("credentials", OK, "", "accepted")
		s.add("bucket", Failed, grant, "it is there, and must not be listed: %s", said(e))
		return
	}
	s.add("credentials", Failed, grant, "%s", said(e))
}
