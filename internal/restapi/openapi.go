package restapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// about is what the document says of an operation beyond its path, methods, name and area.
type about struct {
	tag, summary, detail string
	// parameters are those of the query and the header.
	parameters []*huma.Param
	takes      content
	responses  map[int]response
	fails      fails
}

// response is an answer that is no problem.
type response struct {
	what string
	// always and sometimes are the names of its headers.
	always, sometimes []string
	content           content
}

// content is the forms that a body may have.
type content []form

type form struct {
	mediaType string
	// types are Go types whose JSON it is, any of them; without one it is bytes.
	types    []reflect.Type
	examples map[string]any
	// isOptional says that a request may go without a body.
	isOptional bool
}

func bytesOf(mediaType string) content { return content{{mediaType: mediaType}} }

func textOfAnyType(example string) content {
	return content{{mediaType: "*/*", examples: map[string]any{"example": example}}}
}

func typeOf[T any]() content {
	return content{{mediaType: "application/json", types: []reflect.Type{reflect.TypeFor[T]()}}}
}

func jsonNamed[T any](examples map[string]T) content {
	c := typeOf[T]()
	c[0].examples = make(map[string]any)
	for name, e := range examples {
		c[0].examples[name] = e
	}
	return c
}

func jsonOf[T any](example T) content { return jsonNamed(map[string]T{"example": example}) }

// oneOf is JSON of any of the types.
func oneOf(contents ...content) content {
	c := contents[0]
	for _, other := range contents[1:] {
		c[0].types = append(c[0].types, other[0].types...)
	}
	return c
}

func optional(c content) content {
	c[0].isOptional = true
	return c
}

// fails are the codes of problems, by status.
type fails map[int][]string

// anyOfS3 stands for whatever code the S3 of a region answers with.
const anyOfS3 = "*"

func merge(all ...fails) fails {
	merged := make(fails)
	for _, f := range all {
		for status, codes := range f {
			merged[status] = slices.Compact(slices.Sorted(slices.Values(append(merged[status], codes...))))
		}
	}
	return merged
}

// keyFails are those of a key that cannot be one.
func keyFails() fails {
	return fails{http.StatusBadRequest: {"InvalidArgument", "InvalidURI", "KeyTooLongError"}, http.StatusForbidden: {"AccessDenied"}}
}

// jsonFails are those of readJSON.
func jsonFails() fails {
	return fails{
		http.StatusBadRequest:            {"IncompleteBody", "InvalidArgument", "MalformedJSON"},
		http.StatusRequestEntityTooLarge: {"EntityTooLarge"},
	}
}

// accessKeyFails are those of an access key that is to be changed.
func accessKeyFails() fails {
	return fails{
		http.StatusBadRequest: {"InvalidURI"}, http.StatusNotFound: {"NoSuchAccessKey"}, http.StatusConflict: {"ConfiguredKey"},
		http.StatusServiceUnavailable: {"ServiceUnavailable"},
	}
}

// fails are those of any operation in the area.
func (a Area) fails() fails {
	f := fails{http.StatusForbidden: {"ForeignHost", "ForeignOrigin"}, http.StatusInternalServerError: {"InternalError"}}
	if a != Open {
		f[http.StatusUnauthorized] = []string{"Unauthorized"}
	}
	if a == Admin {
		f = merge(f, fails{http.StatusForbidden: {"AccessDenied"}})
	}
	return f
}

// The two security schemes: one is enough where both are listed.
const (
	withAPIToken   = "apiToken"
	withAdminToken = "adminToken"
)

func (a Area) security() []map[string][]string {
	api, admin := map[string][]string{withAPIToken: {}}, map[string][]string{withAdminToken: {}}
	switch a {
	case Objects:
		return []map[string][]string{api, admin}
	case Admin:
		return []map[string][]string{admin}
	case Monitoring:
		return []map[string][]string{{}, api, admin}
	}
	return []map[string][]string{}
}

const (
	tagObjects    = "Objects"
	tagFailover   = "Failover"
	tagConflicts  = "Conflicts"
	tagKeys       = "Keys"
	tagAdmin      = "Administration"
	tagMonitoring = "Monitoring"
	tagDocument   = "Document"
)

const intro = `Objects as plain HTTP resources, in front of several S3 regions.

A key is any S3 key, percent-encoded in the path; slashes may stand as they are, and a client must not tidy up the path. Every error is a problem ` +
	`(RFC 9457) whose code says which; a path that there is not is 404 NoSuchPath, a method that there is not is 405 MethodNotAllowed with Allow. ` +
	`A 503 has Retry-After. Answers may get more fields: leave out what you do not know. A request may not have fields that are not here.`

// describe makes the document of what is served.
func describe(paths []path) *huma.OpenAPI {
	d := &describer{registry: huma.NewMapRegistry(schemaPrefix, schemaName), requests: make(map[string]bool)}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "Tandem", Version: "1", Description: intro, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Servers: []*huma.Server{{URL: "/"}},
		Paths:   make(map[string]*huma.PathItem),
		Components: &huma.Components{Schemas: d.registry, SecuritySchemes: map[string]*huma.SecurityScheme{
			withAPIToken:   {Type: "http", Scheme: "bearer", Description: "One of API_TOKENS. Without any token the gateway listens on loopback alone, and needs none."},
			withAdminToken: {Type: "http", Scheme: "bearer", Description: "ADMIN_TOKEN. It opens everything."},
		}},
		Tags: []*huma.Tag{
			{Name: tagObjects, Description: "What is stored."},
			{Name: tagFailover, Description: "Promotions, and what each put at risk."},
			{Name: tagConflicts, Description: "Where both sides of a failover changed a key."},
			{Name: tagKeys, Description: "Access keys, which S3 clients sign their requests with."},
			{Name: tagAdmin, Description: "The state of the gateway, and what it did."},
			{Name: tagMonitoring, Description: "For people, orchestrators and Prometheus."},
			{Name: tagDocument, Description: "What you are reading."},
		},
	}
	for _, p := range paths {
		item := &huma.PathItem{}
		if p.parameter != "" {
			item.Parameters = []*huma.Param{pathParameter(p.parameter)}
		}
		for method, op := range p.operations {
			described := d.operation(method, op)
			switch method {
			case http.MethodGet:
				item.Get = described
			case http.MethodHead:
				item.Head = described
			case http.MethodPut:
				item.Put = described
			case http.MethodPost:
				item.Post = described
			case http.MethodDelete:
				item.Delete = described
			default:
				panic("no place in the document for method " + method) // only a mistake in our own table
			}
		}
		doc.Paths[p.pattern] = item
	}
	d.finishSchemas()
	return doc
}

type describer struct {
	registry huma.Registry
	// requests are the names of the schemas that requests are read by.
	requests map[string]bool
}

func (d *describer) operation(method string, op operation) *huma.Operation {
	described := &huma.Operation{
		OperationID: op.name, Tags: []string{op.about.tag}, Summary: op.about.summary, Description: op.about.detail,
		Parameters: op.about.parameters, Security: op.area.security(), Responses: make(map[string]*huma.Response),
	}
	mayFail := merge(op.area.fails(), op.about.fails)
	if op.serve.ofBucket != nil {
		described.Parameters = slices.Concat(described.Parameters, bucketParameters())
		mayFail = merge(mayFail, bucketFails())
	}
	if method == http.MethodHead && strings.Contains(op.methods, http.MethodGet) {
		described.OperationID = "Head" + strings.TrimPrefix(strings.TrimPrefix(op.name, "Get"), "List")
	}
	if takes := op.about.takes; len(takes) > 0 {
		described.RequestBody = &huma.RequestBody{Required: !takes[0].isOptional, Content: d.content(takes)}
		for _, t := range takes[0].types {
			d.requests[schemaName(t, "")] = true
		}
	}
	for status, s := range op.about.responses {
		r := &huma.Response{Description: s.what, Headers: describeHeaders(s.always, s.sometimes), Content: d.content(s.content)}
		described.Responses[strconv.Itoa(status)] = r
	}
	for status, codes := range mayFail {
		r := described.Responses[strconv.Itoa(status)]
		if r == nil {
			r = &huma.Response{Description: named(codes)}
			described.Responses[strconv.Itoa(status)] = r
		}
		if r.Content == nil {
			r.Content = make(map[string]*huma.MediaType)
		}
		r.Content[problemType] = &huma.MediaType{Schema: d.problem(status, codes)}
		switch status {
		case http.StatusUnauthorized:
			r.Headers = describeHeaders([]string{"WWW-Authenticate"}, nil)
		case http.StatusServiceUnavailable:
			r.Headers = describeHeaders([]string{"Retry-After"}, nil)
		}
	}
	if method == http.MethodHead {
		for _, r := range described.Responses {
			r.Content = nil
		}
	}
	return described
}

// named are codes as people read them.
func named(codes []string) string {
	known := slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return c == anyOfS3 })
	if len(known) < len(codes) {
		known = append(known, "or what the S3 of the region says")
	}
	return strings.Join(known, ", ") + "."
}

func (d *describer) content(c content) map[string]*huma.MediaType {
	var described map[string]*huma.MediaType
	for _, f := range c {
		m := &huma.MediaType{Schema: &huma.Schema{Type: "string", Format: "binary"}}
		switch len(f.types) {
		case 0:
		case 1:
			m.Schema = d.registry.Schema(f.types[0], true, "")
		default:
			m.Schema = &huma.Schema{}
			for _, t := range f.types {
				m.Schema.AnyOf = append(m.Schema.AnyOf, d.registry.Schema(t, true, ""))
			}
		}
		for name, value := range f.examples {
			if m.Examples == nil {
				m.Examples = make(map[string]*huma.Example)
			}
			m.Examples[name] = &huma.Example{Value: value}
		}
		if described == nil {
			described = make(map[string]*huma.MediaType)
		}
		described[f.mediaType] = m
	}
	return described
}

const problemType = "application/problem+json"

// problem is the schema of a problem with one status and some codes.
func (d *describer) problem(status int, codes []string) *huma.Schema {
	code := &huma.Schema{Type: "string"}
	for _, c := range codes {
		if c != anyOfS3 {
			code.Enum = append(code.Enum, c)
		}
	}
	if slices.Contains(codes, anyOfS3) {
		code.Examples, code.Enum = code.Enum, nil
	}
	return &huma.Schema{
		AllOf:      []*huma.Schema{d.registry.Schema(reflect.TypeFor[problemBody](), true, "")},
		Properties: map[string]*huma.Schema{"status": {Type: "integer", Enum: []any{status}}, "code": code},
	}
}

const schemaPrefix = "#/components/schemas/"

// schemaName is a Go type's name in the document: that of signBody is Sign.
func schemaName(t reflect.Type, _ string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := strings.NewReplacer("*", "Nullable_", "[", "_", "]", "").Replace(strings.TrimSuffix(t.Name(), "Body"))
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// finishSchemas says of each schema what reflection in huma leaves open or has otherwise: our slices are never null but where
// the tag says so; a pointer to a struct may be; a request has no fields but those listed, an answer may get more; what a
// request may leave out it may also have as null, which is how it is read.
func (d *describer) finishSchemas() {
	for name, schema := range d.registry.Map() {
		isRequest := d.requests[name]
		if !isRequest {
			schema.AdditionalProperties = nil
		}
		t := d.registry.TypeFromRef(schemaPrefix + name)
		for field := range t.Fields() {
			property, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			p := schema.Properties[property]
			switch kind := field.Type.Kind(); {
			case kind == reflect.Slice:
				p.Nullable = field.Tag.Get("nullable") == "true"
			case kind == reflect.Pointer && field.Type.Elem().Kind() == reflect.Struct:
				schema.Properties[property] = &huma.Schema{Description: p.Description, AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}}}
			case isRequest:
				p.Nullable = !slices.Contains(schema.Required, property)
			}
			if len(p.Enum) > 0 && p.Nullable {
				p.Enum = append(p.Enum, nil)
			}
		}
	}
}

// makeDocument is what GET /openapi.json answers.
func (a *API) makeDocument() ([]byte, error) {
	data, err := json.Marshal(describe(a.paths))
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return append(data, '\n'), nil
}

func (a *API) getDocument(w http.ResponseWriter, _ *http.Request) error {
	data, err := a.document()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(data) // the client may have left
	return nil
}
