package stabilize_test

import (
	"fmt"
	"testing"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// TestReadiness: each join over every combination of what up to four edges may
// carry: nothing yet, a live token, a dead one, or an upstream that is missing.
func TestReadiness(t *testing.T) {
	const nothing, live, dead, missing = 0, 1, 2, 3
	checked := 0
	for edges := 1; edges <= 4; edges++ {
		total := 1
		for range edges {
			total *= 4
		}
		for code := range total {
			var count [4]int
			w := flow()
			join := &stabilize.Stage{ID: "join", Ref: "join", Position: edges}
			for i, rest := 0, code; i < edges; i, rest = i+1, rest/4 {
				carries := rest % 4
				count[carries]++
				ref := fmt.Sprint("up", i)
				join.Requisites = append(join.Requisites, ref)
				if carries == missing {
					continue
				}
				up := &stabilize.Stage{ID: ref, Ref: ref, Position: i}
				// What the edge to the join carries is what the stage put out, or the
				// other kind if the join is among its exceptions.
				switch {
				case carries == live && i%2 == 0:
					up.Tokens = stabilize.Tokens{Kind: stabilize.TokenLive, Except: []string{"other"}}
				case carries == live:
					up.Tokens = stabilize.Tokens{Kind: stabilize.TokenDead, Except: []string{"join"}}
				case carries == dead && i%2 == 0:
					up.Tokens = stabilize.Tokens{Kind: stabilize.TokenDead}
				case carries == dead:
					up.Tokens = stabilize.Tokens{Kind: stabilize.TokenLive, Except: []string{"other", "join"}}
				default:
					up.Tokens = stabilize.Tokens{Except: []string{"join"}} // it has not ended
				}
				up.Status = stabilize.Statuses()[code%12] // of no importance
				w.Stages = append(w.Stages, up)
			}
			w.Stages = append(w.Stages, join)
			waiting := count[nothing] + count[missing]
			for _, c := range []struct {
				join      stabilize.JoinType
				threshold int
				want      stabilize.Readiness
			}{
				{stabilize.JoinAnd, 0, and(count[live], waiting, edges)},
				{stabilize.JoinOr, 0, or(count[live], waiting)},
				{stabilize.JoinDiscriminator, 0, atLeast(1, count[live], waiting)},
				{stabilize.JoinNOfM, 1, atLeast(1, count[live], waiting)},
				{stabilize.JoinNOfM, (edges + 1) / 2, atLeast((edges+1)/2, count[live], waiting)},
				{stabilize.JoinNOfM, edges, atLeast(edges, count[live], waiting)},
			} {
				join.Join, join.Threshold = c.join, c.threshold
				checked++
				if got := w.Readiness(join); got != c.want {
					t.Fatalf("%s (%d) over %d live, %d dead, %d not yet, %d missing: %d, want %d",
						c.join, c.threshold, count[live], count[dead], count[nothing], count[missing], got, c.want)
				}
			}
		}
	}
	if want := 6 * (4 + 16 + 64 + 256); checked != want {
		t.Errorf("%d combinations checked, want %d", checked, want)
	}
}

// The rules, written from the comments at the join types.

func and(live, waiting, edges int) stabilize.Readiness {
	switch {
	case live == edges:
		return stabilize.Ready
	case live+waiting < edges: // one is dead
		return stabilize.Dead
	}
	return stabilize.Waiting
}

func or(live, waiting int) stabilize.Readiness {
	switch {
	case waiting > 0:
		return stabilize.Waiting
	case live > 0:
		return stabilize.Ready
	}
	return stabilize.Dead
}

func atLeast(n, live, waiting int) stabilize.Readiness {
	switch {
	case live >= n:
		return stabilize.Ready
	case live+waiting >= n:
		return stabilize.Waiting
	}
	return stabilize.Dead
}

func TestReadinessLooksAtTheRoundThatCounts(t *testing.T) {
	w := flow("a", "b<a", "a")
	w.Stages[0].Superseded = true
	w.Stages[0].Tokens.Kind = stabilize.TokenLive
	w.Stages[2].Round = 1
	if got := w.Readiness(w.Stages[1]); got != stabilize.Waiting {
		t.Errorf("with only the first round ended the answer is %d, want Waiting", got)
	}
	if got := w.Readiness(w.Stages[0]); got != stabilize.Ready {
		t.Errorf("a stage without requisites is %d, want Ready", got)
	}
}
