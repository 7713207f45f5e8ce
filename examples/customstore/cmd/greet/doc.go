// Command greet runs a workflow on boltstore and lists the workflows that the file
// holds, those of earlier runs too:
//
//	go run ./cmd/greet -db greetings.db -name Ada
//
// It may import everything of this module and of go-stabilize.
//
// Where to start reading: main.go.
package main
