// Package disk watches the room on file systems, so that writes are refused before
// the journal has nowhere to write.
package disk

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gnew/tandem/internal/s3op"
)

// checkInterval is how old an answer of the file system may be.
const checkInterval = time.Second

// Guard is safe for concurrent use.
type Guard struct {
	minFree int64
	dirs    []string

	mu      sync.Mutex
	checked time.Time // guarded by mu
	err     error     // guarded by mu
}

// NewGuard watches the file system of each folder; minFree is in bytes, 0 to refuse nothing.
func NewGuard(minFree int64, dirs ...string) *Guard { return &Guard{minFree: minFree, dirs: dirs} }

// Check returns nil while each has room enough, else an *s3op.Error of kind
// Unavailable. It asks the file systems once a second at most.
func (g *Guard) Check() error {
	if g.minFree == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.checked) >= checkInterval {
		g.checked, g.err = now, g.look()
	}
	return g.err
}

func (g *Guard) look() error {
	for _, dir := range g.dirs {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the room on the gateway's disk cannot be told; writes are refused", err)
		}
		if free := int64(fs.Bavail) * int64(fs.Bsize); free < g.minFree {
			return g.refuse(free)
		}
	}
	return nil
}

func (g *Guard) refuse(free int64) error {
	return s3op.NewError(s3op.Unavailable, "InsufficientStorage",
		fmt.Sprintf("the gateway's disk has %d MiB free and needs %d for its journal (MIN_FREE_BYTES); writes are refused, reads go on",
			free>>20, g.minFree>>20))
}
