//go:build !race

package patterns

const raced = false
