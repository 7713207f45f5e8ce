package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// options are the checked command line.
type options struct {
	tree      string // absolute
	db        string // absolute; journal and report stand beside it
	killAfter int    // finished tasks; 0: never
	plain     bool
}

func (o options) journal() string { return withoutExt(o.db) + ".journal" }
func (o options) report() string  { return withoutExt(o.db) + ".report.md" }

func withoutExt(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) }

const usage = `Usage: quickstart [-db FILE] [-dir TREE] [-kill-after N] [-plain]

Runs a workflow over the Go packages of TREE. The run is kept in FILE: if the
program dies, the next start with the same FILE goes on where it was.

`

// parseOptions reads the command line. Its errors are the user's, one line each.
func parseOptions(ctx context.Context, args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.db, "db", "", "SQLite `FILE` of the run; default .stabilize/quickstart.db")
	flags.StringVar(&o.tree, "dir", "", "Go source `TREE`; default: the module you are in")
	flags.IntVar(&o.killAfter, "kill-after", 0, "kill -9 this program after `N` finished tasks (implies -plain)")
	flags.BoolVar(&o.plain, "plain", false, "print plain lines, also on a terminal")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
			flags.SetOutput(help)
			flags.PrintDefaults()
		}
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.killAfter < 0:
		return o, fmt.Errorf("-kill-after %d: N must not be negative", o.killAfter)
	}
	o.plain = o.plain || o.killAfter > 0 // a killed program cannot restore a terminal
	if err := o.findTree(ctx); err != nil {
		return o, err
	}
	return o, o.findDB()
}

func (o *options) findTree(ctx context.Context) error {
	given := o.tree
	if given == "" {
		given = "."
	}
	tree, err := filepath.Abs(given)
	if err != nil {
		return err
	}
	if info, err := os.Stat(tree); err != nil {
		return fmt.Errorf("-dir %s: %w", given, errors.Unwrap(err))
	} else if !info.IsDir() {
		return fmt.Errorf("-dir %s: not a directory", given)
	}
	mod, err := goCommand(ctx, tree, "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("the go command does not work: %w", err)
	}
	file := strings.TrimSpace(string(mod))
	if file == "" || file == os.DevNull {
		return fmt.Errorf("%s is not in a Go module (no go.mod)", tree)
	}
	if o.tree == "" {
		tree = filepath.Dir(file)
	}
	o.tree = tree
	return nil
}

func (o *options) findDB() error {
	if o.db == "" {
		o.db = filepath.Join(".stabilize", "quickstart.db")
	}
	db, err := filepath.Abs(o.db)
	if err != nil {
		return err
	}
	if info, err := os.Stat(db); err == nil && info.IsDir() {
		return fmt.Errorf("-db %s: is a directory", o.db)
	}
	if strings.Contains(db, "?") {
		return fmt.Errorf("-db %s: the path must not hold a question mark", o.db)
	}
	if err := os.MkdirAll(filepath.Dir(db), 0o755); err != nil {
		return fmt.Errorf("-db %s: %w", o.db, err)
	}
	o.db = db
	return nil
}
