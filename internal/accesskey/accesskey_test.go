package accesskey_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gnew/tandem/internal/accesskey"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/journal/sqlite"
	"github.com/gnew/tandem/internal/seal"
)

const configuredID = "CONFIGURED"

// failing is a journal that fails a change when it is told to: before it is made, or after.
type failing struct {
	keys          journal.AccessKeys
	before, after error
	// unreadable is why the keys cannot be listed.
	unreadable error
}

func (f *failing) around(change func() (journal.AccessKey, error)) (journal.AccessKey, error) {
	if f.before != nil {
		return journal.AccessKey{}, f.before
	}
	k, err := change()
	return k, errors.Join(err, f.after)
}

func (f *failing) AccessKeys(ctx context.Context) ([]journal.AccessKey, error) {
	if f.unreadable != nil {
		return nil, f.unreadable
	}
	return f.keys.AccessKeys(ctx)
}

func (f *failing) AddAccessKey(ctx context.Context, k journal.AccessKey, actor string) (journal.AccessKey, error) {
	return f.around(func() (journal.AccessKey, error) { return f.keys.AddAccessKey(ctx, k, actor) })
}

func (f *failing) DisableAccessKey(ctx context.Context, id, actor string) (journal.AccessKey, error) {
	return f.around(func() (journal.AccessKey, error) { return f.keys.DisableAccessKey(ctx, id, actor) })
}

func (f *failing) EnableAccessKey(ctx context.Context, id, actor string) (journal.AccessKey, error) {
	return f.around(func() (journal.AccessKey, error) { return f.keys.EnableAccessKey(ctx, id, actor) })
}

func (f *failing) RotateAccessKey(ctx context.Context, id string, version int64, sealed []byte, actor string) (journal.AccessKey, error) {
	return f.around(func() (journal.AccessKey, error) { return f.keys.RotateAccessKey(ctx, id, version, sealed, actor) })
}

func (f *failing) DropSecret(ctx context.Context, id, actor, reason string) (journal.AccessKey, error) {
	return f.around(func() (journal.AccessKey, error) { return f.keys.DropSecret(ctx, id, actor, reason) })
}

// rig is a store on a real journal.
type rig struct {
	*accesskey.Store
	t       *testing.T
	journal *sqlite.Journal
	fails   *failing
}

func newRig(t *testing.T) *rig {
	t.Helper()
	j, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "journal.db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	g := &rig{t: t, journal: j}
	g.restart()
	return g
}

func (g *rig) config(master byte) accesskey.Config {
	g.t.Helper()
	sealer, err := seal.New(append(make([]byte, seal.KeyBytes-1), master))
	if err != nil {
		g.t.Fatal(err)
	}
	g.fails = &failing{keys: g.journal}
	return accesskey.Config{
		Journal: g.fails, Sealer: sealer, MasterKeyPlace: "the test", Logger: slog.New(slog.DiscardHandler),
		Configured: accesskey.Key{ID: configuredID, Secret: "configured-secret", Role: accesskey.Admin},
	}
}

// restart reads the journal anew.
func (g *rig) restart() {
	g.t.Helper()
	var err error
	if g.Store, err = accesskey.Open(g.t.Context(), g.config(1)); err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) create(w accesskey.Wish) (id, secret string) {
	g.t.Helper()
	r, secret, err := g.Create(g.t.Context(), w, "admin")
	if err != nil {
		g.t.Fatal(err)
	}
	return r.ID, secret
}

// opens checks what a request that is signed with the key finds; "" is nothing.
func (g *rig) opens(id, secret string) {
	g.t.Helper()
	if k, ok := g.Find(id); ok != (secret != "") || k.Secret != secret {
		g.t.Errorf("key %s: found %v, with the secret that is wanted: %v", id, ok, k.Secret == secret)
	}
}

func (g *rig) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func TestAChangeIsInForceOnReturnAndAfterARestart(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx := t.Context()
	w := accesskey.Wish{Name: "n", Role: accesskey.ReadOnly, Bounds: accesskey.Bounds{Buckets: []string{"b"}, Prefixes: []string{"p/"}}}
	id, secret := g.create(w)
	other, otherSecret := g.create(accesskey.Wish{Role: accesskey.ReadWrite})
	both := func(check func()) {
		check()
		g.restart()
		check()
		g.opens(other, otherSecret)
		g.opens(configuredID, "configured-secret")
	}
	both(func() {
		g.opens(id, secret)
		k, _ := g.Find(id)
		if k.Role != w.Role || fmt.Sprint(k.Buckets, k.Prefixes) != "[b] [p/]" {
			t.Errorf("got %+v", k)
		}
	})
	_, err := g.Disable(ctx, id, "admin")
	g.must(err)
	both(func() { g.opens(id, "") })
	_, second, err := g.Rotate(ctx, id, "admin")
	g.must(err)
	both(func() { g.opens(id, "") })
	r, err := g.Enable(ctx, id, "admin")
	g.must(err)
	both(func() { g.opens(id, second) })
	_, third, err := g.Rotate(ctx, id, "admin")
	g.must(err)
	both(func() { g.opens(id, third) })
	if second == secret || third == second || len(secret) < 40 || !r.DisabledAt.IsZero() {
		t.Error("a secret came twice, or is short; or the key is not enabled")
	}
	list := g.List()
	if len(list) != 3 || list[0].ID != configuredID || list[0].Source != accesskey.FromConfiguration || list[1].ID != id || list[1].Name != "n" || list[2].ID != other {
		t.Errorf("got %+v", list)
	}
}

func TestTheKeyOfTheConfigurationIsNotChangedByCommand(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	for what, change := range map[string]func() error{
		"disable": func() error { _, err := g.Disable(t.Context(), configuredID, "admin"); return err },
		"enable":  func() error { _, err := g.Enable(t.Context(), configuredID, "admin"); return err },
		"rotate":  func() error { _, _, err := g.Rotate(t.Context(), configuredID, "admin"); return err },
	} {
		if err := change(); !errors.Is(err, accesskey.ErrConfigured) {
			t.Errorf("%s: got %v, want it refused", what, err)
		}
	}
	g.opens(configuredID, "configured-secret")
}

func TestAKeyThatThereIsNotIsNotChanged(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	_, err1 := g.Disable(t.Context(), "none", "admin")
	_, err2 := g.Enable(t.Context(), "none", "admin")
	_, secret, err3 := g.Rotate(t.Context(), "none", "admin")
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, accesskey.ErrNotFound) || secret != "" {
			t.Errorf("got %v, want there to be none", err)
		}
	}
}

func TestAWishThatCannotBeMetIsRefused(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	many := make([]string, accesskey.MaxBounds+1)
	for i := range many {
		many[i] = "x"
	}
	for what, w := range map[string]accesskey.Wish{
		"no role":               {},
		"another role":          {Role: "root"},
		"a long name":           {Role: accesskey.Admin, Name: strings.Repeat("x", accesskey.MaxName+1)},
		"an empty prefix":       {Role: accesskey.Admin, Bounds: accesskey.Bounds{Prefixes: []string{"a", ""}}},
		"a prefix of bytes":     {Role: accesskey.Admin, Bounds: accesskey.Bounds{Prefixes: []string{"\xff"}}},
		"a prefix that is long": {Role: accesskey.Admin, Bounds: accesskey.Bounds{Prefixes: []string{strings.Repeat("x", 1025)}}},
		"an empty bucket":       {Role: accesskey.Admin, Bounds: accesskey.Bounds{Buckets: []string{""}}},
		"many prefixes":         {Role: accesskey.Admin, Bounds: accesskey.Bounds{Prefixes: many}},
		"many buckets":          {Role: accesskey.Admin, Bounds: accesskey.Bounds{Buckets: many}},
	} {
		if _, secret, err := g.Create(t.Context(), w, "admin"); !errors.Is(err, accesskey.ErrInvalid) || secret != "" {
			t.Errorf("%s: got %v, want it refused", what, err)
		}
	}
	if n := len(g.List()); n != 1 {
		t.Errorf("got %d keys, want the configuration's alone", n)
	}
}

// Each fault of the journal is tried twice: the change was not made, and it was made and nobody knows.
func TestAfterAFaultOfTheJournalMemorySaysWhatItSays(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx := t.Context()
	id, secret := g.create(accesskey.Wish{Role: accesskey.ReadWrite})
	g.fails.before = journal.ErrUnavailable
	if _, err := g.Disable(ctx, id, "admin"); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, told, err := g.Rotate(ctx, id, "admin"); !errors.Is(err, journal.ErrUnavailable) || told != "" {
		t.Errorf("got %v, and a secret that is none", err)
	}
	g.opens(id, secret)
	g.fails.before, g.fails.after = nil, journal.ErrUnknown
	if _, told, err := g.Rotate(ctx, id, "admin"); !errors.Is(err, journal.ErrUnknown) || told != "" {
		t.Errorf("got %v, and a secret that may be none", err)
	}
	if k, ok := g.Find(id); !ok || k.Secret == secret {
		t.Error("the old secret is good still, and the journal has another")
	}
	if _, err := g.Disable(ctx, id, "admin"); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	g.opens(id, "")
	g.fails.after = nil
	_, err := g.Enable(ctx, id, "admin")
	g.must(err)
	g.fails.before, g.fails.unreadable = journal.ErrUnknown, journal.ErrUnavailable
	if _, err := g.Disable(ctx, id, "admin"); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	g.opens(id, "") // it may be disabled
	g.opens(configuredID, "configured-secret")
	g.fails.before = nil
	_, err = g.Enable(ctx, id, "admin")
	g.must(err)
	if _, ok := g.Find(id); !ok {
		t.Error("a key that was enabled opens nothing")
	}
}

func TestAnotherMasterKeyIsRefusedUntilTheKeysAreForgotten(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx := t.Context()
	id, _ := g.create(accesskey.Wish{Role: accesskey.ReadWrite})
	off, _ := g.create(accesskey.Wish{Role: accesskey.ReadWrite})
	_, err := g.Disable(ctx, off, "admin")
	g.must(err)
	_, err = accesskey.Open(ctx, g.config(2))
	if err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), off) || !strings.Contains(err.Error(), "the test") || !strings.Contains(err.Error(), "--forget-access-keys") {
		t.Errorf("got %v, want the keys, the place, and what to do", err)
	}
	g.restart() // nothing was changed by that
	if _, ok := g.Find(id); !ok {
		t.Error("the key is gone")
	}
	cfg := g.config(2)
	cfg.Forget = true
	g.Store, err = accesskey.Open(ctx, cfg)
	g.must(err)
	g.opens(id, "")
	if _, err := g.Enable(ctx, id, "admin"); !errors.Is(err, accesskey.ErrNoSecret) {
		t.Errorf("got %v, want it to need a secret", err)
	}
	g.Store, err = accesskey.Open(ctx, g.config(2)) // the next start needs no option
	g.must(err)
	if r := g.List()[1]; !r.LostSecret || r.DisabledAt.IsZero() {
		t.Errorf("got %+v, want it disabled for its lost secret", r)
	}
	_, secret, err := g.Rotate(ctx, id, "admin")
	g.must(err)
	_, err = g.Enable(ctx, id, "admin")
	g.must(err)
	g.opens(id, secret)
}

// Whoever can write to the journal cannot put a secret that he knows in the place of another key's.
func TestASealedSecretOpensInItsOwnRowAlone(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx := t.Context()
	mine, _ := g.create(accesskey.Wish{Role: accesskey.ReadOnly})
	victim, _ := g.create(accesskey.Wish{Role: accesskey.Admin})
	rows, err := g.journal.AccessKeys(ctx)
	g.must(err)
	// Of another row, and an older one of its own.
	_, err = g.journal.RotateAccessKey(ctx, victim, 2, rows[0].Sealed, "somebody")
	g.must(err)
	_, err = g.journal.RotateAccessKey(ctx, mine, 2, rows[0].Sealed, "somebody")
	g.must(err)
	_, err = accesskey.Open(ctx, g.config(1))
	if err == nil || !strings.Contains(err.Error(), victim) || !strings.Contains(err.Error(), mine) {
		t.Errorf("got %v, want both keys named", err)
	}
}

func TestAKeyOfTheJournalIsNotTheConfigurationsToo(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	id, _ := g.create(accesskey.Wish{Role: accesskey.ReadOnly})
	cfg := g.config(1)
	cfg.Configured.ID = id
	if _, err := accesskey.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "GATEWAY_ACCESS_KEY") {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestNoSecretIsShownByWhatPrintsAKey(t *testing.T) {
	k := accesskey.Key{ID: "id", Secret: "hunter2", Role: accesskey.ReadOnly}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb+verb, k, &k); strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("%s: the secret is in %s", verb, text)
		}
	}
}

// Requests find a key whole, whatever is changed meanwhile.
func TestKeysAreFoundWhileTheyAreChanged(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	id, _ := g.create(accesskey.Wish{Role: accesskey.ReadOnly})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if k, ok := g.Find(id); ok && (k.ID != id || k.Secret == "" || k.Role != accesskey.ReadOnly) {
					t.Error("half a key was found")
				}
				_ = g.List()
			}
		})
	}
	for range 5 {
		_, err := g.Disable(t.Context(), id, "admin")
		g.must(err)
		_, _, err = g.Rotate(t.Context(), id, "admin")
		g.must(err)
		_, err = g.Enable(t.Context(), id, "admin")
		g.must(err)
	}
	close(done)
	wg.Wait()
}
