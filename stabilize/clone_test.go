package stabilize_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// fill gives every exported field of v, down to the leaves, a value that is
// not zero. A kind of field that it does not know fails the test, so that a
// new one is looked at.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(noon()))
		return
	case stabilize.Values:
		v.Set(reflect.ValueOf(stabilize.Values{"k": []byte(`"v"`)}))
		return
	case json.RawMessage:
		v.SetBytes([]byte(`"raw"`))
		return
	case *stabilize.Rules: // it holds stages, which hold rules: once is enough
		rules := &stabilize.Rules{}
		for i := range reflect.TypeFor[stabilize.Rules]().NumField() {
			if f := reflect.ValueOf(rules).Elem().Field(i); f.Type() == reflect.TypeFor[[]*stabilize.Stage]() {
				inside := &stabilize.Stage{}
				for j := range reflect.TypeFor[stabilize.Stage]().NumField() {
					g := reflect.ValueOf(inside).Elem().Field(j)
					if g.Type() != reflect.TypeFor[*stabilize.Rules]() {
						fill(t, g)
					}
				}
				inside.Rules = &stabilize.Rules{Regions: []string{"r"}}
				rules.Body = []*stabilize.Stage{inside}
			} else {
				fill(t, f)
			}
		}
		v.Set(reflect.ValueOf(rules))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0))
		fill(t, v.Index(1))
	case reflect.String:
		v.SetString("text")
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(1)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("a field of kind %s: teach the test, and Clone, about it", v.Kind())
	}
}

// shared returns the paths at which a and b hold the same memory, but for the
// bytes of values, which nobody changes.
func shared(path string, a, b reflect.Value) []string {
	switch a.Kind() {
	case reflect.Struct:
		var out []string
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() {
				out = append(out, shared(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))...)
			}
		}
		return out
	case reflect.Pointer:
		if a.IsNil() { // in the rules of a stage inside a stage
			return nil
		}
		if a.Pointer() == b.Pointer() {
			return []string{path}
		}
		return shared(path, a.Elem(), b.Elem())
	case reflect.Map:
		if a.IsNil() {
			return nil
		}
		if a.Pointer() == b.Pointer() {
			return []string{path}
		}
	case reflect.Slice:
		if a.IsNil() || a.Type() == reflect.TypeFor[json.RawMessage]() {
			return nil
		}
		if a.Pointer() == b.Pointer() {
			return []string{path}
		}
		var out []string
		for i := range a.Len() {
			out = append(out, shared(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))...)
		}
		return out
	}
	return nil
}

func TestClonesShareNothing(t *testing.T) {
	w := &stabilize.Workflow{}
	fill(t, reflect.ValueOf(w).Elem())
	for name, c := range map[string][2]any{
		"a workflow": {w, w.Clone()},
		"a header":   {&w.Header, w.Header.Clone()},
		"a stage":    {w.Stages[0], w.Stages[0].Clone()},
	} {
		if !reflect.DeepEqual(c[0], c[1]) {
			t.Errorf("the copy of %s is\n%+v, not\n%+v", name, c[1], c[0])
		}
		if paths := shared("", reflect.ValueOf(c[0]), reflect.ValueOf(c[1])); len(paths) > 0 {
			t.Errorf("the copy of %s shares %v", name, paths)
		}
	}
}

// A copy of what is empty but not nil is nil, as stores give it back.
func TestClonesForgetEmptiness(t *testing.T) {
	w := &stabilize.Workflow{
		Header: stabilize.Header{Context: stabilize.Values{}, Trigger: stabilize.Trigger{
			Parameters: stabilize.Values{}, Payload: stabilize.Values{}, Artifacts: []json.RawMessage{},
		}},
		Stages: []*stabilize.Stage{{
			Requisites: []string{}, Context: stabilize.Values{}, Outputs: stabilize.Values{}, Tasks: []*stabilize.Task{},
			Tokens: stabilize.Tokens{Except: []string{}},
		}},
	}
	if got, want := w.Clone(), (&stabilize.Workflow{Stages: []*stabilize.Stage{{}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("the copy is %+v with %+v", got, got.Stages[0])
	}
	if got := (&stabilize.Workflow{}).Clone().Stages; got == nil {
		t.Error("the stages of a copy are nil; nobody should have to ask")
	}
}
