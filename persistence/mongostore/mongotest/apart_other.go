//go:build !unix

package mongotest

import "syscall"

// apart is how processes are started where there are no groups of them.
func apart() *syscall.SysProcAttr { return nil }
