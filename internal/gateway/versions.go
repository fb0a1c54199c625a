package gateway

import (
	"hash/maphash"
	"sync"

	"github.com/gnew/tandem/internal/journal"
)

// versionSlots is a power of two; a slot has 32 bytes.
const versionSlots = 1 << 15

// versionCache remembers which version the bytes with an ETag of a key are, for the
// keys that were lately written or looked up, so that a read can name its version
// without a look into the index. A slot is overwritten by the next key that falls on it.
type versionCache struct {
	seed maphash.Seed
	mu   sync.RWMutex
	// slots is guarded by mu.
	slots []versionSlot
}

type versionSlot struct {
	key, etag uint64
	version   journal.Version
}

func newVersionCache() *versionCache {
	return &versionCache{seed: maphash.MakeSeed(), slots: make([]versionSlot, versionSlots)}
}

// put remembers a version, unless a later one of the key is known: rows are looked up
// beside the writes, and what was read before one may arrive here after it.
func (c *versionCache) put(key, etag string, v journal.Version) {
	k := maphash.String(c.seed, key)
	e := maphash.String(c.seed, etag)
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := &c.slots[k%versionSlots]
	if slot.key != k || slot.version.Compare(v) <= 0 {
		*slot = versionSlot{k, e, v}
	}
}

// get returns the zero Version where it does not know.
func (c *versionCache) get(key, etag string) journal.Version {
	k := maphash.String(c.seed, key)
	e := maphash.String(c.seed, etag)
	c.mu.RLock()
	s := c.slots[k%versionSlots]
	c.mu.RUnlock()
	if s.key != k || s.etag != e {
		return journal.Version{}
	}
	return s.version
}
