// Command clausedoc writes docs/contract.md from the suites' own data:
//
//	go run ./conformance/clausedoc > docs/contract.md
//
// It may import the suites of conformance and the standard library.
//
// Where to start reading: main.go.
package main
