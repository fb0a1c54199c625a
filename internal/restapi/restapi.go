// Package restapi is the REST front: objects as plain HTTP resources, their
// replication, the state of the gateway. It holds no rules of its own: it reads a
// request, calls the gateway, and writes what that answers.
//
// Paths below /objects/ and /replication/ are taken apart by hand from the escaped
// path, because http.ServeMux would redirect keys such as "a//b" and "..".
package restapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/s3op"
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
	// Gateway answers. Required.
	Gateway Gateway
	// Failover promotes. Required.
	Failover Failover
	// Records tells of failovers, conflicts and the audit chain. Required.
	Records Records
	// Health of each region, in the configured order. Required.
	Health func() []health.Status
	// Uncompared is how many keys of a region were never compared; known is false while they
	// are not counted. Default: never known.
	Uncompared func(region string) (keys int64, known bool)
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
type API struct{ Config }

// New returns the front.
func New(cfg Config) (*API, error) {
	if cfg.Gateway == nil || cfg.Failover == nil || cfg.Records == nil || cfg.Health == nil || cfg.Stats == nil || cfg.Access == nil || cfg.Ready == nil ||
		cfg.MaxJSONBytes <= 0 || cfg.MetricsHandler == nil || cfg.Logger == nil {
		return nil, errors.New("restapi: Gateway, Failover, Records, Health, Stats, Access, Ready, MaxJSONBytes, MetricsHandler and Logger are required")
	}
	if cfg.Uncompared == nil {
		cfg.Uncompared = func(string) (int64, bool) { return 0, false }
	}
	if cfg.Checkpoint == nil {
		cfg.Checkpoint = func() string { return "" }
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Minute
	}
	return &API{cfg}, nil
}

// operation is a request that was recognised.
type operation struct {
	// name is the label of the metrics: one of a closed set.
	name  string
	area  Area
	serve func(http.ResponseWriter, *http.Request) error
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w), timeout: a.IdleTimeout}
	op, err := a.find(r)
	defer func() {
		a.Metrics.observe(op.name, rec.status, time.Since(started))
		a.Logger.DebugContext(r.Context(), "request", "op", op.name, "method", r.Method, "status", rec.status,
			"elapsed", time.Since(started), "err", err)
	}()
	if err == nil {
		err = a.Access.check(r, op.area)
	}
	if err == nil {
		err = op.serve(rec, r)
	}
	if err != nil {
		// What is left of the body is read on, a little, for the sake of the connection.
		_ = rec.control.SetReadDeadline(time.Now().Add(discardTimeout))
		a.problem(rec, r, err)
	}
}

// discardTimeout bounds the reading of a body that nobody wants.
const discardTimeout = 5 * time.Second

// find recognises a request by path and method.
func (a *API) find(r *http.Request) (operation, error) {
	path := r.URL.EscapedPath()
	if key, ok := strings.CutPrefix(path, "/objects/"); ok {
		return a.findObject(r, key)
	}
	if key, ok := strings.CutPrefix(path, "/replication/"); ok {
		return byMethod(r, map[string]operation{
			http.MethodGet: {"GetReplication", Objects, a.withKey(key, a.getReplication)},
		})
	}
	for prefix, find := range map[string]func(*http.Request, string) (operation, error){
		"/admin/failovers/": a.findFailover, "/admin/conflicts/": a.findConflict, "/admin/regions/": a.findRegion,
	} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			return find(r, rest)
		}
	}
	get := func(name string, area Area, serve func(http.ResponseWriter, *http.Request) error) (operation, error) {
		op := operation{name, area, serve}
		return byMethod(r, map[string]operation{http.MethodGet: op, http.MethodHead: op})
	}
	switch path {
	case "/objects":
		return byMethod(r, map[string]operation{
			http.MethodGet:  {"ListObjects", Objects, a.listObjects},
			http.MethodPost: {"PostObject", Objects, a.postObject},
		})
	case "/sign":
		return byMethod(r, map[string]operation{http.MethodPost: {"Sign", Objects, a.postSign}})
	case "/admin/presigned":
		return get("ListPresigned", Admin, a.getPresigned)
	case "/admin/state":
		return get("GetState", Admin, a.getState)
	case "/admin/stats":
		return get("GetStats", Admin, a.getStats)
	case "/admin/failover/promote":
		return byMethod(r, map[string]operation{http.MethodPost: {"Promote", Admin, a.postPromote}})
	case "/admin/failovers":
		return get("ListFailovers", Admin, a.getFailovers)
	case "/admin/conflicts":
		return get("ListConflicts", Admin, a.getConflicts)
	case "/admin/audit":
		return get("ListAudit", Admin, a.getAudit)
	case "/healthz":
		return get("GetHealth", Open, a.getHealth)
	case "/livez":
		return get("GetLive", Open, a.getLive)
	case "/readyz":
		return get("GetReady", Open, a.getReady)
	case "/metrics":
		return get("GetMetrics", Monitoring, func(w http.ResponseWriter, r *http.Request) error {
			a.MetricsHandler.ServeHTTP(w, r)
			return nil
		})
	}
	return operation{name: "Unknown"}, s3op.NewError(s3op.NotFound, "NoSuchPath",
		"there is nothing at this path; see /objects, /replication/{key}, /sign, /healthz, /livez, /readyz, /metrics, "+
			"/admin/state, /admin/stats, /admin/failover/promote, /admin/failovers, /admin/conflicts, /admin/regions/{name}, /admin/presigned, /admin/audit")
}

func (a *API) findObject(r *http.Request, key string) (operation, error) {
	return byMethod(r, map[string]operation{
		http.MethodPut:    {"PutObject", Objects, a.withKey(key, a.putObject)},
		http.MethodGet:    {"GetObject", Objects, a.withKey(key, a.getObject)},
		http.MethodHead:   {"HeadObject", Objects, a.withKey(key, a.getObject)},
		http.MethodDelete: {"DeleteObject", Objects, a.withKey(key, a.deleteObject)},
	})
}

func byMethod(r *http.Request, operations map[string]operation) (operation, error) {
	if op, ok := operations[r.Method]; ok {
		return op, nil
	}
	return operation{name: "Unknown"}, &methodError{r.Method, operations}
}

// withKey reads the key, or the name, from the escaped path, byte for byte.
func (a *API) withKey(escaped string, serve func(w http.ResponseWriter, r *http.Request, key string) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		key, err := url.PathUnescape(escaped)
		if err != nil {
			return s3op.WrapError(s3op.Invalid, "InvalidURI", "the path is not percent-encoded as it should be", err)
		}
		return serve(w, r, key)
	}
}

// recorder remembers the status for metrics and log, and gives a client a deadline for
// the next bytes of any answer, rather than one for an answer of any size.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	status  int
}

// extend sets the deadline for what is written next. Nobody here takes it away: the end of
// an answer leaves after its handler has returned, and then the server does.
func (r *recorder) extend() { _ = r.control.SetWriteDeadline(time.Now().Add(r.timeout)) }

// WriteHeader begins the answer.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.extend()
	r.ResponseWriter.WriteHeader(status)
}

// writeBytes is what a client has to take within one deadline.
const writeBytes = 128 << 10

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	written := 0
	for {
		r.extend()
		n, err := r.ResponseWriter.Write(p[written:min(written+writeBytes, len(p))])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
