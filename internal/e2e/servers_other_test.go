//go:build !linux

package e2e_test

import "syscall"

// endsWithParent is nothing that this system could do.
func endsWithParent() *syscall.SysProcAttr { return nil }
