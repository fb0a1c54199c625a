package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// gateway is a data folder, and the process that serves it while one does.
type gateway struct {
	dir    string
	env    []string
	client *http.Client
	url    string
	// s3 is the URL of the S3 API.
	s3 string
	// servers are its regions, by name.
	servers map[string]server
	// process is nil while none runs.
	process *process
	// logs are those of every process there was.
	logs buffer
}

// process is one run of the binary.
type process struct {
	cmd    *exec.Cmd
	stdout buffer
	// ended is closed once the process has, and err is set then.
	ended chan struct{}
	err   error
}

// quick are the settings of most tests: short windows, a log that explains a failure.
var quick = []string{
	"DOUBT_WINDOW=1s", "REGION_TIMEOUT=2s", "DRAIN_TIMEOUT=3s", "LOG_FORMAT=text", "LOG_LEVEL=debug", "FAILOVER_MODE=manual",
}

// newGateway makes an empty folder, and has two regions, unless the environment says where
// they are. Whatever runs there at the end of the test is stopped, and must then be gone, with its embedded regions.
func newGateway(t *testing.T, env ...string) *gateway {
	t.Helper()
	g := newGatewayOf(t, []string{primary, secondary}, env...)
	g.env = slices.Concat(g.environment(t), g.env)
	return g
}

// newGatewayOf is newGateway with regions of which the gateway is still to be told.
func newGatewayOf(t *testing.T, names []string, env ...string) *gateway {
	t.Helper()
	g := &gateway{dir: t.TempDir(), env: env, client: newClient(t)}
	g.startRegions(t, names)
	t.Cleanup(func() {
		if g.process != nil {
			g.stop(t)
		}
		if t.Failed() {
			fmt.Fprintf(t.Output(), "--- the gateway's log ---\n%s\n", g.logs.tail(128<<10))
		}
	})
	return g
}

// start runs a gateway in a folder of its own with the quick settings.
func start(t *testing.T, env ...string) *gateway {
	t.Helper()
	g := newGateway(t, slices.Concat(quick, env)...)
	g.start(t)
	return g
}

// start runs the folder's gateway, with more environment than it usually has, and
// returns once it serves.
func (g *gateway) start(t *testing.T, env ...string) {
	t.Helper()
	for _, s := range g.servers {
		s.awaitServing(t)
	}
	g.await(t, g.launch(t, []string{"serve"}, env...))
}

// serve is start with arguments of the command.
func (g *gateway) serve(t *testing.T, args ...string) {
	t.Helper()
	g.await(t, g.launch(t, append([]string{"serve"}, args...)))
}

func (g *gateway) await(t *testing.T, p *process) {
	t.Helper()
	g.process = p
	g.url = ""
	eventually(t, "the gateway serves", func() bool {
		select {
		case <-p.ended:
			g.process = nil
			t.Fatalf("the gateway did not start: %v", p.err)
		default:
		}
		_, rest, found := strings.Cut(p.stdout.String(), "Tandem serves ")
		url, _, whole := strings.Cut(rest, "\n")
		g.url = url
		_, rest, hasS3 := strings.Cut(rest, "S3 clients take ")
		g.s3, _, _ = strings.Cut(rest, ",")
		return found && whole && hasS3
	})
}

// launch runs the binary with the folder's environment and the arguments.
func (g *gateway) launch(t *testing.T, args []string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Dir = g.dir
	p.cmd.Env = slices.Concat([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "AWS_EC2_METADATA_DISABLED=true", "PORT=0", "S3_PORT=0",
	}, g.env, env)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &g.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

// signal sends the gateway's process alone a signal.
func (g *gateway) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := g.process.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %s: %v", s, err)
	}
}

// stop ends the gateway as an operator does. It must end without an error, and leave
// no region behind.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	g.signal(t, syscall.SIGTERM)
	if code := g.waitStopped(t); code != 0 {
		t.Errorf("the gateway ended with exit code %d after SIGTERM", code)
	}
}

// waitStopped waits until the gateway has ended after SIGTERM, and returns its exit code.
func (g *gateway) waitStopped(t *testing.T) (code int) {
	t.Helper()
	select {
	case <-g.process.ended:
	case <-time.After(patience):
		t.Errorf("the gateway did not end within %s of SIGTERM; it is killed", patience)
		_ = g.process.cmd.Process.Kill()
		<-g.process.ended
	}
	code = g.process.cmd.ProcessState.ExitCode()
	g.ended(t)
	return code
}

// kill ends the gateway as a crash does.
func (g *gateway) kill(t *testing.T) {
	t.Helper()
	_ = g.process.cmd.Process.Kill() // it may have ended already
	g.waitKilled(t)
}

// waitKilled waits until the gateway was killed, by itself or by somebody else.
func (g *gateway) waitKilled(t *testing.T) {
	t.Helper()
	select {
	case <-g.process.ended:
	case <-time.After(patience):
		t.Fatalf("the gateway was not killed within %s", patience)
	}
	if status, ok := g.process.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("the gateway ended with %v, it was to be killed", g.process.err)
	}
	g.ended(t)
}

// ended checks that embedded regions end with their gateway.
func (g *gateway) ended(t *testing.T) {
	t.Helper()
	g.process = nil
	g.client.CloseIdleConnections()
	eventually(t, "the regions have ended with their gateway", func() bool { return len(g.embeddedPIDs(t)) == 0 })
}

// buffer is written by a process and read by a test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// tail is the last n bytes.
func (b *buffer) tail(n int) string {
	s := b.String()
	return s[max(0, len(s)-n):]
}

// eventually polls for what a process is about to do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting until %s", what)
		}
	}
}
