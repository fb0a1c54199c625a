package s3api

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/pace"
	"github.com/gnew/tandem/internal/s3op"
)

// newCall is a call of the bucket "photos" under way, and what is answered to it.
func newCall(t *testing.T, method, target string, header http.Header) (*call, *httptest.ResponseRecorder) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	if header != nil {
		r.Header = header
	}
	api := &API{Config: Config{Region: "eu-central-1", Logger: newLogger()}}
	return &call{API: api, w: pace.NewWriter(w, time.Minute), r: r, name: "photos", key: "k", id: "id-of-ours"}, w
}

func TestDocumentsNameTheBucketAsItsClientsDo(t *testing.T) {
	c, _ := newCall(t, "GET", "/photos", nil)
	for before, want := range map[string]string{
		"<Name>bucket-a</Name><Key>bucket-a</Key>":         "<Name>photos</Name><Key>bucket-a</Key>",
		"<Bucket>bucket-a</Bucket><Key>x</Key>":            "<Bucket>photos</Bucket><Key>x</Key>",
		"<BucketName>bucket-a</BucketName>":                "<BucketName>photos</BucketName>",
		"<Resource>/bucket-a/k</Resource>":                 "<Resource>/photos/k</Resource>",
		"<Resource>/bucket-a</Resource>":                   "<Resource>/photos</Resource>",
		"<Resource>bucket-a/k</Resource>":                  "<Resource>photos/k</Resource>",
		"<Resource>/bucket-abc/k</Resource>":               "<Resource>/bucket-abc/k</Resource>",
		"<Key>&lt;Bucket&gt;bucket-a&lt;/Bucket&gt;</Key>": "<Key>&lt;Bucket&gt;bucket-a&lt;/Bucket&gt;</Key>",
		"": "",
	} {
		if got := string(c.renamed([]byte(before), "bucket-a")); got != want {
			t.Errorf("%s: got %s, want %s", before, got, want)
		}
	}
	if got := string(c.renamed([]byte("<Name>photos</Name>"), "photos")); got != "<Name>photos</Name>" {
		t.Errorf("got %s, want it as it was", got)
	}
}

func TestAccountsOfTheRegionAreNotTold(t *testing.T) {
	document := "<R><Owner><ID>AKIASECRET</ID></Owner><Upload><Initiator><ID>AKIASECRET</ID><DisplayName>x</DisplayName></Initiator><Owner></Owner></Upload><Owner/></R>"
	got := string(withoutAccounts([]byte(document)))
	if strings.Contains(got, "AKIASECRET") || strings.Count(got, "<ID>tandem</ID><DisplayName>tandem</DisplayName>") != 3 || !strings.HasSuffix(got, "<Owner/></R>") {
		t.Errorf("got %s", got)
	}
	acl := `<AccessControlPolicy><Owner><ID>AKIASECRET</ID></Owner><AccessControlList><Grant><Grantee xsi:type="CanonicalUser"><ID>AKIASECRET</ID></Grantee></Grant></AccessControlList></AccessControlPolicy>`
	if got := string(withoutGrantees([]byte(acl))); strings.Contains(got, "AKIASECRET") || strings.Count(got, "<ID>tandem</ID>") != 2 {
		t.Errorf("got %s", got)
	}
	for _, broken := range []string{"<Owner>", "</Owner>", "<Owner></Owner", "</Owner><Owner>"} {
		if got := string(withoutAccounts([]byte(broken))); got != broken {
			t.Errorf("%s: got %s, want it as it was", broken, got)
		}
	}
}

// What a region says of its connection, and of what is ours to say, stops here.
func TestHeadersOfARegionThatAreNotItsToSayAreLeftOut(t *testing.T) {
	c, w := newCall(t, "GET", "/photos/k", nil)
	w.Header().Set("X-Amz-Request-Id", "id-of-ours")
	c.header(http.Header{
		"Connection": {"close"}, "Set-Cookie": {"a=b"}, "Server": {"x"}, "Date": {"x"}, "X-Amz-Replication-Status": {"REPLICA"}, "X-Amz-Request-Id": {"theirs"}, "X-Tandem-Version": {"9-9"},
		"X-Amz-Bucket-Region": {"us-west-2"}, "X-Amz-Meta-Side": {"A"}, "Etag": {`"e"`}, "X-Amz-Version-Id": {"v"},
	})
	want := http.Header{
		"X-Amz-Request-Id": {"id-of-ours"}, "X-Amz-Bucket-Region": {"eu-central-1"}, "x-amz-meta-side": {"A"}, "Etag": {`"e"`}, "X-Amz-Version-Id": {"v"},
	}
	if got := w.Header(); len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name := range want {
		if !slices.Equal(w.Header()[name], want[name]) {
			t.Errorf("%s: got %q, want %q", name, w.Header()[name], want[name])
		}
	}
}

// A region is given what the client said of the object, and nothing of how it came here.
func TestRequestGoesOnWithoutWhatWasForTheGateway(t *testing.T) {
	target := "/photos/k?versionId=v&x-id=GetObject&response-content-type=text%2Fy&x-amz-meta-a=1&X-Amz-Checksum-Sha256=sum&X-Amz-Storage-Class=query" +
		"&X-Amz-Algorithm=a&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=s&X-Amz-Security-Token=t&x-amz-content-sha256=h"
	c, _ := newCall(t, "PUT", target, http.Header{
		"Authorization": {"secret"}, "Cookie": {"a"}, "X-Amz-Date": {"d"}, "X-Amz-Content-Sha256": {"h"}, "X-Amz-Security-Token": {"t"},
		"X-Amz-Trailer": {"x-amz-checksum-crc32"}, "X-Amz-Decoded-Content-Length": {"1"}, "X-Amz-Copy-Source": {"/other/key"}, "X-Forwarded-For": {"1"},
		"Transfer-Encoding": {"chunked"}, "Content-Encoding": {"gzip,AWS-chunked"}, "Content-Type": {"text/x"}, "X-Amz-Meta-B": {"2"}, "If-Match": {`"e"`},
		"X-Amz-Storage-Class": {"STANDARD_IA"}, "X-Http-Method-Override": {"DELETE"}, "Expect": {"100-continue"}, "If-Range": {"x"},
	})
	q := c.request()
	want := http.Header{
		"Content-Encoding": {"gzip"}, "Content-Type": {"text/x"}, "X-Amz-Meta-A": {"1"}, "X-Amz-Meta-B": {"2"}, "If-Match": {`"e"`},
		"X-Amz-Storage-Class": {"STANDARD_IA"}, "X-Amz-Checksum-Sha256": {"sum"},
	}
	for name := range q.Header {
		if !slices.Equal(q.Header[name], want[name]) {
			t.Errorf("%s: got %q, want %q", name, q.Header[name], want[name])
		}
	}
	if len(q.Header) != len(want) {
		t.Errorf("got %v, want %v", q.Header, want)
	}
	if got := q.Query.Encode(); got != "response-content-type=text%2Fy&versionId=v" {
		t.Errorf("got query %s", got)
	}
}

func TestErrorsAreAnsweredAsS3Does(t *testing.T) {
	answered := func(status int, document string) error {
		e := s3op.NewError(s3op.Denied, "AccessDenied", "no")
		e.Answered = &s3op.Answered{Status: status, Bucket: "bucket-a"}
		if document != "" {
			e.Answered.Document = []byte(document)
		}
		e.Header = http.Header{"Etag": {`"e"`}, "Content-Length": {"999"}}
		if document == "" {
			e.Header.Set("Content-Type", "text/html")
		}
		return e
	}
	for _, c := range []struct {
		name, method string
		err          error
		status       int
		has          string // "" is no body at all
	}{
		{"ours", "GET", s3op.NewError(s3op.NotFound, "NoSuchKey", "none"), 404, "<Code>NoSuchKey</Code>"},
		{"not classified", "GET", http.ErrBodyNotAllowed, 500, "<Code>InternalError</Code>"},
		{"no length", "PUT", s3op.NewError(s3op.Invalid, "MissingContentLength", "say it"), 411, "<Code>MissingContentLength</Code>"},
		{"too large", "PUT", s3op.NewError(s3op.TooLarge, "EntityTooLarge", "smaller"), 400, "<Code>EntityTooLarge</Code>"},
		{"unavailable", "GET", s3op.NewError(s3op.Unavailable, "ServiceUnavailable", "later"), 503, "<Code>ServiceUnavailable</Code>"},
		{"HEAD", "HEAD", s3op.NewError(s3op.NotFound, "NoSuchKey", "none"), 404, ""},
		{"304", "GET", answered(304, ""), 304, ""},
		{"a region's", "GET", answered(418, "<Error><BucketName>bucket-a</BucketName></Error>"), 418, "<BucketName>photos</BucketName>"},
		{"a region's without a document", "GET", answered(412, ""), 412, "<Code>AccessDenied</Code>"},
	} {
		call, w := newCall(t, c.method, "/photos/k", nil)
		call.fail(c.err)
		body := w.Body.String()
		if w.Code != c.status || (c.has == "") != (body == "") || !strings.Contains(body, c.has) {
			t.Errorf("%s: got %d %s, want %d with %s", c.name, w.Code, body, c.status, c.has)
		}
		if strings.Contains(body, http.ErrBodyNotAllowed.Error()) || w.Header().Get("Content-Length") == "999" {
			t.Errorf("%s: got %v %s", c.name, w.Header(), body)
		}
		if body != "" && w.Header().Get("Content-Type") != "application/xml" {
			t.Errorf("%s: got a document of type %q", c.name, w.Header().Get("Content-Type"))
		}
		if (w.Code == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: got Retry-After %q", c.name, w.Header().Get("Retry-After"))
		}
	}
}

func TestAnswerSaysHowFreshItIs(t *testing.T) {
	c, w := newCall(t, "GET", "/photos/k?tagging", nil)
	answer := &gateway.Answer{Region: "b", Bucket: "bucket-b", Document: []byte("<A/>"), Freshness: gateway.Unknown, Fallback: true}
	answer.Status, answer.Header = http.StatusOK, http.Header{"Content-Type": {"application/json"}, "Content-Length": {"999"}}
	if err := c.pass(answer); err != nil {
		t.Fatal(err)
	}
	h := w.Header()
	if h.Get("X-Tandem-Freshness") != "unknown" || h.Get("X-Tandem-Fallback") != "true" || h.Get("X-Tandem-Region") != "b" || h.Get("Content-Type") != "application/json" || h.Get("Content-Length") == "999" || w.Body.String() != "<A/>" {
		t.Errorf("got %v %s", h, w.Body)
	}
}
