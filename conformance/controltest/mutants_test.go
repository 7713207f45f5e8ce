package controltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/mutant"
	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func mutations() []mutant.Mutation {
	return slices.Concat(mutantsOfDelivery(), mutantsOfControl(), mutantsOfEnds(), mutantsOfSignalsAndTimes())
}

func mutantsOfDelivery() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "IR-01", Does: "runs a task for every message that says so", Hooks: decided(func(x *handlers.Decision, m queue.RunTask) error {
			if t := x.Draft().Task(m.StageID, m.TaskID); t != nil && t.Run != "" && x.MessageID() != "" {
				t.Run = x.MessageID()
			}
			return handlers.RunTask().Decide(x, m)
		})},
		{Clause: "IR-02", Does: "starts a stage again that has ended", Also: []string{"IR-08"}, Hooks: decided(func(x *handlers.Decision, m queue.StartStage) error {
			if s := x.Draft().Stage(m.StageID); s != nil && s.Status.IsComplete() {
				s.Status = stabilize.Running
				return nil
			}
			return handlers.StartStage().Decide(x, m)
		})},
		{Clause: "IR-09", Does: "keeps in the queue what a commit discards", Hooks: commits(func(_ persistence.Store, _ context.Context, c *persistence.Commit) *persistence.Commit {
			c.Discard = nil
			return c
		})},
		{Clause: "IR-09", Does: "gives what a dead worker held to two others", Hooks: sharing},
		{Clause: "IR-09", Does: "takes a commit whatever version it was decided on", May: []string{"IR-05", "OR-07", "TM-09", "TM-10"}, Hooks: commits(func(s persistence.Store, ctx context.Context, c *persistence.Commit) *persistence.Commit {
			if h, err := s.Summary(ctx, c.WorkflowID); err == nil && c.Expect > 0 {
				c.Expect = h.Version
			}
			return c
		})},
	}
}

// sharing hands what lapsed to two claims instead of one.
func sharing() *mutant.Hooks {
	var mu sync.Mutex
	var lapsed []queue.Delivery
	return &mutant.Hooks{Claim: func(s persistence.Store, ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
		mu.Lock() // before: the other claim must not end with nothing while this one has not noted what it got
		defer mu.Unlock()
		got, err := s.Claim(ctx, w, room)
		if len(got) == 0 {
			got, lapsed = lapsed, nil
			return got, err
		}
		for _, d := range got {
			if d.Attempts > 1 {
				lapsed = append(lapsed, d)
			}
		}
		return got, err
	}}
}

func mutantsOfControl() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "IR-03", Does: "lets the driver's error through for what does not exist", Hooks: func() *mutant.Hooks {
			return &mutant.Hooks{Load: func(s persistence.Store, ctx context.Context, id string) (*stabilize.Workflow, error) {
				w, err := s.Load(ctx, id)
				if errors.Is(err, stabilize.ErrNotFound) {
					return nil, errors.New("sql: no rows in result set")
				}
				return w, err
			}}
		}},
		{Clause: "IR-04", Does: "keeps the last canceller", Hooks: decided(func(x *handlers.Decision, m queue.CancelWorkflow) error {
			if w := x.Workflow(); w.Cancel != nil && !w.Status.IsComplete() {
				x.Draft().Header().Cancel = &stabilize.Cancellation{By: m.User, Reason: m.Reason, At: w.Cancel.At}
			}
			return handlers.CancelWorkflow().Decide(x, m)
		})},
		{Clause: "IR-05", Does: "ends a running workflow as soon as it is canceled", Also: []string{"IR-02", "IR-04"}, Hooks: decided(func(x *handlers.Decision, m queue.CancelWorkflow) error {
			running := x.Workflow().Status == stabilize.Running
			if err := handlers.CancelWorkflow().Decide(x, m); err != nil || !running {
				return err
			}
			return x.SetWorkflowStatus(stabilize.Canceled)
		})},
		{Clause: "IR-05", Does: "only marks a workflow as canceled that has not begun", Hooks: decided(func(x *handlers.Decision, m queue.CancelWorkflow) error {
			if w := x.Workflow(); w.Status == stabilize.NotStarted || w.Status == stabilize.Buffered {
				x.Draft().Header().Cancel = &stabilize.Cancellation{By: m.User, Reason: m.Reason, At: x.Now()}
				return nil
			}
			return handlers.CancelWorkflow().Decide(x, m)
		})},
		{Clause: "IR-06", Does: "gives an empty reason a default", Hooks: headers(func(h *stabilize.Header) {
			if h.Cancel != nil && h.Cancel.Reason == "" {
				h.Cancel.Reason = "none"
			}
		})},
		{Clause: "IR-07", Does: "resumes what runs", Hooks: decided(func(x *handlers.Decision, m queue.ResumeWorkflow) error {
			if x.Workflow().Status == stabilize.Running {
				return nil
			}
			return handlers.ResumeWorkflow().Decide(x, m)
		})},
		{Clause: "IR-07", Does: "pauses what waits for a signal as a whole", Hooks: decided(func(x *handlers.Decision, m queue.PauseWorkflow) error {
			if x.Workflow().Status == stabilize.Suspended {
				x.Draft().Header().Status = stabilize.Paused
				return nil
			}
			return handlers.PauseWorkflow().Decide(x, m)
		})},
		{Clause: "IR-07", Does: "does not say what the status is", Hooks: decided(func(x *handlers.Decision, m queue.PauseWorkflow) error {
			err := handlers.PauseWorkflow().Decide(x, m)
			if refused, ok := errors.AsType[*stabilize.TransitionError](err); ok {
				refused.From = stabilize.NotStarted
			}
			return err
		})},
	}
}

func mutantsOfEnds() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "IR-08", Does: "resurrects what has ended when it is paused", Also: []string{"IR-07"}, Hooks: decided(func(x *handlers.Decision, m queue.PauseWorkflow) error {
			if x.Workflow().Status.IsComplete() {
				x.Draft().Header().Status = stabilize.Paused
				return nil
			}
			return handlers.PauseWorkflow().Decide(x, m)
		})},
		{Clause: "IR-08", Does: "lets a workflow that has ended run out of time", Hooks: decided(func(x *handlers.Decision, m queue.TimeoutWorkflow) error {
			if x.Workflow().Status.IsComplete() {
				x.Draft().Header().Status = stabilize.Terminal
			}
			return handlers.TimeoutWorkflow().Decide(x, m)
		})},
		{Clause: "IR-08", Does: "restarts a stage in place", Also: []string{"TM-10"}, Hooks: loaded(func(w *stabilize.Workflow) {
			w.Stages = slices.DeleteFunc(w.Stages, func(s *stabilize.Stage) bool { return s.Superseded })
		})},
	}
}

func mutantsOfSignalsAndTimes() []mutant.Mutation {
	return []mutant.Mutation{
		{Clause: "OR-07", Does: "gives back the last signal first", Hooks: headers(func(h *stabilize.Header) { slices.Reverse(h.Signals) })},
		{Clause: "OR-07", Does: "forgets that a signal was consumed", Hooks: commits(func(s persistence.Store, ctx context.Context, c *persistence.Commit) *persistence.Commit {
			h, err := s.Summary(ctx, c.WorkflowID)
			if err == nil && c.Header != nil && len(h.Signals) > len(c.Header.Signals) {
				c.Header.Signals = h.Signals
			}
			return c
		})},
		{Clause: "TM-09", Does: "keeps the length of the last pause only", Hooks: decided(func(x *handlers.Decision, m queue.ResumeWorkflow) error {
			if w := x.Workflow(); w.Status == stabilize.Paused && w.Pause != nil {
				pause := *w.Pause
				pause.Total = 0
				x.Draft().Header().Pause = &pause
			}
			return handlers.ResumeWorkflow().Decide(x, m)
		})},
		{Clause: "TM-09", Does: "cuts paused time to seconds", Hooks: headers(func(h *stabilize.Header) {
			if h.Pause != nil {
				h.Pause.Total -= h.Pause.Total % 1e9
			}
		})},
		{Clause: "TM-10", Does: "takes the creation for the start of what never started", Hooks: headers(func(h *stabilize.Header) {
			if h.StartedAt.IsZero() {
				h.StartedAt = h.CreatedAt
			}
		})},
		{Clause: "TM-10", Does: "gives what never started an end", Hooks: commits(func(_ persistence.Store, _ context.Context, c *persistence.Commit) *persistence.Commit {
			if h := c.Header; h != nil && h.Status.IsComplete() && h.EndedAt.IsZero() && h.Cancel != nil {
				h.EndedAt = h.Cancel.At
			}
			return c
		})},
	}
}

// decided makes a mutation of a handler.
func decided[M queue.Message](decide func(x *handlers.Decision, m M) error) func() *mutant.Hooks {
	return func() *mutant.Hooks {
		return &mutant.Hooks{Handlers: func() *handlers.Set {
			set := handlers.NewSet()
			if err := set.Add(handlers.Handle(decide)); err != nil {
				panic(fmt.Sprintf("a handler of the suite's own test: %v", err))
			}
			return set
		}}
	}
}

// commits makes a mutation of what the store gets, a copy as far as the header.
func commits(change func(s persistence.Store, ctx context.Context, c *persistence.Commit) *persistence.Commit) func() *mutant.Hooks {
	return func() *mutant.Hooks {
		return &mutant.Hooks{CommitBatch: func(s persistence.Store, ctx context.Context, cs []*persistence.Commit) []error {
			changed := make([]*persistence.Commit, len(cs))
			for i, c := range cs {
				copied := *c
				if c.Header != nil {
					copied.Header = c.Header.Clone()
				}
				changed[i] = change(s, ctx, &copied)
			}
			return s.CommitBatch(ctx, changed)
		}}
	}
}

// loaded makes a mutation of what a load returns.
func loaded(change func(w *stabilize.Workflow)) func() *mutant.Hooks {
	return func() *mutant.Hooks {
		return &mutant.Hooks{Load: func(s persistence.Store, ctx context.Context, id string) (*stabilize.Workflow, error) {
			w, err := s.Load(ctx, id)
			if err == nil {
				change(w)
				w.Index()
			}
			return w, err
		}}
	}
}

// headers makes a mutation of every header that is read.
func headers(change func(h *stabilize.Header)) func() *mutant.Hooks {
	return func() *mutant.Hooks {
		hooks := loaded(func(w *stabilize.Workflow) { change(&w.Header) })()
		hooks.Summary = func(s persistence.Store, ctx context.Context, id string) (*stabilize.Header, error) {
			h, err := s.Summary(ctx, id)
			if err == nil {
				change(h)
			}
			return h, err
		}
		return hooks
	}
}
