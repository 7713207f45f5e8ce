package handlers

import (
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A task with a timeout is charged what its runs took and the delays after them,
// in the commits that take the answers. What is not charged, because no answer says
// so, does not count: being paused, suspended or put off, lying in the queue or with
// a worker that died. So it needs no commit of its own, nor a look at the clock when
// something is resumed.

// charge uses up some of a task's time, if that is limited.
func (x *Decision) charge(t *stabilize.Task, d time.Duration) {
	if d != 0 && x.timeLeft(t) >= 0 {
		w := t.Waiting()
		w.Used = max(0, w.Used+d)
	}
}

// timeLeft is how much of its time a task has left; less than 0: it is not limited.
func (x *Decision) timeLeft(t *stabilize.Task) time.Duration {
	_, powers, err := x.env.Registry.Task(t.Type)
	if err != nil {
		return -1
	}
	whole := x.env.timeout(powers)
	if whole == 0 {
		return -1
	}
	return max(0, whole-t.Waits().Used)
}

// timeOver ends a task whose time was over while it did not run.
func (x *Decision) timeOver(stageID, taskID string) error {
	t := x.draft.Task(stageID, taskID)
	s := x.Workflow().Stage(stageID)
	t.Run = ""
	_, powers, err := x.env.Registry.Task(t.Type)
	if err != nil {
		return err
	}
	late := &stabilize.TimeoutError{What: whatTask(s, t), After: x.env.timeout(powers)}
	x.failedTask(s, t, &failed{text: errorText(late), code: stabilize.CodeTimeout, timedOut: true})
	return nil
}
