// Package journaltest is the suite that every journal must pass. It knows the
// contract and nothing of what is behind it: not how many processes share the store,
// not whose clock it goes by, not what it does at a start. Where a promise is about
// time passing, the suite uses short leases and asks again within bounds.
package journaltest

import (
	"testing"

	"github.com/gnew/tandem/internal/journal"
)

// Opener makes a new, empty journal, which is closed when the test ends.
type Opener func(t *testing.T) journal.Journal

// Crasher opens the store of a journal again after its process died: the journal
// was not closed, and the suite uses it no more. The new one is closed when the test
// ends. The test's other journals may be in use meanwhile.
type Crasher func(t *testing.T, j journal.Journal) journal.Journal

// Run runs the suite, each test on a journal of its own.
func Run(t *testing.T, open Opener, crash Crasher) {
	groups := []struct {
		name  string
		tests []test
	}{
		{"Epochs", epochTests()},
		{"Regions", regionTests()},
		{"Writes", writeTests()},
		{"Overlap", overlapTests()},
		{"Settle", settleTests()},
		{"Repair", repairTests()},
		{"Index", indexTests()},
		{"Keys", keyTests()},
		{"Claim", claimTests()},
		{"Finish", finishTests()},
		{"Fail", failTests()},
		{"Promote", promoteTests()},
		{"Ledger", ledgerTests()},
		{"Demoted", demotedTests()},
		{"Returned", returnedTests()},
		{"Overlapped", overlappedTests()},
		{"Conflicts", conflictTests()},
		{"Presigned", presignedTests()},
		{"Marks", markTests()},
		{"Detach", detachTests()},
		{"AccessKeys", accessKeyTests()},
		{"Audit", auditTests()},
		{"Crash", crashTests()},
		{"Random", randomTests()},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, one := range g.tests {
				t.Run(one.name, func(t *testing.T) {
					t.Parallel()
					one.run(newStore(t, open, crash))
				})
			}
		})
	}
}

// test is one promise. Its journal has bucket attached in the regions active and
// replica, in epoch 1.
type test struct {
	name string
	run  func(s *store)
}
