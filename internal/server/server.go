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
)

// Config describes a server.
type Config struct {
	// Listener accepts the connections. Required; Run closes it.
	Listener net.Listener
	// Handler serves the requests. Required.
	Handler http.Handler
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
	s := &http.Server{
		Handler:           cfg.Handler,
		ReadHeaderTimeout: cmp.Or(cfg.HeaderTimeout, 10*time.Second),
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	serve := s.Serve
	if cfg.Certificate != nil {
		s.TLSConfig = cfg.Certificate.tlsConfig()
		serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	go func() { failed <- serve(cfg.Listener) }()
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("serve: %w", err), s.Close())
	case <-ctx.Done():
	}
	cfg.Draining()
	notice := min(cfg.DrainTimeout/noticeShare, maxNotice)
	cfg.Logger.Info("draining", "reason", context.Cause(ctx), "timeout", cfg.DrainTimeout)
	time.Sleep(notice)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout-notice)
	defer cancel()
	err := s.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(fmt.Errorf("requests were cut after %s (DRAIN_TIMEOUT)", cfg.DrainTimeout), s.Close())
	}
	if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
