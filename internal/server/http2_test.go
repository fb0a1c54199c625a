package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/certtest"
	"github.com/gnew/tandem/internal/server"
)

// Over HTTP/2 a drain waits for the requests of a connection as it does for connections: what
// is under way ends well, or is cut after the time-out, which is an error.
func TestDrainOverHTTP2(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		isCut bool
	}{{30 * time.Second, false}, {10 * time.Minute, true}} {
		synctest.Test(t, func(t *testing.T) {
			authority := certtest.NewAuthority(t) // of the bubble's time
			certFile, keyFile := authority.Issue(t, time.Now().Add(time.Hour), "localhost").Write(t, t.TempDir())
			certificate, err := server.NewCertificate(server.CertificateConfig{CertFile: certFile, KeyFile: keyFile, Logger: slog.New(slog.DiscardHandler)})
			must(t, err)
			p := newPipes()
			ctx, drain := context.WithCancel(t.Context())
			defer drain()
			ended := make(chan error, 1)
			go func() {
				ended <- server.Run(ctx, server.Config{
					Certificate: certificate, Draining: func() {}, DrainTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
					Fronts: []server.Front{{Listener: p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						select {
						case <-time.After(c.takes):
						case <-r.Context().Done():
						}
						_, _ = io.WriteString(w, "done")
					})}},
				})
			}()
			protocols := new(http.Protocols)
			protocols.SetHTTP2(true)
			transport := &http.Transport{Protocols: protocols, DialContext: p.dial, TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}
			defer transport.CloseIdleConnections()
			answered := make(chan error, 1)
			go func() {
				resp, err := (&http.Client{Transport: transport}).Get("https://localhost/")
				if err == nil {
					if resp.ProtoMajor != 2 {
						t.Errorf("the answer is in %s", resp.Proto)
					}
					_, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				answered <- err
			}()
			synctest.Wait()
			began := time.Now()
			drain()
			runErr, requestErr := <-ended, <-answered
			if (runErr != nil) != c.isCut || (requestErr != nil) != c.isCut {
				t.Errorf("a request of %s: the drain ended with %v, the request with %v", c.takes, runErr, requestErr)
			}
			if took := time.Since(began); took > time.Minute+time.Second {
				t.Errorf("the drain took %s", took)
			}
		})
	}
}
