package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/region"
)

// checkListing makes a few keys, and lists them in each way that the gateway does.
func (s *session) checkListing(ctx context.Context) {
	const advice = "do not use this S3: what it lists is what clients of Tandem see"
	under := "list/"
	keys := []string{"a", "a b+c%20d&e=é", "b/1", "b/2", "c"}
	for _, key := range keys {
		if _, err := s.put(ctx, under+key, "x", nil); err != nil {
			s.add("listing", Failed, "", "%s", said(err))
			return
		}
	}
	for _, c := range []struct {
		name   string
		o      region.ListOptions
		want   []string
		isCut  bool
		common []string
	}{
		{"all keys", region.ListOptions{}, keys, false, nil},
		{"a page", region.ListOptions{Limit: 2}, keys[:2], true, nil},
		{"after a key", region.ListOptions{StartAfter: s.key(under + keys[1])}, keys[2:], false, nil},
		{"behind a delimiter", region.ListOptions{Delimiter: "/"}, []string{keys[0], keys[1], keys[4]}, false, []string{"b/"}},
	} {
		c.o.Prefix = s.key(under)
		page, err := s.r.List(ctx, c.o)
		if err != nil {
			s.add("listing", Failed, advice, "%s: %s", c.name, said(err))
			return
		}
		var got, common []string
		for _, o := range page.Objects {
			got = append(got, strings.TrimPrefix(o.Key, c.o.Prefix))
		}
		for _, p := range page.CommonPrefixes {
			common = append(common, strings.TrimPrefix(p, c.o.Prefix))
		}
		if !slices.Equal(got, c.want) || !slices.Equal(common, c.common) || page.Truncated != c.isCut {
			s.add("listing", Failed, advice, "%s: %q and %q, more to come: %v; want %q and %q, %v", c.name, got, common, page.Truncated, c.want, c.common, c.isCut)
			return
		}
	}
	s.add("listing", OK, "", "order, pages, start-after, delimiter and odd names are right")
}

// oddKeys are legal keys that not every S3 holds. Each is the only one below its number.
func oddKeys() []string {
	return []string{
		"two//slashes", "ends/", "a/./b", "a/../b", "sp ace", "pl+us", "per%20cent", "quest?ion&am=p#er", "ünï/日本/😀", `back\slash`, "quo\"te'<>", "co:l*on|",
		"tab\tkey", "control\x01key", strings.Repeat("s", 256), "trailing.", "-", "...",
	}
}

// checkKeys puts odd keys, each with a body of its own: a region that holds one under another name is found out.
func (s *session) checkKeys(ctx context.Context) {
	var refused, changed []string
	for i, odd := range oddKeys() {
		name := fmt.Sprintf("keys/%d/%s", i, odd)
		label := fmt.Sprintf("%q", odd)
		if len(odd) > 20 {
			label = fmt.Sprintf("one with %d bytes between slashes", len(odd))
		}
		if s.r.CheckKey(s.key(name)) != nil {
			refused = append(refused, label)
			continue
		}
		_, err := s.put(ctx, name, name, nil)
		if isRefusal(err) {
			refused = append(refused, label)
			continue
		}
		if err != nil {
			s.add("keys", Failed, "", "%s: %s", label, said(err))
			return
		}
		got, _, err := s.get(ctx, name, nil)
		page, listErr := s.r.List(ctx, region.ListOptions{Prefix: s.key(fmt.Sprintf("keys/%d/", i))})
		isListed := slices.ContainsFunc(page.Objects, func(o region.ListedObject) bool { return o.Key == s.key(name) })
		if err != nil || listErr != nil || got != name || !isListed || len(page.Objects) != 1 {
			changed = append(changed, label)
		}
	}
	s.reportKeys(refused, changed)
	s.checkNested(ctx)
}

func (s *session) reportKeys(refused, changed []string) {
	if len(changed) > 0 {
		s.add("keys", Failed, "use no such keys with this S3, or another S3: they would be read and listed as other objects than they are",
			"not the same when they are read or listed: %s", strings.Join(changed, ", "))
	}
	if len(refused) > 0 {
		s.add("keys", NotSupported, "while this region is active, writes of such keys are refused with 400; copies of them to here are listed as unreplicable (embedded) "+
			"or stay pending, with the error", "refused: %s", strings.Join(refused, ", "))
	}
	if len(changed)+len(refused) == 0 {
		s.add("keys", OK, "", "odd ones are held byte for byte")
	}
}

// checkNested: where keys are paths of files, no object can be below another.
func (s *session) checkNested(ctx context.Context) {
	_, err := s.put(ctx, "nested", "nested", nil)
	if err == nil {
		_, err = s.put(ctx, "nested/below", "below", nil)
	}
	switch {
	case isRefusal(err):
		s.add("nested keys", NotSupported, "of the keys p and p/q the second is refused (409 where the region is embedded), and its copy to here stays pending, with the error", "%s", said(err))
	case err != nil:
		s.add("nested keys", Failed, "", "%s", said(err))
	default:
		got, _, err := s.get(ctx, "nested", nil)
		if err != nil || got != "nested" {
			s.add("nested keys", Failed, "do not use this S3: of the keys p and p/q the second takes the first away", "p is gone once p/q is there (%v)", err)
			return
		}
		s.add("nested keys", OK, "", "p and p/q are held both")
	}
}
