package enginebench

import (
	"fmt"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// scenario is one way to load the engine.
type scenario struct {
	name      string
	workflows int
	steps     int // of one workflow
	starters  int
	delayed   int // messages in the queue before
	spec      func() *stabilize.WorkflowSpec
}

func scenarioNames() []string { return []string{"B1", "B2", "B3", "B4", "B5", "B6"} }

// scenario returns B1 to B5 in the sizes of the flags; B6 is in size.go.
func (o *options) scenario(name string) scenario {
	sc := scenario{name: name, workflows: 2000, steps: 1, starters: o.starters, spec: func() *stabilize.WorkflowSpec { return chain(1) }}
	switch name {
	case "B2":
		sc.workflows, sc.steps = 200, o.stages
		sc.spec = func() *stabilize.WorkflowSpec { return chain(o.stages) }
	case "B3":
		sc.workflows, sc.steps = 20, o.width+2
		sc.spec = func() *stabilize.WorkflowSpec { return fanOut(o.width) }
	case "B4":
		sc.workflows, sc.starters = 300, 1
	case "B5":
		sc.delayed = o.delayed
	}
	if o.workflows > 0 {
		sc.workflows = o.workflows
	}
	return sc
}

// taskType is the name under which the task of every scenario is registered.
const taskType = "bench"

// chain is n stages, one after the other.
func chain(n int) *stabilize.WorkflowSpec {
	w := stabilize.NewWorkflow("enginebench", "chain")
	for i := range n {
		s := stabilize.NewStage(fmt.Sprint("s", i)).Do(taskType)
		if i > 0 {
			s.After(fmt.Sprint("s", i-1))
		}
		w.Add(s)
	}
	return w
}

// fanOut is a stage, n after it in parallel, and one that joins them.
func fanOut(n int) *stabilize.WorkflowSpec {
	w := stabilize.NewWorkflow("enginebench", "fan-out")
	w.Add(stabilize.NewStage("first").Do(taskType))
	join := stabilize.NewStage("join").Do(taskType)
	for i := range n {
		ref := fmt.Sprint("s", i)
		w.Add(stabilize.NewStage(ref).Do(taskType).After("first"))
		join.After(ref)
	}
	return w.Add(join)
}
