package s3op_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gnew/tandem/internal/s3op"
)

// classify takes a target as clients write it: "/", "/b" or "/b/k", with its query.
func classify(method, target string, headers ...string) (s3op.Info, error) {
	path, query, _ := strings.Cut(target, "?")
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	h := http.Header{}
	for _, name := range headers {
		h.Set(name, "x")
	}
	return s3op.Classify(method, bucket, key, query, h)
}

func TestRequestsAreTakenForTheOperationThatS3Takes(t *testing.T) {
	for _, tt := range []struct {
		method, target, header string
		want                   s3op.Operation
		class                  s3op.Class
	}{
		{"GET", "/", "", "ListBuckets", s3op.ReadService},
		{"GET", "/?x-id=ListBuckets&prefix=a", "", "ListBuckets", s3op.ReadService},
		{"GET", "/b", "", "ListObjects", s3op.ReadBucket},
		{"GET", "/b?list-type=2", "", "ListObjectsV2", s3op.ReadBucket},
		{"GET", "/b?list-type=%32", "", "ListObjectsV2", s3op.ReadBucket},
		{"GET", "/b?list-type=1&prefix=acl", "", "ListObjects", s3op.ReadBucket},
		{"GET", "/b?list-type", "", "ListObjects", s3op.ReadBucket},
		{"GET", "/b?versions&list-type=2", "", "ListObjectVersions", s3op.ReadBucket},
		{"GET", "/b?uploads&prefix=uploadId", "", "ListMultipartUploads", s3op.ReadBucket},
		{"HEAD", "/b?list-type=2", "", "HeadBucket", s3op.ReadBucket},
		{"POST", "/b", "Content-Type", "PostObject", s3op.WriteObject},
		{"POST", "/b?delete", "", "DeleteObjects", s3op.WriteObject},
		{"GET", "/b/k?versionId=v&partNumber=1&response-expires=0", "", "GetObject", s3op.ReadObject},
		{"GET", "/b/k?uploadId=u", "", "ListParts", s3op.ReadObject},
		{"PUT", "/b/k", copySource, "CopyObject", s3op.WriteObject},
		{"PUT", "/b/k?X-Amz-Signature=0&X-Amz-Acl=private&x-mine", "", "PutObject", s3op.WriteObject},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "", "UploadPart", s3op.StageMultipart},
		{"PUT", "/b/k?uploadId=u&partNumber=1", copySource, "UploadPartCopy", s3op.StageMultipart},
		{"POST", "/b/k?uploads", "", "CreateMultipartUpload", s3op.StageMultipart},
		{"POST", "/b/k?uploadId=u", "", "CompleteMultipartUpload", s3op.WriteObject},
		{"POST", "/b/k?select&select-type=2", "", "SelectObjectContent", s3op.ReadObject},
		{"DELETE", "/b/k?versionId=v", "", "DeleteObject", s3op.WriteObject},
		{"GET", "/b?metrics", "", "ListBucketMetricsConfigurations", s3op.ReadBucket},
		{"GET", "/b?id=&metrics", "", "GetBucketMetricsConfiguration", s3op.ReadBucket},
		// In S3 neither the value nor the number of a sub-resource counts; its case does.
		{"PUT", "/b/k?tagging=no", "", "PutObjectTagging", s3op.WriteObject},
		{"PUT", "/b/k?&tagging&&tagging=&", "", "PutObjectTagging", s3op.WriteObject},
		{"PUT", "/b/k?t%61gging", "", "PutObjectTagging", s3op.WriteObject},
		{"GET", "/b/k?Tagging", "", "GetObject", s3op.ReadObject},
		{"GET", "/b/k?cache=1&anything&==", "", "GetObject", s3op.ReadObject},
		{"GET", "/b/k", copySource, "GetObject", s3op.ReadObject},
		// A browser asks with the query of the request that it has in mind.
		{"OPTIONS", "/b/k?partNumber=1&uploadId=u&acl", "", "CORSPreflight", s3op.Preflight},
		{"OPTIONS", "/b?cors", "", "CORSPreflight", s3op.Preflight},
	} {
		info, err := classify(tt.method, tt.target, strings.Fields(tt.header)...)
		if info.Operation != tt.want || info.Class != tt.class || err != nil {
			t.Errorf("%s %s: got %s, %s, %v, want %s, %s", tt.method, tt.target, info.Operation, info.Class, err, tt.want, tt.class)
		}
	}
}

const copySource = "X-Amz-Copy-Source"

func TestWhatIsNotClassifiedIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, method, target, header string
		kind                         s3op.Kind
		code, says                   string
	}{
		{"refused with its reason", "PUT", "/b?replication", "", s3op.NotImplemented, "NotImplemented", "PutBucketReplication: A region"},
		{"a bucket's sub-resource on a key", "GET", "/b/k?policy", "", s3op.NotImplemented, "NotImplemented", "?policy at the level of the object"},
		{"and one that would delete it", "DELETE", "/b/k?lifecycle", "", s3op.NotImplemented, "NotImplemented", "?lifecycle"},
		{"a key's on a bucket", "GET", "/b?uploadId=u", "", s3op.NotImplemented, "NotImplemented", "?uploadId"},
		{"either's on the service", "GET", "/?location", "", s3op.NotImplemented, "NotImplemented", "?location"},
		{"another server's sub-resource", "PUT", "/b/k?append&position=0", "", s3op.NotImplemented, "NotImplemented", "parameter append"},
		{"a name in another case", "PUT", "/b/k?Tagging", "", s3op.NotImplemented, "NotImplemented", "parameter Tagging"},
		{"a listing's parameter on a delete", "DELETE", "/b?prefix=a", "", s3op.NotImplemented, "NotImplemented", "parameter prefix"},
		{"a header in the query", "PUT", "/b/k?x-amz-copy-source=b/o", "", s3op.NotImplemented, "NotImplemented", "x-amz-copy-source"},
		{"another in the query", "DELETE", "/b/k?x%2Dminio-force-delete=true", "", s3op.NotImplemented, "NotImplemented", "x-minio-force-delete"},
		{"a delete of a whole prefix", "DELETE", "/b/k", "X-Minio-Force-Delete", s3op.NotImplemented, "NotImplemented", "X-Minio-Force-Delete"},
		{"an archive to unpack", "PUT", "/b/k", "X-Amz-Meta-Snowball-Auto-Extract", s3op.NotImplemented, "NotImplemented", "many keys"},
		{"an append", "PUT", "/b/k", "X-Amz-Write-Offset-Bytes", s3op.NotImplemented, "NotImplemented", "whole"},
		{"a method without meaning", "PATCH", "/b/k", "", s3op.MethodNotAllowed, "MethodNotAllowed", "GET, PUT, DELETE"},
		{"a method in lower case", "get", "/b", "", s3op.MethodNotAllowed, "MethodNotAllowed", "GET"},
		{"a form on a key", "POST", "/b/k", "", s3op.MethodNotAllowed, "MethodNotAllowed", "PUT"},
		{"a HEAD of a sub-resource", "HEAD", "/b/k?acl", "", s3op.MethodNotAllowed, "MethodNotAllowed", "GET, PUT"},
		{"a write of what is only read", "PUT", "/b?location", "", s3op.MethodNotAllowed, "MethodNotAllowed", "GET"},
		{"a write of the service", "PUT", "/", "", s3op.MethodNotAllowed, "MethodNotAllowed", "GET"},
		{"a question of a browser about the service", "OPTIONS", "/", "", s3op.MethodNotAllowed, "MethodNotAllowed", "GET"},
		{"a part without its number", "PUT", "/b/k?uploadId=u", "", s3op.MethodNotAllowed, "MethodNotAllowed", "GET, DELETE, POST"},
		{"a part of no upload", "PUT", "/b/k?partNumber=1", "", s3op.Invalid, "InvalidArgument", "partNumber without uploadId"},
		{"a part of an upload without a name", "PUT", "/b/k?partNumber=1&uploadId=", "", s3op.Invalid, "InvalidArgument", "uploadId is empty"},
		{"two sub-resources", "GET", "/b?versioning&acl", "", s3op.Invalid, "InvalidArgument", "Conflicting query string parameters: acl, versioning"},
		{"an upload begun and gone on with", "POST", "/b/k?uploads&uploadId=u", "", s3op.Invalid, "InvalidArgument", "uploadId, uploads"},
		{"half an escape", "GET", "/b/k?a=%4", "", s3op.Invalid, "InvalidURI", "%25"},
		{"no escape", "GET", "/b/k?a=%zz", "", s3op.Invalid, "InvalidURI", "%25"},
		{"a semicolon", "GET", "/b/k?a;acl", "", s3op.Invalid, "InvalidURI", "%3B"},
	} {
		_, err := classify(tt.method, tt.target, strings.Fields(tt.header)...)
		e, ok := errors.AsType[*s3op.Error](err)
		if !ok || e.Kind != tt.kind || e.Code != tt.code || !strings.Contains(e.Message+e.Header.Get("Allow"), tt.says) {
			t.Errorf("%s: %s %s: got %v (%+v), want %s that says %q", tt.name, tt.method, tt.target, err, e, tt.code, tt.says)
		}
	}
}

func TestRefusedOperationsAreNamed(t *testing.T) {
	for target, want := range map[string]s3op.Operation{"/b?session": "CreateSession", "/?x-id=ListDirectoryBuckets": "ListDirectoryBuckets"} {
		info, err := classify("GET", target)
		if info.Operation != want || info.Class != s3op.Refused || s3op.KindOf(err) != s3op.NotImplemented {
			t.Errorf("%s: got %s, %s, %v, want %s, refused", target, info.Operation, info.Class, err, want)
		}
	}
}

func TestTableSaysWhyAndNothingElseContradictsIt(t *testing.T) {
	for i, info := range s3op.Operations() {
		if (info.Class == s3op.Refused) != (info.Why != "") {
			t.Errorf("%s is of class %s, and is refused for %q", info.Operation, info.Class, info.Why)
		}
		if http.CanonicalHeaderKey(info.Header) != info.Header {
			t.Errorf("%s takes %s, which no header has in this form", info.Operation, info.Header)
		}
		isReading := info.Method == "GET" || info.Method == "HEAD" || info.Operation == "SelectObjectContent"
		isRead := info.Class == s3op.ReadObject || info.Class == s3op.ReadBucket || info.Class == s3op.ReadService
		if info.Class != s3op.Refused && info.Class != s3op.Preflight && isReading != isRead || info.ActiveOnly && !isRead {
			t.Errorf("%s %s is of class %s, for the active alone: %v", info.Method, info.Operation, info.Class, info.ActiveOnly)
		}
		for _, earlier := range s3op.Operations()[:i] {
			isSame := earlier.Method == info.Method && earlier.Level == info.Level && earlier.Subresource == info.Subresource
			if isSame && earlier.Parameter == "" && earlier.Header == "" {
				t.Errorf("%s can never be meant: whatever fits it fits %s before", info.Operation, earlier.Operation)
			}
		}
	}
	operations := s3op.Operations()
	operations[0].Operation = "changed"
	if s3op.Operations()[0].Operation == "changed" {
		t.Error("the table can be changed from outside")
	}
}

func TestClassifyingDoesNotAllocate(t *testing.T) {
	h := http.Header{"Authorization": {"x"}, "Content-Length": {"1"}, "X-Amz-Content-Sha256": {"x"}, "X-Amz-Date": {"x"}, "X-Amz-Meta-A": {"x"}}
	presigned := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F20260101%2Feu%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
	for _, r := range [][4]string{ // method, path, domain, query
		{"GET", "/photos/2026/a.jpg", "", "x-id=GetObject"},
		{"PUT", "/photos/2026/a.jpg", "", presigned + "&x-id=PutObject"},
		{"PUT", "/photos/2026/a.jpg", "", "partNumber=1&uploadId=u&x-id=UploadPart"},
		{"GET", "/photos", "s3.test", "list-type=2&prefix=a%2Fb&max-keys=10"},
	} {
		got := testing.AllocsPerRun(100, func() {
			bucket, key, err := s3op.ParseTarget("photos.s3.test:8110", r[1], r[2])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s3op.Classify(r[0], bucket, key, r[3], h); err != nil {
				t.Fatal(err)
			}
		})
		if got > 0 {
			t.Errorf("%s %s?%s: got %v allocations, want 0", r[0], r[1], r[3], got)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	h := http.Header{"Authorization": {"x"}, "Content-Length": {"1"}, "X-Amz-Content-Sha256": {"x"}, "X-Amz-Date": {"x"}}
	for b.Loop() {
		if _, err := s3op.Classify("PUT", "photos", "2026/a.jpg", "partNumber=1&uploadId=u&x-id=UploadPart", h); err != nil {
			b.Fatal(err)
		}
	}
}
