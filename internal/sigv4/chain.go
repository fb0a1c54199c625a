package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
)

// chain verifies the signatures of chunks, each of which covers the one before.
type chain struct {
	key *signingKey
	// timeAndScope are the second and the third line of every string to sign.
	timeAndScope []byte
	previous     [2 * sha256.Size]byte
	next         [2 * sha256.Size]byte // what the header of the chunk says
	sum          hash.Hash             // of the chunk
}

func newChain(s *Signed) *chain {
	c := &chain{key: s.key, timeAndScope: appendTimeAndScope(nil, s.Time, s.Region), sum: sha256.New()}
	copy(c.previous[:], s.signature)
	return c
}

// endChunk verifies the chunk whose bytes were written to sum.
func (c *chain) endChunk() error { return c.verify(algorithm+"-PAYLOAD\n", EmptySHA256+"\n") }

// endTrailer verifies the trailer, whose lines were written to sum.
func (c *chain) endTrailer() error { return c.verify(algorithm+"-TRAILER\n", "") }

func (c *chain) verify(kind, between string) error {
	var room [448]byte
	b := append(room[:0], kind...)
	b = append(b, c.timeAndScope...)
	b = append(b, c.previous[:]...)
	b = append(b, '\n')
	b = append(b, between...)
	var roomOfSum [sha256.Size]byte
	b = hex.AppendEncode(b, c.sum.Sum(roomOfSum[:0]))
	c.sum.Reset()
	c.previous = c.key.mac(b)
	if subtle.ConstantTimeCompare(c.previous[:], c.next[:]) != 1 {
		return errSignature()
	}
	return nil
}

// accept takes a signature that was sent.
func (c *chain) accept(signature []byte) bool {
	return copy(c.next[:], signature) == len(c.next) && len(signature) == len(c.next)
}
