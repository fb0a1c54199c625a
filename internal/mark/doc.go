// Package mark recognises a region that came back older than it was. Every region's bucket
// holds a mark, which is rewritten each minute and says how far the journal was then; the
// journal keeps what it wrote last. A mark that is missing, or older than that, is that of a
// region that was restored, emptied or replaced: regressed.
//
//	         the mark is what the journal wrote last,
//	         or newer (its answer was lost)
//	      ┌──────────────────────────────────────────┐
//	      ▼                                          │
//	┌──────────┐   missing, or older        ┌────────┴───┐
//	│ trusted  ├───────────────────────────►│ regressed  │ every copy is to be verified
//	└──────────┘                            └────────────┘ (it is trusted once each was)
//	      │
//	      │ newer than the journal itself, or another journal's
//	      ▼
//	ErrNewer, ErrForeign: the gateway does not start, and writes nothing there
//
// # The order of writing
//
//  1. The region's mark is written, on the condition that it is the one that was read. A crash
//     leaves a mark that is newer than the journal's record of it, and not newer than the
//     journal: it is taken up. Where the region does not honour conditions a mark without an
//     answer may land on a newer one, and the region is verified without need.
//  2. The journal records it.
//
// The other way round a crash would leave a record that no region ever held, and every region
// would be regressed. A mark without an answer is read again before the next one is written.
//
// # What it does not show
//
// What a region has lost since its mark was last written: a minute at most, by default. And
// what two gateways with two copies of one journal do: both marks are then of that journal.
package mark
