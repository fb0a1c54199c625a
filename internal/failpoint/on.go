//go:build failpoint

package failpoint

import (
	"os"
	"syscall"
)

// Variable names the point at which the process is to be killed.
const Variable = "TANDEM_FAILPOINT"

// Hit kills the process, as kill -9 does, where Variable names the point.
func Hit(point string) {
	if os.Getenv(Variable) == point {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way; go no further
	}
}
