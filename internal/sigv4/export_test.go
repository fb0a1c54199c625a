package sigv4

// HMACSHA256 is held against crypto/hmac.
func HMACSHA256(key, message []byte) [32]byte { return hmacSHA256(key, message) }

// KeysHeld is how many signing keys v keeps.
func (v *Verifier) KeysHeld() int {
	v.keys.mu.RLock()
	defer v.keys.mu.RUnlock()
	return len(v.keys.mu.held)
}

// Shown is what a claim shows of itself.
func Shown(c Claim) Claim {
	c.signedHeaders, c.signature = "", ""
	return c
}

// CanonicalQuery is what is signed of a query.
func CanonicalQuery(raw string) (string, error) {
	b, err := appendQuery(nil, raw)
	return string(b), err
}
