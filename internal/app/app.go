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
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/gnew/tandem/internal/accesskey"
	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/health"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/localregion"
	"github.com/gnew/tandem/internal/replicate"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/s3api"
	"github.com/gnew/tandem/internal/server"
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
	// ForgetAccessKeys disables the access keys of S3 clients whose secret cannot be opened, for the master key is lost.
	// Default: such a gateway does not start.
	ForgetAccessKeys bool
	// Started is told once the gateway serves. Default: nobody.
	Started func(URLs)
	// Listen opens where clients of the REST API connect, and ListenS3 where those of the S3 API do. Default: TCP, at the
	// configured addresses.
	Listen, ListenS3 func(ctx context.Context) (net.Listener, error)
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
	// TakeUpMachineStop has recorded which regions came back older by it.
	MachineStopped() bool
	TakeUpMachineStop(ctx context.Context, regions []string, why string) error
	// Counts counts the rows of all buckets.
	Counts(ctx context.Context) (journal.Counts, error)
}

// URLs are where clients find the gateway.
type URLs struct {
	REST, S3 string
}

// App is a gateway that can be run once.
type App struct {
	cfg      config.Config
	opt      Options
	journal  Journal
	locals   []*localregion.Region
	buckets  *buckets
	health   *health.Monitor
	notary   *audit.Notary
	failover *failover.Controller
	stats    *stats.Recorder
	keys     *accesskey.Store
	api      *restapi.API
	s3       *s3api.API
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
	a.warnOfLacking(ctx)
	shared := newParts(cfg, registry, counters)
	for _, b := range a.buckets.list {
		compared, err := a.journal.Compared(ctx, b.Name)
		if err != nil {
			return nil, err
		}
		if err := a.buildBucket(b, shared, ofBucket(state, slices.Contains(compared, state.Active)), spoolDir); err != nil {
			return nil, err
		}
		if err := b.attacher.Attach(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.buildFailover(ctx, registry, state); err != nil {
		return nil, err
	}
	if err := a.buildKeys(ctx); err != nil {
		return nil, err
	}
	if err := a.buildFront(registry, counters); err != nil {
		return nil, err
	}
	return a, a.buildS3(registry)
}

// leaveOutDetached: a region that was taken out stays out, whatever the configuration says.
func (a *App) leaveOutDetached(ctx context.Context) error {
	a.buckets = &buckets{}
	detached, err := a.journal.Detached(ctx)
	if err != nil {
		return err
	}
	inUse := make(map[string]bool)
	for _, c := range a.cfg.Buckets {
		b := &bucket{Bucket: c}
		b.Regions = slices.DeleteFunc(slices.Clone(c.Regions), func(r config.BucketRegion) bool {
			if !slices.Contains(detached, r.Region) {
				inUse[r.Region] = true
				return false
			}
			a.opt.Logger.WarnContext(ctx, "region was removed with `tandem regions remove`, and is left out: take it out of the configuration", "region", r.Region, "bucket", c.Name)
			return true
		})
		if err := a.checkAttached(ctx, b); err != nil {
			return err
		}
		a.buckets.list = append(a.buckets.list, b)
	}
	a.cfg.Regions = slices.DeleteFunc(slices.Clone(a.cfg.Regions), func(c config.Region) bool { return !inUse[c.Name] })
	return nil
}

// checkAttached refuses a bucket that has lost a region which others have: what is only there would count as being
// at hand, and be in no ledger.
func (a *App) checkAttached(ctx context.Context, b *bucket) error {
	attached, err := a.journal.Attached(ctx, b.Name)
	if err != nil {
		return err
	}
	for _, name := range attached {
		if !b.has(name) && slices.ContainsFunc(a.cfg.Buckets, func(c config.Bucket) bool { return c.In(name) != "" }) {
			return fmt.Errorf("bucket %s was in region %q, and the configuration has it there no more: put it back; "+
				"a region can only be taken out of all buckets, with `tandem regions remove %s`", b.Name, name, name)
		}
	}
	return nil
}

// warnOfLacking tells of regions that can never be promoted: nobody would like to learn that in an outage.
func (a *App) warnOfLacking(ctx context.Context) {
	for _, name := range a.buckets.order {
		for _, b := range a.buckets.list {
			if !b.has(name) {
				a.opt.Logger.WarnContext(ctx, "region lacks a bucket, and so is never promoted", "region", name, "bucket", b.Name)
			}
		}
	}
}

// buildRegions makes the clients of each bucket of each region, and the process behind it where the
// region is embedded.
func (a *App) buildRegions(ctx context.Context, metrics *region.Metrics) error {
	for _, c := range a.cfg.Regions {
		a.buckets.order = append(a.buckets.order, c.Name)
		rc := region.Config{
			Name: c.Name, Endpoint: c.Endpoint, PublicEndpoint: c.PublicEndpoint, S3Region: c.S3Region, AccessKey: c.AccessKey, SecretKey: c.SecretKey,
			ForcePathStyle: c.ForcePathStyle, CAFile: c.CAFile, Timeout: a.cfg.RegionTimeout, Metrics: metrics,
		}
		watching, err := a.transports(c, &rc)
		if err != nil {
			return err
		}
		if c.Embedded() {
			dir, err := filepath.Abs(c.EmbeddedDir)
			if err != nil {
				return fmt.Errorf("region %s: %w", c.Name, err)
			}
			local, err := localregion.New(localregion.Config{
				Name: c.Name, Dir: dir, Buckets: a.cfg.BucketsIn(c.Name), Command: a.opt.RegionCommand, Logger: a.opt.Logger,
			})
			if err != nil {
				return fmt.Errorf("region %s: %w", c.Name, err)
			}
			a.locals = append(a.locals, local)
			rc.Endpoint, rc.S3Region, rc.CheckKey = local.Endpoint(), local.S3Region(), local.CheckKey
			rc.AccessKey, rc.SecretKey = local.Credentials()
		}
		for _, b := range a.buckets.list {
			if err := a.buildClients(ctx, b, rc, watching); err != nil {
				return err
			}
		}
	}
	return nil
}

// transports gives a region the one that the clients of all its buckets share, and returns that of their watchers.
func (a *App) transports(c config.Region, rc *region.Config) (watching http.RoundTripper, err error) {
	if a.opt.Transport != nil {
		rc.Transport = a.opt.Transport(c.Name)
		return rc.Transport, nil
	}
	var all [2]*http.Transport
	for i := range all {
		if all[i], err = region.NewTransport(c.CAFile); err != nil {
			return nil, fmt.Errorf("region %s: %w", c.Name, err)
		}
	}
	rc.Transport = all[0]
	return all[1], nil
}

// buildClients makes the clients of a bucket in a region, where it has that.
func (a *App) buildClients(ctx context.Context, b *bucket, rc region.Config, watching http.RoundTripper) error {
	if rc.Bucket = b.In(rc.Name); rc.Bucket == "" {
		return nil
	}
	watched := rc
	watched.Transport = watching
	watcher, err := region.New(ctx, watched)
	if err != nil {
		return err
	}
	rc.SameAs = watcher
	rc.Admit = func() error { return a.health.Admit(rc.Name) }
	rc.Observed = func(err error) { a.health.Report(rc.Name, err) }
	r, err := region.New(ctx, rc)
	if err != nil {
		return err
	}
	b.watchers, b.regions = append(b.watchers, watcher), append(b.regions, r)
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
	if !slices.Contains(a.buckets.order, state.Active) {
		return state, fmt.Errorf("the journal says that region %q is active, and it is not configured: configure it, or use another DATABASE_URL", state.Active)
	}
	if i := slices.IndexFunc(a.buckets.list, func(b *bucket) bool { return !b.has(state.Active) }); i >= 0 {
		return state, fmt.Errorf("the journal says that region %q is active, and it has no bucket for %s, which the active needs: configure one, "+
			"or promote a region that has every bucket before %s is added", state.Active, a.buckets.list[i].Name, a.buckets.list[i].Name)
	}
	if state.Active != a.cfg.ActiveRegion {
		a.opt.Logger.WarnContext(ctx, "the journal's active region is used, not ACTIVE_REGION: it was promoted", "active", state.Active, "configured", a.cfg.ActiveRegion)
	}
	return state, nil
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
	a.stats, err = stats.New(stats.Config{Counters: counters, Regions: a.buckets.Regions(), Rows: a.rows, Logger: a.opt.Logger})
	if err != nil {
		return err
	}
	registry.MustRegister(&replicate.LagCollector{Journal: a.journal, Buckets: a.buckets.lagging()}, &stateCollector{
		version: a.opt.Version, regions: a.buckets.Regions, compared: a.buckets.ComparedRegions, regressed: a.buckets.RegressedRegions,
		counts: a.journal.Counts,
	})
	var tokens []string
	for _, t := range a.cfg.APITokens {
		tokens = append(tokens, t.Secret)
	}
	a.api, err = restapi.New(restapi.Config{
		Buckets: a.buckets.fronts(), Regions: a.buckets.Regions,
		Access:   restapi.NewAccess(a.cfg.AdminToken, tokens, a.cfg.Loopback()),
		Ready:    func() error { return *a.notReady.Load() },
		Failover: a.failover, Records: a.journal, Health: a.health.Statuses, Stats: a.stats.Report, Checkpoint: a.notary.Latest,
		Uncompared: a.buckets.uncompared, Keys: a.keys,
		FailoverMode: string(a.cfg.FailoverMode), MaxJSONBytes: a.cfg.MaxJSONBytes,
		MetricsHandler: promhttp.HandlerFor(prometheus.Gatherers{registry, counters}, promhttp.HandlerOpts{
			ErrorLog:      slog.NewLogLogger(a.opt.Logger.Handler(), slog.LevelWarn),
			ErrorHandling: promhttp.ContinueOnError, // one metric that fails hides no other
		}),
		Logger: a.opt.Logger, Metrics: restapi.NewMetrics(registry),
	})
	return err
}

// rows are what the statistics tell of the journal: of each region, over its buckets.
func (a *App) rows(ctx context.Context) (stats.Rows, error) {
	var rows stats.Rows
	for _, name := range a.buckets.Regions() {
		rows.Regions = append(rows.Regions, stats.RegionRows{Name: name, Compared: true})
	}
	for _, b := range a.buckets.list {
		statuses, err := b.gateway.RegionStatuses(ctx)
		if err != nil {
			return stats.Rows{}, err
		}
		for _, s := range statuses {
			if i := slices.IndexFunc(rows.Regions, func(r stats.RegionRows) bool { return r.Name == s.Name }); i >= 0 {
				r := &rows.Regions[i]
				r.Compared, r.Lag = r.Compared && s.Compared, r.Lag.Plus(s.Lag)
			}
		}
	}
	var err error
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
	listeners, err := a.listen(ctx)
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
		for _, b := range a.buckets.list {
			for _, r := range slices.Concat(b.regions, b.watchers) {
				r.CloseIdleConnections() // an embedded region would wait for them
			}
		}
		stopRegions()
		err = errors.Join(err, locals.Wait())
		a.syncEmbedded() // before the journal records that it was closed well
	}()
	isServing := false
	defer func() {
		_ = a.buckets.each(func(b *bucket) error {
			b.gateway.Stop() // while what records its writes still runs
			return nil
		})
		stopBackground()
		err = errors.Join(err, workers.Wait())
		if isServing {
			a.leaveMarks(ctx)
		}
	}()
	if err := a.start(ctx); err != nil {
		return errors.Join(err, listeners[0].Close(), listeners[1].Close())
	}
	isServing = true
	runs := []func(context.Context) error{a.health.Run, a.notary.Run, a.failover.Run, a.stats.Run}
	for _, b := range a.buckets.list {
		runs = append(runs, b.runs()...)
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
	return a.serve(ctx, listeners, failed)
}

// listen opens the listeners of the REST API and of the S3 API.
func (a *App) listen(ctx context.Context) (listeners [2]net.Listener, err error) {
	tcp := func(address string) func(context.Context) (net.Listener, error) {
		return func(ctx context.Context) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		}
	}
	open := [2]func(context.Context) (net.Listener, error){a.opt.Listen, a.opt.ListenS3}
	for i, address := range []string{a.cfg.Address(), a.cfg.S3Address()} {
		if open[i] == nil {
			open[i] = tcp(address)
		}
		if listeners[i], err = open[i](ctx); err != nil {
			if i > 0 {
				err = errors.Join(err, listeners[0].Close())
			}
			return listeners, err
		}
	}
	return listeners, nil
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
	return a.buckets.each(func(b *bucket) error { return b.gateway.LoadDirty(ctx) })
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
	if len(failures) > 0 && len(failures) == len(a.cfg.Regions) || ctx.Err() != nil {
		return errors.Join(failures...)
	}
	return nil
}

func (a *App) serve(ctx context.Context, listeners [2]net.Listener, failed <-chan struct{}) error {
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
		a.opt.Started(URLs{REST: scheme + listeners[0].Addr().String(), S3: scheme + listeners[1].Addr().String()})
	}
	return server.Run(ctx, server.Config{
		Fronts: []server.Front{{Listener: listeners[0], Handler: a.api}, {Listener: listeners[1], Handler: a.s3}}, Certificate: a.certificate, DrainTimeout: a.cfg.DrainTimeout, Logger: a.opt.Logger,
		Draining: func() {
			a.notReady.Store(&errDraining)
			for _, b := range a.buckets.list {
				b.gateway.EndWaits()
			}
		},
	})
}

// Describe writes what was set up, for people.
func (a *App) Describe(w io.Writer) {
	active := a.buckets.State().Active
	for _, c := range a.cfg.Regions {
		role := "replica"
		if c.Name == active {
			role = "active"
		}
		var names []string
		where := "embedded, in " + c.EmbeddedDir
		for _, b := range a.buckets.list {
			for _, r := range b.regions {
				if r.Name() != c.Name {
					continue
				}
				names = append(names, r.Bucket())
				if !c.Embedded() {
					where = r.Endpoint()
				}
			}
		}
		word := "bucket"
		if len(names) > 1 {
			word = "buckets"
		}
		fmt.Fprintf(w, "  %-10s %-8s %s %s, %s\n", c.Name, role, word, strings.Join(names, ", "), where)
	}
	if len(a.cfg.Regions) == 1 {
		fmt.Fprintln(w, "  one region only: nothing is replicated (set SECONDARY_S3_*, or name another region in the configuration file)")
	}
}
