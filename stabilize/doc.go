// Package stabilize is the dictionary of the house: what a workflow, a stage
// and a task are, which status may follow which, what a task answers, which
// errors there are, and how a stage graph is read. It decides; it never acts.
//
// It may import the standard library, oklog/ulid and expr-lang/expr, nothing
// else of this module. It does no I/O and starts no goroutine.
//
// Where to start reading:
//
//   - workflow.go, stage.go, task.go: the data, exactly as it is stored.
//   - status.go: the twelve statuses and their transitions.
//   - tasktype.go and typed.go: the code a user writes.
//   - build.go: how a user puts a workflow together.
//   - join.go: when a stage may start. graph.go: what makes a graph valid.
//   - rules.go: what a stage may declare beyond that. expr.go, reduce.go and
//     verify.go: the conditions, reducers and checks that rules name.
//   - draft.go: how a decision changes a workflow.
//   - errors.go: every error class of the module.
package stabilize
