// Command tandem is a multi-region object gateway, and the tool to operate it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes, which the help lists.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitUnreachable
)

const exitHelp = `
Exit codes:
  0  done
  1  it failed
  2  the command line or the configuration is wrong
  3  the gateway cannot be reached, or it refused`

// exitError is an error with the code to exit with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// environment is what a command may use of the process.
type environment struct {
	getenv         func(string) (string, bool)
	stdin          io.Reader
	stdout, stderr io.Writer
	caFile         *string // --ca-file of the commands that ask a gateway, once it was read
	bucket         *string // --bucket of those that are about a bucket, likewise
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	env := environment{getenv: os.LookupEnv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(run(ctx, os.Args[1:], env))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, env environment) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(env.stderr, "tandem:", err)
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitUsage
}

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem",
		Short: "A multi-region object gateway",
		Long: `Tandem puts one endpoint in front of two or more S3 regions: writes go to the active
region and are replicated to the others, reads fall back when the active fails.
` + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	env.caFile, env.bucket = new(string), new(string)
	root.AddCommand(newDoctor(env))
	root.AddCommand(newPut(env), newGet(env), newLs(env), newRm(env), newHead(env), newCp(env), newReplication(env), newMan(env))
	root.AddCommand(newServe(env), newStatus(env), newStats(env), newPromote(env), newSign(env), newFailovers(env), newConflicts(env), newRegions(env), newKeys(env), newAudit(env),
		newConfig(env), newJournal(env), newVersion(env), newRegionServer(env))
	for _, cmd := range root.Commands() {
		if !slices.Contains([]string{"serve", "config", "doctor", "journal", "version", "man", regionServer}, cmd.Name()) { // those ask no gateway
			cmd.PersistentFlags().StringVar(env.caFile, "ca-file", "", "a PEM file of authorities to trust beside the system's (TANDEM_CA_FILE)")
		}
		if slices.Contains([]string{"put", "get", "ls", "rm", "head", "cp", "replication", "sign"}, cmd.Name()) {
			addBucket(cmd, env)
		}
	}
	return root
}

// failed makes err exit with exitFailed, where it says no other code.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	return &exitError{exitFailed, err}
}
