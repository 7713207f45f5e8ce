// Command certify tests boltstore against the contract of stores and prints the
// certificate; its flags are those of certify.Flags:
//
//	go run ./cmd/certify -speed stress
//
// It may import everything of this module and of go-stabilize.
//
// Where to start reading: main.go.
package main
