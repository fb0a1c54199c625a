package archtest_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(moduleRoot(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestDocumentsNameTestsThatExist(t *testing.T) {
	tests := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	parts := regexp.MustCompile(`(?m)^\s*\{"([A-Z]\w+)", \w+(\(\))?\},$`)
	for _, f := range source(t) {
		content := read(t, f.name)
		if f.test {
			for _, found := range declared.FindAllStringSubmatch(content, -1) {
				tests[found[1]] = true
			}
		}
		if f.pkg == "internal/journal/journaltest" {
			for _, found := range parts.FindAllStringSubmatch(content, -1) {
				tests[found[1]] = true
			}
		}
	}
	for _, name := range []string{"docs/SEMANTICS.md", "docs/brief.md"} {
		page := read(t, name)
		for _, named := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(page, -1) {
			if !tests[named[1]] {
				t.Errorf("%s names %s, which does not exist", name, named[1])
			}
		}
		for _, named := range regexp.MustCompile("`([A-Z]\\w+)/([A-Z]\\w+)`").FindAllStringSubmatch(page, -1) {
			if !tests[named[1]] || !tests[named[2]] {
				t.Errorf("%s names %s/%s, which is not in journaltest", name, named[1], named[2])
			}
		}
		for _, named := range regexp.MustCompile("`script (\\w+)`").FindAllStringSubmatch(page, -1) {
			read(t, "cmd/tandem/testdata/script/"+named[1]+".txtar")
		}
		for _, named := range regexp.MustCompile("history `(\\w+)`").FindAllStringSubmatch(page, -1) {
			read(t, "internal/sim/testdata/histories/"+named[1]+".txt")
		}
	}
}

func TestArchitectureListsEveryPackage(t *testing.T) {
	_, rooms, _ := strings.Cut(read(t, "ARCHITECTURE.md"), "\n## Rooms\n")
	rooms, _, _ = strings.Cut(rooms, "\n## ")
	for _, f := range source(t) {
		line := regexp.MustCompile(`(?m)^ *(cmd/)?` + path.Base(f.pkg) + ` {2,}\S`)
		if !line.MatchString(rooms) {
			t.Errorf("ARCHITECTURE.md says nothing of %s", f.pkg)
		}
	}
}

func TestEveryDirectDependencyHasItsReason(t *testing.T) {
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)
	page := read(t, "docs/adr/dependencies.md")
	var want []string
	for _, found := range direct.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		want = append(want, found[1])
		if !strings.Contains(page, "| `"+found[1]+"` |") {
			t.Errorf("docs/adr/dependencies.md does not say why %s is there", found[1])
		}
	}
	for _, found := range regexp.MustCompile("(?m)^\\| `(\\S+)` \\|").FindAllStringSubmatch(page, -1) {
		if !slices.Contains(want, found[1]) {
			t.Errorf("docs/adr/dependencies.md has %s, which go.mod does not require directly", found[1])
		}
	}
}

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	root := os.DirFS(moduleRoot(t))
	pages, err := fs.Glob(root, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		more, err := fs.Glob(root, pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, page := range pages {
		for _, found := range link.FindAllStringSubmatch(read(t, page), -1) {
			target := path.Join(path.Dir(page), found[1])
			if _, err := fs.Stat(root, target); err != nil {
				t.Errorf("%s links to %s, which is not there", page, found[1])
			}
		}
	}
}
