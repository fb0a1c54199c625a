package disk_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gnew/tandem/internal/disk"
	"github.com/gnew/tandem/internal/s3op"
)

// more than any file system has.
const enormous = math.MaxInt64

func TestWritesAreRefusedBeforeTheDiskIsFull(t *testing.T) {
	roomy := t.TempDir()
	gone := filepath.Join(roomy, "gone")
	for _, tt := range []struct {
		name    string
		minFree int64
		dirs    []string
		code    string
	}{
		{"room enough", 1, []string{roomy, roomy}, ""},
		{"switched off", 0, []string{gone}, ""},
		{"too little room", enormous, []string{roomy}, "InsufficientStorage"},
		{"nobody can tell", 1, []string{gone}, "ServiceUnavailable"},
		{"nobody can tell of the second folder", 1, []string{roomy, gone}, "ServiceUnavailable"},
	} {
		err := disk.NewGuard(tt.minFree, tt.dirs...).Check()
		switch {
		case tt.code == "" && err != nil, tt.code != "" && err == nil:
			t.Errorf("%s: got %v", tt.name, err)
		case err != nil && (s3op.KindOf(err) != s3op.Unavailable || !strings.HasPrefix(err.Error(), tt.code)):
			t.Errorf("%s: got %v, want %s, unavailable", tt.name, err, tt.code)
		}
	}
}

// Each folder is on a file system of its own: the one with the least room decides.
func TestEveryFileSystemNeedsItsRoom(t *testing.T) {
	full := "/proc" // a file system without any room
	for _, dirs := range [][]string{{t.TempDir(), full}, {full, t.TempDir()}} {
		if err := disk.NewGuard(1, dirs...).Check(); s3op.KindOf(err) != s3op.Unavailable {
			t.Errorf("%v: got %v, want a refusal", dirs, err)
		}
	}
}

// The file system is not asked for every write, and what it said does not hold for long.
func TestRoomIsAskedForOnceASecond(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	synctest.Test(t, func(t *testing.T) {
		g := disk.NewGuard(1, dir)
		if g.Check() == nil {
			t.Error("there is no such folder: got no refusal")
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second - 1)
		if g.Check() == nil {
			t.Error("asked again within a second")
		}
		time.Sleep(time.Nanosecond)
		if err := g.Check(); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}
