package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/config"
)

const readmeFile = "../../README.md"

var update = flag.Bool("update", false, "write the documents anew instead of comparing them")

// The table stands between these two lines.
const (
	tableBegin = "<!-- configuration: written by make docs -->\n"
	tableEnd   = "<!-- end of configuration -->\n"
)

func TestReadmeListsEveryVariableAsTheGatewayReadsIt(t *testing.T) {
	content, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), tableBegin)
	got, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		t.Fatalf("README.md lacks the lines %q and %q", tableBegin, tableEnd)
	}
	want := table(config.Reference()) + bucketsTable(config.BucketReference())
	if *update {
		if err := os.WriteFile(readmeFile, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("make docs writes the table of README.md anew (-want +got):\n%s", diff)
	}
}

// table writes the variables in Markdown.
func table(variables []config.Variable) string {
	var b strings.Builder
	b.WriteString("\n| Variable | Default | What it is for | Allowed |\n| --- | --- | --- | --- |\n")
	for _, v := range variables {
		value := ""
		if v.Default != "" {
			value = "`" + v.Default + "`"
		}
		help := v.Help
		if v.Secret {
			help += " Secret: never shown; `" + v.Name + "_FILE` may name a file that holds it."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v.Name, value, cell(help), cell(v.Allowed))
	}
	b.WriteString("\n")
	return b.String()
}

// bucketsTable writes what a bucket of a file's list says.
func bucketsTable(keys []config.Variable) string {
	var b strings.Builder
	b.WriteString("Of each bucket in the list `buckets` of a file:\n\n| Key | What it is for | Allowed |\n| --- | --- | --- |\n")
	for _, v := range keys {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Key, cell(v.Help), cell(v.Allowed))
	}
	b.WriteString("\n")
	return b.String()
}

// cell keeps a text from ending its cell, or being taken for HTML.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(text)
}
