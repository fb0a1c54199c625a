package restapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

// Records are what the journal tells of failovers, conflicts and the audit chain.
type Records interface {
	Failovers(ctx context.Context) ([]failover.Record, error)
	Ledger(ctx context.Context, epoch, after int64, limit int) ([]failover.Entry, error)
	Conflicts(ctx context.Context, after int64, limit int, all bool) ([]failover.Conflict, error)
	Conflict(ctx context.Context, id int64) (failover.Conflict, error)
	AuditEntries(ctx context.Context, after int64, limit int) ([]audit.Linked, error)
}

type conflictBody struct {
	ID          int64   `json:"id"`
	Bucket      string  `json:"bucket"`
	Key         string  `json:"key"`
	State       string  `json:"state" enum:"found,kept,resolved" doc:"kept: the loser is safe, and the conflict can be resolved."`
	Loser       string  `json:"loser" doc:"The version that the winner never saw."`
	Winner      string  `json:"winner" doc:"The version that the key has."`
	Operation   string  `json:"operation" doc:"How the loser was written."`
	Deleted     bool    `json:"deleted" doc:"Whether the loser is a delete."`
	ETag        string  `json:"etag" doc:"The loser's."`
	Size        int64   `json:"size" doc:"The loser's, in bytes."`
	ContentType string  `json:"contentType" doc:"The loser's."`
	Region      string  `json:"region" doc:"Where the loser was found."`
	FoundAt     string  `json:"foundAt" format:"date-time"`
	KeptKey     string  `json:"keptKey" doc:"The key below .tandem/ under which the loser is kept."`
	LastError   *string `json:"lastError" doc:"Why the loser could not be kept yet."`
	Resolution  *string `json:"resolution" doc:"What was decided; null until it is."`
	ResolvedAt  *string `json:"resolvedAt" format:"date-time"`
	ResolvedBy  *string `json:"resolvedBy"`
}

type conflictPage struct {
	Conflicts []conflictBody `json:"conflicts"`
	Next      *int64         `json:"next" doc:"What after is for the next page; null on the last one."`
}

type resolveBody struct {
	Keep string `json:"keep" enum:"winner,loser,both" doc:"Which side stays. With both, the loser is written under another key."`
	Key  string `json:"key,omitzero" maxLength:"1024" doc:"Where the loser goes with both; nothing may be there."`
}

func describeConflict(c failover.Conflict) conflictBody {
	body := conflictBody{
		ID: c.ID, Bucket: c.Bucket, Key: c.Key, State: string(c.State), Loser: c.Loser.String(), Winner: c.Winner.String(), Operation: string(c.Operation),
		Deleted: c.Deleted, ETag: c.ETag, Size: c.Size, ContentType: c.ContentType, Region: c.Region, FoundAt: formatTime(c.FoundAt), KeptKey: c.KeptKey,
	}
	if c.LastError != "" {
		body.LastError = &c.LastError
	}
	if c.Resolution != "" {
		body.Resolution, body.ResolvedAt, body.ResolvedBy = &c.Resolution, new(formatTime(c.ResolvedAt)), &c.ResolvedBy
	}
	return body
}

func (a *API) getConflicts(w http.ResponseWriter, r *http.Request) error {
	after, limit, err := pageOf(r)
	if err != nil {
		return err
	}
	all, err := flag("all", r.URL.Query().Get("all"))
	if err != nil {
		return err
	}
	list, err := a.Records.Conflicts(r.Context(), after, limit, all)
	if err != nil {
		return unreadable(err)
	}
	page := conflictPage{Conflicts: []conflictBody{}}
	for _, c := range list {
		page.Conflicts = append(page.Conflicts, describeConflict(c))
	}
	if len(list) == limit {
		page.Next = &list[limit-1].ID
	}
	writeJSON(w, "application/json", http.StatusOK, page)
	return nil
}

func (a *API) conflict(ctx context.Context, id int64) (failover.Conflict, error) {
	c, err := a.Records.Conflict(ctx, id)
	switch {
	case errors.Is(err, failover.ErrNotFound):
		return c, s3op.NewError(s3op.NotFound, "NoSuchConflict", fmt.Sprintf("there is no conflict %d; see /admin/conflicts", id))
	case err != nil:
		return c, unreadable(err)
	}
	return c, nil
}

func (a *API) getConflict(w http.ResponseWriter, r *http.Request, id int64) error {
	c, err := a.conflict(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, "application/json", http.StatusOK, describeConflict(c))
	return nil
}

func (a *API) resolveConflict(w http.ResponseWriter, r *http.Request, id int64) error {
	var body resolveBody
	if err := a.readJSON(w, r, &body, `send {"keep": "winner", "loser" or "both", "key"?: where the loser goes with both}`); err != nil {
		return err
	}
	c, err := a.conflict(r.Context(), id)
	if err != nil {
		return err
	}
	b, ok := a.bucket(c.Bucket)
	if !ok {
		return s3op.NewError(s3op.Conflict, "BucketNotConfigured",
			fmt.Sprintf("conflict %d is in bucket %q, which is not configured: configure it again, restart the gateway, and resolve the conflict then", id, c.Bucket))
	}
	err = b.Gateway.Resolve(r.Context(), gateway.Resolution{ID: id, Keep: gateway.Keep(body.Keep), Key: body.Key, Actor: adminActor})
	if err != nil {
		return err
	}
	return a.getConflict(w, r, id)
}

type auditBody struct {
	Index   int64      `json:"index" doc:"The entry's place in the chain, from 1."`
	At      string     `json:"at" format:"date-time" doc:"With the microseconds that the hash is made of."`
	Action  string     `json:"action"`
	Actor   string     `json:"actor"`
	Bucket  string     `json:"bucket,omitempty"`
	Key     string     `json:"key,omitempty"`
	Version string     `json:"version,omitempty"`
	Region  string     `json:"region,omitempty"`
	Detail  string     `json:"detail,omitempty"`
	Hash    audit.Hash `json:"hash" doc:"The SHA-256 of the entry and of the hash before it, in base64."`
}

type auditPage struct {
	Entries    []auditBody `json:"entries"`
	Next       *int64      `json:"next" doc:"What after is for the next page; null on the last one."`
	Checkpoint string      `json:"checkpoint" doc:"The newest signed head of the chain, a signed note; empty where there is none yet."`
}

func (a *API) getAudit(w http.ResponseWriter, r *http.Request) error {
	after, limit, err := pageOf(r)
	if err != nil {
		return err
	}
	entries, err := a.Records.AuditEntries(r.Context(), after, limit)
	if err != nil {
		return unreadable(err)
	}
	page := auditPage{Entries: []auditBody{}, Checkpoint: a.Checkpoint()}
	for _, e := range entries {
		page.Entries = append(page.Entries, auditBody{
			e.Index, e.At.UTC().Format(auditTime), string(e.Action), e.Actor, e.Bucket, e.Key, e.Version, e.Region, e.Detail, e.Hash,
		})
	}
	if len(entries) == limit {
		page.Next = &entries[limit-1].Index
	}
	writeJSON(w, "application/json", http.StatusOK, page)
	return nil
}

// auditTime has the microseconds that an entry's hash is made of.
const auditTime = "2006-01-02T15:04:05.000000Z"
