//go:build race

package sim

import "runtime"

// Under the race detector a bubble's timers share one context of the detector, also those that a
// goroutine fires itself as it looks at their channel: two of them at one instant corrupt it, and
// the process dies of SIGSEGV, once in an hour (golang/go#78156, go1.26). On one processor they
// take turns, and the detector sees as much: what it goes by is what was ordered, not what met.
func init() { runtime.GOMAXPROCS(1) }
