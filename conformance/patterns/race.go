//go:build race

package patterns

// raced: the race detector makes everything some ten times slower.
const raced = true
