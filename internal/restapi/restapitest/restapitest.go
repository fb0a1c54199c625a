// Package restapitest holds what the REST front takes and answers against its own OpenAPI document. It reads the document
// as any client does, and shares nothing with who wrote it.
package restapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi/datamodel"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is an OpenAPI 3.1 document. It may be used by several goroutines.
type Document struct {
	root       map[string]any
	operations []Operation

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

const address = "document:///openapi.json"

// Parse reads a document.
func Parse(data []byte) (*Document, error) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	object, ok := root.(map[string]any)
	if !ok {
		return nil, errors.New("the document is not an object")
	}
	closeObjects(object)
	d := &Document{root: object, compiler: jsonschema.NewCompiler(), schemas: make(map[string]*jsonschema.Schema)}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(address, object); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	d.readOperations()
	return d, nil
}

// closeObjects forbids fields that are not listed. To clients answers are open, so that they can grow; here a field that
// is not described is a mistake.
func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, isObject := node["properties"].(map[string]any); isObject && node["additionalProperties"] == nil {
			node["unevaluatedProperties"] = false
		}
		for _, below := range node {
			closeObjects(below)
		}
	case []any:
		for _, below := range node {
			closeObjects(below)
		}
	}
}

// CheckItself holds a document against the schema of OpenAPI 3.1, every schema in it against JSON Schema's, and every
// example against its schema. data is what Parse was given.
func CheckItself(data []byte) error {
	meta, err := jsonschema.UnmarshalJSON(strings.NewReader(datamodel.OpenAPI31SchemaData))
	if err != nil {
		return fmt.Errorf("read the schema of OpenAPI: %w", err)
	}
	const metaAddress = "openapi-3.1.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(metaAddress, meta); err != nil {
		return fmt.Errorf("read the schema of OpenAPI: %w", err)
	}
	schema, err := c.Compile(metaAddress)
	if err != nil {
		return fmt.Errorf("read the schema of OpenAPI: %w", err)
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	if err := schema.Validate(root); err != nil {
		return err
	}
	d, err := Parse(data)
	if err != nil {
		return err
	}
	var errs []error
	for name := range object(object(d.root, "components"), "schemas") {
		_, err := d.schema("components", "schemas", name)
		errs = append(errs, err)
	}
	ids := make(map[string]bool)
	for _, o := range d.operations {
		if ids[o.ID] || o.ID == "" {
			errs = append(errs, fmt.Errorf("%s %s: operationId %q is another's, or none", o.Method, o.Path, o.ID))
		}
		ids[o.ID] = true
		if o.Summary == "" {
			errs = append(errs, fmt.Errorf("%s: nothing is said of what it is", o.ID))
		}
		errs = append(errs, d.checkExamples(o))
	}
	return errors.Join(errs...)
}

// checkExamples holds the examples of an operation against their schemas.
func (d *Document) checkExamples(o Operation) error {
	var errs []error
	check := func(value any, at ...string) {
		if err := d.validate(value, at...); err != nil {
			errs = append(errs, fmt.Errorf("%s: example: %w", o.ID, err))
		}
	}
	for _, p := range o.Parameters {
		if _, err := d.schema(p.at...); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", o.ID, p.Name, err))
		}
		if p.What == "" {
			errs = append(errs, fmt.Errorf("%s: nothing is said of %s", o.ID, p.Name))
		}
		if p.value != nil {
			check(p.value, p.at...)
		}
	}
	for status := range o.Responses {
		described := object(o.Responses, status)
		if text(described, "description") == "" {
			errs = append(errs, fmt.Errorf("%s: nothing is said of status %s", o.ID, status))
		}
		for mediaType, m := range object(described, "content") {
			for _, e := range object(m.(map[string]any), "examples") {
				check(e.(map[string]any)["value"], append(slices.Clone(o.at), "responses", status, "content", mediaType, "schema")...)
			}
		}
	}
	return errors.Join(errs...)
}

// Operation is what the document says of a method on a path.
type Operation struct {
	Method, Path, ID, Summary string
	// Security has the schemes any of which is enough; none where anybody may ask.
	Security   []string
	Parameters []Parameter
	// Body is nil where none is taken.
	Body *Body
	// Responses has what is said of each status.
	Responses map[string]any

	at []string
}

// ExamplePath is the escaped path with the example of its parameter.
func (o Operation) ExamplePath() string {
	path := o.Path
	for _, p := range o.Parameters {
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(p.Example))
		}
	}
	return path
}

// Parameter is one of a path, a query or a header.
type Parameter struct {
	Name, In, What string
	Required       bool
	// Example is "" where there is none.
	Example string
	Schema  map[string]any

	value any // Example's
	at    []string
}

// Body is what a request takes.
type Body struct {
	Required  bool
	MediaType string
	// Examples by name: JSON, or text where the body is bytes.
	Examples map[string][]byte
	// Schema is nil where the body is bytes.
	Schema map[string]any

	at []string
}

func object(parent map[string]any, name string) map[string]any {
	o, _ := parent[name].(map[string]any)
	return o
}

func text(parent map[string]any, name string) string {
	s, _ := parent[name].(string)
	return s
}

func list(parent map[string]any, name string) []any {
	l, _ := parent[name].([]any)
	return l
}

// Operations are all of them, by path and method.
func (d *Document) Operations() []Operation { return d.operations }

func (d *Document) readOperations() {
	paths := object(d.root, "paths")
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := object(paths, path)
		for _, method := range []string{"get", "head", "put", "post", "delete", "options", "patch", "trace"} {
			if described := object(item, method); described != nil {
				d.operations = append(d.operations, d.operation(method, path, item, described))
			}
		}
	}
}

func (d *Document) operation(method, path string, item, described map[string]any) Operation {
	o := Operation{
		Method: strings.ToUpper(method), Path: path, ID: text(described, "operationId"), Summary: text(described, "summary"),
		Responses: object(described, "responses"), at: []string{"paths", path, method},
	}
	for _, s := range list(described, "security") {
		for scheme := range s.(map[string]any) {
			o.Security = append(o.Security, scheme)
		}
		if len(s.(map[string]any)) == 0 {
			o.Security = append(o.Security, "")
		}
	}
	add := func(list []any, at ...string) {
		for i, p := range list {
			p := p.(map[string]any)
			required, _ := p["required"].(bool)
			one := Parameter{
				Name: text(p, "name"), In: text(p, "in"), What: text(p, "description"), value: p["example"], Required: required, Schema: object(p, "schema"),
				at: append(slices.Clone(at), "parameters", strconv.Itoa(i), "schema"),
			}
			if p["example"] != nil {
				one.Example = fmt.Sprint(p["example"])
			}
			o.Parameters = append(o.Parameters, one)
		}
	}
	add(list(item, "parameters"), "paths", path)
	add(list(described, "parameters"), o.at...)
	if body := object(described, "requestBody"); body != nil {
		o.Body = d.body(o, body)
	}
	return o
}

func (d *Document) body(o Operation, described map[string]any) *Body {
	b := &Body{Examples: make(map[string][]byte)}
	b.Required, _ = described["required"].(bool)
	for mediaType, m := range object(described, "content") {
		m := m.(map[string]any)
		b.MediaType, b.at = mediaType, append(slices.Clone(o.at), "requestBody", "content", mediaType, "schema")
		if isJSON(mediaType) {
			b.Schema = d.resolve(object(m, "schema"))
		}
		for name, e := range object(m, "examples") {
			value := e.(map[string]any)["value"]
			if b.Schema == nil {
				b.Examples[name] = []byte(value.(string))
				continue
			}
			data, err := json.Marshal(value)
			if err != nil {
				panic(err) // it was read as JSON
			}
			b.Examples[name] = data
		}
	}
	return b
}

func (d *Document) resolve(schema map[string]any) map[string]any {
	if name, ok := strings.CutPrefix(text(schema, "$ref"), "#/components/schemas/"); ok {
		return object(object(object(d.root, "components"), "schemas"), name)
	}
	return schema
}

func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// schema compiles the one at a place in the document.
func (d *Document) schema(at ...string) (*jsonschema.Schema, error) {
	var pointer strings.Builder
	for _, part := range at {
		pointer.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.schemas[pointer.String()]; s != nil {
		return s, nil
	}
	s, err := d.compiler.Compile(address + "#" + (&url.URL{Path: pointer.String()}).EscapedPath())
	if err != nil {
		return nil, err
	}
	d.schemas[pointer.String()] = s
	return s, nil
}

func (d *Document) validate(value any, at ...string) error {
	s, err := d.schema(at...)
	if err != nil {
		return err
	}
	return s.Validate(value)
}

func (d *Document) validateJSON(data []byte, at ...string) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return d.validate(value, at...)
}

// CheckBody says what the document has against the body of a request.
func (d *Document) CheckBody(o Operation, body []byte) error {
	switch {
	case o.Body == nil && len(body) > 0:
		return fmt.Errorf("%s takes no body", o.ID)
	case len(body) == 0 && o.Body != nil && o.Body.Required && o.Body.Schema != nil:
		return fmt.Errorf("%s wants a body", o.ID)
	case len(body) == 0 || o.Body.Schema == nil:
		return nil
	}
	return d.validateJSON(body, o.Body.at...)
}

// CheckAnswer says what the document has against an answer to a request: its status, its headers, its body. Of what is not
// in the document it wants a 404 or a 405.
func (d *Document) CheckAnswer(method, escapedPath string, status int, h http.Header, body []byte) error {
	err := d.checkAnswer(method, escapedPath, status, h, body)
	if err != nil {
		return fmt.Errorf("%s %s: status %d is not what the OpenAPI document says (see the entry in restapi.operations, and the tags of the body's struct): %w",
			method, escapedPath, status, err)
	}
	return nil
}

func (d *Document) checkAnswer(method, escapedPath string, status int, h http.Header, body []byte) error {
	var methods []string
	for _, o := range d.operations {
		if !o.isAt(escapedPath) {
			continue
		}
		if o.Method == method {
			return d.checkOperation(o, status, h, body)
		}
		methods = append(methods, o.Method)
	}
	code := "NoSuchPath"
	if len(methods) > 0 {
		slices.Sort(methods)
		if code = "MethodNotAllowed"; h.Get("Allow") != strings.Join(methods, ", ") {
			return fmt.Errorf("got Allow %q, want %q", h.Get("Allow"), methods)
		}
	}
	if method == http.MethodHead {
		return nil
	}
	if err := d.validateJSON(body, "components", "schemas", "Problem"); err != nil {
		return err
	}
	var p struct {
		Status int
		Code   string
	}
	if err := json.Unmarshal(body, &p); err != nil || p.Status != status || p.Code != code {
		return fmt.Errorf("got %+v (%w), want %s", p, err, code)
	}
	return nil
}

// isAt reports whether a path is the operation's: a parameter that is no number takes everything, slashes too.
func (o Operation) isAt(escapedPath string) bool {
	before, rest, hasParameter := strings.Cut(o.Path, "{")
	if !hasParameter {
		return escapedPath == o.Path
	}
	name, after, _ := strings.Cut(rest, "}")
	value, ok := strings.CutPrefix(escapedPath, before)
	if ok {
		value, ok = strings.CutSuffix(value, after)
	}
	for _, p := range o.Parameters {
		if ok && p.In == "path" && p.Name == name && text(p.Schema, "type") == "integer" {
			n, err := strconv.ParseInt(value, 10, 64)
			return err == nil && n > 0
		}
	}
	return ok
}

func (d *Document) checkOperation(o Operation, status int, h http.Header, body []byte) error {
	at := append(slices.Clone(o.at), "responses", strconv.Itoa(status))
	described := object(o.Responses, strconv.Itoa(status))
	if described == nil {
		return fmt.Errorf("it is not among %v", slices.Sorted(maps.Keys(o.Responses)))
	}
	if err := d.checkHeaders(described, h, at); err != nil {
		return err
	}
	if o.Method == http.MethodHead {
		return nil
	}
	content := object(described, "content")
	if len(content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("there is a body: %q", body)
		}
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if _, isAny := content["*/*"]; isAny && content[mediaType] == nil {
		return nil
	}
	if err != nil || content[mediaType] == nil {
		return fmt.Errorf("Content-Type %q is not among %v", h.Get("Content-Type"), slices.Sorted(maps.Keys(content)))
	}
	if !isJSON(mediaType) {
		return nil
	}
	return d.validateJSON(body, append(at, "content", mediaType, "schema")...)
}

// mentioned are the headers that the document has to know of wherever they are, beside those of ours.
func mentioned(name string) bool {
	return strings.HasPrefix(name, "X-Tandem-") || slices.Contains([]string{"Allow", "Content-Disposition", "Location", "Retry-After", "Www-Authenticate"}, name)
}

func (d *Document) checkHeaders(described map[string]any, h http.Header, at []string) error {
	known := make(map[string]bool)
	for name, header := range object(described, "headers") {
		known[http.CanonicalHeaderKey(name)] = true
		values := h.Values(name)
		if required, _ := header.(map[string]any)["required"].(bool); required && len(values) == 0 {
			return fmt.Errorf("header %s is missing", name)
		}
		for _, value := range values {
			if err := d.validate(value, append(slices.Clone(at), "headers", name, "schema")...); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		}
	}
	for name := range h {
		if mentioned(name) && !known[name] {
			return fmt.Errorf("header %s is not described", name)
		}
	}
	return nil
}
