package s3api

import (
	"slices"

	"github.com/gnew/tandem/internal/s3op"
)

// Role is what an access key may do.
type Role string

// The roles.
const (
	ReadWrite Role = "read-write"
	ReadOnly  Role = "read-only"
)

// Key is an access key.
type Key struct {
	ID, Secret string
	Role       Role
	// Buckets that it opens; nil is all.
	Buckets []string
}

// Keys finds access keys. It is safe for concurrent use; a key that may not be used is not found.
type Keys interface {
	Find(id string) (Key, bool)
}

// StaticKeys never change.
type StaticKeys []Key

// Find finds a key.
func (k StaticKeys) Find(id string) (Key, bool) {
	i := slices.IndexFunc(k, func(key Key) bool { return key.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return k[i], true
}

func (k Key) opens(bucket string) bool {
	return k.Buckets == nil || slices.Contains(k.Buckets, bucket)
}

func (c *call) authorise() error {
	isRead := slices.Contains([]s3op.Class{s3op.ReadObject, s3op.ReadBucket, s3op.ReadService}, c.op.Class)
	if !isRead && c.caller.Role != ReadWrite || c.name != "" && !c.caller.opens(c.name) {
		return accessDenied()
	}
	return nil
}

func accessDenied() error { return s3op.NewError(s3op.Denied, "AccessDenied", "Access Denied") }
