// Package resilience holds what keeps a program standing when something fails:
// tries that are repeated, times that are limited, panics that are caught,
// bulkheads, circuit breakers and rate limits, and configuration that is read
// from the environment. Cancelling is the contexts'.
//
// It may import stabilize. It knows nothing of stores and queues. All waiting
// is on the clock passed in.
//
// Where to start reading: retry.go, breaker.go.
package resilience
