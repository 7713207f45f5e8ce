package stabilize_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func exprEnv() stabilize.Values {
	return stabilize.Values{
		"max64":    json.RawMessage(`9223372036854775807`),
		"huge":     json.RawMessage(`12345678901234567890`),
		"half":     json.RawMessage(`0.5`),
		"count":    json.RawMessage(`5`),
		"keys":     json.RawMessage(`6`),
		"now":      json.RawMessage(`7`),
		"null":     json.RawMessage(`null`),
		"text":     json.RawMessage(`"abc"`),
		"yes":      json.RawMessage(`true`),
		"list":     json.RawMessage(`[3,1,2]`),
		"order":    json.RawMessage(`{"z":1,"a":{"items":[1.0,{"b":2,"a":1}]},"m":"x"}`),
		"order-id": json.RawMessage(`17`),
	}
}

func TestExpr(t *testing.T) {
	for expression, want := range map[string]any{
		// Names that are there, or not.
		"absent": nil, "absent == nil": true, "null == nil": true, "absent == 10": false, "absent != 10": true,
		"absent ?? 3": 3, "order.absent": nil, "order?.absent?.deeper": nil, "absent in [1, nil]": true,
		"$env['order-id']": 17, "$env.count": 5, "len($env)": 12, "'text' in $env": true,
		// Names of functions are free for values.
		"count": 5, "keys": 6, "now": 7, "count > 4 and count(list, # > 1) == 2": true, "sum": nil,
		"let keys = 3; keys + 1": 4,
		// Numbers.
		"max64 == 9223372036854775807": true, "max64 - 1": math.MaxInt - 1, "huge == huge": true, "huge == max64": false,
		"huge": json.Number("12345678901234567890"), "half + 1": 1.5, "7 / 2": 3.5, "2 ** 10": 1024.0, "1 == 1.0": true,
		"-max64 - 1": math.MinInt, "(-max64 - 1) * 1": math.MinInt, "int('5') + int(2.9)": 7,
		// Text.
		"text + 'd'": "abcd", "text contains 'b'": true, "text matches '^a'": true, "upper(text)": "ABC",
		"repeat('ab', 2)": "abab", "replace('aXa', 'X', 'YY')": "aYYa", "replace('aaa', 'a', 'b', 1)": "baa",
		"join(['a', 'b'], '-')": "a-b",
		// Lists and objects.
		"2 in list": true, "9 not in list": true, "'z' in order": true, "sum(list)": 6, "sum(list, # * 2)": 12, "sum([])": 0,
		"map(list, # + 1)": []any{4, 2, 3}, "filter(list, # > 1)": []any{3, 2}, "reduce(list, #acc * #)": 6,
		"keys(order)": []any{"a", "m", "z"}, "order | values() | last()": 1, "toPairs({'b': 1, 'a': 2})": []any{[]any{"a", 2}, []any{"b", 1}},
		"keys(groupBy([2, 10, 1], #))": []any{1, 2, 10}, "keys(groupBy(['b', 2.5, 10, 'a', true, 9], #))": []any{true, 2.5, 9, 10, "a", "b"}, "fromJSON('[9007199254740993]')": []any{9007199254740993},
		"any(list, # == 3) and all([], # > 1)": true, "yes ? 1 : 2": 1,
	} {
		got, err := stabilize.Expr(expression, exprEnv())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives %#v (%v), want %#v", expression, got, err, want)
		}
	}
}

// What goes wrong is an error, never quietly false.
func TestExprErrors(t *testing.T) {
	for _, expression := range []string{
		"absent > 10", "10 < absent", "null >= 1", "absent + 1", "not absent", "absent ? 1 : 2", "absent.deeper", "order.absent.deeper",
		"absent contains 'a'", "not (absent contains 'a')", "'a' contains absent", "absent startsWith 'a'", "absent endsWith 'a'",
		"absent matches 'a'", "text matches absent", "5 in absent", "5 not in absent", "any(absent, # > 1)", "none(absent, # > 1)",
		"sum(absent)", "len(absent)", "max(1, absent)", "keys(absent)", "join(absent)", "join([1])",
		"max64 + 1", "-max64 - 2", "max64 * 2", "-max64 * max64", "(-max64 - 1) * -1", "sum([max64, 1])", "sum(list, max64)",
		"1 / 0", "0 / 0", "1 % (count - 5)", "2 ** 5000", "huge + 1", "huge > 1", "int(1e30)", "int('x')", "int(absent)",
		"list[9]", "text + 1", "'[' | fromJSON()", "text matches ('(' + text)",
		"repeat(text, 1000000)", "repeat(text, -1)", "replace(repeat('a', 1000), '', repeat('b', 1000))",
		"reduce(1..64, #acc + #acc, text)", "join(map(1..2000, repeat('a', 1000)))",
		"1..2000000", "count(1..1000, count(1..1000, count(1..1000, true) > 0) > 0)",
	} {
		got, err := stabilize.Expr(expression, exprEnv())
		e, ok := errors.AsType[*stabilize.ExpressionError](err)
		if !ok || !errors.Is(err, stabilize.ErrInvalid) || got != nil {
			t.Errorf("%s gives %v (%v), want an ExpressionError", expression, got, err)
			continue
		}
		if e.Expression != expression || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), fmt.Sprintf("%q", expression)) {
			t.Errorf("the error of %s reads %q", expression, err)
		}
		if err := stabilize.CheckExpr(expression); err != nil {
			t.Errorf("%s is refused before it is known to fail: %v", expression, err)
		}
	}
}

func TestCheckExpr(t *testing.T) {
	for _, expression := range []string{
		"", " ", "(", "1 +", "a b", "1 > 'a'", "1 + 'a'", "'a' - 'b'", "nil + 1", "'\xff'", "#", "absent(1)", "order.method()", "order?.method()",
		"now()", "1 | now()", "map([1], now())", "date('2026-01-01')", "duration('1h')", "timezone('UTC')", "let count = 1; count",
		"keys()", "repeat('a')", "9223372036854775808", "text matches '('",
		"'" + strings.Repeat("a", stabilize.MaxExpression-1) + "'", strings.Repeat("1+", 5_000) + "1",
		strings.Repeat("(", stabilize.MaxExpression), strings.Repeat("-", stabilize.MaxExpression-1) + "(",
	} {
		err := stabilize.CheckExpr(expression)
		if _, ok := errors.AsType[*stabilize.ExpressionError](err); !ok || !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%.60q is accepted (%v)", expression, err)
		} else if len(err.Error()) > 1_000 {
			t.Errorf("the error of %.60q is %d bytes long", expression, len(err.Error()))
		}
	}
	if err := stabilize.CheckExpr("'" + strings.Repeat("a", stabilize.MaxExpression-2) + "'"); err != nil {
		t.Error(err)
	}
	if err := stabilize.CheckExpr("a.b > 10 and len(c) == count"); err != nil {
		t.Error(err)
	}
}

func TestExprBool(t *testing.T) {
	for expression, want := range map[string]bool{"count == 5": true, "count > 5": false, "yes": true, "absent == true": false} {
		if got, err := stabilize.ExprBool(expression, exprEnv()); err != nil || got != want {
			t.Errorf("%s gives %t (%v)", expression, got, err)
		}
	}
	for _, expression := range []string{"absent", "nil", "count", "text", "list", "order", "absent and yes", "yes and absent"} {
		if got, err := stabilize.ExprBool(expression, exprEnv()); !errors.Is(err, stabilize.ErrInvalid) || got {
			t.Errorf("%s gives %t (%v), want an error", expression, got, err)
		}
	}
}

func TestExprInt(t *testing.T) {
	for expression, want := range map[string]int{"count": 5, "-1": -1, "6 / 2": 3, "max64": math.MaxInt, "len(list)": 3, "2.0 ** 53": 1 << 53} {
		if got, err := stabilize.ExprInt(expression, exprEnv()); err != nil || got != want {
			t.Errorf("%s gives %d (%v), want %d", expression, got, err, want)
		}
	}
	for _, expression := range []string{"'x'", "'5'", "1.5", "nil", "absent", "yes", "list", "order", "huge", "1e300", "2.0 ** 54"} {
		if got, err := stabilize.ExprInt(expression, exprEnv()); !errors.Is(err, stabilize.ErrInvalid) || got != 0 {
			t.Errorf("%s gives %d (%v), want an error", expression, got, err)
		}
	}
}

func TestExprList(t *testing.T) {
	for expression, want := range map[string]string{
		"list": `3 1 2`, "order.a.items": `1.0 {"b":2,"a":1}`, "order?.a.items": `1 {"a":1,"b":2}`, "[]": ``, "1..3": `1 2 3`,
		"[huge, half, nil, '<']": `12345678901234567890 0.5 null "<"`, "keys(order)": `"a" "m" "z"`,
		"map(order.a.items, [#])": `[1] [{"a":1,"b":2}]`, "split('a,b', ',')": `"a" "b"`,
	} {
		got, err := stabilize.ExprList(expression, exprEnv())
		texts := make([]string, len(got))
		for i, item := range got {
			texts[i] = string(item)
		}
		if text := strings.Join(texts, " "); err != nil || text != want {
			t.Errorf("%s gives %s (%v), want %s", expression, text, err, want)
		}
	}
	for _, expression := range []string{"absent", "null", "nil", "text", "order", "count", "order.absent", "absent.list", "$env", "b'abc'", "[keys]['x']"} {
		if got, err := stabilize.ExprList(expression, exprEnv()); !errors.Is(err, stabilize.ErrInvalid) || got != nil {
			t.Errorf("%s gives %s (%v), want an error", expression, got, err)
		}
	}
}

// Only what the expression names is decoded.
func TestExprIsLazy(t *testing.T) {
	env := stabilize.Values{"a": json.RawMessage(`1`), "broken": json.RawMessage(`{`), "count": json.RawMessage(`[`), "keys": json.RawMessage(`[`)}
	for _, expression := range []string{"a == 1", "$env['a'] == 1", "count([a], # == 1) == 1", "len(keys({'b': 2})) == a"} {
		if ok, err := stabilize.ExprBool(expression, env); err != nil || !ok {
			t.Errorf("%s gives %t (%v)", expression, ok, err)
		}
	}
	for _, expression := range []string{"broken", "$env['broken']", "$env", "count"} {
		if _, err := stabilize.Expr(expression, env); !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), "not valid JSON") {
			t.Errorf("%s gives %v", expression, err)
		}
	}
}

// Loops end, and nil is said to be what is wrong with them.
func TestExprLoops(t *testing.T) {
	list, err := stabilize.NewValues(map[string]any{"list": make([]int, 300)})
	if err != nil {
		t.Fatal(err)
	}
	for expression, text := range map[string]string{
		"count(list, # == 0) == 300":                            "",
		"count(list, all(list, # == 0)) == 300":                 "",
		"count(list, all(list, # == 0) and all(list, # == 0))":  "100000 rounds",
		"sum(map(list, sum(list))) + sum(map(list, sum(list)))": "100000 rounds",
		"any(absent, # > 1)":                                    "nil where a value is needed",
		"sum(absent) > 1":                                       "nil where a value is needed",
	} {
		ok, err := stabilize.ExprBool(expression, list)
		if text == "" && (err != nil || !ok) || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
			t.Errorf("%s gives %t (%v)", expression, ok, err)
		}
	}
}

// Exprs answers as the functions do, whether it remembers or not, from many
// goroutines at once.
func TestExprsRemember(t *testing.T) {
	var exprs stabilize.Exprs
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 600 {
				expression := fmt.Sprintf("n + %d", i%(300*(g+1)))
				env := stabilize.Values{"n": json.RawMessage(fmt.Sprint(g))}
				if n, err := exprs.Int(expression, env); err != nil || n != g+i%(300*(g+1)) {
					t.Errorf("%s gives %d (%v)", expression, n, err)
				}
			}
			if _, err := exprs.Bool("n >", nil); !errors.Is(err, stabilize.ErrInvalid) {
				t.Errorf("a wrong expression gives %v", err)
			}
			for range 200 { // rounds are counted anew each time
				if n, err := exprs.Int("count(1..1000, # > 0)", nil); err != nil || n != 1000 {
					t.Errorf("counting gives %d (%v)", n, err)
				}
			}
		})
	}
	group.Wait()
	if items, err := exprs.List("[1]", nil); err != nil || len(items) != 1 {
		t.Errorf("got %s (%v)", items, err)
	}
}

// Arithmetic is exact or an error.
func TestExprArithmetic(t *testing.T) {
	operand := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, math.MinInt32, 1 << 32, 3037000500}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := operand.Draw(t, "a"), operand.Draw(t, "b")
		env := stabilize.Values{"a": json.RawMessage(fmt.Sprint(a)), "b": json.RawMessage(fmt.Sprint(b))}
		x, y := big.NewInt(a), big.NewInt(b)
		for expression, want := range map[string]*big.Int{
			"a + b": new(big.Int).Add(x, y), "a - b": new(big.Int).Sub(x, y), "a * b": new(big.Int).Mul(x, y), "sum([a, b])": new(big.Int).Add(x, y),
		} {
			got, err := stabilize.Expr(expression, env)
			if !want.IsInt64() {
				if err == nil {
					t.Errorf("%s of %d and %d gives %v", expression, a, b, got)
				}
			} else if err != nil || got != int(want.Int64()) {
				t.Errorf("%s of %d and %d gives %v (%v)", expression, a, b, got, err)
			}
		}
		if less, err := stabilize.ExprBool("a < b", env); err != nil || less != (a < b) {
			t.Errorf("%d < %d gives %t (%v)", a, b, less, err)
		}
	})
}

// FuzzExpr: no panic, one class of error, and the same answer twice, whatever
// the text and the value.
func FuzzExpr(f *testing.F) {
	for _, seed := range []string{
		"a > 10 and a.b", "$env[a]", "a | map(#) | sum(#.x)", "let x = a; x ** x", "a matches a", "{a: [a]}.a[0:a]", "reduce(a, #acc + #)", "a?.b ?? a..3",
		"keys(a) | join()", "if a { sum } else { count(a) }", "replace(a, a, a)", "groupBy(a, #)", "sortBy(a, #, 'desc')", "toPairs(a) | fromPairs()",
	} {
		f.Add(seed, `[1,"x",{"b":null}]`)
		f.Add(seed, `12345678901234567890`)
	}
	f.Fuzz(func(t *testing.T, expression, value string) {
		env := stabilize.Values{"a": json.RawMessage(value)}
		for range 2 {
			x, err := stabilize.Expr(expression, env)
			y, err2 := stabilize.Expr(expression, env)
			if err != nil && !errors.Is(err, stabilize.ErrInvalid) || (err == nil) != (err2 == nil) {
				t.Fatalf("%v, then %v", err, err2)
			}
			if a, b := fmt.Sprint(x), fmt.Sprint(y); a != b {
				t.Fatalf("%s, then %s", a, b)
			}
			if _, err := stabilize.ExprList(expression, env); err != nil && !errors.Is(err, stabilize.ErrInvalid) {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkExprBool(b *testing.B) {
	env := stabilize.Values{"a": json.RawMessage(`5`), "o": json.RawMessage(`{"z":1}`)}
	for name, exprs := range map[string]*stabilize.Exprs{"compiled": nil, "remembered": {}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := exprs.Bool("a > 3 and o.z == 1", env); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
