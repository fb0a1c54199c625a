// Package app is the composition root: New builds a gateway from its
// configuration, Run runs it. The command, the tests and nothing else use it.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/disk"
	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/mark"
	"github.com/gnew/tandem/internal/reconcile"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/localregion"
	"github.com/gnew/tandem/internal/replicate"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/server"
	"github.com/gnew/tandem/internal/settle"
	"github.com/gnew/tandem/internal/stats"
)

// Options are what a configuration does not hold.
type Options struct {
	// RegionCommand is the argv with which an embedded region's process is started.
	// Required where one is configured.
	RegionCommand []string
	// Repair takes regions over whose marks are not this journal's, or newer: the journal was
	// restored from a backup. Default: such a gateway does not start.
	Repair bool
	// Started is told once the gateway serves, with its URL. Default: nobody.
	Started func(url string)
	// Listen opens where clients connect. Default: TCP, at the configured address.
	Listen func(ctx context.Context) (net.Listener, error)
	// Transport sends the requests to a region. Default: the region's own.
	Transport func(region string) http.RoundTripper
	// Random gives numbers in [0, 1), by which probes are spread. Default: random ones.
	Random func() float64
	// PartBytes is the size of the first parts of an upload. Default 8 MiB.
	PartBytes int64
	// Version is that of the build, for the metrics. Default "".
	Version string
	// Journal stands between the gateway and its journal: what it returns is used in place of
	// what it is given. Default: nothing does.
	Journal func(Journal) Journal
	// Logger is required.
	Logger *slog.Logger
}

// Journal is what the gateway keeps its books in.
type Journal interface {
	journal.Journal
	// MachineStopped reports whether the machine went down while the journal was open, until
	// TakeUpMachineStop records that this was seen to.
	MachineStopped() bool
	TakeUpMachineStop(ctx context.Context) error
	// Counts counts the rows of all buckets.
	Counts(ctx context.Context) (journal.Counts, error)
}

// App is a gateway that can be run once.
type App struct {
	cfg     config.Config
	opt     Options
	journal Journal
	locals  []*localregion.Region
	regions []*region.Region
	// watchers are clients of the same regions past their breakers, for those who find out
	// whether a region is to be trusted again.
	watchers   []*region.Region
	gateway    *gateway.Gateway
	replicator *replicate.Replicator
	settler    *settle.Settler
	uploads    *settle.Settler
	attacher   *reconcile.Attacher
	health     *health.Monitor
	marks      *mark.Keeper
	notary     *audit.Notary
	failover   *failover.Controller
	stats      *stats.Recorder
	api        *restapi.API
	// notReady is why /readyz says no, nil where it says yes.
	notReady atomic.Pointer[error]
	// certificate is the listener's, nil where it speaks plain HTTP.
	certificate *server.Certificate
}

var (
	errStarting = errors.New("the gateway is starting")
	errDraining = errors.New("the gateway is draining")
)

// New opens the journal and builds everything; it starts nothing but the journal's
// writer. Run closes what New has opened.
func New(ctx context.Context, cfg config.Config, opt Options) (_ *App, err error) {
	a := &App{cfg: cfg, opt: opt}
	a.notReady.Store(&errStarting)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// The statistics gather this one, so it has nothing that takes long to collect.
	counters := prometheus.NewRegistry()
	spoolDir := filepath.Join(cfg.DataDir, "spool")
	if err := os.MkdirAll(spoolDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	// The lock comes first: whoever does not own the journal touches nothing.
	a.journal, err = sqlite.Open(ctx, sqlite.Config{
		Path: cfg.DatabasePath, BootID: bootID(), Logger: opt.Logger, Metrics: sqlite.NewMetrics(counters),
	})
	if err != nil {
		return nil, err
	}
	if opt.Journal != nil {
		a.journal = opt.Journal(a.journal)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.journal.Close())
		}
	}()
	if err := a.leaveOutDetached(ctx); err != nil {
		return nil, err
	}
	if err := a.buildRegions(ctx, region.NewMetrics(counters)); err != nil {
		return nil, err
	}
	state, err := a.epoch(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.buildCore(state, spoolDir, registry, counters); err != nil {
		return nil, err
	}
	if err := a.attacher.Attach(ctx); err != nil {
		return nil, err
	}
	if err := a.buildFailover(ctx, registry, state); err != nil {
		return nil, err
	}
	return a, a.buildFront(registry, counters)
}

// leaveOutDetached: a region that was taken out stays out, whatever the configuration says.
func (a *App) leaveOutDetached(ctx context.Context) error {
	detached, err := a.journal.Detached(ctx, a.cfg.Bucket)
	if err != nil {
		return err
	}
	a.cfg.Regions = slices.DeleteFunc(slices.Clone(a.cfg.Regions), func(c config.Region) bool {
		if !slices.Contains(detached, c.Name) {
			return false
		}
		a.opt.Logger.WarnContext(ctx, "region was removed with `tandem regions remove`, and is left out: take it out of the configuration", "region", c.Name)
		return true
	})
	return nil
}

// buildRegions makes the clients of each region, and the process behind it where the
// region is embedded.
func (a *App) buildRegions(ctx context.Context, metrics *region.Metrics) error {
	for _, c := range a.cfg.Regions {
		rc := region.Config{
			Name: c.Name, Endpoint: c.Endpoint, PublicEndpoint: c.PublicEndpoint, S3Region: c.S3Region, Bucket: c.Bucket, AccessKey: c.AccessKey, SecretKey: c.SecretKey,
			ForcePathStyle: c.ForcePathStyle, CAFile: c.CAFile, Timeout: a.cfg.RegionTimeout, Metrics: metrics,
		}
		if a.opt.Transport != nil {
			rc.Transport = a.opt.Transport(c.Name)
		}
		if c.Embedded() {
			dir, err := filepath.Abs(c.EmbeddedDir)
			if err != nil {
				return fmt.Errorf("region %s: %w", c.Name, err)
			}
			local, err := localregion.New(localregion.Config{
				Name: c.Name, Dir: dir, Bucket: c.Bucket, Command: a.opt.RegionCommand, Logger: a.opt.Logger,
			})
			if err != nil {
				return fmt.Errorf("region %s: %w", c.Name, err)
			}
			a.locals = append(a.locals, local)
			rc.Endpoint, rc.S3Region, rc.CheckKey = local.Endpoint(), local.S3Region(), local.CheckKey
			rc.AccessKey, rc.SecretKey = local.Credentials()
		}
		watcher, err := region.New(ctx, rc)
		if err != nil {
			return err
		}
		rc.SameAs = watcher
		rc.Admit = func() error { return a.health.Admit(c.Name) }
		rc.Observed = func(err error) { a.health.Report(c.Name, err) }
		r, err := region.New(ctx, rc)
		if err != nil {
			return err
		}
		a.watchers, a.regions = append(a.watchers, watcher), append(a.regions, r)
	}
	return nil
}

// epoch is the journal's; the configuration decides only the first.
func (a *App) epoch(ctx context.Context) (journal.State, error) {
	state, err := a.journal.State(ctx)
	if err != nil {
		return state, err
	}
	if state.Epoch == 0 {
		return a.journal.BeginEpoch(ctx, 0, a.cfg.ActiveRegion)
	}
	if !slices.ContainsFunc(a.regions, func(r *region.Region) bool { return r.Name() == state.Active }) {
		return state, fmt.Errorf("the journal says that region %q is active, and it is not configured: configure it, or use another DATABASE_URL", state.Active)
	}
	if state.Active != a.cfg.ActiveRegion {
		a.opt.Logger.WarnContext(ctx, "the journal's active region is used, not ACTIVE_REGION: it was promoted", "active", state.Active, "configured", a.cfg.ActiveRegion)
	}
	return state, nil
}

func (a *App) buildCore(state journal.State, spoolDir string, registry, counters *prometheus.Registry) (err error) {
	// The journal may be on another file system than the rest of the data.
	guard := disk.NewGuard(a.cfg.MinFreeBytes, a.cfg.DataDir, filepath.Dir(a.cfg.DatabasePath))
	a.gateway, err = gateway.New(gateway.Config{
		Bucket: a.cfg.Bucket, Regions: a.regions, Journal: a.journal, State: state,
		AllowStaleReads: a.cfg.StaleReads == config.StaleReadsServe, MaxObjectBytes: a.cfg.MaxObjectBytes,
		AnswerTimeout: 2 * a.cfg.RegionTimeout, DoubtWindow: a.cfg.DoubtWindow, PartBytes: a.opt.PartBytes, SpoolDir: spoolDir,
		AdmitWrite:     guard.Check,
		Committed:      func() { a.replicator.Wake() },
		Unsettled:      func(string) { a.settler.Wake() },
		Signed:         func() { a.uploads.Wake() },
		PresignExpires: a.cfg.PresignExpires, PresignGrace: a.cfg.PresignGrace,
		Logger: a.opt.Logger, Metrics: gateway.NewMetrics(counters),
	})
	if err != nil {
		return err
	}
	settling := settle.Config{
		Bucket: a.cfg.Bucket, Regions: a.regions, Journal: a.journal, State: a.gateway.State,
		Check:    func(ctx context.Context, name string) error { return a.marks.Check(ctx, name) },
		Distrust: a.gateway.Distrust,
		Settled:  func() { a.replicator.Wake() }, Logger: a.opt.Logger, Metrics: settle.NewMetrics(registry),
	}
	if a.settler, err = settle.New(settling); err != nil {
		return err
	}
	settling.Keys, settling.MinInterval, settling.MaxInterval = a.journal.Presigned, minUploadLook, maxUploadLook
	if a.uploads, err = settle.New(settling); err != nil {
		return err
	}
	a.replicator, err = replicate.New(replicate.Config{
		Bucket: a.cfg.Bucket, Regions: a.regions, Journal: a.journal, State: a.gateway.State,
		Workers: a.cfg.ReplicationWorkers, DoubtWindow: a.cfg.DoubtWindow,
		Unsettled: func(key string) {
			a.gateway.Distrust(key)
			a.settler.Wake()
		},
		LeftOpen: a.gateway.LeftOpen, Copied: a.gateway.Copied,
		Logger: a.opt.Logger, Metrics: replicate.NewMetrics(counters),
	})
	if err != nil {
		return err
	}
	registry.MustRegister(&replicate.LagCollector{Journal: a.journal, Bucket: a.cfg.Bucket, Regions: a.gateway.Regions()})
	a.attacher = &reconcile.Attacher{
		Bucket: a.cfg.Bucket, Regions: activeFirst(a.regions, state.Active), Journal: a.journal,
		Forced: state.Uncompared, Compared: a.gateway.SetCompared, Logger: a.opt.Logger,
	}
	return nil
}

// How often a key that is open to a presigned URL is looked at: soon after that was signed, and later less often.
const (
	minUploadLook = time.Second
	maxUploadLook = 30 * time.Second
)

func activeFirst(regions []*region.Region, active string) []*region.Region {
	ordered := slices.Clone(regions)
	slices.SortStableFunc(ordered, func(x, y *region.Region) int {
		switch active {
		case x.Name():
			return -1
		case y.Name():
			return 1
		}
		return 0
	})
	return ordered
}

func (a *App) buildFront(registry, counters *prometheus.Registry) (err error) {
	if a.cfg.TLSCert != "" {
		a.certificate, err = server.NewCertificate(server.CertificateConfig{
			CertFile: a.cfg.TLSCert, KeyFile: a.cfg.TLSKey, Logger: a.opt.Logger, Metrics: server.NewMetrics(registry),
		})
		if err != nil {
			return err
		}
	}
	a.stats, err = stats.New(stats.Config{Counters: counters, Regions: a.gateway.Regions(), Rows: a.rows, Logger: a.opt.Logger})
	if err != nil {
		return err
	}
	registry.MustRegister(&stateCollector{
		version: a.opt.Version, regions: a.gateway.Regions, compared: a.gateway.ComparedRegions, regressed: a.gateway.RegressedRegions,
		counts: a.journal.Counts,
	})
	var tokens []string
	for _, t := range a.cfg.APITokens {
		tokens = append(tokens, t.Secret)
	}
	a.api, err = restapi.New(restapi.Config{
		Buckets: []restapi.Bucket{{Name: a.cfg.Bucket, Gateway: a.gateway}}, Regions: a.gateway.Regions,
		Access:   restapi.NewAccess(a.cfg.AdminToken, tokens, a.cfg.Loopback()),
		Ready:    func() error { return *a.notReady.Load() },
		Failover: a.failover, Records: a.journal, Health: a.health.Statuses, Stats: a.stats.Report, Checkpoint: a.notary.Latest,
		Uncompared:   func(_, region string) (int64, bool) { return a.attacher.Uncompared(region) },
		FailoverMode: string(a.cfg.FailoverMode), MaxJSONBytes: a.cfg.MaxJSONBytes,
		MetricsHandler: promhttp.HandlerFor(prometheus.Gatherers{registry, counters}, promhttp.HandlerOpts{
			ErrorLog:      slog.NewLogLogger(a.opt.Logger.Handler(), slog.LevelWarn),
			ErrorHandling: promhttp.ContinueOnError, // one metric that fails hides no other
		}),
		Logger: a.opt.Logger, Metrics: restapi.NewMetrics(registry),
	})
	return err
}

// rows are what the statistics tell of the journal.
func (a *App) rows(ctx context.Context) (stats.Rows, error) {
	statuses, err := a.gateway.RegionStatuses(ctx)
	if err != nil {
		return stats.Rows{}, err
	}
	var rows stats.Rows
	for _, s := range statuses {
		rows.Regions = append(rows.Regions, stats.RegionRows{Name: s.Name, Compared: s.Compared, Lag: s.Lag})
	}
	rows.Counts, err = a.journal.Counts(ctx)
	return rows, err
}

// regionStartTimeout is how long embedded regions may take to serve.
const regionStartTimeout = 15 * time.Second

// Run serves until ctx ends, drains, stops what it started in the opposite order,
// and closes the journal last: no request to a region is under way any more when its
// lock is given up.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.journal.Close()) }()
	listener, err := a.listen(ctx)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	// What serves requests outlives ctx by the drain.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	regions, stopRegions := context.WithCancel(context.WithoutCancel(ctx))
	var locals, workers errgroup.Group
	for _, l := range a.locals {
		locals.Go(func() error { return l.Run(regions) })
	}
	defer func() {
		for _, r := range slices.Concat(a.regions, a.watchers) {
			r.CloseIdleConnections() // an embedded region would wait for them
		}
		stopRegions()
		err = errors.Join(err, locals.Wait())
		a.syncEmbedded() // before the journal records that it was closed well
	}()
	isServing := false
	defer func() {
		a.gateway.Stop() // while what records its writes still runs
		stopBackground()
		err = errors.Join(err, workers.Wait())
		if isServing {
			a.leaveMarks(ctx)
		}
	}()
	if err := a.start(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	isServing = true
	runs := []func(context.Context) error{
		a.gateway.Run, a.settler.Run, a.uploads.Run, a.replicator.Run, a.attacher.Compare, a.health.Run, a.notary.Run, a.marks.Run, a.failover.Run, a.stats.Run,
	}
	if a.certificate != nil {
		runs = append(runs, a.certificate.Run)
	}
	failed := make(chan struct{}, len(runs))
	for _, run := range runs {
		workers.Go(func() error {
			err := run(background)
			if err != nil {
				failed <- struct{}{}
			}
			return err
		})
	}
	return a.serve(ctx, listener, failed)
}

func (a *App) listen(ctx context.Context) (net.Listener, error) {
	if a.opt.Listen != nil {
		return a.opt.Listen(ctx)
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Address())
}

// start waits for the embedded regions and loads what must be known before the
// first read.
func (a *App) start(ctx context.Context) error {
	if err := a.awaitLocals(ctx); err != nil {
		return err
	}
	if err := a.checkMarks(ctx); err != nil {
		return err
	}
	return a.gateway.LoadDirty(ctx)
}

// awaitLocals waits for the embedded regions. One that does not come up is down, like any
// region that does not answer; where none does there is nothing to serve.
func (a *App) awaitLocals(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, regionStartTimeout)
	defer cancel()
	var failures []error
	for _, l := range a.locals {
		if err := l.WaitReady(starting); err != nil {
			failures = append(failures, err)
			a.opt.Logger.ErrorContext(ctx, "embedded region does not start; it counts as down", "err", err)
		}
	}
	if len(failures) > 0 && len(failures) == len(a.regions) || ctx.Err() != nil {
		return errors.Join(failures...)
	}
	return nil
}

func (a *App) serve(ctx context.Context, listener net.Listener, failed <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-failed:
			cancel(errors.New("a part of the gateway has failed"))
		case <-ctx.Done():
		}
	}()
	var ready error
	a.notReady.Store(&ready)
	if a.opt.Started != nil {
		scheme := "http://"
		if a.certificate != nil {
			scheme = "https://"
		}
		a.opt.Started(scheme + listener.Addr().String())
	}
	return server.Run(ctx, server.Config{
		Listener: listener, Handler: a.api, Certificate: a.certificate, DrainTimeout: a.cfg.DrainTimeout, Logger: a.opt.Logger,
		Draining: func() {
			a.notReady.Store(&errDraining)
			a.gateway.EndWaits()
		},
	})
}

// Describe writes what was set up, for people.
func (a *App) Describe(w io.Writer) {
	for _, s := range a.gateway.Regions() {
		role := "replica"
		if s == a.gateway.State().Active {
			role = "active"
		}
		i := slices.IndexFunc(a.cfg.Regions, func(c config.Region) bool { return c.Name == s })
		c := a.cfg.Regions[i]
		where := a.regions[i].Endpoint()
		if c.Embedded() {
			where = "embedded, in " + c.EmbeddedDir
		}
		fmt.Fprintf(w, "  %-10s %-8s bucket %s, %s\n", s, role, c.Bucket, where)
	}
	if len(a.cfg.Regions) == 1 {
		fmt.Fprintln(w, "  one region only: nothing is replicated (set SECONDARY_S3_*, or name another region in the configuration file)")
	}
}
