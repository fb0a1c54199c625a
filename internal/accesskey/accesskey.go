// Package accesskey holds the access keys of S3 clients: in the journal, their secrets sealed, and in memory, where each
// request finds the one that it was signed with.
//
// A change is in the journal first, then in memory, and only then answered:
//
//  1. the journal's transaction, with the audit entry. A crash after it leaves the change, which the next start reads;
//     that its answer is missing leaves a key whose secret nobody has, or one that is rotated once more;
//  2. the map in memory, which is replaced as a whole. From here on every request sees the change, presigned URLs included:
//     there is no other copy, and nothing to wait for;
//  3. the answer, with the secret, where there is one. It is told here and nowhere else.
//
// Where the journal cannot say whether it has the change, it is read again; where that fails too, the key opens nothing until
// it is changed once more or the gateway starts anew: what may have been disabled is taken to be.
package accesskey

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/seal"
)

// The errors that callers tell apart, by identity.
var (
	// ErrNotFound: there is no key of that ID.
	ErrNotFound = errors.New("there is no such access key")
	// ErrConfigured: the key is the configuration's, and is changed there.
	ErrConfigured = errors.New("the access key is the configuration's")
	// ErrNoSecret: the key has lost its secret, and is to be rotated before it is enabled.
	ErrNoSecret = errors.New("the access key has no secret any more")
	// ErrOvertaken: another rotation came first, and nothing was done.
	ErrOvertaken = errors.New("another rotation of the access key came first")
	// ErrInvalid: a key cannot be made like that. The text says what is allowed.
	ErrInvalid = errors.New("not an access key that can be made")
)

// Role is what may be done with a key.
type Role string

// The roles.
const (
	// Admin may whatever ReadWrite may; what changes buckets will be for it alone.
	Admin     Role = "admin"
	ReadWrite Role = "read-write"
	ReadOnly  Role = "read-only"
)

// Source says where a key is kept.
type Source string

// The sources.
const (
	// FromConfiguration: GATEWAY_ACCESS_KEY, or the pair that the gateway has made for itself.
	FromConfiguration Source = "configuration"
	FromJournal       Source = "journal"
)

// Bounds are what a key opens: every object whose key begins with one of the prefixes, in each of the buckets. None is all.
type Bounds struct{ Buckets, Prefixes []string }

// Key is one that is in force.
type Key struct {
	ID, Secret string
	Role       Role
	Bounds
}

// Format implements fmt.Formatter: the key without its secret.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{%s %s}", k.ID, k.Role) }

// Record is what is told of a key.
type Record struct {
	ID, Name string
	Role     Role
	Bounds
	Source Source
	// LostSecret: nobody can open its secret any more; it stays disabled until it is rotated.
	LostSecret bool
	// CreatedAt is zero of a key of the configuration. RotatedAt is zero where it never was, DisabledAt while it is in force.
	CreatedAt, RotatedAt, DisabledAt time.Time
}

// Config is what a Store needs.
type Config struct {
	// Journal keeps the keys. Required.
	Journal journal.AccessKeys
	// Sealer has the master key. Required.
	Sealer *seal.Sealer
	// MasterKeyPlace says for people where that came from. Required.
	MasterKeyPlace string
	// Configured is the key of the configuration. Required.
	Configured Key
	// Forget has keys whose secret cannot be opened disabled, on the record, rather than refused. Default: such a gateway does
	// not start.
	Forget bool
	// Logger is required.
	Logger *slog.Logger
}

// Store is safe for concurrent use.
type Store struct {
	Config
	// changing is held by the one change that is under way, from before the journal has it until memory has.
	changing sync.Mutex
	// now is replaced as a whole, by who holds changing.
	now atomic.Pointer[state]
}

// state is never changed once it is in Store.now.
type state struct {
	keys map[string]Key
	rows []journal.AccessKey // in the order in which they were added
}

// NewPair draws an ID and a secret: 14 and 52 random letters and digits, of 5 bits each.
func NewPair() (id, secret string) { return "TANDEM" + rand.Text()[:14], newSecret() }

func newSecret() string { return rand.Text() + rand.Text() }

// nameOf is what a secret is sealed for: it opens in the row of its key alone, and there only as long as it is the key's newest.
func nameOf(id string, version int64) string {
	return fmt.Sprintf("tandem access key\n%s\n%d", id, version)
}

// Open reads the keys of the journal, and opens every secret, those of disabled keys too: that the master key is not the one
// they were sealed under is found out here, and not on the day on which one is enabled.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Journal == nil || cfg.Sealer == nil || cfg.MasterKeyPlace == "" || cfg.Configured.ID == "" || cfg.Logger == nil {
		return nil, errors.New("accesskey: Journal, Sealer, MasterKeyPlace, Configured and Logger are required")
	}
	s := &Store{Config: cfg}
	rows, err := cfg.Journal.AccessKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the access keys: %w", err)
	}
	var closed []string
	for i, row := range rows {
		if row.ID == cfg.Configured.ID {
			return nil, fmt.Errorf("the access key %s is in the journal, and is GATEWAY_ACCESS_KEY as well: give that another name", row.ID)
		}
		if _, err := s.open(row); err == nil || len(row.Sealed) == 0 {
			continue
		}
		if closed = append(closed, row.ID); !cfg.Forget {
			continue
		}
		if rows[i], err = cfg.Journal.DropSecret(ctx, row.ID, operatorActor, "its secret cannot be opened with the master key"); err != nil {
			return nil, fmt.Errorf("forget the secret of access key %s: %w", row.ID, err)
		}
		cfg.Logger.WarnContext(ctx, "access key is disabled, for its secret cannot be opened; rotate it", "accessKey", row.ID)
	}
	if len(closed) > 0 && !cfg.Forget {
		return nil, fmt.Errorf("the secrets of %d of the %d access keys of S3 clients cannot be opened with the master key of %s (%s): it is not the one that they were sealed under, or they were changed since. "+
			"Put that key back from its backup, or name it with MASTER_KEY or MASTER_KEY_FILE. If it is lost for good, so are the secrets: "+
			"start once with --forget-access-keys, which disables those keys, and give each a new secret with `tandem keys rotate`",
			len(closed), len(rows), cfg.MasterKeyPlace, strings.Join(closed, ", "))
	}
	s.now.Store(s.stateOf(rows))
	return s, nil
}

// operatorActor is who the audit names for what the option of a start does.
const operatorActor = "operator"

func (s *Store) open(row journal.AccessKey) (string, error) {
	return s.Sealer.Open(row.Sealed, nameOf(row.ID, row.Version))
}

// stateOf is what the rows say, with the key of the configuration.
func (s *Store) stateOf(rows []journal.AccessKey) *state {
	now := &state{keys: map[string]Key{s.Configured.ID: s.Configured}, rows: rows}
	for _, row := range rows {
		if k, ok := s.inForce(row); ok {
			now.keys[row.ID] = k
		}
	}
	return now
}

// inForce is the row's key, unless it is disabled or its secret does not open.
func (s *Store) inForce(row journal.AccessKey) (Key, bool) {
	if !row.DisabledAt.IsZero() {
		return Key{}, false
	}
	secret, err := s.open(row)
	return Key{row.ID, secret, Role(row.Role), Bounds{row.Buckets, row.Prefixes}}, err == nil
}

// with is the state with the row in place of the one that there was; k is its key where it is in force.
func (n *state) with(row journal.AccessKey, k Key, isInForce bool) *state {
	next := &state{keys: maps.Clone(n.keys), rows: slices.Clone(n.rows)}
	if i := n.position(row.ID); i >= 0 {
		next.rows[i] = row
	} else {
		next.rows = append(next.rows, row)
	}
	if delete(next.keys, row.ID); isInForce {
		next.keys[row.ID] = k
	}
	return next
}

func (n *state) position(id string) int {
	return slices.IndexFunc(n.rows, func(r journal.AccessKey) bool { return r.ID == id })
}

// Find returns the key of the ID, if it is in force.
func (s *Store) Find(id string) (Key, bool) {
	k, ok := s.now.Load().keys[id]
	return k, ok
}

// List tells of every key: the configuration's first, then those of the journal, in the order in which they were made.
func (s *Store) List() []Record {
	all := []Record{{ID: s.Configured.ID, Role: s.Configured.Role, Bounds: s.Configured.Bounds, Source: FromConfiguration}}
	for _, row := range s.now.Load().rows {
		all = append(all, recordOf(row))
	}
	return all
}

func recordOf(row journal.AccessKey) Record {
	return Record{
		ID: row.ID, Name: row.Name, Role: Role(row.Role), Bounds: Bounds{row.Buckets, row.Prefixes}, Source: FromJournal,
		LostSecret: len(row.Sealed) == 0, CreatedAt: row.CreatedAt, RotatedAt: row.RotatedAt, DisabledAt: row.DisabledAt,
	}
}

// Wish is a key that is to be made.
type Wish struct {
	// Name is for people, "" for none: at most MaxName characters.
	Name string
	// Role is required.
	Role Role
	// Bounds has at most MaxBounds buckets, and as many prefixes: each of 1 to 1024 bytes of UTF-8.
	Bounds
}

// The limits of a Wish.
const (
	MaxName        = 256
	MaxBounds      = 100
	maxPrefixBytes = 1024 // of an S3 key
)

// Check returns ErrInvalid where no such key can be made.
func (w Wish) Check() error {
	isText := func(text string) bool { return text != "" && len(text) <= maxPrefixBytes && utf8.ValidString(text) }
	switch {
	case w.Role != Admin && w.Role != ReadWrite && w.Role != ReadOnly:
		return fmt.Errorf("%w: the role is %q; allowed: %s, %s, %s", ErrInvalid, w.Role, Admin, ReadWrite, ReadOnly)
	case utf8.RuneCountInString(w.Name) > MaxName || !utf8.ValidString(w.Name):
		return fmt.Errorf("%w: the name has %d characters; allowed: at most %d, in UTF-8", ErrInvalid, utf8.RuneCountInString(w.Name), MaxName)
	case len(w.Buckets) > MaxBounds || len(w.Prefixes) > MaxBounds:
		return fmt.Errorf("%w: %d buckets and %d prefixes; allowed: at most %d of each", ErrInvalid, len(w.Buckets), len(w.Prefixes), MaxBounds)
	case !allOf(w.Buckets, isText):
		return fmt.Errorf("%w: a bucket has no name; leave the buckets out for all of them", ErrInvalid)
	case !allOf(w.Prefixes, isText):
		return fmt.Errorf("%w: a prefix has 1 to %d bytes of UTF-8; leave the prefixes out for all keys", ErrInvalid, maxPrefixBytes)
	}
	return nil
}

func allOf(texts []string, is func(string) bool) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !is(text) })
}

// Create makes a key, in force on return. The secret is told once: nothing else ever returns it. ErrInvalid.
func (s *Store) Create(ctx context.Context, w Wish, actor string) (Record, string, error) {
	if err := w.Check(); err != nil {
		return Record{}, "", err
	}
	id, secret := NewPair()
	r, err := s.change(ctx, id, func() (journal.AccessKey, error) {
		return s.Journal.AddAccessKey(ctx, journal.AccessKey{
			ID: id, Name: w.Name, Role: string(w.Role), Buckets: w.Buckets, Prefixes: w.Prefixes, Version: 1, Sealed: s.Sealer.Seal(secret, nameOf(id, 1)),
		}, actor)
	})
	if err != nil {
		return r, "", err
	}
	return r, secret, nil
}

// Disable ends what the key opens: no request is let in by it after the return. Those that were let in before go on.
// ErrNotFound, ErrConfigured.
func (s *Store) Disable(ctx context.Context, id, actor string) (Record, error) {
	return s.change(ctx, id, func() (journal.AccessKey, error) { return s.Journal.DisableAccessKey(ctx, id, actor) })
}

// Enable undoes Disable. ErrNotFound, ErrConfigured, ErrNoSecret.
func (s *Store) Enable(ctx context.Context, id, actor string) (Record, error) {
	return s.change(ctx, id, func() (journal.AccessKey, error) { return s.Journal.EnableAccessKey(ctx, id, actor) })
}

// Rotate gives the key another secret, which is told once; the old one is good for nothing after the return. A key that is
// disabled stays so. ErrNotFound, ErrConfigured, ErrOvertaken.
func (s *Store) Rotate(ctx context.Context, id, actor string) (Record, string, error) {
	secret := newSecret()
	r, err := s.change(ctx, id, func() (journal.AccessKey, error) {
		now := s.now.Load()
		i := now.position(id)
		if i < 0 {
			return journal.AccessKey{}, ErrNotFound
		}
		version := now.rows[i].Version + 1
		return s.Journal.RotateAccessKey(ctx, id, version, s.Sealer.Seal(secret, nameOf(id, version)), actor)
	})
	if err != nil {
		return r, "", err
	}
	return r, secret, nil
}

// change has the journal changed, and then memory. See the package comment.
func (s *Store) change(ctx context.Context, id string, inJournal func() (journal.AccessKey, error)) (Record, error) {
	if id == s.Configured.ID {
		return Record{}, ErrConfigured
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	row, err := inJournal()
	switch {
	case errors.Is(err, journal.ErrUnknown):
		s.readAgain(ctx, id)
		return Record{}, err
	case errors.Is(err, journal.ErrMovedOn):
		s.readAgain(ctx, id)
		return Record{}, ErrOvertaken
	case errors.Is(err, journal.ErrNotFound):
		return Record{}, ErrNotFound
	case errors.Is(err, journal.ErrNoSecret):
		return Record{}, ErrNoSecret
	case err != nil:
		return Record{}, err
	}
	k, isInForce := s.inForce(row)
	s.now.Store(s.now.Load().with(row, k, isInForce))
	return recordOf(row), nil
}

// readAgain has memory say what the journal says, or, where that does not tell, nothing of the key.
func (s *Store) readAgain(ctx context.Context, id string) {
	rows, err := s.Journal.AccessKeys(context.WithoutCancel(ctx)) // whoever has asked may have left
	if err == nil {
		s.now.Store(s.stateOf(rows))
		return
	}
	s.Logger.ErrorContext(ctx, "access key opens nothing until it is changed again or the gateway restarts: the journal does not say what it is", "accessKey", id, "err", err)
	now := s.now.Load()
	keys := maps.Clone(now.keys)
	delete(keys, id)
	s.now.Store(&state{keys, now.rows})
}
