package e2e_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// difference is one thing that both sides answer otherwise; "" is where a side has none of it.
type difference struct{ what, region, gateway string }

// differenceClass is why answers may differ.
type differenceClass struct {
	name, reason string
	// has reports whether a difference of any request is of the class. It is nil for a class of those requests that name it: it has all
	// of the answer, which is the one that they say, and all that one side did and the other did not.
	has func(x exchange, d difference) bool
}

func classOf(x exchange, d difference) string {
	for _, c := range differenceClasses() {
		if c.has != nil && c.has(x, d) {
			return c.name
		}
	}
	for _, c := range differenceClasses() {
		answer, ok := x.classes[c.name]
		if !ok || c.has != nil || answer != x.gateway.brief() {
			continue
		}
		if was := x.start[d.what]; !strings.HasPrefix(d.what, "left in ") || d.gateway == was || d.region == was {
			return c.name
		}
	}
	return ""
}

// brief is the status of an answer, and the code of its error.
func (a answer) brief() string {
	leaves, _ := flat(a.body)
	return strings.TrimSpace(strconv.Itoa(a.status) + " " + strings.TrimPrefix(leaves["/Error/Code"], "="))
}

// isOurs reports whether the gateway has answered by itself: no region has then.
func (x exchange) isOurs() bool { return x.gateway.header.Get("X-Amz-Id-2") == "" }

func differenceClasses() []differenceClass {
	return []differenceClass{
		{
			name:   "moments",
			reason: "Request ids, dates, ids of uploads, the addresses and names of the servers: each side has its own. Documents are as long as those make them.",
			has: func(x exchange, d difference) bool {
				switch d.what {
				case "header Date", "header Server", "header X-Amz-Request-Id", "header X-Amz-Id-2", "body /Error/RequestId", "body /Error/HostId":
					return true
				case "body /CompleteMultipartUploadResult/Location":
					return d.gateway == "=http://"+x.host+strings.SplitN(x.target, "?", 2)[0]
				case "header Content-Length":
					_, isXML := flat(x.region.body)
					_, isXMLToo := flat(x.gateway.body)
					return isXML || isXMLToo
				}
				return strings.HasSuffix(d.what, "/UploadId") && d.region != "" && d.gateway != "" || isTime(d.region) && isTime(d.gateway)
			},
		},
		{
			name: "tandem-headers", reason: "Which region answered, how fresh that is, and how far it is replicated: only the gateway knows.",
			has: func(_ exchange, d difference) bool {
				return d.region == "" && (strings.HasPrefix(d.what, "header X-Tandem-") || d.what == "header X-Amz-Replication-Status")
			},
		},
		{
			name: "owner", reason: "The owner in listings is the gateway: accounts of the regions are nothing that clients know.",
			has: func(_ exchange, d difference) bool {
				return slices.ContainsFunc([]string{"/Owner/ID", "/Owner/DisplayName", "/Initiator/ID", "/Initiator/DisplayName", "/Grantee/ID"}, func(end string) bool {
					return strings.HasSuffix(d.what, end)
				})
			},
		},
		{
			name: "form",
			reason: "The gateway makes listings, of the index and a region's, and the answers to DeleteObjects: of an object they have key, ETag, size, time and storage " +
				"class. They are of AWS's form, where the embedded server has another: its name space, empty elements, tokens, NextMarker only with a delimiter, encoding-type=url.",
			has: func(x exchange, d difference) bool {
				of, ok := strings.CutPrefix(d.what, "body /ListBucketResult/")
				if d.what == "body /DeleteResult@xmlns" {
					return d.region == ""
				}
				isEncoded := strings.Contains(x.target, "encoding-type=url")
				switch {
				case !ok:
					return false
				case strings.Contains(of, "/Checksum"), of == "NextMarker" && !strings.Contains(x.target, "delimiter"):
					return d.gateway == ""
				case of == "ContinuationToken", of == "NextContinuationToken":
					return (d.gateway == "") == (of == "ContinuationToken") && d.region != ""
				case of == "EncodingType" && isEncoded:
					return d.gateway == "=url"
				case strings.HasSuffix(of, "/Key") && isEncoded:
					plain, err := url.QueryUnescape(d.gateway[1:])
					return err == nil && "="+plain == d.region
				}
				return d.region+d.gateway == "="
			},
		},
		{
			name: "cross-origin", reason: "What the gateway answers by itself has no headers for web pages; what a region answers has that region's.",
			has: func(x exchange, d difference) bool {
				return x.isOurs() && d.gateway == "" && (d.what == "header Vary" || strings.HasPrefix(d.what, "header Access-Control-"))
			},
		},
		{
			name: "details", reason: "An error of the gateway's own has the same code, and its own words about it; what was signed, and how it should have been, it tells nobody.",
			has: func(x exchange, d difference) bool {
				return x.isOurs() && strings.HasPrefix(d.what, "body /Error/") && d.what != "body /Error/Code"
			},
		},
		{
			name: "aws-chunked", reason: "How a body was framed on the way is not stored as the object's encoding, as in AWS.",
			has: func(_ exchange, d difference) bool {
				return strings.HasPrefix(d.what, "left in ") && strings.HasSuffix(d.what, ": Content-Encoding") && d.region == "aws-chunked" && d.gateway == ""
			},
		},
		{
			name: "no-document", reason: "An answer that can have no body, to HEAD or 304, does not say of what kind or length one would be.",
			has: func(x exchange, d difference) bool {
				return d.gateway == "" && (x.method == http.MethodHead && x.gateway.status >= 300 || x.gateway.status == http.StatusNotModified) &&
					(d.what == "header Content-Type" || d.what == "header Content-Length")
			},
		},
		{name: "configuration", reason: "The buckets are configured: which there are, and how each is set up in its regions, no client changes."},
		{name: "reserved", reason: "Keys below .tandem/ are Tandem's own: nobody reads, writes or lists them. A page of versions may be shorter by them."},
		{name: "not-guessed", reason: "What some S3 takes for another operation is refused, rather than done as one of them does it."},
		{name: "conditions", reason: "Conditions on writes that some S3 judges otherwise, or ignores, are refused before anything is written."},
		{name: "not-carried", reason: "What is not carried to the other regions yet is refused: writes that name a version, ACLs and locks of objects."},
		{name: "keys", reason: "A key that the embedded server would take for another, or could not list, is refused."},
		{name: "as-aws", reason: "The embedded server answers otherwise than AWS, which the gateway follows."},
	}
}

func isTime(s string) bool {
	s = strings.TrimPrefix(s, "=")
	_, err := http.ParseTime(s)
	if err != nil {
		_, err = time.Parse(time.RFC3339, s)
	}
	return err == nil
}

// differences are all that is not the same in both answers.
func (x exchange) differences() (all []difference) {
	if x.regionErr != nil || x.gatewayErr != nil {
		if (x.regionErr == nil) != (x.gatewayErr == nil) {
			all = append(all, difference{"connection", fmt.Sprint(x.regionErr), fmt.Sprint(x.gatewayErr)})
		}
		return all
	}
	add := func(what, region, gateway string) {
		if region != gateway {
			all = append(all, difference{what, region, gateway})
		}
	}
	add("status", strconv.Itoa(x.region.status), strconv.Itoa(x.gateway.status))
	all = append(all, differing("header ", headerLines(x.region.header), headerLines(x.gateway.header))...)
	inRegion, isXML := flat(x.region.body)
	inGateway, isXMLToo := flat(x.gateway.body)
	if isXML && isXMLToo {
		return append(all, differing("body ", inRegion, inGateway)...)
	}
	add("body", string(x.region.body), string(x.gateway.body))
	return all
}

// differing are the differences of two maps.
func differing(what string, inRegion, inGateway map[string]string) (all []difference) {
	for _, name := range bothKeys(inRegion, inGateway) {
		if inRegion[name] != inGateway[name] {
			all = append(all, difference{what + name, inRegion[name], inGateway[name]})
		}
	}
	return all
}

func bothKeys(a, b map[string]string) []string {
	keys := slices.Collect(maps.Keys(a))
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func headerLines(h http.Header) map[string]string {
	lines := make(map[string]string)
	for name, values := range h {
		lines[name] = strings.Join(values, "\n")
	}
	if methods := strings.Split(h.Get("Allow"), ", "); len(methods) > 1 {
		slices.Sort(methods) // any order is the same
		lines["Allow"] = strings.Join(methods, ", ")
	}
	return lines
}

// sortedTags is the document with its tags in one order: the embedded server has them in any.
func sortedTags(document []byte) []byte {
	before, rest, _ := bytes.Cut(document, []byte("<TagSet>"))
	inside, after, ok := bytes.Cut(rest, []byte("</TagSet>"))
	if !ok {
		return document
	}
	tags := bytes.SplitAfter(inside, []byte("</Tag>"))
	slices.SortFunc(tags, bytes.Compare)
	return slices.Concat(before, []byte("<TagSet>"), bytes.Join(tags, nil), []byte("</TagSet>"), after)
}

// flat is a document as its leaves, each by its path; false where it is no document.
func flat(document []byte) (map[string]string, bool) {
	leaves, counts := make(map[string]string), make(map[string]int)
	var path []string
	var text strings.Builder
	isLeaf := false
	for d := xml.NewDecoder(bytes.NewReader(sortedTags(document))); ; {
		token, err := d.Token()
		switch token := token.(type) {
		case xml.StartElement:
			name := strings.Join(path, "") + "/" + token.Name.Local
			counts[name]++
			step := "/" + token.Name.Local
			if counts[name] > 1 {
				step += "#" + strconv.Itoa(counts[name])
			}
			path = append(path, step)
			for _, a := range token.Attr {
				leaves[strings.Join(path, "")+"@"+a.Name.Local] = a.Value
			}
			text.Reset()
			isLeaf = true
		case xml.CharData:
			text.Write(token)
		case xml.EndElement:
			if isLeaf {
				leaves[strings.Join(path, "")] = "=" + text.String()
			}
			isLeaf = false
			path = path[:len(path)-1]
		}
		if err != nil {
			return leaves, errors.Is(err, io.EOF) && len(leaves) > 0
		}
	}
}

// The page on compatibility has every class, between these two lines.
const differencesBegin, differencesEnd = "<!-- differences -->\n", "<!-- end of differences -->\n"

func TestCompatibilityPageHasEveryDifference(t *testing.T) {
	page, err := os.ReadFile("../../docs/s3-compat.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), differencesBegin)
	got, _, _ := strings.Cut(rest, differencesEnd)
	var want strings.Builder
	want.WriteString("\n| Difference | Why |\n| --- | --- |\n")
	for _, c := range differenceClasses() {
		want.WriteString("| " + c.name + " | " + c.reason + " |\n")
	}
	if diff := cmp.Diff(want.String()+"\n", got); diff != "" {
		t.Errorf("s3-compat.md has other differences than the test (-want +got):\n%s", diff)
	}
}
