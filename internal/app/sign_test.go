package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

type signed struct {
	URL, Method, Region string
	Headers             map[string]string
	ExpiresAt           time.Time
	Notes               []string
}

func (g *rig) sign(body string) response {
	return g.do(http.MethodPost, "/sign", strings.NewReader(body))
}

func (g *rig) mustSign(body string) signed {
	g.t.Helper()
	r := g.sign(body)
	if r.Status != http.StatusOK {
		g.t.Fatalf("sign %s: got %v", body, r)
	}
	return decode[signed](g.t, r)
}

func TestSignedURLIsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"PRESIGN_EXPIRES": "60", "SECONDARY_S3_PUBLIC_ENDPOINT": "https://objects.example:8443"}})
	for _, tt := range []struct {
		body, method, region, host string
		expires                    time.Duration
		contentType                string
	}{
		{`{"op":"get","key":"a/b c+d%é?#"}`, http.MethodGet, "primary", "127.0.0.1", time.Minute, ""},
		{`{"op":"put","key":"k","expiresSec":1}`, http.MethodPut, "primary", "127.0.0.1", time.Second, ""},
		{`{"op":"put","key":"k","region":"secondary","contentType":"text/plain","expiresSec":604800}`, http.MethodPut, "secondary", "objects.example", 7 * 24 * time.Hour, "text/plain"},
	} {
		before := time.Now()
		s := g.mustSign(tt.body)
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		left := s.ExpiresAt.Sub(before)
		if s.Method != tt.method || s.Region != tt.region || u.Hostname() != tt.host || s.Headers["Content-Type"] != tt.contentType || len(s.Notes) == 0 {
			t.Errorf("sign %s: got %+v", tt.body, s)
		}
		if left > tt.expires+time.Second || left < tt.expires-5*time.Second {
			t.Errorf("sign %s: it is good for %v", tt.body, left)
		}
	}
}

func TestSigningIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for body, code := range map[string]string{
		`{}`: "InvalidArgument", `{"op":"PUT","key":"k"}`: "InvalidArgument", `{"op":"get","key":""}`: "InvalidArgument",
		`{"op":"put","key":"k","region":"tertiary"}`: "InvalidArgument", `{"op":"put","key":"k","expiresSec":0}`: "InvalidArgument",
		`{"op":"put","key":"k","expiresSec":604801}`: "InvalidArgument", `{"op":"get","key":"k","contentType":"text/plain"}`: "InvalidArgument",
		`{"op":"put","key":"k","expiry":5}`: "MalformedJSON", `null`: "MalformedJSON",
	} {
		if r := g.sign(body); r.Status != http.StatusBadRequest || !strings.Contains(string(r.Body), code) {
			t.Errorf("sign %s: got %v, want 400 %s", body, r, code)
		}
	}
	wantProblem(t, g.sign(`{"op":"put","key":".tandem/region"}`), http.StatusForbidden, "AccessDenied")
	if open := g.state().Regions[0].OpenURLs; open.Count != 0 || open.Until != nil {
		t.Errorf("refused, and open all the same: %+v", open)
	}
}

// What is uploaded to such a replica could not be told from what it held before, or would be overwritten unseen.
func TestNoUploadIsSignedForAReplicaThatCannotGuardIt(t *testing.T) {
	t.Parallel()
	const wish = `{"op":"put","key":"k","region":"secondary"}`
	t.Run("never compared", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, options{unknown: true, prepare: func(_, b *regiontest.Server) { b.Put(bucketB, "before", []byte("x")) }})
		wantProblem(t, g.sign(wish), http.StatusConflict, "NotCompared")
		g.mustSign(`{"op":"get","key":"k","region":"secondary"}`)
	})
	t.Run("without conditional writes", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, options{b: regiontest.Options{NoConditions: true}})
		wantProblem(t, g.sign(wish), http.StatusConflict, "NotSupported")
		g.mustSign(`{"op":"put","key":"k"}`)
	})
}
