package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// maxKeys bounds the signing keys that are kept. There is one for each secret, day and region in use, and whatever
// old ones there are.
const maxKeys = 256

// keys keeps signing keys, each of which is worth four HMACs. It is safe for concurrent use.
type keys struct {
	mu struct {
		sync.RWMutex
		held map[keyOf]*signingKey
	}
}

type keyOf struct{ secret, date, region string }

// signingKey is used by its address, so that whatever prints a struct that has one does not print it.
type signingKey [sha256.Size]byte

// find returns the key, and whether it has been kept.
func (k *keys) find(of keyOf) (key *signingKey, isKept bool) {
	k.mu.RLock()
	key, isKept = k.mu.held[of]
	k.mu.RUnlock()
	if !isKept {
		key = derive(of)
	}
	return key, isKept
}

func (k *keys) keep(of keyOf, key *signingKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.held == nil || len(k.mu.held) >= maxKeys {
		k.mu.held = make(map[keyOf]*signingKey)
	}
	// What came with a request must not keep all of its header in memory.
	of.date, of.region = strings.Clone(of.date), strings.Clone(of.region)
	k.mu.held[of] = key
}

func derive(of keyOf) *signingKey {
	key := hmacSHA256([]byte("AWS4"+of.secret), []byte(of.date))
	for _, part := range []string{of.region, service, terminator} {
		key = hmacSHA256(key[:], []byte(part))
	}
	return (*signingKey)(&key)
}

// sign returns the signature, in hex, of a canonical request.
func (k *signingKey) sign(at time.Time, region string, canonical []byte) (signature [2 * sha256.Size]byte) {
	var room [256]byte
	b := append(room[:0], algorithm...)
	b = append(b, '\n')
	b = appendTimeAndScope(b, at, region)
	sum := sha256.Sum256(canonical)
	return k.mac(hex.AppendEncode(b, sum[:]))
}

// mac returns the HMAC of a string to sign, in hex.
func (k *signingKey) mac(message []byte) (signature [2 * sha256.Size]byte) {
	sum := hmacSHA256(k[:], message)
	hex.Encode(signature[:], sum[:])
	return signature
}

// appendTimeAndScope appends the two lines that every string to sign has.
func appendTimeAndScope(b []byte, at time.Time, region string) []byte {
	b = at.AppendFormat(b, timeFormat)
	b = append(b, '\n')
	b = appendScope(b, at, region)
	return append(b, '\n')
}

func appendScope(b []byte, at time.Time, region string) []byte {
	b = at.AppendFormat(b, dateFormat)
	b = append(b, '/')
	b = append(b, region...)
	return append(b, "/"+service+"/"+terminator...)
}

// hmacSHA256 is crypto/hmac for a message that is whole. That package keeps two hashes on the heap for each HMAC, for
// messages that come in parts, which is most of what verifying a request would cost.
func hmacSHA256(key, message []byte) [sha256.Size]byte {
	if len(key) > sha256.BlockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	var room [sha256.BlockSize + 448]byte
	inner := room[:sha256.BlockSize]
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner, key)
	copy(outer[:], key)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := sha256.Sum256(append(inner, message...))
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}
