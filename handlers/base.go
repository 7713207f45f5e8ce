package handlers

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Handler decides messages of one kind. Decide must be pure: no I/O, no time
// but x.Now, no chance; it may be called again on a newer snapshot. An error
// takes back everything it did and sends the message round again, with its
// attempt counted.
type Handler interface {
	Kind() string
	Decide(x *Decision, m queue.Message) error
}

// Base is a Handler for messages of type M. Everything a handler needs beside
// its message is on the Decision: snapshot access, validated status changes,
// StartNext, follow-up messages, events with correlation and causation, clock,
// logger. Conflicts with other workers are the Runner's business: it decides
// again with RetryOnConcurrencyError.
type Base[M queue.Message] struct {
	decide func(x *Decision, m M) error
}

// Handle makes a handler of a function, ours or a user's.
func Handle[M queue.Message](decide func(x *Decision, m M) error) Base[M] {
	return Base[M]{decide: decide}
}

// Kind implements Handler.
func (b Base[M]) Kind() string {
	var m M
	return m.Kind()
}

// Decide implements Handler.
func (b Base[M]) Decide(x *Decision, m queue.Message) error {
	typed, ok := m.(M)
	if p, pointer := m.(any).(*M); pointer && p != nil {
		typed, ok = *p, true
	}
	if !ok {
		return fmt.Errorf("%w: a %T was handed to the handler of %s", stabilize.ErrInternal, m, b.Kind())
	}
	return b.decide(x, typed)
}

// Set is the handlers of a program, by kind. Fill it before use; reading it is
// safe for concurrent use.
type Set struct{ byKind map[string]Handler }

// NewSet returns a set with every handler of this package.
func NewSet() *Set {
	s := &Set{byKind: map[string]Handler{}}
	for _, h := range []Handler{
		StartWorkflow(), StartWaitingWorkflows(), CompleteWorkflow(), CancelWorkflow(), TimeoutWorkflow(),
		PauseWorkflow(), ResumeWorkflow(), RescheduleWorkflow(), RetryWorkflow(),
		StartStage(), CompleteStage(), SkipStage(), CancelStage(), AbortStage(), ContinueParentStage(),
		PauseStage(), ResumeStage(), RestartStage(), TimeoutStage(),
		JumpToStage(), SignalStage(), CancelRegion(), AddMultiInstance(), CloseMultiInstance(),
		StartTask(), RunTask(), CompleteTask(), PauseTask(), ResumeTask(),
		CreateWorkflow(), ChildEnded(), ReportEnd(), AcquireLock(), ReleaseLock(), LockGranted(),
		InvalidWorkflowID(), InvalidStageID(), InvalidTaskID(), InvalidTaskType(), DeadLettered(),
	} {
		s.byKind[h.Kind()] = h
	}
	return s
}

// Add adds a handler of the caller's own, for a message kind registered in the
// queue's Registry. It may replace one of ours. A nil handler is ErrInvalid.
func (s *Set) Add(h Handler) error {
	if h == nil {
		return stabilize.Invalid("handler", "is nil")
	}
	s.byKind[h.Kind()] = h
	return nil
}

// For returns the handler of a kind, or ErrNotFound.
func (s *Set) For(kind string) (Handler, error) {
	h, ok := s.byKind[kind]
	if !ok {
		return nil, &stabilize.NotFoundError{Kind: "handler of", ID: kind}
	}
	return h, nil
}

// WithWorkflow runs fn on the workflow unless it has ended, after which nothing
// about it is decided any more; somebody's request is answered with ErrFinished.
func (x *Decision) WithWorkflow(fn func(w *stabilize.Workflow) error) error {
	w := x.Workflow()
	if w.Status.IsComplete() {
		if x.Requested() {
			return fmt.Errorf("workflow %q is %s: %w", w.ID, w.Status, stabilize.ErrFinished)
		}
		return nil
	}
	return fn(w)
}

// WithStage runs fn on the message's stage. A stage that does not exist is
// answered with InvalidStageID, or ErrNotFound if somebody asked; in a workflow
// that has ended nothing is done.
func (x *Decision) WithStage(m interface {
	queue.Message
	Stage() string
	Ref() string
}, fn func(s *stabilize.Stage) error) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		s := x.stageOf(m)
		switch {
		case s != nil:
			return fn(s)
		case x.Requested():
			return &stabilize.NotFoundError{Kind: "stage", ID: m.Stage() + m.Ref()}
		}
		x.Push(queue.InvalidStageID{OfStage: queue.ToStage(w.ID, m.Stage()+m.Ref()), Handling: m.Kind()})
		return nil
	})
}

func (x *Decision) stageOf(m interface {
	Stage() string
	Ref() string
}) *stabilize.Stage {
	if m.Stage() == "" && m.Ref() != "" {
		return x.Workflow().StageByRef(m.Ref())
	}
	return x.Workflow().Stage(m.Stage())
}

// WithTask runs fn on the message's task. A task that does not exist is
// answered with InvalidTaskID, a missing stage as WithStage does.
func (x *Decision) WithTask(m interface {
	queue.Message
	Stage() string
	Ref() string
	Task() string
}, fn func(s *stabilize.Stage, t *stabilize.Task) error) error {
	return x.WithStage(m, func(s *stabilize.Stage) error {
		t := s.Task(m.Task())
		if t == nil && s.Known().Repeated {
			return nil // late, of a task that was made afresh
		}
		if t == nil {
			x.Push(queue.InvalidTaskID{OfTask: queue.ToTask(x.Workflow().ID, s.ID, m.Task()), Handling: m.Kind()})
			return nil
		}
		return fn(s, t)
	})
}
