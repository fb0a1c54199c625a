package audit_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/gnew/tandem/internal/audit"
)

func FuzzHashIsReadAsItWasWritten(f *testing.F) {
	for _, s := range []string{audit.Genesis("").String(), audit.Hash{}.String(), "", "AAAA", strings.Repeat("A", 42) + "B=", strings.Repeat("A", 20) + "\n" + strings.Repeat("A", 23) + "="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := audit.ParseHash(s)
		if err == nil && h.String() != s || err != nil && h != (audit.Hash{}) {
			t.Errorf("%q is read as %v (%v)", s, h, err)
		}
	})
}

// FuzzWhatACheckpointCoversCannotBeChanged tampers with a journal as one can who may write
// it, and who computes hashes anew where that helps.
func FuzzWhatACheckpointCoversCannotBeChanged(f *testing.F) {
	const length = 6
	f.Add([]byte{}, uint8(length), uint8(0))
	f.Add([]byte{0, 2, 0}, uint8(4), uint8(3))
	f.Add([]byte{1, 1, 2, 5, 0, 0}, uint8(3), uint8(0))
	f.Add([]byte{2, 5, 0}, uint8(length), uint8(5))
	f.Add([]byte{3, 0, 9, 5, 0, 0}, uint8(1), uint8(1))
	f.Add([]byte{4, 3, 1, 5, 3, 0}, uint8(3), uint8(2))
	f.Fuzz(func(t *testing.T, changes []byte, covered, other uint8) {
		original := chain(length)
		links := slices.Clone(original)
		for c := range slices.Chunk(changes, 3) {
			if len(c) == 3 && len(links) > 0 {
				links = tamper(links, c[0], int(c[1])%len(links), int(c[2]))
			}
		}
		size := int(covered) % (length + 1)
		r := verify(t, links, witness(original, int64(size), "kept"), witness(original, int64(other)%(length+1), "other"))
		isIntact := len(links) >= size && slices.Equal(links[:max(min(size, len(links)), 0)], original[:size])
		if r.Findings[0].Agrees && !isIntact {
			t.Errorf("after %v the checkpoint of %d entries agrees", changes, size)
		}
		if !r.Findings[0].Agrees && isIntact && r.Broken == nil {
			t.Errorf("after %v the checkpoint of %d entries does not agree: %s", changes, size, r.Findings[0].Text)
		}
		again := slices.Clone(links)
		relink(again, 0)
		isLinked := slices.Equal(again, links)
		for i, l := range links {
			isLinked = isLinked && l.Index == int64(i+1)
		}
		if (r.Broken == nil) != isLinked {
			t.Errorf("after %v the chain is whole: %v; found broken: %+v", changes, isLinked, r.Broken)
		}
		if r.OK() && len(r.Unproven()) == 0 || r.Intact > r.Entries || r.Broken != nil && r.Intact == r.Entries {
			t.Errorf("the report says too much: %+v", r)
		}
	})
}

// tamper makes one change at position i.
func tamper(links []audit.Linked, how byte, i, by int) []audit.Linked {
	switch how % 6 {
	case 0:
		links[i].Detail += "x"
	case 1:
		links[i], links[by%len(links)] = links[by%len(links)], links[i]
	case 2:
		return slices.Delete(links, i, i+1)
	case 3:
		return slices.Insert(links, by%(len(links)+1), links[i])
	case 4:
		links[i].Index = 1 + int64(by)%int64(len(links)) // of those that are there
	case 5:
		relink(links, i)
	}
	return links
}

// fixedKey is a key that is the same in each run: its seed is 32 times the byte 7.
func fixedKey() (seed string, file string) {
	seed = base64.StdEncoding.EncodeToString(append([]byte{1}, strings.Repeat("\x07", 32)...))
	return seed, fmt.Sprintf("PRIVATE+KEY+tandem/%s+99908a37+%s\n", journalID, seed)
}

// isSigned looks for a signature of the text by hand.
func isSigned(data string, key ed25519.PublicKey) bool {
	i := strings.LastIndex(data, "\n\n")
	if i < 0 {
		return false
	}
	for line := range strings.Lines(data[i+2:]) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		raw, err := base64.StdEncoding.DecodeString(words[len(words)-1])
		if err == nil && len(raw) == 4+ed25519.SignatureSize && ed25519.Verify(key, []byte(data[:i+1]), raw[4:]) {
			return true
		}
	}
	return false
}

func FuzzCheckpointIsOpenedOnlyAsItWasSigned(f *testing.F) {
	_, file := fixedKey()
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, audit.KeyFile), []byte(file), 0o600); err != nil {
		f.Fatal(err)
	}
	s, err := audit.OpenSigner(dir, journalID)
	if err != nil {
		f.Fatal(err)
	}
	public := ed25519.NewKeyFromSeed([]byte(strings.Repeat("\x07", 32))).Public().(ed25519.PublicKey)
	signed, err := s.Sign(checkpoint(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(signed))
	f.Add(string(signed) + string(signed))
	f.Add(strings.Replace(string(signed), "\n3\n", "\n4\n", 1))
	f.Add("")
	f.Fuzz(func(t *testing.T, data string) {
		c, err := audit.OpenCheckpoint([]byte(data), s.Verifier())
		if err == nil && (!isSigned(data, public) || c != checkpoint(3)) {
			t.Errorf("%q is opened as %+v", data, c)
		}
		if data == string(signed) && err != nil {
			t.Errorf("what was signed cannot be opened: %v", err)
		}
	})
}

// FuzzKeyFileIsAKeyOrKeptSecret is of whatever is in the file of the signing key.
func FuzzKeyFileIsAKeyOrKeptSecret(f *testing.F) {
	seed, file := fixedKey()
	f.Add(file)
	f.Add(strings.TrimSpace(file))
	f.Add(strings.Replace(file, "99908a37", "99908a38", 1))
	f.Add(strings.Replace(file, "tandem/", "example.com/", 1))
	f.Add("PRIVATE+KEY+tandem/" + journalID + "+99908a37+" + seed[:20])
	f.Add(seed)
	parent := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.WriteFile(filepath.Join(dir, audit.KeyFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := audit.OpenSigner(dir, journalID)
		fields := strings.Split(strings.TrimSpace(text), "+")
		if secret := fields[len(fields)-1]; err != nil && len(secret) > 40 && strings.Contains(err.Error(), secret) {
			t.Errorf("the key is in the error: %v", err)
		}
		if err != nil {
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("%q is no key (%v), and left %v", text, err, entries)
			}
			return
		}
		verifier, err := audit.ReadVerifier(filepath.Join(dir, audit.VerifierFile))
		if err != nil || verifier.Name() != s.Verifier().Name() || verifier.KeyHash() != s.Verifier().KeyHash() {
			t.Fatalf("%q: the verifier's key is another (%v)", text, err)
		}
		if c, err := audit.OpenCheckpoint(sign(t, s, checkpoint(1)), verifier); err != nil || c != checkpoint(1) {
			t.Errorf("%q signs what it does not verify: %+v, %v", text, c, err)
		}
	})
}

func FuzzVerifierFileIsOfAJournal(f *testing.F) {
	verifier, err := note.NewEd25519VerifierKey("tandem/"+journalID, ed25519.NewKeyFromSeed([]byte(strings.Repeat("\x07", 32))).Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(verifier)
	f.Add(verifier + "\n\n")
	f.Add(verifier[:40])
	f.Add(strings.Replace(verifier, "tandem/", "tandem", 1))
	_, private := fixedKey()
	f.Add(private)
	path := filepath.Join(f.TempDir(), audit.VerifierFile)
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := audit.ReadVerifier(path)
		if err != nil {
			if errors.Is(err, os.ErrNotExist) || v != nil {
				t.Errorf("got %v with %v", err, v)
			}
			return
		}
		if !strings.HasPrefix(strings.TrimSpace(text), v.Name()+"+") || !strings.HasPrefix(v.Name(), "tandem/") {
			t.Errorf("%q verifies as %s", text, v.Name())
		}
	})
}
