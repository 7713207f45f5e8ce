package stabilize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Reducer folds the values that several branches, or instances, put out under
// one name into one value. The values are in the order of the branches; a
// branch that put out none is left out. It is called while deciding: it must be
// pure and quick. Read the values only.
//
// Built in are:
//
//   - collect, append: a list of the values; a value that is a list adds its items.
//   - extend: collect without nulls.
//   - sum: of numbers. Of integers it is an integer, exact; one beyond 64 bits is
//     an error. With a float among them it is a float.
//   - min, max: of numbers or of texts (by code point), as it was written. Of
//     equals the first.
//   - merge: one object with the members of all; the later one wins.
//   - first, last: that value, whatever it is.
//
// sum, min, max and merge pass over nulls; any other value of a wrong type is
// ErrInvalid and names its place, from 0. Of nothing sum is 0, collect [], merge
// {}, and the others null.
type Reducer func(values []json.RawMessage) (json.RawMessage, error)

var builtinReducers = map[string]Reducer{
	"collect": func(values []json.RawMessage) (json.RawMessage, error) { return reduceToList(values, true) },
	"append":  func(values []json.RawMessage) (json.RawMessage, error) { return reduceToList(values, true) },
	"extend":  func(values []json.RawMessage) (json.RawMessage, error) { return reduceToList(values, false) },
	"sum":     reduceSum,
	"min":     func(values []json.RawMessage) (json.RawMessage, error) { return reduceExtreme(values, -1) },
	"max":     func(values []json.RawMessage) (json.RawMessage, error) { return reduceExtreme(values, +1) },
	"merge":   reduceMerge,
	"first": func(values []json.RawMessage) (json.RawMessage, error) {
		return at(values, 0), nil
	},
	"last": func(values []json.RawMessage) (json.RawMessage, error) {
		return at(values, len(values)-1), nil
	},
}

// Reduce folds the outputs of several sources by the rules: for each rule the
// values of its key in the sources that have it, in order. A key that no source
// has is left out. An unknown reducer is ErrNotFound, one that fails or answers
// with no JSON is ErrInvalid and names key and reducer.
func (r *Registry) Reduce(rules []Reduction, sources []Values) (Values, error) {
	out := make(Values, len(rules))
	for _, rule := range rules {
		reduce, err := r.Reducer(rule.With)
		if err != nil {
			return nil, err
		}
		var values []json.RawMessage
		for _, source := range sources {
			if raw, ok := source[rule.Key]; ok {
				values = append(values, raw)
			}
		}
		if len(values) == 0 {
			continue
		}
		field := fmt.Sprintf("reduction of %q with %q", rule.Key, rule.With)
		raw, err := reduce(values)
		if err != nil {
			return nil, Invalid(field, "%v", err)
		}
		if err := checkRaw(field, raw); err != nil {
			return nil, err
		}
		out[rule.Key] = raw
	}
	return out.orNil(), nil
}

func at(values []json.RawMessage, i int) json.RawMessage {
	if len(values) == 0 {
		return json.RawMessage("null")
	}
	return values[i]
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func badValue(i int, format string, args ...any) error {
	return Invalid(fmt.Sprintf("value[%d]", i), format, args...)
}

func reduceToList(values []json.RawMessage, nulls bool) (json.RawMessage, error) {
	out := []byte{'['}
	for i, raw := range values {
		items := []json.RawMessage{raw}
		switch jsonType(raw) {
		case "":
			return nil, badValue(i, "is not valid JSON")
		case "array":
			if err := json.Unmarshal(raw, &items); err != nil {
				return nil, badValue(i, "%v", err)
			}
		case "null":
			if !nulls {
				continue
			}
		}
		for _, item := range items {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, item...)
		}
	}
	return append(out, ']'), nil
}

func reduceSum(values []json.RawMessage) (json.RawMessage, error) {
	whole, sum, isWhole := new(big.Int), 0.0, true
	for i, raw := range values {
		if isNull(raw) {
			continue
		}
		n, err := numberOf(i, raw)
		if err != nil {
			return nil, err
		}
		isWhole = isWhole && n.isInt
		whole.Add(whole, big.NewInt(n.i))
		sum += n.float()
	}
	switch {
	case !isWhole && math.IsInf(sum, 0):
		return nil, Invalid("sum", "is beyond the range of floats")
	case !isWhole:
		return EncodeJSON("sum", sum)
	case !whole.IsInt64():
		return nil, Invalid("sum", "%v is beyond 64 bits", whole)
	}
	return EncodeJSON("sum", whole.Int64())
}

// number is a JSON number, as exact as Go has it.
type number struct {
	i     int64
	f     float64
	isInt bool
}

func (n number) float() float64 {
	if n.isInt {
		return float64(n.i)
	}
	return n.f
}

func (n number) compare(m number) int { return n.big().Cmp(m.big()) }

func (n number) big() *big.Float {
	if n.isInt {
		return new(big.Float).SetInt64(n.i)
	}
	return new(big.Float).SetFloat64(n.f)
}

// numberOf reads the i-th value.
func numberOf(i int, raw json.RawMessage) (number, error) {
	if jsonType(raw) != "number" {
		return number{}, badValue(i, "is %s, not a number", jsonKind(raw))
	}
	text := string(bytes.TrimSpace(raw))
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return number{}, badValue(i, "is an integer beyond 64 bits")
		}
		return number{i: n, isInt: true}, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return number{}, badValue(i, "is beyond the range of floats")
	}
	return number{f: f}, nil
}

// reduceExtreme finds the value that compares with all others as sign says.
func reduceExtreme(values []json.RawMessage, sign int) (json.RawMessage, error) {
	best, kind := json.RawMessage("null"), ""
	var bestText string
	var bestNumber number
	for i, raw := range values {
		if isNull(raw) {
			continue
		}
		k := jsonType(raw)
		switch {
		case k != "number" && k != "string":
			return nil, badValue(i, "is %s, not a number or a string", jsonKind(raw))
		case kind != "" && k != kind:
			return nil, badValue(i, "is %s, but those before it are of type %s", jsonKind(raw), kind)
		}
		if k == "number" {
			n, err := numberOf(i, raw)
			if err != nil {
				return nil, err
			}
			if kind == "" || n.compare(bestNumber) == sign {
				best, bestNumber = raw, n
			}
		} else {
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return nil, badValue(i, "%v", err)
			}
			if kind == "" || strings.Compare(text, bestText) == sign {
				best, bestText = raw, text
			}
		}
		kind = k
	}
	return best, nil
}

func reduceMerge(values []json.RawMessage) (json.RawMessage, error) {
	var all Values
	for i, raw := range values {
		if isNull(raw) {
			continue
		}
		if jsonType(raw) != "object" {
			return nil, badValue(i, "is %s, not an object", jsonKind(raw))
		}
		var members Values
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, badValue(i, "%v", err)
		}
		all = all.Merge(members)
	}
	return all.MarshalJSON()
}
