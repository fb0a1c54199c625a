package health_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/regiontest"
)

// skewedTransport leads to a region whose clock is off.
type skewedTransport struct {
	http.RoundTripper
	skew *time.Duration
}

func (s skewedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Header.Set("Date", time.Now().Add(*s.skew).UTC().Format(http.TimeFormat))
	}
	return resp, err
}

// The answer to a HEAD has no body, so over the wire no code tells one 403 from another.
func TestASkewedClockIsShownAsWhatItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{"bucket"}})
		transport := &http.Transport{DialContext: regiontest.StartPipe(t, s)}
		t.Cleanup(transport.CloseIdleConnections)
		var skew time.Duration
		real, err := region.New(t.Context(), region.Config{
			Name: "a", Endpoint: "http://127.0.0.1", Bucket: "bucket", AccessKey: "key", SecretKey: "secret",
			Transport: skewedTransport{transport, &skew},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, health.Config{}, real.CheckBucket)
		r.want(t, "sound", health.Up, "")
		s.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Code: "RequestTimeTooSkewed"} })
		for _, c := range []struct {
			skew    time.Duration
			problem string
		}{
			{0, health.ProblemDenied}, {13 * time.Minute, health.ProblemDenied}, {15 * time.Minute, health.ProblemClock},
			{-15 * time.Minute, health.ProblemClock}, {-13 * time.Minute, health.ProblemDenied}, {24 * time.Hour, health.ProblemClock},
		} {
			skew = c.skew
			for range 4 {
				r.probe(real.CheckBucket)
				r.want(t, "a 403, clocks "+c.skew.String()+" apart", health.Up, c.problem)
			}
		}
		// Clocks that are apart are no problem while the region takes our signatures.
		s.SetFaults(nil)
		r.probe(real.CheckBucket)
		r.want(t, "clocks a day apart, no 403", health.Up, "")
	})
}

func TestARealRegionThatLeavesIsDownAndThatReturnsIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{"bucket"}})
		transport := &http.Transport{DialContext: regiontest.StartPipe(t, s)}
		t.Cleanup(transport.CloseIdleConnections)
		real, err := region.New(t.Context(), region.Config{
			Name: "a", Endpoint: "http://127.0.0.1", Bucket: "bucket", AccessKey: "key", SecretKey: "secret", Transport: transport,
		})
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, health.Config{}, real.CheckBucket)
		for name, leave := range map[string]func(){
			"cut": func() { s.SetDown(true) },
			"500": func() {
				s.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Status: 500} })
			},
			"hangs": func() {
				s.SetFaults(func(regiontest.Request) regiontest.Fault { return regiontest.Fault{Hang: make(chan struct{})} })
			},
		} {
			r.want(t, "before: "+name, health.Up, "")
			leave()
			time.Sleep(4*interval + 5*time.Second)
			r.want(t, name, health.Down, "")
			s.SetFaults(nil)
			s.SetDown(false)
			time.Sleep(4 * interval)
			r.want(t, "after: "+name, health.Up, "")
		}
	})
}
