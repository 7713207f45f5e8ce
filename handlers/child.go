package handlers

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// DefaultMaxDepth is how many workflows may stand above one that a task starts.
const DefaultMaxDepth = 100

// childID is the id of the workflow that a task starts: the same however often
// the task answers, so that it is started once.
func childID(t *stabilize.Task) string {
	sum := sha256.Sum256([]byte("child of " + t.ID))
	return "C" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])[:31]
}

// startChild starts the workflow that a task answered with, in the commit that
// takes the answer, and lets the task wait for it or end.
func (x *Decision) startChild(s *stabilize.Stage, t *stabilize.Task, r stabilize.Result) error {
	w := x.Workflow()
	fail := func(code, format string, args ...any) error {
		x.completeTask(s, t, stabilize.Terminal, &stabilize.Failure{Code: code, Message: fitText(fmt.Sprintf(format, args...))})
		return nil
	}
	child, err := r.Child.Build(x.env.IDs, x.now)
	if err == nil {
		err = x.env.Registry.Check(child)
	}
	if err != nil {
		return fail(stabilize.CodeInvalidResult, "the workflow to start: %v", err)
	}
	depth := 1
	if w.Parent != nil {
		depth = w.Parent.Depth + 1
	}
	if depth > x.env.MaxDepth {
		return fail(stabilize.CodeDepth, "%d workflows stand above the one to start, the most is %d", depth, x.env.MaxDepth)
	}
	child.ID = childID(t)
	child.Parent = &stabilize.ParentTask{WorkflowID: w.ID, StageID: s.ID, TaskID: t.ID, Waits: r.Status == stabilize.Suspended, Depth: depth}
	t.Waiting().Child = child.ID
	// The message has the child's id, so that abandonChild can take it back.
	x.out = append(x.out, queue.Outgoing{
		ID:      child.ID,
		Message: queue.CreateWorkflow{OfWorkflow: queue.ToWorkflow(child.ID), Header: child.Header, Stages: child.Stages},
	})
	if !child.Parent.Waits {
		if err := s.Outputs.Set("child", child.ID); err != nil {
			return err
		}
		x.completeTask(s, t, stabilize.Succeeded, nil)
		return nil
	}
	return x.awaitChild(s, t)
}

func (x *Decision) awaitChild(s *stabilize.Stage, t *stabilize.Task) error {
	if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Suspended); err != nil {
		return err
	}
	if s.Status == stabilize.Paused {
		return nil
	}
	_, err := x.SetStageStatus(s.ID, stabilize.Suspended)
	return err
}

// waitsFor returns the task of a stage that waits for a workflow, or did.
func waitsFor(s *stabilize.Stage, child string) *stabilize.Task {
	for _, t := range s.Tasks {
		if t.Waits().Child == child {
			return t
		}
	}
	return nil
}

// abandonChild cancels the workflow that a task waits for and will not any more.
// One that has not been created yet never is: its message could otherwise be
// handled after the cancelling, by another worker.
func (x *Decision) abandonChild(t *stabilize.Task) {
	if child := t.Waits().Child; child != "" && t.Status == stabilize.Suspended {
		x.Discard(child)
		x.Push(queue.CancelWorkflow{OfWorkflow: queue.ToWorkflow(child), User: "system", Reason: stabilize.ReasonParentEnded})
	}
}

// ReportEnd promises: the task that waits for this workflow hears of its end
// (again). A restarted parent asks, because it may have dropped the news of the
// end that it is to wait for. Of a workflow that was removed meanwhile it hears
// that there is none (see unanswered).
func ReportEnd() Handler { return Handle(reportEnd) }

func reportEnd(x *Decision, _ queue.ReportEnd) error {
	if w := x.Workflow(); w.Status.IsComplete() {
		x.tellParent(w.Version)
	}
	return nil
}

// tellParent tells the task that waits for this workflow how it ended, with the
// version at which it had: what was restarted since is newer.
func (x *Decision) tellParent(version int64) {
	w := x.Workflow()
	p := w.Parent
	if p == nil || !p.Waits {
		return
	}
	m := queue.ChildEnded{
		OfTask: queue.ToTask(p.WorkflowID, p.StageID, p.TaskID), Child: w.ID, Version: version, Status: w.Status, Failure: w.Failure,
	}
	if w.Status == stabilize.Succeeded {
		m.Outputs = w.Result()
		// What cannot be sent must not keep the child from ending.
		if size, most, ok := x.env.room(m.Outputs); !ok {
			err := &stabilize.TooLargeError{What: "outputs of workflow " + w.ID, Size: size, Max: most}
			m.Status, m.Outputs = stabilize.Terminal, nil
			m.Failure = &stabilize.Failure{Code: stabilize.CodeInvalidResult, Message: errorText(err)}
		}
	}
	x.Push(m)
}

// rejoinChild makes the new round of a restarted stage wait for a workflow that
// was restarted itself at that version, in the task whose place that has.
func (x *Decision) rejoinChild(old *stabilize.Stage, child string, version int64) error {
	if child == "" {
		return nil
	}
	at := -1
	for i, t := range old.Tasks {
		if t.Waits().Child == child {
			at = i
		}
	}
	next := x.Workflow().StageByRef(old.Ref)
	if at < 0 || next.ID == old.ID || at >= len(next.Tasks) {
		return nil // it starts one of its own
	}
	s, err := x.SetStageStatus(next.ID, stabilize.Running)
	if err != nil {
		return err
	}
	x.armStage(s)
	s.BeforePlanned = true
	s.Outputs = old.Outputs.Clone()
	s.WriteContext(old.Context)
	for _, t := range s.Tasks[:at] {
		t.Reason = stabilize.ReasonRejoined
		if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Skipped); err != nil {
			return err
		}
	}
	t := s.Tasks[at]
	t.Waiting().Child, t.Waiting().ChildVersion = child, version
	x.Push(queue.ReportEnd{OfWorkflow: queue.ToWorkflow(child), Asker: queue.ToTask(x.Workflow().ID, s.ID, t.ID), Version: version})
	if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Running); err != nil {
		return err
	}
	return x.awaitChild(s, t)
}
