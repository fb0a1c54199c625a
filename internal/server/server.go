// Package server listens, bounds what clients may take, and drains.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config describes a server.
type Config struct {
	// Fronts are what is served. Required, at least one; Run closes their listeners.
	Fronts []Front
	// HeaderTimeout is how long a client may take for the header of a request. Default 10 s.
	HeaderTimeout time.Duration
	// DrainTimeout is how long requests under way may take once Run is to end.
	DrainTimeout time.Duration
	// Certificate makes it HTTPS: TLS 1.2 or later, and HTTP/2 for clients that offer it.
	// Default: HTTP/1.1 without TLS.
	Certificate *Certificate
	// Draining is told when draining begins, before the listener closes. Required.
	Draining func()
	// Logger is required.
	Logger *slog.Logger
}

// Front is a listener and what serves the requests that come there.
type Front struct {
	Listener net.Listener
	Handler  http.Handler
}

const (
	// maxHeaderBytes holds a key of 1,024 bytes, escaped, and S3's 2 KiB of user metadata, with room.
	maxHeaderBytes = 32 << 10
	idleTimeout    = 2 * time.Minute
	// noticeShare of the drain time-out is left for load balancers to see that the
	// gateway is not ready, at most maxNotice.
	noticeShare = 10
	maxNotice   = 2 * time.Second
)

// Run serves until ctx ends, then drains: first it says that it is not ready while
// it goes on serving, then it accepts no more and waits for what is under way. What has not
// ended within the DrainTimeout is cut, which is an error.
func Run(ctx context.Context, cfg Config) error {
	servers := make(servers, len(cfg.Fronts))
	failed := make(chan error, len(servers))
	for i, front := range cfg.Fronts {
		servers[i] = newServer(cfg, front.Handler)
		go func() { failed <- serve(servers[i], front.Listener) }()
	}
	select {
	case err := <-failed:
		err = errors.Join(fmt.Errorf("serve: %w", err), servers.close())
		for range len(servers) - 1 {
			<-failed
		}
		return err
	case <-ctx.Done():
	}
	cfg.Draining()
	notice := min(cfg.DrainTimeout/noticeShare, maxNotice)
	cfg.Logger.Info("draining", "reason", context.Cause(ctx), "timeout", cfg.DrainTimeout)
	time.Sleep(notice)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout-notice)
	defer cancel()
	err := servers.shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(fmt.Errorf("requests were cut after %s (DRAIN_TIMEOUT)", cfg.DrainTimeout), servers.close())
	}
	for range servers {
		if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
	}
	return err
}

func newServer(cfg Config, handler http.Handler) *http.Server {
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: cmp.Or(cfg.HeaderTimeout, 10*time.Second),
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	if cfg.Certificate != nil {
		s.TLSConfig = cfg.Certificate.tlsConfig()
	}
	return s
}

func serve(s *http.Server, l net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(l, "", "")
	}
	return s.Serve(l)
}

type servers []*http.Server

// shutdown waits for all of them at once.
func (s servers) shutdown(ctx context.Context) error {
	var all errgroup.Group
	for _, one := range s {
		all.Go(func() error { return one.Shutdown(ctx) })
	}
	return all.Wait()
}

func (s servers) close() error {
	var errs []error
	for _, one := range s {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
