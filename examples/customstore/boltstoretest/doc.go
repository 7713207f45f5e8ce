// Package boltstoretest is what the conformance suites are given to test
// boltstore with: a harness on a new file for each clause, and the powers to look
// at the file and to spoil it past the store.
//
// It may import boltstore, bbolt and everything of go-stabilize.
//
// Where to start reading: harness.go.
package boltstoretest
