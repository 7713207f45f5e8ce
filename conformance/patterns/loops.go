package patterns

import (
	"context"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func loops() []pattern {
	return []pattern{{
		id: 21, name: "Structured Loop", built: "`While(\"index < 3\", max)`, `RepeatUntil(\"done\", max)` with `Do` or `Body`",
		sentence: "A body is repeated while a condition holds, asked before each time, or until one does, asked after.",
		scenarios: []scenario{
			{name: "while, never", play: loop(0, while("false", 0))},
			{name: "while, three times", play: loop(3, while("index < 3", 0))},
			{name: "while, as often as allowed", play: loop(3, while("index < 3", 3))},
			{name: "until, once", play: loop(1, until("true", 0))},
			{name: "until, three times", play: loop(3, until("n == 3", 0))},
			{name: "while, limit", play: loopLimit(while("true", 5))},
			{name: "until, limit", play: loopLimit(until("false", 5))},
			{name: "of several stages", play: loopBody},
			{name: "in a loop", play: loopNested},
			{name: "waiting in it", play: loopWaiting},
			{name: "a failure ends it", play: loopBroken},
			{name: "no variable", play: loopWithout},
		},
	}}
}

// repeat makes a loop of a stage.
type repeat func(s *stabilize.StageSpec) *stabilize.StageSpec

func while(expression string, most int) repeat {
	return func(s *stabilize.StageSpec) *stabilize.StageSpec { return s.While(expression, most) }
}

func until(expression string, most int) repeat {
	return func(s *stabilize.StageSpec) *stabilize.StageSpec { return s.RepeatUntil(expression, most) }
}

// counting is code that puts out one more than it finds in "n".
func counting(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
	n, _ := stabilize.Get[int](x.Context, "n")
	return stabilize.Success().WithOutput("n", n+1), nil
}

// loop is L, whose body is to run n times, between A and B.
func loop(n int, repeated repeat) func(r *run) {
	return func(r *run) {
		r.task("count", counting)
		id := r.start(ok("A"), repeated(doing("count", "L", "A")), ok("B", "L"))
		w := r.succeeds(id, ran("A", "B"), commits(n, "L"))
		if got, _ := stabilize.Get[int](w.StageByRef("L").Outputs, "n"); got != n {
			r.Errorf("the loop put out %v, want n = %d", w.StageByRef("L").Outputs, n)
		}
		for i := range n {
			if c := w.StageByRef(fmt.Sprintf("L[%d]", i)); c == nil || c.Known().Index != i {
				r.Errorf("there is no iteration %d: %s", i, kit.Describe(w))
			}
		}
		r.order("A", "B")
	}
}

func loopLimit(repeated repeat) func(r *run) {
	return func(r *run) {
		r.task("count", counting)
		id := r.start(ok("A"), repeated(doing("count", "L", "A")), ok("B", "L"))
		r.fails(id, stabilize.CodeLoopLimit, ran("A"), ended(5, stabilize.Terminal, "", "L").code(stabilize.CodeLoopLimit), unreached("B"))
	}
}

// loopBody: the body is a graph, and each iteration sees what the one before put
// out.
func loopBody(r *run) {
	r.task("count", counting)
	id := r.start(ok("A"), stabilize.NewStage("L").After("A").While("index < 3", 0).Body(
		doing("count", "S"), ok("T", "S"), ok("U", "S"), ok("V", "T", "U").Do("count")), ok("B", "L"))
	w := r.succeeds(id, ran("A", "B"), commits(0, "L"))
	r.count(id, 3, "L/S", "L/T", "L/U")
	r.count(id, 6, "L/V")
	if n, _ := stabilize.Get[int](w.StageByRef("L").Outputs, "n"); n != 6 {
		r.Errorf("the loop put out %v, want n = 6", w.StageByRef("L").Outputs)
	}
	r.order("A", "L[0]/S", "L[0]/T", "L[0]/V", "L[1]/S", "L[1]/U", "L[1]/V", "L[2]/S", "L[2]/V", "B")
}

// loopNested: a loop in the body of a loop begins afresh each time.
func loopNested(r *run) {
	id := r.start(stabilize.NewStage("L").While("index < 2", 0).Body(ok("M").While("index < 3", 0), ok("N", "M")), ok("B", "L"))
	r.succeeds(id, commits(0, "L"), ran("B"))
	r.count(id, 6, "L/M")
	r.count(id, 2, "L/N")
	r.order("L[0]/M[0]", "L[0]/M[2]", "L[0]/N", "L[1]/M[0]", "L[1]/M[2]", "L[1]/N", "B")
}

// loopWaiting: only one iteration waits at a time.
func loopWaiting(r *run) {
	id := r.start(gate("L").RepeatUntil("index == 2", 0), ok("B", "L"))
	for _, ref := range []string{"L[0]", "L[1]"} {
		r.waits(id, ref)
		r.still(id, "B")
		r.signal(id, ref)
	}
	r.succeeds(id, commits(2, "L"), ran("B"))
}

// loopBroken: the second time fails.
func loopBroken(r *run) {
	r.task("break", func(_ context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		if i, _ := stabilize.Get[int](x.Context, "index"); i == 1 {
			return stabilize.Fail("it broke"), nil
		}
		return stabilize.Success(), nil
	})
	id := r.start(doing("break", "L").While("index < 3", 0), ok("B", "L"))
	r.fails(id, stabilize.CodeTaskFailed, ended(2, stabilize.Terminal, "", "L").code(stabilize.CodeTaskFailed), unreached("B"))
}

func loopWithout(r *run) {
	id := r.start(ok("L").While("more > 0", 0), ok("B", "L"))
	r.fails(id, stabilize.CodeExpression, ended(0, stabilize.Terminal, "", "L").code(stabilize.CodeExpression), unreached("B"))
}
