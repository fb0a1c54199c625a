package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/journal"
)

const accessKeyColumns = `id, name, role, buckets, prefixes, version, sealed, created_at, rotated_at, disabled_at`

func scanAccessKey(rows *sql.Rows) (k journal.AccessKey, err error) {
	var buckets, prefixes []byte
	var created, rotated, disabled int64
	err = rows.Scan(&k.ID, &k.Name, &k.Role, &buckets, &prefixes, &k.Version, &k.Sealed, &created, &rotated, &disabled)
	if err != nil {
		return k, err
	}
	k.CreatedAt, k.RotatedAt, k.DisabledAt = fromMicros(created), fromMicros(rotated), fromMicros(disabled)
	// What cannot be read must not pass for an empty list, which is everything.
	if err := json.Unmarshal(buckets, &k.Buckets); err != nil {
		return k, fmt.Errorf("read the buckets of access key %s: %w", k.ID, err)
	}
	if err := json.Unmarshal(prefixes, &k.Prefixes); err != nil {
		return k, fmt.Errorf("read the prefixes of access key %s: %w", k.ID, err)
	}
	return k, nil
}

// AccessKeys lists all access keys.
func (j *Journal) AccessKeys(ctx context.Context) ([]journal.AccessKey, error) {
	var all []journal.AccessKey
	err := j.read(ctx, func(q querier) (err error) {
		all, err = collect(ctx, q, scanAccessKey, `SELECT `+accessKeyColumns+` FROM access_keys ORDER BY number`)
		return err
	})
	return all, err
}

// AddAccessKey records an access key.
func (j *Journal) AddAccessKey(ctx context.Context, k journal.AccessKey, actor string) (journal.AccessKey, error) {
	buckets, err := json.Marshal(append([]string{}, k.Buckets...))
	if err != nil {
		return k, fmt.Errorf("write the buckets of access key %s: %w", k.ID, err)
	}
	prefixes, err := json.Marshal(append([]string{}, k.Prefixes...))
	if err != nil {
		return k, fmt.Errorf("write the prefixes of access key %s: %w", k.ID, err)
	}
	var refused error
	err = j.writer.do(ctx, func(t *tx) error {
		refused = nil
		now := micros(time.Now())
		added, err := t.execCount(`
			INSERT INTO access_keys (id, name, role, buckets, prefixes, version, sealed, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO NOTHING`, k.ID, k.Name, k.Role, string(buckets), string(prefixes), k.Version, k.Sealed, now)
		if err != nil {
			return err
		}
		if added == 0 {
			refused = fmt.Errorf("add access key %s: %w", k.ID, journal.ErrExists)
			return nil
		}
		k.CreatedAt, k.RotatedAt, k.DisabledAt = fromMicros(now), time.Time{}, time.Time{}
		return t.recordKey(audit.Create, k.ID, actor, map[string]any{"name": k.Name, "role": k.Role, "buckets": k.Buckets, "prefixes": k.Prefixes})
	})
	if err == nil {
		err = refused
	}
	return k, err
}

// recordKey adds an entry about an access key. Its ID is in the detail: the entry's own key is an object's.
func (t *tx) recordKey(action audit.Action, id, actor string, members map[string]any) error {
	members["accessKey"] = id
	return t.record(audit.Entry{Action: action, Actor: actor, Detail: detail(members)})
}

// changeAccessKey has an access key changed, and returns it as it is then; change returns what the caller is to be told
// instead, and then has changed nothing.
func (j *Journal) changeAccessKey(ctx context.Context, id string, change func(*tx, journal.AccessKey) (refused, err error)) (journal.AccessKey, error) {
	var k journal.AccessKey
	var refused error
	err := j.writer.do(ctx, func(t *tx) error {
		find := func() (bool, error) {
			found, err := collect(context.Background(), t, scanAccessKey, `SELECT `+accessKeyColumns+` FROM access_keys WHERE id = ?`, id)
			if err != nil || len(found) == 0 {
				return false, err
			}
			k = found[0]
			return true, nil
		}
		isThere, err := find()
		if err != nil {
			return err
		}
		if !isThere {
			refused = fmt.Errorf("access key %q: %w", id, journal.ErrNotFound)
			return nil
		}
		if refused, err = change(t, k); err != nil || refused != nil {
			return err
		}
		_, err = find()
		return err
	})
	if err == nil {
		err = refused
	}
	return k, err
}

// DisableAccessKey ends what an access key opens.
func (j *Journal) DisableAccessKey(ctx context.Context, id, actor string) (journal.AccessKey, error) {
	return j.changeAccessKey(ctx, id, func(t *tx, k journal.AccessKey) (refused, err error) {
		if !k.DisabledAt.IsZero() {
			return nil, nil
		}
		if err := t.exec(`UPDATE access_keys SET disabled_at = ? WHERE id = ?`, micros(time.Now()), id); err != nil {
			return nil, err
		}
		return nil, t.recordKey(audit.Disable, id, actor, map[string]any{})
	})
}

// EnableAccessKey undoes that.
func (j *Journal) EnableAccessKey(ctx context.Context, id, actor string) (journal.AccessKey, error) {
	return j.changeAccessKey(ctx, id, func(t *tx, k journal.AccessKey) (refused, err error) {
		switch {
		case k.DisabledAt.IsZero():
			return nil, nil
		case len(k.Sealed) == 0:
			return fmt.Errorf("enable access key %s: %w", id, journal.ErrNoSecret), nil
		}
		if err := t.exec(`UPDATE access_keys SET disabled_at = 0 WHERE id = ?`, id); err != nil {
			return nil, err
		}
		return nil, t.recordKey(audit.Enable, id, actor, map[string]any{})
	})
}

// RotateAccessKey replaces the secret of an access key.
func (j *Journal) RotateAccessKey(ctx context.Context, id string, version int64, sealed []byte, actor string) (journal.AccessKey, error) {
	return j.changeAccessKey(ctx, id, func(t *tx, k journal.AccessKey) (refused, err error) {
		if version != k.Version+1 {
			return fmt.Errorf("rotate access key %s to version %d, it has %d: %w", id, version, k.Version, journal.ErrMovedOn), nil
		}
		if err := t.exec(`UPDATE access_keys SET version = ?, sealed = ?, rotated_at = ? WHERE id = ?`, version, sealed, micros(time.Now()), id); err != nil {
			return nil, err
		}
		return nil, t.recordKey(audit.Rotate, id, actor, map[string]any{"version": version})
	})
}

// DropSecret disables an access key whose secret nobody can open.
func (j *Journal) DropSecret(ctx context.Context, id, actor, reason string) (journal.AccessKey, error) {
	return j.changeAccessKey(ctx, id, func(t *tx, k journal.AccessKey) (refused, err error) {
		if len(k.Sealed) == 0 {
			return nil, nil
		}
		now := k.DisabledAt
		if now.IsZero() {
			now = time.Now()
		}
		if err := t.exec(`UPDATE access_keys SET sealed = x'', disabled_at = ? WHERE id = ?`, micros(now), id); err != nil {
			return nil, err
		}
		return nil, t.recordKey(audit.Disable, id, actor, map[string]any{"reason": reason})
	})
}
