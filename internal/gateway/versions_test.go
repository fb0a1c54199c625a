package gateway

import (
	"testing"

	"github.com/gnew/tandem/internal/journal"
)

// A row that was looked up before a write, and arrives after it, does not take the
// write's version out of the answers.
func TestVersionOfAKeyNeverGoesBack(t *testing.T) {
	v := func(epoch, sequence int64) journal.Version { return journal.Version{Epoch: epoch, Sequence: sequence} }
	for _, tt := range []struct {
		name       string
		known, put journal.Version
		isTaken    bool
	}{
		{"older", v(1, 2), v(1, 1), false},
		{"of an older epoch", v(2, 3), v(1, 9), false},
		{"newer", v(1, 1), v(1, 2), true},
		{"of a newer epoch", v(1, 9), v(2, 10), true},
		{"the same, with another region's ETag", v(1, 2), v(1, 2), true},
	} {
		c := newVersionCache()
		c.put("key", "known", tt.known)
		c.put("key", "put", tt.put)
		if got := c.get("key", "put"); (got == tt.put) != tt.isTaken {
			t.Errorf("%s: got version %q for it", tt.name, got)
		}
		if got := c.get("key", "known"); (got == tt.known) == tt.isTaken {
			t.Errorf("%s: got version %q for what was known", tt.name, got)
		}
	}
}

// One slot serves many keys: whatever was put last takes it, and no version is ever
// told of another key or of other bytes.
func TestVersionIsToldOnlyOfItsOwnBytes(t *testing.T) {
	c := newVersionCache()
	old := journal.Version{Epoch: 9, Sequence: 9}
	for i := range c.slots {
		c.slots[i] = versionSlot{key: 1, etag: 1, version: old}
	}
	now := journal.Version{Epoch: 1, Sequence: 1}
	c.put("key", "etag", now)
	if got := c.get("key", "etag"); got != now {
		t.Errorf("got version %q of a key that took another's slot, want %q", got, now)
	}
	for _, other := range [][2]string{{"key", "other bytes"}, {"other", "etag"}} {
		if got := c.get(other[0], other[1]); !got.IsZero() {
			t.Errorf("got version %q for %q, want none", got, other)
		}
	}
}
