// Command certify tests a store of this module, named by its data source name,
// against the contract and prints the certificate, a Markdown table:
//
//	go run ./conformance/cmd/certify -dsn memory:
//	go run ./conformance/cmd/certify -dsn sqlite:///mnt/disk/work.db
//	go run ./conformance/cmd/certify -dsn mongodb://user:password@host/work
//
// The store that is named is not touched: each clause has a new one, removed afterwards.
// For SQLite that is a file in a folder made beside the one named, on the same disk, in
// PostgreSQL a schema of the database that is named, in MongoDB a database of that
// server, which the user must be allowed to make. Options:
//
//	-speed SPEED  run, the default, takes seconds, stress minutes, differential a night
//	-json FILE    writes the report for machines
//	-run REGEXP   runs some clauses only, as go test -run: Certify/storetest/OC-01
//	-v            tells of each clause as it ends
//
// The exit code is 0 if every clause passed that was not left out, 1 if not, and
// 2 if nothing could be tested. A store of one's own is certified by a test, or a
// program, of two lines: see package certify.
//
// It may import everything but contrib.
//
// Where to start reading: main.go.
package main
