package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A global exclusion key is an aggregate of its own (decision 0017): a workflow
// without stages that is RUNNING while it is held, with the ids of its holder and
// of those who wait in its context, first in first out.

const lockQueue = "queue" // the holder first

// AcquireLock promises: a global key has one holder at a time, and those who
// wait get it in the order in which they asked; asking again changes nothing.
func AcquireLock() Handler { return Handle(acquireLock) }

func acquireLock(x *Decision, m queue.AcquireLock) error {
	line := lockLine(x.Workflow())
	if slices.Contains(line, m.For) {
		if line[0] == m.For { // it may not have been told
			x.Push(queue.LockGranted{OfWorkflow: queue.ToWorkflow(m.For), Key: m.Key})
		}
		return nil
	}
	return x.setLockLine(m.Key, append(line, m.For), line)
}

// ReleaseLock promises: the next in line holds the key; who gives up waiting
// leaves the line.
func ReleaseLock() Handler { return Handle(releaseLock) }

func releaseLock(x *Decision, m queue.ReleaseLock) error {
	line := lockLine(x.Workflow())
	i := slices.Index(line, m.For)
	if i < 0 {
		return nil
	}
	return x.setLockLine(m.Key, slices.Delete(slices.Clone(line), i, i+1), line)
}

func lockLine(w *stabilize.Workflow) []string {
	line, err := stabilize.Get[[]string](w.Context, lockQueue)
	if err != nil {
		return nil
	}
	return line
}

// setLockLine stores the line and tells a new holder.
func (x *Decision) setLockLine(key string, line, before []string) error {
	h := x.draft.Header()
	h.Context = h.Context.Clone()
	if err := h.Context.Set(lockQueue, line); err != nil {
		return err
	}
	if len(line) == 0 {
		return x.SetWorkflowStatus(stabilize.Succeeded)
	}
	if h.Status.IsComplete() {
		if err := x.draft.Reopen(); err != nil {
			return err
		}
	}
	if err := x.SetWorkflowStatus(stabilize.Running); err != nil {
		return err
	}
	if len(before) == 0 || before[0] != line[0] {
		x.Push(queue.LockGranted{OfWorkflow: queue.ToWorkflow(line[0]), Key: key})
	}
	return nil
}

// LockGranted promises: a stage that waits for the key starts; if none does any
// more the key goes on to the next at once.
func LockGranted() Handler { return Handle(lockGranted) }

func lockGranted(x *Decision, m queue.LockGranted) error {
	w := x.Workflow()
	i := slices.IndexFunc(w.Locks, func(l stabilize.Lock) bool { return l.Key == m.Key })
	if w.Status.IsComplete() || i < 0 {
		x.Push(queue.ReleaseLock{OfWorkflow: queue.ToWorkflow(queue.LockID(m.Key)), Key: m.Key, For: w.ID})
		return nil
	}
	if w.Locks[i].Held {
		return nil
	}
	x.draft.Header().Locks[i].Held = true
	offered := false
	for _, s := range w.Excluding(m.Key) {
		offered = x.offer(s) || offered
	}
	if !offered {
		x.releaseLock(m.Key)
		x.completeWorkflow()
	}
	return nil
}

// giveBack is what goes out in place of a message to a workflow that does not
// exist (any more).
func giveBack(m queue.Message) []queue.Outgoing {
	if g, ok := m.(queue.LockGranted); ok {
		return []queue.Outgoing{{Message: queue.ReleaseLock{OfWorkflow: queue.ToWorkflow(queue.LockID(g.Key)), Key: g.Key, For: g.WorkflowID}}}
	}
	return nil
}
