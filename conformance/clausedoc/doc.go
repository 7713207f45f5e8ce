// Command clausedoc writes CLAUSES.md from the suites' own data:
//
//	go run ./conformance/clausedoc > conformance/CLAUSES.md
//
// It may import the suites of conformance and the standard library.
//
// Where to start reading: main.go.
package main
