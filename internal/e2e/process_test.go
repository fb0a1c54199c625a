package e2e_test

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/journal/sqlite"
)

// serverFiles are the ports, keys and buckets that the regions keep.
func (g *gateway) serverFiles(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, name := range []string{primary, secondary} {
		data, err := os.ReadFile(filepath.Join(g.regionDir(name), "server.json"))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	return files
}

// TestRegionsEndWithTheirGatewayAndComeBackTheSame: a gateway that is killed, in the
// middle of an upload, leaves no region process behind; started again, its regions have the
// ports and the keys that they had.
func TestRegionsEndWithTheirGatewayAndComeBackTheSame(t *testing.T) {
	embeddedOnly(t, "others do not end with their gateway")
	t.Parallel()
	g := start(t)
	g.putText(t, "key", "text")
	g.waitAtRest(t, "key")
	before, pids := g.serverFiles(t), g.regionPIDs(t)
	if len(pids) != 2 {
		t.Fatalf("regions %v, want a process for each of two", pids)
	}
	body := newGate(t, content{seed: 1, size: 20 * mib}.reader(), 10*mib)
	ended := g.upload(t, "cut", body, 20*mib)
	receive(t, "the first part of the body", body.reached)
	past := g.region(t, primary)

	killed := time.Now()
	g.kill(t) // which waits for the regions' end
	t.Logf("the regions ended %s after their gateway", time.Since(killed))
	body.open()
	if got := receive(t, "the end of the upload", ended); got.err == nil {
		t.Errorf("the upload was answered by a gateway that is dead: %s", got.answer)
	}

	g.start(t)
	if diff := cmp.Diff(before, g.serverFiles(t)); diff != "" {
		t.Errorf("the regions' settings changed (-before +after):\n%s", diff)
	}
	if _, err := past.Head(t.Context(), "key", nil); err != nil {
		t.Errorf("with the port and the keys from before: %v", err)
	}
	if diff := cmp.Diff(map[string]int64{"key": 4}, sizes(g.checkAgree(t))); diff != "" {
		t.Errorf("objects differ (-want +held):\n%s", diff)
	}
}

// TestRegionThatDiesIsStartedAgain: its process is another, its port and keys are
// not, and the gateway needs no telling.
func TestRegionThatDiesIsStartedAgain(t *testing.T) {
	embeddedOnly(t, "others are not started by their gateway")
	t.Parallel()
	g := start(t)
	g.putText(t, "key", "text")
	g.waitAtRest(t, "key")
	files, pids := g.serverFiles(t), g.regionPIDs(t)
	g.killRegion(t, primary)
	g.waitUp(t, primary)
	if now := g.regionPIDs(t); now[primary] == pids[primary] || now[secondary] != pids[secondary] {
		t.Errorf("processes %v, were %v; want another for the primary alone", now, pids)
	}
	if diff := cmp.Diff(files, g.serverFiles(t)); diff != "" {
		t.Errorf("the regions' settings changed (-before +after):\n%s", diff)
	}
	g.putText(t, "key", "after")
	g.waitAtRest(t, "key")
	if a := g.get(t, "key"); string(a.body) != "after" || a.header.Get("X-Tandem-Region") != primary {
		t.Errorf("get after the restart: %s from %s", a, a.header.Get("X-Tandem-Region"))
	}
}

// TestASecondGatewayIsRefused: a data folder has one gateway at a time. The second
// says why and ends; the first, and its regions, notice nothing. Once the first is gone,
// even by a kill, another may take over at once.
func TestASecondGatewayIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.putText(t, "key", "text")
	pids := g.regionPIDs(t)
	logged := len(g.logs.String())
	second := g.launch(t, []string{"serve"})
	select {
	case <-second.ended:
	case <-time.After(patience):
		_ = second.cmd.Process.Kill()
		t.Fatal("the second gateway runs")
	}
	if code := second.cmd.ProcessState.ExitCode(); code != 1 || second.stdout.String() != "" {
		t.Errorf("the second gateway ended with exit code %d and said %q, want 1 and nothing", code, second.stdout.String())
	}
	if said := g.logs.String()[logged:]; !strings.Contains(said, "tandem: ") || !strings.Contains(said, "another process") {
		t.Errorf("the second gateway did not say that another process has the folder; the logs since are %q", said)
	}
	g.putText(t, "key", "second")
	if diff := cmp.Diff(pids, g.regionPIDs(t)); diff != "" {
		t.Errorf("region processes changed (-before +after):\n%s", diff)
	}
	g.kill(t)
	g.start(t)
	if a := g.get(t, "key"); string(a.body) != "second" {
		t.Errorf("get from the next gateway: %s", a)
	}
}

// TestJournalBackupOfARunningGateway: a backup that is made while clients write opens
// as a journal, and has every write that was acknowledged before it began.
func TestJournalBackupOfARunningGateway(t *testing.T) {
	t.Parallel()
	g := start(t)
	versions := make(map[string]string)
	for i := range 20 {
		key := "before/" + strconv.Itoa(i)
		g.putText(t, key, key)
		versions[key] = g.status(t, key).Version
	}
	written := g.writeUntilRefused(t, 2)
	backup := g.launch(t, []string{"journal", "backup", "copy.db"})
	select {
	case <-backup.ended:
	case <-time.After(patience):
		_ = backup.cmd.Process.Kill()
		t.Fatal("the backup does not end")
	}
	if code := backup.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(backup.stdout.String(), "copy.db") {
		t.Fatalf("exit code %d, said %q", code, backup.stdout.String())
	}
	g.stop(t)
	receive(t, "the writers' end", written)

	path := filepath.Join(g.dir, "copy.db")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v, want mode 0600", info, err)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(data, []byte("SQLite format 3\x00")) {
		t.Errorf("the copy is no SQLite file (%v)", err)
	}
	j, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	for _, key := range slices.Sorted(maps.Keys(versions)) {
		o, err := j.Lookup(t.Context(), "tandem", key)
		if err != nil || o == nil || o.Version.String() != versions[key] {
			t.Errorf("%s in the copy: %+v (%v), want version %s", key, o, err, versions[key])
		}
	}
}
