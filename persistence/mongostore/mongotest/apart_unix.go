//go:build unix

package mongotest

import "syscall"

// apart is a process group of its own.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
