//go:build mutant

package mutant

import "sync/atomic"

var active atomic.Value

// Set makes one mutant the active one of the process; "" none.
func Set(name string) { active.Store(name) }

// On reports whether the mutant is the active one.
func On(name string) bool { return active.Load() == name }
