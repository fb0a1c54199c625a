// Package seal keeps secrets at rest: AES-256-GCM under one master key, with random nonces. It does no I/O but to draw
// those.
//
// What is sealed is bound to a name. A sealed secret that is put in another's place does not open there, and neither does one
// of which a bit was changed; that an older one was put back in its own place is for the name to tell, which therefore has a
// version in it. Whoever has the master key can seal anything.
//
// A master key is good for some four billion secrets: beyond that two nonces might be the same.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// KeyBytes is the length of a master key.
const KeyBytes = 32

// ErrNotOpened: what is sealed was sealed under another master key, or for another name, or was changed since. Which of them
// cannot be told.
var ErrNotOpened = errors.New("the sealed secret cannot be opened")

// format is the first byte of all that is sealed, for the day on which there is another one.
const format = 1

// Sealer seals and opens. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// New returns the Sealer of a master key. The only error is that of a key which has not KeyBytes.
func New(master []byte) (*Sealer, error) {
	if len(master) != KeyBytes {
		return nil, fmt.Errorf("the master key has %d bytes; it needs %d", len(master), KeyBytes)
	}
	block, err := aes.NewCipher(master)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Sealer{aead}, err
}

// Seal seals the secret for the name. It differs each time.
func (s *Sealer) Seal(secret, name string) []byte {
	return s.aead.Seal([]byte{format}, nil, []byte(secret), []byte(name))
}

// Open returns what was sealed for the name. ErrNotOpened.
func (s *Sealer) Open(sealed []byte, name string) (string, error) {
	if len(sealed) == 0 || sealed[0] != format {
		return "", ErrNotOpened
	}
	secret, err := s.aead.Open(nil, nil, sealed[1:], []byte(name))
	if err != nil {
		return "", ErrNotOpened
	}
	return string(secret), nil
}
