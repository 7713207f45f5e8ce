package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A global exclusion key is an aggregate of its own (decision 0017): a workflow
// without stages that is RUNNING while it is held, with its holder and those who
// wait in its context, first in first out.

// AcquireLock promises: a global key has one holder at a time, and those who
// wait get it in the order in which they asked; asking again with the same
// ticket changes nothing.
func AcquireLock() Handler { return Handle(acquireLock) }

func acquireLock(x *Decision, m queue.AcquireLock) error {
	line, err := lockLine(x.Workflow())
	if err != nil {
		return err
	}
	if slices.Contains(line, m.LockPlace) {
		if line[0] == m.LockPlace { // it may not have been told
			x.grantLock(m.Key, line[0])
		}
		return nil
	}
	return x.setLockLine(m.Key, append(slices.Clip(line), m.LockPlace), line)
}

// ReleaseLock promises: the next in line holds the key; who gives up waiting
// leaves the line.
func ReleaseLock() Handler { return Handle(releaseLock) }

func releaseLock(x *Decision, m queue.ReleaseLock) error {
	line, err := lockLine(x.Workflow())
	if err != nil {
		return err
	}
	i := slices.Index(line, m.LockPlace)
	if i < 0 {
		return nil
	}
	return x.setLockLine(m.Key, slices.Delete(slices.Clone(line), i, i+1), line)
}

func lockLine(w *stabilize.Workflow) ([]queue.LockPlace, error) {
	if !w.Context.Has(queue.LockLine) {
		return nil, nil
	}
	return stabilize.Get[[]queue.LockPlace](w.Context, queue.LockLine)
}

// setLockLine stores the line and tells a new holder.
func (x *Decision) setLockLine(key string, line, before []queue.LockPlace) error {
	h := x.draft.Header()
	if err := h.Context.Set(queue.LockLine, line); err != nil {
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
		x.grantLock(key, line[0])
	}
	return nil
}

func (x *Decision) grantLock(key string, to queue.LockPlace) {
	x.Push(queue.LockGranted{OfWorkflow: queue.ToWorkflow(to.For), Key: key, Ticket: to.Ticket})
}

// LockGranted promises: a stage that waits for the key starts; if none can, now
// or any more, the key goes on to the next at once. A workflow that is paused
// asks again when it is resumed.
func LockGranted() Handler { return Handle(lockGranted) }

func lockGranted(x *Decision, m queue.LockGranted) error {
	w := x.Workflow()
	i := slices.IndexFunc(w.Locks, func(l stabilize.Lock) bool { return l.Key == m.Key && l.Ticket == m.Ticket })
	if w.Status.IsComplete() || i < 0 {
		x.Push(lockRelease(m.Key, w.ID, m.Ticket))
		return nil
	}
	if w.Locks[i].Held {
		return nil
	}
	x.draft.Header().Locks[i].Held = true
	offered := false
	for _, s := range w.Excluding(m.Key) {
		if w.Status == stabilize.Running && x.parentTakes(s) {
			offered = x.offer(s) || offered
		}
	}
	if !offered {
		x.releaseLock(m.Key)
		x.completeWorkflow()
	}
	return nil
}

func lockRelease(key, workflow, ticket string) queue.ReleaseLock {
	return queue.ReleaseLock{
		OfWorkflow: queue.ToWorkflow(queue.LockID(key)), Key: key,
		LockPlace: queue.LockPlace{For: workflow, Ticket: ticket},
	}
}
