package stabilize

import (
	"encoding/json"
	"math"
	"sync"
)

// Expr evaluates an expression over values, each known by its name. The language
// is that of github.com/expr-lang/expr (expr-lang.org); what differs:
//
//   - Values are integers (64 bits, exact), floats, text, booleans, lists,
//     objects and nil. A number that fits neither int nor float64 is a
//     json.Number: it can be handed on and compared with its like, nothing else.
//   - A name that is not there is nil. nil may be compared with == and !=, and
//     replaced with ??; nil in any other comparison, in arithmetic, as a
//     condition or as what `contains`, `in` and the like look into is an error.
//     A name that is no word, or one of the language: $env["order-id"].
//   - Integers that overflow, and floats that become infinite or no number
//     (division by zero), are errors.
//   - The same values always give the same result: now, date, duration and
//     timezone do not exist; keys, values and toPairs are in the order of the
//     keys. Values have no methods.
//   - An expression has at most MaxExpression bytes and 4,096 nodes. Its loops
//     make at most 100,000 rounds together, its lists at most 1,000,000 items and
//     one text at most 1,000,000 bytes: more is an error. That keeps mistakes
//     from harming; it is no fence against authors who mean to use up memory.
//
// Only the values that the expression names are decoded. Every error is an
// ExpressionError (ErrInvalid). Read the result only: lists and objects may be
// shared. An expression is compiled each time; Exprs remembers.
func Expr(expression string, env Values) (any, error) {
	return (*Exprs)(nil).Eval(expression, env)
}

// ExprBool is Expr for a condition: a result that is no boolean is an error.
func ExprBool(expression string, env Values) (bool, error) {
	return (*Exprs)(nil).Bool(expression, env)
}

// ExprInt is Expr for a count: a result that is no whole number is an error. A
// float may be whole, up to 2^53, where floats begin to leave some out.
func ExprInt(expression string, env Values) (int, error) {
	return (*Exprs)(nil).Int(expression, env)
}

// ExprList is Expr for a list, item by item; another result is an error. The
// items of a list that the expression only names, such as order.items, keep
// their exact text; others are encoded as Values are.
func ExprList(expression string, env Values) ([]json.RawMessage, error) {
	return (*Exprs)(nil).List(expression, env)
}

// CheckExpr returns an ExpressionError unless the expression can be compiled:
// its syntax, the functions it calls, the types it fixes itself.
func CheckExpr(expression string) error {
	_, err := compileExpr(expression)
	return err
}

// MaxExpression is how long an expression may be, in bytes.
const MaxExpression = 16 << 10

// Exprs evaluates like Expr, ExprBool, ExprInt and ExprList, and remembers the
// compiled form of the last few hundred expressions. The zero value is ready
// for use; it is safe for concurrent use. A nil one remembers nothing.
type Exprs struct {
	mu         sync.Mutex
	young, old map[string]*program // when young is full it becomes old, and old is forgotten
}

// maxYoung bounds each half of what Exprs remembers.
const maxYoung = 256

// Eval is Expr.
func (e *Exprs) Eval(expression string, env Values) (any, error) {
	p, err := e.program(expression)
	if err != nil {
		return nil, err
	}
	return p.run(env)
}

// Bool is ExprBool.
func (e *Exprs) Bool(expression string, env Values) (bool, error) {
	result, err := e.Eval(expression, env)
	return asBool(expression, result, err)
}

func asBool(expression string, result any, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	b, ok := result.(bool)
	if !ok {
		return false, badExpr(expression, "gives %s, not true or false", exprKind(result))
	}
	return b, nil
}

// Int is ExprInt.
func (e *Exprs) Int(expression string, env Values) (int, error) {
	result, err := e.Eval(expression, env)
	if err != nil {
		return 0, err
	}
	switch n := result.(type) {
	case int:
		return n, nil
	case float64:
		if n == math.Trunc(n) && math.Abs(n) <= 1<<53 {
			return int(n), nil
		}
		return 0, badExpr(expression, "gives %v, which is no whole number", n)
	}
	return 0, badExpr(expression, "gives %s, not a whole number", exprKind(result))
}

// List is ExprList.
func (e *Exprs) List(expression string, env Values) ([]json.RawMessage, error) {
	p, err := e.program(expression)
	if err != nil {
		return nil, err
	}
	if items, ok := p.namedList(env); ok {
		return items, nil
	}
	result, err := p.run(env)
	if err != nil {
		return nil, err
	}
	list, ok := exprItems(result)
	if !ok {
		return nil, badExpr(expression, "gives %s, not a list", exprKind(result))
	}
	items := make([]json.RawMessage, len(list))
	for i, item := range list {
		if items[i], err = EncodeJSON("item", item); err != nil {
			return nil, badExpr(expression, "item %d: %v", i, err)
		}
	}
	return items, nil
}

func (e *Exprs) program(expression string) (*program, error) {
	if e == nil {
		return compileExpr(expression)
	}
	if p := e.recall(expression); p != nil {
		return p, nil
	}
	p, err := compileExpr(expression) // outside of the lock: it takes its time
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep(expression, p)
	return p, nil
}

func (e *Exprs) recall(expression string) *program {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.young[expression]; p != nil {
		return p
	}
	p := e.old[expression]
	if p != nil {
		e.keep(expression, p)
	}
	return p
}

func (e *Exprs) keep(expression string, p *program) {
	if len(e.young) >= maxYoung {
		e.old, e.young = e.young, nil
	}
	if e.young == nil {
		e.young = map[string]*program{}
	}
	e.young[expression] = p
}
