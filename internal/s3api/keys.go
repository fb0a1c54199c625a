package s3api

import (
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// Role is what an access key may do.
type Role string

// The roles.
const (
	// Admin may whatever ReadWrite may; what changes buckets will be for it alone.
	Admin     Role = "admin"
	ReadWrite Role = "read-write"
	ReadOnly  Role = "read-only"
)

// Key is an access key.
type Key struct {
	ID, Secret string
	Role       Role
	// Buckets that it opens; none is all.
	Buckets []string
	// Prefixes of the keys that it opens, in each of those; none is all.
	Prefixes []string
}

// Keys finds access keys. It is safe for concurrent use; a key that may not be used is not found.
type Keys interface {
	Find(id string) (Key, bool)
}

// opens reports whether the key is good for anything in the bucket.
func (k Key) opens(bucket string) bool {
	return len(k.Buckets) == 0 || slices.Contains(k.Buckets, bucket)
}

// reaches reports whether the key is good for an object: or for all whose keys begin with that one.
func (k Key) reaches(bucket, key string) bool {
	return k.opens(bucket) && (len(k.Prefixes) == 0 || slices.ContainsFunc(k.Prefixes, func(p string) bool { return strings.HasPrefix(key, p) }))
}

func (k Key) mayWrite() bool { return k.Role == Admin || k.Role == ReadWrite }

// mayRead is true of every role there is: any other text opens nothing.
func (k Key) mayRead() bool { return k.mayWrite() || k.Role == ReadOnly }

// authorise lets through what the caller may do. Two things are only known later, and are judged there by the same rules: the
// source of a copy (source), and each of many keys to delete (deleteObjects).
func (c *call) authorise() error {
	isRead := slices.Contains([]s3op.Class{s3op.ReadObject, s3op.ReadBucket, s3op.ReadService}, c.op.Class)
	if !c.caller.mayRead() || !isRead && !c.caller.mayWrite() || c.name != "" && !c.caller.opens(c.name) {
		return accessDenied()
	}
	if c.isWithinPrefixes() {
		return nil
	}
	return accessDenied()
}

// isWithinPrefixes reports whether the request keeps below the caller's prefixes. What a bucket is tells nothing of what is
// in it, so that is read by everybody who has the bucket.
func (c *call) isWithinPrefixes() bool {
	switch {
	case len(c.caller.Prefixes) == 0 || c.op.Class == s3op.ReadService || c.op.Operation == opDeleteObjects:
		return true
	case c.key != "":
		return c.caller.reaches(c.name, c.key)
	case c.op.Class != s3op.ReadBucket:
		return false
	case !slices.Contains(listings, c.op.Operation):
		return true
	}
	// Of a parameter that comes twice we take the first, and a region may take the last.
	prefixes := c.r.URL.Query()["prefix"]
	return len(prefixes) > 0 && !slices.ContainsFunc(prefixes, func(p string) bool { return !c.caller.reaches(c.name, p) })
}

// listings are the operations that tell which keys there are.
var listings = []s3op.Operation{opListObjects, opListObjectsV2, opListObjectVersions, opListMultipartUploads}

func accessDenied() error { return s3op.NewError(s3op.Denied, "AccessDenied", "Access Denied") }
