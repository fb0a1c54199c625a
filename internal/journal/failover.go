package journal

import (
	"context"
	"time"
)

// Failovers keeps the promotions, what each put at risk, and the conflicts.
type Failovers interface {
	// Promote makes p.Region the active of the next epoch, in one transaction with the
	// ledger of what that puts at risk, and its audit entry. ErrEpoch where the present epoch
	// is not p.After, ErrRegion where the region is not attached or is the active already.
	// From then on no intent of an older epoch is committed; the open ones are in doubt, and
	// listed so by each promotion that ends an epoch of their region. What may have landed late in
	// the region, or may yet, is a Repair in doubt there; repairs of the old active are late
	// copies. Claims of the region's copies are lost. Where writes overlapped in the old active,
	// it is no source until it was read again.
	Promote(ctx context.Context, p Promotion) (Failover, error)
	// Risk is what Promote would put at risk now, were it asked.
	Risk(ctx context.Context, p Promotion) (Risk, error)
	// Failovers are the promotions, the newest first, the first epoch included.
	Failovers(ctx context.Context) ([]Failover, error)
	// Ledger returns, in the order of their ids, up to limit entries of the promotion
	// that began the epoch, with after < id.
	Ledger(ctx context.Context, epoch, after int64, limit int) ([]LedgerEntry, error)
	// PointingAt counts the buckets' open entries at risk whose only copy is in the region, and the
	// conflicts whose loser is there and was not kept yet.
	PointingAt(ctx context.Context, buckets []string, region string) (atRisk, conflicts int64, err error)
}

// Conflicts keeps the losers: writes that a later one never saw. One that is gone before it
// was kept, overwritten in its region's own history or lost, leaves the list, and is in the
// audit chain.
type Conflicts interface {
	// Conflicts returns, in the order of their ids, up to limit with after < id; those that
	// are resolved only where all is set.
	Conflicts(ctx context.Context, after int64, limit int, all bool) ([]Conflict, error)
	// Conflict returns one. ErrNotFound.
	Conflict(ctx context.Context, id int64) (Conflict, error)
	// Keep records that the loser was copied to KeptKey in the present active, verified, and
	// closes the ledger entries of its version. Nothing where it was recorded before.
	Keep(ctx context.Context, id int64) error
	// Resolve ends a conflict, on the record. ErrMovedOn where its loser is not kept or it is
	// resolved already; ErrNotFound.
	Resolve(ctx context.Context, id int64, r Resolution) error
}

// Marks keeps what was last written into the mark of each region, and which regions
// came back older.
type Marks interface {
	// Mark is what was last recorded of the mark in the region's bucket; zero where nothing was.
	Mark(ctx context.Context, bucket, region string) (Mark, error)
	// SetMark records what that says from now on.
	SetMark(ctx context.Context, bucket, region string, m Mark) error
	// Position is the last sequence drawn.
	Position(ctx context.Context) (int64, error)
	// Regress records that the region holds something older than it should: none of its
	// copies is current until its worker has verified it, and claims of them are lost. ErrRegion
	// where it is not attached.
	Regress(ctx context.Context, bucket, region, why string) error
	// Verified ends that once no copy from before is pending there any more, and reports
	// whether the region is regressed still.
	Verified(ctx context.Context, bucket, region string) (regressed bool, err error)
	// Rebase moves a journal that was restored from a backup past what it has lost: the next
	// version is later than the epoch and the sequence, which are those of the newest mark, active
	// is the active of a new epoch after it, no region is compared, and every key of every bucket is
	// unsettled in the active, so that what this holds is the truth. On the record.
	Rebase(ctx context.Context, epoch, sequence int64, active string) (State, error)
	// Regressed lists the regions that are regressed, each with why.
	Regressed(ctx context.Context, bucket string) (map[string]string, error)
	// Detach takes a region that is not the active out of every bucket, for good: nothing is copied there
	// any more, what only it held is lost, on the record. Of a key whose version no other region
	// was ever brought to, the active is read again, and what it holds is the truth. ErrRegion
	// where it is the active or attached to none.
	Detach(ctx context.Context, region, actor, reason string) error
	// Detached lists the regions that were taken out.
	Detached(ctx context.Context) ([]string, error)
}

// Promotion is a wish to make a region active.
type Promotion struct {
	// After is the epoch that the promotion ends.
	After  int64
	Region string
	// Healthy are the regions whose copies count, beside the promoted one's. The old active's
	// never do; nor do those of a region that nobody knows any more.
	Healthy []string
	// Forced: although something spoke against it. Uncompared: the region's bucket was not
	// compared, so that its 404 is no absence.
	Forced, Uncompared bool
	// Overridden is what spoke against it, for the record.
	Overridden []string
	// Automatic: by the gateway itself, else by Actor.
	Automatic bool
	Actor     string
	Reason    string
}

// Failover is a promotion that was made.
type Failover struct {
	// Epoch that it began.
	Epoch              int64
	From, To           string
	At                 time.Time
	Forced, Uncompared bool
	Automatic          bool
	Actor, Reason      string
	// Counts of the ledger, open and in all, with the bytes of what was at risk.
	AtRisk, InDoubt, Open, AtRiskBytes int64
	// Outcomes counts the closed entries.
	Outcomes map[Outcome]int64
}

// Risk is what a promotion would put at risk.
type Risk struct {
	Keys, Bytes, InDoubt int64
	// OpenURLs of InDoubt are presigned PUTs.
	OpenURLs int64
	// OldestPending is when the region's copy that has waited longest last was current; zero
	// where none waits.
	OldestPending time.Time
}

// LedgerKind says why a write is in a ledger.
type LedgerKind string

// The kinds.
const (
	// AtRisk: acknowledged, and no healthy region but the demoted one has it.
	AtRisk LedgerKind = "at-risk"
	// InDoubt: not acknowledged, and perhaps applied in the demoted region.
	InDoubt LedgerKind = "in-doubt"
)

// Outcome is how an entry of a ledger was closed.
type Outcome string

// The outcomes; "" is an entry that is open.
const (
	// Recovered: another region has it.
	Recovered Outcome = "recovered"
	// Superseded: overwritten in the same region's own history.
	Superseded Outcome = "superseded"
	// InConflict: a later write never saw it; the loser is kept.
	InConflict Outcome = "conflict"
	// WasNotApplied: the region does not hold it, and was never to acknowledge it.
	WasNotApplied Outcome = "not-applied"
	// IsLost: no region has it.
	IsLost Outcome = "lost"
)

// LedgerEntry is one write that a promotion put at risk or left in doubt.
type LedgerEntry struct {
	ID int64
	// Failover is the epoch that the promotion began.
	Failover    int64
	Kind        LedgerKind
	Bucket, Key string
	// Version of the write; of one in doubt zero until it was found.
	Version   Version
	Operation Operation
	ETag      string
	Size      int64
	// At is when it was acknowledged, or begun where it is in doubt.
	At time.Time
	// Region holds the only copy, or may hold it; once that is taken out, another that has it.
	Region   string
	Outcome  Outcome
	ClosedAt time.Time
	Reason   string
}

// ConflictState is how far a conflict is.
type ConflictState string

// The states.
const (
	// ConflictFound: the loser is in Region alone, and nothing may overwrite it there.
	ConflictFound ConflictState = "found"
	// ConflictKept: the loser is kept under KeptKey.
	ConflictKept ConflictState = "kept"
	// ConflictResolved: somebody has decided.
	ConflictResolved ConflictState = "resolved"
)

// Conflict is a write that a later one never saw.
type Conflict struct {
	ID          int64
	Bucket, Key string
	// Loser is the version that lost, Winner the one that the key had when that was found.
	Loser, Winner Version
	Operation     Operation
	// Deleted: the loser is a delete; there is nothing to keep.
	Deleted     bool
	ETag        string
	Size        int64
	ContentType string
	// Region that holds, or held, the loser.
	Region  string
	FoundAt time.Time
	State   ConflictState
	// KeptKey is where the loser is kept, "" for a delete.
	KeptKey string
	// LastError is why it could not be kept, "" where that was not tried or was done.
	LastError  string
	Resolution string
	ResolvedAt time.Time
	ResolvedBy string
}

// Resolution says who has decided, and what.
type Resolution struct {
	Keep  string
	Actor string
}

// Mark is what a region's bucket says of itself.
type Mark struct {
	Epoch, Sequence int64
	// ETag of the mark's object in the region.
	ETag      string
	WrittenAt time.Time
}
