package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// regionsVariable says what the regions of a run are: nothing for embedded ones, or the name of another kind.
const regionsVariable = "TANDEM_E2E_REGIONS"

// regions is what the regions of this run are; TestMain sets it.
var regions kind

// kind is a kind of S3 servers that regions can be, and what a test has to know of it. Whatever such a
// server does otherwise than an embedded region, in a way that a test can tell, is said here and nowhere else.
type kind struct {
	name string
	// start runs a server with one bucket, beside the gateway, until the test ends. It is nil for embedded
	// regions, which their gateway runs.
	start func(t *testing.T, name, bucket string) server
	// tags, uploads in parts, conditions on PUTs and on deletes, versions, and signatures that are verified.
	tags, uploads, conditions, deleteConditions, versions, signatures bool
	// lacksSigned is the status of a presigned request that lacks a header that was signed. takesUnsigned: one that
	// has another beside those is taken, and the header counts, even one that makes a copy of an upload.
	lacksSigned   int
	takesUnsigned bool
	// holds says whether a key can be held; those that tests use are left out where it cannot.
	holds func(key string) bool
}

func kindOf(name string) (kind, error) {
	everything := func(string) bool { return true }
	kinds := []kind{
		{
			name: "", tags: true, uploads: true, conditions: true, deleteConditions: true, versions: true, signatures: true,
			lacksSigned: http.StatusForbidden, holds: everything,
		},
		{
			name: "minio", start: startMinIORegion, tags: true, uploads: true, conditions: true, versions: true, signatures: true,
			lacksSigned: http.StatusBadRequest, takesUnsigned: true, holds: minioHolds,
		},
		{name: "poor", start: startPoorRegion, holds: everything},
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, fmt.Errorf("%s is %q, want minio, poor, or nothing", regionsVariable, name)
	}
	return kinds[i], nil
}

func (k kind) isEmbedded() bool { return k.start == nil }

// embeddedOnly skips a test that is about embedded regions themselves, or whose regions are its own. why
// says what in it is.
func embeddedOnly(t *testing.T, why string) {
	t.Helper()
	needs(t, regions.isEmbedded(), "embedded regions: "+why)
}

// needs skips a test that needs what the regions of this run have not. Embedded regions have all there is, so
// that nothing is skipped with them.
func needs(t *testing.T, has bool, what string) {
	t.Helper()
	if !has {
		t.Skipf("%s needs %s", t.Name(), what)
	}
}

// unsized is what is told of the size of a large body so as not to tell it. Without uploads in parts a
// region takes no such body, and is told.
func unsized(size int64) int64 {
	if !regions.uploads {
		return size
	}
	return unknown
}

// server is a region as a test has it in its hands.
type server interface {
	// access is how it is reached past the gateway. It stays the same.
	access(t *testing.T) access
	// pid is the process that serves it, or waits to; false where there is none. It is started again whenever it dies.
	pid(t *testing.T) (int, bool)
	// keepAway kills the process, and keeps it from being started again until comeBack is called. It may have
	// to be tried again: then isAway is false, and nothing is kept.
	keepAway(t *testing.T) (comeBack func(), isAway bool)
	// awaitServing returns once it answers, or is kept away. An embedded region is waited for by its gateway.
	awaitServing(t *testing.T)

	// What follows goes behind everybody's back.

	// size of an object, -1 where there is none. Of a MinIO that is away nothing is known but whether there is one.
	size(t *testing.T, key string) int64
	// lose takes objects away.
	lose(t *testing.T, keys ...string)
	// loseOwn takes away what Tandem keeps there for itself. No gateway runs.
	loseOwn(t *testing.T)
	// plant puts objects, all with the same bytes. No gateway runs.
	plant(t *testing.T, keys []string, text string)
	// save keeps all that a region holds that is away, for restore.
	save(t *testing.T) (restore func())
	// clear leaves nothing in a region that is away.
	clear(t *testing.T)
	// unfinished are the uploads without their end, and whatever else no object is.
	unfinished(t *testing.T) []string
}

// access is where a region is, and what it takes to be let in.
type access struct{ endpoint, bucket, accessKey, secretKey string }

// bucketOf is what a region's bucket is called. The one of far-east is named by the environment.
func bucketOf(name string) string {
	if name == farEast {
		return farEast
	}
	return "gnew-" + name
}

// hasRegions reports whether an environment says where the regions are.
func hasRegions(env []string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PRIMARY_S3_ENDPOINT=") })
}

// startRegions has the regions that the gateway is to have; those that are not its own processes are started.
func (g *gateway) startRegions(t *testing.T, names []string) {
	t.Helper()
	g.servers = make(map[string]server)
	for _, name := range names {
		if regions.isEmbedded() || hasRegions(g.env) {
			g.servers[name] = embedded{g, name}
			continue
		}
		g.servers[name] = regions.start(t, name, bucketOf(name))
	}
}

// environment is what tells a gateway of regions that are not embedded, by the variables that two of them have.
func (g *gateway) environment(t *testing.T) (env []string) {
	t.Helper()
	if regions.isEmbedded() || hasRegions(g.env) {
		return nil
	}
	for name, s := range g.servers {
		a, prefix := s.access(t), strings.ToUpper(name)+"_S3_"
		env = append(env, prefix+"ENDPOINT="+a.endpoint, prefix+"BUCKET="+a.bucket, prefix+"ACCESS_KEY="+a.accessKey, prefix+"SECRET_KEY="+a.secretKey)
	}
	return env
}

// endpointOf is what a gateway is told of where a region is.
func (g *gateway) endpointOf(t *testing.T, name string) string {
	t.Helper()
	if regions.isEmbedded() {
		return "file://" + g.regionDir(name)
	}
	return g.servers[name].access(t).endpoint
}
