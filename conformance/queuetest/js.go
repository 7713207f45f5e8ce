package queuetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// values is the group JS of the queue: what messages carry.
func values() []check {
	return []check{
		clause("JS-01", "The least and greatest int64 and 2^53+1 come back exactly from a message's values and fields.", js01),
		clause("JS-03", "A message whose values are no JSON (NaN, Infinity, broken text) is ErrInvalid on push.", js03),
		clause("JS-05", "A message with values nested 100 deep comes back, so does one 100 levels below stabilize.MaxDepth, and whatever is accepted can be delivered.", js05),
		clause("JS-06", "Emoji, combining marks, right-to-left text, BOM, U+2028, quotes, backslashes and every byte 0x01 to 0x7F come back in a message's values, keys and text fields.", js06),
		clause("JS-07", "U+0000 is kept in a message's values and text fields.", js07),
		clause("JS-08", "Invalid UTF-8 in a message's text, or in the cause of a release, is ErrInvalid or is mended by the documented rule; no message is changed silently.", js08),
		clause("JS-09", `The keys "", ".", "a.b", "$set", "_id", "__proto__" and one of 1 KiB come back from a message's values.`, js09),
		clause("JS-10", "A message with a field that JSON does not have (a channel, a function, a cycle) is ErrInvalid on push.", js10),
		clause("JS-11", "<, > and & come back as they were written, in a dead letter's bytes too.", js11),
	}
}

// comes fails unless a message comes back as it was pushed.
func (e *env) comes(m queue.Message, what string, args ...any) {
	e.Helper()
	what = fmt.Sprintf(what, args...)
	e.Push(e.a, queue.Outgoing{ID: "m", Message: m})
	ds := e.Claim(e.b, "worker")
	if len(ds) != 1 {
		e.Errorf("%s: %d messages were delivered, want 1; dead: %v", what, len(ds), e.DeadIDs(e.b))
		for _, id := range e.DeadIDs(e.b) {
			e.Must(e.b.DiscardDead(e.Ctx(), id), "discarding")
		}
	} else {
		e.Same(m, ds[0].Message, "%s: the message delivered", what)
	}
	for _, d := range ds {
		e.ack(e.b, d)
	}
}

func js01(e *env) {
	v := stabilize.Values{}
	for _, n := range []int64{math.MinInt64, math.MaxInt64, 1<<53 + 1, -1<<53 - 1, 0} {
		e.Must(v.Set(fmt.Sprint(n), n), "setting a value")
		e.Must(v.Set(fmt.Sprint("list ", n), []int64{n}), "setting a value")
	}
	e.comes(signal("", v).Message, "int64 values")
	e.comes(queue.StartWaitingWorkflows{Key: "k", Limit: math.MaxInt}, "an int field of the greatest value")
	e.comes(queue.StartWaitingWorkflows{Key: "k", Limit: 1<<53 + 1}, "an int field of 2^53+1")
}

func js03(e *env) {
	for _, raw := range []string{"NaN", "Infinity", "{", "01", "'x'", "1 2"} {
		e.Want(stabilize.ErrInvalid, e.a.Push(e.Ctx(), signal("m", stabilize.Values{"k": json.RawMessage(raw)})), "pushing a message with the value %s", raw)
	}
	e.depth(0, 0, 0, 0, "after refused pushes")
}

func js05(e *env) {
	e.comes(signal("", stabilize.Values{"k": nested(100)}).Message, "a value 100 deep")
	e.comes(signal("", stabilize.Values{"k": nested(stabilize.MaxDepth - 100)}).Message, "a value 100 less deep than stabilize.MaxDepth")
	for _, depth := range []int{stabilize.MaxDepth - 1, stabilize.MaxDepth, stabilize.MaxDepth + 1, 9_998, 9_999, 10_000, 10_001} {
		o := signal("m", stabilize.Values{"k": nested(depth)})
		if err := e.a.Push(e.Ctx(), o); err != nil {
			e.Want(stabilize.ErrInvalid, err, "pushing a message with a value %d deep", depth)
			continue
		}
		ds := e.Claim(e.b, "worker")
		if len(ds) != 1 || kit.Diff(o.Message, ds[0].Message) != "" {
			e.Errorf("a message with a value %d deep was accepted, but not delivered as it was", depth)
			for _, id := range e.DeadIDs(e.b) {
				e.Must(e.b.DiscardDead(e.Ctx(), id), "discarding")
			}
		}
		for _, d := range ds {
			e.ack(e.b, d)
		}
	}
}

func texts() []string {
	var b strings.Builder
	for c := byte(1); c < 0x80; c++ {
		b.WriteByte(c)
	}
	return []string{b.String(), "😀👩‍👩‍👧", "e\u0301", "שלום", "\ufeffBOM", "\u2028\u2029", `"quoted"`, `back\slash`, "\u202ertl", "\ufffd", "\uffff", "' OR 1=1 --", "%", "\t\r\n"}
}

func js06(e *env) {
	v := stabilize.Values{}
	for _, t := range texts() {
		e.Must(v.Set(t, map[string]any{t: []string{t}}), "setting a value")
	}
	e.comes(signal("", v).Message, "odd text in values")
	for _, t := range texts() {
		e.everywhere(t)
	}
}

// everywhere sends messages with a text in every field that names no workflow.
func (e *env) everywhere(text string) {
	e.Helper()
	for _, m := range e.kinds() {
		p := reflect.New(reflect.TypeOf(m))
		p.Elem().Set(reflect.ValueOf(m))
		kit.Strings(p.Interface(), func(path string, field reflect.Value) {
			if !strings.HasSuffix(path, ".WorkflowID") {
				field.SetString(text)
			}
		})
		e.comes(p.Elem().Interface().(queue.Message), "a %s with %q in every text field", m.Kind(), text)
	}
}

func js07(e *env) {
	v := stabilize.Values{}
	e.Must(v.Set("a\x00b", "a\x00b"), "setting a value")
	e.comes(signal("", v).Message, "U+0000 in values")
	e.everywhere("a\x00b")
	e.Push(e.a, kit.Send("m"))
	e.release(e.a, e.ClaimOne(e.a, "worker"), fmt.Errorf("a\x00b"))
	if d := e.ClaimOne(e.a, "worker"); d.LastError != "a\x00b" {
		e.Errorf("the cause %q came back as %q", "a\x00b", d.LastError)
	}
}

func js08(e *env) {
	const bad = "a\xffb"
	for name, v := range map[string]stabilize.Values{"a key": {bad: kit.Text("x")}, "a value": {"k": json.RawMessage(`"` + bad + `"`)}} {
		e.Want(stabilize.ErrInvalid, e.a.Push(e.Ctx(), signal("m", v)), "pushing a message with %s of invalid UTF-8", name)
	}
	for _, m := range e.kinds() {
		var paths []string
		p := reflect.New(reflect.TypeOf(m))
		p.Elem().Set(reflect.ValueOf(m))
		kit.Strings(p.Interface(), func(path string, _ reflect.Value) { paths = append(paths, path) })
		for i, path := range paths {
			p.Elem().Set(reflect.ValueOf(m))
			var restore func() // a message may share what a pointer leads to
			n := 0
			kit.Strings(p.Interface(), func(_ string, field reflect.Value) {
				if n == i {
					old := field.String()
					restore = func() { field.SetString(old) }
					field.SetString(bad)
				}
				n++
			})
			err := e.a.Push(e.Ctx(), queue.Outgoing{ID: "m", Message: p.Elem().Interface().(queue.Message)})
			restore()
			e.Want(stabilize.ErrInvalid, err, "pushing a %s with invalid UTF-8 in %s", m.Kind(), path)
			for _, d := range e.Claim(e.a, "worker") {
				e.ack(e.a, d)
			}
		}
	}
	e.Push(e.a, kit.Send("m"))
	d := e.ClaimOne(e.a, "worker")
	if err := e.a.Release(e.Ctx(), d.Receipt(), e.Now(), errors.New(bad)); err != nil {
		e.Want(stabilize.ErrInvalid, err, "releasing with a cause of invalid UTF-8")
		return
	}
	if d = e.ClaimOne(e.b, "worker"); d.LastError != strings.ToValidUTF8(bad, "\ufffd") {
		e.Errorf("a cause of invalid UTF-8 came back as %q", d.LastError)
	}
}

func js09(e *env) {
	v := stabilize.Values{}
	for _, k := range []string{"", ".", "a.b", "$set", "_id", "__proto__", "a[0]", "#", "*", "$", "constructor", strings.Repeat("k", 1024)} {
		e.Must(v.Set(k, map[string]any{k: k}), "setting a value")
	}
	e.comes(signal("", v).Message, "odd keys")
}

type carrier struct {
	queue.OfWorkflow
	What any
}

func (carrier) Kind() string { return "conformance.Carrier" }

func js10(e *env) {
	type loop struct{ Next *loop }
	cycle := &loop{}
	cycle.Next = cycle
	for name, x := range map[string]any{"a channel": make(chan int), "a function": func() {}, "a complex number": 1i, "a cycle": cycle, "NaN": math.NaN(), "a map with bool keys": map[bool]int{true: 1}} {
		e.Want(stabilize.ErrInvalid, e.a.Push(e.Ctx(), queue.Outgoing{ID: "m", Message: carrier{What: x}}), "pushing a message with %s", name)
	}
	e.depth(0, 0, 0, 0, "after refused pushes")
}

func js11(e *env) {
	v := stabilize.Values{}
	e.Must(v.Set("<&>", "<a href='x'>&amp;</a>"), "setting a value")
	e.comes(signal("", v).Message, "<, > and &")
	o := last("<&>")
	e.KillMessage(e.a, o)
	if body := string(e.Dead(e.a)[0].Body); !strings.Contains(body, "<&>") {
		e.Errorf("a dead letter's bytes are %s, which escape what was written", body)
	}
}
