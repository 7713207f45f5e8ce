package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/term"

	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Exit codes.
const (
	exitSucceeded = 0
	exitFailed    = 1 // the run failed, was canceled or interrupted
	exitUsage     = 2 // nothing was run
)

// errLeft ends a run that its user has left by a key.
var errLeft = errors.New("left")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := quickstart(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// quickstart is the program: it returns the exit code.
func quickstart(ctx context.Context, args []string, out, stderr io.Writer) int {
	stdout := &output{to: out}
	opts, err := parseOptions(ctx, args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitSucceeded
	}
	var packages []sourcePackage
	if err == nil {
		packages, err = listPackages(ctx, opts.tree)
	}
	if err == nil && len(packages) == 0 {
		err = fmt.Errorf("no Go packages in %s", opts.tree)
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return exitUsage
	}
	w, err := runTree(ctx, opts, len(packages), stdout, stderr)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, errLeft)):
		fmt.Fprintln(stdout, "interrupted; start again with the same -db to go on")
	case err != nil:
		fmt.Fprintln(stderr, "quickstart:", err)
	}
	if w != nil {
		if w.Failure != nil {
			fmt.Fprintln(stdout, w.Failure)
		}
		fmt.Fprintf(stdout, "run %s: %s\n", w.ID, w.Status)
	}
	if err != nil || w == nil || w.Status != stabilize.Succeeded {
		return exitFailed
	}
	return exitSucceeded
}

// runTree starts or continues the run of a tree and returns it as it ended, or
// as far as it came.
func runTree(ctx context.Context, opts options, packages int, stdout *output, stderr io.Writer) (last *stabilize.Workflow, err error) {
	journal, err := openJournal(opts.journal(), opts.db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()

	progress := newProgress(opts.killAfter, stdout)
	show, logs := showLines(stdout), stderr
	if f, ok := stdout.to.(*os.File); ok && !opts.plain && term.IsTerminal(int(f.Fd())) {
		show, logs = showLive(f), io.Discard // a log line would tear the picture
	}
	eng, err := engine.Open(ctx, stores.DSN(dsn(opts.db)),
		engine.WithConcurrency(min(max(runtime.NumCPU(), 2), 4)), // each task is a go command, parallel in itself
		engine.WithRecorder(progress),
		engine.WithLogger(slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelWarn}))),
	)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if err := registerTasks(eng, journal); err != nil {
		return nil, err
	}

	key, continued, err := runKey(ctx, eng, opts.tree)
	if err != nil {
		return nil, err
	}
	id, err := eng.Start(ctx, pipeline(opts, packages), engine.WithKey(key))
	if err != nil {
		return nil, err
	}
	before, err := eng.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(stdout, "tree     %s, %d packages\ndatabase %s\n", opts.tree, packages, opts.db)
	if ended, all := countEnded(before); continued {
		fmt.Fprintf(stdout, "run %s goes on: %d of %d stages had ended\n", id, ended, all)
	} else {
		fmt.Fprintf(stdout, "run %s: %d stages\n", id, all)
	}

	progress.follow(id)
	last, err = work(ctx, eng, before, progress, show)
	if err != nil {
		return last, err
	}
	entries, err := readJournal(opts.journal())
	if err != nil {
		return last, err
	}
	account := settle(last, entries)
	fmt.Fprintf(stdout, "\n%s\nreport   %s\njournal  %s\n", account, opts.report(), opts.journal())
	return last, account.Err()
}

// work runs the engine until the run has ended, and shows it on the way.
func work(ctx context.Context, eng *engine.Engine, w *stabilize.Workflow, p *progress, show show) (*stabilize.Workflow, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	served := make(chan error, 1)
	go func() {
		err := eng.Run(ctx)
		if err != nil {
			cancel(err) // nobody works any more: do not wait for ever
		}
		served <- err
	}()
	shown := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(shown)
		show(w, func() { cancel(errLeft) }, func(report func(*stabilize.Workflow)) { p.watch(eng, w.ID, ended, report) })
	}()

	last, err := eng.Wait(ctx, w.ID)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	close(ended)
	<-shown
	cancel(nil) // before Stop: what is still under way is not waited for, the next start does it again
	eng.Stop(ctx)
	if runErr := <-served; err == nil {
		return last, runErr
	}
	if now, getErr := eng.Get(context.WithoutCancel(ctx), w.ID); getErr == nil {
		w = now
	}
	return w, err
}

func countEnded(w *stabilize.Workflow) (ended, all int) {
	for _, s := range w.Stages {
		if s.Status.IsComplete() {
			ended++
		}
	}
	return ended, len(w.Stages)
}

// dsn names a SQLite file by its absolute path.
func dsn(path string) string { return "sqlite://" + path }
