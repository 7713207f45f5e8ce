//go:build unix

package mongostore_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Every two seconds one of three workers is killed under load: nothing is lost, every
// result is committed once, all workflows end, and a task runs again only because of it.
func TestKilledWorkersLoseNothing(t *testing.T) {
	const length, between, clients = 4, 2 * time.Second, 4
	kills := 3
	if os.Getenv("STABILIZE_TEST_FULL") != "" {
		kills = 100
	}
	s := newSite(t)
	s.job.LeaseTTL, s.job.Takes = 2*time.Second, 100*time.Millisecond
	workers, last := make([]*process, 3), 0
	numbers := make([]int, len(workers))
	employ := func(i int) {
		link := servers.One().Link(t)
		link.Watch(s.watch)
		last++
		j := s.job
		j.URI, j.Worker = link.URI(), last
		workers[i], numbers[i] = j.start(t), last
		workers[i].begin(t)
	}
	for i := range workers {
		employ(i)
	}
	over := make(chan struct{})
	var next atomic.Int64
	var mu sync.Mutex
	var ended []*stabilize.Workflow
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for !t.Failed() {
				select {
				case <-over:
					return
				default:
				}
				n := next.Add(1)
				c := chain{Name: fmt.Sprint("w", n), Length: length}
				if n%2 == 0 {
					c.Key = fmt.Sprint("k", n%4)
				}
				id, err := c.begin(t.Context(), s.sound)
				if err != nil {
					t.Error(err)
					return
				}
				w, err := s.sound.Wait(t.Context(), id)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ended = append(ended, w)
				mu.Unlock()
			}
		})
	}
	ticks := time.NewTicker(between)
	defer ticks.Stop()
	for k := range kills {
		<-ticks.C
		i := k % len(workers)
		if err := s.question(t.Context(), s.journal.read(t), numbers[i]); err != nil {
			t.Fatal(err)
		}
		s.awaitRun(t, numbers[i], between)
		// Noted before: what runs again because of it is noted after.
		if err := s.journal.note(entry{What: killing, Worker: numbers[i]}); err != nil {
			t.Fatal(err)
		}
		workers[i].kill()
		// Once more: it may have lapsed since, and cannot renew any more.
		if err := s.question(t.Context(), s.journal.read(t), numbers[i]); err != nil {
			t.Fatal(err)
		}
		employ(i)
		if t.Failed() {
			break
		}
	}
	close(over)
	all.Wait()
	s.drain(t, s.sound)
	for i, w := range workers {
		if err := s.question(t.Context(), s.journal.read(t), numbers[i]); err != nil {
			t.Error(err)
		}
		w.stop(t)
	}
	s.clean(t) // a step that was not begun stays for a day
	s.audit(t, ended, length)
}

// awaitRun returns when a worker has begun a task since the call, or after a while: it
// may have nothing to do.
func (s *site) awaitRun(t *testing.T, worker int, patience time.Duration) {
	t.Helper()
	before, end := len(s.journal.read(t)), time.After(patience)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		for _, e := range s.journal.read(t)[before:] {
			if e.What == ran && e.Worker == worker {
				return
			}
		}
		select {
		case <-end:
			return
		case <-look.C:
		}
	}
}

// question notes that a worker has lapsed, if it has: asked in its name, the queue
// tells under which fence it works by now.
func (s *site) question(ctx context.Context, noted []entry, worker int) error {
	var as entry
	for _, e := range noted {
		if e.What == known && e.Worker == worker {
			as = e
		}
	}
	if as.Fence == 0 {
		return nil // it has not begun
	}
	leases, err := s.sound.Store().Heartbeat(ctx, as.Lease)
	if err != nil || leases.Fence == as.Fence {
		return err
	}
	return s.journal.note(entry{What: lapsed, Worker: worker})
}

// audit compares what workflows that have ended say with what the tasks noted.
func (s *site) audit(t *testing.T, ended []*stabilize.Workflow, length int) {
	t.Helper()
	noted := s.journal.read(t)
	runs := map[string][]int{} // places in noted, by task
	killed := map[int]int{}    // the same, by worker
	silent := map[int]bool{}
	for at, e := range noted {
		switch e.What {
		case ran:
			runs[e.Task] = append(runs[e.Task], at)
		case killing:
			killed[e.Worker] = at
		case lapsed:
			silent[e.Worker] = true
		}
	}
	for _, w := range ended {
		if err := checkChain(w, length, noted); err != nil {
			t.Error(err)
		}
	}
	if len(runs) != len(ended)*length {
		t.Errorf("%d workflows of %d tasks ended, and %d tasks ran", len(ended), length, len(runs))
	}
	again := 0
	for task, at := range runs {
		for i := 1; i < len(at); i++ {
			again++
			first := noted[at[i-1]].Worker
			if end, ok := killed[first]; !(ok && end < at[i]) && !silent[first] {
				t.Errorf("task %s ran again, and nothing had happened to worker %d", task, first)
			}
		}
	}
	t.Logf("%d workflows, %d tasks, %d runs again; workers killed %d, lapsed %d", len(ended), len(runs), again, len(killed), len(silent))
}
