// Package regiontest is an S3 region for tests: a working server in memory,
// with faults on demand, served over real HTTP by httptest or over net.Pipe
// inside a synctest bubble.
//
// The server answers as Amazon S3 does (status codes, headers, XML, order of
// checks) for the operations that a gateway and its replicator need, and says
// NotImplemented to the rest: it never guesses. It holds every legal key
// exactly, since it reads the key from the escaped path and never cleans it.
//
// # How a request runs
//
//	parse, count ─► fault rule ─► prepare ──────────► effect ─────────► reply
//	                              (reads and checks   (under the lock:   (streamed,
//	                               the whole body)     conditions, state) may be cut)
//
// An operation is prepared first and takes effect later, in one step under the
// lock. So a body that stops short changes nothing, conditions are judged at
// the moment of the write, and a [Fault] can put itself between any two steps:
// refuse, lose the reply of what was applied, hang before or after, or apply
// long after the client was cut off.
//
// Buckets have no versions yet. Objects are immutable values once stored and
// are reached only through bucket.current and bucket.set, which is where a
// stack of versions would go.
package regiontest
