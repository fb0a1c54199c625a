package e2e_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// metadata is stored with every upload; the regions must agree on it.
func metadata() http.Header {
	h := http.Header{
		"Content-Type":        {"image/x-test; charset=utf-8"},
		"Cache-Control":       {"no-cache, max-age=60"},
		"Content-Disposition": {`attachment; filename="a b.bin"`},
		"Content-Language":    {"es"},
		"X-Amz-Meta-Owner":    {"somebody"},
		"X-Amz-Meta-Empty":    {""},
	}
	if regions.tags {
		h.Set("X-Amz-Tagging", "project=gnew&stage=test%20one")
	}
	return h
}

// TestUploadsOfAnySizeArriveInBothRegions uploads from a generator that never holds
// an object whole, and compares what comes back, and what either region holds.
func TestUploadsOfAnySizeArriveInBothRegions(t *testing.T) {
	t.Parallel()
	uploads := []struct {
		key       string
		size      int64
		hasLength bool
	}{
		{"nothing", 0, true},
		{"nothing without a length", 0, false},
		{"folder/4 KiB", 4 * kib, true},
		{"folder/5 MiB + 1", 5*mib + 1, true},
		{"8 MiB without a length", 8 * mib, false},
		{"200 MiB", 200 * mib, true},
		{"200 MiB without a length", 200 * mib, false},
	}
	g := start(t, "REGION_TIMEOUT=20s") // a busy disk is no reason to doubt a write
	sums, keys := make(map[string]string), []string{}
	for i, u := range uploads {
		size := u.size
		switch {
		case u.hasLength:
		case u.size == 0:
			size = unknown
		default:
			size = unsized(u.size)
		}
		sums[u.key] = g.put(t, u.key, content{byte(i), u.size}, size, metadata())
		keys = append(keys, u.key)
	}
	g.waitAtRest(t, keys...)

	all := g.checkAgree(t)
	if diff := cmp.Diff(slices.Sorted(slices.Values(keys)), slices.Sorted(maps.Keys(all))); diff != "" {
		t.Errorf("keys in the regions differ (-put +held):\n%s", diff)
	}
	want, tags := metadata(), ""
	if regions.tags {
		tags = "project=gnew&stage=test+one"
	}
	delete(want, "X-Amz-Tagging")
	for _, u := range uploads {
		o := all[u.key]
		if o.Size != u.size || o.Tags != tags {
			t.Errorf("%s: %d bytes with tags %q, want %d", u.key, o.Size, o.Tags, u.size)
		}
		if diff := cmp.Diff(want, o.Header); diff != "" {
			t.Errorf("%s: metadata differs (-put +held):\n%s", u.key, diff)
		}
		for query, region := range map[string]string{"": primary, "?prefer=replica": secondary} {
			sum, size, h := g.download(t, object(u.key)+query)
			if sum != sums[u.key] || size != u.size {
				t.Errorf("%s%s: %d bytes with SHA-256 %s, want %d with %s", u.key, query, size, sum, u.size, sums[u.key])
			}
			if h.Get("X-Tandem-Region") != region || h.Get("X-Tandem-Freshness") != "current" || strings.Trim(h.Get("Etag"), `"`) != o.ETag {
				t.Errorf("%s%s: header %v, want region %s, current, ETag %s", u.key, query, h, region, o.ETag)
			}
			if h.Get("X-Amz-Meta-Owner") != "somebody" || h.Get("Content-Type") != want.Get("Content-Type") {
				t.Errorf("%s%s: header %v lacks what was stored", u.key, query, h)
			}
		}
	}
}
