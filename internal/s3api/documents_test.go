package s3api

import (
	"encoding/base64"
	"encoding/xml"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/gateway"
	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/s3op"
)

func newLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestListingsAreWithoutTandemsOwnKeys(t *testing.T) {
	const ours = "<Upload><Key>.tandem/region</Key><UploadId>1</UploadId></Upload>"
	for name, ours := range map[string]string{
		"as it is": ours, "escaped": strings.Replace(ours, ".tandem/", ".tandem%2F", 1), "in lower case": strings.Replace(ours, ".tandem/", "%2etandem%2f", 1),
		"as entities": strings.Replace(ours, ".tandem/", "&#46;tandem&#x2F;", 1), "a prefix": "<CommonPrefixes><Prefix>.tandem/</Prefix></CommonPrefixes>",
		"a version": "<DeleteMarker><Key>.tandem/conflicts/x</Key></DeleteMarker>",
	} {
		got, err := withoutOurs([]byte(`<R xmlns="ns"><Prefix>.tandem/</Prefix>` + ours + "<Upload><Key>k/.tandem/x &amp; y</Key></Upload></R>"))
		want := xml.Header + `<R xmlns="ns"><Prefix>.tandem/</Prefix><Upload><Key>k/.tandem/x &amp; y</Key></Upload></R>`
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, want)
		}
	}
	for _, document := range []string{"", "no XML", "<R>\n <Name>tandem</Name></R>", "<R><Key>a.tandem/x</Key></R>", "<R><Upload><Key>x/.tandem/region</Key></Upload></R>"} {
		if got, err := withoutOurs([]byte(document)); err != nil || string(got) != document {
			t.Errorf("got %s (%v), want %s as it was", got, err, document)
		}
	}
	if _, err := withoutOurs([]byte("<R><Key>.tandem/x")); s3op.KindOf(err) != s3op.Unavailable {
		t.Errorf("got %v, want a listing that cannot be read refused", err)
	}
}

func FuzzWithoutOurs(f *testing.F) {
	f.Add([]byte(`<R xmlns="ns"><Upload><Key>.tandem/region</Key></Upload><Upload><Key>k</Key></Upload></R>`))
	f.Add([]byte("<R a='b'><CommonPrefixes><Prefix>.tandem%2F</Prefix></CommonPrefixes></R>"))
	f.Add([]byte("<.tandem/><x:y z:w=''/>"))
	f.Fuzz(func(t *testing.T, document []byte) {
		got, err := withoutOurs(document)
		if err != nil || string(got) == string(document) {
			return
		}
		var root element
		if err := xml.Unmarshal(got, &root); err != nil {
			t.Fatalf("%q became %q: %v", document, got, err)
		}
		for _, e := range root.Elements {
			if e.isOurs() {
				t.Fatalf("%q became %q, which has a key of ours", document, got)
			}
		}
	})
}

func TestDocumentsOfClientsAreTakenAsS3TakesThem(t *testing.T) {
	for document, want := range map[string]int{ // how many keys; 0 is a refusal
		"<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>":                    2,
		`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a</Key></Object></Delete>`: 1,
		"<Delete></Delete>":                            0,
		"<Other><Object><Key>a</Key></Object></Other>": 0,
		"":                                      0,
		"<Delete><Object><Key>a</Key></Object>": 0,
		"<Delete>" + strings.Repeat("<Object/>", 1000) + "</Delete>": 1000,
		"<Delete>" + strings.Repeat("<Object/>", 1001) + "</Delete>": 0,
	} {
		in, err := parseDeletes([]byte(document))
		if (err != nil) != (want == 0) || err == nil && len(in.Objects) != want {
			t.Errorf("%.80s: got %d keys (%v), want %d", document, len(in.Objects), err, want)
		}
	}
	in, err := parseDeletes([]byte("<Delete><Quiet>true</Quiet><Object><Key> a&#13;&lt;é </Key><VersionId>v</VersionId><ETag>\"e\"</ETag><Size>1</Size></Object></Delete>"))
	if o := in.Objects[0]; err != nil || !in.Quiet || o.Key != " a\r<é " || o.VersionID != "v" || o.ETag != `"e"` || o.Size == nil || o.LastModifiedTime != nil {
		t.Errorf("got %+v (%v)", in, err)
	}
	etags, err := parseParts([]byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part><Part><ETag>b</ETag></Part></CompleteMultipartUpload>"))
	if err != nil || strings.Join(etags, " ") != "a b" {
		t.Errorf("got %q (%v)", etags, err)
	}
	for _, document := range []string{"", "<CompleteMultipartUpload/>", "<Delete><Part/></Delete>", "<CompleteMultipartUpload>" + strings.Repeat("<Part/>", maxParts+1) + "</CompleteMultipartUpload>"} {
		if _, err := parseParts([]byte(document)); s3op.KindOf(err) != s3op.Invalid {
			t.Errorf("%.80s: got %v, want it refused", document, err)
		}
	}
}

func FuzzDelete(f *testing.F) {
	f.Add([]byte("<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>"))
	f.Add([]byte("<Delete><Object><Key>&#0;</Key></Object></Delete>"))
	f.Fuzz(func(t *testing.T, document []byte) {
		in, err := parseDeletes(document)
		if err == nil && (len(in.Objects) == 0 || len(in.Objects) > maxDeleted) || err != nil && s3op.KindOf(err) != s3op.Invalid {
			t.Fatalf("%q: got %d keys, %v", document, len(in.Objects), err)
		}
	})
}

func FuzzCompleteMultipartUpload(f *testing.F) {
	f.Add([]byte(`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"a"</ETag></Part></CompleteMultipartUpload>`))
	f.Fuzz(func(t *testing.T, document []byte) {
		etags, err := parseParts(document)
		if err == nil && (len(etags) == 0 || len(etags) > maxParts) || err != nil && s3op.KindOf(err) != s3op.Invalid {
			t.Fatalf("%q: got %d parts, %v", document, len(etags), err)
		}
	})
}

func cursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

// Clients of either version come to the end of a listing, whatever a page shows.
func TestNextPageIsAlwaysNamed(t *testing.T) {
	delimiter := "/"
	for _, c := range []struct {
		name      string
		page      gateway.Listing
		delimiter *string
		next      string // the NextMarker of version 1; "" is none
	}{
		{"whole", gateway.Listing{Objects: []region.ListedObject{{Key: "a"}}}, &delimiter, ""},
		{"keys", gateway.Listing{Objects: []region.ListedObject{{Key: "a"}}, Next: cursor("a")}, nil, ""},
		{"nothing is left on it", gateway.Listing{Next: cursor("deleted é")}, nil, "deleted+%C3%A9"},
		{"prefixes", gateway.Listing{Objects: []region.ListedObject{{Key: "a"}}, CommonPrefixes: []string{"b/"}, Next: cursor("b/")}, &delimiter, "b/"},
	} {
		call, _ := newCall(t, "GET", "/photos", nil)
		v1 := listResult{Delimiter: c.delimiter}
		call.fill(&v1, &c.page, url.Values{}, false, escapeName)
		if (v1.NextMarker == nil) != (c.next == "") || v1.NextMarker != nil && *v1.NextMarker != c.next || v1.IsTruncated != (c.page.Next != "") || v1.KeyCount != nil {
			t.Errorf("%s: version 1: got %+v, want marker %q", c.name, v1, c.next)
		}
		v2 := listResult{Delimiter: c.delimiter}
		call.fill(&v2, &c.page, url.Values{}, true, escapeName)
		if (v2.NextContinuationToken == nil) != (c.page.Next == "") || v2.NextMarker != nil || *v2.KeyCount != len(c.page.Objects)+len(c.page.CommonPrefixes) {
			t.Errorf("%s: version 2: got %+v", c.name, v2)
		}
	}
}

func TestListingIsWrittenAsS3Does(t *testing.T) {
	call, _ := newCall(t, "GET", "/photos", nil)
	page := &gateway.Listing{
		Objects:        []region.ListedObject{{Key: "a b&<\x01~/é", ETag: "e", Size: 3, LastModified: time.Date(2020, 1, 2, 3, 4, 5, 6e6, time.UTC)}},
		CommonPrefixes: []string{"p /"},
	}
	result := listResult{Name: "photos", MaxKeys: 1000}
	call.fill(&result, page, url.Values{"fetch-owner": {"true"}}, true, escapeName)
	got, err := xml.Marshal(result)
	want := `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>photos</Name><Prefix></Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys>` +
		`<IsTruncated>false</IsTruncated><Contents><Key>a+b%26%3C%01~/%C3%A9</Key><LastModified>2020-01-02T03:04:05.006Z</LastModified><ETag>&#34;e&#34;</ETag><Size>3</Size>` +
		`<Owner><ID>tandem</ID><DisplayName>tandem</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>p+/</Prefix></CommonPrefixes></ListBucketResult>`
	if err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}

func TestMaxKeysIsBounded(t *testing.T) {
	for value, want := range map[string]int{"": 1000, "0": 0, "1": 1, "1000": 1000, "1001": 1000, "2147483647": 1000, "-1": -1, "2147483648": -1, "x": -1, "1.0": -1} {
		got, err := limitOf(url.Values{"max-keys": {value}})
		if want < 0 && s3op.KindOf(err) != s3op.Invalid || want >= 0 && (err != nil || got != want) {
			t.Errorf("max-keys=%s: got %d (%v), want %d", value, got, err, want)
		}
	}
}
