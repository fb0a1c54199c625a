package journal

import (
	"slices"
	"time"
)

// Operation is what an intent means to do to a key.
type Operation string

// The operations. Repair writes an acknowledged version back into the active; it
// makes no new version.
const (
	Put      Operation = "put"
	Complete Operation = "complete-multipart"
	Delete   Operation = "delete"
	Repair   Operation = "repair"
	// Get makes no intent; a presigned GET is on the record alone.
	Get Operation = "get"
	// PresignedPut is an upload by a presigned URL, which bypasses the gateway: it may land any
	// number of times until the URL has expired and the grace for one then under way is over.
	PresignedPut Operation = "presigned-put"
	// Adopt marks a version that no intent explains: the active was found to hold it.
	Adopt Operation = "adopt"
)

// State is where the store stands: the present epoch and its one active region.
type State struct {
	// JournalID is made when the store is made, and never changes.
	JournalID string
	// Epoch is 0 before the first BeginEpoch.
	Epoch   int64
	Active  string
	BeganAt time.Time
	// Uncompared: the active was promoted by force, its bucket never compared, so that its
	// 404 is no absence.
	Uncompared bool
	// Rebased: the epoch was begun by Rebase, so that what the active holds is the truth.
	Rebased bool
}

// Intent says that a write may be reaching a region.
type Intent struct {
	// ID is drawn by Open.
	ID          int64
	Bucket, Key string
	Region      string
	Operation   Operation
	// Epoch in which the write was begun.
	Epoch    int64
	OpenedAt time.Time
	// DoubtUntil is when the write can no longer land in the region: the request's
	// hard deadline and the doubt window.
	DoubtUntil time.Time
	// InDoubt is set once the request's outcome is unknown.
	InDoubt bool
	// Brings is the ETag that the write leaves in the region, "" for a delete and where that is
	// not known before it is sent. Of a stand-in it is that of the version for which it stands.
	Brings string
	// Restores is the version that a Repair writes back. Of a stand-in it is the version for which
	// it stands.
	Restores Version
	// Displaces is the ETag of the object that a Repair replaces or deletes, "" for none,
	// AnyETag where the region would replace whatever it holds.
	Displaces string
	// ExpiresAt is when the URL of a PresignedPut is no longer accepted; zero for every other.
	ExpiresAt time.Time
}

// isClients reports whether the intent is a client's write by way of the gateway.
func (i Intent) isClients() bool { return i.Operation != Repair && i.Operation != PresignedPut }

// IsURLOpen reports whether an upload by a presigned URL may yet land.
func (i Intent) IsURLOpen(at time.Time) bool {
	return i.Operation == PresignedPut && at.Before(i.DoubtUntil)
}

// SignedURL is a presigned URL that was given out.
type SignedURL struct {
	// ID is drawn by Sign, and 0 for one that is not tracked.
	ID          int64
	Bucket, Key string
	Region      string
	// Operation is PresignedPut, which is tracked, or Get.
	Operation Operation
	// Epoch in which it was signed.
	Epoch     int64
	SignedAt  time.Time
	ExpiresAt time.Time
	// OpenUntil is when an upload that began before ExpiresAt can no longer land.
	OpenUntil time.Time
	// Actor asked for it.
	Actor string
}

// OpenURLs are the presigned PUTs of a region that may yet land.
type OpenURLs struct {
	// Count is of SignedURLs: several URLs of a key are one.
	Count int64
	// Until is when the last of them is closed.
	Until time.Time
}

// IsStandIn reports whether the intent stands for acknowledged writes that overlapped in its
// region before the key took a version in another one: which of them the region holds is to be
// found out before anything is copied there. The store makes them; they are in doubt, and their
// window is over.
func (i Intent) IsStandIn() bool { return i.isClients() && !i.Restores.IsZero() }

// Written is what a region answered to a write, or holds.
type Written struct {
	ETag        string
	Size        int64
	ContentType string
}

// Committed is what became of a write.
type Committed struct {
	Version Version
	// Settled is false where the region's order of overlapping writes is not
	// known, or another intent of the key is open: the key must be read again.
	Settled bool
}

// CopyState is what is known of one key in one region.
type CopyState string

// The states of a copy.
const (
	// Current: the region holds the key's version (for a tombstone: nothing).
	Current CopyState = "current"
	// Pending: older than the key's version, and in the queue.
	Pending CopyState = "pending"
	// Abandoned: an operator took it out of the queue, on the record.
	Abandoned CopyState = "abandoned"
	// Unreplicable: the region cannot hold this key or object.
	Unreplicable CopyState = "unreplicable"
	// Missing: the region should hold it and answered that it does not.
	Missing CopyState = "missing"
	// Unknown: nothing was ever recorded of this key there.
	Unknown CopyState = "unknown"
)

// Copy is what is known of one key in one region.
type Copy struct {
	Region string
	State  CopyState
	// Version and ETag are what the region was last known to hold: zero and ""
	// for nothing.
	Version  Version
	ETag     string
	Attempts int
	// LastError is "" where the last attempt succeeded or none was made.
	LastError string
	// NextTry is when a Pending copy is due; zero otherwise.
	NextTry time.Time
	// PendingSince is when a Pending copy last was current; zero otherwise.
	PendingSince time.Time
}

// Object is the index's row of a key, with its copies.
type Object struct {
	Bucket, Key string
	Version     Version
	Operation   Operation
	// Deleted marks a tombstone: the last write is a delete.
	Deleted     bool
	ETag        string
	Size        int64
	ContentType string
	// LastRegion is the active that took the last write, or the one in which the key is
	// Unsettled since.
	LastRegion           string
	CreatedAt, UpdatedAt time.Time
	// Unsettled: writes overlapped in LastRegion, or it was found, as the active, to hold
	// something that no intent explains, and has not been read again since.
	Unsettled bool
	// DeleteSeen: one of the writes that overlapped is a delete.
	DeleteSeen bool
	// Copies are in the order of the regions' names.
	Copies []Copy
	// Intents are those open or in doubt.
	Intents []Intent
}

// Copy returns what is known of the key in a region; its State is Unknown where
// nothing was recorded.
func (o *Object) Copy(region string) Copy {
	for _, c := range o.Copies {
		if c.Region == region {
			return c
		}
	}
	return Copy{Region: region, State: Unknown}
}

// Contested reports whether a client's write of the key is under way or in doubt in
// the active, or the order of its last writes there is not known: then only the active can
// answer for it. What is in doubt in another region was never acknowledged, and does not
// touch what the key is.
func (o *Object) Contested(active string) bool {
	if o.Unsettled && o.LastRegion == active {
		return true
	}
	return o.InDoubtIn(active)
}

// IsElsewhere reports whether another region than this holds the key's version.
func (o *Object) IsElsewhere(region string) bool {
	return slices.ContainsFunc(o.Copies, func(c Copy) bool { return c.Region != region && c.State == Current })
}

// InDoubtIn reports whether a client's write of the key is under way or in doubt in the
// region.
func (o *Object) InDoubtIn(region string) bool {
	return slices.ContainsFunc(o.Intents, func(i Intent) bool { return i.Region == region && i.isClients() })
}

// IsOpenToURLs reports whether an upload by a presigned URL may land on the key in the region, or has
// landed and was not seen yet. It does not make the key Contested: what the index says is acknowledged; but
// that nobody has overwritten it since, only the region knows.
func (o *Object) IsOpenToURLs(region string) bool {
	return slices.ContainsFunc(o.Intents, func(i Intent) bool { return i.Region == region && i.Operation == PresignedPut })
}

// IsBehind reports whether the region is not known to hold the key's acknowledged version.
func (o *Object) IsBehind(region string) bool {
	return !o.Version.IsZero() && o.Copy(region).State != Current
}

// OlderIn are the ETags of what a region may hold although it is older than the key's version:
// what it was last known to hold, and what copies of ours without an answer brought.
func (o *Object) OlderIn(region string) []string {
	var etags []string
	if c := o.Copy(region); c.ETag != "" && c.Version != o.Version {
		etags = append(etags, c.ETag)
	}
	for _, i := range o.Intents {
		if i.Region == region && !i.isClients() && i.Brings != "" && i.Brings != o.ETag {
			etags = append(etags, i.Brings)
		}
	}
	return etags
}

// IsUnsettledIn reports whether the region may hold another of the key's writes than the
// index says, and is to be read again.
func (o *Object) IsUnsettledIn(region string) bool {
	return o.Unsettled && o.LastRegion == region || o.InDoubtIn(region)
}

// Claim says which copies are to be claimed.
type Claim struct {
	// Limit is how many at most.
	Limit int
	// Lease is for how long.
	Lease time.Duration
	// Conditional: the region honours conditional writes and deletes, so that a copy
	// lands only on what it expects.
	Conditional bool
	// Window is how long after its lease, or a crash, a copy may still land.
	Window time.Duration
}

// Task is a claimed copy that is to be brought to the key's version.
type Task struct {
	// Claim identifies this claim; a claim that was taken over no longer counts.
	Claim  int64
	Region string
	Object Object
	Late   []LateCopy
	// Losers are the conflicts whose loser the region holds, and which is to be kept before
	// anything else may be there.
	Losers []Conflict
	// Regressed: the region came back older, and the key was neither written nor verified there
	// since, so whatever it holds of the key is no news.
	Regressed bool
}

// Target is what is known of the key in the task's region.
func (t *Task) Target() Copy { return t.Object.Copy(t.Region) }

// AnyETag as LateCopy.Expects: the region would apply the copy whatever it holds.
const AnyETag = "*"

// LateCopy is a copy whose answer never came, or which could not be verified. Until
// then it may land in its region; what it leaves there is known for ours even later.
type LateCopy struct {
	// Expects is the ETag at which the region would apply it, "" where the key must
	// be absent, AnyETag where the region does not honour conditions.
	Expects string
	// ETag is what the region holds once it has landed.
	ETag string
	// Until is when it can no longer land.
	Until time.Time
}

// Failure is why a copy was not made.
type Failure struct {
	Reason string
	// State is Pending (the default), Unreplicable, or Missing.
	State CopyState
	// Held is the ETag of what the region holds instead, where State is Missing: what the next
	// copy may overwrite. "" for nothing.
	Held string
	// NextTry is when a Pending copy is due again.
	NextTry time.Time
	// Late is set where the region may have applied the attempt, or may yet.
	Late *LateCopy
	// Loser is the conflict whose loser could not be kept; 0 for none.
	Loser int64
	// SourceChanged: the present active was found to hold something else than the index
	// says, so the key is to be settled there before it is copied. Of another region that is
	// told by MarkMissing.
	SourceChanged bool
}

// Lag is how far a region is behind: what is pending there, and what is missing.
type Lag struct {
	Keys, Bytes int64
	// OldestPending is when the copy that has waited longest last was current;
	// zero where none waits.
	OldestPending time.Time
	// Failing counts the pending copies whose last attempt failed.
	Failing int64
	// Unreplicable counts what the region cannot hold.
	Unreplicable int64
}

// Plus is the lag of two buckets of a region together.
func (l Lag) Plus(other Lag) Lag {
	l.Keys, l.Bytes, l.Failing, l.Unreplicable = l.Keys+other.Keys, l.Bytes+other.Bytes, l.Failing+other.Failing, l.Unreplicable+other.Unreplicable
	if l.OldestPending.IsZero() || !other.OldestPending.IsZero() && other.OldestPending.Before(l.OldestPending) {
		l.OldestPending = other.OldestPending
	}
	return l
}

// Observation is what a region was seen to hold of a key.
type Observation struct {
	Bucket, Key string
	// Region is the region that was read, in this epoch.
	Region string
	Epoch  int64
	// Version is the key's version before the region was read: what was seen
	// counts only where no write was committed since.
	Version Version
	// Intents are the ids of the key's intents before the region was read.
	Intents []int64
	// Held is what the index said of the region before it was read: where that is open to presigned URLs, what
	// was seen counts only while it says so.
	Held Copy
	// Found is false where a healthy region answered that it has no such key.
	Found bool
	Written
	// ReadAt is when the read began.
	ReadAt time.Time
}
