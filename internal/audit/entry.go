package audit

import (
	"strconv"
	"time"
)

// Action is what an entry says was done.
type Action string

// The actions.
const (
	// Write: a client's write was committed.
	Write Action = "write"
	// Adopt: the active was found to hold what no intent explains, and it counts now.
	Adopt Action = "adopt"
	// Sign: a presigned URL was given out.
	Sign Action = "sign"
	// Repair: an acknowledged version was written back into the active.
	Repair Action = "repair"
	// Promote: a region became the active, in a new epoch.
	Promote Action = "promote"
	// Conflict: two writes were found of which neither saw the other.
	Conflict Action = "conflict"
	// Keep: the loser of a conflict was put where it can be had again.
	Keep Action = "keep"
	// Resolve: a conflict was decided.
	Resolve Action = "resolve"
	// Close: an entry of a promotion's ledger was closed, with its reason.
	Close Action = "close"
	// Regress: a region was found older than the journal left it.
	Regress Action = "regress"
	// VerifyRegion: a regressed region was verified.
	VerifyRegion Action = "verify"
	// Attach: a region was taken in.
	Attach Action = "attach"
	// Remove: a region was taken out.
	Remove Action = "remove"
	// Compare: a bucket was compared in a region.
	Compare Action = "compare"
	// Create: an access key of S3 clients was made; the detail has its ID, as in the three that follow.
	Create Action = "create"
	// Disable: an access key opens nothing any more.
	Disable Action = "disable"
	// Enable: an access key that was disabled opens again what it did.
	Enable Action = "enable"
	// Rotate: an access key was given another secret.
	Rotate Action = "rotate"
	// Rebase: a journal that was restored from a backup was moved past what it had lost.
	Rebase Action = "rebase"
)

// Entry is one thing that happened. Strings may hold any bytes.
type Entry struct {
	// Index is 1 for the first entry of a journal; there are no gaps.
	Index int64
	// At is in whole microseconds: what is finer is not in the chain. It is the gateway's
	// clock, which may have been put back.
	At     time.Time
	Action Action
	// Actor is who did it: "client", "admin", "operator", or "failover" for the
	// gateway by itself.
	Actor string
	// Bucket and Key are "" where there is none, as are Version and Region.
	Bucket, Key string
	// Version is "<epoch>-<sequence>".
	Version string
	Region  string
	// Detail is text or JSON, by Action.
	Detail string
}

// Linked is an entry in its place of a chain.
type Linked struct {
	Entry
	// Hash is Link of the hash before it and Entry.
	Hash Hash
}

// AppendEncoding appends the canonical encoding of e, the bytes that are hashed.
func (e Entry) AppendEncoding(b []byte) []byte {
	b = appendInt(b, e.Index)
	b = appendInt(b, e.At.UnixMicro())
	b = appendString(b, string(e.Action))
	b = appendString(b, e.Actor)
	b = appendString(b, e.Bucket)
	b = appendString(b, e.Key)
	b = appendString(b, e.Version)
	b = appendString(b, e.Region)
	return appendString(b, e.Detail)
}

const (
	numberBytes = len("-9223372036854775808")
	// framedBytes is the most that a field takes beside its bytes.
	framedBytes = numberBytes + len(":,")
)

// encodedBytes is the most that e's encoding takes.
func (e *Entry) encodedBytes() int {
	return 9*framedBytes + 2*numberBytes +
		len(e.Action) + len(e.Actor) + len(e.Bucket) + len(e.Key) + len(e.Version) + len(e.Region) + len(e.Detail)
}

func appendString(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}

func appendInt(b []byte, n int64) []byte {
	var digits [numberBytes]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, ':')
	b = append(b, text...)
	return append(b, ',')
}
