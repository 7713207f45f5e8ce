// Command ferret is a MongoDB server for tests: FerretDB v1, embedded, on SQLite
// files in a temporary directory, behind a proxy that has it execute one command at
// a time, without which its updates are not atomic. It is slow, keeps its data
// until it ends, and is correct in the operations that persistence/mongostore uses.
//
// It writes its mongodb:// URI to the standard output, as one line, and ends with
// its standard input, or when it is told to by SIGINT or SIGTERM.
//
// It is a Go module of its own, so that FerretDB is nobody's dependency, and may
// import anything. Tests start it by package mongotest.
package main
