// Command order is the example of README.md: two tasks, one workflow, one
// SQLite file. README.md shows main.go; a test keeps the two equal.
//
// It may import anything of this module.
//
// Where to start reading: main.go.
package main
