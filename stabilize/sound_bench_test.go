package stabilize_test

import (
	"fmt"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// BenchmarkSoundness: it runs at every start.
func BenchmarkSoundness(b *testing.B) {
	fan := func(first, last *stabilize.StageSpec, n int) []*stabilize.StageSpec {
		out := []*stabilize.StageSpec{first}
		for i := range n {
			out = append(out, on(fmt.Sprint("b", i), "a"))
			last.After(fmt.Sprint("b", i))
		}
		return append(out, last)
	}
	refs := make([]string, 300)
	for i := range refs {
		refs[i] = fmt.Sprint("b", i)
	}
	chain := []*stabilize.StageSpec{on("s0")}
	for i := 1; i < 1000; i++ {
		chain = append(chain, on(fmt.Sprint("s", i), fmt.Sprint("s", i-1)))
	}
	blocks := []*stabilize.StageSpec{on("j0")}
	for i := 1; i <= 250; i++ {
		a, x, y, j := fmt.Sprint("a", i), fmt.Sprint("x", i), fmt.Sprint("y", i), fmt.Sprint("j", i)
		blocks = append(blocks, oneOf(on(a, fmt.Sprint("j", i-1)), x, y), on(x, a), on(y, a), merge(exclusive, j, x, y))
	}
	wide := []*stabilize.StageSpec{on("s")}
	for i := range 60 { // more states than can be kept
		a, x, y := fmt.Sprint("a", i), fmt.Sprint("x", i), fmt.Sprint("y", i)
		wide = append(wide, oneOf(on(a, "s"), x, y), on(x, a), on(y, a))
	}
	end := merge(exclusive, "end", "a0")
	for i := range 60 {
		end.After(fmt.Sprint("x", i), fmt.Sprint("y", i))
	}
	wide = append(wide, end)
	for _, c := range []struct {
		name   string
		stages []*stabilize.StageSpec
	}{
		{"chain of 1000", chain},
		{"fan-out of 300", fan(on("a"), on("z"), 300)},
		{"fan-out of 300, unsafe", fan(on("a"), merge(exclusive, "z"), 300)},
		{"OR split of 300", fan(someOf(on("a"), refs...), merge(orJoin, "z"), 300)},
		{"OR split of 300, unsafe", fan(someOf(on("a"), refs...), merge(exclusive, "z"), 300)},
		{"exclusive split of 300", fan(oneOf(on("a"), refs...), merge(exclusive, "z"), 300)},
		{"multi-merge of 300", fan(on("a"), merge(multi, "z"), 300)},
		{"250 exclusive blocks", blocks},
		{"too much", wide},
	} {
		w := workflowOf(b, c.stages...)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Soundness()
			}
		})
	}
}
