package s3op_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gnew/tandem/internal/s3op"
)

const compatibilityFile = "../../docs/s3-compat.md"

var update = flag.Bool("update", false, "write the documents anew instead of comparing them")

// The table stands between these two lines.
const (
	tableBegin = "<!-- operations: written by make docs -->\n"
	tableEnd   = "<!-- end of operations -->\n"
)

func TestCompatibilityPageHasEveryOperation(t *testing.T) {
	content, err := os.ReadFile(compatibilityFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), tableBegin)
	got, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		t.Fatalf("s3-compat.md lacks the lines %q and %q", tableBegin, tableEnd)
	}
	want := table(s3op.Operations())
	if *update {
		if err := os.WriteFile(compatibilityFile, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("make docs writes the table of s3-compat.md anew (-want +got):\n%s", diff)
	}
}

// table writes the operations in Markdown.
func table(operations []s3op.Info) string {
	var b strings.Builder
	b.WriteString("\n| Operation | Request | Class | What becomes of it |\n| --- | --- | --- | --- |\n")
	for _, o := range operations {
		fate := "passed on"
		switch {
		case o.Class == s3op.Refused:
			fate = o.Why
		case o.Class == s3op.ReadService || o.Class == s3op.Preflight:
			fate = "answered"
		case o.Operation == "CreateBucket", o.Operation == "GetBucketLocation":
			fate = "answered: the buckets are configured"
		case o.Class == s3op.WriteBucket:
			fate = "not carried to the regions yet: 501"
		case o.Operation == "PutObjectAcl", o.Operation == "PutObjectLegalHold", o.Operation == "PutObjectRetention":
			fate = "not copied to the other regions yet: 501"
		case o.Operation == "PostObject":
			fate = "not yet: 501; presign a PUT"
		case o.ActiveOnly:
			fate = "passed on to the active alone"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", o.Operation, request(o), o.Class, fate)
	}
	b.WriteString("\n")
	return b.String()
}

// request writes what an operation's request looks like.
func request(o s3op.Info) string {
	path := map[s3op.Level]string{s3op.ServiceLevel: "/", s3op.BucketLevel: "/bucket", s3op.ObjectLevel: "/bucket/key"}[o.Level]
	query := strings.Trim(o.Subresource+"&"+o.Parameter, "&")
	if query != "" {
		query = "?" + query
	}
	text := o.Method + " " + path + query
	if o.Header != "" {
		text += " " + o.Header + ":"
	}
	return text
}
