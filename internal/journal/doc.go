// Package journal is the contract of the durable record of writes, and of the
// index that is made from it: intents, the keys and their copies, the epochs; and of the access keys of S3 clients. Its
// implementations are in sub-packages; package journaltest has the suite that each
// must pass. It assumes nothing about how many processes share a store.
//
// # What is durable, and when
//
// A method that changes something has it on disk when it returns nil. After an
// error nothing of that call was written, with one exception: ErrUnknown says that the
// store itself failed half-way and the change may or may not be there.
//
// # The life of a write
//
//	          Open                  Commit
//	(nothing) ────► open intent ────────────► gone; the key has a new version
//	                 │      │
//	         Abandon │      │ Doubt, or a crash
//	                 ▼      ▼
//	              gone     in doubt ──Commit──► gone; the key has a new version
//	                        │
//	                        │ Settle (what the region holds was read again)
//	                        ▼
//	                       gone; see Decide
//
// An open intent was never acknowledged. One that is in doubt is closed only by
// Settle, by the rules of Decide, DecideRegressed and DecideDemoted, which are the same for every
// implementation.
//
// # Concurrency
//
// Every method is safe for concurrent use. A context bounds only the wait for a
// place in the queue: a change that has been taken up is carried through, so that a
// client that leaves cannot make an outcome unknown.
package journal
