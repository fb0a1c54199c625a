package journal

import (
	"context"
	"time"
)

// AccessKeys keeps the access keys of S3 clients. What is a secret comes here sealed and leaves so: the store cannot open it,
// and no audit entry has it. A key is never deleted: its ID stays that of who had it.
type AccessKeys interface {
	// AddAccessKey records a key, whose CreatedAt is the store's, and returns it as it is kept. ErrExists where there is one
	// of its ID.
	AddAccessKey(ctx context.Context, k AccessKey, actor string) (AccessKey, error)
	// AccessKeys lists all, in the order in which they were added. It never waits for a writer.
	AccessKeys(ctx context.Context) ([]AccessKey, error)
	// DisableAccessKey ends what the key opens, until EnableAccessKey; both return it as it is then. Nothing, and no audit
	// entry, where it is so already. ErrNotFound; ErrNoSecret where one without a secret is to be enabled.
	DisableAccessKey(ctx context.Context, id, actor string) (AccessKey, error)
	EnableAccessKey(ctx context.Context, id, actor string) (AccessKey, error)
	// RotateAccessKey replaces the sealed secret by one that is sealed for the version, which is one above the last: else
	// ErrMovedOn, for another rotation came first. What is disabled stays so. ErrNotFound.
	RotateAccessKey(ctx context.Context, id string, version int64, sealed []byte, actor string) (AccessKey, error)
	// DropSecret disables a key for good, until it is rotated: nobody can open its secret any more, and the store keeps it no
	// longer. Nothing where it has none. ErrNotFound.
	DropSecret(ctx context.Context, id, actor, reason string) (AccessKey, error)
}

// AccessKey is an access key of S3 clients.
type AccessKey struct {
	// ID is what clients send beside their signature. Unique.
	ID string
	// Name is for people, "" for none.
	Name string
	// Role says what may be done with it, in the words of whoever judges that.
	Role string
	// Buckets and Prefixes bound where: the key opens every object whose key begins with one of the prefixes in each of the
	// buckets. None is all. In UTF-8.
	Buckets, Prefixes []string
	// Sealed is the secret, sealed for ID and Version; empty where it was dropped.
	Sealed []byte
	// Version counts the secrets that the key has had, from 1.
	Version int64
	// CreatedAt, and the last RotatedAt; that is zero where it never was.
	CreatedAt, RotatedAt time.Time
	// DisabledAt is zero while the key is in force.
	DisabledAt time.Time
}
