// Package failover decides which region is active. It promotes a replica when the active is
// down, by itself where it may, or when an operator asks; and it says what that costs before and
// after.
//
//	              the active is down, the hold-down is over,
//	              a replica is eligible; or an operator asks
//	┌─────────┐ ────────────────────────────────────────────► ┌───────────┐
//	│ steady  │                                               │ promoting │
//	│ epoch E │ ◄──────────────────────────────────────────── │           │
//	└──┬──▲───┘   refused, or served: epoch E+1               └───────────┘
//	   │  │
//	   ▼  │ the active answers, or a replica becomes eligible
//	┌─────┴───┐
//	│ blocked │ the active is down and nobody is eligible: said why, nothing is promoted
//	└─────────┘
//
// The journal is the authority: an epoch begins with the transaction that records it, and no
// write of an older one is acknowledged after that. The verdict that a region is down is
// health's; local time decides only the hold-down between two promotions, which is there so that
// two regions that fail in turn do not have their writes scattered.
//
// # The order of a promotion
//
// Each step may be the last before a crash; what a restart finds is always one epoch, whole.
//
//  1. Where the old active still answers, writes that have not begun are held back for a
//     moment, and those under way may end, while copies of them go on. Where it is down they are
//     cut later, in doubt.
//  2. Copies into the region that is promoted, and repairs of the old active, are cut and
//     waited for. What had no answer is on record as late.
//  3. One transaction: the next epoch, the ledger, the audit entry. Before it a crash leaves
//     the old epoch, after it the new one; the writes that were under way are in doubt, and in
//     the ledger, either way.
//  4. The gateway loads what the new active may lack, and only then serves the epoch. Until
//     then every write is refused by the journal and every read answered as before.
//  5. The writes to the old active are cut. Whatever they left is found once it is back.
//
// An epoch that has begun and is not served, because the journal could not tell (ErrUnknown) or
// the gateway could not load what it needs, is found within a second, and served.
package failover
