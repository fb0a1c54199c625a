package localregion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/versity/versitygw/s3api/utils"
)

const s3Region = "us-east-1"

// Config says what a [Region] needs.
type Config struct {
	// Name of the region, for logs and errors. Required.
	Name string
	// Dir is the region's folder. Required; made with mode 0700 where it does not exist.
	// The folder belongs to one gateway at a time.
	Dir string
	// Buckets are those that the region has once it serves, all in one process. Required, one at
	// least; names that S3 allows. A new name at the next start makes another bucket, and one that is
	// not named any more is kept.
	Buckets []string
	// Command is the argv of the child, to which Dir is appended; it has to end
	// in a call of [Serve]. Required. The child gets no environment but Go's own settings.
	Command []string
	// Logger gets what happens to the child, and what it prints at debug level. Required.
	Logger *slog.Logger
}

func (c Config) validate() error {
	var errs []error
	require := func(ok bool, field string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is missing", field))
		}
	}
	require(c.Name != "", "Name")
	require(c.Dir != "", "Dir")
	require(len(c.Command) > 0, "Command")
	require(c.Logger != nil, "Logger")
	require(len(c.Buckets) > 0, "Buckets")
	for _, name := range c.Buckets {
		if !utils.IsValidBucketName(name) {
			errs = append(errs, fmt.Errorf("bucket name %q is not one that S3 allows", name))
		}
	}
	return errors.Join(errs...)
}

// Region is an embedded region, seen from the process that owns it. Its methods
// are safe for concurrent use.
type Region struct {
	name     string
	dir      string // absolute: the child changes its working directory
	command  []string
	log      *slog.Logger
	settings settings

	mu struct {
		sync.Mutex
		running bool
		pid     int           // 0 when there is no child
		ready   chan struct{} // closed while the child serves
		died    error         // why the last child died, nil before
	}
}

// New makes the region's folder, its port and its key pair, or reads those that
// the folder has. It starts nothing.
func New(c Config) (*Region, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("configure embedded region %q: %w", c.Name, err)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open embedded region %q: %w", c.Name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open embedded region %q: %w", c.Name, err)
	}
	s, err := openSettings(dir, c.Buckets)
	if err != nil {
		return nil, fmt.Errorf("open embedded region %q: %w", c.Name, err)
	}
	r := &Region{
		name:     c.Name,
		dir:      dir,
		command:  slices.Concat(c.Command, []string{dir}),
		log:      c.Logger.With("region", c.Name),
		settings: s,
	}
	r.mu.ready = make(chan struct{})
	return r, nil
}

// Endpoint returns the URL of the region, the same after every restart.
func (r *Region) Endpoint() string { return "http://" + r.settings.address() }

// S3Region returns the region name that requests have to be signed for.
func (r *Region) S3Region() string { return s3Region }

// Credentials returns the key pair of the region, the same after every restart.
func (r *Region) Credentials() (accessKey, secretKey string) {
	return r.settings.AccessKey, r.settings.SecretKey
}

// PID returns the process id of the child, or 0 when there is none.
func (r *Region) PID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.pid
}

// CheckKey is the function [CheckKey] for this very folder: where metadata is kept in
// files of its own, a few keys more have no place.
func (r *Region) CheckKey(key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if r.settings.Metadata == metadataSidecar && strings.Contains("/"+key, "/meta/") {
		return errors.New(`key has a segment "meta", where this embedded region keeps metadata`)
	}
	return nil
}

// WaitReady returns nil when the child takes requests and the buckets exist, or
// an error when ctx ends before, with the reason of the last child's death if one
// has died. A child that was killed a moment ago may still be taken for ready.
func (r *Region) WaitReady(ctx context.Context) error {
	r.mu.Lock()
	ready := r.mu.ready
	r.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.died != nil {
		return fmt.Errorf("wait for embedded region %q: %w; its server died: %w", r.name, context.Cause(ctx), r.mu.died)
	}
	return fmt.Errorf("wait for embedded region %q: %w", r.name, context.Cause(ctx))
}
