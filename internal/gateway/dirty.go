package gateway

import (
	"hash/maphash"
	"sync"
)

// dirtyLimit bounds the set to some 100 MiB. Beyond it every key counts as dirty:
// each read asks the index, and nothing is wrong.
const dirtyLimit = 2 << 20

// dirtySet holds the keys whose copy in the active is not known to be the
// acknowledged version, as 64-bit hashes under a seed of this process. A hit means: ask the
// index. Two keys that share a hash share its entry, and one of them being cleared
// while the other is dirty takes a collision among the dirty keys of one moment,
// whose chance is below 1 in 10^7 for a million of them.
type dirtySet struct {
	seed maphash.Seed
	mu   struct {
		sync.Mutex
		marks map[uint64]uint64
		next  uint64
		full  bool
	}
}

func newDirtySet() *dirtySet {
	d := &dirtySet{seed: maphash.MakeSeed()}
	d.mu.marks = make(map[uint64]uint64)
	return d
}

// mark makes the key dirty and returns the mark to clear it with, and whether it
// was dirty before.
func (d *dirtySet) mark(key string) (mark uint64, wasDirty bool) {
	mark, before := d.markOver(key)
	return mark, before != 0
}

// markOver is mark, and returns the mark that was there before; 0 where the key was clean. No mark
// is 0 unless every key is dirty; then the one before is not 0.
func (d *dirtySet) markOver(key string) (mark, before uint64) {
	h := maphash.String(d.seed, key)
	d.mu.Lock()
	defer d.mu.Unlock()
	before = d.mu.marks[h]
	if before == 0 && len(d.mu.marks) >= dirtyLimit {
		d.mu.full = true
	}
	if d.mu.full {
		return 0, 1
	}
	d.mu.next++
	d.mu.marks[h] = d.mu.next
	return d.mu.next, before
}

// markAgain is mark for whoever has marked the key before, and reports whether somebody else has meanwhile. (A write
// waits for its intent; another write of the key ends in doubt; the first is given up: the key would be clean.)
func (d *dirtySet) markAgain(key string, before uint64) (mark uint64, byOthers bool) {
	mark, now := d.markOver(key)
	return mark, now != 0 && now != before
}

// has returns the key's mark, and whether it is dirty.
func (d *dirtySet) has(key string) (mark uint64, dirty bool) {
	h := maphash.String(d.seed, key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.full {
		return 0, true
	}
	mark, dirty = d.mu.marks[h]
	return mark, dirty
}

// clear makes the key clean unless it was marked again since.
func (d *dirtySet) clear(key string, mark uint64) {
	h := maphash.String(d.seed, key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.marks[h] == mark {
		delete(d.mu.marks, h)
	}
}
