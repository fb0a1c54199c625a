package sim

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
)

// chance is a source of random numbers that depends on the seed and on what the words name, and on
// nothing else: neither on time nor on the order in which others ask.
func chance(seed uint64, words ...any) *rand.Rand {
	h := fnv.New64a()
	for _, w := range words {
		switch w := w.(type) {
		case string:
			_, _ = h.Write([]byte(w))
		case int:
			_ = binary.Write(h, binary.LittleEndian, int64(w))
		default:
			panic("chance: neither a string nor an int")
		}
		_, _ = h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// pick is one of the list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }
