package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gnew/tandem/internal/region/regiontest"
)

const operationsFile = "../../docs/operations.md"

// block is one between fences.
type block struct {
	line int
	// info follows the fence that opens it: the language, and a mark of ours.
	info, text string
}

func guide(t *testing.T) (content string, blocks []block) {
	t.Helper()
	data, err := os.ReadFile(operationsFile)
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.SplitAfter(string(data), "\n") {
		info, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			open = &block{line: i + 2, info: info}
		case isFence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.text += line
		}
	}
	if open != nil {
		t.Fatalf("%s: the block that begins at line %d does not end", operationsFile, open.line)
	}
	return string(data), blocks
}

// Every shell block says who runs it, so that none is forgotten.
func TestEveryBlockOfTheGuideIsMarked(t *testing.T) {
	_, blocks := guide(t)
	counts := make(map[string]int)
	for _, b := range blocks {
		counts[b.info]++
		switch b.info {
		case "sh run", "text shown", "sh root", "sh docker", "sh yours", "yaml":
		default:
			t.Errorf("%s:%d: a block is marked %q; allowed: sh run, text shown, sh root, sh docker, sh yours, yaml", operationsFile, b.line, b.info)
		}
	}
	if counts["sh run"] < 20 || counts["text shown"] < 5 {
		t.Errorf("the guide has blocks %v, want most of them run", counts)
	}
}

// standIns are for what a test cannot have. systemctl start waits until the gateway serves or has ended, which
// the real one does not.
const standIns = `
set -euo pipefail
unit=$WORK/run/systemd/system/tandem.service.d/repair.conf gateway=
cleanup() { [ -z "$gateway" ] || { kill "$gateway" 2> "$WORK/answer" || true; wait "$gateway" || true; }; }
trap cleanup EXIT
systemctl() {
  case $1 in
  start)
    local command="tandem serve"
    [ ! -f "$unit" ] || command=$(sed -n 's#^ExecStart=/usr/local/bin/##p' "$unit")
    (set -a; DATA_DIR=; . "$WORK/etc/tandem/tandem.env"; exec $command) >> "$WORK/greetings" 2>> "$WORK/log" &
    gateway=$!
    until curl -sf "http://127.0.0.1:$PORT/readyz" > "$WORK/answer"; do
      kill -0 "$gateway" 2> "$WORK/answer" || return 0
      sleep 0.05
    done ;;
  stop) cleanup; gateway= ;;
  restart) systemctl stop; systemctl start ;;
  daemon-reload) ;;
  *) echo "no such stand-in: systemctl $*" >&2; return 1 ;;
  esac
}
journalctl() { case "$*" in *"-n 1") tail -n 1 "$WORK/log" ;; *) cat "$WORK/log" ;; esac; }
runuser() { [ "$1 $2 $3" = "-u tandem --" ] && shift 3 && "$@"; }
install() {
  local words=()
  while [ $# -gt 0 ]; do case $1 in -o | -g) shift 2 ;; *) words+=("$1"); shift ;; esac; done
  command install "${words[@]}"
}
`

// TestOperationsGuide runs what the operator's guide says, from top to bottom, in one shell.
func TestOperationsGuide(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the guide's commands need %s: %v", program, err)
		}
	}
	work := t.TempDir()
	dir := filepath.Join(work, "here")
	for _, folder := range []string{dir, filepath.Join(work, "var/lib"), filepath.Join(work, "var/backups"), filepath.Join(work, "run/systemd/system")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ports := freePorts(t, 2)
	places := []string{"http://127.0.0.1:8110", "http://127.0.0.1:" + ports[0], "/etc/tandem", work + "/etc/tandem", "/var/", work + "/var/", "/run/systemd", work + "/run/systemd"}
	for _, name := range []string{"primary", "secondary"} {
		s := regiontest.NewServer(regiontest.Options{Buckets: []string{"gnew-" + name}})
		places = append(places, "https://"+name+".example:9000", regiontest.Start(t, s))
	}
	replace := strings.NewReplacer(places...).Replace

	_, blocks := guide(t)
	var script strings.Builder
	script.WriteString(standIns)
	for i, b := range blocks {
		if b.info == "sh run" {
			fmt.Fprintf(&script, "\necho %s%d; echo %[1]s%[2]d >&2\n%[3]s", blockMark, i, replace(b.text))
		}
	}
	file := filepath.Join(work, "guide.sh")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", file)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + work, "TMPDIR=" + work, "WORK=" + work, "AWS_EC2_METADATA_DISABLED=true", "LOG_FORMAT=json",
		"PORT=" + ports[0], "S3_PORT=0", "MEASURE_PORT=" + ports[1], "MEASURE_KEYS=50", "HEALTH_INTERVAL=100ms", "MARK_INTERVAL=200ms", "DRAIN_TIMEOUT=1s",
	}
	// What it has started ends with it, also where it is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	printed, complained := byBlock(t, stdout.String()), byBlock(t, stderr.String())
	last := -1
	for i := range printed {
		last = max(last, i)
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(work, "log")) // it may not have come so far
		if last < 0 {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		t.Fatalf("%s:%d: %v, in\n%s\nit printed:\n%s%s\nthe gateways said:\n%s", operationsFile, blocks[last].line, err, blocks[last].text, printed[last], complained[last], tail(string(log), 8))
	}
	before := -1
	for i, b := range blocks {
		switch b.info {
		case "sh run":
			before = i
		case "text shown":
			if missing := lacks(printed[before], b.text); missing != "" {
				t.Errorf("%s:%d: the block before it does not print %q, but\n%s%s", operationsFile, b.line, missing, printed[before], complained[before])
			}
		}
	}
}

const blockMark = "=== block "

func byBlock(t *testing.T, output string) map[int]string {
	t.Helper()
	texts := make(map[int]string)
	for part := range strings.SplitSeq(output, blockMark) {
		number, text, isBlock := strings.Cut(part, "\n")
		if !isBlock {
			continue
		}
		if i, err := strconv.Atoi(number); err == nil {
			texts[i] = text
		}
	}
	return texts
}

// lacks returns the first line of shown that is not in the output, in this order, or "". An … stands for anything, and
// blanks for any number of them.
func lacks(output, shown string) string {
	rest := output
	for line := range strings.SplitSeq(strings.TrimSuffix(shown, "\n"), "\n") {
		var pattern strings.Builder
		for i, part := range strings.Split(line, "…") {
			if i > 0 {
				pattern.WriteString(`.*`)
			}
			pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(regexp.MustCompile(` +`).ReplaceAllString(part, " ")), " ", ` *`))
		}
		found := regexp.MustCompile(`(?m)^ *` + pattern.String() + ` *$`).FindStringIndex(rest)
		if found == nil {
			return line
		}
		rest = rest[found[1]:]
	}
	return ""
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// freePorts returns ports that were free a moment ago: the guide's gateway keeps its port through restarts.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

func TestShownLinesAreLookedFor(t *testing.T) {
	const output = "REGION   ROLE\nprimary  active  3\n"
	for shown, want := range map[string]string{
		"REGION ROLE\nprimary active …": "", "primary … 3": "", "primary active 4": "primary active 4",
		"primary active 3\nREGION ROLE": "REGION ROLE",
	} {
		if got := lacks(output, shown); got != want {
			t.Errorf("lacks(%q): got %q, want %q", shown, got, want)
		}
	}
}
