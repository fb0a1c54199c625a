package mark

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

// Key is where a region's mark is.
const Key = s3op.ReservedPrefix + "region"

// maxMarkBytes bounds what is read of a mark.
const maxMarkBytes = 64 << 10

// lastYear is the last of which a mark is believed: JSON has no year with five digits, so
// after one of the end of 9999 no later one could be written.
const lastYear = 9998

// The errors that keep a gateway from starting, by identity.
var (
	// ErrNewer: the region knows of more than the journal: that was restored from a backup.
	ErrNewer = errors.New("the region's mark is newer than the journal")
	// ErrForeign: another journal's gateway uses, or used, the region's bucket.
	ErrForeign = errors.New("the region's mark is another journal's")
	// ErrMisplaced: the bucket is another one of this gateway's, which the configuration gives a wrong place.
	ErrMisplaced = errors.New("the configuration takes a bucket for another")
)

// Content is what a mark says, as JSON.
type Content struct {
	Journal string `json:"journal"`
	Region  string `json:"region"`
	// Bucket is the name that clients see; "" in a mark of before there were several.
	Bucket string `json:"bucket,omitempty"`
	// Active of the epoch, when it was written.
	Active   string `json:"active"`
	Epoch    int64  `json:"epoch"`
	Sequence int64  `json:"sequence"`
	// WrittenAt tells two marks of one sequence apart: each is later than the one that was
	// recorded before, whatever the clock says.
	WrittenAt time.Time `json:"writtenAt"`
	// Checkpoint is the newest signed head of the audit chain, "" where there is none yet.
	Checkpoint string `json:"checkpoint"`
}

// Journal is what marks need of the journal.
type Journal interface {
	State(ctx context.Context) (journal.State, error)
	Position(ctx context.Context) (int64, error)
	Mark(ctx context.Context, bucket, region string) (journal.Mark, error)
	SetMark(ctx context.Context, bucket, region string, m journal.Mark) error
	Regress(ctx context.Context, bucket, region, why string) error
	Regressed(ctx context.Context, bucket string) (map[string]string, error)
	Verified(ctx context.Context, bucket, region string) (bool, error)
}

// Config describes the keeper of the marks.
type Config struct {
	// Bucket is the name that clients see. Required.
	Bucket string
	// Regions in the configured order. Required.
	Regions []*region.Region
	// Journal remembers the marks. Required.
	Journal Journal
	// Interval between two marks of a region. Default 1 min.
	Interval time.Duration
	// Timeout of one check of a region, or of one marking. Default 5 s.
	Timeout time.Duration
	// DoubtWindow is how long a mark without an answer may still land. Default 16 min.
	DoubtWindow time.Duration
	// Checkpoint returns the newest signed head of the audit chain. Default: none.
	Checkpoint func() string
	// Changed is told which regions are regressed, by name, at Load and each time that changes;
	// never twice at once. Required.
	Changed func(regions []string)
	// Queued is told that copies are to be verified; it must not block. Default: nobody.
	Queued func()
	// Logger is required.
	Logger *slog.Logger
}

// Keeper writes and checks the marks. It is safe for concurrent use.
type Keeper struct {
	Config
	regions map[string]*keptRegion
	// telling is held from the reading of what is regressed until Changed was told, so that what
	// it is told last is the newest.
	telling chan struct{}
}

// keptRegion is one region and what is known of its mark.
type keptRegion struct {
	*region.Region
	// lock is held while the mark is checked or written, so that no check sees half a writing.
	lock chan struct{}
	wake chan struct{}
	// lateUntil is how long a mark of this process, or of the one before, may still land where the
	// region has no conditional writes. It is owned by whoever holds the lock.
	lateUntil    time.Time
	isUnanswered bool // one of this process
	// forgotten: the region was taken out, and belongs to nobody here any more.
	forgotten atomic.Bool
	mu        struct {
		sync.Mutex
		// etag of the mark that was last seen to be as it should; "" where none was.
		etag string
	}
}

// New returns a keeper; it starts nothing.
func New(cfg Config) (*Keeper, error) {
	if cfg.Bucket == "" || len(cfg.Regions) == 0 || cfg.Journal == nil || cfg.Changed == nil || cfg.Logger == nil {
		return nil, errors.New("mark: Bucket, Regions, Journal, Changed and Logger are required")
	}
	cfg.Interval = cmp.Or(cfg.Interval, time.Minute)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	cfg.DoubtWindow = cmp.Or(cfg.DoubtWindow, 16*time.Minute)
	if cfg.Checkpoint == nil {
		cfg.Checkpoint = func() string { return "" }
	}
	if cfg.Queued == nil {
		cfg.Queued = func() {}
	}
	k := &Keeper{Config: cfg, regions: make(map[string]*keptRegion), telling: make(chan struct{}, 1)}
	for _, r := range cfg.Regions {
		k.regions[r.Name()] = &keptRegion{Region: r, lock: make(chan struct{}, 1), wake: make(chan struct{}, 1), lateUntil: time.Now().Add(cfg.DoubtWindow)}
	}
	return k, nil
}

// Load tells Changed which regions are regressed by the journal.
func (k *Keeper) Load(ctx context.Context) error { return k.tell(ctx) }

// Inspect checks every region that answers, before the gateway serves. ErrNewer, ErrForeign and ErrMisplaced
// say that it must not; a region that does not answer is checked once it does.
func (k *Keeper) Inspect(ctx context.Context) error {
	results := make(chan error, len(k.regions))
	for name := range k.regions {
		go func() { results <- k.Check(ctx, name) }()
	}
	var refused error
	for range k.regions {
		switch err := <-results; {
		case err == nil:
		case isRefusal(err):
			refused = errors.Join(refused, err)
		default:
			k.Logger.WarnContext(ctx, "mark not checked yet", "err", err)
		}
	}
	return refused
}

// isRefusal reports whether the region is not to be used with this journal.
func isRefusal(err error) bool {
	return errors.Is(err, ErrNewer) || errors.Is(err, ErrForeign) || errors.Is(err, ErrMisplaced)
}

// Check makes sure that the region is not older than it was when it was last checked. An
// error says that this is not known, or ErrNewer or ErrForeign; that the region is regressed is
// recorded, and no error.
func (k *Keeper) Check(ctx context.Context, name string) error {
	r := k.regions[name]
	if r == nil || r.forgotten.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	r.mu.Lock()
	etag := r.mu.etag
	r.mu.Unlock()
	if etag != "" {
		if a, err := r.Head(ctx, Key, nil); err == nil && a.ETag() == etag {
			return nil
		}
	}
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	_, _, err := k.checkLocked(ctx, r)
	return err
}

func (r *keptRegion) take(ctx context.Context) error {
	select {
	case r.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *keptRegion) give() { <-r.lock }

func (r *keptRegion) seen(etag string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.etag = etag
}

// checkLocked reads the mark and compares it with what the journal has recorded. It returns
// the ETag of the object that is there, "" for none, and when the newer of the two was written,
// as far as that is known.
func (k *Keeper) checkLocked(ctx context.Context, r *keptRegion) (etag string, writtenAt time.Time, err error) {
	recorded, err := k.Journal.Mark(ctx, k.Bucket, r.Name())
	if err != nil {
		return "", time.Time{}, err
	}
	content, etag, err := read(ctx, r.Region)
	if err != nil {
		return "", time.Time{}, err
	}
	// The journal's own state comes after the region's answer: no mark of ours is newer than it.
	state, position, err := k.position(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	hasRecord := !recorded.WrittenAt.IsZero()
	switch {
	case mutant.On(mutant.MarkNotCompared):
		return etag, recorded.WrittenAt, nil
	case content == nil && !hasRecord:
		return etag, time.Time{}, nil // it was never marked
	case content == nil:
		return etag, recorded.WrittenAt, k.regress(ctx, r.Name(), "its mark is missing, or cannot be read")
	case content.Journal == state.JournalID && content.Bucket != "" && content.Bucket != k.Bucket:
		return "", time.Time{}, fmt.Errorf("region %s: %w: its bucket %s has the mark of bucket %s in region %s, and is configured as %s",
			r.Name(), ErrMisplaced, r.Bucket(), content.Bucket, content.Region, k.Bucket)
	case content.Journal != state.JournalID || content.Region != r.Name():
		return "", time.Time{}, fmt.Errorf("region %s: %w (journal %s, region %s)", r.Name(), ErrForeign, content.Journal, content.Region)
	case content.Epoch > state.Epoch || content.Sequence > position:
		return "", time.Time{}, fmt.Errorf("region %s: %w (epoch %d, sequence %d; the journal has epoch %d, sequence %d)",
			r.Name(), ErrNewer, content.Epoch, content.Sequence, state.Epoch, position)
	case hasRecord && content.isOlderThan(recorded):
		return etag, recorded.WrittenAt, k.regress(ctx, r.Name(), fmt.Sprintf(
			"its mark is of %s, epoch %d, sequence %d; the last one written there was of %s, epoch %d, sequence %d",
			content.WrittenAt.Format(time.RFC3339), content.Epoch, content.Sequence,
			recorded.WrittenAt.Format(time.RFC3339), recorded.Epoch, recorded.Sequence))
	}
	if etag != recorded.ETag {
		err = k.Journal.SetMark(ctx, k.Bucket, r.Name(), content.mark(etag)) // one whose answer was lost
	}
	if err == nil {
		r.seen(etag)
	}
	return etag, content.WrittenAt, err
}

func (c *Content) mark(etag string) journal.Mark {
	return journal.Mark{Epoch: c.Epoch, Sequence: c.Sequence, ETag: etag, WrittenAt: c.WrittenAt}
}

// IsAfter reports whether the journal was further when this was written.
func (c *Content) IsAfter(other *Content) bool {
	return cmp.Or(cmp.Compare(c.Epoch, other.Epoch), cmp.Compare(c.Sequence, other.Sequence)) > 0
}

func (c *Content) isOlderThan(m journal.Mark) bool {
	return cmp.Or(cmp.Compare(c.Epoch, m.Epoch), cmp.Compare(c.Sequence, m.Sequence), c.WrittenAt.Compare(m.WrittenAt)) < 0
}

// read returns the mark and the ETag of its object, "" where there is none. What cannot be
// read as a mark is nil, like none.
func read(ctx context.Context, r *region.Region) (*Content, string, error) {
	o, err := r.Get(ctx, Key, nil)
	if region.IsNotFound(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer o.Body.Close()
	data, err := io.ReadAll(io.LimitReader(o.Body, maxMarkBytes))
	if err != nil {
		return nil, "", err
	}
	var c Content
	if json.Unmarshal(data, &c) != nil || c.Journal == "" || c.WrittenAt.UTC().Year() > lastYear {
		return nil, o.ETag(), nil
	}
	return &c, o.ETag(), nil
}

// Read returns what a region's mark says, for those who compare the audit chain with it; nil
// where there is none, or none that can be read.
func Read(ctx context.Context, r *region.Region) (*Content, error) {
	c, _, err := read(ctx, r)
	return c, err
}

// regress records that a region is older than it was. A crash between the two records has the
// same mark found older once more, and every copy verified from the beginning.
func (k *Keeper) regress(ctx context.Context, name, why string) error {
	regressed, err := k.Journal.Regressed(ctx, k.Bucket)
	if err != nil {
		return err
	}
	if err := k.Journal.Regress(ctx, k.Bucket, name, why); err != nil {
		return fmt.Errorf("record that region %s is regressed: %w", name, err)
	}
	// It is verified copy by copy, and found older only by a mark that is written from here on.
	if err := k.Journal.SetMark(ctx, k.Bucket, name, journal.Mark{}); err != nil {
		return fmt.Errorf("record that region %s is regressed: %w", name, err)
	}
	if _, isKnown := regressed[name]; !isKnown {
		k.Logger.ErrorContext(ctx, "region came back older than it was; every copy there is verified", "region", name, "why", why)
	}
	k.regions[name].seen("")
	k.Queued()
	return k.tell(ctx)
}

func (k *Keeper) tell(ctx context.Context) error {
	k.telling <- struct{}{}
	defer func() { <-k.telling }()
	regressed, err := k.Journal.Regressed(ctx, k.Bucket)
	if err != nil {
		return err
	}
	k.Changed(slices.Sorted(maps.Keys(regressed)))
	return nil
}

// Run writes the marks until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for _, r := range k.regions {
		group.Go(func() { k.run(ctx, r) })
	}
	group.Wait()
	return nil
}

func (k *Keeper) run(ctx context.Context, r *keptRegion) {
	ticker := time.NewTicker(k.Interval)
	defer ticker.Stop()
	for {
		if err := k.Write(ctx, r.Name()); err != nil && ctx.Err() == nil {
			level := slog.LevelDebug // health tells of a region that is down
			if isRefusal(err) {
				level = slog.LevelError
			}
			k.Logger.Log(ctx, level, "mark not written", "region", r.Name(), "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.wake:
		}
	}
}

// Forget ends the marking of a region that was taken out.
func (k *Keeper) Forget(name string) {
	if r := k.regions[name]; r != nil {
		r.forgotten.Store(true)
	}
}

// Wake has every mark written anew now. It does not block.
func (k *Keeper) Wake() {
	for _, r := range k.regions {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// WriteAll marks every region a last time, as far as they answer before ctx ends.
func (k *Keeper) WriteAll(ctx context.Context) {
	var group sync.WaitGroup
	for name := range k.regions {
		group.Go(func() {
			if err := k.Write(ctx, name); err != nil {
				k.Logger.DebugContext(ctx, "mark not written", "region", name, "err", err)
			}
		})
	}
	group.Wait()
}

// Write checks the region, and marks it anew. Where the mark that is there is ErrNewer or
// ErrForeign nothing is written to the region.
func (k *Keeper) Write(ctx context.Context, name string) error {
	r := k.regions[name]
	if r == nil || r.forgotten.Load() {
		return nil
	}
	if err := k.end(ctx, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	etag, writtenAt, err := k.checkLocked(ctx, r)
	if err != nil {
		return err
	}
	conditions, err := r.Conditions(ctx) // which writes, so it comes after the check
	if err != nil {
		return err
	}
	content, err := k.content(ctx, name, writtenAt)
	if err != nil {
		return err
	}
	h := make(http.Header)
	switch {
	case conditions.Put && etag == "":
		h.Set("If-None-Match", "*")
	case conditions.Put:
		h.Set("If-Match", s3op.QuoteETag(etag))
	case time.Now().Before(r.lateUntil) && (r.isUnanswered || etag != "" || content.Sequence > 0):
		// An older mark that landed on a newer one would be taken for a region that came back older.
		return nil
	}
	return k.put(ctx, r, content, h)
}

// put writes the mark, and records it.
func (k *Keeper) put(ctx context.Context, r *keptRegion, content *Content, h http.Header) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	h.Set("Content-Type", "application/json")
	r.seen("") // until it is recorded, whoever checks reads it whole
	etag, err := r.Put(ctx, Key, h, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		if region.OutcomeOf(err) == region.Ambiguous {
			r.lateUntil, r.isUnanswered = time.Now().Add(k.DoubtWindow), true
		}
		return fmt.Errorf("write the mark: %w", err)
	}
	if err := k.Journal.SetMark(context.WithoutCancel(ctx), k.Bucket, r.Name(), content.mark(etag)); err != nil {
		return fmt.Errorf("record the mark: %w", err)
	}
	r.seen(etag)
	return nil
}

// content is what the region's mark says from now on; before is when the last was written.
func (k *Keeper) content(ctx context.Context, name string, before time.Time) (*Content, error) {
	state, position, err := k.position(ctx)
	if err != nil {
		return nil, err
	}
	// The precision is the journal's. A clock that was set back makes no mark older.
	now := time.Now().UTC().Truncate(time.Microsecond)
	if !now.After(before) {
		now = before.Add(time.Microsecond).UTC()
	}
	return &Content{
		Journal: state.JournalID, Region: name, Bucket: k.Bucket, Active: state.Active, Epoch: state.Epoch, Sequence: position,
		WrittenAt: now, Checkpoint: k.Checkpoint(),
	}, nil
}

// position is where the journal stands.
func (k *Keeper) position(ctx context.Context) (journal.State, int64, error) {
	state, err := k.Journal.State(ctx)
	if err != nil {
		return journal.State{}, 0, err
	}
	sequence, err := k.Journal.Position(ctx)
	return state, sequence, err
}

// end ends the region's regression, and tells, where every copy was verified by now.
func (k *Keeper) end(ctx context.Context, name string) error {
	before, err := k.Journal.Regressed(ctx, k.Bucket)
	if _, is := before[name]; err != nil || !is {
		return err
	}
	isStill, err := k.Journal.Verified(ctx, k.Bucket, name)
	if err != nil || isStill {
		return err
	}
	k.Logger.InfoContext(ctx, "region verified: it holds what the index says", "region", name)
	return k.tell(ctx)
}
