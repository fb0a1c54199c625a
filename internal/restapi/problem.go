package restapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
)

// problemBody is an error as RFC 9457 writes it, with S3's code beside it.
type problemBody struct {
	Type       string          `json:"type" doc:"Always about:blank: the code tells problems apart."`
	Title      string          `json:"title" doc:"The status in words."`
	Status     int             `json:"status" doc:"The status of the answer."`
	Detail     string          `json:"detail" doc:"What is wrong, and what to do about it. For people."`
	Code       string          `json:"code" doc:"Which problem it is. For programs."`
	Region     string          `json:"region,omitempty" doc:"The region that it is about."`
	AgeSeconds float64         `json:"ageSeconds,omitempty" doc:"How long the region has been behind."`
	Objections []objectionBody `json:"objections,omitempty" doc:"What speaks against a promotion."`
}

// methodError is a path that exists, with a method that does not.
type methodError struct {
	method     string
	operations map[string]operation
}

func (e *methodError) Error() string {
	return fmt.Sprintf("method %s is not allowed here; allowed: %s", e.method, e.allowed())
}

func (e *methodError) allowed() string {
	return strings.Join(slices.Sorted(maps.Keys(e.operations)), ", ")
}

// retryAfterSeconds is what a 503 asks of the client.
const retryAfterSeconds = "1"

// problem answers an error. What nobody classified is ours: the client is told no
// more than that, and the log has the rest.
func (a *API) problem(w *pace.Writer, r *http.Request, err error) {
	if w.Status() != 0 {
		// The answer has begun: only cutting it short tells the client.
		a.Logger.DebugContext(r.Context(), "answer cut short", "err", err)
		panic(http.ErrAbortHandler)
	}
	body := problemBody{Type: "about:blank"}
	if e, ok := errors.AsType[*methodError](err); ok {
		w.Header().Set("Allow", e.allowed())
		body.Status, body.Code, body.Detail = http.StatusMethodNotAllowed, "MethodNotAllowed", e.Error()
	} else if e, ok := errors.AsType[*authError](err); ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tandem"`)
		body.Status, body.Code, body.Detail = http.StatusUnauthorized, "Unauthorized", e.Error()
	} else if e, ok := errors.AsType[*failover.RefusedError](err); ok {
		body.Status, body.Code, body.Detail = http.StatusConflict, "PromotionRefused", e.Error()
		if !e.IsFinal() {
			body.Detail += "; to promote it all the same, force it"
		}
		body.Objections = describeObjections(e.Objections)
	} else if e, ok := errors.AsType[*s3op.Error](err); ok {
		if e.Kind == s3op.NotModified {
			notModified(w, e.Header)
			return
		}
		body.Status, body.Code, body.Detail = e.Kind.HTTPStatus(), e.Code, e.Message
		body.Region, body.AgeSeconds = e.Region, e.Age.Seconds()
	} else {
		body.Status, body.Code, body.Detail = http.StatusInternalServerError, "InternalError", "something went wrong here; the log has the details"
	}
	if body.Status == http.StatusInternalServerError {
		a.Logger.ErrorContext(r.Context(), "request failed", "method", r.Method, "err", err)
	}
	if body.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfterSeconds)
		a.Logger.InfoContext(r.Context(), "request answered 503", "method", r.Method, "code", body.Code, "err", err)
	}
	body.Title = http.StatusText(body.Status)
	writeJSON(w, "application/problem+json", body.Status, body)
}

// notModified answers 304 with the headers that RFC 9110, section 15.4.5, asks for.
func notModified(w http.ResponseWriter, from http.Header) {
	for _, name := range []string{"Cache-Control", "Etag", "Expires", "Last-Modified"} {
		if values := from[name]; len(values) > 0 {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(http.StatusNotModified)
}

func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", v, err)) // only a mistake in our own types
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the client may have left
}
