package conformance

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harnessID names, in a report, the harness itself: its id and its group.
const harnessID = "harness"

// harnessResult is the line of a report for what is wrong with the harness.
func harnessResult(suite, detail string) Result {
	return Result{
		Suite: suite, ID: harnessID, Group: harnessID, Verdict: Failed, Detail: detail,
		Sentence: "The harness is made, with two handles and a clock, each the same at every call.",
	}
}

// made makes a harness; a constructor that panics fails the test as one that
// calls Fatal.
func made[H any](t *testing.T, newHarness func(*testing.T) H) H {
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("the harness could not be made: panic: %v\n%s", p, debug.Stack())
		}
	}()
	return newHarness(t)
}

// wrongWith says what is wrong with a harness whatever its backend does; empty if
// nothing is.
func wrongWith(harness any) (problem string) {
	defer func() {
		if p := recover(); p != nil {
			problem = fmt.Sprintf("asking the harness for its handles: panic: %v\n%s", p, debug.Stack())
		}
	}()
	for h := harness; ; {
		if isNil(h) {
			return "the constructor returned a nil harness"
		}
		w, ok := h.(interface{ Unwrap() any })
		if !ok {
			break
		}
		h = w.Unwrap()
	}
	if h, ok := Find[Harness](harness); ok {
		return wrongHandles("Store", h.Store(), h.Store(), h.Second(), h.Second(), h.Clock())
	}
	if h, ok := Find[QueueHarness](harness); ok {
		return wrongHandles("Queue", h.Queue(), h.Queue(), h.Second(), h.Second(), h.Clock())
	}
	return ""
}

func wrongHandles(name string, first, firstAgain, second, secondAgain any, clock *stabilize.ManualClock) string {
	switch {
	case isNil(first):
		return name + "() of the harness returned nil"
	case isNil(second):
		return "Second() of the harness returned nil"
	case clock == nil:
		return "Clock() of the harness returned nil"
	case differ(first, firstAgain):
		return name + "() of the harness returned another handle when called again; it must be the same at every call, until Reopen"
	case differ(second, secondAgain):
		return "Second() of the harness returned another handle when called again; it must be the same at every call, until Reopen"
	case reflect.ValueOf(first).Comparable() && reflect.ValueOf(second).Comparable() && first == second:
		return fmt.Sprintf("Second() of the harness returned the same handle as %s(); it must be another on the same data, as another process would have", name)
	}
	return ""
}

func differ(a, b any) bool {
	return isNil(b) || reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a != b
}

func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return r.IsNil()
	default:
		return false
	}
}

// misdeclared is a power about which the harness and its backend disagree.
type misdeclared struct {
	power   Power
	problem string
	clauses []string // not run because of it
}

func (m *misdeclared) id() string { return "Lacks-" + string(m.power) }

// unknownPowers finds what Lacks names and is no power.
func unknownPowers(lacks []Power) (out []*misdeclared) {
	for _, p := range lacks {
		if !slices.Contains(powers(), p) {
			out = append(out, &misdeclared{power: p, problem: fmt.Sprintf("the harness declares that the backend lacks %q, which is no power; they are %q", p, powers())})
		}
	}
	return out
}

// report fails a sub-test for the power, and returns the line for the report.
func (m *misdeclared) report(t *testing.T, suite string) Result {
	if len(m.clauses) > 0 {
		m.problem += "; not run because of it: " + strings.Join(m.clauses, ", ")
	}
	r := Result{
		Suite: suite, ID: m.id(), Group: harnessID, Verdict: LeftOut, Detail: notAsked,
		Sentence: "The harness declares which powers its backend lacks, and no others.",
	}
	t.Run(m.id(), func(t *testing.T) {
		r.Verdict, r.Detail = Failed, m.problem
		t.Error(m.problem)
	})
	return r
}
