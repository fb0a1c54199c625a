package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Chain is where the entries are.
type Chain interface {
	AuditHead(ctx context.Context) (size int64, head Hash, err error)
}

// Notary signs the chain's head, each interval and whenever it is asked to. It is safe for
// concurrent use.
type Notary struct {
	// JournalID, Chain, Signer and Logger are required.
	JournalID string
	Chain     Chain
	Signer    *Signer
	Logger    *slog.Logger
	// Interval between two checkpoints. Default 1 min.
	Interval time.Duration

	latest atomic.Pointer[signed]
}

type signed struct {
	size int64
	note string
}

// Latest is the newest checkpoint, a signed note; "" before the first.
func (n *Notary) Latest() string {
	if s := n.latest.Load(); s != nil {
		return s.note
	}
	return ""
}

// Sign makes a checkpoint of the chain as it is now, and logs it. A chain that has not
// grown keeps its last one.
func (n *Notary) Sign(ctx context.Context) (string, error) {
	size, head, err := n.Chain.AuditHead(ctx)
	if err != nil {
		return "", fmt.Errorf("read the head of the audit chain: %w", err)
	}
	last := n.latest.Load()
	if last != nil && last.size >= size {
		return last.note, nil
	}
	c := Checkpoint{JournalID: n.JournalID, Size: size, Head: head, At: time.Now().UTC().Truncate(time.Microsecond)}
	note, err := n.Signer.Sign(c)
	if err != nil {
		return "", fmt.Errorf("sign the head of the audit chain: %w", err)
	}
	// Who read the head later may have signed it earlier.
	for next := (&signed{size, string(note)}); !n.latest.CompareAndSwap(last, next); {
		if last = n.latest.Load(); last.size >= size {
			return last.note, nil
		}
	}
	n.Logger.InfoContext(ctx, "audit checkpoint", "size", size, "head", head, "note", string(note))
	return string(note), nil
}

// Run signs until ctx ends. A chain that cannot be read or signed now is tried again.
func (n *Notary) Run(ctx context.Context) error {
	if n.JournalID == "" || n.Chain == nil || n.Signer == nil || n.Logger == nil {
		return errors.New("audit: JournalID, Chain, Signer and Logger are required")
	}
	ticker := time.NewTicker(cmp.Or(n.Interval, time.Minute))
	defer ticker.Stop()
	for {
		if _, err := n.Sign(ctx); err != nil && ctx.Err() == nil {
			n.Logger.WarnContext(ctx, "no audit checkpoint", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
