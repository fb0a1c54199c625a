// Package gateway is the core: it carries a write through intent, region and
// commit, and a read to a region that may answer it. Both fronts call it; it knows
// neither SQL nor the clients' protocol.
//
// The order of a write's durable steps, and what a crash after each leaves:
//
//  1. The body streams to the active, but for its end. A crash leaves nothing: the
//     region sees a request cut short.
//  2. The intent is on disk. A crash leaves an intent in doubt; the write cannot have
//     been applied, and Settle finds that out once the doubt window is over.
//  3. The end of the body is let go, the region applies the write. A crash leaves an
//     intent in doubt and perhaps an object; Settle makes it a version.
//  4. The commit is on disk: the write has its version and its place in the queue. A
//     crash loses only the answer to the client.
//  5. The client is answered.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// Journal is what the gateway needs of the journal.
type Journal interface {
	journal.Writes
	journal.Index
	Request(ctx context.Context, bucket, key, region string, v journal.Version) (bool, error)
	Conflict(ctx context.Context, id int64) (journal.Conflict, error)
	Resolve(ctx context.Context, id int64, r journal.Resolution) error
}

// Config describes a gateway.
type Config struct {
	// Bucket is the name that clients see. Required.
	Bucket string
	// Regions in the configured order. Required, at least one.
	Regions []*region.Region
	// Journal holds intents and index. Required.
	Journal Journal
	// State is the epoch to begin with. Required.
	State journal.State
	// AllowStaleReads answers a read with an older version, said to be so, rather
	// than with NotYetReplicated. Default false.
	AllowStaleReads bool
	// MaxObjectBytes bounds an object. Default 5 TiB.
	MaxObjectBytes int64
	// AnswerTimeout is the hard deadline of a region's answer to a write, counted
	// from its intent. Default 1 min; ten times that for completing a multipart upload.
	AnswerTimeout time.Duration
	// DoubtWindow is how long after that deadline a write may still land. Default 16 min.
	DoubtWindow time.Duration
	// PresignExpires is how long a presigned URL is good for where the request does not say. Default 15 min.
	PresignExpires time.Duration
	// PresignGrace is how long an upload by a presigned URL may go on after that has expired. Default 1 h.
	PresignGrace time.Duration
	// PartBytes is the size of the first parts of an upload, and of a part in memory. Default
	// 8 MiB; S3 takes no part below 5 MiB but the last.
	PartBytes int64
	// SpoolDir holds parts of uploads whose length is not known. Required.
	SpoolDir string
	// SpoolOf is a gateway whose buffers for such parts are used, for memory is bounded over all. Default: its own.
	SpoolOf *Gateway
	// AdmitWrite says why writes are refused now, nil where they are not. Default: always nil.
	AdmitWrite func() error
	// Committed is told of a key with new pending copies; it must not block. Default: nobody.
	Committed func()
	// Unsettled is told of a key that Settle is to close; it must not block. Default: nobody.
	Unsettled func(key string)
	// Signed is told that a presigned PUT is open; it must not block. Default: nobody.
	Signed func()
	// Logger is required.
	Logger *slog.Logger
	// Metrics counts. Default: none.
	Metrics *Metrics
}

// Gateway is safe for concurrent use. Run must be running for it to close what a
// failing journal left open.
type Gateway struct {
	Config
	regions map[string]*region.Region
	view    atomic.Pointer[view]
	// viewing is held by whoever replaces the view.
	viewing sync.Mutex
	// regressed is what SetRegressed was last told; regressing is held while that is taken up.
	regressed  atomic.Pointer[[]string]
	regressing sync.Mutex
	// coming is the dirty set of an epoch that is about to be served, else nil.
	coming  atomic.Pointer[dirtySet]
	seen    *versionCache
	spool   *spool
	orphans orphans
	flights flights
	// resolving has a place for the one conflict that is being resolved.
	resolving chan struct{}
	stopping  context.Context
	waits     *waits
	stop      context.CancelFunc
}

// New returns a gateway. The caller loads the dirty set (LoadDirty) before it serves.
func New(cfg Config) (*Gateway, error) {
	if cfg.Bucket == "" || len(cfg.Regions) == 0 || cfg.Journal == nil || cfg.Logger == nil || cfg.SpoolDir == "" {
		return nil, errors.New("gateway: Bucket, Regions, Journal, SpoolDir and Logger are required")
	}
	cfg.MaxObjectBytes = cmp.Or(cfg.MaxObjectBytes, 5<<40)
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, time.Minute)
	cfg.DoubtWindow = cmp.Or(cfg.DoubtWindow, 16*time.Minute)
	cfg.PresignExpires = cmp.Or(cfg.PresignExpires, 15*time.Minute)
	cfg.PresignGrace = cmp.Or(cfg.PresignGrace, time.Hour)
	cfg.PartBytes = cmp.Or(cfg.PartBytes, firstPartBytes)
	if cfg.AdmitWrite == nil {
		cfg.AdmitWrite = func() error { return nil }
	}
	if cfg.Committed == nil {
		cfg.Committed = func() {}
	}
	if cfg.Unsettled == nil {
		cfg.Unsettled = func(string) {}
	}
	if cfg.Signed == nil {
		cfg.Signed = func() {}
	}
	g := &Gateway{
		Config: cfg, regions: make(map[string]*region.Region), seen: newVersionCache(),
		resolving: make(chan struct{}, 1),
		spool:     newSpool(cfg.SpoolDir, cfg.PartBytes), orphans: orphans{wake: make(chan struct{}, 1)},
	}
	if cfg.SpoolOf != nil {
		g.spool = cfg.SpoolOf.spool
	}
	g.waits = newWaits()
	g.stopping, g.stop = context.WithCancel(context.Background())
	var names []string
	for _, r := range cfg.Regions {
		g.regions[r.Name()] = r
		names = append(names, r.Name())
	}
	if g.regions[cfg.State.Active] == nil {
		return nil, errors.New("gateway: the active is not among the regions")
	}
	g.view.Store(newView(cfg.State, names))
	return g, nil
}

// checkKey refuses what no client may touch.
func checkKey(key string) error {
	if err := s3op.CheckKey(key); err != nil {
		return err
	}
	if isReserved(key) {
		return s3op.NewError(s3op.Denied, "AccessDenied", "keys below "+s3op.ReservedPrefix+" are Tandem's own; choose another key")
	}
	return nil
}

// isReserved reports whether a key is one of Tandem's own, or is taken for one where keys are paths of files: "/.tandem/region",
// say, or "a/../.tandem/region".
func isReserved(key string) bool {
	return s3op.IsReserved(key) || strings.Contains(key, s3op.ReservedPrefix) && s3op.IsReserved(path.Clean("/" + key)[1:])
}

// Stop cuts the writes that are under way, and returns once each is recorded as what it
// is, in doubt at worst; every later one is refused. After it no write of a client's is on its
// way to a region. Call it once.
func (g *Gateway) Stop() {
	g.flights.close()
	g.stop()
	_ = g.flights.wait(context.Background())
}

// orphans are intents whose end the journal could not be told; they must not stay
// open, for nobody would ever settle their keys.
type orphans struct {
	sync.Mutex
	list []orphan
	wake chan struct{}
}

type orphan struct {
	id  int64
	key string
	// sent: the region may have applied the write.
	sent bool
}

// LeftOpen takes over an intent whose end the journal could not be told; sent says that
// its write may have been applied.
func (g *Gateway) LeftOpen(id int64, key string, sent bool) {
	g.orphan(orphan{id: id, key: key, sent: sent})
}

func (g *Gateway) orphan(o orphan) {
	g.orphans.Lock()
	g.orphans.list = append(g.orphans.list, o)
	g.orphans.Unlock()
	select {
	case g.orphans.wake <- struct{}{}:
	default:
	}
}

// orphanInterval is how often the journal is tried again.
const orphanInterval = time.Second

// Run closes what a failing journal left open, and takes up what it kept from being taken up,
// until ctx ends. What is left then
// is taken up as in doubt when the journal is opened again.
func (g *Gateway) Run(ctx context.Context) error {
	timer := time.NewTimer(orphanInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.orphans.wake:
		case <-timer.C:
		}
		g.closeOrphans(ctx)
		g.takeUpRegressed(ctx)
		timer.Reset(orphanInterval)
	}
}

func (g *Gateway) end(ctx context.Context, o orphan) error {
	if o.sent {
		return g.Journal.Doubt(ctx, o.id, time.Time{})
	}
	return g.Journal.Abandon(ctx, o.id)
}

func (g *Gateway) closeOrphans(ctx context.Context) {
	g.orphans.Lock()
	list := g.orphans.list
	g.orphans.list = nil
	g.orphans.Unlock()
	for i, o := range list {
		if err := g.end(ctx, o); err != nil {
			g.orphans.Lock()
			g.orphans.list = append(g.orphans.list, list[i:]...)
			g.orphans.Unlock()
			return
		}
		g.Unsettled(o.key)
	}
}
