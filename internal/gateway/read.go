package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/route"
	"github.com/gnew/tandem/internal/s3op"
)

// ReadInput is what a client asks of a key.
type ReadInput struct {
	// Header holds Range, If-Range, the conditional headers and X-Amz-Checksum-Mode; what
	// else is in it is left out.
	Header http.Header
	// PreferReplica asks a replica first, where it is current.
	PreferReplica bool
	// AllowStale takes an older version rather than none.
	AllowStale bool
	// Repair puts the active's copy into the queue where the active was found not to
	// hold what it should, or did not answer.
	Repair bool
	// HeadOnly asks for no body.
	HeadOnly bool
	// AsSent passes all of the header on to the region, and the Query.
	AsSent bool
	Query  url.Values
}

// Read is the answer. The caller closes Body, which is nil where none was asked for.
type Read struct {
	region.Attributes
	Body   io.ReadCloser
	Region string
	// Fallback: a replica answered, although the active was asked first.
	Fallback  bool
	Freshness route.Freshness
	// Version of the bytes; zero where only a look into the index could tell.
	Version journal.Version
	Repair  RepairState
}

// RepairState is what became of ReadInput.Repair.
type RepairState string

// The values of X-Tandem-Repair.
const (
	RepairNone   RepairState = "none"
	RepairQueued RepairState = "queued"
	RepairDone   RepairState = "done"
)

// readHeaders are what a region is given of a client's read.
var readHeaders = []string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "X-Amz-Checksum-Mode"}

// readAttempts bounds how often a read is planned anew when the key moves under it.
const readAttempts = 3

// reader carries one read.
type reader struct {
	g      *Gateway
	key    string
	in     ReadInput
	header http.Header
	view   *view
	// object is the key's row; asked says whether the index was asked for it.
	object *journal.Object
	asked  bool
	// dirty: the active's copy is not known to be the acknowledged version.
	dirty bool
	mark  uint64
	// activeDown is why the active did not answer, nil where it did or was not asked.
	activeDown error
	// activeMissing: the active answered that it has no such key, before the index was
	// asked: a write may have been acknowledged between the two.
	activeMissing bool
	// moved: a region answered with another version than planned.
	moved bool
}

// Read answers a GET or HEAD by the rules of docs/SEMANTICS.md, "Reading". An
// error is an *s3op.Error.
func (g *Gateway) Read(ctx context.Context, key string, in ReadInput) (*Read, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return g.readIfRange(ctx, key, in)
}

// readIfRange honours If-Range, which S3 has not: the part that was asked for is answered only
// while the object has that ETag, so that no client joins parts of two objects. Everything
// else is answered whole.
func (g *Gateway) readIfRange(ctx context.Context, key string, in ReadInput) (*Read, error) {
	part, whole, isConditional := ifRange(in.Header)
	if !isConditional {
		return g.read(ctx, key, in)
	}
	if part != nil {
		in.Header = part
		answer, err := g.read(ctx, key, in)
		if s3op.KindOf(err) != s3op.Precondition {
			return answer, err
		}
	}
	in.Header = whole
	return g.read(ctx, key, in)
}

// ifRange returns the header of a read of the part, on condition that the object has
// the ETag of If-Range, and of one of the whole. part is nil where that condition could not
// be told from another: a date, a weak ETag (RFC 9110, section 13.1.5), or beside
// conditions that If-Match would replace.
func ifRange(h http.Header) (part, whole http.Header, isConditional bool) {
	etag := h.Get("If-Range")
	if len(h["If-Range"]) == 0 || len(h["Range"]) == 0 {
		return nil, nil, false
	}
	whole = h.Clone()
	whole.Del("Range")
	whole.Del("If-Range")
	isStrong := len(etag) > 2 && etag[0] == '"' && strings.Index(etag[1:], `"`) == len(etag)-2
	if !isStrong || len(h["If-Range"]) > 1 || len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0 {
		return nil, whole, true
	}
	part = h.Clone()
	part.Del("If-Range")
	part.Set("If-Match", etag)
	return part, whole, true
}

func (g *Gateway) read(ctx context.Context, key string, in ReadInput) (*Read, error) {
	header := in.Header
	if !in.AsSent {
		header = make(http.Header)
		for _, name := range readHeaders {
			if values := in.Header[name]; len(values) > 0 {
				header[name] = values
			}
		}
	}
	in.AllowStale = in.AllowStale || g.AllowStaleReads
	for range readAttempts {
		r := &reader{g: g, key: key, in: in, header: header, view: g.view.Load()}
		answer, err := r.read(ctx)
		if g.foundOlder(r.view) {
			if err == nil && answer.Body != nil {
				_ = answer.Body.Close()
			}
			continue
		}
		if err == nil {
			answer.Repair = r.repair(ctx, answer)
			return answer, nil
		}
		if !r.moved {
			return nil, err
		}
	}
	return nil, notYetReplicated(g.view.Load().Active, time.Time{}, "the key, or what is known of the regions, changes faster than it can be read; try again")
}

func (r *reader) read(ctx context.Context) (*Read, error) {
	r.mark, r.dirty = r.view.dirty.has(r.key)
	if r.in.PreferReplica || r.dirty || r.view.regressed[r.view.Active] && !mutant.On(mutant.RegressedActiveReads) || !r.view.compared[r.view.Active] {
		if err := r.ask(ctx); err != nil {
			return r.withoutIndex(ctx, err)
		}
	} else if answer, err := r.readSettled(ctx); err == nil || !r.fallsBack() {
		return answer, err
	}
	if !r.asked {
		// The active failed, or lacks what it may have to have: only the index knows.
		if err := r.ask(ctx); err != nil {
			return nil, unavailable(r.view.Active, "it did not answer, and the index cannot say who else has the key", err)
		}
	}
	return r.follow(ctx)
}

// readSettled reads a key of which the active is known to hold the acknowledged
// version: no look into the index.
func (r *reader) readSettled(ctx context.Context) (*Read, error) {
	answer, err := r.from(ctx, r.view.Active)
	if err != nil {
		return nil, r.failed(r.view.Active, err)
	}
	answer.Freshness = route.Current
	answer.Version = r.g.seen.get(r.key, answer.ETag())
	if _, dirty := r.view.dirty.has(r.key); dirty && answer.Version.IsZero() {
		answer.Freshness = r.raced(ctx, answer.ETag())
	}
	return answer, nil
}

// raced says what is known of an object that was read while a write of its key was under way. (A read begins; a
// PUT is applied and its commit fails; the read shows what it brought; another region is promoted: what was
// shown as current never was.)
func (r *reader) raced(ctx context.Context, etag string) route.Freshness {
	o, err := r.g.lookup(ctx, r.key)
	if err != nil || o == nil || o.Deleted || o.Copy(r.view.Active).ETag != etag {
		return route.Unknown
	}
	return route.Current
}

// withoutIndex: reads of the active go on without the index, for keys that it need
// not be asked about; of the others nobody knows how fresh an answer is.
func (r *reader) withoutIndex(ctx context.Context, err error) (*Read, error) {
	if r.dirty || r.view.regressed[r.view.Active] {
		return nil, unavailable(r.view.Active, "the index cannot say whether the key there is the acknowledged version", err)
	}
	answer, err := r.from(ctx, r.view.Active)
	if err != nil {
		return nil, r.told(err)
	}
	answer.Freshness = route.Unknown
	return answer, nil
}

// fallsBack reports whether another region may answer what the active did not.
func (r *reader) fallsBack() bool { return r.activeDown != nil || r.activeMissing }

// failed notes why a region did not answer, and returns what a client would be told.
func (r *reader) failed(name string, err error) error {
	if name == r.view.Active {
		switch {
		case region.IsDown(err):
			r.activeDown = err
		case region.IsNotFound(err):
			r.activeMissing = true
		}
	}
	return r.told(err)
}

// ask looks the key up, and clears a key that turns out to be clean.
func (r *reader) ask(ctx context.Context) error {
	o, err := r.g.lookup(ctx, r.key)
	if err != nil {
		return err
	}
	r.object, r.asked = o, true
	if r.dirty && (o == nil || isClean(o, r.view.Active)) {
		r.view.dirty.clear(r.key, r.mark)
		r.dirty = false
	}
	return nil
}

// lookup returns nil where the index has no row.
func (g *Gateway) lookup(ctx context.Context, key string) (*journal.Object, error) {
	o, err := g.Journal.Lookup(ctx, g.Bucket, key)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the index cannot be read; try again", err)
	}
	if !o.Contested(g.view.Load().Active) && !o.Deleted {
		g.seen.put(key, o.ETag, o.Version)
	}
	return o, nil
}

// isClean reports whether the active holds the acknowledged version, and no write
// is under way.
func isClean(o *journal.Object, active string) bool {
	isOpen := slices.ContainsFunc(o.Intents, func(i journal.Intent) bool { return i.Region == active })
	return !o.Contested(active) && !isOpen && o.Copy(active).State == journal.Current
}

// follow asks the plan's candidates in turn.
func (r *reader) follow(ctx context.Context) (*Read, error) {
	plan := route.Read(route.Input{
		Active: r.view.Active, Regions: r.view.names, Object: r.object, Uncompared: r.view.Uncompared,
		Compared:      func(name string) bool { return r.view.compared[name] },
		PreferReplica: r.in.PreferReplica, AllowStale: r.in.AllowStale, Regressed: r.view.regressed[r.view.Active],
		Distrusted: r.dirty || r.view.regressed[r.view.Active],
	})
	for _, c := range plan.Candidates {
		if c.Region == r.view.Active {
			if r.activeDown != nil {
				continue // it was asked just now
			}
			if r.activeMissing && c.Decisive {
				return nil, noSuchKey()
			}
		}
		answer, err := r.from(ctx, c.Region)
		if err == nil {
			if answer, ok := r.accept(c, answer); ok {
				return answer, nil
			}
			if r.object != nil && r.object.Deleted && !r.moved {
				return nil, noSuchKey() // what it shows is older than the delete
			}
			continue
		}
		told := r.failed(c.Region, err)
		switch {
		case region.IsNotFound(err) && c.Decisive:
			return nil, noSuchKey()
		case region.IsNotFound(err):
			r.missing(ctx, c)
		case !region.IsDown(err) && !errors.Is(err, region.ErrKey):
			// It answered, and the client is to mend the request. A condition was judged
			// against the object that is there, so that must be the right one.
			if r.judged(c, err) {
				return nil, told
			}
		}
	}
	return nil, r.verdict(plan)
}

// accept says of an answer what is known of it, or refuses it because it shows
// another version than the plan asked for.
func (r *reader) accept(c route.Candidate, answer *Read) (*Read, bool) {
	etag := answer.ETag()
	hasMoved := c.ETag != "" && etag != c.ETag && !(c.Region != r.view.Active && mutant.On(mutant.ReplicasAnswerUnchecked))
	if hasMoved || slices.Contains(c.Older, etag) {
		r.moved = r.moved || hasMoved
		if answer.Body != nil {
			_ = answer.Body.Close()
		}
		return nil, false
	}
	answer.Freshness = c.Freshness
	answer.Fallback = c.Region != r.view.Active && !r.in.PreferReplica
	if o := r.object; o != nil {
		shown := o.Copy(c.Region)
		switch {
		case c.Freshness == route.Stale:
			answer.Version = shown.Version
		case shown.ETag == etag && !o.Deleted:
			answer.Version = o.Version
		default:
			answer.Freshness = route.Unknown
		}
	}
	if answer.Fallback {
		r.g.Metrics.fellBack(c.Region)
	}
	return answer, true
}

// judged reports whether a refusal, such as 304 or 412, speaks of the version that
// the plan asked for.
func (r *reader) judged(c route.Candidate, err error) bool {
	e, ok := errors.AsType[*region.Error](err)
	if !ok || c.ETag == "" && len(c.Older) == 0 {
		return ok
	}
	etag := s3op.TrimETag(e.Header.Get("Etag"))
	if c.ETag == "" {
		return etag != "" && !slices.Contains(c.Older, etag)
	}
	if etag == "" || etag == c.ETag {
		return true
	}
	r.moved = true
	return false
}

// missing records that a region does not hold what the index says it does; unless the
// key has moved on since the index was asked, and the read is to be planned anew.
func (r *reader) missing(ctx context.Context, c route.Candidate) {
	if r.object == nil || c.Freshness != route.Current {
		return
	}
	o, err := r.g.lookup(ctx, r.key)
	switch {
	case err != nil:
		return
	case o == nil || o.Version != r.object.Version || o.Contested(r.view.Active) != r.object.Contested(r.view.Active):
		r.moved = true
	default:
		r.g.markMissing(ctx, o, c.Region)
	}
}

func (g *Gateway) markMissing(ctx context.Context, o *journal.Object, name string) {
	mark := func() {
		// The region may be about to become active.
		if name == g.view.Load().Active || g.coming.Load() != nil {
			g.Distrust(o.Key)
		}
	}
	mark()
	err := g.Journal.MarkMissing(ctx, g.Bucket, o.Key, name, o.Version)
	mark() // again: a reader may have found the key clean before that was recorded
	g.Logger.WarnContext(ctx, "region does not hold an object that it should", "region", name, "version", o.Version, "err", err)
	g.Committed() // a replica's copy is in the queue
}

func (r *reader) verdict(plan route.Plan) error {
	switch {
	case plan.Otherwise == route.Absent:
		return noSuchKey()
	case plan.Otherwise == route.NotYetReplicated:
		return notYetReplicated(plan.Behind, plan.Since,
			"no region that answers is known to hold the acknowledged version; try again, or allow an older one with X-Tandem-Allow-Stale: true")
	}
	if r.view.Uncompared && r.activeDown == nil && r.object == nil {
		return &s3op.Error{
			Kind: s3op.Unavailable, Code: "NotCompared", Region: r.view.Active,
			Message: "region " + r.view.Active + " was promoted by force and its bucket was never compared, so whether the key exists is not known",
		}
	}
	return unavailable(r.view.Active, "it did not answer, and no other region can say whether the key exists", r.activeDown)
}

func noSuchKey() error {
	return s3op.NewError(s3op.NotFound, "NoSuchKey", "the key does not exist")
}

// from reads the key from one region.
func (r *reader) from(ctx context.Context, name string) (*Read, error) {
	source, header := r.g.regions[name], r.header
	if name != r.view.Active && (header.Get("If-Modified-Since") != "" || header.Get("If-Unmodified-Since") != "") {
		// A copy has its own date: one that the client knows is not to be compared with it.
		header = header.Clone()
		header.Del("If-Modified-Since")
		header.Del("If-Unmodified-Since")
		header.Del("Range") // the rest of what it has is perhaps of another version
	}
	r.g.Metrics.asks(source, opRead)
	o, err := r.send(ctx, source, header)
	if err != nil {
		return nil, err
	}
	if r.in.HeadOnly {
		return &Read{Attributes: o.Attributes, Region: name}, nil
	}
	body := &resumedBody{
		g: r.g, ctx: ctx, key: r.key, etag: o.ETag(), body: o.Body, tried: []string{name},
	}
	if body.next, body.end = o.Span(); r.in.Query.Has("partNumber") && o.Header.Get("Content-Range") == "" {
		body.end = 0 // where the part begins the region did not say
	}
	return &Read{Attributes: o.Attributes, Body: body, Region: name}, nil
}

// send asks a region for the key. Of a HEAD the answer has no Body.
func (r *reader) send(ctx context.Context, source *region.Region, header http.Header) (*region.Object, error) {
	switch {
	case r.in.HeadOnly && r.in.AsSent:
		o, err := source.Pass(ctx, region.Passed{Operation: "HeadObject", Method: http.MethodHead, Key: r.key, Query: r.in.Query, Header: header})
		if err == nil {
			_ = o.Body.Close()
		}
		return o, err
	case r.in.HeadOnly:
		a, err := source.Head(ctx, r.key, header)
		return &region.Object{Attributes: a}, err
	case r.in.AsSent:
		return source.Pass(ctx, region.Passed{Operation: "GetObject", Method: http.MethodGet, Key: r.key, Query: r.in.Query, Header: header})
	}
	return source.Get(ctx, r.key, header)
}

// told is what a client is told of a region's refusal.
func (r *reader) told(err error) error {
	if r.in.AsSent {
		return region.AsAnswered(err)
	}
	return region.ToClient(err)
}

// repair puts the active's copy into the queue where a replica answered for it with the
// acknowledged version.
func (r *reader) repair(ctx context.Context, answer *Read) RepairState {
	if !r.in.Repair {
		return ""
	}
	isAcknowledged := r.object != nil && !r.object.Deleted && answer.Freshness == route.Current && answer.Version == r.object.Version
	if !isAcknowledged || answer.Region == r.view.Active || r.activeDown == nil && !r.activeMissing && !r.activeBehind() {
		return RepairNone
	}
	r.g.Distrust(r.key)
	queued, err := r.g.Journal.Request(ctx, r.g.Bucket, r.key, r.view.Active, r.object.Version)
	r.g.Distrust(r.key) // as in markMissing
	if err != nil {
		r.g.Logger.WarnContext(ctx, "repair not queued", "region", r.view.Active, "err", err)
	}
	if !queued {
		return RepairNone
	}
	r.g.Committed()
	if r.in.HeadOnly && r.activeDown == nil && r.awaitRepair(ctx) {
		return RepairDone
	}
	return RepairQueued
}

func (r *reader) activeBehind() bool {
	states := []journal.CopyState{journal.Missing, journal.Pending}
	return slices.Contains(states, r.object.Copy(r.view.Active).State)
}

const (
	repairWait = 2 * time.Second
	repairPoll = 20 * time.Millisecond
)

// awaitRepair waits a little for the worker; only a request without a body does.
func (r *reader) awaitRepair(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, repairWait)
	defer cancel()
	tick := time.NewTicker(repairPoll)
	defer tick.Stop()
	for {
		o, err := r.g.lookup(ctx, r.key)
		if err == nil && o != nil && o.Copy(r.view.Active).State == journal.Current {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// resumedBody is an object's content. Where the region that sends it fails half-way,
// another that holds the same version goes on from there.
type resumedBody struct {
	g    *Gateway
	ctx  context.Context
	key  string
	etag string
	body io.ReadCloser
	// next is the offset in the object of the next byte, end the one after the last.
	next, end int64
	tried     []string
}

func (b *resumedBody) Read(p []byte) (int, error) {
	for {
		n, err := b.body.Read(p)
		b.next += int64(n)
		if err == io.EOF && b.next < b.end {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 && err != nil && err != io.EOF {
			err = nil // the failure comes again with the next read
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if !b.resume() {
			return 0, err
		}
	}
}

func (b *resumedBody) Close() error { return b.body.Close() }

// resume goes on at another region whose copy is of the same version.
func (b *resumedBody) resume() bool {
	if b.ctx.Err() != nil || b.end <= 0 {
		return false
	}
	o, err := b.g.lookup(b.ctx, b.key)
	if err != nil || o == nil || o.Deleted || o.Contested(b.g.view.Load().Active) {
		return false
	}
	isOther := o.Copy(b.tried[0]).ETag != b.etag || o.Copy(b.tried[0]).Version != o.Version
	if isOther && !mutant.On(mutant.ResumedUnchecked) {
		return false // what was being sent is no longer the acknowledged version
	}
	for _, name := range b.g.view.Load().names {
		c := o.Copy(name)
		if slices.Contains(b.tried, name) || c.State != journal.Current {
			continue
		}
		b.tried = append(b.tried, name)
		b.g.Metrics.asks(b.g.regions[name], opRead)
		rest, err := b.g.regions[name].Get(b.ctx, b.key, http.Header{
			"Range":    {fmt.Sprintf("bytes=%d-%d", b.next, b.end-1)},
			"If-Match": {s3op.QuoteETag(c.ETag)},
		})
		if err != nil {
			continue
		}
		if start, end := rest.Span(); start != b.next || end != b.end {
			_ = rest.Body.Close()
			continue
		}
		b.g.Logger.WarnContext(b.ctx, "download goes on in another region", "region", name)
		b.g.Metrics.fellBack(name)
		_ = b.body.Close()
		b.body = rest.Body
		return true
	}
	return false
}

// Regions are the names of the regions, in the configured order.
func (g *Gateway) Regions() []string { return slices.Clone(g.view.Load().names) }

// State is the present epoch.
func (g *Gateway) State() journal.State { return g.view.Load().State }

// ComparedRegions are the regions whose bucket was compared.
func (g *Gateway) ComparedRegions() map[string]bool { return maps.Clone(g.view.Load().compared) }

// RegressedRegions are the regions that came back older than they were.
func (g *Gateway) RegressedRegions() map[string]bool { return maps.Clone(g.view.Load().regressed) }
