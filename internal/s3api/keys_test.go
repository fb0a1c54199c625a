package s3api_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/s3api"
	"github.com/gnew/tandem/internal/s3op"
)

// The callers of the tests below.
var (
	admin       = s3api.Key{ID: "admin", Role: s3api.Admin}
	readWrite   = s3api.Key{ID: "read-write", Role: s3api.ReadWrite}
	readOnly    = s3api.Key{ID: "read-only", Role: s3api.ReadOnly}
	ofBucket    = s3api.Key{ID: "of one bucket", Role: s3api.ReadWrite, Buckets: []string{"x", "bkt"}}
	ofOther     = s3api.Key{ID: "of another bucket", Role: s3api.Admin, Buckets: []string{"other", "bktb"}}
	ofDocs      = s3api.Key{ID: "of docs/", Role: s3api.ReadWrite, Prefixes: []string{"pub/", "docs/"}}
	readsDocs   = s3api.Key{ID: "reads docs/", Role: s3api.ReadOnly, Buckets: []string{"bkt"}, Prefixes: []string{"docs/"}}
	ofNoRole    = s3api.Key{ID: "of no role"}
	ofOtherRole = s3api.Key{ID: "of another role", Role: "Admin"}
	callers     = []s3api.Key{admin, readWrite, readOnly, ofBucket, ofOther, ofDocs, readsDocs, ofNoRole, ofOtherRole}
)

// asked are the kinds of request that roles and bounds tell apart, with the path and query of one, and who may.
var asked = []struct {
	kind, path, query string
	classes           []s3op.Class
	isListing         bool
	may               []s3api.Key
}{
	{"the buckets", "/", "", []s3op.Class{s3op.ReadService}, false, []s3api.Key{admin, readWrite, readOnly, ofBucket, ofOther, ofDocs, readsDocs}},
	{"a read of an object below the prefix", "/bkt/docs/k", "", []s3op.Class{s3op.ReadObject}, false,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket, ofDocs, readsDocs}},
	{"a read of the object that is called as the prefix", "/bkt/docs%2F", "", []s3op.Class{s3op.ReadObject}, false,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket, ofDocs, readsDocs}},
	{"a read of an object elsewhere", "/bkt/docs", "", []s3op.Class{s3op.ReadObject}, false,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket}},
	{"a read of an object whose key only looks as if it were there", "/bkt//docs/k", "", []s3op.Class{s3op.ReadObject}, false,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket}},
	{"a read of an object of another bucket", "/bktb/docs/k", "", []s3op.Class{s3op.ReadObject}, false,
		[]s3api.Key{admin, readWrite, readOnly, ofOther, ofDocs}},
	{"a write below the prefix", "/bkt/docs/k", "", []s3op.Class{s3op.WriteObject, s3op.StageMultipart}, false, []s3api.Key{admin, readWrite, ofBucket, ofDocs}},
	{"a write elsewhere", "/bkt/other/docs/k", "", []s3op.Class{s3op.WriteObject, s3op.StageMultipart}, false, []s3api.Key{admin, readWrite, ofBucket}},
	{"a write to another bucket", "/bktb/docs/k", "", []s3op.Class{s3op.WriteObject, s3op.StageMultipart}, false, []s3api.Key{admin, readWrite, ofOther, ofDocs}},
	{"what the bucket is", "/bkt", "", []s3op.Class{s3op.ReadBucket}, false, []s3api.Key{admin, readWrite, readOnly, ofBucket, ofDocs, readsDocs}},
	{"what another bucket is", "/bktb", "", []s3op.Class{s3op.ReadBucket}, false, []s3api.Key{admin, readWrite, readOnly, ofOther, ofDocs}},
	{"a change of the bucket", "/bkt", "", []s3op.Class{s3op.WriteBucket}, false, []s3api.Key{admin, readWrite, ofBucket}},
	{"a listing of the prefix", "/bkt", "prefix=docs%2F", []s3op.Class{s3op.ReadBucket}, true,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket, ofDocs, readsDocs}},
	{"a listing below it", "/bkt", "prefix=docs/a&delimiter=/", []s3op.Class{s3op.ReadBucket}, true,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket, ofDocs, readsDocs}},
	{"a listing above it", "/bkt", "prefix=docs&start-after=docs/a&key-marker=docs/", []s3op.Class{s3op.ReadBucket}, true,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket}},
	{"a listing of everything", "/bkt", "", []s3op.Class{s3op.ReadBucket}, true, []s3api.Key{admin, readWrite, readOnly, ofBucket}},
	{"a listing of an empty prefix", "/bkt", "prefix=", []s3op.Class{s3op.ReadBucket}, true, []s3api.Key{admin, readWrite, readOnly, ofBucket}},
	{"a listing of two prefixes", "/bkt", "prefix=docs/&prefix=", []s3op.Class{s3op.ReadBucket}, true, []s3api.Key{admin, readWrite, readOnly, ofBucket}},
	{"a listing of a prefix of another name", "/bkt", "Prefix=docs/", []s3op.Class{s3op.ReadBucket}, true,
		[]s3api.Key{admin, readWrite, readOnly, ofBucket}},
}

var listings = []s3op.Operation{"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"}

func isDenied(err error) bool {
	e, ok := errors.AsType[*s3op.Error](err)
	return ok && e.Code == "AccessDenied"
}

// Every operation that S3 has is asked for by every caller, in every place that fits it.
func TestARoleAndItsBoundsDecideOnEveryOperation(t *testing.T) {
	seen := make(map[s3op.Operation]bool)
	for _, a := range asked {
		for _, op := range s3op.Operations() {
			isOfMany := op.Operation == "DeleteObjects" || op.Operation == "PostObject"
			if !slices.Contains(a.classes, op.Class) || isOfMany || slices.Contains(listings, op.Operation) != a.isListing {
				continue
			}
			seen[op.Operation] = true
			parameters := []string{a.query}
			if op.Subresource != "" {
				parameters = append(parameters, op.Subresource+"=v")
			}
			if op.Parameter != "" {
				parameters = append(parameters, op.Parameter+map[bool]string{false: "=1"}[strings.Contains(op.Parameter, "=")])
			}
			target := a.path + "?" + strings.Join(slices.DeleteFunc(parameters, func(p string) bool { return p == "" }), "&")
			h := http.Header{}
			if op.Header != "" {
				h.Set(op.Header, "/bkt/docs/source")
			}
			for _, caller := range callers {
				got, err := s3api.Authorise(caller, op.Method, target, h)
				if got != op.Operation || err != nil && !isDenied(err) {
					t.Fatalf("%s %s is %s (%v), want %s", op.Method, target, got, err, op.Operation)
				}
				may := slices.ContainsFunc(a.may, func(k s3api.Key) bool { return k.ID == caller.ID })
				if (err == nil) != may {
					t.Errorf("%s (%s): the key %q: got %v, want it let in: %v", op.Operation, a.kind, caller.ID, err, may)
				}
			}
		}
	}
	for _, op := range s3op.Operations() {
		isJudged := op.Class != s3op.Refused && op.Class != s3op.Preflight
		if isJudged && !seen[op.Operation] && op.Operation != "DeleteObjects" && op.Operation != "PostObject" {
			t.Errorf("nothing is said of %s, of class %s", op.Operation, op.Class)
		}
	}
}

// Which keys it deletes only its document says; deleteObjects judges each.
func TestOfManyDeletesTheRoleIsJudgedFirst(t *testing.T) {
	for _, caller := range callers {
		_, err := s3api.Authorise(caller, "POST", "/bkt?delete", http.Header{})
		if may := slices.Contains([]string{"admin", "read-write", "of one bucket", "of docs/"}, caller.ID); (err == nil) != may {
			t.Errorf("the key %q: got %v, want it let in: %v", caller.ID, err, may)
		}
		_, err = s3api.Authorise(caller, "POST", "/bkt", http.Header{}) // a form, whose key is in its body
		if may := slices.Contains([]string{"admin", "read-write", "of one bucket"}, caller.ID); (err == nil) != may {
			t.Errorf("a form with the key %q: got %v, want it let in: %v", caller.ID, err, may)
		}
	}
}

func TestACopyReadsOnlyWhatItsCallerMayRead(t *testing.T) {
	for _, tt := range []struct {
		source string
		may    []s3api.Key
	}{
		{"/bkt/docs/k", []s3api.Key{admin, readWrite, ofBucket, ofDocs}},
		{"bkt/docs%2Fk?versionId=v", []s3api.Key{admin, readWrite, ofBucket, ofDocs}},
		{"bkt/doc%73/k", []s3api.Key{admin, readWrite, ofBucket, ofDocs}},
		{"bkt/docs", []s3api.Key{admin, readWrite, ofBucket}},
		{"bkt//docs/k", []s3api.Key{admin, readWrite, ofBucket}},
		{"bkt/other?versionId=docs/", []s3api.Key{admin, readWrite, ofBucket}},
		{"other/docs/k", []s3api.Key{admin, readWrite, ofOther, ofDocs}},
	} {
		for _, caller := range []s3api.Key{admin, readWrite, ofBucket, ofOther, ofDocs} {
			may := slices.ContainsFunc(tt.may, func(k s3api.Key) bool { return k.ID == caller.ID })
			if err := s3api.AuthoriseSource(caller, tt.source); (err == nil) != may || err != nil && !isDenied(err) {
				t.Errorf("%s, by the key %q: got %v, want it let in: %v", tt.source, caller.ID, err, may)
			}
		}
	}
}
