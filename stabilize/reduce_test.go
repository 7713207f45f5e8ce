package stabilize_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func raws(texts ...string) []json.RawMessage {
	out := make([]json.RawMessage, len(texts))
	for i, text := range texts {
		out[i] = json.RawMessage(text)
	}
	return out
}

func TestReducers(t *testing.T) {
	for _, c := range []struct {
		reducer string
		values  []string
		want    string
	}{
		{"collect", nil, `[]`},
		{"collect", []string{`1.0`, `[2,[3]]`, `[]`, `null`, `{"b":1,"a":[]}`}, `[1.0,2,[3],null,{"b":1,"a":[]}]`},
		{"append", []string{`[]`, `1`}, `[1]`},
		{"extend", []string{`null`, `[null]`, `1`}, `[null,1]`},
		{"sum", nil, `0`},
		{"sum", []string{`null`}, `0`},
		{"sum", []string{`9223372036854775807`, `1`, `null`, `-1`}, `9223372036854775807`},
		{"sum", []string{`9007199254740993`, `2`}, `9007199254740995`},
		{"sum", []string{`1`, `0.5`}, `1.5`},
		{"sum", []string{`1.5`, `1.5`}, `3`},
		{"sum", []string{`1e1`, `-9223372036854775808`, `-9223372036854775808`}, `-18446744073709552000`},
		{"min", nil, `null`},
		{"min", []string{`null`, `2`, `1.0`, `1`}, `1.0`},
		{"max", []string{`1`, `2.50`, `2.5`, `null`}, `2.50`},
		{"max", []string{`9007199254740992.0`, `9007199254740993`}, `9007199254740993`},
		{"min", []string{`"b"`, `"\u0061"`, `"a"`}, `"\u0061"`},
		{"max", []string{`"é"`, `"z"`, `""`}, `"é"`},
		{"merge", nil, `{}`},
		{"merge", []string{`{"b":1.0,"a":{"x":1}}`, `null`, `{"a":{"y":2}}`}, `{"a":{"y":2},"b":1.0}`},
		{"first", []string{`null`, `1`}, `null`},
		{"first", nil, `null`},
		{"last", []string{`null`, `[1]`}, `[1]`},
		{"last", nil, `null`},
	} {
		reduce, err := stabilize.NewRegistry().Reducer(c.reducer)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reduce(raws(c.values...)); err != nil || string(got) != c.want {
			t.Errorf("%s of %s is %s (%v), want %s", c.reducer, c.values, got, err, c.want)
		}
	}
}

func TestReducersRefuse(t *testing.T) {
	for _, c := range []struct {
		reducer string
		values  []string
		text    string
	}{
		{"sum", []string{`1`, `"2"`}, "value[1]"},
		{"sum", []string{`[1]`}, "value[0]"},
		{"sum", []string{`true`}, "value[0]"},
		{"sum", []string{`9223372036854775807`, `1`}, "beyond 64 bits"},
		{"sum", []string{`0.5`, `9223372036854775808`}, "value[1]"},
		{"sum", []string{`1e308`, `1e308`}, "beyond the range"},
		{"sum", []string{`1e999`}, "value[0]"},
		{"min", []string{`1`, `null`, `"a"`}, "value[2]"},
		{"max", []string{`"a"`, `1`}, "value[1]"},
		{"max", []string{`{}`}, "value[0]"},
		{"max", []string{`1`, `true`}, "value[1]"},
		{"merge", []string{`{}`, `[]`}, "value[1]"},
		{"merge", []string{`"{}"`}, "value[0]"},
		{"collect", []string{`[1]`, `[`}, "value[1]"},
	} {
		reduce, err := stabilize.NewRegistry().Reducer(c.reducer)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reduce(raws(c.values...)); !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s of %s is %s (%v), want an error with %q", c.reducer, c.values, got, err, c.text)
		}
	}
}

// Whatever the integers, their sum is right or refused, min and max are among
// them and bound them, and collect loses nothing.
func TestReducersOfIntegers(t *testing.T) {
	r := stabilize.NewRegistry()
	integer := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 2), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64}))
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfN(integer, 1, 6).Draw(t, "numbers")
		sum, texts := new(big.Int), make([]string, len(numbers))
		for i, n := range numbers {
			sum.Add(sum, big.NewInt(n))
			texts[i] = fmt.Sprint(n)
		}
		for name, want := range map[string]string{
			"sum": sum.String(), "min": fmt.Sprint(slices.Min(numbers)), "max": fmt.Sprint(slices.Max(numbers)),
			"collect": "[" + strings.Join(texts, ",") + "]", "first": texts[0], "last": texts[len(texts)-1],
		} {
			reduce, err := r.Reducer(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := reduce(raws(texts...))
			if name == "sum" && !sum.IsInt64() {
				if !errors.Is(err, stabilize.ErrInvalid) {
					t.Errorf("sum of %v is %s (%v)", numbers, got, err)
				}
			} else if err != nil || string(got) != want {
				t.Errorf("%s of %v is %s (%v), want %s", name, numbers, got, err, want)
			}
		}
	})
}

// No reducer panics or answers with what is no JSON, whatever it is given.
func TestReducersOfAnything(t *testing.T) {
	r := stabilize.NewRegistry()
	piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{``, ` `, ` 1 `, `-`, `1e999`, `"`, `[[1]]`, `{"a":1}`, `null`, ` [ ] `, `"\ud800"`}))
	rapid.Check(t, func(t *rapid.T) {
		values := raws(rapid.SliceOf(piece).Draw(t, "values")...)
		for _, name := range []string{"collect", "append", "extend", "sum", "min", "max", "merge"} {
			reduce, err := r.Reducer(name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := reduce(values); err == nil && !json.Valid(got) || err != nil && !errors.Is(err, stabilize.ErrInvalid) {
				t.Errorf("%s of %s is %s (%v)", name, values, got, err)
			}
		}
	})
}

func TestRegistryReduce(t *testing.T) {
	r := stabilize.NewRegistry()
	fail, nothing := errors.New("no luck"), func([]json.RawMessage) (json.RawMessage, error) { return nil, nil }
	for name, f := range map[string]stabilize.Reducer{
		"fail":    func([]json.RawMessage) (json.RawMessage, error) { return nil, fail },
		"nothing": nothing,
		"size":    func(values []json.RawMessage) (json.RawMessage, error) { return json.Marshal(len(values)) },
	} {
		if err := r.AddReducer(name, f); err != nil {
			t.Fatal(err)
		}
	}
	sources := []stabilize.Values{
		{"n": json.RawMessage(`1`), "x": json.RawMessage(`"a"`)}, nil,
		{"x": json.RawMessage(`"b"`)}, {"n": json.RawMessage(`2`), "other": json.RawMessage(`3`)},
	}
	got, err := r.Reduce([]stabilize.Reduction{{Key: "n", With: "sum"}, {Key: "x", With: "collect"}, {Key: "absent", With: "sum"}, {Key: "other", With: "size"}}, sources)
	want := stabilize.Values{"n": json.RawMessage(`3`), "x": json.RawMessage(`["a","b"]`), "other": json.RawMessage(`1`)}
	if err != nil || !got.Equal(want) {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
	if got, err := r.Reduce([]stabilize.Reduction{{Key: "absent", With: "sum"}}, sources); err != nil || got != nil {
		t.Errorf("of nothing: %v (%v)", got, err)
	}
	for with, class := range map[string]error{"unknown": stabilize.ErrNotFound, "fail": stabilize.ErrInvalid, "nothing": stabilize.ErrInvalid, "merge": stabilize.ErrInvalid} {
		if got, err := r.Reduce([]stabilize.Reduction{{Key: "n", With: with}}, sources); !errors.Is(err, class) || got != nil || !strings.Contains(err.Error(), with) {
			t.Errorf("with %s: %s (%v)", with, got, err)
		}
	}
}
