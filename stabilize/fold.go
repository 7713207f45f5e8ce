package stabilize

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// Fold asks one condition again and again about a list that grows, as a Multi's
// Until is asked about its results. It answers as Exprs.Bool with the whole list
// under its name would. Of a condition that uses the list only in sums, counts and
// the like each item is looked at once; see foldable. There a sum of floats is
// exact and rounded once, whatever their order. Any other condition is asked over
// all items each time, which are decoded once. One goroutine at a time.
type Fold struct {
	list  string
	whole *program
	named bool // the condition names the list

	folded *program // whole with the folds in place of what they fold; nil: there is no use in it
	folds  []*fold
	items  []foldItem // by index
}

type foldItem struct {
	index int
	value any
}

// fold is one sum or count over the items so far.
type fold struct {
	name   string
	kind   foldKind
	of     *program   // of the item; nil: each is counted
	rose   int        // sum of what is not negative, or how many are true
	fell   int        // sum of what is negative, or how many are false
	floats *big.Float // their sum; nil: there are none
}

type foldKind uint8

const (
	foldCount foldKind = iota
	foldSum
	foldAny
	foldAll
	foldNone
)

// Fold prepares a condition on a list, which is empty. The error is that of
// CheckExpr.
func (e *Exprs) Fold(condition, list string) (*Fold, error) {
	whole, err := e.program(condition)
	if err != nil {
		return nil, err
	}
	f := &Fold{list: list, whole: whole, named: whole.uses(list)}
	if !f.named {
		return f, nil
	}
	finder := &foldFinder{list: list}
	folded, err := compileWith(condition, finder)
	if err == nil && !folded.uses(list) && finder.err == nil {
		f.folded, f.folds = folded, finder.folds
	}
	return f, nil
}

// uses reports whether the code looks at a value.
func (p *program) uses(name string) bool {
	for _, n := range p.names {
		if n == name {
			return true
		}
	}
	return p.all
}

// NamesList reports whether the condition looks at the list at all.
func (f *Fold) NamesList() bool { return f.named }

// Add adds an item with a place in the list. The error is ErrInvalid.
func (f *Fold) Add(index int, item Values) error {
	value := make(map[string]any, len(item))
	for name, raw := range item {
		x, err := exprValue(raw)
		if err != nil {
			return badExpr(f.whole.expression, "value %q: %v", name, err)
		}
		value[name] = x
	}
	at, _ := slices.BinarySearchFunc(f.items, index, func(i foldItem, index int) int { return cmp.Compare(i.index, index) })
	f.items = slices.Insert(f.items, at, foldItem{index, value})
	for _, fold := range f.folds {
		if !fold.add(value) { // what it comes to depends on more than the item
			f.folded, f.folds = nil, nil
			break
		}
	}
	return nil
}

// Bool asks the condition about the list as it is.
func (f *Fold) Bool(env Values) (bool, error) {
	if f.folded != nil {
		if result, err := f.askFolded(env); err == nil {
			if b, ok := result.(bool); ok {
				return b, nil
			}
		} // else asking about the whole list says what is wrong
	}
	given := map[string]any{}
	if f.named {
		list := make([]any, len(f.items))
		for i, item := range f.items {
			list[i] = item.value
		}
		given[f.list] = list
	}
	result, err := f.whole.runGiven(env, given)
	return asBool(f.whole.expression, result, err)
}

func (f *Fold) askFolded(env Values) (any, error) {
	given := make(map[string]any, len(f.folds))
	for _, fold := range f.folds {
		x, err := finite(fold.value())
		if err != nil {
			return nil, err
		}
		given[fold.name] = x
	}
	return f.folded.runGiven(env, given)
}

// add reports whether the fold can go on: the item gave what it takes, and the
// order of the items cannot matter.
func (f *fold) add(item any) bool {
	if f.of == nil {
		f.rose++
		return true
	}
	result, err := f.of.runGiven(nil, map[string]any{foldedItem: item})
	if err != nil {
		return false
	}
	if f.kind == foldSum {
		return f.addNumber(result)
	}
	yes, ok := result.(bool)
	if yes {
		f.rose++
	} else {
		f.fell++
	}
	return ok
}

// addNumber adds to a sum that no order of its parts lets overflow.
func (f *fold) addNumber(x any) bool {
	switch n := x.(type) {
	case int:
		sum := &f.rose
		if n < 0 {
			sum = &f.fell
		}
		next, err := exprAdd(*sum, n)
		if err != nil {
			return false
		}
		*sum = next.(int)
		return true
	case float64:
		if f.floats == nil {
			f.floats = new(big.Float).SetPrec(exactPrec)
		}
		f.floats.Add(f.floats, big.NewFloat(n))
		return true
	}
	return false
}

// exactPrec is enough for the sum of any floats to be exact, a million of them.
const exactPrec = 2200

// sum is an integer, or with floats the float next to the exact sum.
func (f *fold) sum() any {
	if f.floats == nil {
		return f.rose + f.fell
	}
	whole := new(big.Float).SetPrec(exactPrec).SetInt64(int64(f.rose))
	whole.Add(whole, new(big.Float).SetInt64(int64(f.fell)))
	sum, _ := whole.Add(whole, f.floats).Float64()
	return sum
}

func (f *fold) value() any {
	switch f.kind {
	case foldSum:
		return f.sum()
	case foldAny:
		return f.rose > 0
	case foldAll:
		return f.fell == 0
	case foldNone:
		return f.rose == 0
	default:
		return f.rose
	}
}

// foldedItem is the name of the item in what is asked of one.
const foldedItem = "item"

// foldFinder puts names in the place of what can be folded.
type foldFinder struct {
	list  string
	folds []*fold
	err   error
}

// Visit implements ast.Visitor.
func (f *foldFinder) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.BuiltinNode)
	if !ok || len(n.Arguments) == 0 {
		return
	}
	kind, body, ok := f.foldable(n)
	if !ok {
		return
	}
	fold := &fold{name: fmt.Sprintf(" fold%d", len(f.folds)), kind: kind}
	if body != nil {
		text, alone := ofItem(body)
		if !alone {
			return
		}
		of, err := compileExpr(text)
		if err != nil {
			f.err = err
			return
		}
		for _, name := range of.names {
			if name != foldedItem {
				return
			}
		}
		if of.all {
			return
		}
		fold.of = of
	}
	f.folds = append(f.folds, fold)
	ast.Patch(node, &ast.IdentifierNode{Value: fold.name})
}

// foldable says what a node folds the list to, and of what in each item (nil: the
// item itself counts).
func (f *foldFinder) foldable(n *ast.BuiltinNode) (foldKind, ast.Node, bool) {
	body := func(n *ast.BuiltinNode) (ast.Node, bool) {
		if len(n.Arguments) != 2 || !f.isList(n.Arguments[0]) {
			return nil, false
		}
		p, ok := n.Arguments[1].(*ast.PredicateNode)
		if !ok {
			return nil, false
		}
		return p.Node, true
	}
	inner, _ := n.Arguments[0].(*ast.BuiltinNode)
	switch n.Name {
	case "len":
		if f.isList(n.Arguments[0]) {
			return foldCount, nil, true
		}
		if inner != nil && inner.Name == "filter" {
			of, ok := body(inner)
			return foldCount, of, ok
		}
	case "sum":
		if len(n.Arguments) == 1 && inner != nil && inner.Name == "map" {
			of, ok := body(inner)
			return foldSum, of, ok
		}
		of, ok := body(n)
		return foldSum, of, ok
	case "count", "any", "all", "none":
		of, ok := body(n)
		return map[string]foldKind{"count": foldCount, "any": foldAny, "all": foldAll, "none": foldNone}[n.Name], of, ok
	}
	return 0, nil, false
}

func (f *foldFinder) isList(n ast.Node) bool {
	name, ok := n.(*ast.IdentifierNode)
	return ok && name.Value == f.list
}

// ofItem writes the body of a loop with a name for the item. It reports whether
// the body looks at nothing but that.
func ofItem(body ast.Node) (string, bool) {
	p := &itemNamer{alone: true}
	ast.Walk(&body, p)
	return body.String(), p.alone
}

type itemNamer struct{ alone bool }

// Visit implements ast.Visitor.
func (p *itemNamer) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode, *ast.VariableDeclaratorNode, *ast.IdentifierNode:
		p.alone = false // a loop within has items of its own
	case *ast.PointerNode:
		p.alone = p.alone && n.Name == ""
		ast.Patch(node, &ast.IdentifierNode{Value: foldedItem})
	}
}
