package kit

import (
	"context"
	"fmt"
	"reflect"
	"sync"
)

// Race runs n functions that all wait at one line before they start, and
// returns their errors. A panic becomes an error.
func Race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	line := make(chan struct{})
	var ready, done sync.WaitGroup
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			ready.Done()
			<-line
			errs[i] = f(i)
		})
	}
	ready.Wait()
	close(line)
	done.Wait()
	return errs
}

// Tries bounds every loop that tries again: a store that never lets a commit
// through must fail a clause, not hang it.
const Tries = 5_000

// First returns the first error, or nil.
func First(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ContextMethods names the methods of an interface that take a context.
func ContextMethods[I any]() []string {
	var out []string
	t, ctx := reflect.TypeFor[I](), reflect.TypeFor[context.Context]()
	for m := range t.Methods() {
		if m := m; m.Type.NumIn() > 0 && m.Type.In(0) == ctx {
			out = append(out, m.Name)
		}
	}
	return out
}
