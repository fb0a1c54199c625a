package app_test

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/region/regiontest"
)

// entry is one entry of a listing; a common prefix has neither ETag nor Size.
type entry struct {
	Name, ETag string
	Size       int64
}

// model is what a bucket is to hold.
type model map[string]entry

func (m model) put(g *rig, key, data string) {
	w := g.put(key, data)
	m[key] = entry{key, w.ETag, w.Size}
}

func (m model) remove(g *rig, key string) {
	g.remove(key)
	delete(m, key)
}

// list is what a listing of the model shows.
func (m model) list(prefix, delimiter string) []entry {
	shown := make(map[string]entry)
	for key, e := range m {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		if i := strings.Index(rest, delimiter); delimiter != "" && i >= 0 {
			e = entry{Name: prefix + rest[:i+len(delimiter)]}
		}
		shown[e.Name] = e
	}
	var entries []entry
	for _, e := range shown {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// entries goes through the pages of a listing, all of which must come from the region
// and be current.
func (g *rig) entries(params url.Values, region string) []entry {
	g.t.Helper()
	limit, _ := strconv.Atoi(params.Get("limit"))
	var all []entry
	for range 500 {
		r := g.list(params)
		if r.Status != 200 {
			g.t.Fatalf("list %v: got %v, want 200", params, r)
		}
		wantHeaders(g.t, r, region, "current", region != "primary")
		page := decode[listing](g.t, r)
		var entries []entry
		for _, o := range page.Objects {
			entries = append(entries, entry{o.Key, o.ETag, o.Size})
		}
		for _, p := range page.CommonPrefixes {
			entries = append(entries, entry{Name: p})
		}
		if limit > 0 && len(entries) > limit {
			g.t.Fatalf("list %v: got %d entries", params, len(entries))
		}
		slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, entries...)
		if page.Cursor == nil {
			return all
		}
		params = mapsWith(params, "cursor", *page.Cursor)
	}
	g.t.Fatalf("list %v: no end after 500 pages", params)
	return nil
}

// wantListed compares every listing with the model's.
func (g *rig) wantListed(m model, region string) {
	g.t.Helper()
	for _, prefix := range []string{"", "a/", "a/b", "é/", "none"} {
		for _, delimiter := range []string{"", "/", "b", "/a"} {
			for _, limit := range []string{"1", "4", ""} {
				params, want := url.Values{"prefix": {prefix}, "delimiter": {delimiter}}, m.list(prefix, delimiter)
				if limit != "" {
					params.Set("limit", limit)
				}
				if diff := cmp.Diff(want, g.entries(params, region)); diff != "" {
					g.t.Errorf("prefix %q, delimiter %q, limit %q of %s (-want +got):\n%s", prefix, delimiter, limit, region, diff)
				}
			}
		}
	}
}

// nestedKey is one of some hundred keys that share many common prefixes.
func nestedKey(random *rand.Rand) string {
	segments := []string{"a", "b", "ab", "é", "", "\U0010FFFF"}
	var key strings.Builder
	key.WriteString(segments[random.IntN(len(segments)-2)])
	for range random.IntN(3) {
		key.WriteString("/" + segments[random.IntN(len(segments))])
	}
	return key.String()
}

// isHeld says of which keys B gets no copies: a third.
func isHeld(key string) bool { return crc32.ChecksumIEEE([]byte(key))%3 == 0 }

func slowDown(held func(key string) bool) func(regiontest.Request) regiontest.Fault {
	return func(q regiontest.Request) regiontest.Fault {
		if q.Key == "" || !held(q.Key) {
			return regiontest.Fault{}
		}
		return regiontest.Fault{Code: "SlowDown"}
	}
}

// Whatever was written and deleted, and however far the replica is behind, a listing is
// what was acknowledged: of the active, and of the replica while the active is down.
func TestListingIsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, options{})
			random, m := rand.New(rand.NewPCG(seed, 0)), model{}
			change := func(n int) {
				for i := range n {
					if key := nestedKey(random); random.IntN(3) == 0 {
						m.remove(g, key)
					} else {
						m.put(g, key, fmt.Sprintf("%d of %q", i, key))
					}
				}
			}
			change(200)
			g.awaitConverged()
			g.B.SetFaults(slowDown(isHeld))
			change(200)
			g.wantBehind(m)
			g.wantListed(m, "primary")
			g.A.SetDown(true)
			g.wantListed(m, "secondary")
			g.A.SetDown(false)
			g.B.SetFaults(nil)
			change(10) // what was held back is copied while it is listed
			g.wantListed(m, "primary")
			g.A.SetDown(true)
			g.wantListed(m, "secondary")
		})
	}
}

// wantBehind checks that B shows the test something to put right.
func (g *rig) wantBehind(m model) {
	g.t.Helper()
	var lacks, old, dead int
	held := objects(g.B, bucketB)
	for key, e := range m {
		if o, ok := held[key]; !ok {
			lacks++
		} else if strings.Trim(o.ETag, `"`) != e.ETag {
			old++
		}
	}
	for key := range held {
		if _, ok := m[key]; !ok {
			dead++
		}
	}
	if lacks == 0 || old == 0 || dead == 0 {
		g.t.Fatalf("B lacks %d keys, has %d older and %d that are deleted: the test asks for too little", lacks, old, dead)
	}
}

// A copy that ends between the look at the region and that at the index is in neither
// of them, unless the index is looked at first.
func TestListingMissesNoCopyThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"REGION_TIMEOUT": "30s"}}) // a listing is held for a while
	keys, dead := []string{"k", "new/k"}, []string{"dead", "old/dead"}
	for _, key := range dead {
		g.put(key, "x")
	}
	g.awaitSettled(dead...)
	g.B.SetFaults(slowDown(func(string) bool { return true }))
	for _, key := range keys {
		g.put(key, "content")
	}
	for _, key := range dead {
		g.remove(key)
	}
	g.A.SetFaults(onKey("ListObjectsV2", "", regiontest.Fault{Status: 500}))
	listed := g.listDuring(g.B, url.Values{"delimiter": {"/"}}, func() {
		g.put("zz", "wakes the queue")
		g.awaitSettled(append(keys, dead...)...)
	})
	wantHeaders(t, listed, "secondary", "current", true)
	wantNames(t, listed, []string{"k"}, []string{"new/"})
}

// The same of a key that the active had lost.
func TestListingMissesNoRepairThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"REGION_TIMEOUT": "30s"}}) // a listing is held for a while
	keys := []string{"k", "new/k"}
	for _, key := range keys {
		g.put(key, "content")
	}
	g.awaitSettled(keys...)
	for _, key := range keys {
		g.A.Remove(bucketA, key)
		g.wantObject(key, "content") // and the index learns of it
	}
	listed := g.listDuring(g.A, url.Values{"delimiter": {"/"}}, func() {
		for _, key := range keys {
			g.HEAD(key, query("repair", "1"))
			g.awaitState(key, "primary", "current")
		}
	})
	wantHeaders(t, listed, "primary", "current", false)
	wantNames(t, listed, []string{"k"}, []string{"new/"})
}

// listDuring lists while something else happens: between what the region shows and its
// answer.
func (g *rig) listDuring(s *regiontest.Server, params url.Values, meanwhile func()) response {
	g.t.Helper()
	gate, asked := make(chan struct{}), make(chan struct{}, 8)
	s.SetFaults(func(q regiontest.Request) regiontest.Fault {
		if q.Operation != "ListObjectsV2" {
			return regiontest.Fault{}
		}
		asked <- struct{}{}
		return regiontest.Fault{Hang: gate, Apply: true}
	})
	answer := make(chan response, 1)
	go func() { answer <- g.list(params) }()
	select {
	case <-asked:
	case r := <-answer:
		g.t.Fatalf("answered without the region: %v", r)
	}
	meanwhile()
	close(gate)
	return <-answer
}

// wantNames checks a page's names, but for "zz".
func wantNames(t *testing.T, r response, keys, prefixes []string) {
	t.Helper()
	page := decode[listing](t, r)
	var got []string
	for _, o := range page.Objects {
		if o.Key != "zz" {
			got = append(got, o.Key)
		}
	}
	if diff := cmp.Diff(keys, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(prefixes, page.CommonPrefixes); diff != "" {
		t.Errorf("common prefixes (-want +got):\n%s", diff)
	}
}

// Every page begins behind the one before, whatever keys lie below a common prefix.
func TestListingAdvancesPastAnyCommonPrefix(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	const last = "\U0010FFFF"
	for _, key := range []string{
		"a/x", "a/" + last + "z", "a/" + strings.Repeat(last, 255) + "zz", "a/" + strings.Repeat(last, 255) + "\u07FF",
		"ab/" + strings.Repeat(last, 255) + "\x7F", "abc/" + strings.Repeat(last, 255),
		"abcd/" + strings.Repeat(last, 254) + "\uFFFF", "b/x", "c", last, last + "/" + last,
	} {
		g.put(key, "x")
	}
	g.awaitConverged()
	for _, limit := range []string{"1", "2", "1000"} {
		for _, down := range []bool{false, true} {
			g.A.SetDown(down)
			got := g.listAll(url.Values{"delimiter": {"/"}, "limit": {limit}})
			if diff := cmp.Diff([]string{"a/*", "ab/*", "abc/*", "abcd/*", "b/*", "c", last, last + "/*"}, got); diff != "" {
				t.Errorf("limit %s, A down=%v (-want +got):\n%s", limit, down, diff)
			}
		}
	}
}

// A common prefix is there while one of its keys is, and no longer, however many more
// of them the replica still has than one look into the index shows.
func TestCommonPrefixIsThereWhileAKeyIs(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	m, prefixes := model{}, []string{"all/", "last/", "region/"}
	for _, prefix := range prefixes {
		for i := range 130 {
			m.put(g, fmt.Sprintf("%s%03d", prefix, i), "x")
		}
	}
	m.put(g, "region/999", "in both regions")
	m.put(g, "z", "x")
	g.awaitConverged()
	g.B.SetFaults(slowDown(func(key string) bool { return key != "region/999" }))
	for _, prefix := range prefixes {
		for i := range 130 {
			m.remove(g, fmt.Sprintf("%s%03d", prefix, i))
		}
	}
	m.put(g, "last/999", "in the active alone")
	g.A.SetDown(true)
	for _, limit := range []string{"1", "2", "1000"} {
		params := url.Values{"delimiter": {"/"}, "limit": {limit}}
		if diff := cmp.Diff(m.list("", "/"), g.entries(params, "secondary")); diff != "" {
			t.Errorf("limit %s (-want +got):\n%s", limit, diff)
		}
	}
}

// Of a key whose last write is in doubt only the active could say; a replica's listing
// that would have to show it is none, unless that is allowed.
func TestListingThatCannotBePutRightIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{env: map[string]string{"DOUBT_WINDOW": "1h"}})
	g.put("a", "x")
	g.put("m/k", "x")
	g.put("z", "x")
	g.awaitSettled("a", "m/k", "z")
	g.A.SetFaults(onKey("PutObject", "m/k", regiontest.Fault{ApplyLater: make(chan struct{})}))
	if r := g.PUT("m/k", []byte("y")); r.Status != 503 {
		t.Fatalf("PUT whose answer is lost: got %v, want 503", r)
	}
	wantHeaders(t, g.list(nil), "primary", "current", false) // as the active shows it
	g.A.SetDown(true)
	for _, params := range []url.Values{nil, {"prefix": {"m"}}, {"prefix": {"m/k"}}, {"delimiter": {"/"}}, {"limit": {"2"}}} {
		p := wantProblem(t, g.list(params), 503, "NotYetReplicated")
		if p.Region != "secondary" {
			t.Errorf("list %v: got %+v, want the region named", params, p)
		}
		r := g.list(params, header("X-Tandem-Allow-Stale", "true"))
		if r.Status != 200 {
			t.Errorf("list %v with leave: got %v, want 200", params, r)
		}
		wantHeaders(t, r, "secondary", "unknown", true)
	}
	for _, params := range []url.Values{{"prefix": {"a"}}, {"prefix": {"z"}}, {"limit": {"1"}}, {"cursor": {cursor("m/k")}}} {
		wantHeaders(t, g.list(params), "secondary", "current", true)
	}
}

// What the index does not know, no replica can be put right with.
func TestListingOfABucketThatWasNotComparedIsUnknown(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{unknown: true, prepare: func(a, _ *regiontest.Server) {
		a.Put(bucketA, "old", []byte("content"))
	}})
	g.put("k", "x")
	g.awaitSettled("k")
	r := g.list(nil)
	wantHeaders(t, r, "primary", "unknown", false)
	wantNames(t, r, []string{"k", "old"}, []string{})
	g.A.SetDown(true)
	wantProblem(t, g.list(nil), 503, "NotYetReplicated")
	wantHeaders(t, g.list(nil, header("X-Tandem-Allow-Stale", "true")), "secondary", "unknown", true)
}

// Tandem's own objects are in no listing, nor is a common prefix that only they have.
func TestOwnObjectsAreNotListed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for _, key := range []string{"k", ".x", ".test"} {
		g.put(key, "x", header("If-None-Match", "*")) // which has Tandem write one of its own
	}
	g.awaitConverged()
	if _, ok := g.A.Object(bucketA, ".tandem/probe"); !ok {
		t.Fatal("A holds nothing of Tandem's own: the test asks for nothing")
	}
	for delimiter, want := range map[string][]string{
		"": {".test", ".x", "k"}, "/": {".test", ".x", "k"}, "t": {".t*", ".x", "k"}, "a": {".test", ".x", "k"}, "/p": {".test", ".x", "k"},
	} {
		for _, limit := range []string{"1", "1000"} {
			got := g.listAll(url.Values{"delimiter": {delimiter}, "limit": {limit}})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("delimiter %q, limit %s (-want +got):\n%s", delimiter, limit, diff)
			}
		}
	}
}

func TestCursorThatNoListingGaveIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	for name, c := range map[string]string{
		"no base64": "%", "no UTF-8": cursor("\xff"), "too long for a key": cursor(strings.Repeat("k", 1025)),
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, g.list(url.Values{"cursor": {c}, "delimiter": {"k"}}), 400, "InvalidArgument")
		})
	}
}

func cursor(entry string) string { return base64.RawURLEncoding.EncodeToString([]byte(entry)) }

// A key that is being written is shown as the active has it, beside those that are settled.
func TestContestedKeyIsListedAsTheActiveHasIt(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	g.put("k", "acknowledged")
	g.put("settled", "beside it")
	g.awaitSettled("k", "settled")
	g.A.SetFaults(onKey("PutObject", "k", regiontest.Fault{Apply: true, CutBefore: true}))
	wantProblem(t, g.PUT("k", []byte("in doubt")), 503, "ServiceUnavailable")
	g.A.SetFaults(nil)
	r := g.list(url.Values{})
	wantHeaders(t, r, "primary", r.Header.Get("X-Tandem-Freshness"), false)
	shown := make(map[string]int64)
	for _, o := range decode[listing](t, r).Objects {
		shown[o.Key] = o.Size
	}
	if want := map[string]int64{"k": int64(len("in doubt")), "settled": int64(len("beside it"))}; !cmp.Equal(shown, want) {
		t.Errorf("got %v, want %v", shown, want)
	}
}

// A region's page of nothing but tombstones is no end: the next ones are read.
func TestListingGoesOnPastTombstones(t *testing.T) {
	t.Parallel()
	g := newGateway(t, options{})
	m := make(model)
	for i := range 30 {
		g.put(fmt.Sprintf("gone/%02d", i), "x")
	}
	m.put(g, "last", "is there")
	g.awaitConverged()
	g.B.SetFaults(slowDown(func(string) bool { return true }))
	for i := range 30 {
		g.remove(fmt.Sprintf("gone/%02d", i))
	}
	g.A.SetDown(true) // so that B answers, which holds them still
	if got, want := g.entries(url.Values{"limit": {"1"}}, "secondary"), m.list("", ""); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
