package kit

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Diff returns the first place where two values differ, in words, or "". Times
// are compared by instant and must be in UTC, empty and nil maps and slices are
// the same, unexported fields do not count.
func Diff(want, got any) string {
	return diff("", reflect.ValueOf(want), reflect.ValueOf(got))
}

func diff(path string, want, got reflect.Value) string {
	switch {
	case want.IsValid() != got.IsValid():
		return at(path, want, got)
	case !want.IsValid():
		return ""
	case want.Type() != got.Type():
		return fmt.Sprintf("%s: got a %s, want a %s", name(path), got.Type(), want.Type())
	}
	if t, ok := reflect.TypeAssert[time.Time](want); ok {
		u := got.Interface().(time.Time)
		switch {
		case !t.Equal(u):
			return fmt.Sprintf("%s: got %s, want %s", name(path), u, t)
		case u.Location() != time.UTC:
			return fmt.Sprintf("%s: got the zone %s, want UTC", name(path), u.Location())
		}
		return ""
	}
	switch want.Kind() {
	case reflect.Pointer, reflect.Interface:
		if want.IsNil() || got.IsNil() {
			if want.IsNil() != got.IsNil() {
				return at(path, want, got)
			}
			return ""
		}
		return diff(path, want.Elem(), got.Elem())
	case reflect.Struct:
		for i := range want.NumField() {
			if f := want.Type().Field(i); f.IsExported() {
				if d := diff(path+"."+f.Name, want.Field(i), got.Field(i)); d != "" {
					return d
				}
			}
		}
		return ""
	case reflect.Slice:
		if want.Type().Elem().Kind() == reflect.Uint8 {
			if string(want.Bytes()) != string(got.Bytes()) {
				return at(path, want, got)
			}
			return ""
		}
		if want.Len() != got.Len() {
			return fmt.Sprintf("%s: got %d items, want %d", name(path), got.Len(), want.Len())
		}
		for i := range want.Len() {
			if d := diff(fmt.Sprintf("%s[%d]", path, i), want.Index(i), got.Index(i)); d != "" {
				return d
			}
		}
		return ""
	case reflect.Map:
		for it := want.MapRange(); it.Next(); {
			sub := fmt.Sprintf("%s[%q]", path, fmt.Sprint(it.Key()))
			g := got.MapIndex(it.Key())
			if !g.IsValid() {
				return name(clip(sub)) + ": missing"
			}
			if d := diff(sub, it.Value(), g); d != "" {
				return d
			}
		}
		if want.Len() != got.Len() {
			return fmt.Sprintf("%s: got %d keys, want %d", name(path), got.Len(), want.Len())
		}
		return ""
	default:
		if !reflect.DeepEqual(want.Interface(), got.Interface()) {
			return at(path, want, got)
		}
		return ""
	}
}

func at(path string, want, got reflect.Value) string {
	return fmt.Sprintf("%s: got %s, want %s", name(path), show(got), show(want))
}

func name(path string) string {
	if path = strings.TrimPrefix(path, "."); path == "" {
		return "the value"
	}
	return clip(path)
}

func show(v reflect.Value) string {
	if !v.IsValid() {
		return "nothing"
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		return clip(fmt.Sprintf("%q", v.Bytes()))
	}
	return clip(fmt.Sprintf("%#v", v.Interface()))
}

// clip keeps large payloads out of failure messages.
func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
