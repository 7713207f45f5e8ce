package stabilize_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// throughStore is what every store does to values: the object's JSON and back.
func throughStore(t interface {
	Helper()
	Fatal(...any)
}, v stabilize.Values) stabilize.Values {
	t.Helper()
	text, err := json.Marshal(struct{ V stabilize.Values }{v})
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ V stabilize.Values }
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	return back.V
}

func keeps[T any](t *testing.T, name string, x T) {
	t.Helper()
	var v stabilize.Values
	if err := v.Set("k", x); err != nil {
		t.Errorf("%s: setting it: %v", name, err)
		return
	}
	for where, v := range map[string]stabilize.Values{"at once": v, "through a store": noEscape(t, v)} {
		got, err := stabilize.Get[T](v, "k")
		if err != nil || !same(got, x) {
			t.Errorf("%s %s: got %#v (%v), want %#v", name, where, got, err, x)
		}
	}
	if err := v.Check("v"); err != nil {
		t.Errorf("%s: what Set wrote is refused by Check: %v", name, err)
	}
}

// noEscape is a store that writes as package persistence does.
func noEscape(t *testing.T, v stabilize.Values) stabilize.Values {
	t.Helper()
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	var back stabilize.Values
	if err := json.Unmarshal([]byte(text.String()), &back); err != nil {
		t.Fatal(err)
	}
	if !back.Equal(v) {
		t.Errorf("a store gives back %s, not %s", back, v)
	}
	return back
}

func same(a, b any) bool {
	x, ok := a.(float64)
	y, ok2 := b.(float64)
	if ok && ok2 {
		return math.Float64bits(x) == math.Float64bits(y)
	}
	return reflect.DeepEqual(a, b)
}

type inner struct {
	Deep string `json:"deep"`
}

type shape struct {
	inner
	N      int64             `json:"n"`
	Absent *int              `json:"absent,omitempty"`
	Null   *int              `json:"null"`
	List   []inner           `json:"list"`
	Empty  []int             `json:"empty"`
	Map    map[string]uint64 `json:"map"`
	At     time.Time         `json:"at"`
	Plain  bool
	hidden string //nolint:unused // unexported fields are left out
}

func TestValuesKeepWhatTheyAreGiven(t *testing.T) {
	keeps(t, "int64 minimum", int64(math.MinInt64))
	keeps(t, "int64 maximum", int64(math.MaxInt64))
	keeps(t, "uint64 maximum", uint64(math.MaxUint64))
	keeps(t, "2^53+1", int64(1)<<53+1)
	for _, f := range []float64{0, math.Copysign(0, -1), 0.1, 1, 1e21, 1e-7, math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64, math.Pi} {
		keeps(t, "a float", f)
	}
	keeps(t, "float32", float32(0.1))
	keeps(t, "true", true)
	keeps(t, "text", "é e\u0301 👩‍👩‍👧 \u202Eabc \uFEFF \u2028\u2029 \" \\ / <>&")
	for c := range 0x80 {
		keeps(t, "an ASCII character", string(rune(c)))
	}
	keeps(t, "bytes", []byte{0, 1, 0xfe, 0xff})
	keeps(t, "no bytes", []byte{})
	keeps(t, "a nil map", map[string]int(nil))
	keeps(t, "an empty map", map[string]int{})
	keeps(t, "a nil list", []int(nil))
	keeps(t, "an empty list", []int{})
	keeps(t, "a nil pointer", (*int)(nil))
	keeps(t, "lists of lists", [][]string{{}, nil, {"a"}})
	keeps(t, "a struct", shape{
		inner: inner{"x"}, N: math.MinInt64, List: []inner{{"y"}}, Empty: []int{}, Map: map[string]uint64{"": math.MaxUint64},
		At: time.Date(2025, 1, 2, 3, 4, 5, 6000, time.UTC), Plain: true,
	})
	for _, key := range []string{"", ".", "a.b", "$set", "_id", "__proto__", "\x00", "<>&", "👩", strings.Repeat("k", 1024)} {
		var v stabilize.Values
		if err := v.Set(key, 1); err != nil || !noEscape(t, v).Has(key) {
			t.Errorf("the name %q is not kept (%v)", key, err)
		}
	}
}

// What each value is written as: the one rule for every store.
func TestValuesAreWrittenAs(t *testing.T) {
	five := 5
	for _, c := range []struct {
		x    any
		want string
	}{
		{nil, `null`},
		{(*int)(nil), `null`},
		{&five, `5`},
		{map[string]int(nil), `null`},
		{map[string]int{}, `{}`},
		{[]int(nil), `null`},
		{[]int{}, `[]`},
		{map[string]any{"b": 1, "a": nil}, `{"a":null,"b":1}`},
		{1.0, `1`},
		{math.Copysign(0, -1), `-0`},
		{0.1, `0.1`},
		{[]byte("hi\xff"), `"` + base64.StdEncoding.EncodeToString([]byte("hi\xff")) + `"`},
		{"<a href='x'>&</a>", `"<a href='x'>&</a>"`},
		{"\u0000", `"\u0000"`},
		{json.RawMessage(` {"b":1, "a" : [1 ,2] } `), `{"b":1,"a":[1,2]}`},
		{json.Number("12345678901234567890123"), `12345678901234567890123`},
		{struct {
			A int `json:"-"`
			B int
			C *inner `json:"c,omitempty"`
		}{1, 2, nil}, `{"B":2}`},
	} {
		var v stabilize.Values
		if err := v.Set("k", c.x); err != nil || string(v["k"]) != c.want {
			t.Errorf("%#v is written as %s (%v), want %s", c.x, v["k"], err, c.want)
		}
	}
}

type loop struct{ Next *loop }

type textKey int

func (textKey) MarshalText() ([]byte, error) { return []byte("k"), nil }

type liar struct{ text string }

func (l liar) MarshalJSON() ([]byte, error) { return []byte(l.text), nil }

func nested(depth int) any {
	var x any = 1
	for range depth {
		x = []any{x}
	}
	return x
}

func TestValuesRefuse(t *testing.T) {
	circle := &loop{}
	circle.Next = circle
	ring := map[string]any{}
	ring["self"] = ring
	list := make([]any, 1)
	list[0] = list
	broken := "a\xffb"
	for name, x := range map[string]any{
		"NaN":                           math.NaN(),
		"an infinity":                   math.Inf(-1),
		"NaN within":                    map[string]any{"x": []float64{math.NaN()}},
		"a channel":                     make(chan int),
		"a function":                    func() {},
		"a complex number":              1i,
		"a channel within":              []any{make(chan int)},
		"a pointer circle":              circle,
		"a map within itself":           ring,
		"a list within itself":          list,
		"a map with int keys":           map[int]string{1: "x"},
		"a map with bool keys":          map[bool]int{true: 1},
		"a map with int keys within":    []any{map[int]int{}},
		"a map with keys as text":       map[textKey]int{1: 1},
		"invalid UTF-8":                 broken,
		"invalid UTF-8 within":          struct{ X []string }{[]string{broken}},
		"invalid UTF-8 in a key":        map[string]int{broken: 1},
		"invalid UTF-8 in a named text": liarText(broken),
		"invalid UTF-8 behind any":      struct{ X any }{&broken},
		"invalid UTF-8 in an embedded":  struct{ inner }{inner{broken}},
		"invalid UTF-8 in raw JSON":     json.RawMessage("\"a\xffb\""),
		"raw text that is no JSON":      json.RawMessage(`{`),
		"a marshaler that lies":         liar{`[1,`},
		"10,001 levels":                 nested(stabilize.MaxDepth + 1),
		"10,001 raw levels":             json.RawMessage(strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001)),
		"a million levels":              json.RawMessage(strings.Repeat("[", 1_000_000)),
	} {
		v := stabilize.Values{"k": []byte(`1`)}
		err := v.Set("k", x)
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), `"k"`) {
			t.Errorf("%s: %.200v, want ErrInvalid naming the key", name, err)
		}
		if string(v["k"]) != "1" {
			t.Errorf("%s: the refused value changed the old one to %.50s", name, v["k"])
		}
	}
	var v stabilize.Values
	if err := v.Set(broken, 1); !errors.Is(err, stabilize.ErrInvalid) || v != nil {
		t.Errorf("a name of invalid UTF-8: %v, values %v", err, v)
	}
}

type liarText string

func TestValuesNest(t *testing.T) {
	for _, depth := range []int{100, stabilize.MaxDepth} {
		var v stabilize.Values
		if err := v.Set("k", nested(depth)); err != nil {
			t.Fatalf("%d levels: %v", depth, err)
		}
		if got := strings.Count(string(v["k"]), "["); got != depth {
			t.Errorf("%d levels became %d", depth, got)
		}
		if err := v.Check("v"); err != nil {
			t.Errorf("%d levels: %v", depth, err)
		}
	}
	keeps(t, "100 levels", nestedStrings(100))
	brackets := strings.Repeat("[{\\\"", 20_000)
	keeps(t, "brackets in a text", brackets)
}

func nestedStrings(depth int) any {
	var x any = "x"
	for range depth {
		x = map[string]any{"a": []any{x}}
	}
	return x
}

func TestValuesCheck(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing": "", "a cut object": `{"a":1`, "two values": `1 2`, "no JSON": `nul`, "a bare NaN": `NaN`,
		"invalid UTF-8": "\"\xff\"", "10,001 levels": strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	} {
		err := stabilize.Values{"key": []byte(raw)}.Check("stage context")
		if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), `stage context value "key"`) {
			t.Errorf("%s: %v, want ErrInvalid naming field and key", name, err)
		}
	}
	if err := (stabilize.Values{"\xff": []byte("1")}).Check("v"); !errors.Is(err, stabilize.ErrInvalid) {
		t.Errorf("a name of invalid UTF-8: %v", err)
	}
}

func TestGet(t *testing.T) {
	v, err := stabilize.NewValues(map[string]any{"n": 5, "null": nil, "s": "x", "any": map[string]any{"big": int64(math.MaxInt64)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stabilize.Get[int](v, "absent"); !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("an absent value: %v", err)
	}
	if _, err := stabilize.Get[int](v, "s"); !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), `"s"`) {
		t.Errorf("text as a number: %v", err)
	}
	if p, err := stabilize.Get[*int](v, "null"); err != nil || p != nil || !v.Has("null") || v.Has("absent") {
		t.Errorf("null: %v, %v", p, err)
	}
	if m, err := stabilize.Get[map[string]any](v, "any"); err != nil || m["big"] != json.Number("9223372036854775807") {
		t.Errorf("a number as any: %#v, %v", m, err)
	}
	if _, err := stabilize.NewValues(map[string]any{"bad": math.NaN()}); !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("NewValues: %v", err)
	}
}

func TestValuesOfAndDecode(t *testing.T) {
	in := shape{inner: inner{"x"}, N: math.MaxInt64, Empty: []int{}}
	v, err := stabilize.ValuesOf(in)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"deep": `"x"`, "n": `9223372036854775807`, "null": `null`, "list": `null`, "empty": `[]`, "map": `null`,
		"at": `"0001-01-01T00:00:00Z"`, "Plain": `false`,
	}
	if len(v) != len(want) {
		t.Errorf("a struct became %s", v)
	}
	for k, text := range want {
		if string(v[k]) != text {
			t.Errorf("%s became %s, want %s", k, v[k], text)
		}
	}
	var out shape
	if err := v.Decode(&out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("it came back as %+v (%v)", out, err)
	}
	for name, nothing := range map[string]any{
		"nil": nil, "a nil map": map[string]any(nil), "a nil pointer": (*shape)(nil), "an empty struct": struct{}{},
		"an empty map": map[string]any{}, "nil Values": stabilize.Values(nil),
	} {
		if v, err := stabilize.ValuesOf(nothing); err != nil || len(v) > 0 {
			t.Errorf("%s became %v (%v)", name, v, err)
		}
	}
	for name, bad := range map[string]any{"a number": 1, "a list": []int{1}, "a map with int keys": map[int]int{}, "bad Values": stabilize.Values{"k": nil}} {
		if _, err := stabilize.ValuesOf(bad); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	var typed struct{ N int8 }
	err = stabilize.Values{"N": []byte("300")}.Decode(&typed)
	if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(err.Error(), `value "N"`) {
		t.Errorf("a number that does not fit: %v", err)
	}
	if err := stabilize.Values(nil).Decode(&typed); err != nil {
		t.Errorf("decoding nothing: %v", err)
	}
}

func TestValuesSetsAndCopies(t *testing.T) {
	if got := (stabilize.Values{}).Clone(); got != nil {
		t.Errorf("a copy of empty values is %#v, want nil", got)
	}
	if back := throughStore(t, stabilize.Values{}); len(back) != 0 {
		t.Errorf("empty values come back as %v", back)
	}
	a := stabilize.Values{"x": []byte("1"), "y": []byte("2")}
	c := a.Clone()
	delete(c, "x")
	m := a.Merge(stabilize.Values{"y": []byte("3"), "z": []byte("4")})
	want := stabilize.Values{"x": []byte("1"), "y": []byte("3"), "z": []byte("4")}
	if !m.Equal(want) || !a.Equal(stabilize.Values{"x": []byte("1"), "y": []byte("2")}) {
		t.Errorf("merged: %s, the original: %s", m, a)
	}
	if a.Equal(want) || a.Equal(nil) || a.Equal(stabilize.Values{"x": []byte("1"), "w": []byte("2")}) || !stabilize.Values(nil).Equal(stabilize.Values{}) {
		t.Error("Equal")
	}
}

// tree draws what JSON can say, as encoding/json gives it back with UseNumber.
func tree(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.String().AsAny(),
		rapid.Map(rapid.Int64(), func(n int64) any { return json.Number(jsonText(n)) }),
		rapid.Map(rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }),
			func(f float64) any { return json.Number(jsonText(f)) }),
	}
	if depth > 0 {
		leaves = append(leaves,
			rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return tree(depth - 1) }), 0, 3), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return tree(depth - 1) }), 0, 3), func(m map[string]any) any { return m }))
	}
	return rapid.OneOf(leaves...)
}

func jsonText(x any) string {
	text, err := json.Marshal(x)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestValuesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.MapOf(rapid.String(), tree(3)).Draw(t, "values")
		v, err := stabilize.NewValues(in)
		if err != nil {
			t.Fatal(err)
		}
		back := throughStore(t, v)
		for k, want := range in {
			got, err := stabilize.Get[any](back, k)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q came back as %#v (%v), want %#v", k, got, err, want)
			}
		}
		if len(back) != len(in) {
			t.Fatalf("%d values came back as %d", len(in), len(back))
		}
	})
}

// FuzzValues: text that Set takes as raw JSON comes back with the same meaning,
// and text that it refuses is no JSON, no UTF-8, or nested too deep.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{
		`null`, `{"a":[1,2.50,-0,1e400],"a":2}`, `"\u0000\ud800"`, "\"\xff\"", `[[[[]]]]`, ` 1 `, `"<>&\u2028` + "\u2028" + `"`, `{`, ``,
	} {
		f.Add([]byte(seed), "key")
	}
	f.Fuzz(func(t *testing.T, raw []byte, key string) {
		var v stabilize.Values
		if err := v.Set(key, json.RawMessage(raw)); err != nil {
			if json.Valid(raw) && utf8.Valid(raw) && utf8.ValidString(key) && strings.Count(string(raw), "[")+strings.Count(string(raw), "{") <= stabilize.MaxDepth {
				t.Fatalf("%q was refused: %v", raw, err)
			}
			return
		}
		if err := v.Check("v"); err != nil {
			t.Fatalf("%q was taken, but: %v", raw, err)
		}
		back := noEscape(t, v)
		want, err := stabilize.Get[any](stabilize.Values{"k": raw}, "k")
		got, err2 := stabilize.Get[any](back, key)
		if err != nil || err2 != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q came back as %#v (%v), want %#v (%v)", raw, got, err2, want, err)
		}
	})
}
