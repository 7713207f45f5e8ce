package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// without gives the clauses that no broken store can break.
func without() map[string]string {
	return map[string]string{
		"RT-14": "it tests the harness's row counter: TestTablesAreCounted",
		"PG-16": "it tests what the harness explains: TestScansAreReported",
		"CX-06": "it compares the contract's methods with the suite's own list",
	}
}

func mutations() []mutant.Mutation {
	return slices.Concat(mutantsOfRoundTrips(), mutantsOfVersions(), mutantsOfCommits(), mutantsOfClaims(), mutantsOfQueries(), mutantsOfValues(), mutantsOfTheRest(),
		mutantsOfSteps(), mutantsOfTrying(), mutantsOfPruning(), mutantsOfCrashes(), mutantsOfHandles(), mutantsOfMigrations())
}

func mutantsOfRoundTrips() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "RT-01", Does: "forgets who triggered a workflow", Also: []string{"BI-04", "JS-06", "JS-07", "JS-11", "RT-07", "RT-10", "RT-12", "RT-17", "TM-02", "TM-03", "TM-04"}, Hooks: loaded(func(w *stabilize.Workflow) { w.Trigger.User = "" })},
		{Clause: "RT-02", Does: "gives an empty origin a default", Hooks: loaded(func(w *stabilize.Workflow) {
			if w.Origin == "" && w.Name == "" {
				w.Origin = "api"
			}
		})},
		{Clause: "RT-03", Does: "lets the driver's error through when an id exists", Also: []string{"AC-07", "AC-13", "AC-20", "BI-09", "IS-05", "OC-06", "RT-04"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if c.Expect == 0 && c.WorkflowID != "" && errors.Is(err, stabilize.ErrExists) {
				return errors.New("UNIQUE constraint failed: workflows.id")
			}
			return err
		})},
		{Clause: "RT-04", Does: "leaves the header of a creation that failed half-way", Also: []string{"AC-07", "AC-09", "BI-01", "BI-02", "BI-05", "JS-03", "JS-05", "JS-08", "LP-02"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if c.Expect == 0 && c.Header != nil && c.Header.Validate() == nil && c.WorkflowID == c.Header.ID {
				_ = one(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Header: c.Header})
			}
			return err
		})},
		{Clause: "RT-05", Does: "does not name what it did not find", Hooks: func() *hooks {
			return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
				w, err := s.Load(ctx, id)
				if errors.Is(err, stabilize.ErrNotFound) {
					err = fmt.Errorf("loading: %w", stabilize.ErrNotFound)
				}
				return w, err
			}}
		}},
		{Clause: "RT-06", Does: "takes every failure for absence", Also: []string{"BI-06", "CB-02", "CX-01", "CX-02"}, May: []string{"CR-08"}, Hooks: summarized(func(h *stabilize.Header, err error) (*stabilize.Header, error) {
			if err != nil {
				return nil, &stabilize.NotFoundError{Kind: "workflow", ID: "nobody"}
			}
			return h, nil
		})},
		{Clause: "RT-07", Does: "leaves the reason out of a header read alone", Also: []string{"RT-01", "RT-12", "TM-02", "TM-03", "TM-04"}, Hooks: summarized(func(h *stabilize.Header, err error) (*stabilize.Header, error) {
			if h != nil {
				h.ConfigVersion = ""
			}
			return h, err
		})},
		{Clause: "RT-08", Does: "orders stages by id", Also: []string{"AC-01", "BI-04", "IS-01", "LP-03", "RT-21", "RT-22", "RT-25"}, Hooks: loaded(func(w *stabilize.Workflow) {
			slices.SortFunc(w.Stages, func(a, b *stabilize.Stage) int { return strings.Compare(a.ID, b.ID) })
		})},
		{Clause: "RT-09", Does: "drops requisites that name no stage", Also: []string{"BI-04", "JS-06", "JS-07", "JS-11", "RT-01", "RT-10", "RT-12", "RT-17", "RT-26", "TM-02", "TM-03", "TM-04"}, Hooks: loaded(func(w *stabilize.Workflow) {
			for _, s := range w.Stages {
				s.Requisites = slices.DeleteFunc(s.Requisites, func(ref string) bool { return w.StageByRef(ref) == nil })
			}
		})},
		{Clause: "RT-10", Does: "never updates how often a task was polled", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Expect == 0 || c.Validate() != nil {
				return one(s, ctx, c)
			}
			old, err := s.Load(ctx, c.WorkflowID)
			if err != nil {
				return one(s, ctx, c)
			}
			copied := copyCommit(c)
			for _, st := range copied.Stages {
				for _, t := range st.Tasks {
					if was := old.Stage(st.ID); was != nil && was.Task(t.ID) != nil {
						t.Polls = was.Task(t.ID).Polls
					}
				}
			}
			return one(s, ctx, copied)
		})},
		{Clause: "RT-11", Does: "silently drops a changed creation time", Also: []string{"AC-02", "AC-03", "AC-04"}, Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Expect > 0 && c.Header != nil {
				if old, err := s.Summary(ctx, c.WorkflowID); err == nil {
					c = copyCommit(c)
					c.Header.CreatedAt = old.CreatedAt
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "RT-12", Does: "hands out what it keeps", Hooks: func() *hooks {
			var kept locked[string, *stabilize.Workflow]
			return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
				w, err := s.Load(ctx, id)
				if err != nil {
					return nil, err
				}
				key := fmt.Sprintf("%s@%d of %s", id, w.Version, w.CreatedAt)
				if old, ok := kept.get(key); ok {
					return old, nil
				}
				kept.set(key, w)
				return w, nil
			}}
		}},
		{Clause: "RT-13", Does: "leaves a deleted workflow's messages", Also: []string{"AC-02", "AC-03", "AC-04", "CR-10", "RT-15", "RT-16"}, Hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error {
				var left []queue.Outgoing
				for _, id := range ids {
					stored, _ := s.Pending(ctx, id)
					for _, m := range stored {
						left = append(left, queue.Outgoing{ID: m.ID, Message: m.Message, At: m.Due})
					}
				}
				if err := s.Delete(ctx, ids...); err != nil {
					return err
				}
				return s.Push(ctx, left...)
			}}
		}},
		{Clause: "RT-15", Does: "finds it an error to delete what is not there", Also: []string{"AC-02", "AC-03", "AC-04", "BI-06", "CR-10"}, Hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error {
				for _, id := range ids {
					if _, err := s.Summary(ctx, id); err != nil {
						return err
					}
				}
				return s.Delete(ctx, ids...)
			}}
		}},
		{Clause: "RT-16", Does: "goes on with the version of a deleted workflow", Also: []string{"AC-02", "AC-03", "AC-04"}, Hooks: func() *hooks {
			var deleted locked[string, bool]
			h := commits(func(s store, ctx ctxt, c *persistence.Commit) error {
				err := one(s, ctx, c)
				if was, _ := deleted.get(c.WorkflowID); err == nil && was && c.Expect == 0 {
					return one(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Expect: 1})
				}
				return err
			})()
			h.Delete = func(s store, ctx ctxt, ids []string) error {
				for _, id := range ids {
					deleted.set(id, true)
				}
				return s.Delete(ctx, ids...)
			}
			return h
		}},
		{Clause: "RT-17", Does: "removes the stage behind a removed one too", Also: []string{"OC-07", "RT-22"}, Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if w, err := s.Load(ctx, c.WorkflowID); err == nil && len(c.Removed) == 1 {
				for i, st := range w.Stages[:max(len(w.Stages)-1, 0)] {
					if next := w.Stages[i+1].ID; st.ID == c.Removed[0] && !slices.ContainsFunc(c.Stages, func(x *stabilize.Stage) bool { return x.ID == next }) {
						c = copyCommit(c)
						c.Removed = append(c.Removed, next)
						break
					}
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "RT-18", Does: "writes the stages of a commit that lost, and says so", Also: []string{"AC-13", "CR-01", "OC-02", "OC-06", "OC-09"}, May: []string{"CR-08", "IS-01", "OC-08", "OC-12"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrConflict) && len(c.Stages) > 0 && c.Expect == 1 {
				_ = force(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Stages: c.Stages})
			}
			return err
		})},
		{Clause: "RT-19", Does: "lets a foreign-key error through", Also: []string{"AC-20", "BI-09", "RT-05"}, May: []string{"OC-17"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNotFound) {
				return errors.New("FOREIGN KEY constraint failed")
			}
			return err
		})},
		{Clause: "RT-20", Does: "forgets the places when it is opened anew", Also: []string{"AC-01", "CR-04"}, Hooks: func() *hooks {
			var reopened locked[bool, bool]
			return &hooks{
				Reopened: func() { reopened.set(true, true) },
				Admissions: func(s store, ctx ctxt, key string) (persistence.Admissions, error) {
					a, err := s.Admissions(ctx, key)
					if yes, _ := reopened.get(true); yes {
						a = persistence.Admissions{}
					}
					return a, err
				},
			}
		}},
		{Clause: "RT-21", Does: "lists synthetic stages in the reverse order", Hooks: loaded(func(w *stabilize.Workflow) {
			var at []int
			for i, s := range w.Stages {
				if s.Owner == stabilize.OwnerAfter {
					at = append(at, i)
				}
			}
			if len(at) == 2 {
				w.Stages[at[0]], w.Stages[at[1]] = w.Stages[at[1]], w.Stages[at[0]]
			}
		})},
		{Clause: "RT-22", Does: "finds stages by the beginning of their id", Also: []string{"RT-24"}, Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if w, err := s.Load(ctx, c.WorkflowID); err == nil && c.Validate() == nil && c.Expect > 0 && len(c.Stages) == 1 {
				for _, other := range w.Stages {
					if other.ID != c.Stages[0].ID && strings.HasPrefix(other.ID, c.Stages[0].ID) {
						c = copyCommit(c)
						twin := other.Clone()
						twin.Context = c.Stages[0].Context
						c.Stages = append(c.Stages, twin)
					}
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "RT-23", Does: "compares applications without case", Also: []string{"PG-01", "PG-05", "RT-24"}, Hooks: matched(strings.EqualFold)},
		{Clause: "RT-24", Does: "compares applications without trailing space", Also: []string{"PG-01", "PG-05"}, Hooks: matched(func(a, b string) bool {
			return strings.TrimRight(a, " ") == strings.TrimRight(b, " ")
		})},
		{Clause: "RT-25", Does: "loads parallel stages in another order each time", Hooks: func() *hooks {
			var turns locked[string, int]
			return loaded(func(w *stabilize.Workflow) {
				n, _ := turns.get(w.ID)
				turns.set(w.ID, n+1)
				if w.StageByRef("join") != nil && len(w.Stages) == 4 && n%2 == 1 {
					a, b := w.Stages[0], w.Stages[1]
					a.Position, b.Position = b.Position, a.Position
					w.Stages[0], w.Stages[1] = b, a
				}
			})()
		}},
		{Clause: "RT-26", Does: "panics at a requisite that names no stage", Also: []string{"BI-04", "JS-06", "JS-07", "JS-11", "RT-01", "RT-02", "RT-03", "RT-07", "RT-09", "RT-10", "RT-12", "RT-17", "RT-20", "RT-22", "TM-02", "TM-03", "TM-04"}, Hooks: loaded(func(w *stabilize.Workflow) {
			for _, s := range w.Stages {
				for _, ref := range s.Requisites {
					_ = w.StageByRef(ref).ID
				}
			}
		})},
	}
}

func mutantsOfVersions() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "OC-01", Does: "gives every stage the version of the workflow", Also: []string{"OC-07", "OC-15", "OC-16", "RT-10", "RT-17", "RT-22"}, Hooks: loaded(func(w *stabilize.Workflow) {
			for _, s := range w.Stages {
				s.Version = w.Version
			}
		})},
		{Clause: "OC-02", Does: "stores the messages of a commit that lost", Also: []string{"AC-02", "AC-06", "AC-20", "OC-03"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrConflict) {
				_ = s.Push(ctx, c.Messages...)
			}
			return err
		})},
		{Clause: "OC-03", Does: "refuses a whole batch for one stale commit", Hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				for _, c := range cs {
					if c != nil && c.WorkflowID != "" && c.Expect > 0 && len(cs) == 3 && c.Expect != at(s, ctx, c.WorkflowID) {
						errs := make([]error, len(cs))
						for i, c := range cs {
							errs[i] = &stabilize.ConflictError{WorkflowID: c.WorkflowID, Expected: c.Expect}
						}
						return errs
					}
				}
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{Clause: "OC-04", Does: "raises the caller's version though it refused", Also: []string{"AC-04"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if c.Header != nil && errors.Is(err, stabilize.ErrConflict) {
				c.Header.Version++
			}
			return err
		})},
		{Clause: "OC-05", Does: "now and then raises the version by two", Also: []string{"AC-05", "OC-12", "RT-10"}, May: []string{"CB-03", "IS-01"}, Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			err := one(s, ctx, c)
			if err == nil && c.Expect == 13 {
				return one(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Expect: 14})
			}
			return err
		})},
		{Clause: "OC-06", Does: "applies both of two commits from one version in one batch", May: []string{"BI-02"}, Hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				if len(cs) == 2 && cs[0] != nil && cs[1] != nil && cs[0].WorkflowID == cs[1].WorkflowID && cs[0].Expect == cs[1].Expect && cs[0].Expect > 0 {
					next := *cs[1]
					next.Expect++
					cs = []*persistence.Commit{cs[0], &next}
				}
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{Clause: "OC-07", Does: "refreshes with all stages whatever changed", Hooks: func() *hooks {
			return &hooks{Refresh: func(s store, ctx ctxt, id string, _ int64) (*persistence.Delta, error) {
				return s.(persistence.Refresher).Refresh(ctx, id, 0)
			}}
		}},
		{Clause: "OC-08", Does: "tells the losers of a race that they won", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrConflict) && c.Header != nil && (c.Header.Reason == "0" || c.Header.Reason == "1") {
				return nil
			}
			return err
		})},
		{Clause: "OC-09", Does: "does not say which version it found", Also: []string{"AC-13"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrConflict) {
				return fmt.Errorf("committing %s: %w", c.WorkflowID, stabilize.ErrConflict)
			}
			return err
		})},
		{Clause: "OC-10", Does: "lets a stale status update through", May: []string{"OC-11"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrConflict) && c.Header != nil && c.Header.Status == stabilize.Paused && len(c.Messages) == 0 {
				return force(s, ctx, c)
			}
			return err
		})},
		{Clause: "OC-11", Does: "drops a cancel request that comes with version 1", Also: []string{"OC-10"}, Hooks: edited(func(c *persistence.Commit) {
			if c.Header != nil && c.Header.Cancel != nil && c.Header.Cancel.By == "someone" {
				c.Header.Cancel = nil
			}
		})},
		{Clause: "OC-12", Does: "swallows an addition", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Expect == 20 && len(c.Stages) == 1 && c.Stages[0].Context.Has("n") {
				return one(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Expect: c.Expect})
			}
			return one(s, ctx, c)
		})},
		{Clause: "OC-13", Does: "keeps versions in 32 bits", Hooks: edited(func(c *persistence.Commit) {
			if c.Expect == 1<<32+1 {
				c.Expect = 1
			}
		})},
		{Clause: "OC-14", Does: "keeps versions as floats", Hooks: loaded(func(w *stabilize.Workflow) { w.Version = int64(float64(w.Version)) })},
		{Clause: "OC-15", Does: "does not raise the version for a commit without state", Also: []string{"AC-20", "AC-21"}, Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.WorkflowID != "" && c.Expect == 2 && c.Header == nil && len(c.Stages)+len(c.Removed) == 0 && c.Admission == nil && len(c.Messages) > 0 {
				return one(s, ctx, &persistence.Commit{Messages: c.Messages})
			}
			return one(s, ctx, c)
		})},
		{Clause: "OC-16", Does: "refuses the second of two commits in turn", May: []string{"BI-02"}, Hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				errs := s.CommitBatch(ctx, cs)
				if len(cs) == 2 && cs[0] != nil && cs[1] != nil && cs[0].WorkflowID == cs[1].WorkflowID && cs[1].Expect == cs[0].Expect+1 {
					errs[1] = &stabilize.ConflictError{WorkflowID: cs[1].WorkflowID}
				}
				return errs
			}}
		}},
	}
}

func mutantsOfCommits() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "AC-01", Does: "forgets the third message of a commit", Also: []string{"AC-13"}, Hooks: edited(func(c *persistence.Commit) {
			if len(c.Messages) == 3 && c.Messages[2].ID == "rich-3" {
				c.Messages = c.Messages[:2]
			}
		})},
		{Clause: "AC-02", Does: "acknowledges for a commit that got no place", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNoPlace) && len(c.Handled) > 0 {
				_ = s.Ack(ctx, c.Handled...)
			}
			return err
		})},
		{Clause: "AC-03", Does: "does not name the message whose lease was lost", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrLeaseLost) {
				return stabilize.ErrLeaseLost
			}
			return err
		})},
		{Clause: "AC-04", Does: "writes the new version into what it was given", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			err := one(s, ctx, c)
			if err == nil && c.Header != nil && c.Expect > 0 {
				c.Header.Version = c.Expect + 1
			}
			return err
		})},
		{Clause: "AC-05", Does: "shows some stages as they were before", Hooks: loaded(func(w *stabilize.Workflow) {
			if len(w.Stages) == 3 && strings.HasPrefix(w.Reason, "m") && w.Version > 1 {
				w.Stages[2].Context = nil
			}
		})},
		{Clause: "AC-06", Does: "delivers a message of a refused commit", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if c.Expect > 100 && len(c.Messages) == 1 && strings.HasPrefix(c.Messages[0].ID, "refused") {
				_ = s.Push(ctx, c.Messages...)
			}
			return err
		})},
		{Clause: "AC-07", Does: "does not push with a creation", Hooks: edited(func(c *persistence.Commit) {
			if c.WorkflowID != "" && c.Expect == 0 && len(c.Messages) == 1 && c.Messages[0].ID == "first" {
				c.Messages = nil
			}
		})},
		{Clause: "AC-08", Does: "answers an empty batch with an empty list", Hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				if len(cs) == 0 {
					return []error{}
				}
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{Clause: "AC-09", Does: "looks before it checks", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Expect > 0 {
				if _, err := s.Summary(ctx, c.WorkflowID); errors.Is(err, stabilize.ErrNotFound) {
					return err
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "AC-11", Does: "lets a deadlock through", Hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				if len(cs) == 2 && cs[0] != nil && cs[1] != nil && cs[0].WorkflowID == "B" {
					err := errors.New("deadlock detected")
					return []error{err, err}
				}
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{Clause: "AC-12", Does: "lets a locked database through", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Expect == 2 && c.Header != nil && c.Header.Reason == "x" && len(c.Messages) == 1 {
				return errors.New("database is locked")
			}
			return one(s, ctx, c)
		})},
		{Clause: "AC-13", Does: "applies a repeated commit once more", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			var conflict *stabilize.ConflictError
			if errors.As(err, &conflict) && conflict.Actual == c.Expect+1 && c.Header != nil {
				if h, e := s.Summary(ctx, c.WorkflowID); e == nil && h.Reason == c.Header.Reason && h.Reason == "rich" {
					return nil
				}
			}
			return err
		})},
		{Clause: "AC-14", Does: "has no room for 80 items", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if len(c.Stages)+len(c.Messages) >= 80 {
				return &stabilize.TooLargeError{What: "commit", Size: 80, Max: 79}
			}
			return one(s, ctx, c)
		})},
		{Clause: "AC-17", Does: "does not discard what another holds", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if len(c.Discard) > 0 {
				c = copyCommit(c)
				stored, _ := s.Pending(ctx, "")
				c.Discard = slices.DeleteFunc(c.Discard, func(id string) bool {
					return slices.ContainsFunc(stored, func(m queue.Stored) bool { return m.ID == id && m.Leased })
				})
			}
			return one(s, ctx, c)
		})},
		{Clause: "AC-18", Does: "does not acknowledge in a commit that names no workflow", Hooks: edited(func(c *persistence.Commit) {
			if c.WorkflowID == "" && len(c.Handled) == 1 && len(c.Messages) == 2 && c.Messages[0].ID == "out" {
				c.Handled = nil
			}
		})},
	}
}

func mutantsOfClaims() []mutant.Mutation {
	unleased := func(s store, ctx ctxt, c *persistence.Commit) error {
		free := *c
		free.Handled = nil
		return one(s, ctx, &free)
	}
	unlimited := func(s store, ctx ctxt, c *persistence.Commit) error {
		free := *c
		free.Admission = nil
		return one(s, ctx, &free)
	}
	leave := func(s store, ctx ctxt, id, key string) {
		_ = force(s, ctx, &persistence.Commit{WorkflowID: id, Admission: place(persistence.LeavePlace, key, 1)})
	}
	return []mutant.Mutation{
		{Clause: "CL-01", Does: "takes any token for a lease", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrLeaseLost) && c.Header != nil && c.Header.Reason == "late" {
				return unleased(s, ctx, c)
			}
			return err
		})},
		{Clause: "CL-02", Does: "counts, then starts", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNoPlace) && strings.HasPrefix(c.Admission.Key, "key") && c.Header != nil {
				return unlimited(s, ctx, c)
			}
			return err
		})},
		{Clause: "CL-03", Does: "starts what it refused a place", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNoPlace) && c.Header != nil && c.Header.Reason == "started" {
				_ = one(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Expect: c.Expect, Header: c.Header})
			}
			return err
		})},
		{Clause: "CL-04", Does: "keeps the place of a refused commit", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if c.Admission != nil && errors.Is(err, stabilize.ErrConflict) && c.Header == nil {
				_ = force(s, ctx, &persistence.Commit{WorkflowID: c.WorkflowID, Admission: c.Admission})
			}
			return err
		})},
		{Clause: "CL-05", Does: "keeps keys in lower case", Hooks: edited(func(c *persistence.Commit) {
			if c.Admission != nil && len(c.Admission.Key) == 1 {
				c.Admission.Key = strings.ToLower(c.Admission.Key)
			}
		})},
		{Clause: "CL-06", Does: "reclaims the place of one that is paused", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if !errors.Is(err, stabilize.ErrNoPlace) {
				return err
			}
			a, _ := s.Admissions(ctx, c.Admission.Key)
			for _, id := range a.Holding {
				if h, e := s.Summary(ctx, id); e == nil && h.Status == stabilize.Paused {
					leave(s, ctx, id, c.Admission.Key)
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "CL-07", Does: "lets all reclaim who ask", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNoPlace) && regexp.MustCompile(`^k\d$`).MatchString(c.Admission.Key) {
				return unlimited(s, ctx, c)
			}
			return err
		})},
		{Clause: "CL-08", Does: "frees a place for each that gives one back, held or not", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Admission != nil && c.Admission.Op == persistence.LeavePlace {
				if a, _ := s.Admissions(ctx, c.Admission.Key); !slices.Contains(a.Holding, c.WorkflowID) && !slices.Contains(a.Waiting, c.WorkflowID) && len(a.Holding) > 0 {
					leave(s, ctx, a.Holding[0], c.Admission.Key)
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "CL-09", Does: "keeps the limit that the first asked for", Also: []string{"CL-10", "CL-15"}, Hooks: func() *hooks {
			var first locked[string, int]
			return edited(func(c *persistence.Commit) {
				if c.Admission == nil || c.Admission.Op != persistence.TakePlace || c.Validate() != nil {
					return
				}
				if limit, ok := first.get(c.Admission.Key); ok {
					c.Admission.Limit = limit
				} else {
					first.set(c.Admission.Key, c.Admission.Limit)
				}
			})()
		}},
		{Clause: "CL-10", Does: "gives a free place to whoever asks first", Also: []string{"CL-06"}, Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrNoPlace) {
				if a, _ := s.Admissions(ctx, c.Admission.Key); len(a.Holding) < c.Admission.Limit {
					return unlimited(s, ctx, c)
				}
			}
			return err
		})},
		{Clause: "CL-13", Does: "ignores the lease of a message", Also: []string{"BI-02"}, Hooks: edited(func(c *persistence.Commit) {
			for i := range c.Messages {
				c.Messages[i].Lease = nil
			}
		})},
		{Clause: "CL-14", Does: "leases to a worker that is not alive", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			for _, m := range c.Messages {
				if m.Lease != nil && m.Lease.Worker != "" {
					_, _ = s.Heartbeat(ctx, kit.Worker(m.Lease.Worker))
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "CL-15", Does: "lists the limit of the youngest who waits", Hooks: func() *hooks {
			return &hooks{WaitingKeys: func(s store, ctx ctxt) ([]persistence.WaitingKey, error) {
				keys, err := s.(persistence.WaitingKeys).WaitingKeys(ctx)
				for i := range keys {
					keys[i].Limit = 2
				}
				return keys, err
			}}
		}},
		{Clause: "DD-03", Does: "applies a commit whose message is gone", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrLeaseLost) && c.Header != nil && c.Header.Reason == "again" {
				return unleased(s, ctx, c)
			}
			return err
		})},
		{Clause: "DD-04", Does: "lets both of two commits for one message apply", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrLeaseLost) && regexp.MustCompile(`^[xy]\d$`).MatchString(c.WorkflowID) {
				return unleased(s, ctx, c)
			}
			return err
		})},
		{Clause: "OR-05", Does: "stores the messages of a commit backwards", Hooks: edited(func(c *persistence.Commit) {
			if len(c.Messages) == 25 {
				slices.Reverse(c.Messages)
			}
		})},
	}
}

func mutantsOfQueries() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "PG-01", Does: "finds applications by their beginning", Also: []string{"BI-04", "PG-05", "RT-24"}, Hooks: matched(func(want, got string) bool { return strings.HasPrefix(got, want) })},
		{Clause: "PG-02", Does: "lists what has not started last", Also: []string{"PG-09"}, Hooks: queried(func(q persistence.Query, p *persistence.Page) {
			if q.Limit == 0 && q.Token == "" && p.Next == "" {
				slices.SortStableFunc(p.Workflows, func(a, b *stabilize.Header) int { return b.StartedAt.Compare(a.StartedAt) })
			}
		})},
		{Clause: "PG-03", Does: "skips one workflow between pages of two", Also: []string{"TM-06"}, Hooks: queried(func(q persistence.Query, p *persistence.Page) {
			if q.Limit == 2 && q.Token != "" && q.Application == "" && len(q.Statuses) == 0 && q.StartedBefore.IsZero() {
				p.Workflows = p.Workflows[1:]
			}
		})},
		{Clause: "PG-04", Does: "counts pages by offset", Hooks: func() *hooks {
			return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
				if q.Limit != 3 || q.Application != "" {
					return s.Query(ctx, q)
				}
				from, _ := strconv.Atoi(q.Token)
				p, err := s.Query(ctx, persistence.Query{Limit: 1000})
				from, to := min(from, len(p.Workflows)), min(from+3, len(p.Workflows))
				next := strconv.Itoa(to)
				if to == len(p.Workflows) {
					next = ""
				}
				return persistence.Page{Workflows: p.Workflows[from:to], Next: next}, err
			}}
		}},
		{Clause: "PG-05", Does: "starts anew with a token it cannot read", Hooks: func() *hooks {
			return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
				p, err := s.Query(ctx, q)
				if q.Token != "" && errors.Is(err, stabilize.ErrInvalid) && q.Limit > 0 {
					q.Token = ""
					return s.Query(ctx, q)
				}
				return p, err
			}}
		}},
		{Clause: "PG-06", Does: "stops at an id that holds its separator", Hooks: queried(func(q persistence.Query, p *persistence.Page) {
			if n := len(p.Workflows); n > 0 && strings.Contains(p.Workflows[n-1].ID, "|") {
				p.Next = ""
			}
		})},
		{Clause: "PG-07", Does: "takes a page of size 0 for one of 50", Hooks: asked(func(q *persistence.Query) {
			if q.Limit == 0 {
				q.Limit = 50
			}
		})},
		{Clause: "PG-08", Does: "looks at the first status alone", Hooks: asked(func(q *persistence.Query) { q.Statuses = q.Statuses[:min(1, len(q.Statuses))] })},
		{Clause: "PG-09", Does: "ignores the bounds for an application", Hooks: asked(func(q *persistence.Query) {
			if q.Application != "" && !q.StartedBefore.IsZero() {
				q.StartedFrom, q.StartedBefore = time.Time{}, time.Time{}
			}
		})},
		{Clause: "PG-17", Does: "finds what has failed unfinished", Hooks: watched(func(s store, ctx ctxt, ids, found []string) []string {
			for _, id := range ids {
				if h, err := s.Summary(ctx, id); err == nil && h.Status == stabilize.Terminal && !slices.Contains(found, id) {
					found = append(found, id)
				}
			}
			return found
		})},
		{Clause: "PG-17", Does: "finds what was asked for twice twice", Hooks: watched(func(_ store, _ ctxt, ids, found []string) []string {
			return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(found, id) })
		})},
		{Clause: "PG-17", Does: "takes what is not there for unfinished", Hooks: watched(func(s store, ctx ctxt, ids, found []string) []string {
			for _, id := range ids {
				if _, err := s.Summary(ctx, id); errors.Is(err, stabilize.ErrNotFound) && !slices.Contains(found, id) {
					found = append(found, id)
				}
			}
			return found
		})},
		{Clause: "PG-17", Does: "looks at a page of them", Hooks: func() *hooks {
			return &hooks{Unfinished: func(s store, ctx ctxt, ids []string) ([]string, error) {
				if err := persistence.CheckIDs(ids); err != nil {
					return nil, err
				}
				return s.(persistence.Watcher).Unfinished(ctx, ids[:min(len(ids), 40)]...)
			}}
		}},
		{Clause: "PG-17", Does: "takes what it does not know for what cannot be an id", Hooks: func() *hooks {
			return &hooks{Unfinished: func(s store, ctx ctxt, ids []string) ([]string, error) {
				found, err := s.(persistence.Watcher).Unfinished(ctx, ids...)
				if errors.Is(err, stabilize.ErrInvalid) {
					return s.(persistence.Watcher).Unfinished(ctx)
				}
				return found, err
			}}
		}},
		{Clause: "PG-15", Does: "reads each workflow that it lists", Hooks: func() *hooks {
			return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
				p, err := s.Query(ctx, q)
				for _, h := range p.Workflows {
					_, _ = s.Summary(ctx, h.ID)
				}
				return p, err
			}}
		}},
		{Clause: "TM-05", Does: "compares the bounds as local time", Hooks: asked(func(q *persistence.Query) {
			local := func(t time.Time) time.Time {
				if t.IsZero() {
					return t
				}
				return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
			}
			q.StartedFrom, q.StartedBefore = local(q.StartedFrom), local(q.StartedBefore)
		})},
		{Clause: "TM-06", Does: "orders what started together by the caller's nanoseconds", Hooks: queried(func(q persistence.Query, p *persistence.Page) {
			if len(p.Workflows) == 5 && p.Workflows[0].ID == "later" {
				slices.Reverse(p.Workflows[1:])
			}
		})},
	}
}

func mutantsOfValues() []mutant.Mutation {
	replaced := func(old, by string) func() *hooks {
		return values1(func(raw string) string { return strings.ReplaceAll(raw, old, by) })
	}
	instants := func(f func(time.Time) time.Time) func() *hooks {
		return loaded(func(w *stabilize.Workflow) { eachTime(w, func(_ string, t *time.Time) { *t = f(*t) }) })
	}
	return []mutant.Mutation{
		{Clause: "TM-02", Does: "keeps milliseconds", Also: []string{"BI-04", "JS-06", "JS-07", "JS-11", "RT-01", "RT-02", "RT-03", "RT-07", "RT-10", "RT-12", "RT-17", "RT-20", "TM-04"}, Hooks: instants(func(t time.Time) time.Time { return t.Truncate(time.Millisecond) })},
		{Clause: "TM-03", Does: "takes absent for 1970", Also: []string{"BI-01", "LP-03", "OC-07", "RT-02", "RT-07", "RT-08", "RT-10", "RT-16", "RT-17"}, Hooks: instants(func(t time.Time) time.Time {
			if t.IsZero() {
				return time.Unix(0, 0).UTC()
			}
			return t
		})},
		{Clause: "TM-04", Does: "loses times before 1970", Hooks: instants(func(t time.Time) time.Time {
			if t.Unix() < 0 {
				return time.Time{}
			}
			return t
		})},
		{Clause: "JS-01", Does: "reads numbers as floats", Also: []string{"BI-04", "JS-02", "JS-06", "JS-07", "JS-11", "JS-13", "RT-01", "RT-07", "RT-10", "RT-12", "RT-17", "TM-02", "TM-03", "TM-04"}, Hooks: values1(func(raw string) string {
			var x any
			if json.Unmarshal([]byte(raw), &x) != nil {
				return raw
			}
			if f, ok := x.(float64); ok {
				return strconv.FormatFloat(f, 'f', -1, 64)
			}
			return raw
		})},
		{Clause: "JS-02", Does: "writes numbers as it likes", Hooks: values1(func(raw string) string {
			return map[string]string{"-0": "0", "1.0": "1", "1E+2": "100"}[raw] + map[bool]string{true: raw}[raw != "-0" && raw != "1.0" && raw != "1E+2"]
		})},
		{Clause: "JS-03", Does: "stores null for what is no JSON", Also: []string{"JS-05"}, Hooks: edited(func(c *persistence.Commit) {
			for _, s := range c.Stages {
				for k, raw := range s.Outputs {
					if !json.Valid(raw) && !bytes.Contains(raw, []byte("\xff")) {
						s.Outputs[k] = json.RawMessage("null")
					}
				}
			}
		})},
		{Clause: "JS-04", Does: "gives an empty map for no values", Also: []string{"RT-02"}, Hooks: func() *hooks {
			return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
				w, err := s.Load(ctx, id)
				if w != nil && w.Context == nil {
					w.Context = stabilize.Values{}
				}
				return w, err
			}}
		}},
		{Clause: "JS-05", Does: "accepts what it cannot read again", Hooks: loaded(func(w *stabilize.Workflow) {
			for _, v := range valuesOf(w) {
				for k, raw := range *v {
					if bytes.HasPrefix(raw, bytes.Repeat([]byte("["), stabilize.MaxDepth)) {
						delete(*v, k)
					}
				}
			}
		})},
		{Clause: "JS-06", Does: "drops byte order marks", Hooks: replaced("\ufeff", "")},
		{Clause: "JS-07", Does: "drops U+0000", Hooks: replaced(`\u0000`, "")},
		{Clause: "JS-08", Does: "mends invalid UTF-8 on its own", Hooks: edited(func(c *persistence.Commit) {
			if c.Header != nil {
				c.Header.Origin = strings.ToValidUTF8(c.Header.Origin, "\ufffd")
			}
		})},
		{Clause: "JS-09", Does: "reads a dot in a key as a path", Hooks: texts(func(k, raw string) (string, string) {
			if k == "a.b" {
				k = "a"
			}
			return k, raw
		})},
		{Clause: "JS-10", Does: "turns a number into text", Also: []string{"OC-12"}, Hooks: texts(func(k, raw string) (string, string) {
			if k == "n" && raw == "1" {
				raw = `"1"`
			}
			return k, raw
		})},
		{Clause: "JS-11", Does: "escapes <", Hooks: replaced("</b>", `\u003c/b>`)},
		{Clause: "JS-12", Does: "writes bytes in hexadecimal", Hooks: replaced("AAH//jwi", hex.EncodeToString([]byte{0, 1, 0xff}))},
		{Clause: "JS-13", Does: "gives a whole number a fraction", Hooks: texts(func(k, raw string) (string, string) {
			if k == "int" && raw == "1" {
				raw = "1.0"
			}
			return k, raw
		})},
		{Clause: "LP-01", Does: "stops at 64 KiB", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			for _, st := range c.Stages {
				if st != nil && len(st.Context["large"]) >= 1<<16 && len(st.Context["large"]) < 1<<17 {
					return &stabilize.TooLargeError{What: "stage", Size: int64(len(st.Context["large"])), Max: 1 << 16}
				}
			}
			return one(s, ctx, c)
		})},
		{Clause: "LP-02", Does: "does not say how large it was", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if large := (*stabilize.TooLargeError)(nil); errors.As(err, &large) {
				return &stabilize.TooLargeError{What: "stage", Max: large.Max}
			}
			return err
		})},
		{Clause: "LP-03", Does: "loads at most 29 stages", Also: []string{"AC-14"}, Hooks: loaded(func(w *stabilize.Workflow) { w.Stages = w.Stages[:min(29, len(w.Stages))] })},
		{Clause: "LP-06", Does: "puts the payload into the error", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrExists) && len(c.Stages) > 0 {
				return fmt.Errorf("%w: %s", err, c.Stages[0].Context["k"])
			}
			return err
		})},
	}
}

func mutantsOfTheRest() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "BI-01", Does: "cuts a ref that is too long", Hooks: edited(func(c *persistence.Commit) {
			for _, s := range c.Stages {
				s.Ref = s.Ref[:min(len(s.Ref), stabilize.MaxIDLength)]
			}
		})},
		{Clause: "BI-02", Does: "panics at a nil commit", Also: []string{"AC-20", "BI-09"}, Hooks: func() *hooks {
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				for _, c := range cs {
					_ = c.WorkflowID
				}
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{Clause: "BI-03", Does: "takes a negative timeout for none", Hooks: edited(func(c *persistence.Commit) {
			for _, s := range c.Stages {
				s.Timeout = max(s.Timeout, 0)
			}
		})},
		{Clause: "BI-04", Does: "deletes what is like an id", Hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error {
				if slices.Contains(ids, "%") {
					p, _ := s.Query(ctx, persistence.Query{Limit: 1000})
					for _, h := range p.Workflows {
						ids = append(ids, h.ID)
					}
				}
				return s.Delete(ctx, ids...)
			}}
		}},
		{Clause: "BI-05", Does: "drops a requisite on oneself", Hooks: edited(func(c *persistence.Commit) {
			for _, s := range c.Stages {
				s.Requisites = slices.DeleteFunc(s.Requisites, func(ref string) bool { return ref == s.Ref })
			}
		})},
		{Clause: "BI-06", Does: "gives a zero workflow for a corrupt row", Hooks: func() *hooks {
			return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
				w, err := s.Load(ctx, id)
				if errors.Is(err, stabilize.ErrCorrupt) {
					return &stabilize.Workflow{Header: stabilize.Header{ID: id}}, nil
				}
				return w, err
			}}
		}},
		{Clause: "BI-09", Does: "returns errors of two classes", Hooks: func() *hooks {
			return &hooks{Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
				w, err := s.Load(ctx, id)
				if errors.Is(err, stabilize.ErrNotFound) {
					err = errors.Join(err, stabilize.ErrInvalid)
				}
				return w, err
			}}
		}},
		{Clause: "IS-01", Does: "reads one stage after the other", Hooks: loaded(func(w *stabilize.Workflow) {
			if b := w.StageByRef("B"); b != nil && w.StageByRef("between") != nil && w.Version > 1 {
				b.Context = nil
			}
		})},
		{Clause: "IS-04", Does: "loses a commit of many at once", Hooks: commits(func(s store, ctx ctxt, c *persistence.Commit) error {
			if c.Header != nil && c.Header.Reason == "17.1" {
				return nil
			}
			return one(s, ctx, c)
		})},
		{Clause: "IS-05", Does: "reads from a cache of the handle's own", Hooks: func() *hooks {
			type key struct {
				s  store
				id string
			}
			var cache locked[key, *stabilize.Header]
			return &hooks{Summary: func(s store, ctx ctxt, id string) (*stabilize.Header, error) {
				return s.Summary(ctx, id)
			}, Load: func(s store, ctx ctxt, id string) (*stabilize.Workflow, error) {
				w, err := s.Load(ctx, id)
				if err != nil {
					return nil, err
				}
				if old, ok := cache.get(key{s, id}); ok && w.Version == 2 && w.Reason == "two" && len(w.Stages) == 1 {
					w.Header = *old.Clone()
				}
				cache.set(key{s, id}, w.Header.Clone())
				return w, nil
			}, CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				errs := s.CommitBatch(ctx, cs)
				for i, err := range errs {
					if c := cs[i]; err == nil && c.Header != nil {
						h := c.Header.Clone()
						h.Version = c.Expect + 1
						cache.set(key{s, c.WorkflowID}, h)
					}
				}
				return errs
			}}
		}},
		{Clause: "CX-01", Does: "deletes though it was canceled", Also: []string{"CX-02", "CX-05"}, Hooks: func() *hooks {
			return &hooks{Delete: func(s store, ctx ctxt, ids []string) error { return s.Delete(context.WithoutCancel(ctx), ids...) }}
		}},
		{Clause: "CX-05", Does: "is poisoned by a canceled call", May: []string{"CX-02"}, Hooks: func() *hooks {
			var poisoned locked[store, bool]
			return &hooks{CommitBatch: func(s store, ctx ctxt, cs []*persistence.Commit) []error {
				if bad, _ := poisoned.get(s); bad && ctx.Err() == nil {
					return slices.Repeat([]error{fmt.Errorf("connection: %w", stabilize.ErrTransient)}, len(cs))
				}
				poisoned.set(s, ctx.Err() != nil)
				return s.CommitBatch(ctx, cs)
			}}
		}},
		{Clause: "CB-01", Does: "finds it an error to close twice", Hooks: func() *hooks {
			var closed locked[store, bool]
			return &hooks{Close: func(s store) error {
				if was, _ := closed.get(s); was {
					return stabilize.ErrClosed
				}
				closed.set(s, true)
				return s.Close()
			}}
		}},
		{Clause: "CB-02", Does: "answers queries after Close", Hooks: func() *hooks {
			return &hooks{Query: func(s store, ctx ctxt, q persistence.Query) (persistence.Page, error) {
				p, err := s.Query(ctx, q)
				if errors.Is(err, stabilize.ErrClosed) {
					err = nil
				}
				return p, err
			}}
		}},
		{Clause: "CB-03", Does: "loses what comes while it is closed", Hooks: failed(func(s store, ctx ctxt, c *persistence.Commit, err error) error {
			if errors.Is(err, stabilize.ErrClosed) && c.Header != nil && c.Header.Reason == "x" && len(c.Stages) == 1 {
				return nil
			}
			return err
		})},
	}
}
