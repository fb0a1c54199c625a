package localregion

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstRestartAfter = 100 * time.Millisecond
	lastRestartAfter  = 15 * time.Second
	steadyAfter       = 30 * time.Second // a child that lived as long restarts without delay again
	// killAfter is how long a child may take to stop before it is killed. It is
	// longer than the 10 s that the server gives the requests it still has.
	killAfter = 15 * time.Second
)

// Run starts the child and keeps one running until ctx ends; it then stops the child,
// which finishes the requests it has, and returns nil once it is gone. It
// returns an error only when another call of Run has not returned.
func (r *Region) Run(ctx context.Context) error {
	if !r.claim() {
		return fmt.Errorf("run embedded region %q: it is running", r.name)
	}
	defer r.release()
	delay := backoff.ExponentialBackOff{
		InitialInterval:     firstRestartAfter,
		RandomizationFactor: 0.2,
		Multiplier:          2,
		MaxInterval:         lastRestartAfter,
	}
	for {
		started := time.Now()
		err := r.runChild(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(started) >= steadyAfter {
			delay.Reset()
		}
		pause := delay.NextBackOff()
		r.log.Warn("region server died", "err", err, "elapsed", time.Since(started), "restart_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// runChild starts one child and returns when it and the copying of its output have ended.
func (r *Region) runChild(ctx context.Context) error {
	out := childOutput{log: r.log, ready: func() {
		r.setReady()
		r.log.Info("region server ready", "endpoint", r.Endpoint())
	}}
	stdout, stderr := lineWriter{emit: out.stdout}, lineWriter{emit: out.stderr}

	cmd := exec.CommandContext(ctx, r.command[0], r.command[1:]...)
	cmd.Env = childEnvironment(os.Environ())
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe() // close-on-exec: no other child inherits it and keeps it open
	if err != nil {
		return err
	}
	cmd.Cancel, cmd.WaitDelay = stdin.Close, killAfter

	if err = cmd.Start(); err == nil {
		r.setPID(cmd.Process.Pid)
		err = cmd.Wait()
		stdout.flush()
		stderr.flush()
	}
	err = out.explain(err)
	r.setDead(err)
	return err
}

// childEnvironment drops what the child has no use for: the gateway's own
// environment may hold the keys of other regions.
func childEnvironment(environ []string) []string {
	keep := []string{"GOCOVERDIR", "GODEBUG", "GOMAXPROCS", "GOTRACEBACK", "TMPDIR"}
	child := []string{} // nil would mean all of it
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if slices.Contains(keep, name) {
			child = append(child, variable)
		}
	}
	return child
}

func (r *Region) claim() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.running {
		return false
	}
	r.mu.running = true
	return true
}

func (r *Region) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.running = false
}

func (r *Region) setPID(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.pid = pid
}

func (r *Region) setReady() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isClosed(r.mu.ready) {
		close(r.mu.ready)
	}
}

// setDead makes a new channel only for the closed one: whoever waits for the first
// readiness keeps waiting on the channel that the next child will close.
func (r *Region) setDead(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.pid = 0
	r.mu.died = err
	if err == nil {
		r.mu.died = errors.New("it ended by itself")
	}
	if isClosed(r.mu.ready) {
		r.mu.ready = make(chan struct{})
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
