package controltest

import (
	"fmt"
	"slices"

	"github.com/stabilize-dev/go-stabilize/conformance/internal/kit"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Signals: OR-07.
func signals() []check {
	return []check{
		clause("OR-07", "Signals are consumed oldest first, each by exactly one of N concurrent consumers, whether they come before those who wait or after.", signalsInOrder),
	}
}

func signalsInOrder(e *env) {
	a, b := e.both()
	e.keptSignals(a)
	for n := range e.Effort.Of(2, 2) {
		e.consumedAtOnce(a, b, n)
		e.sentAtOnce(a, b, n)
	}
}

// send sends a signal that says n.
func (e *env) send(p *process, id string, n int) (delivered bool, err error) {
	data, err := stabilize.NewValues(map[string]any{"n": n})
	if err != nil {
		return false, err
	}
	return p.Signal(e.Ctx(), id, "go", data)
}

// got is the numbers that the consumers were sent, in the order of the stages.
func (e *env) got(w *stabilize.Workflow) []int {
	e.Helper()
	var out []int
	for _, s := range w.Stages {
		if s.Status != stabilize.Succeeded {
			continue
		}
		n, err := stabilize.Get[int](s.Outputs, "n")
		e.Must(err, "reading what stage %s was sent", s.Ref)
		out = append(out, n)
	}
	return out
}

// left is the numbers of the signals that nobody has consumed, in order.
func (e *env) left(w *stabilize.Workflow) []int {
	e.Helper()
	var out []int
	for _, g := range w.Signals {
		n, err := stabilize.Get[int](g.Data, "n")
		e.Must(err, "reading a signal that is left")
		out = append(out, n)
	}
	return out
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// keptSignals: three stages one after the other take what was sent before.
func (e *env) keptSignals(p *process) {
	e.Helper()
	id := e.start(p, "kept", stage("a", waits), stage("b", waits, "a"), stage("c", waits, "b"))
	for n := range 4 {
		if delivered, err := e.send(p, id, n); err != nil || delivered {
			e.Errorf("a signal that nobody waits for was delivered: %t, %v", delivered, err)
		}
	}
	e.settle(p)
	w := e.status(stabilize.Succeeded, id, "with more signals than it waits for")
	if got, left := e.got(w), e.left(w); !slices.Equal(got, upTo(3)) || !slices.Equal(left, []int{3}) {
		e.Errorf("of four signals three stages in a row consumed %v, and %v are left", got, left)
	}
}

// branches are stages beside each other that wait for the same signal.
func branches(n int) []*stabilize.StageSpec {
	var out []*stabilize.StageSpec
	for i := range n {
		out = append(out, stage(fmt.Sprintf("s%02d", i), waits))
	}
	return out
}

// consumedAtOnce: two processes run the consumers of signals that were sent.
func (e *env) consumedAtOnce(a, b *process, round int) {
	e.Helper()
	n := e.Effort.Size(6, 4)
	id := e.start(a, fmt.Sprint("consumed ", round), branches(n)...)
	for i := range n + 2 {
		_, err := e.send(a, id, i)
		e.Must(err, "signalling")
	}
	e.shift(a, b)
	e.settle(a, b)
	w := e.status(stabilize.Succeeded, id, "with more signals than it waits for")
	got := e.got(w)
	slices.Sort(got)
	if left := e.left(w); !slices.Equal(got, upTo(n)) || !slices.Equal(left, []int{n, n + 1}) {
		e.Errorf("of %d signals %d stages beside each other, run by two processes, consumed %v, and %v are left", n+2, n, got, left)
	}
}

// sentAtOnce: two processes send to consumers that wait.
func (e *env) sentAtOnce(a, b *process, round int) {
	e.Helper()
	n := e.Effort.Size(6, 4) / 2 * 2
	id := e.start(a, fmt.Sprint("sent ", round), branches(n)...)
	e.settle(a)
	for i := range n / 2 {
		numbers := map[*process]int{a: 2 * i, b: 2*i + 1}
		e.Must(kit.First(e.atOnce([]*process{a, b}, func(p *process) error {
			delivered, err := e.send(p, id, numbers[p])
			if err == nil && !delivered {
				err = fmt.Errorf("signal %d found nobody, and %d stages wait", numbers[p], n-2*i)
			}
			return err
		})), "signalling by two processes at once")
	}
	e.settle(a, b)
	w := e.status(stabilize.Succeeded, id, "sent as many signals as it waits for")
	got := e.got(w)
	for i := 0; i+1 < len(got); i += 2 { // the two of one time in any order, the times in theirs
		if slices.Sort(got[i : i+2]); got[i] != i || got[i+1] != i+1 {
			e.Errorf("signals sent two at a time to %d stages that wait were consumed as %v", n, got)
			break
		}
	}
	if left := e.left(w); len(got) != n || len(left) > 0 {
		e.Errorf("of %d signals %d were consumed and %v are left", n, len(got), left)
	}
}
