package archtest_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// knows lists, for each package, all of the module that it may import outside its
// tests. A package that is not here is in nobody's way yet: give it its line.
var knows = map[string]struct {
	imports []string
	reason  string
}{
	"cmd/tandem": {
		[]string{
			"internal/apiclient", "internal/app", "internal/audit", "internal/config", "internal/doctor", "internal/journal/sqlite", "internal/mark", "internal/region",
			"internal/region/localregion", "internal/s3op",
		},
		"commands read the configuration and run the app, or ask a gateway over HTTP; localregion is the body of the hidden command that an " +
			"embedded region's process runs. A backup copies a SQLite file, which no contract promises, and the chain is verified without " +
			"a gateway that would have to be trusted: from the file, by audit, against the marks that regions hold",
	},
	"internal/apiclient": {[]string{"internal/s3op"}, "it asks a gateway from outside: what it knew of the inside would not be in the API"},
	"internal/app": {
		[]string{
			"internal/accesskey", "internal/audit", "internal/config", "internal/disk", "internal/failover", "internal/gateway", "internal/health", "internal/journal",
			"internal/journal/sqlite", "internal/mark", "internal/reconcile", "internal/region", "internal/region/localregion", "internal/replicate", "internal/restapi", "internal/s3api", "internal/seal", "internal/server", "internal/settle",
			"internal/stats",
		},
		"the composition root knows everybody, the leaves excepted: it decides nothing that needs them",
	},
	"internal/restapi": {
		[]string{"internal/accesskey", "internal/audit", "internal/failover", "internal/gateway", "internal/health", "internal/pace", "internal/s3op", "internal/stats"},
		"a front that reads rows or asks regions by itself has freshness rules of its own, and two fronts then answer differently",
	},
	"internal/s3api": {
		[]string{"internal/gateway", "internal/pace", "internal/s3op", "internal/sigv4"},
		"likewise; what is allowed of S3 the gateway says, and the region does",
	},
	"internal/restapi/restapitest": {nil, "it reads the document as any client does: what shares code with the front shares its mistakes"},
	"internal/gateway": {
		[]string{"internal/failpoint", "internal/journal", "internal/region", "internal/route", "internal/s3op"},
		"the core knows contracts: neither SQL nor the clients' protocol",
	},
	"internal/replicate": {
		[]string{"internal/failpoint", "internal/journal", "internal/region", "internal/s3op"},
		"workers know the queue and the regions, and nothing of the requests that filled it",
	},
	"internal/settle":    {[]string{"internal/journal", "internal/region"}, "it reads a region and tells the journal; Decide has the rules"},
	"internal/reconcile": {[]string{"internal/journal", "internal/region", "internal/s3op"}, "it compares what those two say"},
	"internal/route":     {[]string{"internal/journal"}, "a plan is made of rows and of nothing else"},
	"internal/region":    {[]string{"internal/s3op"}, "the way to a region decides nothing, so it knows nobody who does"},
	"internal/region/localregion": {
		nil, "to the rest of the program it is an endpoint like any other; nothing of ours can leak into that process",
	},
	"internal/region/regiontest": {
		[]string{"internal/region"}, "its suite asks regions through their client",
	},
	"internal/health":         {[]string{"internal/region"}, "it asks regions, and tells what they answer; what follows from that is others' business"},
	"internal/failover":       {[]string{"internal/failpoint", "internal/health", "internal/journal", "internal/region", "internal/s3op"}, "it decides who is active, and leaves the doing to journal, gateway and workers"},
	"internal/accesskey":      {[]string{"internal/journal", "internal/seal"}, "it keeps keys in the journal and in memory; what one may do the S3 front judges"},
	"internal/seal":           {nil, "a leaf: a secret is sealed the same whatever it opens"},
	"internal/mark":           {[]string{"internal/journal", "internal/region", "internal/s3op"}, "it compares what a region says of itself with what the journal wrote there"},
	"internal/doctor":         {[]string{"internal/region", "internal/s3op"}, "it asks regions through their client, as the gateway does, and needs neither gateway nor journal"},
	"internal/audit":          {nil, "a leaf: the chain can be verified without the rest of the program"},
	"internal/journal":        {[]string{"internal/audit"}, "a contract is at the bottom, on the vocabulary of what it records"},
	"internal/journal/sqlite": {[]string{"internal/audit", "internal/journal"}, "an implementation knows its contract"},
	"internal/journal/journaltest": {
		[]string{"internal/audit", "internal/journal"}, "the suite must fit every implementation, so it knows none",
	},
	"internal/stats":     {[]string{"internal/journal"}, "it reads the counters by their names in /metrics, so that whoever counts knows nothing of it"},
	"internal/config":    {nil, "settings are read before anything else exists, and handed on as fields"},
	"internal/disk":      {[]string{"internal/s3op"}, "a leaf beside the vocabulary of errors"},
	"internal/server":    {nil, "listening and draining are the same whatever is served"},
	"internal/pace":      {nil, "a leaf: a client's deadlines are the same whatever it asks"},
	"internal/failpoint": {nil, "a leaf"},
	"internal/mutant":    {nil, "a leaf"},
	"internal/sigv4":     {[]string{"internal/s3op"}, "a signature is a matter of the request and the secret alone, whoever asks; s3op has the words to refuse it"},
	"internal/s3op":      {nil, "the vocabulary is at the very bottom"},
}

// everywhere is what any package may import: a rule's broken variant stands beside the rule, and is nothing
// outside of builds with its tag.
const everywhere = "internal/mutant"

func TestEachPackageImportsOnlyWhatItMayKnow(t *testing.T) {
	for _, f := range source(t) {
		rule, ok := knows[f.pkg]
		if f.test || !ok {
			continue
		}
		for _, imported := range f.imports {
			if isOurs(imported) && imported != everywhere && !slices.Contains(rule.imports, imported) {
				t.Errorf("%s imports %s; %s may import %v: %s", f.name, imported, f.pkg, rule.imports, rule.reason)
			}
		}
	}
}

func TestEveryPackageOfTheBinaryHasItsImportRule(t *testing.T) {
	for _, pkg := range reachable(source(t)) {
		if _, ok := knows[pkg]; !ok {
			t.Errorf("%s has no line in the table: say what it may import, and why", pkg)
		}
	}
}

func TestTheRegionInMemorySharesNoCodeWithTheClient(t *testing.T) {
	for _, f := range source(t) {
		isSuite := strings.HasPrefix(path.Base(f.name), "conformance")
		if f.pkg == "internal/region/regiontest" && !f.test && !isSuite && slices.ContainsFunc(f.imports, isOurs) {
			t.Errorf("%s imports a package of ours: a region that shares code with its client shares its mistakes", f.name)
		}
	}
}

// usedBy says who may import a package, tests included.
var usedBy = []struct {
	imported []string
	by       []string
	reason   string
}{
	{
		[]string{"internal/app"},
		[]string{"cmd/tandem", "internal/app", "internal/e2e", "internal/sim"},
		"what needs the whole gateway is a command or a test of the whole",
	},
	{
		[]string{"internal/config"},
		[]string{"cmd/tandem", "internal/app", "internal/config", "internal/e2e", "internal/sim"},
		"packages are configured by fields, so that a test needs no environment",
	},
	{
		[]string{"internal/journal/sqlite"},
		[]string{"internal/app", "cmd/tandem", "internal/journal/sqlite", "internal/e2e", "internal/sim", "tests"},
		"only the composition root chooses an implementation",
	},
	{
		[]string{"internal/region/localregion"},
		[]string{"internal/app", "cmd/tandem", "internal/region/localregion", "internal/e2e", "tests"},
		"only the composition root chooses an implementation",
	},
	{
		[]string{"database/sql", "modernc.org/sqlite/...", "github.com/pressly/goose/v3/..."},
		[]string{"internal/journal/sqlite", "internal/e2e", "tests"},
		"SQL stays in the implementation of the journal (and in tests that tamper with one)",
	},
	{
		[]string{"github.com/versity/versitygw/..."},
		[]string{"internal/region/localregion"},
		"the server of embedded regions runs in a process of its own, and nowhere else",
	},
	{
		[]string{"github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/..."},
		[]string{"internal/region", "internal/region/localregion", "internal/region/regiontest", "internal/s3op", "internal/sigv4", "internal/app", "internal/e2e"},
		"requests to regions leave through one client, which sends each once (the others only prove themselves against the SDK)",
	},
	{
		[]string{"github.com/minio/minio-go/v7/..."},
		[]string{"internal/sigv4", "internal/e2e"},
		"it signs in its own way, which tests must know, and nobody else",
	},
	{
		[]string{"internal/apiclient"},
		[]string{"cmd/tandem", "internal/apiclient"},
		"the gateway asks no gateway",
	},
	{
		[]string{"github.com/spf13/cobra/..."},
		[]string{"cmd/tandem"},
		"only commands parse a command line",
	},
	{
		[]string{"github.com/vbauerster/mpb/v8/..."},
		[]string{"cmd/tandem"},
		"only commands draw on a terminal",
	},
	{
		[]string{"github.com/danielgtaylor/huma/v2/..."},
		[]string{"internal/restapi"},
		"its types describe the REST front; requests are routed and read by our own rules",
	},
	{
		[]string{"github.com/santhosh-tekuri/jsonschema/v6/...", "github.com/pb33f/libopenapi/..."},
		[]string{"internal/restapi/restapitest"},
		"what is held against the OpenAPI document is held there",
	},
	{
		[]string{"log"},
		nil,
		"log lines go through the *slog.Logger that was passed in",
	},
}

func TestImplementationsAndLibrariesStayInTheirRooms(t *testing.T) {
	for _, f := range source(t) {
		for _, rule := range usedBy {
			if matches(rule.by, f.pkg) || f.test && matches(rule.by, "tests") {
				continue
			}
			for _, imported := range f.imports {
				if matches(rule.imported, imported) {
					t.Errorf("%s imports %s, which only %v may: %s", f.name, imported, rule.by, rule.reason)
				}
			}
		}
	}
}

func TestNothingForTestsReachesTheBinary(t *testing.T) {
	files := source(t)
	inBinary := reachable(files)
	onlyForTests := []string{
		"testing/...", "net/http/httptest", "github.com/google/go-cmp/...", "github.com/rogpeppe/go-internal/...",
		"internal/certtest", "internal/region/regiontest", "internal/journal/journaltest", "internal/restapi/restapitest", "internal/archtest", "internal/e2e/...", "internal/sim/...",
		"github.com/santhosh-tekuri/jsonschema/...", "github.com/pb33f/...", "github.com/minio/minio-go/...",
	}
	for _, f := range files {
		if f.test || !slices.Contains(inBinary, f.pkg) {
			continue
		}
		for _, imported := range f.imports {
			if matches(onlyForTests, imported) {
				t.Errorf("%s imports %s, and is in the binary", f.name, imported)
			}
		}
	}
}
