package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/persistence/transfer"
)

func move(ctx context.Context, from, to string, out io.Writer) (err error) {
	source, err := stores.DSN(from)(ctx, persistence.Settings{})
	if err != nil {
		return fmt.Errorf("opening the store to move from: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := stores.DSN(to)(ctx, persistence.Settings{})
	if err != nil {
		return fmt.Errorf("opening the store to move to: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	n, err := transfer.Copy(ctx, source, target, transfer.Options{})
	fmt.Fprintf(out, "%d workflows with %d stages and %d messages moved, %d were there already\n", n.Workflows, n.Stages, n.Messages, n.Existing)
	return err
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: move FROM TO, both data source names such as sqlite://work.db")
		os.Exit(2)
	}
	if err := move(context.Background(), os.Args[1], os.Args[2], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
