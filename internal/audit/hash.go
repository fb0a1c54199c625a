package audit

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// Hash stands for an entry and every entry before it.
type Hash [sha256.Size]byte

// String is standard base64, 44 characters.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// MarshalText writes what String does, so that JSON has it in that form too.
func (h Hash) MarshalText() ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHash(string(text))
	return err
}

// ParseHash reads what String wrote.
func ParseHash(s string) (Hash, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != sha256.Size || len(s) != base64.StdEncoding.EncodedLen(sha256.Size) {
		return Hash{}, fmt.Errorf("parse hash %q: want %d bytes in base64", s, sha256.Size)
	}
	return Hash(raw), nil
}

// Genesis is the hash before the first entry of a journal.
func Genesis(journalID string) Hash {
	return sha256.Sum256([]byte("tandem audit v1\n" + journalID))
}

// linkBytes is room for an entry of ordinary size.
const linkBytes = 1 << 10

// Link is the hash of e after an entry whose hash is prev. It allocates nothing for an
// entry of ordinary size, and once for a larger one: it is in the way of every write.
func Link(prev Hash, e Entry) Hash {
	var room [linkBytes]byte
	b := room[:0]
	if n := len(prev) + e.encodedBytes(); n > len(room) {
		b = make([]byte, 0, n)
	}
	b = append(b, prev[:]...)
	return sha256.Sum256(e.AppendEncoding(b))
}
