package main

import (
	"context"
	"errors"
	"os/exec"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// goCommand prepares a call of the go command in a directory. When ctx ends it
// is killed with all it has started.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.WaitDelay = 2 * time.Second // for pipes that a grandchild holds
	ownGroup(cmd)
	return cmd
}

// outcome tells apart how a command ended: content, not content (complained), or
// not by itself. If ctx ended, that is the error; a command that something else
// killed is worth another try.
func outcome(ctx context.Context, err error) (complained bool, _ error) {
	exit, isExit := errors.AsType[*exec.ExitError](err)
	switch {
	case err != nil && ctx.Err() != nil:
		return false, context.Cause(ctx)
	case isExit && exit.Exited():
		return true, nil
	case isExit:
		return false, stabilize.Transient(err)
	}
	return false, err
}
