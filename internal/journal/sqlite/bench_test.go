package sqlite_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
)

// newWritable opens a new journal with a bucket in two regions, in epoch 1.
func newWritable(t testing.TB, cfg sqlite.Config) *sqlite.Journal {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "journal.db")
	}
	j := newJournal(t, cfg)
	if err := j.Attach(t.Context(), "bucket", []string{"alpha", "beta"}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.BeginEpoch(t.Context(), 0, "alpha"); err != nil {
		t.Fatal(err)
	}
	return j
}

func open(t testing.TB, j journal.Writes, key string) (int64, error) {
	return j.Open(t.Context(), journal.Intent{
		Bucket: "bucket", Key: key, Region: "alpha", Operation: journal.Put, Epoch: 1, OpenedAt: time.Now(), DoubtUntil: time.Now().Add(time.Hour),
	})
}

// put writes a key as a gateway does.
func put(t testing.TB, j journal.Writes, key string) (journal.Version, error) {
	id, err := open(t, j, key)
	if err != nil {
		return journal.Version{}, err
	}
	c, err := j.Commit(t.Context(), id, journal.Written{ETag: "9b74c9897bac770ffc029102a200c5de", Size: 4096, ContentType: "text/plain"})
	return c.Version, err
}

// BenchmarkWrite is a write's two changes, each waited for until it is on disk.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("c%d", writers), func(b *testing.B) {
			j := newWritable(b, sqlite.Config{})
			b.ReportAllocs()
			var next atomic.Int64
			b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0))) // it is for each processor
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := put(b, j, "folder/object-"+strconv.FormatInt(next.Add(1), 10)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
