package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gnew/tandem/internal/certtest"
	"github.com/gnew/tandem/internal/config"
)

// TestMain lets scripts run this test binary as tandem. A gateway that runs from it
// starts the processes of its regions in the same way, since it runs its own file again.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tandem": main})
}

func TestScript(t *testing.T) {
	authority, certificates := certtest.NewAuthority(t), t.TempDir()
	authority.Issue(t, time.Now().Add(time.Hour), "127.0.0.1").Write(t, certificates)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Setenv("PORT", "0")
			env.Setenv("S3_PORT", "0")
			env.Setenv("CERTIFICATES", certificates) // tls.crt, tls.key
			env.Setenv("AUTHORITY", authority.File)
			env.Setenv("DRAIN_TIMEOUT", "2s")
			env.Values[gatewayKey{}] = &gateway{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      exits,
			"eventually": eventually,
			"serve":      serve,
			"drain":      drain,
			"down":       down,
			"up":         up,
			"http":       request,
			"readme":     readme,
			"tamper":     tamper,
			"rechain":    rechain,
			"oddtree":    oddTree,
		},
	})
}

// patient bounds the wait for another process; nothing should take as long.
const patient = 30 * time.Second

// exits CODE COMMAND… runs a command that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = fmt.Sprint(e.ExitCode())
	} else {
		ts.Check(err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// eventually PATTERN COMMAND… runs a command until it ends well and its output matches,
// within bounds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually pattern command [args...]")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	deadline := time.After(patient)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := ts.Exec(args[1], args[2:]...); err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("still:\n%s%s", ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// gateway is the script's, while one runs.
type gateway struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	greet  strings.Builder
	stderr strings.Builder
	// locks keep embedded regions down.
	locks map[string]*flock.Flock
}

type gatewayKey struct{}

func gatewayOf(ts *testscript.TestScript) *gateway { return ts.Value(gatewayKey{}).(*gateway) }

// serve runs "tandem serve" in the background until drain, or the end of the script. It
// returns once the gateway has greeted, sets TANDEM_URL, and puts the greeting into the
// file that is named.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve greeting-file")
	}
	g := gatewayOf(ts)
	*g = gateway{locks: make(map[string]*flock.Flock)}
	path, err := exec.LookPath("tandem")
	ts.Check(err)
	g.cmd = exec.Command(path, "serve")
	g.cmd.Dir = ts.MkAbs(".")
	g.cmd.Env = environmentOf(ts)
	g.cmd.Stderr = &g.stderr
	stdout, err := g.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(g.cmd.Start())
	ts.Defer(func() {
		if g.cmd.ProcessState == nil {
			_ = g.cmd.Process.Kill()
			_ = g.cmd.Wait()
			ts.Logf("the gateway said: %s", g.stderr.String())
		}
	})
	// A gateway that never greets is killed, which ends its output.
	late := time.AfterFunc(patient, func() { _ = g.cmd.Process.Kill() })
	defer late.Stop()
	g.stdout = bufio.NewReader(stdout)
	for !strings.HasSuffix(g.greet.String(), "tandem status\n") {
		line, err := g.stdout.ReadString('\n')
		if err != nil {
			ts.Fatalf("the gateway did not greet: %v", err)
		}
		g.greet.WriteString(line)
	}
	url := regexp.MustCompile(`https?://\S+`).FindString(g.greet.String())
	ts.Setenv("TANDEM_URL", url)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(g.greet.String()), 0o600))
}

// environmentOf is what a gateway is given of the script's environment.
func environmentOf(ts *testscript.TestScript) []string {
	names := []string{"AWS_EC2_METADATA_DISABLED", "HOME", "PATH", "TMPDIR"}
	for _, v := range config.Reference() {
		names = append(names, v.Name, v.Name+"_FILE")
	}
	var env []string
	for _, name := range names {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// drain sends SIGTERM to the gateway, which must end with the code that is given, and
// puts what it logged into the file that is named.
func drain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: drain code log-file")
	}
	g := gatewayOf(ts)
	ts.Check(g.cmd.Process.Signal(syscall.SIGTERM))
	late := time.AfterFunc(patient, func() { _ = g.cmd.Process.Kill() })
	defer late.Stop()
	rest, err := io.ReadAll(g.stdout)
	ts.Check(err)
	err = g.cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(g.stderr.String()), 0o600))
	if code := fmt.Sprint(g.cmd.ProcessState.ExitCode()); code != args[0] {
		ts.Fatalf("the gateway ended with %v, want exit code %s; it said: %s", err, args[0], g.stderr.String())
	}
	if len(rest) > 0 {
		ts.Fatalf("the gateway printed more than its greeting: %s", rest)
	}
}

// down REGION kills the process of an embedded region, and keeps others from serving: it takes
// the lock of the region's folder. Connections are refused until "up REGION".
func down(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: down region")
	}
	lock := flock.New(ts.MkAbs(filepath.Join("data", "regions", args[0], "server.lock")))
	gatewayOf(ts).locks[args[0]] = lock
	ts.Defer(func() { _ = lock.Close() })
	deadline := time.After(patient)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		killRegion(ts, args[0])
		locked, err := lock.TryLock()
		ts.Check(err)
		if locked {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("region %s is still served", args[0])
		}
	}
}

// up REGION lets the gateway start it again.
func up(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || gatewayOf(ts).locks[args[0]] == nil {
		ts.Fatalf("usage: up region, after down region")
	}
	ts.Check(gatewayOf(ts).locks[args[0]].Close())
}

// killRegion finds the process by its command line, which ends in the region's folder.
func killRegion(ts *testscript.TestScript, name string) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ts.Check(err)
	dir := ts.MkAbs(filepath.Join("data", "regions", name))
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if args := strings.Split(string(line), "\x00"); err == nil && len(args) > 2 && args[1] == regionServer && args[2] == dir {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			ts.Check(err)
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// request METHOD PATH STATUS [PATTERN] asks the gateway, and puts the answer's body
// into the file "body". PUT sends the file "sent". With a pattern it asks again until the
// body matches, within bounds.
func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: http method path status [pattern]")
	}
	pattern := regexp.MustCompile("")
	if len(args) == 4 {
		pattern = regexp.MustCompile(args[3])
	}
	deadline := time.After(patient)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body := ask(ts, args[0], args[1])
		if status == args[2] && pattern.Match(body) {
			ts.Check(os.WriteFile(ts.MkAbs("body"), body, 0o600))
			return
		}
		if len(args) == 3 {
			ts.Fatalf("%s %s: %s %s", args[0], args[1], status, body)
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s %s: still %s %s", args[0], args[1], status, body)
		}
	}
}

func ask(ts *testscript.TestScript, method, path string) (status string, body []byte) {
	var sent io.Reader
	if method == http.MethodPut {
		sent = strings.NewReader(ts.ReadFile("sent"))
	}
	req, err := http.NewRequest(method, ts.Getenv("TANDEM_URL")+path, sent)
	ts.Check(err)
	if token := ts.Getenv("TANDEM_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "text/markdown")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	ts.Check(err)
	return fmt.Sprint(resp.StatusCode), body
}

// readme FILE fails unless README.md shows what is in the file, at the default URLs.
func readme(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: readme file")
	}
	shown, err := os.ReadFile(readmeFile)
	ts.Check(err)
	printed := strings.ReplaceAll(ts.ReadFile(args[0]), ts.Getenv("TANDEM_URL"), defaultURL)
	printed = regexp.MustCompile(`(S3 clients take )http://[0-9.:]+`).ReplaceAllString(printed, "${1}http://127.0.0.1:8111")
	if !strings.Contains(string(shown), printed) {
		ts.Fatalf("README.md does not show this:\n%s", printed)
	}
}
