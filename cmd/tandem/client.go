package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const defaultURL = "http://127.0.0.1:8110"

// clientHelp is for the help of each command that talks to a gateway.
const clientHelp = `
TANDEM_URL says where the gateway is (` + defaultURL + `), TANDEM_TOKEN is the admin token where
it has one. TANDEM_CA_FILE, or --ca-file, is a PEM file of authorities to trust beside the system's.
` + exitHelp

// answerTimeout bounds the wait for an answer, or for the next bytes of a long one. A change
// may have to wait for requests to regions. maxAnswerBytes bounds an answer that is held in memory.
const (
	answerTimeout  = 15 * time.Second
	changeTimeout  = time.Minute
	maxAnswerBytes = 16 << 20
)

// client asks a running gateway.
type client struct {
	base, token string
	bucket      string      // "" for the gateway's first
	tls         *tls.Config // nil for the system's authorities
	http        *http.Client
	err         error // why nothing can be asked
}

func newClient(env environment) client {
	base, _ := env.getenv("TANDEM_URL")
	token, _ := env.getenv("TANDEM_TOKEN")
	caFile, ok := env.getenv("TANDEM_CA_FILE")
	c := client{base: strings.TrimSuffix(cmp.Or(base, defaultURL), "/"), token: token}
	switch {
	case env.caFile != nil && *env.caFile != "":
		caFile = *env.caFile
	case !ok:
		caFile = ""
	}
	if bucket, ok := env.getenv("TANDEM_BUCKET"); ok {
		c.bucket = bucket
	}
	if env.bucket != nil && *env.bucket != "" {
		c.bucket = *env.bucket
	}
	c.tls, c.err = trusting(caFile)
	// A command asks one gateway and ends: its connections do.
	c.http = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSClientConfig: c.tls}}
	return c
}

// trusting trusts the authorities of caFile beside the system's.
func trusting(caFile string) (*tls.Config, error) {
	if caFile == "" {
		return nil, nil
	}
	wrong := func(err error) error {
		return &exitError{exitUsage, fmt.Errorf("--ca-file (or TANDEM_CA_FILE) is %q: %w; allowed: the path of a PEM file with certificates", caFile, err)}
	}
	content, err := os.ReadFile(caFile)
	if err != nil {
		return nil, wrong(err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, failed(fmt.Errorf("read the system's authorities: %w", err))
	}
	if !roots.AppendCertsFromPEM(content) {
		return nil, wrong(errors.New("no certificate in PEM is in it"))
	}
	return &tls.Config{RootCAs: roots}, nil
}

// get returns the answer's body.
func (c client) get(ctx context.Context, path string) ([]byte, error) {
	return c.call(ctx, http.MethodGet, path, nil)
}

// read is get, with the JSON of the answer put into v.
func (c client) read(ctx context.Context, path string, v any) error {
	data, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	return parse(data, v)
}

// parse reads an answer.
func parse(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return failed(fmt.Errorf("read the gateway's answer (is its version another than this command's?): %w", err))
	}
	return nil
}

// call sends a request, with body as JSON where it is not nil, and returns the answer's.
func (c client) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	var into bytes.Buffer
	err := c.send(ctx, method, path, body, func(from io.Reader) error {
		_, err := into.ReadFrom(io.LimitReader(from, maxAnswerBytes))
		return err
	})
	return into.Bytes(), err
}

// stream copies an answer of any length. What arrived stays in w where it ends early.
func (c client) stream(ctx context.Context, path string, w io.Writer) error {
	return c.send(ctx, http.MethodGet, path, nil, func(from io.Reader) error {
		_, err := io.Copy(w, from)
		return err
	})
}

func (c client) send(ctx context.Context, method, path string, body any, take func(io.Reader) error) error {
	if c.err != nil {
		return c.err
	}
	timeout := answerTimeout
	if method != http.MethodGet {
		timeout = changeTimeout
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(timeout, func() { cancel(fmt.Errorf("no answer within %s", timeout)) })
	defer late.Stop()
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return &exitError{exitUnreachable, c.unanswered(ctx, method, err)}
	}
	defer resp.Body.Close()
	from := &watched{resp.Body, func() { late.Reset(timeout) }}
	if resp.StatusCode/100 != 2 {
		data, _ := io.ReadAll(io.LimitReader(from, maxAnswerBytes)) // the status says enough
		return &exitError{exitUnreachable, refusal(resp, data)}
	}
	if err := take(from); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return &exitError{exitUnreachable, fmt.Errorf("read the gateway's answer: %w", err)}
	}
	return nil
}

func (c client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, failed(err)
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, sent)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("TANDEM_URL %q is not a URL: %w", c.base, err)}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// unanswered tells nobody being there from a change that may have been made.
func (c client) unanswered(ctx context.Context, method string, err error) error {
	dialing, ok := errors.AsType[*net.OpError](err)
	isSent := !ok || dialing.Op != "dial"
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the certificate of the gateway at %s is not trusted (--ca-file names a file with the authority that issued it): %w", c.base, certificate.Err)
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("the gateway at %s has no TLS: set TANDEM_URL to http://…", c.base)
	}
	if isSent && method != http.MethodGet {
		return fmt.Errorf("the gateway at %s did not answer, and may have done it or not; `tandem status` shows what is: %w", c.base, err)
	}
	return fmt.Errorf("no gateway answers at %s (set TANDEM_URL to another): %w", c.base, err)
}

// watched tells of each read that brought something.
type watched struct {
	io.Reader
	progress func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.progress()
	}
	return n, err
}

// objection speaks against a promotion.
type objection struct{ Region, Code, Message string }

// refusedError is what a gateway said instead of doing it.
type refusedError struct {
	text       string
	objections []objection
	// hint is what can be done about it, "" where the text says it.
	hint string
}

func (e *refusedError) Error() string {
	lines := []string{e.text}
	for _, o := range e.objections {
		lines = append(lines, fmt.Sprintf("  %s: %s", o.Region, plain(o.Message)))
	}
	if e.hint != "" {
		lines = append(lines, e.hint)
	}
	return strings.Join(lines, "\n")
}

// refusal reads a problem. The detail of a refused promotion has the objections in one
// line, which are shown one by one instead.
func refusal(resp *http.Response, data []byte) error {
	var problem struct {
		Detail     string
		Objections []objection
	}
	if resp.StatusCode == http.StatusBadRequest && bytes.Contains(data, []byte("HTTP request to an HTTPS server")) {
		return errors.New("the gateway answers with TLS only: set TANDEM_URL to https://…")
	}
	if err := json.Unmarshal(data, &problem); err != nil || problem.Detail == "" {
		return fmt.Errorf("the gateway answered %s: is something else at TANDEM_URL?", resp.Status)
	}
	switch {
	case len(problem.Objections) > 0:
		return &refusedError{text: "the gateway refused the promotion:", objections: problem.Objections}
	case resp.StatusCode == http.StatusConflict:
		return &refusedError{text: "the gateway refused: " + problem.Detail}
	}
	return fmt.Errorf("the gateway answered %s: %s", resp.Status, problem.Detail)
}

// pages reads the list at path page by page, and gives each entry as the gateway wrote it,
// up to limit entries (0: all) after the one with the id `after`. It returns the id to go
// on after, 0 at the end of the list.
func (c client) pages(ctx context.Context, path, member string, after, limit int64, each func([]json.RawMessage) error) (next int64, err error) {
	base, err := url.Parse(path)
	if err != nil {
		return 0, failed(err)
	}
	for {
		page := int64(pageEntries)
		if limit > 0 {
			page = min(page, limit)
		}
		query := base.Query()
		query.Set("after", strconv.FormatInt(after, 10))
		query.Set("limit", strconv.FormatInt(page, 10))
		base.RawQuery = query.Encode()
		var answer map[string]json.RawMessage
		if err := c.read(ctx, base.String(), &answer); err != nil {
			return 0, err
		}
		var entries []json.RawMessage
		var following *int64
		if err := errors.Join(parse(answer[member], &entries), parse(answer["next"], &following)); err != nil {
			return 0, err
		}
		if err := each(entries); err != nil {
			return 0, failed(err)
		}
		limit -= int64(len(entries))
		switch {
		case following != nil && *following <= after:
			return 0, failed(fmt.Errorf("the gateway's answer to %s goes on at %d, where it began", path, *following))
		case following == nil:
			return 0, nil
		case limit == 0:
			return *following, nil
		}
		after = *following
	}
}

// pageEntries is what one request asks for, the most that a gateway gives.
const pageEntries = 1000

// parseID reads a number by which the gateway knows something.
func parseID(what, text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%s is %q; allowed: a number, 1 or more", what, text)
	}
	return id, nil
}
