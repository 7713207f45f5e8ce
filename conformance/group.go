package conformance

// Group is what the letters before the dash of a clause's id stand for.
type Group struct {
	Title string
	// Read names the comments that say what a backend owes here, for go doc.
	Read string
}

// GroupOf returns the group of the given letters; the zero Group if there is none.
func GroupOf(letters string) Group { return groups()[letters] }

func groups() map[string]Group {
	return map[string]Group{
		"RT":      {"what is stored comes back", "persistence.WorkflowStore, persistence.Commit"},
		"OC":      {"optimistic concurrency", "persistence.Commit"},
		"AC":      {"atomic commit", "persistence.WorkflowStore, persistence.Commit"},
		"CL":      {"leases and concurrency limits", "persistence.Admission, queue.Lease"},
		"DD":      {"once only", "persistence.Commit, queue.Outgoing"},
		"OR":      {"order", "queue.Queue"},
		"PG":      {"queries and pages", "persistence.Query, persistence.Page"},
		"TM":      {"time", "stabilize.Instant, stabilize.Precision"},
		"JS":      {"Unicode and JSON", "stabilize.Values"},
		"BI":      {"bad input", "persistence.Commit, queue.Outgoing"},
		"IS":      {"concurrent use", "persistence.Store"},
		"LP":      {"large payloads", "stabilize.TooLargeError"},
		"CX":      {"ended contexts", "persistence.Store"},
		"CR":      {"broken connections, lost handles", "persistence.WorkflowStore, persistence.Store"},
		"MG":      {"migrations", "persistence.Store, stabilize.ErrSchemaMissing"},
		"CB":      {"closing", "persistence.WorkflowStore"},
		"DF":      {"random sequences, compared with the memory store", "persistence.Store, queue.Queue"},
		"DX":      {"random sequences in which calls fail and processes die", "persistence.Commit, queue.Queue"},
		"WCP":     {"workflow control-flow patterns", "persistence.Store, queue.Queue"},
		"EV":      {"the events of commits", "events.Log, persistence.EventKeeper"},
		"VL":      {"visibility, leases, dead letters", "queue.Queue, queue.DeadLetters"},
		"harness": {"how the harness is made, and what it declares", "conformance.Harness, conformance.Lacking"},
		"all":     {"not run", ""},
		"IR":      {"messages again, and control operations", "persistence.Commit, persistence.Refresher, queue.Queue"},
	}
}
