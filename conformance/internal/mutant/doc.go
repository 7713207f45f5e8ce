// Package mutant breaks a good store on purpose: a wrapper whose methods can be
// replaced one by one, and the test that every clause of a suite finds the
// break made for it, and no other clause does but those listed.
//
// It may import what package conformance may.
//
// Where to start reading: store.go, then check.go.
package mutant
