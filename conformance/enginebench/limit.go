package enginebench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// rawStages is the number of stages of each workflow of the raw limit.
const rawStages = 10

// rawStageSize is about the size of a stage's stored form.
const rawStageSize = 600

// rawWorkflows makes the workflows of the raw limit: one for each commit of a
// group. Step k is of workflow k modulo their number.
func rawWorkflows(now time.Time) []*stabilize.Workflow {
	ids := stabilize.NewIDs(stabilize.SystemClock{}, nil)
	list := make([]*stabilize.Workflow, rawGroup)
	for i := range list {
		w := &stabilize.Workflow{Header: stabilize.Header{ID: ids.New(), Application: "enginebench", Status: stabilize.Running, CreatedAt: now, StartedAt: now}}
		for j := range rawStages {
			s := &stabilize.Stage{
				ID: ids.New(), Ref: fmt.Sprint("s", j), Position: j, Status: stabilize.Running, StartedAt: now,
				Tasks: []*stabilize.Task{{ID: ids.New(), Name: taskType, Type: taskType, Status: stabilize.Running, StartedAt: now}},
			}
			if j > 0 {
				s.Requisites = []string{fmt.Sprint("s", j-1)}
			}
			s.Context = stabilize.Values{"fill": []byte(`"` + strings.Repeat("x", rawStageSize-300) + `"`)}
			w.Stages = append(w.Stages, s)
		}
		list[i] = w
	}
	return list
}

// rawStep is what step k of one workflow changes.
type rawStep struct {
	workflow *stabilize.Workflow
	version  int64 // it is at
	stages   []*stabilize.Stage
	old, new string // ids of the message handled and the one added
	message  queue.RunTask
}

// rawSteps counts the steps of each workflow.
type rawSteps struct {
	workflows []*stabilize.Workflow
	next      int
}

func (r *rawSteps) step() rawStep {
	w, round := r.workflows[r.next%len(r.workflows)], r.next/len(r.workflows)
	r.next++
	first := round % (rawStages - 1)
	s := w.Stages[first+1]
	return rawStep{
		workflow: w, version: int64(round) + 1, stages: w.Stages[first : first+2],
		old: rawMessage(w, round), new: rawMessage(w, round+1),
		message: queue.RunTask{OfTask: queue.ToTask(w.ID, s.ID, s.Tasks[0].ID)},
	}
}

// rawMessage is the id of the message that step number round of w handles.
func rawMessage(w *stabilize.Workflow, round int) string { return fmt.Sprintf("%s-%06d", w.ID, round) }

// rawConnections are those of a crowd.
const rawConnections = 10

// rates measures a limit, in steps per second: single steps, groups, and single steps
// of a crowd, if it is one.
type rates struct{ single, grouped, crowded rate }

// rate is work over time, and the CPU time it took.
type rate struct {
	count     int
	took, cpu time.Duration
}

func (r rate) perSecond() float64 {
	if r.count == 0 {
		return 0
	}
	return perSecond(r.count, r.took)
}

func (r rate) cpuOfOne() float64 { return milliseconds(r.cpu) / float64(r.count) }

func (r *rates) measure(ctx context.Context, l limit, clock stabilize.Clock, single, groups, size, crowded int) error {
	type part struct {
		of *rate
		n  int
		do func(n int) error
	}
	parts := []part{
		{&r.single, single, func(n int) error { return l.steps(ctx, n, 1) }},
		{&r.grouped, groups * size, func(n int) error { return l.steps(ctx, n, size) }},
	}
	if c, ok := l.(crowd); ok {
		parts = append(parts, part{&r.crowded, crowded, func(n int) error { return c.single(ctx, n) }})
	}
	for _, p := range parts {
		began, cpu := clock.Now(), processCPU()
		if err := p.do(p.n); err != nil {
			return fmt.Errorf("raw limit: %w", err)
		}
		p.of.count += p.n
		p.of.took += clock.Now().Sub(began)
		p.of.cpu += processCPU() - cpu
	}
	return nil
}
