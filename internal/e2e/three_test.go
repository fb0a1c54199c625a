package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The regions of a file, beside primary.
const (
	south   = "south"
	farEast = "far-east"
)

func threeNames() []string { return []string{primary, south, farEast} }

// startThree runs a gateway over three regions that a file names.
func startThree(t *testing.T, env ...string) *gateway {
	t.Helper()
	g := newGatewayOf(t, threeNames(), slices.Concat(quick, quickFailover, []string{"FAR_EAST_S3_BUCKET=" + farEast, "CONFIG=tandem.yaml"}, env)...)
	var file strings.Builder
	file.WriteString("failover: {mode: manual}\nregions:\n")
	for _, name := range threeNames() {
		file.WriteString("  - name: " + name + "\n    endpoint: " + g.endpointOf(t, name) + "\n")
		if !regions.isEmbedded() {
			at := g.servers[name].access(t)
			file.WriteString("    accessKey: " + at.accessKey + "\n    secretKey: " + at.secretKey + "\n")
		}
	}
	if err := os.WriteFile(filepath.Join(g.dir, "tandem.yaml"), []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start(t)
	g.waitCompared(t)
	return g
}

// slowDown has the process of a region run a fifth of the time, until heal is called or the test ends.
func (g *gateway) slowDown(t *testing.T, name string) (heal func()) {
	t.Helper()
	pid, ok := g.servers[name].pid(t)
	if !ok {
		t.Fatalf("region %s does not run", name)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			signal := syscall.SIGSTOP
			if i%5 == 0 {
				signal = syscall.SIGCONT
			}
			_ = syscall.Kill(pid, signal)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	heal = sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
	t.Cleanup(heal)
	return heal
}

// checkThreeAgree compares the three regions, and returns what they hold.
func (g *gateway) checkThreeAgree(t *testing.T) map[string]held {
	t.Helper()
	ours := g.holdings(t, primary)
	for _, name := range []string{south, farEast} {
		if diff := cmp.Diff(ours, g.holdings(t, name)); diff != "" {
			t.Errorf("the regions differ (-primary +%s):\n%s", name, diff)
		}
	}
	return ours
}

// TestThreeRegionsOneSlowAndOneCut: of three regions the active is cut while one replica is
// slow. The quicker one is promoted, the ledger is exact though a copy may be in either replica, and
// everything is current in all three at the end.
func TestThreeRegionsOneSlowAndOneCut(t *testing.T) {
	t.Parallel()
	g := startThree(t)
	heal := g.slowDown(t, farEast)
	l := g.startLoad(t, 16, 12, 4*kib)
	eventually(t, "the clients have written", func() bool { return l.acknowledged(1) > 300 })
	up := g.down(t, primary)
	g.waitActive(t, south, 2)
	afterPromotion(t, g, l)

	records, entries := l.all(), g.ledger(t, 2)
	written := last(records, 1<<40)
	held := []map[string]string{heldBy(t, g, south), heldBy(t, g, farEast)}
	checkLedger(t, entries, records, func(key string) string {
		before := last(records, 1)[key].etag()
		if written[key].version.Epoch > 1 || held[0][key] == before || held[1][key] == before {
			return before // of what was overwritten nothing is to be seen any more
		}
		return "another object"
	})
	f := g.failovers(t)[0]
	t.Logf("%d writes acknowledged before, %d after; at risk %d, in doubt %d", l.acknowledged(1), l.acknowledged(2), f.AtRisk, f.InDoubt)
	if !f.Automatic || f.From != primary || f.To != south {
		t.Errorf("failover %+v, want one by the gateway from primary to south", f)
	}
	for key, r := range written {
		a := g.get(t, key)
		etag := strings.Trim(a.header.Get("ETag"), `"`)
		isOther := a.status == http.StatusOK && etag != r.etag() || a.status == http.StatusNotFound && r.body != nil
		if isOther && len(unacknowledged(records, key)) == 0 {
			t.Errorf("%s reads as %s while its region is away; the last acknowledged write is %v", key, a, r)
		}
	}

	up()
	heal()
	g.waitClosed(t)
	g.checkOutcome(t, records, g.ledger(t, 2))
	g.checkThreeAgree(t)

	if a := g.promote(t, `{"region": "far-east", "reason": "a drill"}`); a.status != http.StatusOK {
		t.Fatalf("promote far-east: %s", a)
	}
	g.waitActive(t, farEast, 3)
	g.putText(t, "load/after", "the third epoch")
	g.stop(t)
	g.start(t)
	g.waitActive(t, farEast, 3)
	g.waitAtRest(t, "load/after")
	g.waitClosed(t)
	if all := g.checkThreeAgree(t); all["load/after"].Size != int64(len("the third epoch")) {
		t.Errorf("load/after is held as %+v", all["load/after"])
	}
}

// TestTheFileAndTheEnvironmentMakeOneConfiguration: the file's failover mode gives way to the
// environment's, and a bucket of a region of the file is the environment's.
func TestTheFileAndTheEnvironmentMakeOneConfiguration(t *testing.T) {
	t.Parallel()
	g := startThree(t, "FAILOVER_MODE=")
	g.putText(t, "k", "text")
	g.waitAtRest(t, "k")
	g.checkThreeAgree(t)
	s := getJSON[struct {
		Mode    string
		Regions []struct{ Name, Bucket string }
	}](t, g, "/admin/state")
	if s.Mode != "manual" || len(s.Regions) != 3 || s.Regions[2].Name != farEast || s.Regions[2].Bucket != farEast || s.Regions[1].Bucket != "gnew-south" {
		t.Errorf("state %+v, want the file's mode, and the buckets of file, environment and default", s)
	}
}
