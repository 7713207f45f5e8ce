package conformance

import "context"

// Clause is one promise of the contract.
type Clause struct {
	ID       string // such as "OC-01"; the name of the sub-test
	Group    string // the part of the id before the dash
	Sentence string // what is promised
	Needs    Power  // the clause runs where the backend has this; empty: everywhere
}

// Omission is a clause of the contract's list that a suite does not test.
type Omission struct {
	ID     string
	Reason string
}

// T is what a clause needs of testing.T. It is an interface so that the suites
// can be tested themselves: on a broken store a clause must fail.
type T interface {
	Helper()
	Name() string
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Effort is how hard a clause tries: how many rounds a race has and how large
// large is. Every clause takes its numbers through Of and Size, so that they
// are turned up and down in one place.
type Effort int

// The efforts.
const (
	Full         Effort = iota // Run: the whole suite in seconds
	Short                      // a tenth, as under go test -short
	Least                      // two rounds of everything, for a suite's own tests
	Stress                     // RunStress: ten times the rounds, four times the size
	Differential               // RunDifferential: as Full, but of random sequences as many as a night has room for
)

// Of scales the number of rounds; it is at least least.
func (e Effort) Of(full, least int) int { return e.scale(full, least, 10) }

// Size scales how much there is of something, such as rows or workers; it is at
// least least. It grows less than Of, because what it counts is there at once.
func (e Effort) Size(full, least int) int { return e.scale(full, least, 4) }

func (e Effort) scale(full, least, stress int) int {
	switch e {
	case Short:
		return max(full/10, least)
	case Least:
		return least
	case Stress:
		return max(full*stress, least)
	default:
		return max(full, least)
	}
}

// Check is a clause and the code that tests it, on a harness of type H.
type Check[H any] struct {
	Clause
	Run func(t T, h H, effort Effort)
}

// ClausesOf returns the clauses of a suite's checks.
func ClausesOf[H any](checks []Check[H]) []Clause {
	out := make([]Clause, len(checks))
	for i, c := range checks {
		out[i] = c.Clause
	}
	return out
}
