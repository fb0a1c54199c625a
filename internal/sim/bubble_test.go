package sim

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// inBubble runs one history, in a time of its own.
//
// Under the race detector a bubble's timers share one context of the detector, also those that a
// goroutine fires itself as it looks at their channel: two of them at one instant corrupt it, and
// the process dies of SIGSEGV (golang/go#78156, go1.26). On one processor they take turns, and the
// detector sees as much: what it goes by is what was ordered, not what met.
func inBubble(t *testing.T, f func(*testing.T)) {
	if raceDetector {
		runtime.GOMAXPROCS(1)
	}
	synctest.Test(t, f)
}
