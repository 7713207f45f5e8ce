package storetest

import (
	"errors"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// tried changes what becomes of a batch that is tried.
func tried(f func(s store, ctx ctxt, cs []*persistence.Commit, errs []error)) func() *hooks {
	return func() *hooks {
		return &hooks{TryBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
			errs := s.(persistence.Trier).TryBatch(ctx, cs)
			f(s, ctx, cs, errs)
			return errs
		}}
	}
}

func isBlocked(err error) bool {
	_, ok := errors.AsType[*persistence.BlockedError](err)
	return ok
}

func mutantsOfTrying() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "AC-20", Does: "takes for blocked what is stale", Hooks: tried(func(_ store, _ ctxt, cs []*persistence.Commit, errs []error) {
			for i, err := range errs {
				if errors.Is(err, stabilize.ErrConflict) {
					errs[i] = &persistence.BlockedError{WorkflowID: cs[i].WorkflowID}
				}
			}
		})},
		{Clause: "AC-20", Does: "does not try the second commit of a workflow", Also: []string{"AC-21"}, Hooks: func() *hooks {
			return &hooks{TryBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				seen := map[string]bool{}
				errs := make([]error, len(cs))
				for i, c := range cs {
					if c != nil && seen[c.WorkflowID] {
						errs[i] = &persistence.BlockedError{WorkflowID: c.WorkflowID}
						continue
					}
					if c != nil {
						seen[c.WorkflowID] = true
					}
					errs[i] = s.(persistence.Trier).TryBatch(ctx, []*persistence.Commit{c})[0]
				}
				return errs
			}}
		}},
		{Clause: "AC-21", Does: "waits for what is held", Hooks: func() *hooks {
			return &hooks{TryBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error { return s.CommitBatch(ctx, cs) }}
		}},
		{Clause: "AC-21", Does: "says of all that one is blocked", Hooks: tried(func(_ store, _ ctxt, cs []*persistence.Commit, errs []error) {
			for _, err := range errs {
				if isBlocked(err) {
					for i := range errs {
						errs[i] = &persistence.BlockedError{WorkflowID: cs[i].WorkflowID}
					}
				}
			}
		})},
		{Clause: "AC-21", Does: "stores the messages of what is blocked", Hooks: tried(func(s store, ctx ctxt, cs []*persistence.Commit, errs []error) {
			for i, err := range errs {
				if isBlocked(err) {
					_ = s.Push(ctx, cs[i].Messages...)
				}
			}
		})},
		{Clause: "AC-21", Does: "does not name what is held", Hooks: tried(func(_ store, _ ctxt, _ []*persistence.Commit, errs []error) {
			for i, err := range errs {
				if isBlocked(err) {
					errs[i] = &persistence.BlockedError{}
				}
			}
		})},
	}
}
