package persistence

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Gate is how a store's handle closes: calls pass until Close, those under way
// are told and awaited, later ones are refused as ErrClosed. Every method of a
// store asks it before it looks at its arguments. Safe for concurrent use.
type Gate struct {
	name string

	closed  atomic.Bool
	closing context.Context // ends when Close begins
	stop    context.CancelFunc
	mu      sync.Mutex // guards adding to calls against Close
	calls   sync.WaitGroup
	done    chan struct{} // Close has returned
}

// NewGate makes an open gate; name stands before its errors.
func NewGate(name string) *Gate {
	g := &Gate{name: name, done: make(chan struct{})}
	g.closing, g.stop = context.WithCancel(context.Background())
	return g
}

// Check returns ErrClosed after Close has begun, and the context's error if it
// has ended. It is enough for a call that holds nothing which Close releases.
func (g *Gate) Check(ctx context.Context) error {
	if g.closed.Load() {
		return fmt.Errorf("%s: %w", g.name, stabilize.ErrClosed)
	}
	return ctx.Err()
}

// Enter is Check for a call that Close must wait for. The context it returns
// also ends when Close begins; leave must be called once, at the call's end.
func (g *Gate) Enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	g.mu.Lock()
	if err := g.Check(ctx); err != nil {
		g.mu.Unlock()
		return nil, nil, err
	}
	g.calls.Add(1)
	g.mu.Unlock()
	inner, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(g.closing, cancel)
	return inner, func() {
		release()
		cancel()
		g.calls.Done()
	}, nil
}

// Closed reports whether Close has begun.
func (g *Gate) Closed() bool { return g.closed.Load() }

// Close refuses calls from now on, waits until those that entered have left,
// and then calls release, once. Whoever closes again waits for the first and
// gets nil. A call that has entered must not close its gate.
func (g *Gate) Close(release func() error) error {
	g.mu.Lock()
	first := !g.closed.Swap(true)
	g.mu.Unlock()
	if !first {
		<-g.done
		return nil
	}
	defer close(g.done)
	g.stop()
	g.calls.Wait()
	return release()
}
