package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// The task types of the pipeline.
const (
	taskList   = "list"
	taskVet    = "vet"
	taskTests  = "tests"
	taskCount  = "count"
	taskSum    = "sum"
	taskReport = "report"
)

// registerTasks tells the engine what the names in the pipeline mean.
func registerTasks(eng *engine.Engine, j *journal) error {
	return errors.Join(
		eng.RegisterTask(taskList, step(j, list)),
		eng.RegisterTask(taskVet, step(j, vet)),
		eng.RegisterTask(taskTests, step(j, compileTests)),
		eng.RegisterTask(taskCount, step(j, count)),
		eng.RegisterTask(taskSum, step(j, sum)),
		eng.RegisterTask(taskReport, step(j, writeReport)),
	)
}

// finding is what a stage puts out, under its own ref.
type finding struct {
	Run      string   `json:"run"` // the line of the journal that it comes from
	Summary  string   `json:"summary"`
	Problems []string `json:"problems,omitempty"`
	Files    int      `json:"files,omitempty"`
	Lines    int      `json:"lines,omitempty"`
	Funcs    int      `json:"funcs,omitempty"`

	more stabilize.Values // outputs beside the finding itself
}

// step makes a task of a function: it writes the execution into the journal
// before it begins, and puts the finding out under the ref of the stage.
// Problems are no error: they end the task FAILED_CONTINUE.
func step[In any](j *journal, fn func(context.Context, In) (finding, error)) stabilize.TaskType {
	return stabilize.Func(func(ctx context.Context, in In) (stabilize.Result, error) {
		x := stabilize.ExecutionFrom(ctx)
		run, err := j.begin(x)
		if err != nil {
			return stabilize.Result{}, err
		}
		found, err := fn(ctx, in)
		if err != nil {
			return stabilize.Result{}, err
		}
		found.Run = run
		result := stabilize.Success()
		if len(found.Problems) > 0 {
			result = stabilize.FailAndContinue("%s", found.Summary)
		}
		return result.WithOutputs(found.more).WithOutput(x.Stage.Ref, found), nil
	}, stabilize.WithTimeout(10*time.Minute))
}

// sourcePackage is a package of the tree.
type sourcePackage struct {
	Path  string   `json:"path"`
	Dir   string   `json:"dir"`
	Files []string `json:"files"`
}

// listPackages asks the go command for the packages of a tree; those that do not
// compile are listed too.
func listPackages(ctx context.Context, tree string) ([]sourcePackage, error) {
	cmd := goCommand(ctx, tree, "list", "-e", "-json=ImportPath,Dir,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles", "./...")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	complained, err := outcome(ctx, err)
	if complained {
		err = errors.New(firstLine(complaint.Bytes()))
	}
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", tree, err)
	}
	var packages []sourcePackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath                                   string
			Dir                                          string
			GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list in %s: %w", tree, err)
		}
		files := append(append(append(p.GoFiles, p.CgoFiles...), p.TestGoFiles...), p.XTestGoFiles...)
		if p.Dir != "" && len(files) > 0 {
			packages = append(packages, sourcePackage{p.ImportPath, p.Dir, files})
		}
	}
}

// list puts out the packages, so that all that follows looks at the same ones,
// also after a restart.
func list(ctx context.Context, in struct {
	Tree string `json:"tree"`
}) (finding, error) {
	packages, err := listPackages(ctx, in.Tree)
	if err != nil {
		return finding{}, err
	}
	found := finding{Summary: counted(len(packages), "package")}
	err = found.more.Set("packages", packages)
	return found, err
}

// shard is the part of the packages that one stage looks at.
type shard struct {
	Tree     string          `json:"tree"`
	Packages []sourcePackage `json:"packages"`
	Shard    int             `json:"shard"`
	Shards   int             `json:"shards"`
}

func (s shard) mine() []sourcePackage {
	var mine []sourcePackage
	for i, p := range s.Packages {
		if i%s.Shards == s.Shard {
			mine = append(mine, p)
		}
	}
	return mine
}

func (s shard) paths() []string {
	var paths []string
	for _, p := range s.mine() {
		paths = append(paths, p.Path)
	}
	return paths
}

func vet(ctx context.Context, in shard) (finding, error) {
	return check(ctx, in, "vet")
}

// compileTests builds the tests and runs none of them.
func compileTests(ctx context.Context, in shard) (finding, error) {
	return check(ctx, in, "test", "-run", "^$")
}

// check runs a go command over the packages of a shard. What it complains of
// are problems; only a command that could not be run is an error.
func check(ctx context.Context, in shard, args ...string) (finding, error) {
	paths := in.paths()
	found := finding{Summary: counted(len(paths), "package")}
	if len(paths) == 0 {
		return found, nil
	}
	out, err := goCommand(ctx, in.Tree, append(args, paths...)...).CombinedOutput()
	complained, err := outcome(ctx, err)
	if complained {
		found.Problems = complaints(out)
		found.Summary += ", " + counted(len(found.Problems), "problem")
		return found, nil
	}
	return found, err
}

// maxProblems bounds what is kept of a tree in which nothing compiles.
const maxProblems = 50

// complaints picks the lines of a go command's output that say what is wrong.
func complaints(out []byte) []string {
	var lines []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "? ") || line == "FAIL" {
			continue
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return []string{"the command failed without a word"}
	}
	if more := len(lines) - maxProblems; more > 0 {
		lines = append(lines[:maxProblems], fmt.Sprintf("… and %d more", more))
	}
	return lines
}

// count reads the files of a shard.
func count(ctx context.Context, in shard) (finding, error) {
	var found finding
	for _, p := range in.mine() {
		for _, name := range p.Files {
			if ctx.Err() != nil {
				return finding{}, context.Cause(ctx)
			}
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				found.Problems = append(found.Problems, err.Error())
				continue
			}
			found.Files++
			found.Lines += bytes.Count(source, []byte("\n"))
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), source, parser.SkipObjectResolution)
			if err != nil {
				found.Problems = append(found.Problems, firstLine([]byte(err.Error())))
				continue
			}
			for _, decl := range file.Decls {
				if _, ok := decl.(*ast.FuncDecl); ok {
					found.Funcs++
				}
			}
		}
	}
	found.Summary = found.size()
	if n := len(found.Problems); n > 0 {
		found.Summary += ", " + counted(n, "problem")
	}
	return found, nil
}

func (f finding) size() string {
	return fmt.Sprintf("%s, %s, %s", counted(f.Files, "file"), counted(f.Lines, "line"), counted(f.Funcs, "func"))
}

// sum joins the checks: it sees their outputs, each under the ref of its stage.
func sum(ctx context.Context, in struct {
	Checks []string `json:"checks"`
}) (finding, error) {
	findings, err := findingsOf(stabilize.ExecutionFrom(ctx).Context, in.Checks)
	if err != nil {
		return finding{}, err
	}
	var total finding
	problems := 0
	for _, f := range findings {
		total.Files += f.Files
		total.Lines += f.Lines
		total.Funcs += f.Funcs
		problems += len(f.Problems)
	}
	total.Summary = total.size() + ", " + counted(problems, "problem")
	return total, nil
}

// findingsOf reads the findings of stages from what a task sees. A stage that
// ended without one, because its code failed, has an empty one.
func findingsOf(values stabilize.Values, refs []string) ([]finding, error) {
	findings := make([]finding, len(refs))
	for i, ref := range refs {
		f, err := stabilize.Get[finding](values, ref)
		if err != nil && !errors.Is(err, stabilize.ErrNotFound) {
			return nil, err
		}
		findings[i] = f
	}
	return findings, nil
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}
