package patterns

import (
	"sync/atomic"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// backend is one fresh, empty set of data.
type backend interface {
	// Open returns another handle on the data, as another process would have.
	Open() persistence.Store
	// Done closes a handle, or what wraps it.
	Done(s persistence.Store) error
}

// backendOf makes a backend of a harness. What the harness was opened at stays in
// the past, and from now on its clock is the system's, virtual in a bubble.
func backendOf(h conformance.Harness) backend {
	var system stabilize.SystemClock
	if ahead := h.Clock().Now().Sub(system.Now()); ahead > 0 && ahead < 100*365*24*time.Hour {
		timer, stop := system.Timer(ahead)
		defer stop()
		<-timer
	}
	h.Clock().Follow(system)
	if o, ok := conformance.Find[Opener](h); ok {
		return opened{o}
	}
	return &handles{harness: h}
}

type opened struct{ Opener }

func (opened) Done(s persistence.Store) error { return s.Close() }

// handles hands out the two handles of a harness in turn; it closes them itself.
type handles struct {
	harness conformance.Harness
	next    atomic.Int64
}

func (b *handles) Open() persistence.Store {
	if b.next.Add(1)%2 == 1 {
		return b.harness.Second()
	}
	return b.harness.Store()
}

func (b *handles) Done(persistence.Store) error { return nil }
