package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// values is the group JS of the store: Unicode and JSON.
func values() []check {
	return []check{
		clause("JS-01", "The least and greatest int64, 2^53+1 and the greatest uint64 come back exactly from context, outputs, trigger and failure contexts alike.", js01),
		clause("JS-02", "Floats come back bit for bit (-0.0, 5e-324, MaxFloat64, 0.1), a whole one is written without a fraction, and the text of a number is kept as it was written.", js02),
		clause("JS-03", "NaN, infinities and whatever is no JSON are ErrInvalid on write.", js03),
		clause("JS-04", "null, absent, empty map, nil map, empty slice and nil slice: a null is a value, nil inside a value is null, empty stays empty, empty values are absent.", js04),
		clause("JS-05", "A value nested 100 deep comes back, so does one nested stabilize.MaxDepth deep, and one deeper is ErrInvalid.", js05),
		clause("JS-06", "Emoji, combining marks, right-to-left text, BOM, U+2028, quotes, backslashes and every byte 0x01 to 0x7F come back in values, keys and text fields.", js06),
		clause("JS-07", "U+0000 is kept in values and text fields.", js07),
		clause("JS-08", "Invalid UTF-8 in any text field, key or value is ErrInvalid; it is never replaced by U+FFFD.", js08),
		clause("JS-09", `The keys "", ".", "a.b", "$set", "_id", "__proto__" and one of 1 KiB come back.`, js09),
		clause("JS-10", "Go values that JSON does not have (channels, functions, maps whose keys are no text, cycles) are ErrInvalid on write; nothing is turned into text behind the caller's back.", js10),
		clause("JS-11", "<, > and & come back as they were written.", js11),
		clause("JS-12", "Bytes come back, written as base64 text.", js12),
		clause("JS-13", "The decoded Go type of a value does not depend on the backend: a number into any is a json.Number.", js13),
	}
}

// carry stores values everywhere a workflow has some, changes them once more in
// a second commit, and gives back each place as it is read again.
func (e *env) carry(id string, v stabilize.Values, check func(where string, got stabilize.Values)) {
	e.Helper()
	w := kit.Workflow(id, e.Now(), "s")
	w.Context, w.Trigger.Parameters, w.Trigger.Payload = v, v, v
	w.Stages[0].Context, w.Stages[0].Outputs = v, v
	e.commit(e.a, kit.Creation(w))
	look := func(when string) {
		got := e.load(e.b, id)
		check("the workflow's context"+when, got.Context)
		check("the trigger's parameters"+when, got.Trigger.Parameters)
		check("the trigger's payload"+when, got.Trigger.Payload)
		check("the stage's context"+when, got.Stages[0].Context)
		check("the stage's outputs"+when, got.Stages[0].Outputs)
	}
	look("")
	e.commit(e.a, &persistence.Commit{WorkflowID: id, Expect: 1, Header: &w.Header, Stages: w.Stages})
	look(" after a change")
}

// comes fails unless the values come back with the same bytes.
func (e *env) comes(id string, v stabilize.Values) {
	e.Helper()
	e.carry(id, v, func(where string, got stabilize.Values) { e.Same(v, got, "%s", where) })
}

func (e *env) values(m map[string]any) stabilize.Values {
	e.Helper()
	v, err := stabilize.NewValues(m)
	e.Must(err, "making values")
	return v
}

func js01(e *env) {
	ints := map[string]int64{"min": math.MinInt64, "max": math.MaxInt64, "2^53+1": 1<<53 + 1, "-2^53-1": -1<<53 - 1, "zero": 0}
	v := stabilize.Values{}
	for k, n := range ints {
		e.Must(v.Set(k, n), "setting a value")
	}
	e.Must(v.Set("list", []any{int64(math.MaxInt64), map[string]int64{"n": math.MinInt64}}), "setting a value")
	e.Must(v.Set("uint", uint64(math.MaxUint64)), "setting a value")
	e.carry("w", v, func(where string, got stabilize.Values) {
		for k, want := range ints {
			if n, err := stabilize.Get[int64](got, k); err != nil || n != want {
				e.Errorf("%s: %s is %d (%s), want %d", where, k, n, kit.Quote(err), want)
			}
		}
		if n, err := stabilize.Get[uint64](got, "uint"); err != nil || n != math.MaxUint64 {
			e.Errorf("%s: the greatest uint64 is %d (%s)", where, n, kit.Quote(err))
		}
		e.Same(v, got, "%s", where)
	})
}

func js02(e *env) {
	floats := map[string]float64{"-0": math.Copysign(0, -1), "tiny": 5e-324, "max": math.MaxFloat64, "0.1": 0.1, "1/3": 1.0 / 3, "e21": 1e21, "one": 1}
	v := stabilize.Values{"text": json.RawMessage("1.0"), "exp": json.RawMessage("1E+2"), "huge": json.RawMessage("1e400"), "long": json.RawMessage("0.1000000000000000055511151231257827")}
	for k, f := range floats {
		e.Must(v.Set(k, f), "setting a value")
	}
	e.carry("w", v, func(where string, got stabilize.Values) {
		for k, want := range floats {
			if f, err := stabilize.Get[float64](got, k); err != nil || math.Float64bits(f) != math.Float64bits(want) {
				e.Errorf("%s: %s is %v (%s), want %v", where, k, f, kit.Quote(err), want)
			}
		}
		if string(got["one"]) != "1" {
			e.Errorf("%s: the float 1 is written as %s, want 1", where, got["one"])
		}
		e.Same(v, got, "%s", where)
	})
}

func js03(e *env) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		var v stabilize.Values
		e.Want(stabilize.ErrInvalid, v.Set("k", f), "setting %v", f)
		e.Want(stabilize.ErrInvalid, v.Set("k", map[string]any{"deep": []float64{f}}), "setting %v within a value", f)
		if v.Has("k") {
			e.Errorf("the refused value %v is there", f)
		}
	}
	for _, raw := range []string{"NaN", "Infinity", "", "{", "01", "'x'", "1 2", "nul", `"\x"`} {
		e.refused(stabilize.Values{"k": json.RawMessage(raw)}, fmt.Sprintf("a value of the text %q", raw))
	}
}

// refused fails unless no place of a workflow takes the values.
func (e *env) refused(v stabilize.Values, what string) {
	e.Helper()
	for where, put := range map[string]func(*stabilize.Workflow){
		"the workflow's context":   func(w *stabilize.Workflow) { w.Context = v },
		"the trigger's parameters": func(w *stabilize.Workflow) { w.Trigger.Parameters = v },
		"the trigger's payload":    func(w *stabilize.Workflow) { w.Trigger.Payload = v },
		"the stage's context":      func(w *stabilize.Workflow) { w.Stages[0].Context = v },
		"the stage's outputs":      func(w *stabilize.Workflow) { w.Stages[0].Outputs = v },
	} {
		w := kit.Workflow("refused", e.Now(), "s")
		put(w)
		e.Want(stabilize.ErrInvalid, e.one(e.a, kit.Creation(w)), "storing %s in %s", what, where)
	}
	e.absent(e.b, "refused", "all its values were invalid")
}

func js04(e *env) {
	type pair struct {
		M map[string]int `json:"m"`
		S []int          `json:"s"`
	}
	v := e.values(map[string]any{
		"null": nil, "nilMap": map[string]int(nil), "nilSlice": []int(nil), "emptyMap": map[string]int{}, "emptySlice": []int{},
		"nils": pair{}, "empties": pair{M: map[string]int{}, S: []int{}}, "deep": []any{nil, []any{}, map[string]any{"x": nil}},
	})
	want := map[string]string{
		"null": "null", "nilMap": "null", "nilSlice": "null", "emptyMap": "{}", "emptySlice": "[]",
		"nils": `{"m":null,"s":null}`, "empties": `{"m":{},"s":[]}`, "deep": `[null,[],{"x":null}]`,
	}
	e.carry("w", v, func(where string, got stabilize.Values) {
		for k, text := range want {
			if raw, ok := got[k]; !ok || string(raw) != text {
				e.Errorf("%s: %s is %q (there: %t), want %s", where, k, raw, ok, text)
			}
		}
		if got.Has("absent") || len(got) != len(want) {
			e.Errorf("%s: got %d keys, want %d", where, len(got), len(want))
		}
	})
	for name, empty := range map[string]stabilize.Values{"nil": nil, "empty": {}} {
		e.carry(name, empty, func(where string, got stabilize.Values) {
			if got != nil {
				e.Errorf("%s: %s values came back as %#v, want nil", where, name, got)
			}
		})
	}
}

func nest(depth int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
}

func js05(e *env) {
	e.comes("flat", stabilize.Values{"k": nest(100), "m": json.RawMessage(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100))})
	e.refused(stabilize.Values{"k": nest(10_001)}, "a value 10,001 deep")
	e.refused(stabilize.Values{"k": nest(stabilize.MaxDepth + 1)}, "a value one deeper than MaxDepth")
	for _, depth := range []int{stabilize.MaxDepth - 2, stabilize.MaxDepth - 1, stabilize.MaxDepth} {
		id := fmt.Sprintf("deep%d", depth)
		w := kit.Workflow(id, e.Now(), "s")
		w.Trigger.Payload = stabilize.Values{"k": nest(depth)}
		w.Stages[0].Context = w.Trigger.Payload
		if err := e.one(e.a, kit.Creation(w)); err != nil {
			e.Errorf("storing a value %d deep: %v", depth, err)
			continue
		}
		got, err := e.b.Load(e.Ctx(), id)
		if err != nil {
			e.Errorf("a value %d deep was accepted and cannot be read again: %v", depth, err)
			continue
		}
		e.Same(w.Stages[0].Context, got.Stages[0].Context, "a value %d deep", depth)
		e.Same(w.Trigger.Payload, got.Trigger.Payload, "a value %d deep", depth)
	}
}

var oddTexts = []string{
	"😀👩‍👩‍👧", "e\u0301", "שלום", "\ufeffBOM", "\u2028\u2029", `"quoted"`, `back\slash`, "\u202ertl", "\ufffd", "\uffff", "𝄞", "' OR 1=1 --", "%", "\t\r\n",
}

func ascii() string {
	var b strings.Builder
	for c := byte(1); c < 0x80; c++ {
		b.WriteByte(c)
	}
	return b.String()
}

func js06(e *env) {
	texts := append([]string{ascii()}, oddTexts...)
	v := stabilize.Values{}
	for _, t := range texts {
		e.Must(v.Set(t, t), "setting a value")
		e.Must(v.Set("nested "+t, map[string]any{t: []string{t}}), "setting a value")
	}
	e.carry("w", v, func(where string, got stabilize.Values) {
		for _, t := range texts {
			if s, err := stabilize.Get[string](got, t); err != nil || s != t {
				e.Errorf("%s: %q came back as %q (%s)", where, t, s, kit.Quote(err))
			}
		}
		e.Same(v, got, "%s", where)
	})
	for i, t := range texts {
		e.textsCome(fmt.Sprintf("text%d", i), t)
	}
}

// Text that names things; it may hold no line break, by contract.
var identifiers = []string{".ID", ".Ref", ".Requisites", ".ParentID", ".Tasks[0].ID", ".Tasks[1].ID", ".Tasks[0].Type", ".Tasks[1].Type"}

func isIdentifier(path string) bool {
	for _, id := range identifiers {
		if strings.HasPrefix(path, ".Header") {
			return path == ".Header.ID"
		}
		rest := path[strings.Index(path, "]")+1:] // behind .Stages[i]
		if rest == id || strings.HasPrefix(rest, id+"[") {
			return true
		}
	}
	return false
}

// textsCome puts a text into every text field that is no identifier.
func (e *env) textsCome(id, text string) {
	e.Helper()
	w := e.filled(id, 1)
	n := 0
	kit.Strings(w, func(path string, field reflect.Value) {
		if !isIdentifier(path) {
			field.SetString(field.String() + text)
			n++
		}
	})
	if n < 30 {
		e.Fatalf("the suite found %d text fields", n)
	}
	e.commit(e.a, kit.Creation(w))
	e.Same(stored(w, 1), e.load(e.b, id), "a workflow with %q in every text field", text)
}

func js07(e *env) {
	v := e.values(map[string]any{"k": "a\x00b", "a\x00b": map[string]any{"\x00": "\x00"}})
	e.carry("w", v, func(where string, got stabilize.Values) {
		if s, err := stabilize.Get[string](got, "k"); err != nil || s != "a\x00b" {
			e.Errorf("%s: %q came back as %q (%s)", where, "a\x00b", s, kit.Quote(err))
		}
		e.Same(v, got, "%s", where)
	})
	e.textsCome("text", "a\x00b")
}

func js08(e *env) {
	const bad = "a\xffb"
	var v stabilize.Values
	e.Want(stabilize.ErrInvalid, v.Set("k", bad), "setting invalid UTF-8")
	e.Want(stabilize.ErrInvalid, v.Set(bad, "x"), "setting a key of invalid UTF-8")
	e.refused(stabilize.Values{bad: kit.Text("x")}, "a key of invalid UTF-8")
	e.refused(stabilize.Values{"k": json.RawMessage(`"` + bad + `"`)}, "a value of invalid UTF-8")
	var paths []string
	kit.Strings(e.filled("w", 1), func(path string, _ reflect.Value) { paths = append(paths, path) })
	for i, path := range paths {
		w := e.filled("w", 1)
		n := 0
		kit.Strings(w, func(_ string, field reflect.Value) {
			if n == i {
				field.SetString(bad)
			}
			n++
		})
		c := kit.Creation(w)
		c.WorkflowID = "w"
		e.Want(stabilize.ErrInvalid, e.one(e.a, c), "storing invalid UTF-8 in %s", path)
		if _, err := e.b.Load(e.Ctx(), "w"); err == nil {
			e.Must(e.a.Delete(e.Ctx(), "w"), "deleting")
		}
	}
}

func js09(e *env) {
	v := stabilize.Values{}
	for _, k := range []string{"", ".", "a.b", "$set", "_id", "__proto__", "a[0]", "#", "*", "$", "constructor", strings.Repeat("k", 1024)} {
		e.Must(v.Set(k, map[string]any{k: k}), "setting a value")
	}
	e.comes("w", v)
}

func js10(e *env) {
	type loop struct{ Next *loop }
	cycle := &loop{}
	cycle.Next = cycle
	round := map[string]any{}
	round["self"] = round
	for name, x := range map[string]any{
		"a channel": make(chan int), "a function": func() {}, "a map with int keys": map[int]string{1: "x"},
		"a map with bool keys": map[bool]int{true: 1}, "a pointer cycle": cycle, "a map cycle": round, "a complex number": 1i,
		"a channel within a list": []any{1, make(chan int)}, "a map with any keys": map[any]any{"a": 1},
	} {
		var v stabilize.Values
		e.Want(stabilize.ErrInvalid, v.Set("k", x), "setting %s", name)
		_, err := stabilize.NewValues(map[string]any{"k": x})
		e.Want(stabilize.ErrInvalid, err, "making values of %s", name)
		if v != nil {
			e.Errorf("%s left %v behind", name, v)
		}
	}
	w := kit.Workflow("w", e.Now(), "s")
	w.Context = e.values(map[string]any{"k": "text", "n": 1})
	e.commit(e.a, kit.Creation(w))
	got := e.load(e.b, "w").Context
	if string(got["k"]) != `"text"` || string(got["n"]) != "1" {
		e.Errorf("a text and a number came back as %s and %s", got["k"], got["n"])
	}
}

func js11(e *env) {
	v := e.values(map[string]any{"<a href='x'>&amp;</a>": "<b>&</b>", "n": map[string]string{"<": ">&"}})
	v["escaped"] = json.RawMessage(`"\u003c"`)
	e.carry("w", v, func(where string, got stabilize.Values) {
		if string(got["<a href='x'>&amp;</a>"]) != `"<b>&</b>"` {
			e.Errorf("%s: the text came back as %s", where, got["<a href='x'>&amp;</a>"])
		}
		if s, err := stabilize.Get[string](got, "escaped"); err != nil || s != "<" {
			e.Errorf("%s: an escaped < came back as %q (%s)", where, s, kit.Quote(err))
		}
		e.Same(v, got, "%s", where)
	})
	e.textsCome("text", "<&>")
}

func js12(e *env) {
	want := []byte{0, 1, 0xff, 0xfe, '<', '"'}
	v := e.values(map[string]any{"b": want, "empty": []byte{}})
	e.carry("w", v, func(where string, got stabilize.Values) {
		if b, err := stabilize.Get[[]byte](got, "b"); err != nil || string(b) != string(want) {
			e.Errorf("%s: bytes came back as %v (%s)", where, b, kit.Quote(err))
		}
		if string(got["b"]) != `"AAH//jwi"` || string(got["empty"]) != `""` {
			e.Errorf("%s: bytes are written as %s and %s", where, got["b"], got["empty"])
		}
	})
}

func js13(e *env) {
	v := e.values(map[string]any{"int": 1, "big": int64(1)<<62 + 1, "float": 1.5, "text": "1", "bool": true, "null": nil, "list": []int{1}, "map": map[string]int{"a": 1}})
	want := map[string]any{
		"int": json.Number("1"), "big": json.Number("4611686018427387905"), "float": json.Number("1.5"), "text": "1", "bool": true, "null": nil,
		"list": []any{json.Number("1")}, "map": map[string]any{"a": json.Number("1")},
	}
	e.carry("w", v, func(where string, got stabilize.Values) {
		for k, x := range want {
			if y, err := stabilize.Get[any](got, k); err != nil || !reflect.DeepEqual(x, y) {
				e.Errorf("%s: %s decodes as %#v (%s), want %#v", where, k, y, kit.Quote(err), x)
			}
		}
	})
}
