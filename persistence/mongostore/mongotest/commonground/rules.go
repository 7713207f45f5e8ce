package commonground

import (
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func outside(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrOutside)
}

// each runs f on every element and says at which it failed.
func each(doc bson.Raw, f func(key string, v bson.RawValue) error) error {
	elements, err := doc.Elements()
	if err != nil {
		return err
	}
	for _, e := range elements {
		if err := f(e.Key(), e.Value()); err != nil {
			return fmt.Errorf("%s: %w", e.Key(), err)
		}
	}
	return nil
}

func apply(r rule, known bool, v bson.RawValue) error {
	if !known {
		return outside("the field")
	}
	if r == nil {
		return nil
	}
	return r(v)
}

// document takes documents whose fields have rules, and no others.
func document(fields rules) rule {
	return members(func(key string, v bson.RawValue) error {
		r, known := fields[key]
		return apply(r, known, v)
	})
}

// member judges a field by its name and value.
type member func(key string, v bson.RawValue) error

// members takes documents all of whose fields are taken by all.
func members(all ...member) rule {
	return func(v bson.RawValue) error {
		doc, ok := v.DocumentOK()
		if !ok {
			return outside("a %s where a document belongs", v.Type)
		}
		return each(doc, func(key string, v bson.RawValue) error {
			for _, m := range all {
				if err := m(key, v); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// value judges a field by its value only.
func value(r rule) member {
	return func(_ string, v bson.RawValue) error { return r(v) }
}

// list takes arrays of at most so many values; 0: any number.
func list(limit int, r rule) rule {
	return func(v bson.RawValue) error {
		array, ok := v.ArrayOK()
		if !ok {
			return outside("a %s where an array belongs", v.Type)
		}
		n := 0
		return each(bson.Raw(array), func(_ string, v bson.RawValue) error {
			if n++; limit > 0 && n > limit {
				return outside("more than %d at once", limit)
			}
			return r(v)
		})
	}
}

func is(want bool) rule {
	return func(v bson.RawValue) error {
		if got, ok := v.BooleanOK(); !ok || got != want {
			return outside("not %v", want)
		}
		return nil
	}
}

func not(s string) rule {
	return func(v bson.RawValue) error {
		if got, ok := v.StringValueOK(); ok && got == s {
			return outside("%q", s)
		}
		return nil
	}
}

// acknowledged refuses writes that nobody hears of.
func acknowledged(v bson.RawValue) error {
	if n, ok := v.AsInt64OK(); ok && n == 0 {
		return outside("unacknowledged")
	}
	return nil
}

// filter takes what finds documents.
func filter(v bson.RawValue) error {
	return members(func(key string, v bson.RawValue) error {
		switch {
		case key == "$and" || key == "$or" || key == "$nor":
			return list(0, filter)(v)
		case strings.HasPrefix(key, "$"):
			return outside("the operator")
		}
		if err := path(key, v); err != nil {
			return err
		}
		if first, ok := firstKey(v); ok && strings.HasPrefix(first, "$") {
			return members(operator)(v)
		}
		return plain(v)
	})(v)
}

func operator(key string, v bson.RawValue) error {
	r, known := filters()[key]
	if !known {
		return outside("the operator")
	}
	return apply(r, true, v)
}

// update takes documents of operators, and documents that replace another.
func update(v bson.RawValue) error {
	first, _ := firstKey(v)
	if !strings.HasPrefix(first, "$") {
		return plainDocument(v) // a pipeline is none
	}
	return document(updates())(v)
}

func pushed(v bson.RawValue) error {
	if first, ok := firstKey(v); !ok || !strings.HasPrefix(first, "$") {
		return plain(v)
	}
	return document(rules{"$each": list(0, plain)})(v)
}

func firstKey(v bson.RawValue) (string, bool) {
	doc, ok := v.DocumentOK()
	if !ok {
		return "", false
	}
	e, err := doc.IndexErr(0)
	if err != nil {
		return "", false
	}
	return e.Key(), true
}

// path takes names of fields, at whatever depth, and no positional operators.
func path(key string, _ bson.RawValue) error {
	for part := range strings.SplitSeq(key, ".") {
		if part == "" || strings.HasPrefix(part, "$") {
			return outside("the path")
		}
	}
	return nil
}

// plain takes values in which nothing could be taken for an operator or a path.
func plain(v bson.RawValue) error {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		return plainDocument(v)
	case bson.TypeArray:
		return list(0, plain)(v)
	case bson.TypeRegex:
		return outside("a regular expression")
	}
	return nil
}

func plainDocument(v bson.RawValue) error {
	return members(func(key string, v bson.RawValue) error {
		if key == "" || strings.HasPrefix(key, "$") || strings.Contains(key, ".") {
			return outside("a name that servers take apart")
		}
		return plain(v)
	})(v)
}

// directions takes what sorts, and the keys of indexes.
func directions(key string, v bson.RawValue) error {
	if n, ok := v.AsInt64OK(); !ok || n != 1 && n != -1 {
		return outside("a direction that is neither 1 nor -1")
	}
	return path(key, v)
}

// shown takes projections that show or hide fields.
func shown(key string, v bson.RawValue) error {
	if _, ok := v.BooleanOK(); !ok {
		if n, ok := v.AsInt64OK(); !ok || n != 0 && n != 1 {
			return outside("a projection that computes")
		}
	}
	return path(key, v)
}

// counting takes the pipeline of the driver's CountDocuments.
func counting(v bson.RawValue) error {
	return list(0, document(rules{
		"$match": filter, "$skip": nil, "$limit": nil,
		"$group": document(rules{"_id": plainNumber, "n": document(rules{"$sum": plainNumber})}),
	}))(v)
}

func plainNumber(v bson.RawValue) error {
	if !v.IsNumber() {
		return outside("a group that is no count")
	}
	return nil
}
