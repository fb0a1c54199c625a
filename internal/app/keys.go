package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/accesskey"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/seal"
)

// masterKeyFile is where the master key is that a gateway made for itself, in the data folder.
const masterKeyFile = "master.key"

// buildKeys reads the access keys of S3 clients.
func (a *App) buildKeys(ctx context.Context) error {
	configured := accesskey.Key{ID: a.cfg.GatewayAccessKey, Secret: a.cfg.GatewaySecretKey, Role: accesskey.Admin}
	if configured.ID == "" {
		path := filepath.Join(a.cfg.DataDir, credentialsFile)
		var err error
		if configured.ID, configured.Secret, err = ownCredentials(path); err != nil {
			return fmt.Errorf("read or make the access key of S3 clients: %w", err)
		}
		a.opt.Logger.InfoContext(ctx, "S3 clients use the access key in this file, for none is configured", "file", path)
	}
	master, place, err := a.masterKey(ctx)
	if err != nil {
		return err
	}
	sealer, err := seal.New(master)
	if err != nil {
		return fmt.Errorf("use the master key of %s: %w", place, err)
	}
	a.keys, err = accesskey.Open(ctx, accesskey.Config{
		Journal: a.journal, Sealer: sealer, MasterKeyPlace: place, Configured: configured, Forget: a.opt.ForgetAccessKeys, Logger: a.opt.Logger,
	})
	return err
}

// masterKey is the configured one, or that of the file, which is made where there is nothing yet that it would have to open:
//
//  1. The key is drawn, and written under a name of its own, synced. A crash leaves that file, which nothing reads.
//  2. It gets its name, and the folder is synced. A crash between the two leaves it there or not; nothing was sealed yet.
//  3. The folder is synced at every start: a key that is found may be one whose maker crashed in step 2.
//  4. Only now is anything sealed.
//
// So no secret was ever sealed under a key that a crash could lose. The journal's lock is held: nobody else does the same.
func (a *App) masterKey(ctx context.Context) (master []byte, place string, err error) {
	if len(a.cfg.MasterKey) > 0 {
		return a.cfg.MasterKey, "MASTER_KEY", nil
	}
	path := filepath.Join(a.cfg.DataDir, masterKeyFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := a.checkNothingIsSealed(ctx, path); err != nil {
			return nil, path, err
		}
		master = make([]byte, seal.KeyBytes)
		_, _ = rand.Read(master) // it never fails
		if err := writeWhole(path, base64.StdEncoding.EncodeToString(master)+"\n"); err != nil {
			return nil, path, fmt.Errorf("make the master key: %w", err)
		}
		a.opt.Logger.InfoContext(ctx, "a master key was made; back it up, apart from the journal", "file", path)
		return master, path, nil
	case err != nil:
		return nil, path, fmt.Errorf("read the master key: %w", err)
	}
	if err := syncDir(a.cfg.DataDir); err != nil {
		return nil, path, fmt.Errorf("sync the folder of the master key: %w", err)
	}
	master, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(master) != seal.KeyBytes {
		return nil, path, fmt.Errorf("%s holds no master key, which is %d bytes in base64: put it back from its backup", path, seal.KeyBytes)
	}
	return master, path, nil
}

// checkNothingIsSealed refuses to begin anew under another master key while the secrets of the lost one are in the journal.
func (a *App) checkNothingIsSealed(ctx context.Context, path string) error {
	rows, err := a.journal.AccessKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the access keys: %w", err)
	}
	isSealed := func(k journal.AccessKey) bool { return len(k.Sealed) > 0 }
	if !slices.ContainsFunc(rows, isSealed) || a.opt.ForgetAccessKeys {
		return nil
	}
	return fmt.Errorf("%s is gone, and MASTER_KEY is not set, while the journal has access keys of S3 clients whose secrets are sealed under a master key. "+
		"Put the file back from its backup, or name the key with MASTER_KEY or MASTER_KEY_FILE. If it is lost for good, so are the secrets: "+
		"start once with --forget-access-keys, which makes a new one and disables those keys, and give each a new secret with `tandem keys rotate`", path)
}
