// Package boltstore is a whole store of go-stabilize on bbolt, an embedded
// key-value store: workflows, the queue, leases, dead letters and concurrency
// limits in one file of one process. It shows what a store of one's own takes:
// it was written from docs/custom-stores.md, has a Go module of its own and uses
// nothing but the public packages.
//
//	db, err := boltstore.Open("work.db", nil)
//	store := boltstore.New(db, boltstore.Config{})
//	eng, err := engine.New(store)
//
// It may import bbolt, and stabilize, queue and persistence of go-stabilize; its
// tests the suites.
//
// Where to start reading: txn.go for what is kept where, store.go for how a call
// goes, commit.go for the one way to change a workflow, lease.go for Claim.
package boltstore
