package regiontest

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region"
)

// oddKeys are legal keys that a careless client, server or signature changes or loses.
func oddKeys() []string {
	keys := []string{
		"a", "a b", " a", "a ", "a+b", "a%2Fb", "%", "%41", "%zz", `a\b`, "emoji/😀", "ü/ü", "u\u0308", "日本語",
		"/", "//", "/a", "a/", "a//b", "a//", ".", "..", "./a", "../a", "a/./b", "a/../b", "a/..", "...", "x/...",
		".hidden", "-", "~b!$(),;@=", "q?x#y&z=1", ":*|<>\"'", "[a]{b}^`", "tab\tcr\rnl\n.", "&amp;", "<Key>", "]]>",
		"\x01", "a\x00b", "bell\a", "del\x7f", "nel\u0085", "\u2028", "\ufeffbom", "\ufffd", "a\uffff", "\U0010ffff",
		"http://host/path", "?uploads", "key?tagging", "a&versionId=null", "meta", ".tandem/region",
		strings.Repeat("s", 255), strings.Repeat("é", 127),
		strings.Repeat("k/", 511) + "kk", strings.Repeat("k", 1024), strings.Repeat("é", 512), strings.Repeat(" ", 1024), strings.Repeat("/", 1024),
	}
	slices.Sort(keys)
	return keys
}

func (c trial) oddKeys() {
	keys := slices.DeleteFunc(oddKeys(), func(key string) bool { return !c.facts.CanHold(key) })
	for _, key := range keys {
		if err := c.r.CheckKey(key); err != nil {
			c.t.Errorf("check key: %v", err)
		}
		c.put(key, "before", nil)
		c.put(key, key, nil)
	}
	for _, key := range keys {
		c.wantHeld("odd key", key, key)
		if a := c.head(key); a.ETag() != md5Hex(key) {
			c.t.Errorf("head %.50q: ETag %s, want that of the key", key, a.ETag())
		}
	}
	if diff := gocmp.Diff(keys, names(c.listAll(region.ListOptions{Limit: 7}))); diff != "" {
		c.t.Errorf("listing differs (-want +got):\n%s", diff)
	}
	for i, key := range keys {
		page, err := c.r.List(c.t.Context(), region.ListOptions{StartAfter: key, Limit: 1})
		if err != nil {
			c.t.Fatalf("list after %.50q: %v", key, err)
		}
		if diff := gocmp.Diff(keys[i+1:min(i+2, len(keys))], names(page), emptyIsNil()); diff != "" {
			c.t.Errorf("listing after %.50q differs (-want +got):\n%s", key, diff)
		}
	}
	for _, key := range keys {
		c.remove(key)
	}
	if left := names(c.listAll(region.ListOptions{})); len(left) > 0 {
		c.t.Errorf("left after deletes: %.100q", left)
	}
}

func (c trial) refusedKeys() {
	ctx := c.t.Context()
	for _, key := range append(oddKeys(), "") {
		if key != "" && c.facts.CanHold(key) {
			continue
		}
		_, putErr := c.r.Put(ctx, key, nil, strings.NewReader("body"), 4)
		_, getErr := c.r.Get(ctx, key, nil)
		_, headErr := c.r.Head(ctx, key, nil)
		_, tagsErr := c.r.Tags(ctx, key)
		_, createErr := c.r.CreateUpload(ctx, key, nil)
		for name, err := range map[string]error{
			"check": c.r.CheckKey(key), "put": putErr, "get": getErr, "head": headErr, "tags": tagsErr, "create upload": createErr,
			"delete": c.r.Delete(ctx, key, ""),
		} {
			if !errors.Is(err, region.ErrKey) || region.OutcomeOf(err) != region.Rejected || region.IsDown(err) || region.IsNotFound(err) {
				c.t.Errorf("%s %.50q: %v, want that the region cannot hold the key", name, key, err)
			}
		}
	}
	if err := c.r.CheckBucket(ctx); err != nil {
		c.t.Errorf("check bucket: %v", err)
	}
	if left := names(c.listAll(region.ListOptions{})); len(left) > 0 {
		c.t.Errorf("listing after refused puts: %.100q", left)
	}
}

// listAll reads every page, each from the last entry of the one before on.
func (c trial) listAll(o region.ListOptions) (all region.Listing) {
	c.t.Helper()
	limit := cmp.Or(o.Limit, region.MaxListKeys)
	for {
		page, err := c.r.List(c.t.Context(), o)
		if err != nil {
			c.t.Fatalf("list %+v: %v", o, err)
		}
		all.Objects = append(all.Objects, page.Objects...)
		all.CommonPrefixes = append(all.CommonPrefixes, page.CommonPrefixes...)
		switch n := len(page.Objects) + len(page.CommonPrefixes); {
		case n > limit:
			c.t.Fatalf("list %+v: %d entries on a page", o, n)
		case !page.Truncated:
			return all
		case n == 0:
			c.t.Fatalf("list %+v: an empty page that is not the last", o)
		}
		for _, object := range page.Objects {
			o.StartAfter = max(o.StartAfter, object.Key)
		}
		for _, prefix := range page.CommonPrefixes {
			o.StartAfter = max(o.StartAfter, prefix+"\U0010ffff") // behind all that is below it
		}
	}
}

func names(l region.Listing) (keys []string) {
	for _, o := range l.Objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func emptyIsNil() gocmp.Option {
	return gocmp.Transformer("emptyIsNil", func(s []string) []string { return append([]string(nil), s...) })
}

// listed are keys whose order differs between bytes, paths and languages.
func listedKeys() []string {
	return []string{"B/x", "a-b", "a.b", "a/b", "a/b!", "a/c-d", "a/c.d", "a/c/d", "a/c0", "a0", "z", "é", "\uffee", "😀"}
}

func (c trial) putListed() []string {
	keys := listedKeys()
	for _, key := range slices.Backward(keys) {
		c.put(key, "body of "+key, nil)
	}
	return keys
}

func (c trial) listingOrder() {
	if diff := gocmp.Diff(region.Listing{}, c.listAll(region.ListOptions{})); diff != "" {
		c.t.Errorf("listing of an empty bucket differs (-want +got):\n%s", diff)
	}
	keys := c.putListed()
	for _, tt := range []struct {
		name string
		o    region.ListOptions
		want []string
	}{
		{"all", region.ListOptions{}, keys},
		{"prefix", region.ListOptions{Prefix: "a/c"}, keys[5:9]},
		{"prefix that is a key", region.ListOptions{Prefix: "a/b"}, keys[3:5]},
		{"prefix of none", region.ListOptions{Prefix: "c"}, nil},
		{"after a key", region.ListOptions{StartAfter: "a/b"}, keys[4:]},
		{"after no key", region.ListOptions{StartAfter: "a/bzz"}, keys[5:]},
		{"after a folder", region.ListOptions{StartAfter: "a/"}, keys[3:]},
		{"after the last", region.ListOptions{StartAfter: "😀"}, nil},
		{"after all", region.ListOptions{StartAfter: "\U0010ffff"}, nil},
		{"prefix, after a key of it", region.ListOptions{Prefix: "a/", StartAfter: "a/c"}, keys[5:9]},
		{"prefix, after a key before it", region.ListOptions{Prefix: "a/c", StartAfter: "a-b"}, keys[5:9]},
		{"prefix, after a key behind it", region.ListOptions{Prefix: "a/c", StartAfter: "z"}, nil},
	} {
		if diff := gocmp.Diff(tt.want, names(c.listAll(tt.o)), emptyIsNil()); diff != "" {
			c.t.Errorf("%s: listing differs (-want +got):\n%s", tt.name, diff)
		}
	}
}

func (c trial) listingPages() {
	keys := c.putListed()
	for limit := 1; limit <= len(keys)+1; limit++ {
		page, err := c.r.List(c.t.Context(), region.ListOptions{Limit: limit})
		if err != nil {
			c.t.Fatalf("list %d: %v", limit, err)
		}
		if len(page.Objects) != min(limit, len(keys)) || page.Truncated != (limit < len(keys)) {
			c.t.Errorf("page of %d: %d entries, truncated %v", limit, len(page.Objects), page.Truncated)
		}
		if diff := gocmp.Diff(keys, names(c.listAll(region.ListOptions{Limit: limit}))); diff != "" {
			c.t.Errorf("pages of %d differ (-want +got):\n%s", limit, diff)
		}
	}
}

func (c trial) listingDelimiter() {
	c.putListed()
	for _, tt := range []struct {
		name           string
		o              region.ListOptions
		keys, prefixes []string
	}{
		{"all", region.ListOptions{Delimiter: "/"}, []string{"a-b", "a.b", "a0", "z", "é", "\uffee", "😀"}, []string{"B/", "a/"}},
		{"in a folder", region.ListOptions{Delimiter: "/", Prefix: "a/"}, []string{"a/b", "a/b!", "a/c-d", "a/c.d", "a/c0"}, []string{"a/c/"}},
		{"of a name", region.ListOptions{Delimiter: "/", Prefix: "a/c"}, []string{"a/c-d", "a/c.d", "a/c0"}, []string{"a/c/"}},
		{"behind a folder", region.ListOptions{Delimiter: "/", StartAfter: "a/\U0010ffff"}, []string{"a0", "z", "é", "\uffee", "😀"}, nil},
	} {
		for limit := range 5 {
			tt.o.Limit = limit
			got := c.listAll(tt.o)
			if diff := gocmp.Diff(tt.keys, names(got)); diff != "" {
				c.t.Errorf("%s, pages of %d: keys differ (-want +got):\n%s", tt.name, limit, diff)
			}
			if diff := gocmp.Diff(tt.prefixes, got.CommonPrefixes, emptyIsNil()); diff != "" {
				c.t.Errorf("%s, pages of %d: prefixes differ (-want +got):\n%s", tt.name, limit, diff)
			}
		}
	}
}

func (c trial) listingAttributes() {
	etag := c.put("key", "body", nil)
	c.put("zero", "", nil)
	head := c.head("key")
	got := c.listAll(region.ListOptions{}).Objects
	if len(got) != 2 {
		c.t.Fatalf("listing has %d objects, want 2", len(got))
	}
	if o := got[0]; o.Key != "key" || o.ETag != etag || o.Size != 4 || o.StorageClass != "STANDARD" {
		c.t.Errorf("listed: %+v, want ETag %s and 4 bytes", o, etag)
	}
	if listed := got[0].LastModified.Truncate(time.Second); !listed.Equal(head.LastModified()) {
		c.t.Errorf("listed as modified %v, head says %v", listed, head.LastModified())
	}
	if o := got[1]; o.Size != 0 || o.ETag != md5Hex("") {
		c.t.Errorf("listed: %+v, want no bytes", o)
	}
}
