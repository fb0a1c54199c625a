package journal

import (
	"context"
	"errors"
	"time"

	"github.com/gnew/tandem/internal/audit"
)

// The errors that callers tell apart, by identity.
var (
	// ErrEpoch: the epoch has moved on; the write must not be, or was not, acknowledged.
	ErrEpoch = errors.New("the epoch has moved on")
	// ErrNotFound: the index has no row for the key, and no intent; or there is no such conflict or access key.
	ErrNotFound = errors.New("not in the index")
	// ErrMovedOn: the key is not what it was when the repair, or the change of the access key, was decided on.
	ErrMovedOn = errors.New("the key has moved on")
	// ErrRepairing: a repair could take the write for what it is to displace.
	ErrRepairing = errors.New("the key is being repaired")
	// ErrNoIntent: the intent is gone; Settle has closed it.
	ErrNoIntent = errors.New("no such intent")
	// ErrRegion: the region is not one of which that can be done.
	ErrRegion = errors.New("not a region of which this can be done")
	// ErrLoser: the active holds a conflict's loser of the key, which is to be kept first.
	ErrLoser = errors.New("an older write of the key is to be kept first")
	// ErrUnsettled: what the region holds of the key is to be found out first.
	ErrUnsettled = errors.New("the key is to be read again first")
	// ErrClaim: the claim was taken over or the copy is no longer claimed.
	ErrClaim = errors.New("the claim is no longer held")
	// ErrExists: there is an access key of that ID.
	ErrExists = errors.New("there is one of that ID already")
	// ErrNoSecret: the secret of the access key was dropped, and it has to be given another.
	ErrNoSecret = errors.New("the access key has no secret")
	// ErrUnavailable: the store cannot take writes; nothing was written.
	ErrUnavailable = errors.New("the journal is unavailable")
	// ErrUnknown: the store failed half-way; the change may or may not be there.
	ErrUnknown = errors.New("the journal failed, the outcome is unknown")
)

// Journal is the whole contract. Callers ask for the part they need.
type Journal interface {
	Epochs
	Writes
	Index
	Queue
	Failovers
	Conflicts
	Marks
	AccessKeys
	Audit
	// Close waits for what was taken up, and lets go of the store.
	Close() error
}

// Epochs keeps the one active region of each epoch, and which buckets were compared.
type Epochs interface {
	State(ctx context.Context) (State, error)
	// BeginEpoch makes region the active of a new epoch, one above the last,
	// provided the present epoch is still `after`; else ErrEpoch.
	BeginEpoch(ctx context.Context, after int64, region string) (State, error)
	// Attach makes the regions known for the bucket. Every key without a copy row
	// for one of them gets a pending one, so that a region added later is filled with
	// what the index knows. A region that was taken out stays out.
	Attach(ctx context.Context, bucket string, regions []string) error
	// Attached lists the regions that a bucket is known to have.
	Attached(ctx context.Context, bucket string) ([]string, error)
	// Compared lists the regions whose bucket was compared: the index knows of
	// every key there.
	Compared(ctx context.Context, bucket string) ([]string, error)
	// SetCompared records that the regions' buckets were compared. An error, and
	// nothing recorded, where one of the regions is not attached to the bucket.
	SetCompared(ctx context.Context, bucket string, regions []string) error
}

// Writes is the write path.
type Writes interface {
	// Open records an intent and returns its id. ErrEpoch where i.Epoch is not the
	// present epoch or i.Region not its active. ErrMovedOn for a Repair of a key that is not
	// at i.Restores or is Contested. ErrRepairing for a write of an object where a repair that
	// Displaces one may still land. (A tombstone is to displace the object with an ETag; the
	// same bytes are written again and acknowledged; the repair's delete finds that ETag.)
	// ErrLoser for a client's write of a key of which the region holds a loser.
	// With ErrUnknown it returns the id all the same: the intent may be there and is to be
	// abandoned. No id is given twice.
	Open(ctx context.Context, i Intent) (int64, error)
	// Commit records that the intent's write was applied: the key takes a new
	// version, the active's copy is current, every other attached region's pending,
	// and the intent is gone, all or nothing. A Repair makes no new version and leaves the
	// copy to its worker; where a write overlapped it, its intent stays, in doubt, so that
	// Settle knows what it brought. ErrEpoch as for Open: then the intent is in doubt.
	// ErrNoIntent where Settle closed it first, or a promotion made the Repair a late copy.
	Commit(ctx context.Context, id int64, w Written) (Committed, error)
	// Abandon closes an intent whose write was certainly not applied. Nothing where
	// it is gone.
	Abandon(ctx context.Context, id int64) error
	// Doubt marks an intent whose write may have been applied, or may yet: not after
	// until, where that is not zero and earlier than the intent's DoubtUntil. Nothing where
	// it is gone.
	Doubt(ctx context.Context, id int64, until time.Time) error
	// Settle applies what was seen in a region to a key: by the rules of Decide in the
	// active, or of DecideRegressed where that came back older and the key was not looked at
	// there since, and of DecideDemoted elsewhere and where the key IsReturned. A key on which a write was begun there, or in the active
	// committed, since is left as it is, and so is one of which nothing is open there any more, and so
	// are the intents of other regions: what one holds says nothing of them. ErrEpoch where the observation is of another epoch. An acknowledged
	// write that was displaced by an older one which landed late becomes a conflict, where
	// another region still has it; what is found by DecideDemoted takes its intents' epoch, and
	// is the key's version or a conflict's loser.
	Settle(ctx context.Context, o Observation) (Decision, error)
	// Sign records that a presigned URL is about to be given out. A PresignedPut opens an intent, in doubt
	// until u.OpenUntil, that Settle closes no sooner, however many uploads it adopts; those of one key, region and epoch share
	// it; that of any other
	// operation is on the record alone. It returns u with its ID. ErrEpoch where u.Epoch is not the present
	// epoch, ErrRegion where the region is not attached; ErrRepairing and ErrLoser as for Open; ErrUnsettled
	// where the key IsUnsettledIn the region: what was there before could not be told from an upload.
	Sign(ctx context.Context, u SignedURL) (SignedURL, error)
	// MarkMissing records that a region answered that it does not hold the key's
	// version v, although its copy is current: the active's is Missing, another's in the
	// queue. Nothing where the key has moved on, is Contested, or IsUnsettledIn the region.
	MarkMissing(ctx context.Context, bucket, key, region string, v Version) error
}

// Index answers what is known. Its methods never wait for a writer.
type Index interface {
	// Lookup returns the row of a key, with copies and intents. A key that has
	// only intents has the zero Version. ErrNotFound without either.
	Lookup(ctx context.Context, bucket, key string) (*Object, error)
	// Differing returns, in byte order, up to limit rows with after < key <= upTo
	// whose copy in the region is not current, or that are Contested. An empty upTo is no
	// bound. Copies are filled in.
	Differing(ctx context.Context, bucket, region, after, upTo string, limit int) ([]*Object, error)
	// Unsettled returns, in byte order, up to limit rows with after < key that Settle
	// is to close: unsettled rows, and keys with intents in doubt; not those that are open to presigned URLs alone.
	Unsettled(ctx context.Context, bucket, after string, limit int) ([]*Object, error)
	// Presigned returns, in byte order, up to limit rows with after < key that are open to presigned URLs.
	Presigned(ctx context.Context, bucket, after string, limit int) ([]*Object, error)
	// SignedURLs lists, in the order of their ids, up to limit presigned PUTs with after < ID that may yet land: those that
	// share an intent as one, from the first one's signing to the last one's end.
	SignedURLs(ctx context.Context, bucket string, after int64, limit int) ([]SignedURL, error)
	// OpenURLs counts them by region.
	OpenURLs(ctx context.Context, bucket string) (map[string]OpenURLs, error)
	// Lag is computed from the rows that the workers use.
	Lag(ctx context.Context, bucket, region string) (Lag, error)
}

// Audit is the chain of what happened. Whatever changes a key, repairs one, promotes or
// is done by an operator adds its entry in its own transaction.
type Audit interface {
	// AuditHead is the number of entries and the hash of the last.
	AuditHead(ctx context.Context) (size int64, head audit.Hash, err error)
	// AuditEntries returns up to limit entries with after < index.
	AuditEntries(ctx context.Context, after int64, limit int) ([]audit.Linked, error)
}

// Queue is the pending copies as work to be done.
type Queue interface {
	// Claim takes due copies of a region. A copy that is claimed is given to nobody
	// else, whatever happens to its key, until its lease is over. Where a claim ends without
	// Finish or Fail, the next task has a LateCopy for what that worker may have sent.
	Claim(ctx context.Context, bucket, region string, c Claim) ([]Task, error)
	// Announce records, before it is sent, that the task's copy brings this ETag rather
	// than that of the task's version: what is copied of a Contested key is what is found.
	// ErrClaim where the claim is lost.
	Announce(ctx context.Context, t Task, etag string) error
	// Renew extends a claim.
	Renew(ctx context.Context, t Task, lease time.Duration) error
	// Finish records that the region holds the task's version with this ETag (""
	// for a tombstone). The copy is current if the key has not moved on, is not
	// Contested, was not when the task was claimed (what was copied of a key that is being
	// written is anybody's guess), and no late copy could still land on what the region holds now; else it
	// stays pending, with the reason. A copy that is not Pending any more, on a key that
	// has moved on, stays as it is. What is returned is its state.
	Finish(ctx context.Context, t Task, etag string) (CopyState, error)
	// Fail records that the copy was not made, and gives up the claim. A copy that
	// is not Pending any more stays as it is. With ErrClaim nothing but f.Late is recorded.
	Fail(ctx context.Context, t Task, f Failure) error
	// Request puts a copy into the queue at once, whatever it is thought to hold, and
	// reports whether it did. Nothing where the key has moved on from v, where the copy is
	// Unreplicable or Abandoned, or where no other region's copy is current: what may be
	// the only copy is not given up for one that is to be made.
	Request(ctx context.Context, bucket, key, region string, v Version) (bool, error)
	// Hurry makes the pending copies of a region that have failed, and wait, due at once: what
	// they failed for may be over.
	Hurry(ctx context.Context, bucket, region string) error
	// NextDue is when Claim has the next copy of the region to give; one that is
	// claimed, when its lease is over. Zero where none waits.
	NextDue(ctx context.Context, bucket, region string) (time.Time, error)
}
