package stabilize

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

func (p *program) run(env Values) (result any, err error) { return p.runGiven(env, nil) }

// runGiven runs with values that are decoded already, which come before those of
// env.
func (p *program) runGiven(env Values, given map[string]any) (result any, err error) {
	names := make(map[string]any, len(p.names)+2)
	for place, name := range p.names {
		if x, ok := given[name]; ok {
			names[place] = x
		} else if names[place], err = p.decode(env, name); err != nil {
			return nil, err
		}
	}
	names[placeRounds] = new(int)
	if p.all {
		all := make(map[string]any, len(env))
		for name := range env {
			if all[name], err = p.decode(env, name); err != nil {
				return nil, err
			}
		}
		maps.Copy(all, given)
		names[placeAll] = all
	}
	machine := vm.VM{MemoryBudget: maxExprItems} // it catches panics
	if result, err = machine.Run(p.code, names); err != nil {
		return nil, &ExpressionError{Expression: p.expression, Cause: exprCause(err)}
	}
	return result, nil
}

func (p *program) decode(env Values, name string) (any, error) {
	raw, ok := env[name]
	if !ok {
		return nil, nil
	}
	x, err := exprValue(raw)
	if err != nil {
		return nil, badExpr(p.expression, "value %q: %v", name, err)
	}
	return x, nil
}

// namedList returns the items of a list that the expression only names.
func (p *program) namedList(env Values) ([]json.RawMessage, bool) {
	raw, ok := p.named(p.code.Node(), env)
	if !ok {
		return nil, false
	}
	var items []json.RawMessage
	err := json.Unmarshal(raw, &items)
	return items, err == nil && items != nil // null is no list
}

func (p *program) named(node ast.Node, env Values) (json.RawMessage, bool) {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		name, ok := p.names[n.Value]
		if !ok {
			return nil, false
		}
		raw, ok := env[name]
		return raw, ok
	case *ast.MemberNode:
		key, isText := n.Property.(*ast.StringNode)
		raw, ok := p.named(n.Node, env)
		if !ok || !isText {
			return nil, false
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return nil, false
		}
		raw, ok = object[key.Value]
		return raw, ok
	}
	return nil, false
}

// exprValue decodes a value for expressions.
func exprValue(raw json.RawMessage) (any, error) {
	if !json.Valid(raw) {
		return nil, errors.New("is not valid JSON")
	}
	if c := raw[0]; c == '-' || '0' <= c && c <= '9' {
		return exprNumber(strings.TrimSpace(string(raw))), nil // the usual case
	}
	var x any
	if err := decodeValue(raw, &x); err != nil {
		return nil, err
	}
	return exprNumbers(x), nil
}

func exprNumbers(x any) any {
	switch x := x.(type) {
	case json.Number:
		return exprNumber(string(x))
	case []any:
		for i := range x {
			x[i] = exprNumbers(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = exprNumbers(x[k])
		}
	}
	return x
}

func exprNumber(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if strings.ContainsAny(text, ".eE") {
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	}
	return json.Number(text)
}

// exprItems are the items of a list, of whatever type a builtin made it.
func exprItems(x any) ([]any, bool) {
	if items, ok := x.([]any); ok {
		return items, true
	}
	v := reflect.ValueOf(x)
	if _, isBytes := x.([]byte); isBytes || v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return nil, false
	}
	items := make([]any, v.Len())
	for i := range items {
		items[i] = v.Index(i).Interface()
	}
	return items, true
}

// exprKind says what a result is, for an error.
func exprKind(x any) string {
	switch x.(type) {
	case nil:
		return "nil"
	case bool:
		return "a boolean"
	case string:
		return "a text"
	case int, float64, json.Number:
		return fmt.Sprintf("the number %v", x)
	}
	switch reflect.TypeOf(x).Kind() {
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "an object"
	}
	return fmt.Sprintf("a %T", x)
}

func badExpr(expression, format string, args ...any) error {
	return &ExpressionError{Expression: expression, Cause: fmt.Errorf(format, args...)}
}

// exprCause puts the library's error, several lines with a drawing, on one line.
func exprCause(err error) error {
	e, ok := errors.AsType[*file.Error](err)
	if !ok || e.Line == 0 {
		return err
	}
	message := strings.TrimPrefix(e.Message, "interface conversion: ")
	return fmt.Errorf("%s (line %d, column %d)", strings.ReplaceAll(message, "interface {}", "value"), e.Line, e.Column+1)
}
