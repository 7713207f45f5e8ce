package handlers

import (
	"slices"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// SignalStage promises: a signal ends the wait of that name that is first in
// line, of its stage or of any, and is consumed once, in order; one that nobody
// waits for is kept if it is persistent, else lost (patterns 23, 24); the same key
// comes once. In the reference (signal_stage.py) any name ends any wait. The
// answer to a request is whether somebody waited.
func SignalStage() Handler { return Handle(signalStage) }

func signalStage(x *Decision, m queue.SignalStage) error {
	return x.WithWorkflow(func(w *stabilize.Workflow) error {
		x.Answer(false)
		signal := stabilize.Signal{Name: m.Name, Key: m.Key, Data: m.Data, At: stabilize.Instant(x.now)}
		if m.StageID != "" || m.StageRef != "" {
			s := x.stageOf(m)
			if s == nil {
				if x.Requested() {
					return &stabilize.NotFoundError{Kind: "stage", ID: m.StageID + m.StageRef}
				}
				x.Logger().Error("a signal for a stage that does not exist", "stage", m.StageID+m.StageRef, "signal", m.Name)
				return nil
			}
			signal.Ref = s.Ref
		}
		if err := m.Data.Check("signal data"); err != nil {
			return err
		}
		if m.Key != "" {
			if i := slices.IndexFunc(w.Signals, func(g stabilize.Signal) bool { return g.Key == m.Key && g.Name == m.Name }); i >= 0 {
				x.Answer(w.Signals[i].Consumed)
				return nil
			}
		}
		s, t := waiting(w, signal)
		if t == nil {
			if m.Persistent {
				h := x.draft.Header()
				h.Signals = append(h.Signals, signal)
			}
			return nil
		}
		x.Answer(true)
		if signal.Key != "" {
			h := x.draft.Header()
			h.Signals = append(h.Signals, stabilize.Signal{Name: signal.Name, Key: signal.Key, Ref: signal.Ref, At: signal.At, Consumed: true})
		}
		return x.deliver(s, t, signal)
	})
}

// waiting returns the first task that waits for the signal.
func waiting(w *stabilize.Workflow, g stabilize.Signal) (*stabilize.Stage, *stabilize.Task) {
	for _, s := range w.Stages {
		if s.Superseded || s.Ending != stabilize.NotStarted || g.Ref != "" && g.Ref != s.Ref || !s.Status.IsActive() || doomed(w, s) {
			continue
		}
		for _, t := range s.Tasks {
			if t.Status == stabilize.Suspended && t.Signal == g.Name && t.Waits().Received == nil {
				return s, t
			}
		}
	}
	return nil, nil
}

// deliver ends a task's wait with a signal. In what is paused the task goes on
// when that is resumed.
func (x *Decision) deliver(s *stabilize.Stage, t *stabilize.Task, g stabilize.Signal) error {
	edit := x.draft.Task(s.ID, t.ID)
	x.Discard(edit.Run)
	edit.Run = ""
	edit.Waiting().Received = &g
	if err := x.choose(s); err != nil {
		return err
	}
	if x.Workflow().Status == stabilize.Running && s.Status != stabilize.Paused {
		return x.wake(s.ID, t.ID)
	}
	return nil
}

// wake runs a task again that was suspended or paused.
func (x *Decision) wake(stageID, taskID string) error {
	s, err := x.SetStageStatus(stageID, stabilize.Running)
	if err != nil {
		return err
	}
	t, err := x.SetTaskStatus(stageID, taskID, stabilize.Running)
	if err != nil {
		return err
	}
	x.sendRun(s, t, stabilize.RunExecute)
	return nil
}

// suspend parks a task until its signal comes, or takes one that was kept.
func (x *Decision) suspend(s *stabilize.Stage, t *stabilize.Task, r stabilize.Result) error {
	t.Signal = r.Signal
	w := x.Workflow()
	i := slices.IndexFunc(w.Signals, func(g stabilize.Signal) bool {
		return !g.Consumed && g.Name == r.Signal && (g.Ref == "" || g.Ref == s.Ref)
	})
	if _, err := x.SetTaskStatus(s.ID, t.ID, stabilize.Suspended); err != nil {
		return err
	}
	if s.Status != stabilize.Paused {
		if _, err := x.SetStageStatus(s.ID, stabilize.Suspended); err != nil {
			return err
		}
	}
	if i >= 0 {
		g := w.Signals[i]
		h := x.draft.Header()
		if g.Key != "" {
			h.Signals[i].Consumed, h.Signals[i].Data = true, nil
		} else {
			h.Signals = slices.Delete(h.Signals, i, i+1)
		}
		return x.deliver(s, t, g)
	}
	if r.After > 0 {
		x.sendRun(s, t, stabilize.RunExecute)
		x.delayRun(t, r.After)
	}
	return nil
}

// doomed reports whether a stage belongs to one that is history or ends.
func doomed(w *stabilize.Workflow, s *stabilize.Stage) bool {
	for p := w.Stage(s.ParentID); p != nil; p = w.Stage(p.ParentID) {
		if p.Superseded || p.Ending != stabilize.NotStarted {
			return true
		}
	}
	return false
}
