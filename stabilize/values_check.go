package stabilize

import (
	"encoding"
	"encoding/json"
	"reflect"
	"unicode/utf8"
)

// checkRaw checks one encoded value: valid JSON, valid UTF-8, not too deep.
func checkRaw(field string, raw json.RawMessage) error {
	depth, deepest, inText, escaped := 0, 0, false, false
	look := raw
	if len(raw) <= MaxDepth {
		look = nil // too short to be too deep
	}
	for _, c := range look {
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped = c == '\\'
			inText = c != '"'
		case c == '"':
			inText = true
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	switch {
	case deepest > MaxDepth:
		return Invalid(field, "nests %d deep, the maximum is %d", deepest, MaxDepth)
	case !utf8.Valid(raw):
		return Invalid(field, "is not valid UTF-8")
	case !json.Valid(raw):
		return Invalid(field, "is not valid JSON")
	}
	return nil
}

// checkEncodable finds what encoding/json would quietly change or run away on:
// invalid UTF-8 (it writes U+FFFD), map keys that are no text (it prints them),
// nesting beyond MaxDepth, cycles among them.
func checkEncodable(field string, x any) error {
	switch x := x.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, json.RawMessage:
		return nil
	case string:
		return CheckText(field, x)
	}
	return walkEncodable(field, reflect.ValueOf(x), 0)
}

func walkEncodable(field string, v reflect.Value, depth int) error {
	if depth > 2*MaxDepth { // pointers count too, JSON levels are checked on the text
		return Invalid(field, "nests more than %d deep or refers to itself", MaxDepth)
	}
	if !v.IsValid() {
		return nil
	}
	if v.CanInterface() && v.Kind() != reflect.Interface {
		switch v.Interface().(type) {
		case json.Marshaler, encoding.TextMarshaler:
			return nil // it speaks for itself; its text is checked afterwards
		}
	}
	switch v.Kind() {
	case reflect.String:
		return CheckText(field, v.String())
	case reflect.Pointer, reflect.Interface:
		return walkEncodable(field, v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		if plainKind(v.Type().Elem().Kind()) {
			return nil
		}
		for i := range v.Len() {
			if err := walkEncodable(field, v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return Invalid(field, "a map with %s keys; keys must be text", v.Type().Key())
		}
		for it := v.MapRange(); it.Next(); {
			if err := CheckText(field, it.Key().String()); err != nil {
				return err
			}
			if err := walkEncodable(field, it.Value(), depth+1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if (!f.IsExported() && !f.Anonymous) || f.Tag.Get("json") == "-" {
				continue
			}
			if err := walkEncodable(field, v.Field(i), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func plainKind(k reflect.Kind) bool { return k >= reflect.Bool && k <= reflect.Float64 }
