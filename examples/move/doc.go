// Move copies all workflows of one store into another, of whatever kind:
//
//	go run ./examples/move sqlite://work.db 'postgres://user@host/database?schema=work'
//
// Stop the workers of both first. It may be run again after it was cut short. A
// program with message types of its own has a copy of this one that knows them
// (transfer.Options.Messages).
//
// It may import anything of this module. Where to start reading: main.go.
package main
