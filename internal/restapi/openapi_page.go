package restapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed openapi_page.html
var pageHTML string

// pageView is the document as the template of the page takes it.
type pageView struct {
	Title, Intro string
	Problem      []pageRow
	Groups       []*pageGroup
}

type pageGroup struct {
	Name, What string
	Operations []pageOperation
}

type pageOperation struct {
	ID, Methods, Path, Summary, Detail, Access string
	Parameters                                 []pageRow
	Takes                                      []pageForm
	IsOptional                                 bool
	Answers                                    []pageAnswer
}

type pageAnswer struct {
	Status, What string
	Headers      []pageRow
	Forms        []pageForm
}

type pageForm struct {
	MediaType string
	Rows      []pageRow
	Examples  []pageExample
}

type pageExample struct{ Name, Text string }

// pageRow is a parameter, a header, or a field at some depth of a body.
type pageRow struct {
	Depth            int
	Name, Type, What string
	Required         bool
}

// makePage renders the document on the server: the page needs no script, so none is allowed on it.
func (a *API) makePage() ([]byte, error) {
	parsed, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	view, err := viewOf(describe(a.paths), a.paths)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := parsed.Execute(&page, view); err != nil {
		return nil, fmt.Errorf("render the page: %w", err)
	}
	return page.Bytes(), nil
}

// viewOf puts the operations into their groups, in the order of the table.
func viewOf(doc *huma.OpenAPI, paths []path) (pageView, error) {
	v := pageView{Title: doc.Info.Title, Intro: doc.Info.Description}
	groups := make(map[string]*pageGroup)
	for _, t := range doc.Tags {
		groups[t.Name] = &pageGroup{Name: t.Name, What: t.Description}
		v.Groups = append(v.Groups, groups[t.Name])
	}
	d := pageMaker{doc.Components.Schemas}
	v.Problem = d.rows(d.schemas.Map()[schemaName(reflect.TypeFor[problemBody](), "")], 0)
	for _, p := range paths {
		item := doc.Paths[p.pattern]
		for _, o := range []struct {
			methods   string
			operation *huma.Operation
		}{{"PUT", item.Put}, {"GET", item.Get}, {"POST", item.Post}, {"DELETE", item.Delete}} {
			if o.operation == nil {
				continue
			}
			if o.methods == "GET" && item.Head != nil {
				o.methods = readOnly
			}
			op, err := d.operation(item.Parameters, o.operation)
			if err != nil {
				return v, err
			}
			op.Methods, op.Path = o.methods, p.pattern
			g := groups[o.operation.Tags[0]]
			g.Operations = append(g.Operations, op)
		}
	}
	return v, nil
}

type pageMaker struct{ schemas huma.Registry }

func (d pageMaker) operation(ofPath []*huma.Param, o *huma.Operation) (pageOperation, error) {
	op := pageOperation{ID: o.OperationID, Summary: o.Summary, Detail: o.Description, Access: accessOf(o.Security)}
	for _, p := range slices.Concat(ofPath, o.Parameters) {
		op.Parameters = append(op.Parameters, pageRow{Name: p.Name, Type: p.In + ", " + d.typeOf(p.Schema), What: p.Description, Required: p.Required})
	}
	var errs error
	if o.RequestBody != nil {
		op.Takes, errs = d.forms(o.RequestBody.Content)
		op.IsOptional = !o.RequestBody.Required
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		r := o.Responses[status]
		answer := pageAnswer{Status: status, What: r.Description}
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			h := r.Headers[name]
			answer.Headers = append(answer.Headers, pageRow{Name: name, Type: d.typeOf(h.Schema), What: h.Description, Required: h.Required})
		}
		withoutProblem := maps.Clone(r.Content)
		delete(withoutProblem, problemType)
		var err error
		answer.Forms, err = d.forms(withoutProblem)
		errs = errors.Join(errs, err)
		op.Answers = append(op.Answers, answer)
	}
	return op, errs
}

func accessOf(security []map[string][]string) string {
	isOpen := len(security) == 0
	for _, s := range security {
		if _, api := s[withAPIToken]; api && !isOpen {
			return "any token"
		}
		isOpen = isOpen || len(s) == 0
	}
	switch {
	case len(security) > 1:
		return "any token, but on loopback none"
	case isOpen:
		return "no token"
	}
	return "admin token"
}

func (d pageMaker) forms(content map[string]*huma.MediaType) (forms []pageForm, errs error) {
	for _, mediaType := range slices.Sorted(maps.Keys(content)) {
		m := content[mediaType]
		f := pageForm{MediaType: mediaType, Rows: d.rows(m.Schema, 0)}
		for _, name := range slices.Sorted(maps.Keys(m.Examples)) {
			text, isText := m.Examples[name].Value.(string)
			if !isText {
				data, err := json.MarshalIndent(m.Examples[name].Value, "", "  ")
				errs, text = errors.Join(errs, err), string(data)
			}
			f.Examples = append(f.Examples, pageExample{name, text})
		}
		forms = append(forms, f)
	}
	return forms, errs
}

// rows are the fields of a schema and of what is in it, to the depth that a person follows.
func (d pageMaker) rows(s *huma.Schema, depth int) (rows []pageRow) {
	const deep = 4
	if s = d.resolve(s); s == nil || depth > deep {
		return nil
	}
	for _, other := range s.AnyOf {
		rows = append(rows, d.rows(other, depth)...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		rows = append(rows, pageRow{depth, name, d.typeOf(p), p.Description, slices.Contains(s.Required, name)})
		rows = append(rows, d.rows(p, depth+1)...)
	}
	if s.Items != nil {
		rows = append(rows, d.rows(s.Items, depth)...)
	}
	return rows
}

func (d pageMaker) resolve(s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return d.schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// typeOf is a schema in words.
func (d pageMaker) typeOf(s *huma.Schema) string {
	if s.Ref != "" {
		return strings.TrimPrefix(s.Ref, schemaPrefix)
	}
	var words []string
	for _, other := range s.AnyOf {
		words = append(words, d.typeOf(other))
	}
	switch {
	case len(words) > 0:
		return strings.Join(words, " or ")
	case len(s.Enum) > 0:
		for _, v := range s.Enum {
			if v != nil {
				words = append(words, fmt.Sprint(v))
			}
		}
		words = []string{strings.Join(words, " | ")}
	case s.Items != nil:
		words = []string{"list of " + d.typeOf(s.Items)}
	case s.Format == "date-time":
		words = []string{"time"}
	default:
		words = []string{s.Type}
		if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
			words = []string{"map to " + d.typeOf(of)}
		}
	}
	if s.Minimum != nil && s.Maximum != nil {
		words = append(words, fmt.Sprintf("%v to %v", *s.Minimum, *s.Maximum))
	}
	if s.Nullable {
		words = append(words, "or null")
	}
	return strings.Join(words, " ")
}

func (a *API) getPage(w http.ResponseWriter, _ *http.Request) error {
	page, err := a.page()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+hashOfStyle(page)+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(page) // the client may have left
	return nil
}

// hashOfStyle names the one style that is allowed on the page: its own.
func hashOfStyle(page []byte) string {
	_, rest, _ := bytes.Cut(page, []byte("<style>"))
	style, _, _ := bytes.Cut(rest, []byte("</style>"))
	sum := sha256.Sum256(style)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
