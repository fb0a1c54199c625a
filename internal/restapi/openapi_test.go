package restapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/audit"
	"github.com/gnew/tandem/internal/failover"
	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/journal"
	"github.com/gnew/tandem/internal/restapi"
	"github.com/gnew/tandem/internal/restapi/restapitest"
	"github.com/gnew/tandem/internal/s3op"
	"github.com/gnew/tandem/internal/stats"
)

// document is the OpenAPI document that every front serves. It is read once, for all tests.
var document struct {
	once sync.Once
	text []byte
	*restapitest.Document
	err error
}

func theDocument(t testing.TB, front http.Handler) *restapitest.Document {
	t.Helper()
	document.once.Do(func() {
		r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		document.text = w.Body.Bytes()
		document.Document, document.err = restapitest.Parse(document.text)
	})
	if document.err != nil {
		t.Fatal(document.err)
	}
	return document.Document
}

// wantDocumented checks that an answer is one that the document knows. Both rigs ask it of every answer that they get.
func wantDocumented(t testing.TB, front http.Handler, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if err := theDocument(t, front).CheckAnswer(r.Method, r.URL.EscapedPath(), w.Code, w.Result().Header, w.Body.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestTheDocumentIsOneOfOpenAPI(t *testing.T) {
	t.Parallel()
	theDocument(t, newFront(t))
	if err := restapitest.CheckItself(document.text); err != nil {
		t.Error(err)
	}
}

// resolving resolves every conflict.
type resolving struct{ restapi.Gateway }

func (resolving) Resolve(context.Context, gateway.Resolution) error { return nil }

// newDocumented is a front where everything is that the examples of the document speak of.
func newDocumented(t *testing.T) *whole {
	t.Helper()
	g := newWhole(t, t.TempDir())
	if w := g.ask(http.MethodPut, "/objects/docs/readme.md", "# Read me\n", http.Header{"X-Amz-Tagging": {"team=docs"}}); w.Code != http.StatusCreated {
		t.Fatalf("got %d, %s", w.Code, w.Body)
	}
	if w := g.ask(http.MethodPost, "/sign", `{"op": "put", "key": "docs/upload.md"}`, nil); w.Code != http.StatusOK {
		t.Fatalf("got %d, %s", w.Code, w.Body)
	}
	g.changes = nil
	g.failover.result.From, g.failover.result.To = "a", "b"
	g.records.entries = []audit.Linked{{Entry: audit.Entry{
		Index: 1, At: at, Action: audit.Write, Actor: "client", Bucket: fuzzBucket, Key: "k", Version: "1-1", Region: "a", Detail: "put e 1",
	}}}
	g.Stats = func(context.Context) (stats.Report, error) {
		r := report()
		r.CountedAt, r.Rows = at, &stats.Rows{Regions: []stats.RegionRows{{Name: "a", Compared: true}, {Name: "b"}}}
		return r, nil
	}
	g.Uncompared = func(string, string) (int64, bool) { return 5, true }
	kept := journal.Conflict{ID: 2, State: journal.ConflictKept}
	g.journal.conflict = &kept
	return g
}

// call is one of an operation as the document has it.
type call struct {
	restapitest.Operation
	path   string
	query  url.Values
	header http.Header
	body   []byte
	// breaksBody says that it is the body which the document forbids.
	breaksBody bool
}

// ofTheRig puts the rig's names in the place of the examples'.
var ofTheRig = strings.NewReplacer(`"primary"`, `"a"`, `"secondary"`, `"b"`)

// as is the operation with its examples: required parameters, and one of its bodies.
func as(o restapitest.Operation, example string) call {
	c := call{Operation: o, path: o.ExamplePath(), query: make(url.Values), header: make(http.Header)}
	if o.Body != nil && example != "" {
		c.body = []byte(ofTheRig.Replace(string(o.Body.Examples[example])))
		if o.Body.Schema != nil {
			c.header.Set("Content-Type", o.Body.MediaType)
		}
	}
	return c
}

// with has one more parameter.
func (c call) with(p restapitest.Parameter, value string) call {
	c.query, c.header = maps.Clone(c.query), c.header.Clone()
	switch p.In {
	case "query":
		c.query.Set(p.Name, value)
	case "header":
		c.header.Set(p.Name, value)
	case "path":
		c.path = strings.ReplaceAll(c.Path, "{"+p.Name+"}", url.PathEscape(value))
	}
	return c
}

func (c call) String() string {
	return fmt.Sprintf("%s %s?%s %v %.300s", c.Method, c.path, c.query.Encode(), c.header, c.body)
}

func (c call) ask(g *whole) *httptest.ResponseRecorder {
	g.t.Helper()
	target := c.path
	if len(c.query) > 0 {
		target += "?" + c.query.Encode()
	}
	return g.ask(c.Method, target, string(c.body), c.header)
}

// examples are the names of the bodies that an operation is called with; "" is without one.
func examples(o restapitest.Operation) []string {
	if o.Body == nil {
		return []string{""}
	}
	names := slices.Sorted(maps.Keys(o.Body.Examples))
	if !o.Body.Required {
		names = append(names, "")
	}
	return names
}

// exchange is what a call was answered.
type exchange struct {
	call
	answer *httptest.ResponseRecorder
}

// walk calls every operation with each of its bodies, and with each of its parameters.
func walk(t *testing.T) (all []exchange) {
	t.Helper()
	for _, o := range theDocument(t, newFront(t)).Operations() {
		if len(examples(o)) == 0 {
			t.Errorf("%s has no example of its body: give it one in restapi.operations", o.ID)
		}
		for _, example := range examples(o) {
			c := as(o, example)
			g := newDocumented(t)
			g.Buckets[0].Gateway = resolving{g.Buckets[0].Gateway}
			if c.ID == "Promote" && strings.Contains(string(c.body), "dryRun") {
				g.failover.result = dryRun()
			}
			w := c.ask(g)
			if w.Code < 200 || w.Code > 299 {
				t.Errorf("%s: got %d, %s; want a success, as documented", c, w.Code, w.Body)
			}
			all = append(all, exchange{c, w})
			for _, p := range o.Parameters {
				if p.In == "path" || p.Example == "" {
					continue
				}
				c := c.with(p, p.Example)
				g := newDocumented(t)
				g.Buckets[0].Gateway = resolving{g.Buckets[0].Gateway}
				w := c.ask(g)
				if w.Code == http.StatusBadRequest || w.Code >= 500 {
					t.Errorf("%s: got %d, %s; want the example to be taken", c, w.Code, w.Body)
				}
				all = append(all, exchange{c, w})
			}
		}
	}
	return all
}

func TestEveryOperationAnswersAsItsDocumentSays(t *testing.T) {
	t.Parallel()
	for _, e := range walk(t) { // the rig holds each answer against the document
		if err := document.CheckBody(e.Operation, e.body); err != nil {
			t.Errorf("%s: the example is not what the document says: %v", e.call, err)
		}
	}
}

// A field that has another name in the document than in the JSON is noticed, whichever it is.
func TestAFieldOfAnotherNameIsNoticed(t *testing.T) {
	t.Parallel()
	exchanges := walk(t)
	exchanges = append(exchanges, refused(t)...)
	if isNoticed(t, exchanges, "", document.text) {
		t.Fatal("something is amiss without that")
	}
	for _, name := range schemas(t) {
		for _, property := range properties(t, name) {
			if !isNoticed(t, exchanges, property, rename(t, name, property)) {
				t.Errorf("%s.%s is called otherwise in the document, and nothing was amiss: no call has it; give an example in restapi.operations the field, or newDocumented what is answered", name, property)
			}
		}
	}
}

// isNoticed reports whether an exchange in which the property is found is against the document.
func isNoticed(t *testing.T, exchanges []exchange, property string, text []byte) bool {
	t.Helper()
	d, err := restapitest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	operations := make(map[string]restapitest.Operation)
	for _, o := range d.Operations() {
		operations[o.ID] = o
	}
	return slices.ContainsFunc(exchanges, func(e exchange) bool {
		if name := []byte(`"` + property + `"`); property != "" && !bytes.Contains(e.body, name) && !bytes.Contains(e.answer.Body.Bytes(), name) {
			return false
		}
		return d.CheckBody(operations[e.ID], e.body) != nil ||
			d.CheckAnswer(e.Method, e.path, e.answer.Code, e.answer.Result().Header, e.answer.Body.Bytes()) != nil
	})
}

type schemaText struct {
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
}

func components(t *testing.T) map[string]schemaText {
	t.Helper()
	theDocument(t, newFront(t))
	var d struct {
		Components struct{ Schemas map[string]schemaText }
	}
	if err := json.Unmarshal(document.text, &d); err != nil {
		t.Fatal(err)
	}
	return d.Components.Schemas
}

func schemas(t *testing.T) []string { return slices.Sorted(maps.Keys(components(t))) }

func properties(t *testing.T, schema string) []string {
	return slices.Sorted(maps.Keys(components(t)[schema].Properties))
}

// rename calls a property otherwise in the document.
func rename(t *testing.T, schema, property string) []byte {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(document.text, &d); err != nil {
		t.Fatal(err)
	}
	s := d["components"].(map[string]any)["schemas"].(map[string]any)[schema].(map[string]any)
	p := s["properties"].(map[string]any)
	p["otherwise"] = p[property]
	delete(p, property)
	if required, ok := s["required"].([]any); ok {
		for i, r := range required {
			if r == property {
				required[i] = "otherwise"
			}
		}
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// behind has the acknowledged version nowhere.
type behind struct{ restapi.Gateway }

func (behind) Read(context.Context, string, gateway.ReadInput) (*gateway.Read, error) {
	return nil, &s3op.Error{Kind: s3op.Unavailable, Code: "NotYetReplicated", Message: "the replica is behind", Region: "b", Age: time.Second}
}

// refused are two calls whose problems have every field between them.
func refused(t *testing.T) []exchange {
	t.Helper()
	g := newDocumented(t)
	g.failover.err = &failover.RefusedError{Objections: []failover.Objection{{Region: "b", Code: failover.AtRisk, Message: "2 writes"}}}
	promote := as(find(t, "Promote"), "")
	refusal := promote.ask(g)
	g.Buckets[0].Gateway = behind{g.Buckets[0].Gateway}
	read := as(find(t, "GetObject"), "")
	return []exchange{{promote, refusal}, {read, read.ask(g)}}
}

// dryRun is one in which everything is met.
func dryRun() failover.Result {
	return failover.Result{
		From: "a", To: "b", Risk: journal.Risk{Keys: 3, Bytes: 30, InDoubt: 1, OldestPending: at}, Canary: failover.Canary{Err: errInside},
		Uncompared: map[string]failover.Uncompared{"a": {Keys: 5, Known: true}, "b": {}},
		Objections: []failover.Objection{{Region: "b", Code: failover.NotWritable, Message: "status 507"}},
	}
}

// hashOf is how a policy names a style.
func hashOf(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func find(t *testing.T, id string) restapitest.Operation {
	t.Helper()
	for _, o := range theDocument(t, newFront(t)).Operations() {
		if o.ID == id {
			return o
		}
	}
	t.Fatalf("there is no operation %s", id)
	return restapitest.Operation{}
}

// What the document forbids is refused, and nothing is done.
func TestRequestThatTheDocumentForbidsIsRefused(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, o := range theDocument(t, newFront(t)).Operations() {
		for _, c := range forbidden(t, o) {
			if c.breaksBody && document.CheckBody(o, c.body) == nil {
				t.Errorf("%s: the document does not forbid it", c)
			}
			tried++
			g := newDocumented(t)
			w := c.ask(g)
			if w.Code < 400 {
				t.Errorf("%s: got %d, %s; the document forbids it", c, w.Code, w.Body)
				continue
			}
			if o.Method != http.MethodHead || w.Body.Len() > 0 {
				g.wantRefusal(w)
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d requests were tried", tried)
	}
}

// forbidden are calls that break the document in one place each.
func forbidden(t *testing.T, o restapitest.Operation) (calls []call) {
	t.Helper()
	valid := as(o, examples(o)[0])
	for _, p := range o.Parameters {
		for _, value := range beyond(p.Schema) {
			text, isText := value.(string)
			if !isText {
				text = fmt.Sprint(value)
			}
			isAbsent := text == "" && p.In != "path" // an empty parameter is as one left out
			if !isAbsent {
				calls = append(calls, valid.with(p, text))
			}
		}
	}
	if o.Body == nil || o.Body.Schema == nil {
		return calls
	}
	add := func(body any) {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		c := valid
		c.body, c.breaksBody = data, true
		calls = append(calls, c)
	}
	for _, body := range []any{[]any{}, "text", 1, nil} {
		add(body)
	}
	if o.Body.Required {
		c := valid
		c.body, c.breaksBody = nil, true
		calls = append(calls, c)
	}
	var example map[string]any
	if err := json.Unmarshal(valid.body, &example); err != nil {
		t.Fatal(err)
	}
	changed := func(name string, value any) map[string]any {
		body := maps.Clone(example)
		body[name] = value
		return body
	}
	add(changed("otherwise", 1))
	required, _ := o.Body.Schema["required"].([]any)
	for name, schema := range o.Body.Schema["properties"].(map[string]any) {
		for _, value := range beyond(schema.(map[string]any)) {
			add(changed(name, value))
		}
		if slices.Contains(required, any(name)) {
			body := maps.Clone(example)
			delete(body, name)
			add(body)
			add(changed(name, nil))
		}
	}
	return calls
}

// beyond are values that a schema forbids.
func beyond(schema map[string]any) (values []any) {
	number := func(name string) (int64, bool) {
		n, ok := schema[name].(json.Number)
		if !ok {
			return 0, false
		}
		i, err := strconv.ParseInt(n.String(), 10, 64)
		return i, err == nil
	}
	types, _ := schema["type"].([]any)
	is := func(name string) bool { return schema["type"] == name || slices.Contains(types, any(name)) }
	if schema["enum"] != nil {
		values = append(values, "otherwise")
	}
	if n, ok := number("minimum"); ok {
		values = append(values, n-1)
	}
	if n, ok := number("maximum"); ok {
		values = append(values, n+1)
	}
	if n, ok := number("maxLength"); ok {
		values = append(values, strings.Repeat("x", int(n)+1))
	}
	if n, ok := number("minLength"); ok && n == 1 {
		values = append(values, "")
	}
	if is("integer") || is("boolean") {
		values = append(values, "text")
	}
	if is("integer") {
		values = append(values, 1.5)
	}
	return values
}

// The rig wants a 405, with the methods that there are, where the document has no such operation, and a 404 where it has no such path.
func TestNothingIsServedThatIsNotDescribed(t *testing.T) {
	t.Parallel()
	described := make(map[string]bool)
	operations := theDocument(t, newFront(t)).Operations()
	for _, o := range operations {
		described[o.Method+" "+o.Path] = true
	}
	g := newDocumented(t)
	for _, o := range operations {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LIST", "get"} {
			if described[method+" "+o.Path] {
				continue
			}
			if w := g.ask(method, o.ExamplePath(), "", nil); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: got %d, want 405: the document does not have it", method, o.Path, w.Code)
			}
		}
		if !strings.HasSuffix(o.Path, "{key}") && !strings.HasSuffix(o.Path, "{name}") && o.Path != "/objects" {
			if w := g.ask(http.MethodGet, o.ExamplePath()+"/", "", nil); w.Code != http.StatusNotFound {
				t.Errorf("GET %s/: got %d, want 404: the document does not have it", o.Path, w.Code)
			}
		}
	}
}

func TestTheDocumentSaysWhoMayAsk(t *testing.T) {
	t.Parallel()
	for _, o := range theDocument(t, newFront(t)).Operations() {
		g := newDocumented(t)
		for token, scheme := range map[string]string{"": "", "nobody's": "", fuzzAPIToken: "apiToken", fuzzAdminToken: "adminToken"} {
			c := as(o, examples(o)[0])
			r := requestOf(c.Method, c.path, "", string(c.body), false)
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			// The rig listens on loopback, where monitoring is open.
			isOpen := len(o.Security) == 0 || slices.Contains(o.Security, "")
			w := g.serve(r)
			isIn := w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden
			if want := isOpen || scheme != "" && slices.Contains(o.Security, scheme); isIn != want {
				t.Errorf("%s with token %q: got %d, and the document says %q", o.ID, token, w.Code, o.Security)
			}
		}
		g.Access = restapi.NewAccess("", nil, true)
		for _, foreign := range []http.Header{{"Host": {"gateway.example"}}, {"Origin": {"https://elsewhere.example"}}} {
			c := as(o, examples(o)[0])
			r := requestOf(c.Method, c.path, "", string(c.body), false)
			if maps.Copy(r.Header, foreign); foreign.Get("Host") != "" {
				r.Host = foreign.Get("Host")
			}
			if w := g.serve(r); w.Code != http.StatusForbidden {
				t.Errorf("%s from elsewhere: got %d, want 403", o.ID, w.Code)
			}
		}
	}
}

// The page needs nothing but itself, and lets nothing else in.
func TestThePageIsSelfContained(t *testing.T) {
	t.Parallel()
	g := newDocumented(t)
	w := g.serve(requestOf(http.MethodGet, "/docs", "", "", false))
	page := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d, %s", w.Code, w.Header())
	}
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(page)
	if style == nil {
		t.Fatal("the page has no style of its own")
	}
	want := "default-src 'none'; style-src '" + hashOf(style[1]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := w.Header().Get("Content-Security-Policy"); got != want {
		t.Errorf("got policy %q, want %q", got, want)
	}
	for _, foreign := range []string{"<script", "<link", "<img", "<iframe", "style=", "onclick", "@import", "url(", "src=", "ZgotmplZ"} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %s", foreign)
		}
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if link[1] != "/openapi.json" && !strings.Contains(page, `id="`+strings.TrimPrefix(link[1], "#")+`"`) {
			t.Errorf("the page links to %s", link[1])
		}
	}
	for _, o := range theDocument(t, g).Operations() {
		if !strings.Contains(page, `<span class="path">`+o.Path+`</span>`) || o.Method != http.MethodHead && !strings.Contains(page, `id="`+o.ID+`"`) {
			t.Errorf("the page does not show %s", o.ID)
		}
	}
	if again := g.serve(requestOf(http.MethodGet, "/docs", "", "", false)); !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) {
		t.Error("the page is another one each time")
	}
}
