package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gofrs/flock"

	"github.com/gnew/tandem/internal/s3op"
)

// embedded is a region that the gateway runs itself, from a folder below its own.
type embedded struct {
	g    *gateway
	name string
}

// regionDir is the folder of an embedded region.
func (g *gateway) regionDir(name string) string { return filepath.Join(g.dir, "data", "regions", name) }

// embeddedPIDs finds the region processes of this folder, whoever started them.
func (g *gateway) embeddedPIDs(t *testing.T) map[string]int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	pids := make(map[string]int)
	for _, entry := range entries {
		var pid int
		if _, err := fmt.Sscan(entry.Name(), &pid); err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		if err == nil && len(args) == 3 && args[1] == "region-server" && filepath.Dir(args[2]) == g.regionDir("") {
			pids[filepath.Base(args[2])] = pid
		}
	}
	return pids
}

func (e embedded) pid(t *testing.T) (int, bool) {
	t.Helper()
	pid, ok := e.g.embeddedPIDs(t)[e.name]
	return pid, ok
}

// access reads what the region keeps in its folder.
func (e embedded) access(t *testing.T) access {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.g.regionDir(e.name), "server.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Port                         int
		AccessKey, SecretKey, Bucket string
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return access{fmt.Sprintf("http://127.0.0.1:%d", s.Port), s.Bucket, s.AccessKey, s.SecretKey}
}

// keepAway takes the lock of the region's folder, for which the next process waits.
func (e embedded) keepAway(t *testing.T) (comeBack func(), isAway bool) {
	t.Helper()
	if pid, ok := e.pid(t); ok {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be another by now
	}
	lock := flock.New(filepath.Join(e.g.regionDir(e.name), "server.lock"))
	locked, err := lock.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	if !locked {
		_ = lock.Close()
		return nil, false
	}
	return sync.OnceFunc(func() { _ = lock.Close() }), true
}

func (e embedded) awaitServing(*testing.T) {}

// buckets is the folder of what the region holds.
func (e embedded) buckets() string { return filepath.Join(e.g.regionDir(e.name), "buckets") }

// file is where the region keeps an object.
func (e embedded) file(key string) string {
	return filepath.Join(e.buckets(), bucketOf(e.name), filepath.FromSlash(key))
}

func (e embedded) size(_ *testing.T, key string) int64 {
	info, err := os.Stat(e.file(key))
	if err != nil {
		return -1
	}
	return info.Size()
}

func (e embedded) lose(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := os.Remove(e.file(key)); err != nil {
			t.Fatal(err)
		}
	}
}

func (e embedded) loseOwn(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(e.file(s3op.ReservedPrefix)); err != nil {
		t.Fatal(err)
	}
}

func (e embedded) plant(t *testing.T, keys []string, text string) {
	t.Helper()
	for _, key := range keys {
		if err := os.WriteFile(e.file(key), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// copyTree copies a folder with its extended attributes, in which metadata is.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", from, err, out)
	}
}

// saveTree copies a folder away; restore puts the copy in its place.
func saveTree(t *testing.T, dir string) (restore func()) {
	t.Helper()
	old := filepath.Join(t.TempDir(), "old")
	copyTree(t, dir, old)
	return func() {
		t.Helper()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		copyTree(t, old, dir)
	}
}

// clearTree leaves a folder empty.
func clearTree(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func (e embedded) save(t *testing.T) (restore func()) { return saveTree(t, e.buckets()) }

func (e embedded) clear(t *testing.T) { clearTree(t, e.buckets()) }

// unfinished are the parts of uploads, and files that are still written.
func (e embedded) unfinished(t *testing.T) (left []string) {
	t.Helper()
	for _, pattern := range []string{"multipart/*/*", "*"} {
		found, err := filepath.Glob(filepath.Join(e.buckets(), "*", ".sgwtmp", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if info, err := os.Stat(f); err == nil && (pattern != "*" || !info.IsDir()) {
				left = append(left, f)
			}
		}
	}
	return left
}

// filesBelow are the regular files below a folder, but for those below a folder of the name that is skipped.
func filesBelow(dir, skipped string) (files []string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil: // what is gone by now is not there
		case e.IsDir() && e.Name() == skipped:
			return fs.SkipDir
		case e.Type().IsRegular():
			files = append(files, path)
		}
		return nil
	})
	return files
}
