package restapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
)

// writeBody is the answer to a write.
type writeBody struct {
	Bucket      string            `json:"bucket"`
	Key         string            `json:"key"`
	ETag        string            `json:"etag" doc:"The object's ETag, without quotes."`
	Size        int64             `json:"size" doc:"In bytes."`
	ContentType string            `json:"contentType"`
	Region      string            `json:"region" doc:"The region that took the write: the active."`
	Version     string            `json:"version" doc:"Epoch and number of the write."`
	Replication map[string]string `json:"replication" doc:"How the copy in each other region stands."`
}

// writeResult answers with 201, or with 202 where the wait for other regions has ended before they had the write.
func writeResult(w http.ResponseWriter, b Bucket, result gateway.Result, isThere bool) {
	body := writeBody{
		Bucket: b.Name, Key: result.Key, ETag: result.ETag, Size: result.Size, ContentType: result.ContentType,
		Region: result.Region, Version: result.Version.String(), Replication: make(map[string]string),
	}
	for name, state := range result.Replication {
		body.Replication[name] = string(state)
	}
	h := w.Header()
	if result.ETag != "" {
		h.Set("Etag", s3op.QuoteETag(result.ETag))
	}
	h.Set("X-Tandem-Region", result.Region)
	h.Set("X-Tandem-Version", result.Version.String())
	status := http.StatusCreated
	if !isThere {
		status = http.StatusAccepted
	}
	writeJSON(w, "application/json", status, body)
}

func (a *API) putObject(w http.ResponseWriter, r *http.Request, b Bucket, key string) error {
	if len(r.Header["Content-Range"]) > 0 {
		return s3op.NewError(s3op.Invalid, "InvalidArgument", "Content-Range is not allowed: a PUT holds the whole object (RFC 9110, section 14.5)")
	}
	wait, err := waitOf(b, r.Header)
	if err != nil {
		return err
	}
	body := pace.NewBody(w, r, a.IdleTimeout)
	result, err := b.Gateway.Put(r.Context(), key, gateway.PutInput{Header: r.Header, Body: body, Size: r.ContentLength})
	if err != nil {
		return err
	}
	writeResult(w, b, result, await(w, r, b, &result, wait))
	return nil
}

// postBody is what POST /objects takes.
type postBody struct {
	DataBase64  *string `json:"dataBase64" doc:"The object, in standard base64 with padding."`
	Key         string  `json:"key,omitzero" maxLength:"1024" doc:"Where it is stored. Left out, a key is made that sorts by time."`
	ContentType string  `json:"contentType,omitzero" doc:"The object's media type."`
}

const postForm = `want {"dataBase64": "…", "key": "…" (optional), "contentType": "…" (optional)}`

func (a *API) postObject(w http.ResponseWriter, r *http.Request, b Bucket) error {
	wait, err := waitOf(b, r.Header)
	if err != nil {
		return err
	}
	var in postBody
	if err := a.readJSON(w, r, &in, postForm); err != nil {
		return err
	}
	if in.DataBase64 == nil {
		return s3op.NewError(s3op.Invalid, "InvalidArgument", "dataBase64 is missing; "+postForm)
	}
	data, err := base64.StdEncoding.Strict().DecodeString(*in.DataBase64)
	if err != nil {
		return s3op.WrapError(s3op.Invalid, "InvalidArgument", "dataBase64 is not standard base64 with padding (RFC 4648, section 4): "+err.Error(), err)
	}
	if in.Key == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make a key: %w", err)
		}
		in.Key = id.String()
	}
	h := gateway.ConditionHeaders(r.Header) // they speak of the object, the others of the JSON
	if in.ContentType != "" {
		h.Set("Content-Type", in.ContentType)
	}
	result, err := b.Gateway.Put(r.Context(), in.Key, gateway.PutInput{Header: h, Body: bytes.NewReader(data), Size: int64(len(data))})
	if err != nil {
		return err
	}
	location := "/objects/" + s3op.EscapePath(result.Key)
	if r.URL.Query().Has(bucketParameter) {
		location += "?" + url.Values{bucketParameter: {b.Name}}.Encode()
	}
	w.Header().Set("Location", location)
	writeResult(w, b, result, await(w, r, b, &result, wait))
	return nil
}

// readJSON reads one JSON value, strictly, within MaxJSONBytes.
func (a *API) readJSON(w http.ResponseWriter, r *http.Request, into any, form string) error {
	timed := pace.NewBody(w, r, a.IdleTimeout)
	data, err := io.ReadAll(io.LimitReader(timed, a.MaxJSONBytes+1))
	if err != nil {
		return s3op.WrapError(s3op.Invalid, "IncompleteBody", "the body could not be read to its end", err)
	}
	if int64(len(data)) > a.MaxJSONBytes {
		return s3op.NewError(s3op.TooLarge, "EntityTooLarge",
			fmt.Sprintf("a JSON body has at most %d bytes (MAX_JSON_BYTES); PUT /objects/{key} takes objects of any size", a.MaxJSONBytes))
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(into)
	if err == nil {
		if _, behind := decoder.Token(); behind != io.EOF {
			err = errors.New("there is more behind the value")
		}
	}
	if err == nil {
		err = checkExact(data)
	}
	if err != nil {
		return s3op.WrapError(s3op.Invalid, "MalformedJSON", fmt.Sprintf("the body is not the JSON expected (%v); %s", err, form), err)
	}
	return nil
}

// getObject answers GET and HEAD.
func (a *API) getObject(w http.ResponseWriter, r *http.Request, b Bucket, key string) error {
	in, err := readInput(r)
	if err != nil {
		return err
	}
	answer, err := b.Gateway.Read(r.Context(), key, in)
	if err != nil {
		return err
	}
	if answer.Body != nil {
		defer answer.Body.Close()
	}
	h := w.Header()
	copyAnswer(h, answer.Header)
	h.Set("X-Tandem-Region", answer.Region)
	h.Set("X-Tandem-Freshness", string(answer.Freshness))
	if answer.Fallback {
		h.Set("X-Tandem-Fallback", "true")
	}
	if !answer.Version.IsZero() {
		h.Set("X-Tandem-Version", answer.Version.String())
	}
	if answer.Repair != "" {
		h.Set("X-Tandem-Repair", string(answer.Repair))
	}
	// What is stored here is not ours: no browser may run it under this origin.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox")
	w.WriteHeader(answer.Status)
	if answer.Body == nil {
		return nil
	}
	return pace.Copy(w, answer.Body)
}

func readInput(r *http.Request) (gateway.ReadInput, error) {
	query := r.URL.Query()
	in := gateway.ReadInput{Header: r.Header, HeadOnly: r.Method == http.MethodHead}
	var err error
	if in.Repair, err = flag("repair", query.Get("repair")); err != nil {
		return in, err
	}
	if in.AllowStale, err = flag("X-Tandem-Allow-Stale", r.Header.Get("X-Tandem-Allow-Stale")); err != nil {
		return in, err
	}
	switch prefer := query.Get("prefer"); prefer {
	case "", "active":
	case "replica":
		in.PreferReplica = true
	default:
		return in, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("prefer is %q; allowed: active, replica", prefer))
	}
	return in, nil
}

func flag(name, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("%s is %q; allowed: 1, true, 0, false", name, value))
}

// answerHeaders are passed on from a region beside what is stored with an object.
var answerHeaders = []string{
	"Accept-Ranges", "Content-Length", "Content-Range", "Etag", "Last-Modified",
	"X-Amz-Mp-Parts-Count", "X-Amz-Tagging-Count", "X-Amz-Checksum-Type",
}

func copyAnswer(to, from http.Header) {
	for _, stored := range []http.Header{s3op.StoredHeaders(from), s3op.ChecksumHeaders(from)} {
		maps.Copy(to, stored)
	}
	for _, name := range answerHeaders {
		if values := from[name]; len(values) > 0 {
			to[name] = values
		}
	}
}

func (a *API) deleteObject(w http.ResponseWriter, r *http.Request, b Bucket, key string) error {
	wait, err := waitOf(b, r.Header)
	if err != nil {
		return err
	}
	result, err := b.Gateway.Delete(r.Context(), key, r.Header)
	if err != nil {
		return err
	}
	isThere := await(w, r, b, &result, wait)
	w.Header().Set("X-Tandem-Region", result.Region)
	w.Header().Set("X-Tandem-Version", result.Version.String())
	if !isThere {
		writeResult(w, b, result, false)
		return nil
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type listBody struct {
	Objects        []listedBody `json:"objects" doc:"In byte order of their keys."`
	CommonPrefixes []string     `json:"commonPrefixes" doc:"What keys have in common up to the delimiter."`
	Truncated      bool         `json:"truncated" doc:"Whether there is another page."`
	Cursor         *string      `json:"cursor" doc:"The cursor of the next page; null on the last one."`
}

type listedBody struct {
	Key          string `json:"key"`
	ETag         string `json:"etag"`
	Size         int64  `json:"size" doc:"In bytes."`
	LastModified string `json:"lastModified" format:"date-time"`
}

func (a *API) listObjects(w http.ResponseWriter, r *http.Request, b Bucket) error {
	query := r.URL.Query()
	in := gateway.ListInput{Prefix: query.Get("prefix"), Delimiter: query.Get("delimiter"), Cursor: query.Get("cursor")}
	var err error
	if limit := query.Get("limit"); limit != "" {
		if in.Limit, err = strconv.Atoi(limit); err != nil || in.Limit < 1 {
			return s3op.NewError(s3op.Invalid, "InvalidArgument", fmt.Sprintf("limit is %q; allowed: 1 to 1000", limit))
		}
	}
	if in.AllowStale, err = flag("X-Tandem-Allow-Stale", r.Header.Get("X-Tandem-Allow-Stale")); err != nil {
		return err
	}
	page, err := b.Gateway.List(r.Context(), in)
	if err != nil {
		return err
	}
	body := listBody{Objects: []listedBody{}, CommonPrefixes: page.CommonPrefixes, Truncated: page.Next != ""}
	if body.CommonPrefixes == nil {
		body.CommonPrefixes = []string{}
	}
	if page.Next != "" {
		body.Cursor = &page.Next
	}
	for _, o := range page.Objects {
		body.Objects = append(body.Objects, listedBody{o.Key, o.ETag, o.Size, formatTime(o.LastModified)})
	}
	w.Header().Set("X-Tandem-Region", page.Region)
	w.Header().Set("X-Tandem-Freshness", string(page.Freshness))
	if page.Fallback {
		w.Header().Set("X-Tandem-Fallback", "true")
	}
	writeJSON(w, "application/json", http.StatusOK, body)
	return nil
}

// formatTime is RFC 3339 in UTC with milliseconds.
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
