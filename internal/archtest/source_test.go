package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gnew/tandem"

// file is one Go file of the module, whatever its build tags.
type file struct {
	name string // from the root of the module, as in "internal/route/route.go"
	pkg  string // the folder
	test bool
	// imports are paths; those of the module are folders, as pkg is.
	imports []string
	uses    []use
	inits   bool
	doc     bool
}

// use is a name of an imported package, as in http.Header.
type use struct {
	path, name string
	at         string
}

// source reads every Go file of the module.
func source(t *testing.T) []file {
	t.Helper()
	var files []file
	root := os.DirFS(moduleRoot(t))
	for _, top := range []string{"cmd", "internal"} {
		err := fs.WalkDir(root, top, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
				return err
			}
			content, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			f, err := parse(name, content)
			files = append(files, f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func parse(name string, content []byte) (file, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), doc: parsed.Doc != nil}
	local := make(map[string]string) // the name in this file, to the path
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		imported = strings.TrimPrefix(imported, module+"/")
		f.imports = append(f.imports, imported)
		called := path.Base(imported)
		if spec.Name != nil {
			called = spec.Name.Name
		}
		local[called] = imported
	}
	for _, d := range parsed.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			f.inits = true
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && local[x.Name] != "" {
				f.uses = append(f.uses, use{local[x.Name], s.Sel.Name, fset.Position(s.Pos()).String()})
			}
		}
		return true
	})
	return f, nil
}

// isOurs reports whether an import is a package of the module.
func isOurs(imported string) bool {
	return strings.HasPrefix(imported, "internal/") || strings.HasPrefix(imported, "cmd/")
}

// reachable returns the packages of the module that are in the binary.
func reachable(files []file) []string {
	found := []string{"cmd/tandem"}
	for i := 0; i < len(found); i++ {
		for _, f := range files {
			if f.pkg != found[i] || f.test {
				continue
			}
			for _, imported := range f.imports {
				if isOurs(imported) && !slices.Contains(found, imported) {
					found = append(found, imported)
				}
			}
		}
	}
	return found
}

// matches reports whether a package or path is in the list, which may name all
// below a folder with "/...".
func matches(list []string, name string) bool {
	return slices.ContainsFunc(list, func(pattern string) bool {
		if under, ok := strings.CutSuffix(pattern, "/..."); ok {
			return name == under || strings.HasPrefix(name, under+"/")
		}
		return name == pattern
	})
}
