package kit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Filler gives every field of a struct a value that is not zero and differs
// from field to field and from seed to seed. It walks the struct, so a field
// added tomorrow is filled tomorrow; a kind of field it does not know ends the
// clause.
type Filler struct {
	Env  *Env
	Seed int
	n    int
}

// Fill fills what x points to. Version and what Valid mends are left alone.
func (f *Filler) Fill(x any) { f.fill(reflect.TypeOf(x).Elem().Name(), reflect.ValueOf(x).Elem()) }

func (f *Filler) next() int {
	f.n++
	return f.Seed*1000 + f.n
}

func (f *Filler) fill(path string, v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(1_600_000_000+int64(f.next()), int64(f.next())*1000).UTC()
		return
	case *json.RawMessage:
		*x = json.RawMessage(fmt.Sprintf(`{"raw":[%d,null,true,"é"]}`, f.next()))
		return
	case *stabilize.Values:
		*x = stabilize.Values{}
		f.Env.Must(x.Set("int", int64(1)<<53+2*int64(f.next())+1), "setting a value") // odd: no float holds it
		f.Env.Must(x.Set("text", fmt.Sprintf("text %d <&> \u2028", f.next())), "setting a value")
		f.Env.Must(x.Set("nested", map[string]any{"a": []any{1, nil, map[string]any{}}, "n": f.next()}), "setting a value")
		return
	case *map[string]json.RawMessage:
		*x = map[string]json.RawMessage{fmt.Sprint("field", f.next()): json.RawMessage(fmt.Sprint(f.next()))}
		return
	case *[]*stabilize.Task:
		for i := range 2 {
			t := &stabilize.Task{}
			f.fill(path+"[]", reflect.ValueOf(t).Elem())
			t.Position = i
			*x = append(*x, t)
		}
		return
	case *[]*stabilize.Stage: // the stages inside a stage: one level is enough
		at := time.Unix(1_600_000_000+int64(f.next()), 0).UTC()
		*x = []*stabilize.Stage{{
			ID: fmt.Sprint("inside", f.next()), Ref: "inside", StartedAt: at, EndedAt: at, StartExpiry: at,
			Context: stabilize.Values{"n": json.RawMessage(fmt.Sprint(f.next()))},
		}}
		return
	case *stabilize.SplitType:
		*x = stabilize.SplitType(1 + f.next()%2)
		return
	case *stabilize.Status:
		*x = stabilize.Status(1 + f.next()%(len(stabilize.Statuses())-1))
		return
	case *stabilize.JoinType:
		*x = stabilize.JoinNOfM
		return
	case *stabilize.OnFailure:
		*x = stabilize.OnFailure(1 + f.next()%4)
		return
	case *stabilize.Owner:
		*x = stabilize.Owner(1 + f.next()%4)
		return
	case *stabilize.RunPhase:
		*x = stabilize.RunPhase(1 + f.next()%3)
		return
	case *stabilize.TokenKind:
		*x = stabilize.TokenKind(1 + f.next()%2)
		return
	case *time.Duration:
		*x = time.Duration(f.next()) * time.Millisecond
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s %d", path, f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.next()))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(path, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			f.fill(path, v.Index(i))
		}
		if texts, ok := reflect.TypeAssert[[]string](v); ok {
			slices.Sort(texts)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				f.fill(path+"."+field.Name, v.Field(i))
			}
		}
	default:
		f.Env.Fatalf("the suite does not know how to fill the field %s of type %s: teach kit.Filler", path, v.Type())
	}
	if v.IsZero() {
		f.Env.Fatalf("the suite left the field %s at its zero value", path)
	}
}

// Header returns a header with every field set.
func (f *Filler) Header(id string) *stabilize.Header {
	h := &stabilize.Header{}
	f.Fill(h)
	h.ID, h.Version = id, 0
	return h
}

// Stage returns a stage with every field set, and two tasks.
func (f *Filler) Stage(id, ref string, position int) *stabilize.Stage {
	s := &stabilize.Stage{}
	f.Fill(s)
	s.ID, s.Ref, s.Position, s.Version = id, ref, position, 0
	s.Threshold = 1 + f.next()%len(s.Requisites)
	return s
}

// FieldOf is one field of a struct.
type FieldOf struct {
	Name  string
	Index int
}

// Fields returns the exported fields of a struct but those named.
func Fields(x any, but ...string) []FieldOf {
	var out []FieldOf
	t := reflect.TypeOf(x)
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && !slices.Contains(but, f.Name) {
			out = append(out, FieldOf{f.Name, i})
		}
	}
	return out
}

// Take copies a field from one struct to another, both given by pointer; where
// it is equal already it is set to zero, so that it changes in any case.
func (f FieldOf) Take(into, from any) {
	a, b := reflect.ValueOf(into).Elem().Field(f.Index), reflect.ValueOf(from).Elem().Field(f.Index)
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		a.SetZero()
		return
	}
	a.Set(b)
}

// Strings calls f for every text field reachable from what x points to, with
// its path, keys of maps left out.
func Strings(x any, f func(path string, field reflect.Value)) {
	walkStrings("", reflect.ValueOf(x), f)
}

func walkStrings(path string, v reflect.Value, f func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkStrings(path, v.Elem(), f)
		}
	case reflect.String:
		f(path, v)
	case reflect.Slice:
		for i := range v.Len() {
			walkStrings(fmt.Sprintf("%s[%d]", path, i), v.Index(i), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				walkStrings(path+"."+field.Name, v.Field(i), f)
			}
		}
	}
}
