package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// The files of a key, in the journal's folder.
const (
	// KeyFile holds the signing key. Only its owner may read it.
	KeyFile = "audit.key"
	// VerifierFile holds the key that verifies, for everybody.
	VerifierFile = "audit.pub"
)

// Signer signs the checkpoints of one journal. It is safe for concurrent use.
type Signer struct {
	journalID string
	signer    note.Signer
	verifier  note.Verifier
}

// OpenSigner reads the key in dir, and makes one where there is none. It returns when
// both files are on disk, so nothing was ever signed by a key that a crash could lose:
//
//  1. The key is written under a name of its own, and synced. A crash leaves that
//     file, which nothing reads and which has signed nothing.
//  2. It gets its name by a link, which fails where the name is taken: of several that
//     begin at once, one gives its key and the others read it, whole. A crash may leave
//     it under its first name too.
//  3. The folder is synced, at every start: a key that is found may be one whose maker
//     crashed before this.
//  4. audit.pub is written from the key where it is missing, here or at the next start.
//
// A key that is gone, or that is not the one of audit.pub, is an error: what a new one
// signs would say nothing of the checkpoints so far.
func OpenSigner(dir, journalID string) (*Signer, error) {
	path := filepath.Join(dir, KeyFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(dir, journalID); err != nil {
			return nil, err
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit key: %w", err)
	}
	s, public, err := parseKey(strings.TrimSuffix(string(data), "\n"))
	if err != nil {
		return nil, fmt.Errorf("read the audit key %s: %w", path, err)
	}
	if s.journalID != journalID {
		return nil, fmt.Errorf("the audit key %s is of journal %s, and this is journal %s: move it and %s away to have new ones made",
			path, s.journalID, journalID, VerifierFile)
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	if err := keepVerifier(dir, public); err != nil {
		return nil, err
	}
	return s, nil
}

// Sign returns the checkpoint as a signed note.
func (s *Signer) Sign(c Checkpoint) ([]byte, error) {
	if c.JournalID != s.journalID || c.Size < 0 {
		return nil, fmt.Errorf("sign a checkpoint of journal %q at size %d: the key is of journal %q", c.JournalID, c.Size, s.journalID)
	}
	text := c.text()
	// What could not be opened again is not signed either.
	if _, err := parseCheckpoint(text); err != nil {
		return nil, fmt.Errorf("sign a checkpoint: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: text}, s.signer)
	if err != nil {
		return nil, fmt.Errorf("sign a checkpoint: %w", err)
	}
	return signed, nil
}

// Verifier returns what verifies the signer's checkpoints.
func (s *Signer) Verifier() note.Verifier { return s.verifier }

// ReadVerifier reads a file such as VerifierFile.
func ReadVerifier(path string) (note.Verifier, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the audit verifier key: %w", err)
	}
	v, err := note.NewVerifier(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("read the audit verifier key %s: %w", path, err)
	}
	if !strings.HasPrefix(v.Name(), originPrefix) {
		return nil, fmt.Errorf("read the audit verifier key %s: %q is no name of a Tandem journal's key", path, v.Name())
	}
	return v, nil
}

func makeKey(dir, journalID string) error {
	key := filepath.Join(dir, KeyFile)
	switch _, err := os.Lstat(filepath.Join(dir, VerifierFile)); {
	case err == nil:
		if _, err := os.Lstat(key); err == nil {
			return nil // somebody else has just made both
		}
		return fmt.Errorf("%s is gone from %s while %s is there: put it back from a backup; or, to go on with a new key, move %s away "+
			"and keep it, for the checkpoints so far need it", KeyFile, dir, VerifierFile, VerifierFile)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look for %s: %w", VerifierFile, err)
	}
	private, _, err := note.GenerateKey(rand.Reader, origin(journalID))
	if err != nil {
		return fmt.Errorf("make an audit key: %w", err)
	}
	// A name that no key can have would be found only when it is read.
	if _, _, err := parseKey(private); err != nil {
		return fmt.Errorf("make an audit key for journal %q: %w", journalID, err)
	}
	name, err := writeTemp(dir, KeyFile, private+"\n", 0o600)
	if err != nil {
		return fmt.Errorf("write the audit key: %w", err)
	}
	defer os.Remove(name)
	if err := os.Link(name, key); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("name the audit key: %w", err)
	}
	return nil
}

// parseKey returns the signer, and its verifier's key as text.
func parseKey(text string) (*Signer, string, error) {
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, "", err
	}
	journalID, ours := strings.CutPrefix(signer.Name(), originPrefix)
	if !ours || journalID == "" {
		return nil, "", fmt.Errorf("%q is no name of a Tandem journal's key", signer.Name())
	}
	// NewSigner has checked the form: PRIVATE+KEY+<name>+<hash>+<base64 of the kind and the seed>.
	secret, err := base64.StdEncoding.DecodeString(strings.SplitN(text, "+", 5)[4])
	if err != nil {
		return nil, "", err
	}
	key := ed25519.NewKeyFromSeed(secret[1:])
	public, err := note.NewEd25519VerifierKey(signer.Name(), key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, "", err
	}
	verifier, err := note.NewVerifier(public)
	return &Signer{journalID: journalID, signer: signer, verifier: verifier}, public, err
}

// keepVerifier writes audit.pub where it is missing.
func keepVerifier(dir, public string) error {
	path := filepath.Join(dir, VerifierFile)
	data, err := os.ReadFile(path)
	switch {
	case err == nil && string(bytes.TrimSpace(data)) == public:
		return nil
	case err == nil:
		return fmt.Errorf("%s in %s is not of the key in %s: one of the two was replaced", VerifierFile, dir, KeyFile)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the audit verifier key: %w", err)
	}
	name, err := writeTemp(dir, VerifierFile, public+"\n", 0o644)
	if err != nil {
		return fmt.Errorf("write the audit verifier key: %w", err)
	}
	defer os.Remove(name) // finds nothing once renamed
	if err := os.Rename(name, path); err != nil {
		return fmt.Errorf("name the audit verifier key: %w", err)
	}
	return syncDir(dir)
}

// writeTemp returns the name of a new file beside name, synced.
func writeTemp(dir, name, text string, mode fs.FileMode) (string, error) {
	f, err := os.CreateTemp(dir, name+".*") // O_EXCL, mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the folder of the audit key: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync the folder of the audit key: %w", err)
	}
	return nil
}
