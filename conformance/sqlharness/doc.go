// Package sqlharness makes harnesses for stores on database/sql: Driver stands
// between a store and its database, with the powers that this gives
// (conformance.Interceptor among them). SQLite and Postgres are the harnesses of
// sqlstore's two dialects with every power that a file, or a server that is shared
// with others, can have.
//
// It may import the standard library, pgx and this module but contrib.
//
// Where to start reading: driver.go, then sqlite.go; postgres.go and wire.go.
package sqlharness
