package enginebench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Opener opens a store on an empty directory of its own, with the clock to use.
// What it keeps is in the directory, which is removed when the store is closed;
// nothing else is closed, so Close must close all that was opened.
type Opener func(ctx context.Context, dir string, clock stabilize.Clock) (persistence.Store, error)

// Main is the main function of a program that measures the engine on one's own
// store, without a raw limit: the columns that need one are empty. The exit code is
// 1 if something could not be measured.
func Main(open Opener) { exit(open) }

// MainDSN is the main function of cmd/enginebench, for the stores of this module.
func MainDSN() { exit(nil) }

func exit(open Opener) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if open == nil && len(os.Args) == 2 && os.Args[1] == workerCommand {
		err = work(ctx, os.Stdin, os.Stdout, os.Stderr)
	} else {
		err = run(ctx, open, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "enginebench:", err)
		os.Exit(1)
	}
}

// run is the program; open is nil if the store is named by -dsn. The results go to stdout, progress and the engine's
// warnings to stderr.
func run(ctx context.Context, open Opener, args []string, stdout, stderr io.Writer) error {
	opts, err := parseOptions(args, open == nil, stderr)
	if err != nil {
		return err
	}
	return runOptions(ctx, open, opts, stdout, stderr)
}

func runOptions(ctx context.Context, open Opener, opts *options, stdout, stderr io.Writer) error {
	defer debug.SetGCPercent(debug.SetGCPercent(opts.gogc))
	site, err := openSite(open, opts)
	if err != nil {
		return err
	}
	defer site.close()
	if slices.Max(opts.workers) > 0 {
		if _, _, err := site.shared(); err != nil {
			return err
		}
	}
	b := &bench{
		opts: opts, site: site, clock: stabilize.SystemClock{}, stderr: stderr,
		log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	turns := opts.turns()
	runs := make([][]result, len(turns))
	for i := range opts.runs {
		for j, turn := range turns {
			fmt.Fprintf(stderr, "%s, run %d of %d\n", turn, i+1, opts.runs)
			r, err := b.measure(ctx, turn.scenario, turn.workers)
			if err != nil {
				return fmt.Errorf("%s: %w", turn, err)
			}
			runs[j] = append(runs[j], r)
		}
	}
	results := make([]result, len(turns))
	for j := range turns {
		results[j] = median(runs[j])
	}
	if opts.json {
		return writeJSON(stdout, results)
	}
	return writeTable(stdout, opts, results)
}
