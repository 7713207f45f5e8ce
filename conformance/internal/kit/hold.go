package kit

import (
	"context"
	"sync/atomic"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// Count returns how many moments there are in a call.
func (e *Env) Count(i conformance.Interceptor, call func()) int {
	var n atomic.Int64
	i.Intercept(func(bool) bool { n.Add(1); return false })
	defer i.Intercept(nil)
	call()
	return int(n.Load())
}

// Hold makes a call and holds it at its nth moment while it makes another, whose
// context ends after Bound; it then lets the first go on. It returns what became
// of both: of the other, the context's error if it did not return in time.
func (e *Env) Hold(i conformance.Interceptor, n int, call, meanwhile func(context.Context) error) (held, other error) {
	e.Helper()
	reached, release := make(chan struct{}), make(chan struct{})
	var at atomic.Int64
	i.Intercept(func(bool) bool {
		if at.Add(1) == int64(n)+1 {
			close(reached)
			<-release
		}
		return false
	})
	defer i.Intercept(nil)
	ends := make(chan error, 1)
	go func() { ends <- call(e.Ctx()) }()
	select {
	case <-reached:
	case err := <-ends:
		e.Fatalf("the call ended before its moment %d, when it was to be held: %s", n, Quote(err))
	}
	ctx, cancel := context.WithTimeout(e.Ctx(), e.Bound())
	defer cancel()
	others := make(chan error, 1)
	go func() { others <- meanwhile(ctx) }()
	select {
	case other = <-others:
		close(release)
	case <-ctx.Done():
		close(release)
		<-others
		other = ctx.Err()
	}
	return <-ends, other
}
