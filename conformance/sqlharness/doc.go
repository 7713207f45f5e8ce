// Package sqlharness makes harnesses for stores on database/sql: Driver stands
// between a store and its database, with the powers that this gives
// (conformance.Interceptor among them), and SQLite is the harness of
// sqlstore's SQLite dialect with every power that a file can have.
//
// It may import the standard library and this module but contrib.
//
// Where to start reading: driver.go, then sqlite.go.
package sqlharness
