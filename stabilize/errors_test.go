package stabilize_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Every typed error is of one class, and no error of a class is of another.
func TestErrorClasses(t *testing.T) {
	classes := map[string]error{
		"ErrInvalid": stabilize.ErrInvalid, "ErrNotFound": stabilize.ErrNotFound, "ErrExists": stabilize.ErrExists,
		"ErrConflict": stabilize.ErrConflict, "ErrLeaseLost": stabilize.ErrLeaseLost, "ErrNoPlace": stabilize.ErrNoPlace,
		"ErrPlaceFree": stabilize.ErrPlaceFree, "ErrTooLarge": stabilize.ErrTooLarge, "ErrCorrupt": stabilize.ErrCorrupt,
		"ErrClosed": stabilize.ErrClosed, "ErrTransient": stabilize.ErrTransient, "ErrUnknownOutcome": stabilize.ErrUnknownOutcome,
		"ErrUnsupported": stabilize.ErrUnsupported, "ErrSchemaTooNew": stabilize.ErrSchemaTooNew,
		"ErrSchemaMissing": stabilize.ErrSchemaMissing, "ErrInvalidTransition": stabilize.ErrInvalidTransition,
		"ErrFinished": stabilize.ErrFinished, "ErrPermanent": stabilize.ErrPermanent, "ErrTimeout": stabilize.ErrTimeout,
		"ErrCanceled": stabilize.ErrCanceled, "ErrVerification": stabilize.ErrVerification, "ErrInternal": stabilize.ErrInternal,
		"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	}
	cause := &fs.PathError{Op: "open", Path: "x", Err: stabilize.ErrConflict}
	for _, c := range []struct {
		class string
		err   error
		text  string
	}{
		{"ErrInvalid", stabilize.Invalid("field", "is %d", 7), "invalid field: is 7"},
		{"ErrNotFound", &stabilize.NotFoundError{Kind: "workflow", ID: "w\n"}, `workflow "w\n" not found`},
		{"ErrExists", &stabilize.ExistsError{Kind: "workflow", ID: "w"}, `workflow "w" already exists`},
		{"ErrConflict", &stabilize.ConflictError{WorkflowID: "w", Expected: 1, Actual: 2}, `workflow "w" is at version 2, not 1`},
		{"ErrLeaseLost", &stabilize.LeaseLostError{Kind: "message", ID: "m"}, `lease of message "m" lost`},
		{"ErrNoPlace", &stabilize.AdmissionError{Key: "k", WorkflowID: "w", Limit: 2, Holding: 2}, `workflow "w" has no place under "k": 2 of 2 places taken`},
		{"ErrPlaceFree", &stabilize.AdmissionError{Key: "k", WorkflowID: "w", Limit: 2, Holding: 1, Free: true}, `workflow "w" need not wait under "k": 1 of 2 places taken`},
		{"ErrTooLarge", &stabilize.TooLargeError{What: "stage", Size: 20, Max: 10}, "stage is 20 bytes, the maximum is 10"},
		{"ErrCorrupt", &stabilize.CorruptError{Table: "stages", ID: "s", Cause: cause}, `corrupt row "s" in stages: open x: version conflict`},
		{"ErrInvalidTransition", &stabilize.TransitionError{Kind: "stage", ID: "s", From: stabilize.Succeeded, To: stabilize.Running}, `stage "s" cannot go from SUCCEEDED to RUNNING`},
		{"ErrTransient", stabilize.Transient(cause), "transient failure: open x: version conflict"},
		{"ErrTransient", stabilize.Transient(context.Canceled), "transient failure: context canceled"},
		{"ErrTransient", &stabilize.TransientError{RetryAfter: time.Second}, "transient failure"},
		{"ErrPermanent", stabilize.Permanent(cause), "permanent failure: open x: version conflict"},
		{"ErrPermanent", stabilize.Permanent(stabilize.Transient(nil)), "permanent failure: transient failure"},
		{"ErrTimeout", &stabilize.TimeoutError{What: "task", After: time.Second}, "task timed out after 1s"},
		{"ErrInvalid", &stabilize.ExpressionError{Expression: "a > 1", Cause: cause}, `expression "a > 1": open x: version conflict`},
		{"ErrVerification", &stabilize.VerificationError{Problem: "empty"}, "verification failed: empty"},
	} {
		if classes[c.class] == nil || c.err.Error() != c.text {
			t.Errorf("%T reads %q, want %q", c.err, c.err, c.text)
		}
		for name, class := range classes {
			if got, want := errors.Is(c.err, class), name == c.class; got != want {
				t.Errorf("%T of %q matches %s: %t", c.err, c.text, name, got)
			}
		}
	}
	for a, x := range classes {
		for b, y := range classes {
			if a != b && errors.Is(x, y) {
				t.Errorf("%s matches %s", a, b)
			}
		}
	}
	for _, err := range []error{stabilize.Transient(cause), stabilize.Permanent(cause), &stabilize.ExpressionError{Cause: cause}} {
		if got, ok := errors.AsType[*fs.PathError](err); !ok || got != cause {
			t.Errorf("the cause of %v cannot be reached", err)
		}
	}
}

func TestFailureText(t *testing.T) {
	f := &stabilize.Failure{Code: "X", Message: "broken", Stage: "a", Task: "t"}
	if got := f.Error(); !strings.Contains(got, "X") || !strings.Contains(got, `stage "a"`) || !strings.Contains(got, `task "t"`) || !strings.HasSuffix(got, ": broken") {
		t.Errorf("the failure reads %q", got)
	}
}
