package restapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

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
	Key         string  `json:"key"`
	State       string  `json:"state"`
	Loser       string  `json:"loser"`
	Winner      string  `json:"winner"`
	Operation   string  `json:"operation"`
	Deleted     bool    `json:"deleted"`
	ETag        string  `json:"etag"`
	Size        int64   `json:"size"`
	ContentType string  `json:"contentType"`
	Region      string  `json:"region"`
	FoundAt     string  `json:"foundAt"`
	KeptKey     string  `json:"keptKey"`
	LastError   *string `json:"lastError"`
	Resolution  *string `json:"resolution"`
	ResolvedAt  *string `json:"resolvedAt"`
	ResolvedBy  *string `json:"resolvedBy"`
}

func describeConflict(c failover.Conflict) conflictBody {
	body := conflictBody{
		ID: c.ID, Key: c.Key, State: string(c.State), Loser: c.Loser.String(), Winner: c.Winner.String(), Operation: string(c.Operation),
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
	page := struct {
		Conflicts []conflictBody `json:"conflicts"`
		Next      *int64         `json:"next"`
	}{Conflicts: []conflictBody{}}
	for _, c := range list {
		page.Conflicts = append(page.Conflicts, describeConflict(c))
	}
	if len(list) == limit {
		page.Next = &list[limit-1].ID
	}
	writeJSON(w, "application/json", http.StatusOK, page)
	return nil
}

// findConflict serves /admin/conflicts/{id} and /admin/conflicts/{id}/resolve.
func (a *API) findConflict(r *http.Request, rest string) (operation, error) {
	text, below, hasBelow := strings.Cut(rest, "/")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || hasBelow && below != "resolve" {
		return operation{name: "Unknown"}, s3op.NewError(s3op.NotFound, "NoSuchPath", "there is /admin/conflicts, /admin/conflicts/{id} and /admin/conflicts/{id}/resolve")
	}
	if hasBelow {
		return byMethod(r, map[string]operation{
			http.MethodPost: {"ResolveConflict", Admin, func(w http.ResponseWriter, r *http.Request) error { return a.resolveConflict(w, r, id) }},
		})
	}
	op := operation{"GetConflict", Admin, func(w http.ResponseWriter, r *http.Request) error { return a.getConflict(w, r, id) }}
	return byMethod(r, map[string]operation{http.MethodGet: op, http.MethodHead: op})
}

func (a *API) getConflict(w http.ResponseWriter, r *http.Request, id int64) error {
	c, err := a.Records.Conflict(r.Context(), id)
	switch {
	case errors.Is(err, failover.ErrNotFound):
		return s3op.NewError(s3op.NotFound, "NoSuchConflict", fmt.Sprintf("there is no conflict %d; see /admin/conflicts", id))
	case err != nil:
		return unreadable(err)
	}
	writeJSON(w, "application/json", http.StatusOK, describeConflict(c))
	return nil
}

func (a *API) resolveConflict(w http.ResponseWriter, r *http.Request, id int64) error {
	var body struct {
		Keep string `json:"keep"`
		Key  string `json:"key"`
	}
	if err := a.readJSON(w, r, &body, `send {"keep": "winner", "loser" or "both", "key"?: where the loser goes with both}`); err != nil {
		return err
	}
	err := a.Gateway.Resolve(r.Context(), gateway.Resolution{ID: id, Keep: gateway.Keep(body.Keep), Key: body.Key, Actor: adminActor})
	if err != nil {
		return err
	}
	return a.getConflict(w, r, id)
}

type auditBody struct {
	Index   int64      `json:"index"`
	At      string     `json:"at"`
	Action  string     `json:"action"`
	Actor   string     `json:"actor"`
	Bucket  string     `json:"bucket,omitempty"`
	Key     string     `json:"key,omitempty"`
	Version string     `json:"version,omitempty"`
	Region  string     `json:"region,omitempty"`
	Detail  string     `json:"detail,omitempty"`
	Hash    audit.Hash `json:"hash"`
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
	page := struct {
		Entries    []auditBody `json:"entries"`
		Next       *int64      `json:"next"`
		Checkpoint string      `json:"checkpoint"`
	}{Entries: []auditBody{}, Checkpoint: a.Checkpoint()}
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
