package restapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gnew/tandem/internal/s3op"
)

// handler answers a request. It has one of the two.
type handler struct {
	// ofGateway is about the gateway as a whole.
	ofGateway func(http.ResponseWriter, *http.Request) error
	// ofBucket is about the bucket that the request names. That a request may name one, the document has from here too.
	ofBucket func(http.ResponseWriter, *http.Request, Bucket) error
}

func ofGateway(serve func(http.ResponseWriter, *http.Request) error) handler {
	return handler{ofGateway: serve}
}

func ofBucket(serve func(http.ResponseWriter, *http.Request, Bucket) error) handler {
	return handler{ofBucket: serve}
}

// operation is something that can be asked for.
type operation struct {
	// methods are separated by spaces.
	methods string
	// path has at most one {parameter}, one of pathParameter's.
	path string
	// name is the label of the metrics: one of a closed set.
	name  string
	area  Area
	serve handler
	about about
}

// readOnly are the methods of what is there to be read. HEAD is answered as GET is; the server leaves the body out.
const readOnly = "GET HEAD"

// path is one path of the front, with its operations by method.
type path struct {
	pattern       string
	before, after string // the parameter, literally
	parameter     string // "" where there is none
	isNumber      bool
	operations    map[string]operation
}

// pathsOf puts the operations of each path together, in the order of the table.
func pathsOf(operations []operation) []path {
	var paths []path
	index := make(map[string]int)
	for _, op := range operations {
		i, ok := index[op.path]
		if !ok {
			i = len(paths)
			index[op.path], paths = i, append(paths, newPath(op.path))
		}
		for method := range strings.FieldsSeq(op.methods) {
			if _, isTaken := paths[i].operations[method]; isTaken {
				panic(method + " " + op.path + " is there twice") // only a mistake in our own table
			}
			paths[i].operations[method] = op
		}
	}
	return paths
}

func newPath(pattern string) path {
	p := path{pattern: pattern, before: pattern, operations: make(map[string]operation)}
	if before, rest, ok := strings.Cut(pattern, "{"); ok {
		p.before = before
		p.parameter, p.after, _ = strings.Cut(rest, "}")
		p.isNumber = pathParameter(p.parameter).Schema.Type == "integer"
	}
	return p
}

// match reads an escaped path by hand, because http.ServeMux would redirect keys such as "a//b" and "..". value is the
// parameter, byte for byte: a number from 1 on, or any text at all, slashes included.
func (p *path) match(escaped string) (value string, ok bool) {
	if p.parameter == "" {
		return "", escaped == p.pattern
	}
	if value, ok = strings.CutPrefix(escaped, p.before); ok {
		value, ok = strings.CutSuffix(value, p.after)
	}
	if ok && p.isNumber {
		n, err := strconv.ParseInt(value, 10, 64)
		ok = err == nil && n > 0
	}
	return value, ok
}

// find recognises a request by path and method, and leaves the parameter of its path with it, still escaped.
func (a *API) find(r *http.Request) (operation, error) {
	escaped := r.URL.EscapedPath()
	for _, p := range a.paths {
		value, ok := p.match(escaped)
		if !ok {
			continue
		}
		op, ok := p.operations[r.Method]
		if !ok {
			return operation{name: "Unknown"}, &methodError{r.Method, p.operations}
		}
		if p.parameter != "" {
			r.SetPathValue(p.parameter, value)
		}
		return op, nil
	}
	var patterns []string
	for _, p := range a.paths {
		patterns = append(patterns, p.pattern)
	}
	return operation{name: "Unknown"}, s3op.NewError(s3op.NotFound, "NoSuchPath",
		fmt.Sprintf("there is nothing at this path; there is %s, and /docs says what each is for", strings.Join(patterns, ", ")))
}

// pathText is the parameter of a path that is a text, byte for byte what was escaped.
func pathText(r *http.Request, parameter string) (string, error) {
	text, err := url.PathUnescape(r.PathValue(parameter))
	if err != nil {
		return "", s3op.WrapError(s3op.Invalid, "InvalidURI", "the path is not percent-encoded as it should be", err)
	}
	return text, nil
}

// withKey hands on the bucket and the key that a request is about.
func withKey(serve func(w http.ResponseWriter, r *http.Request, b Bucket, key string) error) handler {
	return ofBucket(func(w http.ResponseWriter, r *http.Request, b Bucket) error {
		key, err := pathText(r, "key")
		if err != nil {
			return err
		}
		return serve(w, r, b, key)
	})
}

// withName hands on the name that a path has.
func withName(serve func(w http.ResponseWriter, r *http.Request, name string) error) handler {
	return ofGateway(func(w http.ResponseWriter, r *http.Request) error {
		name, err := pathText(r, "name")
		if err != nil {
			return err
		}
		return serve(w, r, name)
	})
}

// withNumber hands on the parameter of a path that is a number.
func withNumber(parameter string, serve func(w http.ResponseWriter, r *http.Request, n int64) error) handler {
	return ofGateway(func(w http.ResponseWriter, r *http.Request) error {
		n, err := strconv.ParseInt(r.PathValue(parameter), 10, 64)
		if err != nil {
			return err // match has read it before
		}
		return serve(w, r, n)
	})
}
