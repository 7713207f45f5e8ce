// Package model says what a workflow comes to, without a queue, a store or a
// handler: a few hundred lines that play the tokens over a graph in order of
// time. Its tests run random graphs on the engine too and compare.
//
// It is written from the rules, not from the engine: every stage has one task
// that takes a time of its own and ends in a way known beforehand; tokens travel
// along edges, live or dead; a join takes them by its rule.
//
// It may import stabilize and the standard library.
//
// Where to start reading: graph.go, then play.go.
package model
