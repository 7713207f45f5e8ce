package persistence_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A failure has its class and no other, whatever its cause is, and the cause's facts.
func TestFailureHasOneClass(t *testing.T) {
	cause := fmt.Errorf("reading: %w", &fs.PathError{Op: "read", Path: "/data", Err: stabilize.ErrNotFound})
	var err error = &persistence.Failure{Store: "mystore", Doing: "commit", Class: stabilize.ErrTransient, Cause: cause}
	if !errors.Is(err, stabilize.ErrTransient) || errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("transient %t, not found %t", errors.Is(err, stabilize.ErrTransient), errors.Is(err, stabilize.ErrNotFound))
	}
	if path, ok := errors.AsType[*fs.PathError](err); !ok || path.Path != "/data" {
		t.Errorf("its cause is %v", path)
	}
	if f, ok := errors.AsType[*persistence.Failure](fmt.Errorf("later: %w", err)); !ok || f.Doing != "commit" {
		t.Errorf("the failure is %v", f)
	}
	if got, want := err.Error(), "mystore: commit: transient failure: reading: read /data: not found"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestClassified(t *testing.T) {
	for _, err := range []error{
		&persistence.Failure{Class: stabilize.ErrUnknownOutcome, Cause: errors.New("gone")},
		fmt.Errorf("loading: %w", &stabilize.NotFoundError{Kind: "workflow", ID: "w"}), stabilize.Invalid("limit", "is negative"),
	} {
		if !persistence.Classified(err) {
			t.Errorf("%v has no class", err)
		}
	}
	for _, err := range []error{nil, errors.New("gone"), fs.ErrNotExist} {
		if persistence.Classified(err) {
			t.Errorf("%v has a class", err)
		}
	}
}
