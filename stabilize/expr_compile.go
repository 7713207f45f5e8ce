package stabilize

import (
	"fmt"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/vm"
)

// program is a compiled expression. It does not change.
type program struct {
	expression string
	code       *vm.Program
	names      map[string]string // where the code looks for a value, to the value's name
	all        bool              // the code looks at all values
}

const (
	maxExprNodes  = 4_096
	maxExprItems  = 1_000_000
	maxExprRounds = 100_000
	maxExprText   = 1_000_000

	// No name in an expression begins with a space, so these places are ours.
	placeRounds = " rounds" // the *int that counts rounds
	placeAll    = " all"    // all values, for $env
)

// place is where a value, or a function of ours, is found whose name means
// something else in the language.
func place(name string) string { return " ." + name }

func compileExpr(expression string) (p *program, err error) { return compileWith(expression, nil) }

// compileWith lets a visitor, if it is not nil, change the expression first.
func compileWith(expression string, first ast.Visitor) (p *program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, badExpr(expression, "%v", r)
		}
	}()
	switch {
	case len(expression) > MaxExpression:
		return nil, badExpr(expression, "is %d bytes long, the maximum is %d", len(expression), MaxExpression)
	case !utf8.ValidString(expression):
		return nil, badExpr(expression, "is not valid UTF-8")
	}
	rewrite := &exprRewriter{named: map[string]int{}, names: map[string]string{}}
	options := []expr.Option{expr.Env(map[string]any{}), expr.AllowUndefinedVariables(), expr.MaxNodes(maxExprNodes), addExprFunctions}
	if first != nil {
		options = append(options, expr.Patch(first))
	}
	options = append(options, expr.Patch(rewrite))
	for _, name := range []string{"now", "date", "duration", "timezone"} {
		options = append(options, expr.DisableBuiltin(name))
	}
	for name := range exprFunctions {
		options = append(options, expr.DisableBuiltin(name))
	}
	code, err := expr.Compile(expression, options...)
	if err == nil {
		err = rewrite.err
	}
	if err != nil {
		return nil, &ExpressionError{Expression: expression, Cause: exprCause(err)}
	}
	for name, uses := range rewrite.named {
		if uses > 0 {
			rewrite.names[name] = name
		}
	}
	return &program{expression: expression, code: code, names: rewrite.names, all: rewrite.all > 0}, nil
}

// exprRewriter notes the names that an expression uses and puts our functions
// in the place of what overflows, runs away or is quiet about nil. It is called
// for the parts of a node before the node.
type exprRewriter struct {
	named map[string]int    // how often
	names map[string]string // place to name
	all   int
	err   error
}

// Visit implements ast.Visitor.
func (r *exprRewriter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		r.identifier(node, n)
	case *ast.MemberNode:
		r.member(node, n)
	case *ast.CallNode:
		r.call(n)
	case *ast.PredicateNode:
		countRounds(n)
	case *ast.BuiltinNode:
		r.builtin(node, n)
	case *ast.BinaryNode:
		switch n.Operator {
		case "+", "-", "*", "/", "**", "^":
			ast.Patch(node, callOf(n.Operator, n.Left, n.Right))
		case "contains", "startsWith", "endsWith", "matches":
			n.Left, n.Right = notNil(n.Left), notNil(n.Right)
		case "in":
			n.Right = notNil(n.Right)
		}
	}
}

func (r *exprRewriter) identifier(node *ast.Node, n *ast.IdentifierNode) {
	_, isBuiltin := builtin.Index[n.Value]
	switch {
	case n.Value == "$env":
		r.all++
		ast.Patch(node, &ast.IdentifierNode{Value: placeAll})
	case isBuiltin && !exprLacks(n.Value): // a value may be called count
		ast.Patch(node, r.value(n.Value))
	default:
		r.named[n.Value]++
	}
}

// member turns $env["name"] into the name.
func (r *exprRewriter) member(node *ast.Node, n *ast.MemberNode) {
	of, ok := n.Node.(*ast.IdentifierNode)
	name, isText := n.Property.(*ast.StringNode)
	if ok && isText && of.Value == placeAll {
		r.all--
		ast.Patch(node, r.value(name.Value))
	}
}

func (r *exprRewriter) value(name string) ast.Node {
	r.names[place(name)] = name
	return &ast.IdentifierNode{Value: place(name)}
}

// call finds our function; values have none.
func (r *exprRewriter) call(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if ok && exprFunctions[callee.Value].call != nil {
		r.named[callee.Value]--
		callee.Value = functionPlace(callee.Value)
		return
	}
	if r.err == nil {
		r.err = fmt.Errorf("there is no function %s", n.Callee)
	}
}

func (r *exprRewriter) builtin(node *ast.Node, n *ast.BuiltinNode) {
	loops := n.Name == "sum"
	for _, argument := range n.Arguments {
		_, isBody := argument.(*ast.PredicateNode)
		loops = loops || isBody
	}
	if loops {
		n.Arguments[0] = notNil(n.Arguments[0])
	}
	if n.Name == "sum" {
		ast.Patch(node, exactSum(n))
	}
}

// countRounds begins the body of a loop with a call that counts.
func countRounds(n *ast.PredicateNode) {
	n.Node = &ast.SequenceNode{Nodes: []ast.Node{
		callOf("round", &ast.IdentifierNode{Value: placeRounds}), n.Node,
	}}
}

// exactSum is sum by our addition.
func exactSum(n *ast.BuiltinNode) ast.Node {
	var item ast.Node = &ast.PointerNode{}
	if len(n.Arguments) > 1 {
		item = n.Arguments[1].(*ast.PredicateNode).Node // counts already
	}
	body := &ast.PredicateNode{Node: callOf("+", &ast.PointerNode{Name: "acc"}, item)}
	if len(n.Arguments) == 1 {
		countRounds(body)
	}
	return &ast.BuiltinNode{Name: "reduce", Arguments: []ast.Node{n.Arguments[0], body, &ast.IntegerNode{}}}
}

// notNil wraps what may be nil.
func notNil(n ast.Node) ast.Node {
	if _, isNil := n.(*ast.NilNode); !isNil && n.Type().Kind() != interfaceKind {
		return n
	}
	return callOf("some", n)
}

func callOf(function string, arguments ...ast.Node) ast.Node {
	n := &ast.CallNode{Callee: &ast.IdentifierNode{Value: functionPlace(function)}, Arguments: arguments}
	n.SetLocation(arguments[0].Location())
	return n
}

// addExprFunctions puts our functions where only the rewriter finds them.
func addExprFunctions(c *conf.Config) {
	for _, table := range []map[string]exprFunction{exprFunctions, exprOperators} {
		for name, f := range table {
			c.Functions[functionPlace(name)] = &builtin.Function{
				Name: name, Func: f.call, Types: f.types, Validate: f.check,
			}
		}
	}
}

func functionPlace(name string) string { return " " + name + "()" }

// exprLacks reports a builtin that was taken out or replaced, so that its name
// means nothing on its own.
func exprLacks(name string) bool {
	switch name {
	case "now", "date", "duration", "timezone":
		return true
	}
	return exprFunctions[name].call != nil
}
