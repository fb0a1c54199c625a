// Package restapi is the REST front: objects as plain HTTP resources, their
// replication, the state of the gateway. It holds no rules of its own: it reads a
// request, calls the gateway, and writes what that answers.
//
// Every operation is one entry of a table (API.operations): what is served, the label of the metrics, who may ask, and
// the OpenAPI document follow from it.
package restapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/stats"
)

// Gateway is what the front needs of the core.
type Gateway interface {
	Put(ctx context.Context, key string, in gateway.PutInput) (gateway.Result, error)
	Delete(ctx context.Context, key string, h http.Header) (gateway.Result, error)
	Read(ctx context.Context, key string, in gateway.ReadInput) (*gateway.Read, error)
	List(ctx context.Context, in gateway.ListInput) (*gateway.Listing, error)
	Status(ctx context.Context, key string) (*gateway.KeyStatus, error)
	RegionStatuses(ctx context.Context) ([]gateway.RegionStatus, error)
	Resolve(ctx context.Context, r gateway.Resolution) error
	Await(ctx context.Context, r *gateway.Result, w gateway.Wait) bool
	Sign(ctx context.Context, in gateway.SignInput) (*gateway.Signed, error)
	SignedURLs(ctx context.Context, after int64, limit int) ([]gateway.SignedURL, error)
	State() gateway.State
	Regions() []string
}

// Config describes the front.
type Config struct {
	// Buckets are those that are served, of one name each. The first is meant by requests that name none. Required.
	Buckets []Bucket
	// Regions has every region of any bucket that is not removed, in the configured order. Required.
	Regions func() []string
	// Failover promotes. Required.
	Failover Failover
	// Records tells of failovers, conflicts and the audit chain. Required.
	Records Records
	// Keys are the access keys of S3 clients. Required.
	Keys Keys
	// Health of each region, in the configured order. Required.
	Health func() []health.Status
	// Uncompared is how many keys of a bucket were never compared in a region; known is false
	// while they are not counted. Default: never known.
	Uncompared func(bucket, region string) (keys int64, known bool)
	// Stats tells what was done, for /admin/stats. Required.
	Stats func(ctx context.Context) (stats.Report, error)
	// Checkpoint is the newest signed head of the audit chain. Default: none.
	Checkpoint func() string
	// Access decides who may ask. Required.
	Access *Access
	// Ready says why the gateway is not to be given work, nil where it is. Required.
	Ready func() error
	// FailoverMode as configured, for /admin/state.
	FailoverMode string
	// MaxJSONBytes bounds a JSON body. Required.
	MaxJSONBytes int64
	// IdleTimeout is how long a client may take to send or take the next bytes. Default 1 min.
	IdleTimeout time.Duration
	// MetricsHandler serves /metrics. Required.
	MetricsHandler http.Handler
	// Logger is required.
	Logger *slog.Logger
	// Metrics counts. Default: none.
	Metrics *Metrics
}

// API is the front's http.Handler.
type API struct {
	Config
	paths []path
	// document and page are made when they are first asked for.
	document, page func() ([]byte, error)
}

// New returns the front.
func New(cfg Config) (*API, error) {
	if len(cfg.Buckets) == 0 || cfg.Regions == nil || cfg.Failover == nil || cfg.Records == nil || cfg.Keys == nil || cfg.Health == nil || cfg.Stats == nil || cfg.Access == nil || cfg.Ready == nil ||
		cfg.MaxJSONBytes <= 0 || cfg.MetricsHandler == nil || cfg.Logger == nil {
		return nil, errors.New("restapi: Buckets, Regions, Failover, Records, Keys, Health, Stats, Access, Ready, MaxJSONBytes, MetricsHandler and Logger are required")
	}
	if err := checkBuckets(cfg.Buckets); err != nil {
		return nil, err
	}
	if cfg.Uncompared == nil {
		cfg.Uncompared = func(string, string) (int64, bool) { return 0, false }
	}
	if cfg.Checkpoint == nil {
		cfg.Checkpoint = func() string { return "" }
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Minute
	}
	a := &API{Config: cfg}
	a.paths = pathsOf(a.operations())
	a.document, a.page = sync.OnceValues(a.makeDocument), sync.OnceValues(a.makePage)
	return a, nil
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	rec := pace.NewWriter(w, a.IdleTimeout)
	op, err := a.find(r)
	defer func() {
		a.Metrics.observe(op.name, rec.Status(), time.Since(started))
		a.Logger.DebugContext(r.Context(), "request", "op", op.name, "method", r.Method, "status", rec.Status(),
			"elapsed", time.Since(started), "err", err)
	}()
	if err == nil {
		err = a.Access.check(r, op.area)
	}
	if err == nil {
		err = a.serve(op.serve, rec, r)
	}
	if err != nil {
		rec.Discard()
		a.problem(rec, r, err)
	}
}
