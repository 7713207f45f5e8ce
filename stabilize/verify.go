package stabilize

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Verifier checks the outputs of a stage before its last task may succeed. x is
// the run of that task, outputs are what the stage would have. nil accepts; a
// VerificationError that asks for it has the task tried again, any other error
// is final. It runs where the task ran and may use the outside as a task may;
// it must be safe for concurrent use, and read only.
type Verifier func(ctx context.Context, x *Execution, outputs Values) error

// Check returns a VerificationError that names every output that is missing,
// null or of another type than the rules say; With is not asked.
func (v *Verification) Check(outputs Values) error {
	if v == nil {
		return nil
	}
	var problems []string
	for _, key := range v.Required {
		raw, ok := outputs[key]
		switch {
		case !ok:
			problems = append(problems, fmt.Sprintf("output %q is missing", key))
		case isNull(raw):
			problems = append(problems, fmt.Sprintf("output %q is null", key))
		}
	}
	for _, rule := range v.Types {
		if raw, ok := outputs[rule.Key]; ok && !isOfType(raw, rule.Type) {
			problems = append(problems, fmt.Sprintf("output %q is %s, not of type %s", rule.Key, jsonKind(raw), rule.Type))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &VerificationError{Problem: strings.Join(problems, "; "), Retry: v.Retry}
}

// isOfType: an integer is a number without a fraction, however it is written.
func isOfType(raw json.RawMessage, want string) bool {
	if want != "integer" {
		return jsonType(raw) == want
	}
	if jsonType(raw) != "number" {
		return false
	}
	text := string(bytes.TrimSpace(raw))
	if !strings.ContainsAny(text, ".eE") {
		return true
	}
	f, err := strconv.ParseFloat(text, 64)
	return err == nil && f == math.Trunc(f)
}

// jsonType is the type of an encoded value: "string", "number", "boolean",
// "array", "object" or "null"; empty if it is not valid JSON.
func jsonType(raw json.RawMessage) string {
	if !json.Valid(raw) {
		return ""
	}
	switch bytes.TrimSpace(raw)[0] {
	case '"':
		return "string"
	case '[':
		return "array"
	case '{':
		return "object"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// jsonKind says what a value is, for an error; texts and lists may be long.
func jsonKind(raw json.RawMessage) string {
	switch kind := jsonType(raw); kind {
	case "":
		return "not valid JSON"
	case "null":
		return "null"
	case "number", "boolean":
		if len(raw) <= 40 {
			return "the " + kind + " " + string(bytes.TrimSpace(raw))
		}
		return "a " + kind
	case "array", "object":
		return "an " + kind
	default:
		return "a " + kind
	}
}
