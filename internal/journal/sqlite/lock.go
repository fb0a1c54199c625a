package sqlite

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Lock keeps every gateway from opening the journal at path, which need not be there, until unlock is
// called or the process ends. Where another process has it, ErrLocked.
func Lock(path string) (unlock func() error, err error) {
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	return lock.Unlock, nil
}

func lockFile(path string) (*flock.Flock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the journal's folder: %w", err)
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the journal: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("%w: %s is locked; stop the other gateway, or give this one another DATABASE_URL", ErrLocked, path)
	}
	return lock, nil
}
