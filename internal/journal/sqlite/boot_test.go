package sqlite_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/gnew/tandem/internal/journal/sqlite"
)

// boots opens one journal again and again.
type boots struct {
	t    *testing.T
	path string
	j    *sqlite.Journal
}

// open opens the journal, after a crash where the last one was not closed, and checks what it
// says of the machine.
func (b *boots) open(bootID string, isStopped bool) {
	b.t.Helper()
	if b.j != nil {
		b.crash()
	}
	j, err := sqlite.Open(b.t.Context(), sqlite.Config{Path: b.path, BootID: bootID, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = j.Close() })
	b.j = j
	if got := j.MachineStopped(); got != isStopped {
		b.t.Errorf("in boot %q: got %t, want %t", bootID, got, isStopped)
	}
}

// crash leaves the file as it is on disk, under another name.
func (b *boots) crash() {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "journal.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(b.path + suffix)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(path+suffix, content, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	b.path, b.j = path, nil
}

func (b *boots) close() {
	b.t.Helper()
	if err := b.j.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.j = nil
}

func (b *boots) takeUp() {
	b.t.Helper()
	if err := b.j.TakeUpMachineStop(b.t.Context(), nil, ""); err != nil {
		b.t.Fatal(err)
	}
}

func newBoots(t *testing.T) *boots {
	return &boots{t: t, path: filepath.Join(t.TempDir(), "journal.db")}
}

func TestAMachineThatStoppedUnderTheJournalIsNoticed(t *testing.T) {
	b := newBoots(t)
	b.open("first", false)
	b.open("second", true)
	b.takeUp()
	b.open("second", false)
	b.open("third", true)
}

func TestAProcessThatDiedIsNoMachineThatStopped(t *testing.T) {
	b := newBoots(t)
	b.open("first", false)
	b.open("first", false)
	b.open("first", false)
}

func TestAMachineThatStoppedAfterACleanStopIsNone(t *testing.T) {
	b := newBoots(t)
	b.open("first", false)
	b.close()
	b.open("second", false)
	b.close()
	b.open("second", false)
	b.close()
	b.open("third", false)
}

// The machine stopped; the gateway starts, and ends before it has marked what may be gone.
func TestAMachinesStopIsKnownUntilItIsTakenUp(t *testing.T) {
	b := newBoots(t)
	b.open("first", false)
	b.open("second", true)
	b.open("second", true)
	b.close()
	b.open("second", true)
	b.close()
	b.open("third", true)
	b.takeUp()
	b.close()
	b.open("fourth", false)
}

func TestABootThatIsNotKnownSaysNothing(t *testing.T) {
	b := newBoots(t)
	b.open("", false)
	b.open("", false)
	b.open("first", false)
	b.open("", false)
	b.open("second", false)
	b.open("third", true)
}
