package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// room is a mount namespace in which a gateway's data folder is a file system of its own,
// small enough to be filled; the regions' folders in it stay on the disk outside. It lasts as
// long as its keeper, and the keeper ends with its standard input, so with the test.
type room struct {
	keeper *exec.Cmd
	// data is the folder as it is seen from outside the room.
	data string
}

// roomScript makes the room in "$1", of "$2" bytes.
const roomScript = `set -e
mkdir -p "$1/data/regions" "$1/outside"
mount --bind "$1/data/regions" "$1/outside"
mount -t tmpfs -o "size=$2,mode=700" tandem "$1/data"
mkdir "$1/data/regions"
mount --bind "$1/outside" "$1/data/regions"
echo ready
exec cat`

// newRoom needs user namespaces, as root or as anybody else. Where there are none the test fails:
// left out, a full disk would never be tried.
func newRoom(t *testing.T, dir string, bytes int) *room {
	t.Helper()
	keeper := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", roomScript, "room", dir, fmt.Sprint(bytes))
	stdin, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	keeper.Stderr = &stderr
	if err := keeper.Start(); err != nil {
		t.Fatalf("make a mount namespace: %v", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = keeper.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("make a mount namespace with a small data folder: %v: %s", err, stderr.String())
	}
	return &room{keeper: keeper, data: fmt.Sprintf("/proc/%d/root%s", keeper.Process.Pid, filepath.Join(dir, "data"))}
}

// command runs the binary in the room; its process id is that of the command.
func (r *room) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", slices.Concat([]string{
		"--target", fmt.Sprint(r.keeper.Process.Pid), "--user", "--mount", "--preserve-credentials", "--", binary,
	}, args)...)
}

// filler is what takes the room on the data folder.
const filler = "filler"

// fill leaves no byte free.
func (r *room) fill() error {
	f, err := os.OpenFile(filepath.Join(r.data, filler), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			return err
		}
	}
	return nil
}

func (r *room) free() error {
	if err := os.Remove(filepath.Join(r.data, filler)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// replaceJournal puts another journal in the place of the one that no gateway has open.
func (r *room) replaceJournal(with string) error {
	content, err := os.ReadFile(with)
	if err != nil {
		return err
	}
	path := filepath.Join(r.data, "multi_region_store.db")
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.WriteFile(path, content, 0o600)
}
