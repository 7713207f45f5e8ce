package resilience

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Env overrides configuration from the environment. target points to a struct;
// a field tagged
//
//	Concurrency int `env:"WORKER_CONCURRENCY,min=1,max=1000"`
//
// is set from the variable of that name after the prefix ("STABILIZE_" gives
// STABILIZE_WORKER_CONCURRENCY), looked up by lookup, as os.LookupEnv does. A
// variable that is missing or empty leaves the field as it is. Fields may be
// integers, floats, booleans, strings and durations ("1.5s"); min and max are
// inclusive, are written like the value, hold for what the variable says, and
// are for numbers and durations. Structs within the struct are filled too.
//
// If target has a Validate method it is called on the result. All mistakes are
// returned at once, each ErrInvalid naming the variable, its value and what is
// allowed; then target is unchanged.
func Env(lookup func(name string) (value string, ok bool), prefix string, target any) error {
	at := reflect.ValueOf(target)
	if at.Kind() != reflect.Pointer || at.IsNil() || at.Elem().Kind() != reflect.Struct {
		return stabilize.Invalid("configuration", "%T is not a pointer to a struct", target)
	}
	filled := reflect.New(at.Type().Elem())
	filled.Elem().Set(at.Elem())
	e := env{lookup: lookup, prefix: prefix}
	e.fill(filled.Elem())
	if v, ok := reflect.TypeAssert[interface{ Validate() error }](filled); ok {
		e.problem(v.Validate())
	}
	if len(e.problems) > 0 {
		return errors.Join(e.problems...)
	}
	at.Elem().Set(filled.Elem())
	return nil
}

type env struct {
	lookup   func(string) (string, bool)
	prefix   string
	problems []error
}

func (e *env) problem(err error) {
	if err != nil {
		e.problems = append(e.problems, err)
	}
}

func (e *env) fill(v reflect.Value) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		tag, tagged := field.Tag.Lookup("env")
		switch {
		case tagged && !field.IsExported():
			e.problem(stabilize.Invalid("configuration field "+field.Name, "has an env tag but is not exported"))
		case tagged:
			e.problem(e.set(v.Field(i), field.Name, tag))
		case field.Type.Kind() == reflect.Struct && field.IsExported():
			e.fill(v.Field(i))
		}
	}
}

func (e *env) set(v reflect.Value, field, tag string) error {
	name, rules, _ := strings.Cut(tag, ",")
	k, err := kindOf(v.Type(), rules)
	if name == "" || err != nil {
		return stabilize.Invalid("configuration field "+field, "has an unusable env tag %q", tag)
	}
	name = e.prefix + name
	text, ok := e.lookup(name)
	if !ok || text == "" {
		return nil
	}
	parsed, err := k.parse(text)
	if err != nil || !k.within(parsed) {
		return stabilize.Invalid(name, "%q is not %s", text, k)
	}
	v.Set(parsed)
	return nil
}

// kind is a field's type with its bounds.
type kind struct {
	typ      reflect.Type
	min, max reflect.Value // invalid: none
}

func kindOf(t reflect.Type, rules string) (kind, error) {
	k := kind{typ: t}
	k.setRange()
	if _, err := k.parse("1"); err != nil && errors.Is(err, errors.ErrUnsupported) {
		return k, err
	}
	for rule := range strings.SplitSeq(rules, ",") {
		which, text, _ := strings.Cut(rule, "=")
		if rule == "" {
			continue
		}
		bound, err := k.parse(text)
		switch {
		case err != nil:
			return k, err
		case t.Kind() == reflect.String || t.Kind() == reflect.Bool:
			return k, errors.ErrUnsupported
		case which == "min":
			k.min = bound
		case which == "max":
			k.max = bound
		default:
			return k, errors.ErrUnsupported
		}
	}
	return k, nil
}

// setRange sets the bounds that a type has by itself.
func (k *kind) setRange() {
	low, high := reflect.New(k.typ).Elem(), reflect.New(k.typ).Elem()
	bits := k.typ.Size() * 8
	switch {
	case low.CanInt() && bits < 64:
		low.SetInt(-1 << (bits - 1))
		high.SetInt(1<<(bits-1) - 1)
		k.min, k.max = low, high
	case low.CanUint():
		k.min = low
		if bits < 64 {
			high.SetUint(1<<bits - 1)
			k.max = high
		}
	}
}

func (k kind) parse(text string) (reflect.Value, error) {
	v := reflect.New(k.typ).Elem()
	var err error
	switch {
	case k.typ == reflect.TypeFor[time.Duration]():
		var d time.Duration
		d, err = time.ParseDuration(text)
		v.SetInt(int64(d))
	case v.CanInt():
		var n int64
		n, err = strconv.ParseInt(text, 10, k.typ.Bits())
		v.SetInt(n)
	case v.CanUint():
		var n uint64
		n, err = strconv.ParseUint(text, 10, k.typ.Bits())
		v.SetUint(n)
	case v.CanFloat():
		var f float64
		f, err = strconv.ParseFloat(text, k.typ.Bits())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			err = strconv.ErrRange
		}
		v.SetFloat(f)
	case v.Kind() == reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case v.Kind() == reflect.String:
		v.SetString(text)
	default:
		err = errors.ErrUnsupported
	}
	return v, err
}

func (k kind) within(v reflect.Value) bool {
	return (!k.min.IsValid() || !less(v, k.min)) && (!k.max.IsValid() || !less(k.max, v))
}

func less(a, b reflect.Value) bool {
	switch {
	case a.CanInt():
		return a.Int() < b.Int()
	case a.CanUint():
		return a.Uint() < b.Uint()
	default:
		return a.Float() < b.Float()
	}
}

// String says what is allowed.
func (k kind) String() string {
	what := map[bool]string{true: "a whole number", false: "a number"}[k.typ.Kind() < reflect.Float32]
	switch {
	case k.typ == reflect.TypeFor[time.Duration]():
		what = "a duration (such as 1.5s)"
	case k.typ.Kind() == reflect.Bool:
		what = "true or false"
	case k.typ.Kind() == reflect.String:
		what = "text"
	}
	switch {
	case k.min.IsValid() && k.max.IsValid():
		return fmt.Sprintf("%s from %v to %v", what, k.min, k.max)
	case k.min.IsValid():
		return fmt.Sprintf("%s of at least %v", what, k.min)
	case k.max.IsValid():
		return fmt.Sprintf("%s of at most %v", what, k.max)
	}
	return what
}
