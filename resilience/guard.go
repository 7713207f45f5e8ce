package resilience

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// PanicError is a panic that Guard caught. Its class is ErrPermanent.
type PanicError struct {
	Value any    // what the code panicked with
	Stack []byte // of the goroutine, for a log; not part of the text
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Is makes the class ErrPermanent, and only that: a value that is an error is
// for reading.
func (e *PanicError) Is(target error) bool { return target == stabilize.ErrPermanent }

// As lets errors.As reach a value that is an error.
func (e *PanicError) As(target any) bool {
	err, ok := e.Value.(error)
	return ok && errors.As(err, target)
}

// Guard calls fn and returns its error, or a *PanicError if it panicked.
func Guard(fn func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return fn()
}
