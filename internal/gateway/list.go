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

// lastRune, behind a common prefix, lets a region skip what is below it.
const lastRune = "\U0010FFFF"

// maxPages bounds the pages of a region that one page of ours may take, where
// tombstones empty them.
const maxPages = 20

// List answers a listing by the rules of docs/SEMANTICS.md, "Listing".
func (g *Gateway) List(ctx context.Context, in ListInput) (*Listing, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", "the cursor is not one that a listing gave")
	}
	if in.Limit < 0 || in.Limit > region.MaxListKeys {
		return nil, s3op.NewError(s3op.Invalid, "InvalidArgument", "the limit is 1 to 1000")
	}
	in.Limit = cmp.Or(in.Limit, region.MaxListKeys)
	in.AllowStale = in.AllowStale || g.AllowStaleReads
	v := g.view.Load()
	var failed error
	for _, name := range append([]string{v.Active}, slices.DeleteFunc(slices.Clone(g.names), func(n string) bool { return n == v.Active })...) {
		l := &lister{g: g, in: in, view: v, source: g.regions[name], certain: true}
		page, err := l.page(ctx, string(after))
		if region.IsDown(err) {
			failed = cmp.Or(failed, err)
			continue
		}
		if err != nil {
			return nil, region.ToClient(err)
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
	if !isActive && !l.view.compared[l.source.Name()] {
		l.certain = false
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
			"the active region does not answer, and the listing of this one cannot be put right; try again, or allow it with X-Tandem-Allow-Stale: true")
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
func (l *lister) extend(ctx context.Context, after string) (end string, more bool, err error) {
	startAfter := after
	if l.isPrefix(after) {
		startAfter += lastRune
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
	end, more, err = l.correct(ctx, found, after, end, listed.Truncated)
	if err != nil {
		return "", false, err
	}
	for name, o := range found {
		if name > after && (!more || name <= end) && !s3op.IsReserved(name) {
			l.entries[name] = o
		}
	}
	return end, more, nil
}

// correctionRows bounds the rows that one page is put right with; a page that
// needs more ends earlier.
const correctionRows = 2 * region.MaxListKeys

// correct puts right the entries in (after, end] with what the index knows better.
func (l *lister) correct(ctx context.Context, found map[string]*region.ListedObject, after, end string, truncated bool) (string, bool, error) {
	from, upTo := l.bounds(after, end, truncated)
	rows, err := l.g.Journal.Differing(ctx, l.g.Bucket, l.source.Name(), from, upTo, correctionRows)
	if err != nil {
		return "", false, s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the index cannot be read, so the listing cannot be put right; try again", err)
	}
	if len(rows) == correctionRows {
		end, truncated = l.entry(rows[len(rows)-1].Key), true
	}
	thinned := make(map[string][]*journal.Object) // rows that may empty a common prefix
	for _, o := range rows {
		name := l.entry(o.Key)
		switch {
		case !strings.HasPrefix(o.Key, l.in.Prefix) || name <= after:
		case o.Contested():
			// What the active shows is what there is; a replica cannot know.
			l.certain = l.certain && l.source.Name() == l.view.Active
		case o.Deleted && name == o.Key:
			delete(found, name)
		case o.Deleted:
			thinned[name] = append(thinned[name], o)
		case name == o.Key:
			found[name] = &region.ListedObject{Key: o.Key, ETag: o.ETag, Size: o.Size, LastModified: o.UpdatedAt}
		default:
			found[name] = nil
		}
	}
	for prefix, deleted := range thinned {
		if _, isListed := found[prefix]; !isListed {
			continue
		}
		alive, err := l.isAlive(ctx, prefix, deleted, rows)
		if err != nil {
			return "", false, err
		}
		if !alive {
			delete(found, prefix)
		}
	}
	return end, truncated, nil
}

// bounds are those of the keys whose entries lie in (after, end], as byte strings
// that need not be keys.
func (l *lister) bounds(after, end string, truncated bool) (from, upTo string) {
	from = after
	if l.isPrefix(after) {
		from += maxSuffix
	}
	if l.in.Prefix != "" {
		from = max(from, before(l.in.Prefix))
		upTo = l.in.Prefix + maxSuffix
	}
	if truncated {
		upTo = end
		if l.isPrefix(end) {
			upTo += maxSuffix
		}
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

// entry is the name under which a key appears: its own, or its common prefix.
func (l *lister) entry(key string) string {
	rest, ok := strings.CutPrefix(key, l.in.Prefix)
	if !ok || l.in.Delimiter == "" {
		return key
	}
	if i := strings.Index(rest, l.in.Delimiter); i >= 0 {
		return l.in.Prefix + rest[:i+len(l.in.Delimiter)]
	}
	return key
}

func (l *lister) isPrefix(name string) bool {
	return name != "" && l.in.Delimiter != "" && len(name) > len(l.in.Prefix) && strings.HasSuffix(name, l.in.Delimiter) && l.entry(name) == name
}

// isAlive reports whether a common prefix has a key that is not a tombstone.
func (l *lister) isAlive(ctx context.Context, prefix string, deleted, rows []*journal.Object) (bool, error) {
	dead := make(map[string]bool, len(deleted))
	for _, o := range deleted {
		dead[o.Key] = true
	}
	for _, o := range rows {
		if strings.HasPrefix(o.Key, prefix) && !o.Deleted {
			return true, nil
		}
	}
	after := ""
	for range maxPages {
		listed, err := l.source.List(ctx, region.ListOptions{Prefix: prefix, StartAfter: after})
		if err != nil {
			return false, err
		}
		for _, o := range listed.Objects {
			after = o.Key
			if dead[o.Key] {
				continue
			}
			// More may be deleted than the rows of one page say.
			row, err := l.g.lookup(ctx, o.Key)
			if err != nil {
				return false, err
			}
			if row == nil || !row.Deleted {
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
