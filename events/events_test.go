package events

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestIDs(t *testing.T) {
	born := time.Date(2025, 1, 2, 3, 4, 5, 6789, time.UTC)
	for _, workflow := range []string{"w", "a/b/c", "/", "ä 1/2/3/4"} {
		id := MakeID(workflow, born, 7, 12)
		p, err := ParseID(id)
		if err != nil || p.WorkflowID != workflow || p.Version != 7 || p.Index != 12 || p.String() != id {
			t.Errorf("%q was read as %+v, %v", id, p, err)
		}
		if MakeID(workflow, born.Add(time.Microsecond), 7, 12) == id {
			t.Errorf("another creation time makes the same id %q", id)
		}
	}
	if p, err := ParseID(MakeID("w", time.Time{}, 1, 0)); err != nil || p.Birth != "0" {
		t.Errorf("an id of a workflow without creation time was read as %+v, %v", p, err)
	}
	for _, id := range []string{"", "w", "w/0/1", "w/0/0/0", "w/0/1/-1", "w/0/01/0", "w/0/1/00", "w/A/1/0", "/0/1/0", "w/0/1/0/", "w/0/9999999999999999999/0"} {
		if p, err := ParseID(id); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%q was read as %+v, %v", id, p, err)
		}
	}
}

func TestPositionsHaveTheOrderOfTheirNumbers(t *testing.T) {
	var all []Position
	numbers := []uint64{0, 1, 9, 10, 15, 16, 17, 255, 256, 1 << 32, math.MaxInt64, math.MaxUint64}
	for _, a := range numbers {
		for _, b := range numbers {
			p := MakePosition(a, b)
			all = append(all, p)
			got, err := p.Numbers(2)
			if err != nil || got[0] != a || got[1] != b {
				t.Errorf("%q was read as %v, %v", p, got, err)
			}
		}
	}
	if !slices.IsSorted(all) || slices.Contains(all, "") {
		t.Errorf("the order of positions is not that of their numbers: %q", all)
	}
	if n, err := Position("").Numbers(3); err != nil || !slices.Equal(n, make([]uint64, 3)) {
		t.Errorf("the empty position was read as %v, %v", n, err)
	}
	for _, p := range []Position{"0", "x", "00-00", "-", "000", "0f0", "00-00-00-00", "0g-00-00", "1-1-1", "010-00-00"} {
		if n, err := p.Numbers(3); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%q was read as %v, %v", p, n, err)
		}
	}
}

func TestJSON(t *testing.T) {
	e := Event{
		Schema: 1, ID: "i", Type: "a<b", WorkflowID: "w", Version: 1, StageRef: "s", From: stabilize.Running, To: stabilize.Terminal,
		Failure: &stabilize.Failure{Code: "C"}, At: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC), By: "me",
	}
	text, err := json.Marshal(e)
	// Stored and sent: changing it breaks those who read it.
	const want = `{"schema":1,"id":"i","type":"a\u003cb","workflow":"w","version":1,"stage":"s","from":"RUNNING","to":"TERMINAL","failure":{"code":"C"},"at":"2025-01-02T03:04:05Z","by":"me"}`
	if err != nil || string(text) != want {
		t.Errorf("the JSON is\n%s, %v, want\n%s", text, err, want)
	}
	later := e.Clone()
	later.Schema, later.Unknown = 3, map[string]json.RawMessage{"b": json.RawMessage(`[1]`), "a": json.RawMessage(`null`)}
	for _, list := range [][]Event{{e}, {later, e}, {}} {
		body, err := EncodeList(list)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeList(body)
		if err != nil || len(got) != len(list) || len(list) > 0 && !reflect.DeepEqual(list, got) {
			t.Errorf("%s was read as %+v, %v", body, got, err)
		}
	}
	for _, bad := range []string{`[{"schema":1,"new":1}]`, `[{"schema":9,"type":1}]`, `[`, `[]]`, `{}`, `[{"schema":1,"from":"NONE"}]`} {
		if got, err := DecodeList([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, got)
		}
	}
}

func TestCheck(t *testing.T) {
	good := func() Event {
		e := []Event{{Type: "x", At: time.Unix(1, 0)}}
		Stamp(e, "w", time.Unix(0, 0), 1)
		return e[0]
	}
	e := good()
	if err := e.Check(); err != nil || e.Schema != SchemaVersion || e.ID != "w/0/1/0" {
		t.Errorf("a stamped event is %+v, %v", e, err)
	}
	for what, spoil := range map[string]func(*Event){
		"no schema":        func(e *Event) { e.Schema = 0 },
		"no type":          func(e *Event) { e.Type = "" },
		"no workflow":      func(e *Event) { e.WorkflowID = "" },
		"no time":          func(e *Event) { e.At = time.Time{} },
		"no status":        func(e *Event) { e.From = 99 },
		"a negative round": func(e *Event) { e.Round = -1 },
		"no UTF-8":         func(e *Event) { e.Failure = &stabilize.Failure{Message: "\xff"} },
		"too long a type":  func(e *Event) { e.Type = Type(strings.Repeat("x", stabilize.MaxIDLength+1)) },
		"unknown fields":   func(e *Event) { e.Unknown = map[string]json.RawMessage{"x": json.RawMessage("1")} },
		"an unknown field that is known": func(e *Event) {
			e.Schema, e.Unknown = 9, map[string]json.RawMessage{"type": json.RawMessage("1")}
		},
		"an unknown field of no JSON": func(e *Event) { e.Schema, e.Unknown = 9, map[string]json.RawMessage{"x": json.RawMessage("{")} },
	} {
		e := good()
		spoil(&e)
		if err := e.Check(); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("an event with %s is %v", what, err)
		}
	}
}
