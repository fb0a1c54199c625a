package restapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gnew/tandem/internal/accesskey"
	"github.com/gnew/tandem/internal/s3op"
)

// Keys are the access keys of S3 clients.
type Keys interface {
	List() []accesskey.Record
	Create(ctx context.Context, w accesskey.Wish, actor string) (accesskey.Record, string, error)
	Disable(ctx context.Context, id, actor string) (accesskey.Record, error)
	Enable(ctx context.Context, id, actor string) (accesskey.Record, error)
	Rotate(ctx context.Context, id, actor string) (accesskey.Record, string, error)
}

type newKeyBody struct {
	Name     string   `json:"name,omitzero" maxLength:"256" doc:"For people."`
	Role     string   `json:"role,omitzero" enum:"admin,read-write,read-only" doc:"What may be done with it. Left out, read-write."`
	Buckets  []string `json:"buckets,omitzero" nullable:"true" maxItems:"100" doc:"The buckets that it opens. Left out, or none, all."`
	Prefixes []string `json:"prefixes,omitzero" nullable:"true" maxItems:"100" doc:"What the keys of the objects that it opens begin with. Left out, or none, anything."`
}

const newKeyForm = `send {"name"?: …, "role"?: "admin", "read-write" or "read-only", "buckets"?: […], "prefixes"?: […]}, or nothing`

type keyBody struct {
	ID         string   `json:"id" doc:"The access key, as clients send it."`
	Name       string   `json:"name" doc:"For people; empty where there is none."`
	Role       string   `json:"role" enum:"admin,read-write,read-only"`
	Buckets    []string `json:"buckets" doc:"The buckets that it opens; none is all."`
	Prefixes   []string `json:"prefixes" doc:"What the keys of the objects that it opens begin with; none is anything."`
	Source     string   `json:"source" enum:"configuration,journal" doc:"configuration: it is changed there."`
	Enabled    bool     `json:"enabled" doc:"Whether requests are let in by it."`
	LostSecret bool     `json:"lostSecret" doc:"Whether nobody can open its secret any more, so that it stays disabled until it is rotated."`
	CreatedAt  *string  `json:"createdAt" format:"date-time" doc:"null of the configuration's."`
	RotatedAt  *string  `json:"rotatedAt" format:"date-time" doc:"When it was last given a secret; null where that is its first."`
	DisabledAt *string  `json:"disabledAt" format:"date-time" doc:"Since when it is disabled; null while it is enabled."`
}

type keysBody struct {
	Keys []keyBody `json:"keys" doc:"The configuration's first, then the others in the order in which they were made."`
}

// issuedKeyBody alone has a secret in it.
type issuedKeyBody struct {
	Key    keyBody `json:"key"`
	Secret string  `json:"secret" doc:"The secret key. It is told here, and never again."`
}

func describeKey(r accesskey.Record) keyBody {
	return keyBody{
		ID: r.ID, Name: r.Name, Role: string(r.Role), Buckets: append([]string{}, r.Buckets...), Prefixes: append([]string{}, r.Prefixes...),
		Source: string(r.Source), Enabled: r.DisabledAt.IsZero(), LostSecret: r.LostSecret,
		CreatedAt: timeOrNull(r.CreatedAt), RotatedAt: timeOrNull(r.RotatedAt), DisabledAt: timeOrNull(r.DisabledAt),
	}
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(formatTime(t))
}

func (a *API) getKeys(w http.ResponseWriter, _ *http.Request) error {
	body := keysBody{Keys: []keyBody{}}
	for _, r := range a.Keys.List() {
		body.Keys = append(body.Keys, describeKey(r))
	}
	writeJSON(w, "application/json", http.StatusOK, body)
	return nil
}

func (a *API) createKey(w http.ResponseWriter, r *http.Request) error {
	var body newKeyBody
	if r.ContentLength != 0 {
		if err := a.readJSON(w, r, &body, newKeyForm); err != nil {
			return err
		}
	}
	wish := accesskey.Wish{Name: body.Name, Role: accesskey.Role(body.Role), Bounds: accesskey.Bounds{Buckets: body.Buckets, Prefixes: body.Prefixes}}
	if body.Role == "" {
		wish.Role = accesskey.ReadWrite
	}
	for _, name := range body.Buckets {
		if _, ok := a.bucket(name); !ok { // a name that is mistyped would be a key that opens nothing
			return s3op.NewError(s3op.NotFound, "NoSuchBucket", fmt.Sprintf("there is no bucket %q; a key is bounded to buckets that are configured", name))
		}
	}
	record, secret, err := a.Keys.Create(r.Context(), wish, adminActor)
	if err != nil {
		return keyProblem(err)
	}
	writeIssued(w, http.StatusCreated, record, secret)
	return nil
}

func (a *API) rotateKey(w http.ResponseWriter, r *http.Request, id string) error {
	record, secret, err := a.Keys.Rotate(r.Context(), id, adminActor)
	if err != nil {
		return keyProblem(err)
	}
	writeIssued(w, http.StatusOK, record, secret)
	return nil
}

func writeIssued(w http.ResponseWriter, status int, r accesskey.Record, secret string) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, "application/json", status, issuedKeyBody{describeKey(r), secret})
}

func (a *API) disableKey(w http.ResponseWriter, r *http.Request, id string) error {
	record, err := a.Keys.Disable(r.Context(), id, adminActor)
	return writeKey(w, record, err)
}

func (a *API) enableKey(w http.ResponseWriter, r *http.Request, id string) error {
	record, err := a.Keys.Enable(r.Context(), id, adminActor)
	return writeKey(w, record, err)
}

func writeKey(w http.ResponseWriter, r accesskey.Record, err error) error {
	if err != nil {
		return keyProblem(err)
	}
	writeJSON(w, "application/json", http.StatusOK, describeKey(r))
	return nil
}

func keyProblem(err error) error {
	switch {
	case errors.Is(err, accesskey.ErrNotFound):
		return s3op.WrapError(s3op.NotFound, "NoSuchAccessKey", "there is no such access key; see /admin/keys", err)
	case errors.Is(err, accesskey.ErrConfigured):
		return s3op.WrapError(s3op.Conflict, "ConfiguredKey",
			"the access key is the configuration's: change GATEWAY_ACCESS_KEY and GATEWAY_SECRET_KEY, or the file s3-credentials in the data folder, and restart the gateway", err)
	case errors.Is(err, accesskey.ErrNoSecret):
		return s3op.WrapError(s3op.Conflict, "SecretLost", "nobody can open the secret of the access key any more: rotate it, and enable it then", err)
	case errors.Is(err, accesskey.ErrOvertaken):
		return s3op.WrapError(s3op.Conflict, "Overtaken", "another rotation of the access key came first, and nothing was done", err)
	case errors.Is(err, accesskey.ErrInvalid):
		return s3op.WrapError(s3op.Invalid, "InvalidArgument", err.Error(), err)
	}
	return s3op.WrapError(s3op.Unavailable, "ServiceUnavailable", "the access key was not changed, or is not known to be; GET /admin/keys says what it is", err)
}

// withAccessKey hands on the access key that a path names.
func withAccessKey(serve func(w http.ResponseWriter, r *http.Request, id string) error) handler {
	return ofGateway(func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathText(r, "accessKey")
		if err != nil {
			return err
		}
		return serve(w, r, id)
	})
}
