package stabilize

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/vm/runtime"
)

// exprFunction is a function that expressions call. types are those it takes,
// or check looks at the types that are known beforehand.
type exprFunction struct {
	call  func(args ...any) (any, error)
	types []reflect.Type
	check func(args []reflect.Type) (reflect.Type, error)
}

const interfaceKind = reflect.Interface

// exprFunctions replace builtins of the same name that depend on the order of a
// map, round quietly, or take memory without counting it.
var exprFunctions = map[string]exprFunction{
	"keys":     {call: exprKeys, types: []reflect.Type{reflect.TypeFor[func(any) []any]()}},
	"values":   {call: exprValues, types: []reflect.Type{reflect.TypeFor[func(any) []any]()}},
	"toPairs":  {call: exprPairs, types: []reflect.Type{reflect.TypeFor[func(any) []any]()}},
	"fromJSON": {call: exprFromJSON, types: []reflect.Type{reflect.TypeFor[func(string) any]()}},
	"int":      {call: exprInt, types: []reflect.Type{reflect.TypeFor[func(any) int]()}},
	"repeat":   {call: exprRepeat, types: []reflect.Type{reflect.TypeFor[func(string, int) string]()}},
	"replace": {call: exprReplace, types: []reflect.Type{
		reflect.TypeFor[func(string, string, string) string](),
		reflect.TypeFor[func(string, string, string, int) string](),
	}},
	"join": {call: exprJoin, types: []reflect.Type{
		reflect.TypeFor[func([]any) string](), reflect.TypeFor[func([]any, string) string](),
		reflect.TypeFor[func([]string) string](), reflect.TypeFor[func([]string, string) string](),
	}},
}

// exprOperators stand for operators, and are put in by the rewriter.
var exprOperators = map[string]exprFunction{
	"+":     {call: exprAdd, check: checkOperands(true)},
	"-":     {call: exprSubtract, check: checkOperands(false)},
	"*":     {call: exprMultiply, check: checkOperands(false)},
	"/":     {call: func(args ...any) (any, error) { return finite(runtime.Divide(args[0], args[1])) }, check: checkOperands(false)},
	"**":    {call: func(args ...any) (any, error) { return finite(runtime.Exponent(args[0], args[1])) }, check: checkOperands(false)},
	"^":     {call: func(args ...any) (any, error) { return finite(runtime.Exponent(args[0], args[1])) }, check: checkOperands(false)},
	"some":  {call: exprSome},
	"round": {call: exprRound},
}

var (
	errOverflow = errors.New("the integer overflows")
	errTooLong  = fmt.Errorf("the text would be longer than %d bytes", maxExprText)
)

func checkOperands(text bool) func(args []reflect.Type) (reflect.Type, error) {
	return func(args []reflect.Type) (reflect.Type, error) {
		a, b := operandKind(args[0]), operandKind(args[1])
		switch {
		case a == "any" || b == "any", a == "number" && b == "number":
			return reflect.TypeFor[any](), nil
		case text && a == "text" && b == "text":
			return args[0], nil
		}
		return nil, fmt.Errorf("mismatched types: %v and %v", args[0], args[1])
	}
}

func operandKind(t reflect.Type) string {
	if t == nil {
		return "nil"
	}
	switch k := t.Kind(); {
	case k == reflect.Interface:
		return "any"
	case k == reflect.String:
		return "text"
	case k >= reflect.Int && k <= reflect.Float64:
		return "number"
	}
	return "other"
}

func exprAdd(args ...any) (any, error) {
	switch a := args[0].(type) {
	case int:
		if b, ok := args[1].(int); ok {
			if c := a + b; (c > a) == (b > 0) {
				return c, nil
			}
			return nil, errOverflow
		}
	case string:
		if b, ok := args[1].(string); ok {
			if len(a)+len(b) > maxExprText {
				return nil, errTooLong
			}
			return a + b, nil
		}
	}
	return finite(runtime.Add(args[0], args[1]))
}

func exprSubtract(args ...any) (any, error) {
	a, ok := args[0].(int)
	b, ok2 := args[1].(int)
	if !ok || !ok2 {
		return finite(runtime.Subtract(args[0], args[1]))
	}
	if c := a - b; (c < a) == (b > 0) {
		return c, nil
	}
	return nil, errOverflow
}

func exprMultiply(args ...any) (any, error) {
	a, ok := args[0].(int)
	b, ok2 := args[1].(int)
	if !ok || !ok2 {
		return finite(runtime.Multiply(args[0], args[1]))
	}
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	limit := uint64(math.MaxInt)
	if (a < 0) != (b < 0) {
		limit++
	}
	if high != 0 || low > limit {
		return nil, errOverflow
	}
	return a * b, nil
}

func magnitude(n int) uint64 {
	if n < 0 {
		return -uint64(n) // right for the least integer too
	}
	return uint64(n)
}

func finite(x any) (any, error) {
	if f, ok := x.(float64); ok && (math.IsInf(f, 0) || math.IsNaN(f)) {
		return nil, fmt.Errorf("the result is no finite number")
	}
	return x, nil
}

func exprSome(args ...any) (any, error) {
	if runtime.IsNil(args[0]) {
		return nil, errors.New("nil where a value is needed")
	}
	return args[0], nil
}

func exprRound(args ...any) (any, error) {
	rounds := args[0].(*int)
	if *rounds++; *rounds > maxExprRounds {
		return nil, fmt.Errorf("loops for more than %d rounds", maxExprRounds)
	}
	return nil, nil
}

func exprKeys(args ...any) (any, error) {
	return eachPair(args[0], func(k, _ any) any { return k })
}

func exprValues(args ...any) (any, error) {
	return eachPair(args[0], func(_, v any) any { return v })
}

func exprPairs(args ...any) (any, error) {
	return eachPair(args[0], func(k, v any) any { return []any{k, v} })
}

// eachPair goes over a map in the order of its keys: by type, then by value.
func eachPair(x any, f func(k, v any) any) (any, error) {
	m := reflect.ValueOf(x)
	if m.Kind() != reflect.Map {
		return nil, fmt.Errorf("%s has no keys", exprKind(x))
	}
	keys := make([]any, 0, m.Len())
	for _, k := range m.MapKeys() {
		keys = append(keys, k.Interface())
	}
	slices.SortFunc(keys, func(a, b any) int {
		x, y := fmt.Sprintf("%T", a), fmt.Sprintf("%T", b)
		if x == y && runtime.Equal(a, b) {
			return 0
		}
		switch {
		case x != y:
			return cmp.Compare(x, y)
		case x == "int" || x == "float64" || x == "string":
			if runtime.Less(a, b) {
				return -1
			}
			return 1
		}
		return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	out := make([]any, len(keys))
	for i, k := range keys {
		key := reflect.Zero(m.Type().Key()) // nil
		if k != nil {
			key = reflect.ValueOf(k)
		}
		out[i] = f(k, m.MapIndex(key).Interface())
	}
	return out, nil
}

func exprFromJSON(args ...any) (any, error) {
	text, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("fromJSON of %s", exprKind(args[0]))
	}
	raw := json.RawMessage(text)
	if err := checkRaw("JSON", raw); err != nil {
		return nil, err
	}
	return exprValue(raw)
}

func exprInt(args ...any) (any, error) {
	switch x := args[0].(type) {
	case int:
		return x, nil
	case float64:
		if f := math.Trunc(x); f >= -1<<63 && f < 1<<63 {
			return int(f), nil
		}
		return nil, errOverflow
	case string:
		if n, ok := exprNumber(x).(int); ok {
			return n, nil
		}
		return nil, fmt.Errorf("%q is no integer", x)
	}
	return nil, fmt.Errorf("%s is no integer", exprKind(args[0]))
}

func exprRepeat(args ...any) (any, error) {
	s, n := args[0].(string), runtime.ToInt(args[1])
	switch {
	case n < 0:
		return nil, fmt.Errorf("repeat of %d times", n)
	case n > maxExprText || len(s)*n > maxExprText:
		return nil, errTooLong
	}
	return strings.Repeat(s, n), nil
}

func exprReplace(args ...any) (any, error) {
	s, from, to, n := args[0].(string), args[1].(string), args[2].(string), -1
	if len(args) == 4 {
		n = runtime.ToInt(args[3])
	}
	if times := strings.Count(s, from); len(to) > len(from) && times > 0 && len(to)-len(from) > (maxExprText-len(s))/times {
		return nil, errTooLong
	}
	return strings.Replace(s, from, to, n), nil
}

func exprJoin(args ...any) (any, error) {
	glue := ""
	if len(args) == 2 {
		glue = args[1].(string)
	}
	items, ok := exprItems(args[0])
	if !ok {
		return nil, fmt.Errorf("join of %s", exprKind(args[0]))
	}
	texts, size := make([]string, len(items)), 0
	for i, item := range items {
		if texts[i], ok = item.(string); !ok {
			return nil, fmt.Errorf("join of item %d, %s", i, exprKind(item))
		}
		if size += len(texts[i]) + len(glue); size > maxExprText {
			return nil, errTooLong
		}
	}
	return strings.Join(texts, glue), nil
}
