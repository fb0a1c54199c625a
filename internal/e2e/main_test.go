package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binary is the gateway under test; TestMain builds it.
var binary string

// patience bounds every wait for a process. What is waited for takes a fraction of
// it, also on a busy machine. Servers that flush what they are given get three times as much.
var patience = 60 * time.Second

// parallelTests is how many tests run at once. They wait more than they compute, so it
// is more than there are cores.
const parallelTests = "4"

func TestMain(m *testing.M) {
	if addresses := os.Getenv(relayVariable); addresses != "" {
		os.Exit(runRelay(addresses))
	}
	flag.Parse()
	isSet := false
	flag.Visit(func(f *flag.Flag) { isSet = isSet || f.Name == "test.parallel" })
	if !isSet {
		if err := flag.Set("test.parallel", parallelTests); err != nil {
			panic(err)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if regions, err = kindOf(os.Getenv(regionsVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !regions.isEmbedded() {
		patience *= 3
	}
	dir, err := os.MkdirTemp("", "tandem-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tandem")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, "build the gateway:", err)
		return 1
	}
	return m.Run()
}

// build makes the gateway's binary, with failpoints. It is never built with the race
// detector: its memory would not be ours, and it would triple every wait.
func build(path string) error {
	cmd := exec.Command("go", "build", "-tags", "failpoint", "-o", path, "github.com/gnew/tandem/cmd/tandem")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
