package region_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/region"
	"github.com/gnew/tandem/internal/region/localregion"
)

// The test binary runs itself again in this role, as the server of an embedded region.
const serverRole = "region-server"

const (
	bucket  = "tandem"
	timeout = 30 * time.Second
	patient = 30 * time.Second // for real processes; nothing should take as long
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == serverRole {
		if localregion.Serve(context.Background(), os.Stdin, os.Stdout, os.Stderr, os.Args[2]) != nil {
			os.Exit(1)
		}
		return
	}
	// Nothing of this machine's AWS configuration counts, and nobody is asked for it.
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	os.Exit(m.Run())
}

// newRegion is a client that reaches nobody, unless an edit says where.
func newRegion(t testing.TB, edits ...func(*region.Config)) *region.Region {
	t.Helper()
	c := region.Config{
		Name: "primary", Endpoint: "http://127.0.0.1:1", Bucket: bucket, AccessKey: "AKIATEST", SecretKey: "secret", Timeout: timeout,
	}
	for _, edit := range edits {
		edit(&c)
	}
	r, err := region.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func at(endpoint string) func(*region.Config) {
	return func(c *region.Config) { c.Endpoint = endpoint }
}
