package stabilize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Values are named JSON values: a stage's context and outputs, a trigger's
// parameters. Each value is kept as the exact JSON text it was written with, so
// no store can widen, round, reorder or drop anything. (White space around raw
// text that the caller put there by hand may go.)
//
// Rules, the same on every store:
//   - nil and empty Values are the same and come back nil.
//   - A JSON null is a value; an absent key is absent. Inside a value a nil map,
//     slice or pointer is written as null, an empty map or slice as {} or [].
//   - A float that is a whole number is written without a fraction (1.0 is 1).
//   - []byte is written as base64 text (encoding/json's rule).
//   - Text is UTF-8; U+0000 is kept. Invalid UTF-8, NaN, infinities, channels,
//     functions, cycles and nesting deeper than MaxDepth are ErrInvalid.
//
// The bytes of a value must not be changed in place: Values are shared between
// snapshots. Replace a value with Set.
type Values map[string]json.RawMessage

// MaxDepth is how deep a value may nest. encoding/json reads 10,000 levels; the
// rest is room for what values are stored in.
const MaxDepth = 9_900

// NewValues encodes a map of Go values. The error is ErrInvalid and names the key.
func NewValues(m map[string]any) (Values, error) {
	var v Values
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if err := v.Set(k, m[k]); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// ValuesOf encodes a struct or a map with text keys, one value for each field
// as encoding/json names them. nil gives nil. The error is ErrInvalid.
func ValuesOf(x any) (Values, error) {
	switch x := x.(type) {
	case nil:
		return nil, nil
	case Values:
		return x, x.Check("values")
	}
	raw, err := EncodeJSON("values", x)
	if err != nil {
		return nil, err
	}
	if string(raw) == "null" {
		return nil, nil
	}
	var v Values
	if raw[0] != '{' {
		return nil, Invalid("values", "%T does not encode as a JSON object", x)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, Invalid("values", "%v", err)
	}
	return v.orNil(), nil
}

// Set encodes x under key, replacing what was there. It makes the map when nil.
// The error is ErrInvalid, names the key, and leaves v unchanged.
func (v *Values) Set(key string, x any) error {
	if err := CheckText("value name", key); err != nil {
		return err
	}
	raw, err := EncodeJSON(fmt.Sprintf("value %q", key), x)
	if err != nil {
		return err
	}
	if *v == nil {
		*v = Values{}
	}
	(*v)[key] = raw
	return nil
}

// Get decodes the value under key as a T. An absent key is ErrNotFound, a value
// of another shape is ErrInvalid naming the key. Into any, numbers decode as
// json.Number, so that nothing is rounded.
func Get[T any](v Values, key string) (T, error) {
	var out T
	raw, ok := v[key]
	if !ok {
		return out, &NotFoundError{Kind: "value", ID: key}
	}
	if err := decodeValue(raw, &out); err != nil {
		return out, Invalid(fmt.Sprintf("value %q", key), "%v", err)
	}
	return out, nil
}

// Has reports whether key is present, null included.
func (v Values) Has(key string) bool { _, ok := v[key]; return ok }

// Decode decodes all values into the struct or map that target points to. The
// error is ErrInvalid and names the field.
func (v Values) Decode(target any) error {
	raw, err := v.MarshalJSON()
	if err != nil {
		return err
	}
	if err := decodeValue(raw, target); err != nil {
		field := "values"
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && te.Field != "" {
			field = fmt.Sprintf("value %q", te.Field)
		}
		return Invalid(field, "%v", err)
	}
	return nil
}

// Clone copies the map and shares the value bytes.
func (v Values) Clone() Values { return maps.Clone(v).orNil() }

// Merge returns v with the values of over laid on top; v is unchanged.
func (v Values) Merge(over Values) Values {
	if len(over) == 0 {
		return v
	}
	out := make(Values, len(v)+len(over))
	maps.Copy(out, v)
	maps.Copy(out, over)
	return out
}

// Equal reports whether both hold the same keys with the same bytes.
func (v Values) Equal(w Values) bool {
	return maps.EqualFunc(v, w, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}

// Check returns ErrInvalid, naming field and key, unless every key and value
// keeps the rules. Values made with Set keep them already.
func (v Values) Check(field string) error {
	for k, raw := range v {
		if areText(k) && checkRaw("", raw) == nil {
			continue // the usual case: no text is made
		}
		if err := CheckText(field+" value name", k); err != nil {
			return err
		}
		return checkRaw(fmt.Sprintf("%s value %q", field, k), raw)
	}
	return nil
}

// MarshalJSON writes an object with sorted keys and every value's exact bytes.
func (v Values) MarshalJSON() ([]byte, error) {
	size := 2
	for k, raw := range v {
		size += len(k) + len(raw) + 4
	}
	buf := append(make([]byte, 0, size), '{')
	for i, k := range slices.Sorted(maps.Keys(v)) {
		if i > 0 {
			buf = append(buf, ',')
		}
		if err := CheckText("value name", k); err != nil {
			return nil, err
		}
		key, err := marshal(k)
		if err != nil {
			return nil, err
		}
		buf = append(append(append(buf, key...), ':'), v[k]...)
	}
	return append(buf, '}'), nil
}

func (v Values) orNil() Values {
	if len(v) == 0 {
		return nil
	}
	return v
}

// marshal is json.Marshal without HTML escaping.
func marshal(x any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// EncodeJSON writes x by the rules of Values; the error is ErrInvalid and names
// the field.
func EncodeJSON(field string, x any) (json.RawMessage, error) {
	if err := checkEncodable(field, x); err != nil {
		return nil, err
	}
	raw, err := marshal(x)
	if err != nil {
		return nil, Invalid(field, "%v", err)
	}
	if err := checkRaw(field, raw); err != nil {
		return nil, err
	}
	return raw, nil
}

func decodeValue(raw []byte, target any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(target)
}
