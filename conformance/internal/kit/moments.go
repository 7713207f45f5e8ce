package kit

import (
	"sync"

	"github.com/stabilize-dev/go-stabilize/conformance"
)

// mostMoments bounds EachMoment: a call that needs more to end is endless.
const mostMoments = 2_000

// EachMoment goes through the moments of what act does in round: in round n, hit
// is called at the nth moment of an act and decides whether the connection breaks
// there. The last round is the one that had fewer moments, so that hit was not
// called in it; EachMoment returns its number, which is how many moments there are.
func (e *Env) EachMoment(i conformance.Interceptor, hit func(executed bool) (breaks bool), round func(n int, act func(do func()))) int {
	e.Helper()
	for n := range mostMoments {
		var mu sync.Mutex
		at, came := 0, false
		round(n, func(do func()) {
			i.Intercept(func(executed bool) bool {
				mu.Lock()
				now := at == n
				at++
				came = came || now
				mu.Unlock()
				return now && hit(executed)
			})
			defer i.Intercept(nil)
			do()
		})
		mu.Lock() // it may have been called on another goroutine
		ended := !came
		mu.Unlock()
		if ended {
			return n
		}
	}
	e.Fatalf("a call does not end: it asks the database more than %d times", mostMoments/2)
	return 0
}

// Breaks is the hit that breaks the connection.
func Breaks(bool) bool { return true }
