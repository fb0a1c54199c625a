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
	for status, codes := range merge(op.area.fails(), op.about.fails) {
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
		for i := range t.NumField() {
			field := t.Field(i)
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

// What examples have in common.
const (
	exampleKey  = "docs/readme.md"
	exampleETag = "1fe0ed139448339aa95c856de3282ba4"
	exampleTime = "2026-03-01T12:00:00.123Z"
	// What checksums of "# Read me\n" are in headers.
	exampleMD5    = "H+DtE5RIM5qpXIVt4ygrpA=="
	exampleSHA256 = "4EgA5jmrPuWmCBaVcHyvURDbm4RWkoMcNi6GPZFpWTg="
)

func exampleWrite() writeBody {
	return writeBody{exampleKey, exampleETag, 10, "text/markdown", "primary", "1-1", map[string]string{"secondary": "pending"}}
}

func text() *huma.Schema { return &huma.Schema{Type: "string"} }

func enum(values ...any) *huma.Schema { return &huma.Schema{Type: "string", Enum: values} }

func between(least, most float64) *huma.Schema {
	return &huma.Schema{Type: "integer", Minimum: &least, Maximum: &most}
}

// flagSchema is what flag takes.
func flagSchema() *huma.Schema { return enum("1", "true", "0", "false") }

func query(name, what string, schema *huma.Schema, example any) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: what, Schema: schema, Example: example}
}

func header(name, what string, schema *huma.Schema, example any) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: what, Schema: schema, Example: example}
}

// pathParameter is one that paths may have; the type of its schema says how it is read.
func pathParameter(name string) *huma.Param {
	p := &huma.Param{Name: name, In: "path", Required: true}
	number := &huma.Schema{Type: "integer", Format: "int64", Minimum: new(1.0)}
	switch name {
	case "key":
		p.Description, p.Schema, p.Example = "The object's key: 1 to 1024 bytes of UTF-8.", &huma.Schema{Type: "string", MinLength: new(1), MaxLength: new(1024)}, exampleKey
	case "name":
		p.Description, p.Schema, p.Example = "The region's name.", text(), "secondary"
	case "epoch":
		p.Description, p.Schema, p.Example = "The epoch that the promotion began.", number, 2
	case "id":
		p.Description, p.Schema, p.Example = "The conflict's number.", number, 2
	default:
		panic("nothing is said of the path parameter " + name) // only a mistake in our own table
	}
	return p
}

// maxListed is the most entries that a page of a listing has.
const maxListed = 1000

func pageParameters() []*huma.Param {
	return []*huma.Param{
		query("after", "Only what is behind it: the next of the page before.", &huma.Schema{Type: "integer", Format: "int64", Minimum: new(0.0)}, 0),
		query("limit", "How many at most. Left out, as many as may be.", between(1, adminPage), 100),
	}
}

func allowStale() *huma.Param {
	return header("X-Tandem-Allow-Stale", "Take an older version rather than a 503. Which one it was, X-Tandem-Freshness says.", flagSchema(), "true")
}

// storedHeaders are kept with an object.
func storedHeaders() []*huma.Param {
	return []*huma.Param{
		header("Content-Type", "The object's media type.", text(), "text/markdown"),
		header("Cache-Control", "Stored with the object.", text(), "max-age=60"),
		header("Content-Disposition", "Stored with the object.", text(), "inline"),
		header("Content-Encoding", "Stored with the object.", text(), "identity"),
		header("Content-Language", "Stored with the object.", text(), "en"),
		header("Expires", "Stored with the object.", text(), "Mon, 01 Mar 2027 12:00:00 GMT"),
		header("X-Amz-Storage-Class", "Stored with the object; the region has to know it.", text(), "STANDARD"),
		header("X-Amz-Website-Redirect-Location", "Stored with the object.", text(), "/docs/index.html"),
		header("X-Amz-Tagging", "The object's tags, written as a query.", text(), "team=docs"),
	}
}

// checksumHeaders are verified.
func checksumHeaders() []*huma.Param {
	return []*huma.Param{
		header("Content-MD5", "Of the body, in base64. What does not match is refused.", text(), exampleMD5),
		header("X-Amz-Checksum-Sha256", "Likewise; so are X-Amz-Checksum-Crc32, -Crc32c, -Crc64nvme and -Sha1.", text(), exampleSHA256),
	}
}

func writeConditions() []*huma.Param {
	return []*huma.Param{
		header("If-Match", "Only where the object has this ETag.", text(), nil),
		header("If-None-Match", "Only where there is no such object.", enum("*"), "*"),
	}
}

func waitHeaders() []*huma.Param {
	return []*huma.Param{
		header(waitHeader, "Which regions are to have the write before it is answered: all, a number of them, or their names with commas between them.", text(), "all"),
		header(waitTimeoutHeader, "How long to wait for them: 1ms to 1h, written like 500ms or 30s; a plain number is seconds. Left out, 30s.", text(), nil),
	}
}

// notYetThere answers a write that is acknowledged, and that not all have who were to have it.
func notYetThere(always ...string) response {
	return response{
		what:   "It is acknowledged as with the other status, and the wait has ended before every region had it that was to.",
		always: append(always, "X-Tandem-Region", "X-Tandem-Version", regionsHeader), content: jsonOf(exampleWrite()),
	}
}

func readHeaders() []*huma.Param {
	return []*huma.Param{
		header("Range", "The part that is wanted.", text(), "bytes=2-5"),
		header("If-Range", "The part only while the object has this ETag, else the whole.", text(), `"`+exampleETag+`"`),
		header("If-Match", "Only where the object has this ETag.", text(), "*"),
		header("If-None-Match", "Only where the object has another ETag.", text(), `"`+exampleETag+`"`),
		header("If-Modified-Since", "Only where the object was changed since.", text(), "Sun, 01 Mar 2026 12:00:00 GMT"),
		header("If-Unmodified-Since", "Only where the object was not changed since.", text(), "Sun, 28 Feb 2077 12:00:00 GMT"),
	}
}

func objectHeaders() []string { return []string{"ETag", "X-Tandem-Region", "X-Tandem-Freshness"} }

func objectSometimes() []string {
	return []string{
		"Accept-Ranges", "Content-Length", "Last-Modified", "X-Tandem-Version", "X-Tandem-Fallback", "X-Tandem-Repair",
		"X-Amz-Mp-Parts-Count", "X-Amz-Tagging-Count", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
		"X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location",
	}
}

// answerHeader is what the document says of a header of an answer.
func answerHeader(name string) *huma.Header {
	describe := func(what string, schema *huma.Schema) *huma.Header {
		return &huma.Header{Description: what, Schema: schema}
	}
	switch name {
	case "X-Tandem-Region":
		return describe("The region that answered, or took the write.", text())
	case "X-Tandem-Version":
		return describe("The version: epoch and number of the write. Of a read, where it is known without asking the index.", &huma.Schema{Type: "string", Pattern: "^[0-9]+-[0-9]+$"})
	case regionsHeader:
		return describe("The regions that have the write, where it was to wait for some.", text())
	case "X-Tandem-Freshness":
		return describe("Whether it is the acknowledged version.", enum("current", "stale", "unknown"))
	case "X-Tandem-Fallback":
		return describe("A replica answered because the active did not.", enum("true"))
	case "X-Tandem-Repair":
		return describe("What became of the repair that was asked for.", enum("none", "queued", "done"))
	case "ETag":
		return describe("The object's ETag, quoted.", text())
	case "Location":
		return describe("The path of the object.", text())
	case "Accept-Ranges":
		return describe("That Range is honoured.", enum("bytes"))
	case "Content-Length":
		return describe("In bytes.", &huma.Schema{Type: "string", Pattern: "^[0-9]+$"})
	case "Content-Range":
		return describe("Which part it is.", text())
	case "Content-Disposition":
		return describe("A name for what is answered, as a file.", text())
	case "Content-Encoding", "Content-Language", "X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location":
		return describe("As stored with the object.", text())
	case "Last-Modified":
		return describe("When the region got it.", text())
	case "Cache-Control":
		return describe("Whether the answer may be kept.", text())
	case "Expires":
		return describe("Until when the answer may be kept.", text())
	case "X-Amz-Mp-Parts-Count":
		return describe("How many parts the object has, where one was asked for.", text())
	case "X-Amz-Tagging-Count":
		return describe("How many tags the object has.", text())
	case "Retry-After":
		return describe("In how many seconds to try again.", text())
	case "WWW-Authenticate":
		return describe("That a bearer token is needed.", text())
	case "Content-Security-Policy":
		return describe("That the page loads nothing and runs nothing.", text())
	}
	panic("nothing is said of the header " + name) // only a mistake in our own table
}

func describeHeaders(always, sometimes []string) map[string]*huma.Header {
	headers := make(map[string]*huma.Header)
	for _, name := range slices.Concat(always, sometimes) {
		headers[name] = answerHeader(name)
		headers[name].Required = slices.Contains(always, name)
	}
	return headers
}
