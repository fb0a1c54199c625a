package restapi

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/s3op"
)

type signBody struct {
	Op          string `json:"op" enum:"get,put"`
	Key         string `json:"key" maxLength:"1024"`
	Region      string `json:"region,omitzero" doc:"The region that the URL goes to. Left out, the active."`
	ContentType string `json:"contentType,omitzero" doc:"The media type that an upload has to have; of a put alone."`
	ExpiresSec  *int64 `json:"expiresSec,omitzero" minimum:"1" maximum:"604800" doc:"How long the URL is good for. Left out, PRESIGN_EXPIRES."`
}

const signForm = `want {"op": "get" or "put", "key": "…", "region": "…" (optional), "contentType": "…" (optional, of a put), "expiresSec": 1 to 604800 (optional)}`

type signedBody struct {
	URL       string            `json:"url" doc:"A credential: whoever has it may use it."`
	Method    string            `json:"method" enum:"GET,PUT"`
	Headers   map[string]string `json:"headers" doc:"What has to be sent with the request."`
	Region    string            `json:"region"`
	ExpiresAt string            `json:"expiresAt" format:"date-time"`
	Notes     []string          `json:"notes" doc:"What the URL bypasses. For people."`
}

func (a *API) postSign(w http.ResponseWriter, r *http.Request, b Bucket) error {
	var in signBody
	if err := a.readJSON(w, r, &in, signForm); err != nil {
		return err
	}
	wish := gateway.SignInput{Key: in.Key, Method: strings.ToUpper(in.Op), Region: in.Region, ContentType: in.ContentType, Actor: clientActor}
	switch {
	case in.Op != "get" && in.Op != "put":
		return s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("op is %q; %s", in.Op, signForm))
	case in.Op == "get" && in.ContentType != "":
		return s3op.NewError(s3op.Invalid, "InvalidArgument", "contentType is for a put: a get answers with the object's own; "+signForm)
	case !isPrintable(in.ContentType):
		return s3op.NewError(s3op.Invalid, "InvalidArgument", "contentType cannot be sent as a header: it has to be visible ASCII, such as image/png")
	case in.ExpiresSec != nil && (*in.ExpiresSec < 1 || *in.ExpiresSec > maxExpiresSec):
		return s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("expiresSec is %d; %s", *in.ExpiresSec, signForm))
	case in.ExpiresSec != nil:
		wish.Expires = time.Duration(*in.ExpiresSec) * time.Second
	}
	signed, err := b.Gateway.Sign(r.Context(), wish)
	if err != nil {
		return err
	}
	body := signedBody{
		URL: signed.URL, Method: signed.Method, Headers: make(map[string]string), Region: signed.Region,
		ExpiresAt: formatTime(signed.ExpiresAt), Notes: signed.Notes,
	}
	for name := range signed.Header {
		body.Headers[name] = signed.Header.Get(name)
	}
	w.Header().Set("Cache-Control", "no-store") // the URL is a credential
	writeJSON(w, "application/json", http.StatusOK, body)
	return nil
}

// isPrintable reports whether a header can have the value, whoever sends it.
func isPrintable(value string) bool {
	return value == strings.TrimSpace(value) && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

const maxExpiresSec = 7 * 24 * 60 * 60

// clientActor is who the audit names for what any client may ask.
const clientActor = "client"

type openURLBody struct {
	ID        int64  `json:"id"`
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	Region    string `json:"region"`
	Epoch     int64  `json:"epoch"`
	SignedAt  string `json:"signedAt" format:"date-time"`
	ExpiresAt string `json:"expiresAt" format:"date-time"`
	OpenUntil string `json:"openUntil" format:"date-time" doc:"Until when an upload may yet be found: with the grace for one that was under way."`
}

type presignedPage struct {
	Presigned []openURLBody `json:"presigned"`
	Next      *int64        `json:"next" doc:"What after is for the next page; null on the last one."`
}

// getPresigned lists the presigned PUTs to a bucket that may yet bring something.
func (a *API) getPresigned(w http.ResponseWriter, r *http.Request, b Bucket) error {
	after, limit, err := pageOf(r)
	if err != nil {
		return err
	}
	list, err := b.Gateway.SignedURLs(r.Context(), after, limit)
	if err != nil {
		return unreadable(err)
	}
	page := presignedPage{Presigned: []openURLBody{}}
	for _, u := range list {
		page.Presigned = append(page.Presigned, openURLBody{
			u.ID, b.Name, u.Key, u.Region, u.Epoch, formatTime(u.SignedAt), formatTime(u.ExpiresAt), formatTime(u.OpenUntil),
		})
	}
	if len(list) == limit {
		page.Next = &list[limit-1].ID
	}
	writeJSON(w, "application/json", http.StatusOK, page)
	return nil
}
