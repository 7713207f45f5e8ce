package conformance

// Omissions are the clauses of the contract's list that no suite of this folder
// tests, each with the reason. A whole group is named without a number.
func Omissions() []Omission {
	return []Omission{
		{"AC-10", "the number is not used"},
		{"AC-15", "a store has no hooks: what follows a commit is the engine's"},
		{"AC-16", "a store has no hooks"},
		{"CB-04", "no method blocks until a message comes: Claim never waits"},
		{"CB-05", "it is asked after every clause: goroutines always, connections, transactions and cursors where the harness counts them"},
		{"CB-06", "starting and stopping is the Processor's, tested in package queue"},
		{"CR-02", "processes that are killed: the process tests of the stores and of the engine"},
		{"CR-09", "schedules of faults from a seed: packages faults and difftest, tested there"},
		{"CX-03", "no method blocks until a message comes: Claim never waits"},
		{"DD-01", "there are no marks of processed messages: the queue is in the store's database, and a commit acknowledges"},
		{"DD-02", "there are no marks of processed messages"},
		{"DD-06", "there is one queue to a store"},
		{"DD-07", "there are no marks of processed messages"},
		{"DD-08", "there are no marks of processed messages"},
		{"DD-09", "a push has no deduplication key: the message's id is refused while in use (DD-05)"},
		{"DD-10", "a push has no deduplication key"},
		{"DD-11", "a push has no deduplication key"},
		{"DD-12", "there is no Ensure: a message is pushed by the commit that needs it"},
		{"DD-13", "there is no rescheduling by content; releasing what is absent is VL-12"},
		{"EV-05", "events come with commits, whose version EV-04 asks for; there is no appending for other entities yet"},
		{"EV-15", "there are no subscriptions yet: who reads keeps his position himself"},
		{"EV-16", "there are no subscriptions yet"},
		{"EV-17", "there are no snapshots yet"},
		{"EV-19", "there is no appending for other entities yet"},
		{"LP-04", "an event has no payload of the user's"},
		{"LP-05", "a benchmark, not a test: queuetest.BenchmarkDelayed"},
		{"MG-03", "only one version of a schema was published so far"},
		{"MG-05", "only one version of a schema was published so far"},
		{"PG-10", "there is no count of a query"},
		{"PG-11", "there are no iterators; deleting between pages is PG-04"},
		{"PG-12", "there are no iterators"},
		{"PG-13", "there are no iterators"},
		{"PG-14", "there are no iterators"},
		{"TM-01", "it holds of the suites themselves: their clocks are manual and a test refuses sleeps in their source"},
		{"TM-08", "the handles of a harness have one clock, and no bound on its skew is part of the contract"},
		{"BI-08", "only some stores have an address, and passwords in it: it is tested where addresses are read; payloads in errors are LP-06"},
	}
}
