// Package kit is what the clauses of the suites are written with: an
// environment that fails in words, workflows to store, values that fill every
// field, a comparison that names the field that differs, and races.
//
// It may import what package conformance may.
package kit
