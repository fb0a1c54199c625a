package localregion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofrs/flock"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const (
	maxParts       = 10_000
	maxCopyBytes   = 5 << 30
	maxConnections = 4096
	maxRequests    = 1024 // beyond it the server answers 503 SlowDown

	lockTimeout = 20 * time.Second
	lockRetry   = 20 * time.Millisecond
)

// Serve serves the region in dir until stdin ends, ctx ends, or the server fails. It is
// the whole work of a child of [Region.Run], called once in a process that has nothing else
// to do: it changes the working directory, ignores SIGINT, SIGTERM and SIGHUP,
// and the goroutine that reads stdin lives until stdin ends.
//
// It writes to stdout when it serves and to stderr why it failed; the error it
// returns is the same, for the exit status, and need not be printed.
func Serve(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, dir string) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	err := serve(ctx, stdout, dir)
	if err != nil {
		fmt.Fprintln(stderr, failedPrefix+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return err
}

func serve(ctx context.Context, stdout io.Writer, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	s, err := readSettings(dir)
	if err != nil {
		return err
	}
	lock, err := lockFolder(ctx, dir)
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	be, err := openStore(ctx, dir, s)
	if err != nil {
		return err
	}
	defer be.Shutdown()
	return listenAndServe(ctx, stdout, dir, s, be)
}

// lockFolder makes sure that no other process serves the folder. It waits a little: the
// child of a parent that was killed may still be finishing its requests. It returns nil
// when ctx ended first.
func lockFolder(ctx context.Context, dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	waitCtx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	_, err := lock.TryLockContext(waitCtx, lockRetry)
	switch {
	case err == nil:
		return lock, nil
	case ctx.Err() != nil:
		return nil, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("folder %s is served by another process: stop that gateway, or give this one another folder", dir)
	default:
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
}

// listenAndServe answers requests until ctx ends, then finishes those it has.
func listenAndServe(ctx context.Context, stdout io.Writer, dir string, s settings, be *store) error {
	root := auth.Account{Access: s.AccessKey, Secret: s.SecretKey, Role: auth.RoleAdmin}
	listening := make(chan struct{})
	server, err := s3api.New(be,
		middlewares.RootUserConfig{Access: s.AccessKey, Secret: s.SecretKey}, s3Region,
		auth.NewIAMServiceSingle(root), nil, nil, nil, nil,
		s3api.WithQuiet(),
		s3api.WithCORSAllowOrigin(anyOrigin),
		s3api.WithMiddleware("/", answerAnyOrigin()),
		s3api.WithKeepAlive(),
		s3api.WithMpMaxParts(maxParts),
		s3api.WithConcurrencyLimiter(maxConnections, maxRequests),
		s3api.WithOnListen(func() { close(listening) }),
	)
	if err != nil {
		return fmt.Errorf("set up server: %w", err)
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeMultiPort([]string{s.address()}) }()
	select {
	case err := <-served:
		return explainListen(err, dir, s)
	case <-listening: // the server can be shut down only from here on
		fmt.Fprintln(stdout, readyLine)
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.address(), err)
	case <-ctx.Done():
	}
	if err := server.ShutDown(); err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	return <-served
}

// anyOrigin may use the region from a web page: what it may do there its presigned URL says, and nothing else does.
const anyOrigin = "*"

// answerAnyOrigin lets a page read every answer. The server by itself keeps refusals of reads from it, so that an
// expired URL would look like a network that fails.
func answerAnyOrigin() fiber.Handler {
	allow := middlewares.ApplyDefaultCORS(anyOrigin)
	return func(ctx fiber.Ctx) error {
		err := ctx.Next()
		if err == nil && ctx.Method() != fiber.MethodOptions {
			return allow(ctx) // which adds what is not there
		}
		return err
	}
}

func explainListen(err error, dir string, s settings) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d, kept in %s, is in use by another program: stop that program, "+
			"or stop the gateway and write another port into that file", s.Port, filepath.Join(dir, settingsFile))
	}
	return err
}
