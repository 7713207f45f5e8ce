package stabilize_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A Fold answers as the condition over the whole list would, whatever the order in
// which the items come.
func TestAFoldAnswersAsTheWholeListWould(t *testing.T) {
	conditions := []string{
		"len(results) >= 3", "count(results, .x > 2) > 1", "sum(results, .x) >= 10", "sum(map(results, .x * 2 - .y)) > 7",
		"any(results, .ok)", "all(results, .ok)", "none(results, .ok) && len(results) > 1", "len(filter(results, .x > #.y)) == 2",
		"results | sum(#.x) > limit", "sum(results, .x) > limit and len(results) > 1 or any(results, .x == .y)",
		"count(results, .x > limit) > 1", "results[0].x == 3", "len(results) > 1 && results[1].ok", "sum(results, .f) > 2.5", "sum(results, .f + .x) == 3.25", "sum(results, .f) == int(sum(results, .f))",
		"any(results, any(.list, # > 2))", "sum(results, .nothing) > 1", "len(results) < 3 || sum(results, .nothing) > 1",
		"any(results, .x)", "reduce(results, #acc + #.x, 0) > 3", "max(map(results, .x)) > 4", "$env[\"results\"] == []", "len($env) > 2",
		"sum(results, .big) > 1", "done > 3", "results", "sum(results, .x)", "let n = len(results); n > 2", "sum(results, let a = .x; a) > 3",
		"sum(results, .x) > sum(results, .y)", "count(results, .x > len(results)) > 0", "len(results) == limit ? any(results, .ok) : false",
		"any(results, not .ok)", "any(results, (.x + .y) * 2 > 5)", "any(results, .x in [1, 2])", "any(results, -.x > 0)", "sum(results, .x - (.y - 1)) > 0",
	}
	rapid.Check(t, func(t *rapid.T) {
		condition := rapid.SampledFrom(conditions).Draw(t, "condition")
		var e stabilize.Exprs
		fold, err := e.Fold(condition, "results")
		if err != nil {
			t.Fatal(err)
		}
		env := stabilize.Values{"limit": []byte("3"), "done": []byte("4")}
		n := rapid.IntRange(0, 6).Draw(t, "items")
		items := make([]stabilize.Values, n)
		for i := range items {
			if items[i], err = stabilize.NewValues(map[string]any{
				"x": rapid.IntRange(-2, 6).Draw(t, "x"), "y": rapid.IntRange(0, 4).Draw(t, "y"), "ok": rapid.Bool().Draw(t, "ok"),
				"f": 0.125 * float64(rapid.IntRange(-9, 30).Draw(t, "f")), "list": []int{i}, "big": math.MaxInt - rapid.IntRange(0, 1).Draw(t, "big"),
			}); err != nil {
				t.Fatal(err)
			}
		}
		order := rapid.Permutation(seq(n)).Draw(t, "order")
		there := map[int]bool{}
		for step := 0; ; step++ {
			whole := []stabilize.Values{}
			for i := range n {
				if there[i] {
					whole = append(whole, items[i])
				}
			}
			all := env.Clone()
			if err := all.Set("results", whole); err != nil {
				t.Fatal(err)
			}
			want, wantErr := e.Bool(condition, all)
			got, gotErr := fold.Bool(env)
			if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("%s of %s: %v %v, the whole list gives %v %v", condition, all["results"], got, gotErr, want, wantErr)
			}
			if step == n {
				return
			}
			there[order[step]] = true
			if err := fold.Add(order[step], items[order[step]]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
