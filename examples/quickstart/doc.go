// Command quickstart runs a workflow over a Go source tree: it lists the
// packages, fans out over groups of them to vet, to compile their tests and to
// count, joins, and writes a report. The run lives in a SQLite file: kill the
// program at any moment, start it again, and it goes on where it was.
//
//	go run ./examples/quickstart                 # the module you are in
//	go run ./examples/quickstart -kill-after 3   # kill -9 itself on the way
//	go run ./examples/quickstart                 # goes on, and says what ran twice
//
// It may import anything of this module.
//
// Where to start reading: main.go for the life of a run, pipeline.go for the
// workflow, tasks.go for the code of its tasks. journal.go and account.go only
// prove what was run how often; view.go and lines.go show it.
package main
