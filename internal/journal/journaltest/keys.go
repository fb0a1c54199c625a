package journaltest

import (
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/journal"
)

func keyTests() []test {
	return []test{
		{"AnyKeyIsKeptByteForByte", oddKeys},
		{"KeysAreInByteOrder", keyOrder},
		{"OddNamesAndValuesAreKept", oddValues},
	}
}

// legalKeys are all legal in S3, and no two of them are the same.
func legalKeys() []string {
	return []string{
		"\x00", "a\x00", "a\x00b", "a", "A", "a ", " a", "a/", "a//b", "a/b", "/a", "a/../b", "..", ".", "a\\b",
		"%2F", "a%00b", "a+b", "a b", "a?b#c", "'; DROP TABLE objects; --", "\"", "*", "_", "%", "\n", "\x7f", "NULL", "0", "00", "1e1",
		"e\u0301", "\u00e9", "\u0000\u0000", "\ufeffa", "\ufffd", "\uffff", "\U00010000", "😀", "\U0010ffff", "a\U0010ffff",
		strings.Repeat("k", 1024), strings.Repeat("k", 1023) + "j", strings.Repeat("\U0010ffff", 256),
	}
}

func oddKeys(s *store) {
	versions := make(map[string]journal.Version)
	for _, key := range legalKeys() {
		versions[key] = s.put(key, "a")
	}
	for key, v := range versions {
		if o := s.lookup(key); o.Key != key || o.Version != v {
			s.t.Errorf("key %q: got %q at %v, want %v", key, o.Key, o.Version, v)
		}
	}
	tasks := s.claim(replica, 2*len(versions), long)
	if len(tasks) != len(versions) {
		s.t.Fatalf("claimed %d copies, want %d", len(tasks), len(versions))
	}
	for _, task := range tasks {
		if task.Object.Version != versions[task.Object.Key] {
			s.t.Fatalf("claimed %q at %v, want %v", task.Object.Key, task.Object.Version, versions[task.Object.Key])
		}
		s.finish(task, "a", journal.Current)
	}
}

func keyOrder(s *store) {
	keys := legalKeys()
	for _, key := range keys {
		s.doubt(s.open(key, journal.Put))
	}
	slices.Sort(keys)
	s.same("all of them", s.differing(active, "", "", 2*len(keys)), keys)
	for i, key := range keys {
		var next []string
		if i+1 < len(keys) {
			next = keys[i+1 : i+2]
		}
		s.same("the next one", s.differing(active, key, "", 1), next)
		if i > 0 {
			s.same("the one itself", s.differing(active, keys[i-1], key, 10), []string{key})
		}
		objects, err := s.Unsettled(s.t.Context(), bucket, key, 1)
		s.ok(err)
		s.same("the next to be settled", keysOf(objects), next)
	}
}

func oddValues(s *store) {
	w := journal.Written{ETag: "a'\"-2", Size: 5 << 40, ContentType: "text/plain; charset=\"utf-8\"; x='é😀'"}
	i := s.intent("k", journal.Put)
	i.Bucket = "büçket's"
	s.ok(s.Attach(s.t.Context(), i.Bucket, []string{active, "región'1"}))
	if _, err := s.Commit(s.t.Context(), s.openIntent(i), w); err != nil {
		s.t.Fatal(err)
	}
	o, err := s.Lookup(s.t.Context(), i.Bucket, "k")
	s.ok(err)
	s.same("the row", journal.Written{ETag: o.ETag, Size: o.Size, ContentType: o.ContentType}, w)
	tasks, err := s.Claim(s.t.Context(), i.Bucket, "región'1", journal.Claim{Limit: 1, Lease: long, Conditional: true})
	s.ok(err)
	s.ok(s.Fail(s.t.Context(), tasks[0], journal.Failure{Reason: "línea 1\nline 2 '", State: journal.Unreplicable}))
	o, err = s.Lookup(s.t.Context(), i.Bucket, "k")
	s.ok(err)
	s.same("the reason", o.Copy("región'1").LastError, "línea 1\nline 2 '")
}
