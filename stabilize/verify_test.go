package stabilize_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func TestVerificationCheck(t *testing.T) {
	outputs := stabilize.Values{
		"string": json.RawMessage(`"x"`), "integer": json.RawMessage(`12345678901234567890`), "whole": json.RawMessage(`2.0`), "number": json.RawMessage(`1.5`),
		"boolean": json.RawMessage(`false`), "array": json.RawMessage(` []`), "object": json.RawMessage(`{}`), "null": json.RawMessage(`null`),
	}
	kinds := []string{"string", "integer", "number", "boolean", "array", "object", "null"}
	for key := range outputs {
		for _, kind := range kinds {
			v := &stabilize.Verification{Types: []stabilize.TypeRule{{Key: key, Type: kind}}}
			want := key == kind || kind == "number" && (key == "integer" || key == "whole") || kind == "integer" && key == "whole"
			if err := v.Check(outputs); (err == nil) != want {
				t.Errorf("%s as %s: %v", outputs[key], kind, err)
			}
		}
	}

	var none *stabilize.Verification
	for _, v := range []*stabilize.Verification{
		none, {}, {With: "asked elsewhere"}, {Required: []string{"boolean", "object"}}, {Types: []stabilize.TypeRule{{Key: "absent", Type: "string"}}},
	} {
		if err := v.Check(outputs); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
	for _, retry := range []bool{true, false} {
		v := &stabilize.Verification{
			Required: []string{"absent", "null", "string"}, Retry: retry,
			Types: []stabilize.TypeRule{{Key: "number", Type: "integer"}, {Key: "string", Type: "object"}, {Key: "object", Type: "object"}},
		}
		err := v.Check(outputs)
		e, ok := errors.AsType[*stabilize.VerificationError](err)
		if !ok || e.Retry != retry {
			t.Fatalf("got %#v", err)
		}
		want := `output "absent" is missing; output "null" is null; output "number" is the number 1.5, not of type integer; output "string" is a string, not of type object`
		if e.Problem != want {
			t.Errorf("the problem reads\n%s, want\n%s", e.Problem, want)
		}
	}
}
