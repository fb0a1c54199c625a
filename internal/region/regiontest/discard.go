package regiontest

import (
	"encoding/binary"
	"io"
)

// Pattern is what a region that discards bodies serves in their place: length
// bytes of an endless stream, from offset on. Each aligned group of 8 bytes is
// its own number in the stream, big-endian, so a byte out of place shows.
func Pattern(offset, length int64) io.Reader {
	return &pattern{at: offset, left: length}
}

type pattern struct{ at, left int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.left)]
	var word [8]byte
	for n := 0; n < len(b); {
		at := uint64(p.at) + uint64(n)
		if at%8 == 0 && len(b)-n >= 8 {
			binary.BigEndian.PutUint64(b[n:], at/8)
			n += 8
			continue
		}
		binary.BigEndian.PutUint64(word[:], at/8)
		n += copy(b[n:], word[at%8:])
	}
	p.at += int64(len(b))
	p.left -= int64(len(b))
	return len(b), nil
}
