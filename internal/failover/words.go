package failover

import (
	"errors"

	"github.com/gnew/tandem/internal/journal"
)

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
	// ErrNotFound: there is no such conflict.
	ErrNotFound = journal.ErrNotFound
)

// IsNotRemovable reports whether a region was not removed because it is the active, or none.
func IsNotRemovable(err error) bool { return errors.Is(err, journal.ErrRegion) }
