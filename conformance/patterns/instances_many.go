package patterns

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// tenThousand: of ten thousand instances no more than eight run at once, and no
// more than those have messages.
func tenThousand(r *run) {
	const all, limit = 10_000, 8
	var mu sync.Mutex
	begun, running, most, stored := 0, 0, 0, 0
	r.members()
	r.task("counted", func(ctx context.Context, x *stabilize.Execution) (stabilize.Result, error) {
		mu.Lock()
		begun++
		running++
		most = max(most, running)
		look := begun%500 == 0
		mu.Unlock()
		defer func() {
			mu.Lock()
			running--
			mu.Unlock()
		}()
		if look {
			d, err := r.look.Depth(ctx)
			if err != nil {
				return stabilize.Result{}, err
			}
			mu.Lock()
			stored = max(stored, d.Live())
			mu.Unlock()
		}
		i, err := stabilize.Get[int](x.Context, "index")
		return stabilize.Success().WithOutput("i", i), errors.Join(err, r.work(ctx, time.Millisecond))
	})
	id := r.start(ok("A").With("put", map[string]any{"n": all}),
		doing("counted", "W", "A").Instances(stabilize.Multi{CountOf: "n", Limit: limit}), tally("J", "W"))
	w := r.succeeds(id, ran("A", "J"), commits(all, "W"))
	want := make([]int, all)
	for i := range want {
		want[i] = i
	}
	r.saw(w, "J", want...)
	if most != limit {
		r.Errorf("%d instances ran at once, want %d", most, limit)
	}
	if stored > 4*limit {
		r.Errorf("%d messages were stored at a time", stored)
	}
}
