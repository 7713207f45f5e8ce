package persistence

import (
	"errors"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Failure is an error that a store's database or driver gave, under the one class that
// the store found for it. errors.Is finds the class and nothing else, because Cause may
// be of a class of its own; errors.As finds what Cause is.
type Failure struct {
	Store string // its package, such as "sqlstore"
	Doing string // such as "commit"
	Class error  // a sentinel of package stabilize
	Cause error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s: %s: %v: %v", f.Store, f.Doing, f.Class, f.Cause)
}

// Is implements errors.Is.
func (f *Failure) Is(target error) bool { return target == f.Class }

// As implements errors.As.
func (f *Failure) As(target any) bool { return errors.As(f.Cause, target) }

// Classified reports whether an error already has one of the classes that a store
// returns, so that no other is to be found for it.
func Classified(err error) bool {
	for _, class := range []error{
		stabilize.ErrInvalid, stabilize.ErrNotFound, stabilize.ErrExists, stabilize.ErrConflict,
		stabilize.ErrLeaseLost, stabilize.ErrNoPlace, stabilize.ErrPlaceFree, stabilize.ErrTooLarge,
		stabilize.ErrCorrupt, stabilize.ErrClosed, stabilize.ErrTransient, stabilize.ErrUnknownOutcome,
		stabilize.ErrUnsupported, stabilize.ErrSchemaTooNew, stabilize.ErrSchemaMissing, stabilize.ErrInternal,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}
