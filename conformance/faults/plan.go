package faults

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Plan says what goes wrong. The zero plan changes nothing. Probabilities are
// from 0, never, to 1, always.
type Plan struct {
	// Seed of all that is drawn.
	Seed uint64
	// Clock tells when a late copy is due; nil: SystemClock. Give the store's.
	Clock stabilize.Clock

	// Crash is where the handle's process dies; zero: nowhere.
	Crash Crash

	// LostReply is the commit, counted from 1, whose reply is lost: what the
	// store made of it stands, the caller gets ErrUnknownOutcome. 0: none.
	LostReply int
	// LostReplies is the probability of the same for every commit.
	LostReplies float64
	// Refused is the probability that a commit is ErrTransient and does not reach
	// the store.
	Refused float64
	// RefusedCalls is the probability of the same for any other call but
	// Heartbeat and Retire, without which no worker begins or ends, and Pending,
	// Depth and those of the dead letters, with which tests look.
	RefusedCalls float64

	// Copies is how many times more each message is sent, whether by a commit or
	// by Push. A copy has an id of its own and no lease; it goes when the message
	// is discarded, and stays when the message is handled.
	Copies int
	// Late is how much later than the message a copy is due at most: half of them
	// are due with it, the others at a time in between.
	Late time.Duration

	// Shuffled hands out what one claim got in any order.
	Shuffled bool
	// HeldBack is the probability that a claimed message is returned instead of
	// handed out. Below 1, or nothing is ever handed out.
	HeldBack float64
	// NoBirthLeases stores unleased what a commit leases to its worker, as if that
	// worker had been silent for too long. What it then runs is for nothing: the
	// message is delivered by a claim, and a task may run twice.
	NoBirthLeases bool

	// Panicked, if not nil, is told of each panic in a call of the store, with its
	// stack; the caller gets an error. Without it the panic goes on.
	Panicked func(value any, stack []byte)
}

// Crash is a point at which a process dies. Commits are counted from 1, one by
// one as they come through the handle, whatever becomes of them.
type Crash struct {
	Commit int
	// After: the commit is applied, and the reply lost. Otherwise nothing of it
	// reaches the store. Of a batch, the commits ahead of the crash are applied
	// and those behind it are not; no reply of the batch arrives.
	After bool
}

// Before is the crash that keeps the n-th commit from the store.
func Before(n int) Crash { return Crash{Commit: n} }

// After is the crash right after the n-th commit.
func After(n int) Crash { return Crash{Commit: n, After: true} }

// String says the point in words, fit for the name of a sub-test.
func (c Crash) String() string {
	switch {
	case c.Commit <= 0:
		return "never"
	case c.After:
		return fmt.Sprintf("after commit %d", c.Commit)
	default:
		return fmt.Sprintf("before commit %d", c.Commit)
	}
}

// CrashPoints goes through all points of a run of n commits: before the first,
// after it, before the second, and so on. A run without a crash tells n by
// Store.Commits.
func CrashPoints(n int) iter.Seq[Crash] {
	return func(yield func(Crash) bool) {
		for i := 1; i <= n; i++ {
			if !yield(Before(i)) || !yield(After(i)) {
				return
			}
		}
	}
}

// Streams of draws, so that no kind of call has a part in another's.
const (
	ofCommits = iota + 1
	ofCalls
	ofClaims
	ofPushes
)

// draw returns the source for the n-th event of a stream.
func (p *Plan) draw(stream, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(p.Seed, stream<<48^n)) //nolint:gosec // it is to be repeated, not to be secret
}

// lost reports whether the n-th commit's reply is lost.
func (p *Plan) lost(n int, r *rand.Rand) bool { return r.Float64() < p.LostReplies || n == p.LostReply }
