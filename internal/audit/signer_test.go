package audit_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/gnew/tandem/internal/audit"
)

func newTestSigner(t *testing.T, dir string) *audit.Signer {
	t.Helper()
	s, err := audit.OpenSigner(dir, journalID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t *testing.T, s *audit.Signer, c audit.Checkpoint) []byte {
	t.Helper()
	data, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func checkpoint(size int64) audit.Checkpoint { return witness(chain(size), size, "").Checkpoint }

// noteOf signs any text, as an implementation other than ours might.
func noteOf(t *testing.T, name, text string) ([]byte, note.Verifier) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err1 := note.NewSigner(private)
	verifier, err2 := note.NewVerifier(public)
	data, err3 := note.Sign(&note.Note{Text: text}, signer)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return data, verifier
}

func TestACheckpointIsReadAsItWasSigned(t *testing.T) {
	dir := t.TempDir()
	s := newTestSigner(t, dir)
	verifier, err := audit.ReadVerifier(filepath.Join(dir, audit.VerifierFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{0, 1, 12} {
		want := checkpoint(size)
		want.At = want.At.Add(7 * time.Microsecond)
		data := sign(t, s, want)
		for _, v := range []note.Verifier{verifier, s.Verifier()} {
			if got, err := audit.OpenCheckpoint(data, v); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
	}
}

func TestACheckpointOfAnotherKeyIsRefused(t *testing.T) {
	ours, theirs := newTestSigner(t, t.TempDir()), newTestSigner(t, t.TempDir())
	if _, err := audit.OpenCheckpoint(sign(t, theirs, checkpoint(3)), ours.Verifier()); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("a key of the same name: got %v, want ErrSignature", err)
	}
	// A key is one journal's: what it signs of another counts for nothing.
	body := strings.SplitN(string(sign(t, ours, checkpoint(3))), "\n\n", 2)[0] + "\n"
	data, verifier := noteOf(t, "tandem/another", body)
	if _, err := audit.OpenCheckpoint(data, verifier); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("a key of another journal: got %v, want ErrSignature", err)
	}
}

func TestAChangedCheckpointIsRefused(t *testing.T) {
	s := newTestSigner(t, t.TempDir())
	data := sign(t, s, checkpoint(3))
	// Base64 has bits to spare after the signature's end; there only the form changes.
	spare := len(data) - len("x=\n")
	for i := range data {
		changed := append([]byte(nil), data...)
		changed[i] ^= 1
		if c, err := audit.OpenCheckpoint(changed, s.Verifier()); err == nil && (i != spare || c != checkpoint(3)) {
			t.Errorf("byte %d changed: got %+v, want an error", i, c)
		}
	}
	replaced := strings.Replace(string(data), "\n3\n", "\n2\n", 1)
	if _, err := audit.OpenCheckpoint([]byte(replaced), s.Verifier()); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("got %v, want ErrSignature", err)
	}
	for _, text := range []string{"", "no note", string(data[:len(data)-1]), string(data[:20])} {
		if _, err := audit.OpenCheckpoint([]byte(text), s.Verifier()); err == nil || errors.Is(err, audit.ErrSignature) {
			t.Errorf("%q: got %v, want an error of its form", text, err)
		}
	}
}

func TestACheckpointHasOneForm(t *testing.T) {
	hash := audit.Genesis("").String()
	const name, when = "tandem/a", "time 2026-03-01T12:00:00.000007Z"
	for text, ok := range map[string]bool{
		name + "\n3\n" + hash + "\n" + when + "\n":                                   true,
		name + "\n3\n" + hash + "\n" + when + "\nof a later version\n":               true,
		name + "\n03\n" + hash + "\n" + when + "\n":                                  false,
		name + "\n+3\n" + hash + "\n" + when + "\n":                                  false,
		name + "\n-3\n" + hash + "\n" + when + "\n":                                  false,
		name + "\n99999999999999999999\n" + hash + "\n" + when + "\n":                false,
		name + "\n3\nAAAA\n" + when + "\n":                                           false,
		name + "\n3\n" + hash + "\n":                                                 false,
		name + "\n3\n" + hash + "\ntime 2026-03-01T12:00:00Z\n":                      false,
		name + "\n3\n" + hash + "\ntime 2026-03-01T12:00:00.0000071Z\n":              false,
		name + "\n3\n" + hash + "\n2026-03-01T12:00:00.000007Z\n":                    false,
		"example.com/log\n3\n" + hash + "\n" + when + "\n":                           false,
		name + "\n3\n" + hash + "\nof a later version\n" + when + "\n":               false,
		name + "\n3\n" + hash + "\ntime 2026-03-01T12:00:00.000007+00:00\n":          false,
		name + "\n3\n" + hash + "\n" + strings.Replace(when, ".", ",", 1) + "\n":     false,
		name + "\n3\n" + hash + "\n" + strings.Replace(when, "T12", "T25", 1) + "\n": false,
	} {
		data, verifier := noteOf(t, name, text)
		if c, err := audit.OpenCheckpoint(data, verifier); (err == nil) != ok {
			t.Errorf("%q: got %+v, %v", text, c, err)
		}
	}
}

func FuzzOpenCheckpointTakesWhatItWouldSign(f *testing.F) {
	s, err := audit.OpenSigner(f.TempDir(), journalID)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("tandem/" + journalID + "\n3\n" + audit.Genesis("").String() + "\ntime 2026-03-01T12:00:00.000007Z\n")
	f.Add("tandem/\n\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		private, public, err := note.GenerateKey(rand.Reader, "tandem/"+journalID)
		if err != nil {
			t.Fatal(err)
		}
		signer, err1 := note.NewSigner(private)
		verifier, err2 := note.NewVerifier(public)
		data, err3 := note.Sign(&note.Note{Text: text}, signer)
		if errors.Join(err1, err2, err3) != nil {
			return
		}
		c, err := audit.OpenCheckpoint(data, verifier)
		if err != nil {
			return
		}
		again, err := s.Sign(c)
		if body, _, _ := strings.Cut(string(again), "\n\n"); err != nil || !strings.HasPrefix(text, body+"\n") {
			t.Errorf("got %q, %v, want %q", again, err, text)
		}
	})
}

func TestOnlyCheckpointsOfItsJournalAreSigned(t *testing.T) {
	s := newTestSigner(t, t.TempDir())
	other, negative, late := checkpoint(1), checkpoint(1), checkpoint(1)
	other.JournalID = "another"
	negative.Size = -1
	late.At = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []audit.Checkpoint{other, negative, late} {
		if data, err := s.Sign(c); err == nil {
			t.Errorf("got %q, want an error", data)
		}
	}
}

func TestTheKeyIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	data := sign(t, newTestSigner(t, dir), checkpoint(3))
	for name, want := range map[string]fs.FileMode{audit.KeyFile: 0o600, audit.VerifierFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	again := newTestSigner(t, dir)
	if _, err := audit.OpenCheckpoint(data, again.Verifier()); err != nil {
		t.Errorf("opened again: %v", err)
	}
	if got, want := again.Verifier().Name(), "tandem/"+journalID; got != want {
		t.Errorf("got the name %q, want %q", got, want)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v, want two files", entries, err)
	}
}

func TestOfManyThatBeginAtOnceAllGetOneKey(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	signers := make([]*audit.Signer, 16)
	for i := range signers {
		all.Go(func() {
			s, err := audit.OpenSigner(dir, journalID)
			if err != nil {
				t.Errorf("got %v", err)
			}
			signers[i] = s
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	data := sign(t, signers[0], checkpoint(1))
	for _, s := range signers {
		if _, err := audit.OpenCheckpoint(data, s.Verifier()); err != nil {
			t.Error(err)
		}
	}
}

// Of what a crash can leave, see OpenSigner.
func TestACrashWhileTheKeyIsMadeIsRepaired(t *testing.T) {
	dir := t.TempDir()
	torn := filepath.Join(dir, audit.KeyFile+".123")
	if err := os.WriteFile(torn, []byte("PRIVATE+KEY+tan"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := sign(t, newTestSigner(t, dir), checkpoint(1))

	public := filepath.Join(dir, audit.VerifierFile)
	before, err1 := os.ReadFile(public)
	err2 := os.Remove(public)
	s := newTestSigner(t, dir)
	after, err3 := os.ReadFile(public)
	if err := errors.Join(err1, err2, err3); err != nil || string(before) != string(after) {
		t.Errorf("got %q, %v, want %q", after, err, before)
	}
	if _, err := audit.OpenCheckpoint(data, s.Verifier()); err != nil {
		t.Error(err)
	}
}

func TestAKeyIsNeverReplacedInSilence(t *testing.T) {
	for _, tt := range []struct {
		name, words string
		harm        func(t *testing.T, dir string) error
	}{
		{"the key is gone", "audit.key is gone", func(_ *testing.T, dir string) error { return os.Remove(filepath.Join(dir, audit.KeyFile)) }},
		{"the key is empty", "malformed", func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, audit.KeyFile), 0) }},
		{"the key is torn", "malformed", func(_ *testing.T, dir string) error { return os.Truncate(filepath.Join(dir, audit.KeyFile), 100) }},
		{"another verifier", "one of the two was replaced", func(t *testing.T, dir string) error {
			other := t.TempDir()
			newTestSigner(t, other)
			return os.Rename(filepath.Join(other, audit.VerifierFile), filepath.Join(dir, audit.VerifierFile))
		}},
		{"another journal's", "is of journal another", func(t *testing.T, dir string) error {
			other := t.TempDir()
			if _, err := audit.OpenSigner(other, "another"); err != nil {
				return err
			}
			return os.Rename(filepath.Join(other, audit.KeyFile), filepath.Join(dir, audit.KeyFile))
		}},
		{"nobody's", "no name of a Tandem journal's key", func(_ *testing.T, dir string) error {
			private, _, err := note.GenerateKey(rand.Reader, "example.com/log")
			return errors.Join(err, os.WriteFile(filepath.Join(dir, audit.KeyFile), []byte(private), 0o600))
		}},
	} {
		dir := t.TempDir()
		newTestSigner(t, dir)
		if err := tt.harm(t, dir); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.OpenSigner(dir, journalID); err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.words)
		}
	}
}

func TestAJournalIDThatNamesNoKeyIsRefused(t *testing.T) {
	for _, id := range []string{"", "a b", "a+b", "a\nb"} {
		dir := t.TempDir()
		if _, err := audit.OpenSigner(dir, id); err == nil {
			t.Errorf("%q: got no error", id)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%q: left %v, %v", id, entries, err)
		}
	}
	if _, err := audit.OpenSigner(filepath.Join(t.TempDir(), "gone"), journalID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: got %v", err)
	}
}

func TestOnlyAVerifierOfAJournalIsRead(t *testing.T) {
	_, public, err := note.GenerateKey(rand.Reader, "example.com/log")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pub")
	if _, err := audit.ReadVerifier(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{"", "tandem/a", public} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if v, err := audit.ReadVerifier(path); err == nil {
			t.Errorf("%q: got %v, want an error", text, v.Name())
		}
	}
}
