package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/app"
	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/config"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/region/regiontest"
	"github.com/gnew/tandem/internal/sigv4"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// The settings of the simulation; its time costs nothing.
const (
	healthInterval = 2 * time.Second
	regionTimeout  = 3 * time.Second
	doubtWindow    = 30 * time.Second
	partBytes      = 32 << 10
)

// world is one history: regions, the gateway's lives, clients, and what is known of them.
type world struct {
	t    *testing.T
	seed uint64
	dir  string
	// bucket is the name that clients see of the first one.
	bucket string
	sites  []*site
	env    map[string]string
	model  *model
	// signer signs the requests of the S3 API.
	signer sigv4.Signer
	began  time.Time

	epoch          atomic.Int64
	journalPercent atomic.Int64
	// hasTwo: there are two buckets, under one epoch.
	hasTwo bool
	// damaged: a region lost something. blind: and nobody can know of it yet.
	damaged, blind atomic.Bool

	mu      sync.Mutex
	life    *life
	lives   int
	counts  map[string]int
	events  []string
	ledgers []expectation
	// landings are where each value was first seen, by value: what is seen elsewhere later is a copy.
	landings map[string]landing
	chain    []audit.Linked
	// crashIn is after how many steps the process dies, 0 for never.
	crashIn int
	// changing has a place for whoever replaces the life; clients wait for it. It is no mutex, for
	// behind one of those the bubble's time stands still.
	changing chan struct{}
	// held keeps a call of the journal where a script wants it kept; nil where there is none.
	held func(l *life, call, key string)
}

// landing is where and when a value first took effect.
type landing struct {
	key, value, site string
	at               int64
}

func (w *world) landed(site, key, value string) {
	at := w.model.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.landings[value]; !known {
		w.landings[value] = landing{key, value, site, at}
	}
}

// count counts a fault or a check that came about.
func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// note adds a line to the history.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%9.3f "+format, append([]any{time.Since(w.began).Seconds()}, args...)...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, line)
}

// violated reports a broken promise.
func (w *world) violated(promise, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("VIOLATED %s: %s", promise, text)
	w.t.Errorf("seed %d: %s: %s", w.seed, promise, text)
}

// step is one of the moments at which the process may die.
func (w *world) step() {
	w.mu.Lock()
	l := w.life
	due := false
	if w.crashIn > 0 {
		w.crashIn--
		due = w.crashIn == 0
	}
	w.mu.Unlock()
	if due && l != nil {
		w.count(crashed)
		w.note("the gateway dies")
		l.die()
	}
}

// life is one process of the gateway, as far as there are processes here.
type life struct {
	number  int
	path    string
	network *network
	client  *http.Client
	// s3Network and s3Client are those of the S3 API.
	s3Network *network
	s3Client  *http.Client
	over      chan struct{}
	dying     sync.Once
	cancel    context.CancelFunc
	ended     chan error
	// inner is the journal without its faults.
	inner app.Journal
}

// die cuts the process off from everything, at once.
func (l *life) die() {
	l.dying.Do(func() {
		close(l.over)
		l.network.sever()
		l.s3Network.sever()
	})
}

func (l *life) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

func newWorld(t *testing.T, seed uint64) *world {
	base := t.TempDir()
	if dir, err := os.MkdirTemp("/dev/shm", "tandem-sim-"); err == nil {
		base = dir
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	w := &world{t: t, seed: seed, dir: base, bucket: "first", model: newModel(), counts: make(map[string]int), landings: make(map[string]landing), began: time.Now(), changing: make(chan struct{}, 1)}
	w.hasTwo = chance(seed, "buckets").IntN(4) == 0
	r := chance(seed, "world")
	w.env = map[string]string{
		"BUCKET": w.bucket, "PORT": "0", "S3_PORT": "0", "GATEWAY_ACCESS_KEY": s3AccessKey, "GATEWAY_SECRET_KEY": s3SecretKey, "DATA_DIR": base, "MIN_FREE_BYTES": "0", "DRAIN_TIMEOUT": "2s",
		"REGION_TIMEOUT": regionTimeout.String(), "DOUBT_WINDOW": doubtWindow.String(),
		"HEALTH_INTERVAL": healthInterval.String(), "HEALTH_TIMEOUT": "1s", "HEALTH_FAILURES": "3", "HEALTH_RECOVERIES": "2",
		"MARK_INTERVAL": "10s", "FAILOVER_HOLD_DOWN": "20s", "FAILOVER_MODE": pick(r, "auto", "auto", "manual"),
		"REPLICATION_WORKERS": pick(r, "1", "4"), "PRESIGN_GRACE": presignGrace.String(),
	}
	names := []string{"primary", "secondary"}
	if seed%5 == 4 {
		names = append(names, third)
	}
	for i, name := range names {
		s := &site{name: name, bucket: "bucket-" + name, w: w}
		s.traits = regiontest.Options{Buckets: []string{s.bucket, s.in(secondBucket)}, AccessKey: "key-" + name, SmallParts: true, ForgetUploads: r.IntN(2) == 0}
		switch seed % 8 {
		case uint64(i + 2):
			s.traits.IgnoreConditions = true
		case uint64(i + 4):
			s.traits.NoConditions = true
		}
		s.server = regiontest.NewServer(s.traits)
		s.server.SetFaults(s.rule)
		s.server.OnApply(s.applied)
		s.dial = regiontest.StartPipe(t, s.server)
		w.sites = append(w.sites, s)
		if name == third {
			continue
		}
		prefix := strings.ToUpper(name) + "_S3_"
		w.env[prefix+"ENDPOINT"] = fmt.Sprintf("http://127.0.0.1:%d", 1+i)
		w.env[prefix+"BUCKET"], w.env[prefix+"ACCESS_KEY"], w.env[prefix+"SECRET_KEY"] = s.bucket, "key-"+name, "secret"
	}
	return w
}

// third is a region that no variable describes.
const third = "tertiary"

// configuration is that of the environment, and a third region where the world has one.
func (w *world) configuration(journal string) (config.Config, error) {
	cfg, err := config.Load(func(name string) (string, bool) {
		if name == "DATABASE_URL" {
			return journal, true
		}
		value, ok := w.env[name]
		return value, ok
	})
	if err != nil {
		return cfg, err
	}
	if len(w.sites) > 2 {
		s := w.site(third)
		cfg.Regions = append(cfg.Regions, config.Region{
			Name: third, Endpoint: "http://127.0.0.1:3", S3Region: "us-east-1", AccessKey: "key-" + third, SecretKey: "secret", ForcePathStyle: true,
		})
		cfg.Buckets[0].Regions = append(cfg.Buckets[0].Regions, config.BucketRegion{Region: third, Bucket: s.bucket})
	}
	if w.hasTwo {
		w.addSecond(&cfg)
	}
	return cfg, nil
}

func (w *world) site(name string) *site {
	for _, s := range w.sites {
		if s.name == name {
			return s
		}
	}
	panic("no region " + name)
}

// startLife runs the gateway on the journal at path.
func (w *world) startLife(path string) error {
	w.mu.Lock()
	w.lives++
	l := &life{number: w.lives, path: path, network: newNetwork(), s3Network: newNetwork(), over: make(chan struct{}), ended: make(chan error, 1)}
	w.life = l
	w.mu.Unlock()
	l.client = &http.Client{Transport: &http.Transport{DialContext: l.network.connect, DisableCompression: true, MaxIdleConnsPerHost: 32}}
	l.s3Client = &http.Client{Transport: &http.Transport{DialContext: l.s3Network.connect, DisableCompression: true, MaxIdleConnsPerHost: 32}}
	cfg, err := w.configuration(path)
	if err != nil {
		return err
	}
	started := make(chan string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	var transports []*http.Transport
	a, err := app.New(ctx, cfg, app.Options{
		Started: func(urls app.URLs) { started <- urls.REST }, Logger: w.logger(), PartBytes: partBytes,
		Random:   func() float64 { return float64(time.Now().UnixNano()%997) / 997 },
		Listen:   func(context.Context) (net.Listener, error) { return l.network, nil },
		ListenS3: func(context.Context) (net.Listener, error) { return l.s3Network, nil },
		Transport: func(region string) http.RoundTripper {
			tr := &http.Transport{
				DialContext: l.network.dialer(w.site(region).dial), DisableCompression: true, MaxIdleConnsPerHost: 64,
				ExpectContinueTimeout: time.Second, IdleConnTimeout: 90 * time.Second,
			}
			transports = append(transports, tr)
			return tr
		},
		Journal: func(j app.Journal) app.Journal {
			l.inner = j
			return &books{Journal: j, w: w, life: l, attempts: make(map[string]int), keys: make(map[int64]string)}
		},
	})
	if err != nil {
		cancel()
		return err
	}
	go func() {
		err := a.Run(ctx)
		for _, tr := range transports {
			tr.CloseIdleConnections()
		}
		l.ended <- err
	}()
	select {
	case <-started:
		return nil
	case err := <-l.ended:
		l.ended <- err
		cancel()
		return errors.Join(errors.New("the gateway ended"), err)
	}
}

// logger shows the gateway's log with -log.
func (w *world) logger() *slog.Logger {
	if !*showLog {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// begin starts the first life.
func (w *world) begin() {
	if err := w.startLife(filepath.Join(w.dir, "journal-0.db")); err != nil {
		w.t.Fatalf("seed %d: start the gateway: %v", w.seed, err)
	}
}

// rebirth has the process die where it stands, if it has not, and starts another on the journal
// as it was at that moment.
func (w *world) rebirth() {
	w.changing <- struct{}{}
	defer func() { <-w.changing }()
	for {
		old := w.current()
		old.die()
		path := filepath.Join(w.dir, fmt.Sprintf("journal-%d.db", old.number))
		if err := sqlite.Backup(context.Background(), old.path, path); err != nil {
			w.t.Fatalf("seed %d: copy the journal: %v", w.seed, err)
		}
		w.bury(old)
		err := w.startLife(path)
		if err == nil {
			w.note("the gateway lives again")
			return
		}
		if !w.current().isOver() {
			w.violated("crash", "the gateway does not start: %v", err)
			w.t.FailNow()
		}
	}
}

// restart ends the process well, and starts another.
func (w *world) restart() {
	w.changing <- struct{}{}
	defer func() { <-w.changing }()
	old := w.current()
	w.bury(old)
	old.die()
	w.note("the gateway was restarted")
	if err := w.startLife(old.path); err != nil {
		w.violated("crash", "the gateway does not start: %v", err)
		w.t.FailNow()
	}
}

// bury joins a life.
func (w *world) bury(l *life) {
	l.cancel()
	if l.number > 0 {
		l.client.CloseIdleConnections()
		select {
		case <-l.ended:
		case <-time.After(time.Hour):
			w.violated("crash", "the gateway does not end within an hour")
			w.t.FailNow()
		}
		l.ended <- nil
	}
	l.client.CloseIdleConnections()
}

func (w *world) current() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life
}

// answer is a response, read to its end; err says why that was not reached.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (a answer) String() string { return fmt.Sprintf("%d %.200s (%v)", a.status, a.body, a.err) }

func (a answer) says(text string) bool { return bytes.Contains(a.body, []byte(text)) }

func (w *world) do(method, path string, body io.Reader, size int64, header http.Header) answer {
	req, err := http.NewRequest(method, "http://127.0.0.1"+w.toBucket(path), body)
	if err != nil {
		panic(err)
	}
	req.ContentLength = size
	if header != nil {
		req.Header = header
	}
	resp, err := w.current().client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: data, err: err}
}

func (w *world) get(path string, into any) error {
	a := w.do(http.MethodGet, path, nil, 0, nil)
	if a.err != nil || a.status != http.StatusOK {
		return fmt.Errorf("GET %s: %v", path, a)
	}
	return json.Unmarshal(a.body, into)
}

func (w *world) post(path string, body any) answer {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return w.do(http.MethodPost, path, bytes.NewReader(data), int64(len(data)), http.Header{"Content-Type": {"application/json"}})
}
