package restapi

import (
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// What examples have in common.
const (
	exampleBucket = "tandem"
	exampleKey    = "docs/readme.md"
	exampleETag   = "1fe0ed139448339aa95c856de3282ba4"
	// An ID of the form that they have.
	exampleAccessKey = "TANDEMEXAMPLEEXAMPLE"
	exampleTime      = "2026-03-01T12:00:00.123Z"
	// What checksums of "# Read me\n" are in headers.
	exampleMD5    = "H+DtE5RIM5qpXIVt4ygrpA=="
	exampleSHA256 = "4EgA5jmrPuWmCBaVcHyvURDbm4RWkoMcNi6GPZFpWTg="
)

func exampleWrite() writeBody {
	return writeBody{exampleBucket, exampleKey, exampleETag, 10, "text/markdown", "primary", "1-1", map[string]string{"secondary": "pending"}}
}

func text() *huma.Schema { return &huma.Schema{Type: "string"} }

func enum(values ...any) *huma.Schema { return &huma.Schema{Type: "string", Enum: values} }

func between(least, most float64) *huma.Schema {
	return &huma.Schema{Type: "integer", Minimum: &least, Maximum: &most}
}

// flagSchema is what flag takes.
func flagSchema() *huma.Schema { return enum("1", "true", "0", "false") }

func query(name, what string, schema *huma.Schema, example any) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: what, Schema: schema, Example: example}
}

func header(name, what string, schema *huma.Schema, example any) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: what, Schema: schema, Example: example}
}

// pathParameter is one that paths may have; the type of its schema says how it is read.
func pathParameter(name string) *huma.Param {
	p := &huma.Param{Name: name, In: "path", Required: true}
	number := &huma.Schema{Type: "integer", Format: "int64", Minimum: new(1.0)}
	switch name {
	case "key":
		p.Description, p.Schema, p.Example = "The object's key: 1 to 1024 bytes of UTF-8.", &huma.Schema{Type: "string", MinLength: new(1), MaxLength: new(1024)}, exampleKey
	case "name":
		p.Description, p.Schema, p.Example = "The region's name.", text(), "secondary"
	case "accessKey":
		p.Description, p.Schema, p.Example = "The access key's ID.", text(), exampleAccessKey
	case "epoch":
		p.Description, p.Schema, p.Example = "The epoch that the promotion began.", number, 2
	case "id":
		p.Description, p.Schema, p.Example = "The conflict's number.", number, 2
	default:
		panic("nothing is said of the path parameter " + name) // only a mistake in our own table
	}
	return p
}

// maxListed is the most entries that a page of a listing has.
const maxListed = 1000

func pageParameters() []*huma.Param {
	return []*huma.Param{
		query("after", "Only what is behind it: the next of the page before.", &huma.Schema{Type: "integer", Format: "int64", Minimum: new(0.0)}, 0),
		query("limit", "How many at most. Left out, as many as may be.", between(1, adminPage), 100),
	}
}

func allowStale() *huma.Param {
	return header("X-Tandem-Allow-Stale", "Take an older version rather than a 503. Which one it was, X-Tandem-Freshness says.", flagSchema(), "true")
}

// storedHeaders are kept with an object.
func storedHeaders() []*huma.Param {
	return []*huma.Param{
		header("Content-Type", "The object's media type.", text(), "text/markdown"),
		header("Cache-Control", "Stored with the object.", text(), "max-age=60"),
		header("Content-Disposition", "Stored with the object.", text(), "inline"),
		header("Content-Encoding", "Stored with the object.", text(), "identity"),
		header("Content-Language", "Stored with the object.", text(), "en"),
		header("Expires", "Stored with the object.", text(), "Mon, 01 Mar 2027 12:00:00 GMT"),
		header("X-Amz-Storage-Class", "Stored with the object; the region has to know it.", text(), "STANDARD"),
		header("X-Amz-Website-Redirect-Location", "Stored with the object.", text(), "/docs/index.html"),
		header("X-Amz-Tagging", "The object's tags, written as a query.", text(), "team=docs"),
	}
}

// checksumHeaders are verified.
func checksumHeaders() []*huma.Param {
	return []*huma.Param{
		header("Content-MD5", "Of the body, in base64. What does not match is refused.", text(), exampleMD5),
		header("X-Amz-Checksum-Sha256", "Likewise; so are X-Amz-Checksum-Crc32, -Crc32c, -Crc64nvme and -Sha1.", text(), exampleSHA256),
	}
}

func writeConditions() []*huma.Param {
	return []*huma.Param{
		header("If-Match", "Only where the object has this ETag.", text(), nil),
		header("If-None-Match", "Only where there is no such object.", enum("*"), "*"),
	}
}

func waitHeaders() []*huma.Param {
	return []*huma.Param{
		header(waitHeader, "Which regions are to have the write before it is answered: all, a number of them, or their names with commas between them.", text(), "all"),
		header(waitTimeoutHeader, "How long to wait for them: 1ms to 1h, written like 500ms or 30s; a plain number is seconds. Left out, 30s.", text(), nil),
	}
}

// notYetThere answers a write that is acknowledged, and that not all have who were to have it.
func notYetThere(always ...string) response {
	return response{
		what:   "It is acknowledged as with the other status, and the wait has ended before every region had it that was to.",
		always: append(always, "X-Tandem-Region", "X-Tandem-Version", regionsHeader), content: jsonOf(exampleWrite()),
	}
}

func readHeaders() []*huma.Param {
	return []*huma.Param{
		header("Range", "The part that is wanted.", text(), "bytes=2-5"),
		header("If-Range", "The part only while the object has this ETag, else the whole.", text(), `"`+exampleETag+`"`),
		header("If-Match", "Only where the object has this ETag.", text(), "*"),
		header("If-None-Match", "Only where the object has another ETag.", text(), `"`+exampleETag+`"`),
		header("If-Modified-Since", "Only where the object was changed since.", text(), "Sun, 01 Mar 2026 12:00:00 GMT"),
		header("If-Unmodified-Since", "Only where the object was not changed since.", text(), "Sun, 28 Feb 2077 12:00:00 GMT"),
	}
}

func objectHeaders() []string { return []string{"ETag", "X-Tandem-Region", "X-Tandem-Freshness"} }

func objectSometimes() []string {
	return []string{
		"Accept-Ranges", "Content-Length", "Last-Modified", "X-Tandem-Version", "X-Tandem-Fallback", "X-Tandem-Repair",
		"X-Amz-Mp-Parts-Count", "X-Amz-Tagging-Count", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
		"X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location",
	}
}

// answerHeader is what the document says of a header of an answer.
func answerHeader(name string) *huma.Header {
	describe := func(what string, schema *huma.Schema) *huma.Header {
		return &huma.Header{Description: what, Schema: schema}
	}
	switch name {
	case "X-Tandem-Region":
		return describe("The region that answered, or took the write.", text())
	case "X-Tandem-Version":
		return describe("The version: epoch and number of the write. Of a read, where it is known without asking the index.", &huma.Schema{Type: "string", Pattern: "^[0-9]+-[0-9]+$"})
	case regionsHeader:
		return describe("The regions that have the write, where it was to wait for some.", text())
	case "X-Tandem-Freshness":
		return describe("Whether it is the acknowledged version.", enum("current", "stale", "unknown"))
	case "X-Tandem-Fallback":
		return describe("A replica answered because the active did not.", enum("true"))
	case "X-Tandem-Repair":
		return describe("What became of the repair that was asked for.", enum("none", "queued", "done"))
	case "ETag":
		return describe("The object's ETag, quoted.", text())
	case "Location":
		return describe("The path of the object.", text())
	case "Accept-Ranges":
		return describe("That Range is honoured.", enum("bytes"))
	case "Content-Length":
		return describe("In bytes.", &huma.Schema{Type: "string", Pattern: "^[0-9]+$"})
	case "Content-Range":
		return describe("Which part it is.", text())
	case "Content-Disposition":
		return describe("A name for what is answered, as a file.", text())
	case "Content-Encoding", "Content-Language", "X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location":
		return describe("As stored with the object.", text())
	case "Last-Modified":
		return describe("When the region got it.", text())
	case "Cache-Control":
		return describe("Whether the answer may be kept.", text())
	case "Expires":
		return describe("Until when the answer may be kept.", text())
	case "X-Amz-Mp-Parts-Count":
		return describe("How many parts the object has, where one was asked for.", text())
	case "X-Amz-Tagging-Count":
		return describe("How many tags the object has.", text())
	case "Retry-After":
		return describe("In how many seconds to try again.", text())
	case "WWW-Authenticate":
		return describe("That a bearer token is needed.", text())
	case "Content-Security-Policy":
		return describe("That the page loads nothing and runs nothing.", text())
	}
	panic("nothing is said of the header " + name) // only a mistake in our own table
}

func describeHeaders(always, sometimes []string) map[string]*huma.Header {
	headers := make(map[string]*huma.Header)
	for _, name := range slices.Concat(always, sometimes) {
		headers[name] = answerHeader(name)
		headers[name].Required = slices.Contains(always, name)
	}
	return headers
}
