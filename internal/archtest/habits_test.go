package archtest_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// pure are the packages that decide and do nothing: the same arguments give the same
// answer, which is what lets one table of cases stand for every run.
var pure = map[string][]string{ // to the outside packages they may import
	"internal/route": {"slices", "time"},
	"internal/sigv4": {
		"bufio", "bytes", "cmp", "crypto/sha256", "crypto/subtle", "encoding/base64", "encoding/hex", "errors", "fmt", "hash", "hash/crc32",
		"hash/crc64", "io", "net/http", "net/url", "slices", "strconv", "strings", "sync", "time",
	},
	"internal/s3op":    {"crypto/sha1", "crypto/sha256", "encoding/xml", "errors", "fmt", "hash", "hash/crc32", "hash/crc64", "iter", "net/http", "net/netip", "net/url", "slices", "strings", "time", "unicode/utf8"},
	"internal/journal": {"cmp", "context", "errors", "fmt", "slices", "strconv", "strings", "time"},
}

// vocabulary is what a pure package may use of a package that can do more.
var vocabulary = map[string]func(name string) bool{
	"net/http": func(name string) bool {
		return slices.Contains([]string{"CanonicalHeaderKey", "Header", "Request", "ParseTime"}, name) || strings.HasPrefix(name, "Status")
	},
	"net/url": func(name string) bool { return name == "PathUnescape" || name == "QueryUnescape" },
	"time": func(name string) bool {
		return !slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}, name)
	},
	"context": func(name string) bool { return name == "Context" },
}

func TestPurePackagesDoNoIO(t *testing.T) {
	for _, f := range source(t) {
		allowed, ok := pure[f.pkg]
		if f.test || !ok {
			continue
		}
		for _, imported := range f.imports {
			if !isOurs(imported) && !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s; %s does no I/O and may import %v", f.name, imported, f.pkg, allowed)
			}
		}
		for _, u := range f.uses {
			if isWord, ok := vocabulary[u.path]; ok && !isWord(u.name) {
				t.Errorf("%s uses %s.%s; %s takes words from that package, and does nothing with it", u.at, u.path, u.name, f.pkg)
			}
		}
	}
}

// forbidden are names that no package may use but those listed.
var forbidden = []struct {
	path, reason string
	names        []string
	except       []string
}{
	{
		path: "log/slog", names: []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "With", "Default", "SetDefault",
			"DebugContext", "InfoContext", "WarnContext", "ErrorContext"},
		reason: "the logger is passed in: the default one belongs to nobody",
	},
	{
		path: "os", names: []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv"},
		except: []string{"cmd/tandem", "internal/failpoint", "internal/region/localregion", "internal/e2e"},
		reason: "the environment is read in one place (and by failpoints, and for the environment of a region's process)",
	},
	{
		path: "net/http", names: []string{"DefaultServeMux", "Handle", "HandleFunc", "NewServeMux", "ListenAndServe"},
		reason: "http.ServeMux redirects keys such as a//b and .., and the default one is a global",
	},
	{
		path: "net/http", names: []string{"Get", "Head", "Post", "PostForm", "DefaultTransport"},
		reason: "a client has its own transport and time-outs",
	},
	{
		path: "os", names: []string{"Exit"}, except: []string{"cmd/tandem"},
		reason: "only main ends the process; anything else returns an error",
	},
	{
		path: "github.com/prometheus/client_golang/prometheus", names: []string{"DefaultRegisterer", "MustRegister", "Register"},
		reason: "metrics are registered with the registry that was passed in",
	},
}

func TestNoPackageUsesWhatBelongsToNobody(t *testing.T) {
	for _, f := range source(t) {
		if f.test {
			continue
		}
		for _, u := range f.uses {
			for _, rule := range forbidden {
				if u.path == rule.path && slices.Contains(rule.names, u.name) && !slices.Contains(rule.except, f.pkg) {
					t.Errorf("%s uses %s.%s: %s", u.at, u.path, u.name, rule.reason)
				}
			}
		}
	}
}

func TestNothingRunsBeforeMain(t *testing.T) {
	for _, f := range source(t) {
		if f.inits {
			t.Errorf("%s has an init function: wiring is done by hand in internal/app", f.name)
		}
	}
}

func TestPackagesAreNamedAfterWhatTheyAre(t *testing.T) {
	says := []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "manager", "shared"}
	for _, f := range source(t) {
		if slices.Contains(says, path.Base(f.pkg)) {
			t.Errorf("%s: a package called %q says nothing of what is in it", f.name, path.Base(f.pkg))
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	documented := make(map[string]bool)
	for _, f := range source(t) {
		if !f.test {
			documented[f.pkg] = documented[f.pkg] || f.doc
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}
