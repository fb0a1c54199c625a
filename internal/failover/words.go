package failover

import "github.com/gnew/tandem/internal/journal"

// The fronts know the journal's rows by these names.
type (
	// Record is a promotion that was made.
	Record = journal.Failover
	// Entry is a write in a promotion's ledger.
	Entry = journal.LedgerEntry
	// Conflict is a write that a later one never saw.
	Conflict = journal.Conflict
)

// The errors that the fronts tell apart, by identity.
var (
	// ErrEpoch: another promotion came first.
	ErrEpoch = journal.ErrEpoch
	// ErrNotRemovable: the region is the active, or none.
	ErrNotRemovable = journal.ErrRegion
	// ErrNotFound: there is no such conflict.
	ErrNotFound = journal.ErrNotFound
)
