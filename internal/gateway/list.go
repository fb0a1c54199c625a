package gateway

import (
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/mutant"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/route"
	"github.com/gnew/tandem/internal/s3op"
)

// ListInput chooses a page of the bucket's listing.
type ListInput struct {
	Prefix, Delimiter string
	// Cursor is the Next of the page before, "" for the first.
	Cursor string
	// Limit is 1 to region.MaxListKeys entries; 0 is the most.
	Limit int
	// AllowStale takes a listing that cannot be corrected rather than none.
	AllowStale bool
}

// Listing is a page of the bucket as clients are to see it: what the index knows
// better than the region is put right, page by page, in byte order.
type Listing struct {
	Objects        []region.ListedObject
	CommonPrefixes []string
	// Next is the Cursor of the next page, "" after the last.
	Next      string
	Region    string
	Fallback  bool
	Freshness route.Freshness
}

// maxSuffix ends the range of a prefix: no UTF-8 text sorts after it.
const maxSuffix = "\xff"

// lastBelow is the last legal key that begins with the prefix, or a string in its
// place: a region that begins behind it has skipped them all.
func lastBelow(prefix string) string {
	const lastOfFourBytes = "\U0010FFFF"
	room := max(s3op.MaxKeyBytes-len(prefix), 0)
	lastOfLess := [...]string{"", "\u007F", "\u07FF", "\uFFFF"}[room%4]
	return prefix + strings.Repeat(lastOfFourBytes, room/4) + lastOfLess
}

// maxPages bounds the pages of a region that one page of ours may take, where
// tombstones empty them.
const maxPages = 20

// List answers a listing by the rules of docs/SEMANTICS.md, "Listing".
func (g *Gateway) List(ctx context.Context, in ListInput) (*Listing, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil || len(after) > 0 && s3op.CheckKey(string(after)) != nil {
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", "the cursor is not one that a listing gave")
	}
	if in.Limit < 0 || in.Limit > region.MaxListKeys {
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", "the limit is 1 to 1000")
	}
	in.Limit = cmp.Or(in.Limit, region.MaxListKeys)
	in.AllowStale = in.AllowStale || g.AllowStaleReads
	for {
		v := g.view.Load()
		page, err := g.list(ctx, in, v, string(after))
		if !g.foundOlder(v) {
			return page, err
		}
	}
}

// list answers as the view has it.
func (g *Gateway) list(ctx context.Context, in ListInput, v *view, after string) (*Listing, error) {
	var failed error
	for _, name := range append([]string{v.Active}, slices.DeleteFunc(slices.Clone(v.names), func(n string) bool { return n == v.Active })...) {
		l := &lister{g: g, in: in, view: v, source: g.regions[name], certain: true}
		g.Metrics.asks(l.source, opList)
		page, err := l.page(ctx, after)
		if region.IsDown(err) {
			failed = cmp.Or(failed, err)
			continue
		}
		if err != nil {
			return nil, region.ToClient(err)
		}
		if page.Fallback {
			g.Metrics.fellBack(name)
		}
		return page, nil
	}
	return nil, region.ToClient(failed)
}

// lister makes one page of a listing from one region and the index.
type lister struct {
	g      *Gateway
	in     ListInput
	view   *view
	source *region.Region
	// certain is false where the page cannot be put right.
	certain bool
	entries map[string]*region.ListedObject // nil for a common prefix
}

func (l *lister) page(ctx context.Context, after string) (*Listing, error) {
	l.entries = make(map[string]*region.ListedObject)
	isActive := l.source.Name() == l.view.Active
	if !isActive && !(l.view.compared[l.source.Name()] && l.view.compared[l.view.Active]) {
		l.certain = false // either may have keys that the index does not know
	}
	end, more := after, true
	for pages := 0; more && len(l.entries) < l.in.Limit && pages < maxPages; pages++ {
		var err error
		if end, more, err = l.extend(ctx, end); err != nil {
			return nil, err
		}
	}
	if !l.certain && !l.in.AllowStale {
		return nil, notYetReplicated(l.source.Name(), time.Time{},
			"the index cannot put right what this region lists; try again, or allow it as it is with X-Tandem-Allow-Stale: true")
	}
	page := &Listing{Region: l.source.Name(), Fallback: !isActive, Freshness: route.Current}
	if !l.certain || isActive && !l.view.compared[l.view.Active] {
		page.Freshness = route.Unknown
	}
	names := slices.Sorted(maps.Keys(l.entries))
	if len(names) > l.in.Limit {
		names, more = names[:l.in.Limit], true
		end = names[len(names)-1]
	}
	for _, name := range names {
		if o := l.entries[name]; o != nil {
			page.Objects = append(page.Objects, *o)
		} else {
			page.CommonPrefixes = append(page.CommonPrefixes, name)
		}
	}
	if more {
		page.Next = base64.RawURLEncoding.EncodeToString([]byte(end))
	}
	return page, nil
}

// extend adds the entries after `after` of one page of the region, put right. It
// returns the entry up to which the page is complete, and whether more may follow.
//
// The index is read before the region, and that makes the page right without a look at
// both in one moment. A key on which they did not differ then was in the region as it was
// acknowledged; the region has shown that since, or something newer. A key on which they
// did differ is shown as the row said, whatever the region was brought to meanwhile. Each
// key is thus as it was acknowledged at some moment since the request came. The other way
// round, a copy that ends between the two looks is in neither: a key is lost, or one that
// was deleted long ago is shown.
func (l *lister) extend(ctx context.Context, after string) (end string, more bool, err error) {
	rows, through, err := l.differing(ctx, after)
	if err != nil {
		return "", false, err
	}
	startAfter := after
	if l.isPrefix(after) {
		startAfter = lastBelow(after)
	}
	listed, err := l.source.List(ctx, region.ListOptions{
		Prefix: l.in.Prefix, Delimiter: l.in.Delimiter, StartAfter: startAfter, Limit: l.in.Limit,
	})
	if err != nil {
		return "", false, err
	}
	found := make(map[string]*region.ListedObject)
	for _, o := range listed.Objects {
		found[o.Key] = &o
		end = max(end, o.Key)
	}
	for _, prefix := range listed.CommonPrefixes {
		found[prefix] = nil
		end = max(end, prefix)
	}
	if listed.Truncated && end <= after {
		return "", false, unavailable(l.source.Name(), "its listing does not go on where it was asked to", nil)
	}
	more = listed.Truncated
	if through != "" && (!more || through < end) {
		end, more = through, true
	}
	isOnPage := func(name string) bool { return name > after && (!more || name <= end) && !s3op.IsReserved(name) }
	if err := l.correct(ctx, found, rows, isOnPage); err != nil {
		return "", false, err
	}
	for name, o := range found {
		if isOnPage(name) {
			l.entries[name] = o
		}
	}
	return end, more, nil
}

// The rows of the index that one page of a region is put right with, at least and at
// most; a page that needs more ends earlier.
const (
	minCorrections = 100
	maxCorrections = 2 * region.MaxListKeys
)

// differing returns the rows of entries after `after` on which the region may differ
// from the index, up to the entry `through`; to the end where that is "".
func (l *lister) differing(ctx context.Context, after string) (rows []*journal.Object, through string, err error) {
	from, upTo := l.bounds(after)
	limit := min(max(2*l.in.Limit, minCorrections), maxCorrections)
	rows, err = l.readRows(ctx, from, upTo, limit)
	if err != nil || len(rows) < limit {
		return rows, "", err
	}
	last := rows[len(rows)-1].Key
	through, belowPrefix := l.entry(last)
	if !belowPrefix {
		return rows, through, nil
	}
	// The rows end below a common prefix. Whether that is there is for all of its keys to
	// say, but for one that is there for certain.
	for range maxPages {
		if slices.ContainsFunc(rows, func(o *journal.Object) bool { return l.isAcknowledged(o) && strings.HasPrefix(o.Key, through) }) {
			return rows, through, nil
		}
		rest, err := l.readRows(ctx, last, through+maxSuffix, maxCorrections)
		rows = append(rows, rest...)
		if err != nil || len(rest) < maxCorrections {
			return rows, through, err
		}
		last = rest[len(rest)-1].Key
	}
	l.certain = false
	return rows, through, nil
}

func (l *lister) readRows(ctx context.Context, from, upTo string, limit int) ([]*journal.Object, error) {
	rows, err := l.g.Journal.Differing(ctx, l.g.Bucket, l.source.Name(), from, upTo, limit)
	if err != nil {
		return nil, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the index cannot be read, so the listing cannot be put right; try again", err)
	}
	return rows, nil
}

// isAcknowledged reports whether the index alone says that the key is there.
func (l *lister) isAcknowledged(o *journal.Object) bool {
	return !l.isContested(o) && !o.Deleted && !o.Version.IsZero()
}

// isContested reports whether only the active can say what the key is. Where that is not known
// to hold the acknowledged version, what it lists may be older.
func (l *lister) isContested(o *journal.Object) bool {
	return (o.Contested(l.view.Active) || o.IsOpenToURLs(l.view.Active)) && !o.IsBehind(l.view.Active)
}

// isOlder reports whether the active lists what is known to be older than the key's acknowledged
// version. (A copy has no answer; its region is promoted, and the key deleted there; the copy lands.)
func (l *lister) isOlder(o *journal.Object, listed *region.ListedObject) bool {
	return listed != nil && l.source.Name() == l.view.Active && slices.Contains(o.OlderIn(l.view.Active), listed.ETag)
}

// correct puts right what a region's page shows, with the rows of the entries on it.
func (l *lister) correct(ctx context.Context, found map[string]*region.ListedObject, rows []*journal.Object, isOnPage func(string) bool) error {
	thinned := make(map[string]map[string]bool) // the tombstones below common prefixes
	for _, o := range rows {
		name, belowPrefix := l.entry(o.Key)
		switch {
		case !strings.HasPrefix(o.Key, l.in.Prefix) || !isOnPage(name):
		case l.isContested(o) && (belowPrefix || !l.isOlder(o, found[name])):
			// What the active shows is what there is; a replica cannot know.
			l.certain = l.certain && l.source.Name() == l.view.Active
		case o.Deleted && mutant.On(mutant.ListedTombstones), !o.Deleted && mutant.On(mutant.UnlistedKeys):
		case o.Deleted && !belowPrefix:
			delete(found, name)
		case o.Deleted:
			if thinned[name] == nil {
				thinned[name] = make(map[string]bool)
			}
			thinned[name][o.Key] = true
		case !belowPrefix:
			found[name] = &region.ListedObject{Key: o.Key, ETag: o.ETag, Size: o.Size, LastModified: o.UpdatedAt}
		default:
			found[name] = nil
		}
	}
	return l.dropEmpty(ctx, found, rows, thinned)
}

// dropEmpty takes out the common prefixes below which there is nothing but tombstones,
// and what is Tandem's own.
func (l *lister) dropEmpty(ctx context.Context, found map[string]*region.ListedObject, rows []*journal.Object, thinned map[string]map[string]bool) error {
	for name, o := range found {
		if o == nil && thinned[name] == nil && strings.HasPrefix(s3op.ReservedPrefix, name) {
			thinned[name] = nil
		}
	}
	for _, o := range rows {
		if name, _ := l.entry(o.Key); l.isAcknowledged(o) {
			delete(thinned, name)
		}
	}
	for prefix, dead := range thinned {
		if _, isListed := found[prefix]; !isListed {
			continue
		}
		alive, err := l.isAlive(ctx, prefix, dead)
		if err != nil {
			return err
		}
		if !alive {
			delete(found, prefix)
		}
	}
	return nil
}

// bounds are those of the keys whose entries lie after `after`, as byte strings that
// need not be keys.
func (l *lister) bounds(after string) (from, upTo string) {
	from = after
	if l.isPrefix(after) {
		from += maxSuffix
	}
	if l.in.Prefix != "" {
		from = max(from, before(l.in.Prefix))
		upTo = l.in.Prefix + maxSuffix
	}
	return from, upTo
}

// before is a byte string that sorts before s and after every key that sorts
// before s and has not its prefix.
func before(s string) string {
	last := s[len(s)-1]
	if last == 0 {
		return s[:len(s)-1]
	}
	return s[:len(s)-1] + string([]byte{last - 1}) + maxSuffix
}

// entry is the name under which a key appears: its own, or its common prefix, which may
// be one and the same: the key "a/" appears as the prefix "a/".
func (l *lister) entry(key string) (name string, isPrefix bool) {
	rest, ok := strings.CutPrefix(key, l.in.Prefix)
	if !ok || l.in.Delimiter == "" {
		return key, false
	}
	if i := strings.Index(rest, l.in.Delimiter); i >= 0 {
		return l.in.Prefix + rest[:i+len(l.in.Delimiter)], true
	}
	return key, false
}

// isPrefix reports whether an entry is a common prefix.
func (l *lister) isPrefix(entry string) bool {
	_, isPrefix := l.entry(entry)
	return isPrefix
}

// isAlive reports whether the region shows a client's key below the prefix that is none
// of the dead, which are all the tombstones there.
func (l *lister) isAlive(ctx context.Context, prefix string, dead map[string]bool) (bool, error) {
	after := ""
	for range maxPages {
		// With one key more than the dead there is one that is not.
		limit := min(len(dead)+1, region.MaxListKeys)
		listed, err := l.source.List(ctx, region.ListOptions{Prefix: prefix, StartAfter: after, Limit: limit})
		if err != nil {
			return false, err
		}
		for _, o := range listed.Objects {
			after = o.Key
			if !dead[o.Key] && !s3op.IsReserved(o.Key) {
				return true, nil
			}
		}
		if !listed.Truncated {
			return false, nil
		}
	}
	l.certain = false
	return true, nil
}
