package conformance_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The rules of the house, checked on every package of the module: where
// packages live, what they may import, that each says so in its doc.go, and that
// nothing is set up or changed behind a caller's back.

const module = "github.com/stabilize-dev/go-stabilize"

// rows is the order of the house: an import points to a row above, or stays
// within its own. A package belongs to the longest folder that holds it.
func rows() []string {
	return []string{
		"stabilize", "resilience", "events", "queue", "persistence", "handlers", "stabilize/engine",
		"contrib", "conformance", "examples",
	}
}

// homes says where a heavy dependency may be imported outside of tests, so that
// nobody who does not use it has to build it. examples may import anything.
func homes() map[string][]string {
	return map[string][]string{
		"github.com/expr-lang/expr":       {"stabilize"},
		"github.com/uptrace/bun":          {"persistence/sqlstore"},
		"modernc.org":                     {"persistence/sqlstore"},
		"github.com/jackc":                {"persistence/sqlstore", "conformance/sqlharness", "conformance/enginebench"},
		"go.mongodb.org":                  {"persistence/mongostore", "conformance/mongoharness", "conformance/enginebench"},
		"github.com/charmbracelet":        {"contrib"},
		"github.com/spf13":                {"contrib"},
		"pgregory.net/rapid":              {"conformance"},
		"go.uber.org/goleak":              {"conformance"},
		"github.com/google/go-cmp":        {"conformance"},
		"go.opentelemetry.io/otel/sdk":    {"contrib"},
		"go.opentelemetry.io/otel/export": {"contrib"},
	}
}

type goPackage struct {
	Dir          string
	ImportPath   string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the folder within the module.
func (p *goPackage) path() string { return within(p.ImportPath) }

func within(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func TestHouseFolders(t *testing.T) {
	for _, p := range listPackages(t) {
		if rowOf(p.path()) < 0 {
			t.Errorf("package %s is outside of the folders of the house: %s", p.ImportPath, strings.Join(rows(), ", "))
		}
	}
}

func TestHouseImports(t *testing.T) {
	for _, p := range listPackages(t) {
		for _, imported := range p.Imports {
			if problem := checkImport(p.path(), imported); problem != "" {
				t.Errorf("%s imports %s: %s", p.path(), imported, problem)
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if problem := checkTestImport(p.path(), imported); problem != "" {
				t.Errorf("a test of %s imports %s: %s", p.path(), imported, problem)
			}
		}
	}
}

// Who uses the engine, or runs the suites on a store of his own, links no database
// that he did not choose.
func TestHouseNoDatabaseUnasked(t *testing.T) {
	for _, p := range []string{"stabilize/engine", "conformance/certify", "conformance/faults"} {
		out, err := exec.Command("go", "list", "-deps", module+"/"+p).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			for _, heavy := range []string{module + "/persistence/sqlstore", module + "/persistence/mongostore", "modernc.org", "github.com/uptrace", "github.com/jackc", "go.mongodb.org"} {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("%s links %s", p, dep)
				}
			}
		}
	}
}

func TestHouseImportRules(t *testing.T) {
	allowed := []struct{ from, to string }{
		{"queue", "stabilize"},
		{"queue", "events"},
		{"persistence/sqlstore", "persistence"},
		{"stabilize/engine", "handlers"},
		{"conformance/storetest", "stabilize/engine"},
		{"contrib/dashboard", "stabilize/engine"},
		{"examples/quickstart", "contrib/shell"},
	}
	for _, c := range allowed {
		if problem := checkImport(c.from, module+"/"+c.to); problem != "" {
			t.Errorf("%s may import %s, but: %s", c.from, c.to, problem)
		}
	}
	forbidden := []struct{ from, to string }{
		{"stabilize", module + "/queue"},
		{"stabilize", module + "/stabilize/engine"},
		{"events", module + "/queue"},
		{"queue", module + "/persistence"},
		{"persistence/memstore", module + "/handlers"},
		{"handlers", module + "/stabilize/engine"},
		{"stabilize/engine", module + "/contrib/shell"},
		{"conformance/storetest", module + "/contrib/shell"},
		{"contrib/shell", module + "/conformance"},
		{"queue", module + "/examples/quickstart"},
		{"stabilize", "github.com/charmbracelet/bubbletea"},
		{"queue", "github.com/expr-lang/expr"},
		{"handlers", "github.com/expr-lang/expr/vm"},
		{"conformance/storetest", "modernc.org/sqlite"},
		{"persistence/sqlstore", "pgregory.net/rapid"},
	}
	for _, c := range forbidden {
		if checkImport(c.from, c.to) == "" {
			t.Errorf("%s must not import %s, but the rule lets it", c.from, c.to)
		}
	}
	if checkTestImport("persistence/memstore", module+"/conformance/storetest") != "" {
		t.Error("a store's tests may import the suites")
	}
	if checkTestImport("handlers", module+"/contrib/shell") == "" {
		t.Error("only contrib and examples may test with contrib")
	}
}

func TestHousePackageComments(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, "doc.go"), nil, parser.ParseComments)
		if err != nil {
			t.Errorf("%s has no doc.go that can be read: %v", p.path(), err)
			continue
		}
		if !strings.Contains(strings.Join(strings.Fields(file.Doc.Text()), " "), "may import") {
			t.Errorf("%s/doc.go does not say what the package may import", p.path())
		}
	}
}

func TestHouseNoGlobalState(t *testing.T) {
	for _, p := range listPackages(t) {
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles) {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		for _, problem := range globalState(fset, files) {
			t.Error(problem)
		}
	}
}

func TestHouseNoGlobalStateRule(t *testing.T) {
	const allowed = `package p
		import ("errors"; "regexp"; "embed"; "reflect")
		type T struct{ n int }
		var ErrOne = errors.New("one")
		var errTwo error = errors.New("two")
		var _ interface{} = (*T)(nil)
		var names = []string{"a", "b"}
		var byName = map[string]int{"a": 1}
		var digits = regexp.MustCompile("[0-9]+")
		var timeType = reflect.TypeFor[T]()
		var defaults = T{n: 1}
		//go:embed x
		var files embed.FS
		func f() { names := []string{}; names[0] = "c"; _ = names; _ = defaults.n; for range byName {} }`
	if problems := checkSource(t, allowed); len(problems) > 0 {
		t.Errorf("constant tables were taken for state:\n%s", strings.Join(problems, "\n"))
	}
	forbidden := map[string]string{
		"init function":         `func init() {}`,
		"number":                `var n int`,
		"initialised number":    `var n = 3`,
		"exported table":        `var Names = []string{"a"}`,
		"pointer":               `var p = &struct{ n int }{}`,
		"empty map":             `var m = make(map[string]int)`,
		"map to be filled":      `var m map[string]int`,
		"lock":                  `var mu sync.Mutex`,
		"lock in a struct":      `var mu = sync.Mutex{}`,
		"counter":               `var n atomic.Int64`,
		"table assigned":        `var t = []string{"a"}; func f() { t = nil }`,
		"table index assigned":  `var t = []string{"a"}; func f() { t[0] = "b" }`,
		"table field assigned":  `var t = struct{ n int }{n: 1}; func f() { t.n++ }`,
		"table deleted from":    `var t = map[string]int{"a": 1}; func f() { delete(t, "a") }`,
		"table cleared":         `var t = map[string]int{"a": 1}; func f() { clear(t) }`,
		"table's address":       `var t = [1]int{1}; func f() { g(&t) }; func g(*[1]int) {}`,
		"error reassigned":      `var ErrX = errors.New("x"); func f() { ErrX = nil }`,
		"error not initialised": `var errLast error`,
	}
	for what, source := range forbidden {
		imports := "package p\nimport (\"errors\"; \"sync\"; \"sync/atomic\")\nvar _ = errors.New\nvar _ sync.Mutex\nvar _ atomic.Int64\n"
		if len(checkSource(t, imports+source)) == 0 {
			t.Errorf("%s is state, but passes: %s", what, source)
		}
	}
}

// TestHouseNoSleep: a test waits for what it waits for, or sleeps in virtual
// time. Only real processes have real clocks; their tests are process_test.go.
func TestHouseNoSleep(t *testing.T) {
	for _, p := range listPackages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			if name == "process_test.go" || p.path() == "conformance" && name == "house_test.go" {
				continue
			}
			content, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if source := string(content); strings.Contains(source, "time.Sleep(") && !strings.Contains(source, `"testing/synctest"`) {
				t.Errorf("%s/%s sleeps in real time", p.path(), name)
			}
		}
	}
}

// TestHouseLinks checks that what the documents point to exists.
func TestHouseLinks(t *testing.T) {
	root := ".."
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`) // with a colon it is an address elsewhere
	block := regexp.MustCompile("(?ms)^```.*?^```$")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllSubmatch(block.ReplaceAll(content, nil), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), string(m[1]))); err != nil {
				t.Errorf("%s points to %s, which does not exist", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listPackages returns every package of the module.
func listPackages(t *testing.T) []*goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []*goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(goPackage)
		if err := dec.Decode(p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// rowOf returns the row of a folder, or -1.
func rowOf(path string) int {
	row := -1
	for i, folder := range rows() {
		if (path == folder || strings.HasPrefix(path, folder+"/")) && (row < 0 || len(folder) > len(rows()[row])) {
			row = i
		}
	}
	return row
}

// checkImport says why the package in folder from may not import a path; empty:
// it may.
func checkImport(from, importPath string) string {
	if rowOf(from) == rowOf("examples") {
		return ""
	}
	if importPath != module && !strings.HasPrefix(importPath, module+"/") {
		return checkThirdParty(from, importPath)
	}
	to := within(importPath)
	switch fromRow, toRow := rowOf(from), rowOf(to); {
	case fromRow == rowOf("conformance") && toRow == rowOf("contrib"):
		return "conformance may import everything but contrib"
	case toRow > fromRow:
		return fmt.Sprintf("%s stands below %s", rows()[toRow], rows()[fromRow])
	}
	return ""
}

func checkThirdParty(from, importPath string) string {
	for prefix, folders := range homes() {
		if importPath != prefix && !strings.HasPrefix(importPath, prefix+"/") && !strings.HasPrefix(importPath, prefix+"ers/") {
			continue
		}
		if !slices.ContainsFunc(folders, func(f string) bool { return from == f || strings.HasPrefix(from, f+"/") }) {
			return "belongs to " + strings.Join(folders, ", ")
		}
	}
	return ""
}

// checkTestImport: tests may use stores, the engine and the suites, whatever the
// row of what they test.
func checkTestImport(from, importPath string) string {
	row := rowOf(from)
	if row == rowOf("contrib") || row == rowOf("examples") || !strings.HasPrefix(importPath, module+"/") {
		return ""
	}
	if to := rowOf(within(importPath)); to == rowOf("contrib") || to == rowOf("examples") {
		return "only contrib and examples may test with it"
	}
	return ""
}

func checkSource(t *testing.T, source string) []string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, source)
	}
	return globalState(fset, []*ast.File{file})
}

// globalState reports init functions, and package-level variables that are or
// may become state. Allowed are: error sentinels, blank ones, embedded files,
// and unexported constant tables, made by a literal or by one of pureCalls and
// changed nowhere in the package. Test files may declare what they like and are
// searched for changes only.
func globalState(fset *token.FileSet, files []*ast.File) []string {
	if len(files) == 0 {
		return nil
	}
	// Imports stay unresolved: which name means which variable of the package
	// is all that is asked.
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Error: func(error) {}, Importer: noImports{}}
	pkg, _ := conf.Check("p", fset, files, info) // errors are those of the unresolved imports

	var problems []string
	report := func(n ast.Node, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), fmt.Sprintf(format, args...)))
	}
	for _, file := range files {
		if strings.HasSuffix(fset.Position(file.Pos()).Filename, "_test.go") {
			continue
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					report(d, "func init: set up what is needed where it is needed")
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					checkVar(spec.(*ast.ValueSpec), report)
				}
			}
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			for _, target := range changed(n) {
				id := root(target)
				if id == nil {
					continue
				}
				if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() && !inTest(fset, v.Pos()) {
					report(n, "the package-level variable %s is changed here", id.Name)
				}
			}
			return true
		})
	}
	return problems
}

func inTest(fset *token.FileSet, pos token.Pos) bool {
	return strings.HasSuffix(fset.Position(pos).Filename, "_test.go")
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not looked at", path)
}

func checkVar(spec *ast.ValueSpec, report func(ast.Node, string, ...any)) {
	for i, name := range spec.Names {
		var value ast.Expr
		if i < len(spec.Values) {
			value = spec.Values[i]
		}
		switch {
		case name.Name == "_":
		case text(spec.Type) == "embed.FS":
		case value == nil:
			report(name, "%s is a variable: pass it in", name.Name)
		case strings.HasPrefix(strings.ToLower(name.Name), "err") && isCall(value, "errors.New", "errors.Join", "fmt.Errorf"):
		case name.IsExported():
			report(name, "%s is exported and can be changed by anyone: make it a function", name.Name)
		case !isTable(value):
			report(name, "%s is a variable: pass it in, or make it a constant table", name.Name)
		}
	}
}

// isTable reports a composite literal or the result of a pure call.
func isTable(value ast.Expr) bool {
	if lit, ok := value.(*ast.CompositeLit); ok {
		typ := text(lit.Type)
		return !strings.HasPrefix(typ, "sync.") && !strings.HasPrefix(typ, "atomic.")
	}
	return isCall(value,
		"errors.New", "errors.Join", "regexp.MustCompile", "reflect.TypeFor", "reflect.TypeOf", "strings.NewReplacer",
		"template.Must", "time.Date", "json.RawMessage", "crc32.MakeTable", "base64.RawURLEncoding.Strict", "base64.NewEncoding")
}

func isCall(value ast.Expr, names ...string) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	fun := call.Fun
	if generic, ok := fun.(*ast.IndexExpr); ok {
		fun = generic.X
	}
	return slices.Contains(names, text(fun))
}

func text(e ast.Expr) string {
	if e == nil {
		return ""
	}
	return types.ExprString(e)
}

// changed returns what a node assigns to, takes from or gives out for changing.
func changed(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.CallExpr:
		if name := text(n.Fun); (name == "delete" || name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// root is the variable that x, x[i], x.f, *x or (x) is part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
