package faults_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/faults"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// TestAnEngineSurvivesEveryFault runs one small workflow under every kind of
// fault, with the cascade and without, and with a crash at every commit: it
// always ends the same, and every result is committed once.
func TestAnEngineSurvivesEveryFault(t *testing.T) {
	faulty := map[string]faults.Plan{
		"plain":       {},
		"copies":      {Copies: 1},
		"late copies": {Copies: 2, Late: 3 * time.Second},
		"disorder":    {Shuffled: true, HeldBack: 0.3},
		"no leases":   {NoBirthLeases: true},
		"lost":        {LostReplies: 0.2, Refused: 0.2},
		"refused":     {RefusedCalls: 0.2},
		"all": {
			Copies: 1, Late: time.Second, Shuffled: true, HeldBack: 0.2, NoBirthLeases: true,
			LostReplies: 0.1, Refused: 0.1, RefusedCalls: 0.05,
		},
	}
	modes := map[string][]engine.Option{"cascade": nil, "queue": {engine.WithoutCascade()}}
	for mode, opts := range modes {
		for name, plan := range faulty {
			t.Run(mode+"/"+name, func(t *testing.T) {
				plan.Seed = 1
				n, _ := survive(t, plan, opts)
				deaths := 0
				for crash := range faults.CrashPoints(n) {
					t.Run(crash.String(), func(t *testing.T) {
						plan.Crash = crash
						commits, died := survive(t, plan, opts)
						if died {
							deaths++
						}
						// Decisions may or may not share a commit: not every run comes to the last of n.
						if died != (commits >= crash.Commit) {
							t.Errorf("a run of %d commits died: %t", commits, died)
						}
					})
				}
				if deaths == 0 {
					t.Errorf("none of the runs of about %d commits died", n)
				}
			})
		}
	}
}

// survive runs the workflow on a handle with that plan, on another one if it
// dies, and checks the end. It returns how many commits the first handle saw.
func survive(t *testing.T, plan faults.Plan, opts []engine.Option) (commits int, died bool) {
	t.Helper()
	lossy := plan.LostReplies+plan.Refused+plan.RefusedCalls > 0
	synctest.Test(t, func(t *testing.T) {
		books := &ledger{data: memstore.NewData(), done: map[string]string{}}
		first := faults.Wrap(books.open(), plan)
		id, err := books.run(t, first, opts)
		commits = first.Commits()
		select {
		case <-first.Died():
			died = true
			plan.Crash, plan.LostReplies, plan.Refused, plan.RefusedCalls = faults.Crash{}, 0, 0, 0
			plan.Seed++
			id, err = books.run(t, faults.Wrap(books.open(), plan), opts)
		default:
		}
		if err != nil {
			t.Fatal(err)
		}
		books.check(t, id)
		// Only a death, or a lease or a reply that is lost, makes a task run again.
		most := 5
		switch {
		case plan.NoBirthLeases || lossy:
			most = math.MaxInt
		case died:
			most += 2 // the two that may be under way
		}
		if books.runs > most {
			t.Errorf("%d runs of tasks, want at most %d", books.runs, most)
		}
	})
	return commits, died
}

// ledger is the data, and what became durable in it.
type ledger struct {
	data *memstore.Data

	mu    sync.Mutex
	runs  int
	done  map[string]string // what a task or stage ended with
	wrong []string
}

func (l *ledger) open() persistence.Store {
	return &booked{Store: memstore.Open(l.data, memstore.Config{}), books: l}
}

// booked enters what it commits into the books.
type booked struct {
	*memstore.Store
	books *ledger
}

func (b *booked) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	errs := b.Store.CommitBatch(ctx, commits)
	for i, c := range commits {
		if errs[i] == nil {
			b.books.enter(c)
		}
	}
	return errs
}

func (l *ledger) enter(c *persistence.Commit) {
	for _, s := range c.Stages {
		l.end("stage "+s.Ref, s.Status, s.Outputs)
		for _, t := range s.Tasks {
			l.end("task of "+s.Ref, t.Status, s.Outputs)
		}
	}
}

func (l *ledger) end(what string, status stabilize.Status, outputs stabilize.Values) {
	if !status.IsComplete() {
		return
	}
	result := fmt.Sprintf("%s %s", status, outputs)
	if before, again := l.done[what]; again && before != result {
		l.wrong = append(l.wrong, fmt.Sprintf("%s ended with %s, then with %s", what, before, result))
	}
	l.done[what] = result
}

// listener hears of messages that could not be decided: nothing that the store
// does to them may bring a handler to that.
type listener struct {
	slog.Handler
	books *ledger
}

func (listener) Enabled(context.Context, slog.Level) bool { return true }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "handling a message" {
		l.books.mu.Lock()
		defer l.books.mu.Unlock()
		r.Attrs(func(a slog.Attr) bool {
			l.books.wrong = append(l.books.wrong, a.String())
			return true
		})
	}
	return nil
}

// step is the only task: it tells which way it was reached, and which of all
// runs it is, so that a result applied twice is seen.
func (l *ledger) step(ctx context.Context, in map[string]any) (map[string]any, error) {
	l.mu.Lock()
	l.runs++
	run := l.runs
	l.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Millisecond):
	}
	s := stabilize.ExecutionFrom(ctx).Stage
	var ways []string
	for _, from := range s.Requisites {
		ways = append(ways, fmt.Sprint(in["way "+from]))
	}
	slices.Sort(ways)
	return map[string]any{"way " + s.Ref: fmt.Sprintf("%v%s", ways, s.Ref), "run " + s.Ref: run}, nil
}

// run starts the workflow, again or for the first time, and runs an engine until
// the workflow has ended or the store has died.
func (l *ledger) run(t *testing.T, store faults.Store, opts []engine.Option) (string, error) {
	e, err := engine.New(store, append([]engine.Option{engine.WithLogger(slog.New(listener{slog.DiscardHandler, l}))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RegisterTask("step", stabilize.Func(l.step)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(context.WithoutCancel(t.Context())) }()
	synctest.Wait()
	spec := stabilize.NewWorkflow("app", "diamond").Add(
		stabilize.NewStage("a").Do("step"),
		stabilize.NewStage("b").After("a").Do("step"),
		stabilize.NewStage("c").After("a").Do("step"),
		stabilize.NewStage("d").After("b", "c").Do("step"),
		stabilize.NewStage("e").After("d").Do("step"),
	)
	id, err := e.Start(t.Context(), spec, engine.WithKey("1"))
	if err == nil {
		err = l.await(t, store, id)
	}
	stop, cancel := context.WithCancel(context.Background())
	if errors.Is(err, stabilize.ErrClosed) {
		cancel() // a process that is dead lets nothing finish
	}
	defer cancel()
	e.Stop(stop)
	if problem := <-ended; problem != nil {
		t.Errorf("Run: %v", problem)
	}
	if problem := errors.Join(e.Close(), store.Close()); problem != nil {
		t.Error(problem)
	}
	return id, err
}

// await waits until the workflow has ended and no message is left.
func (l *ledger) await(t *testing.T, store faults.Store, id string) error {
	look := memstore.Open(l.data, memstore.Config{})
	defer look.Close()
	for range 600 {
		select {
		case <-store.Died():
			return stabilize.ErrClosed
		case <-time.After(100 * time.Millisecond):
		}
		h, err := look.Summary(t.Context(), id)
		if err != nil {
			return err
		}
		d, err := look.Depth(t.Context())
		if err != nil {
			return err
		}
		if h.Status.IsComplete() && d.Live() == 0 {
			return nil
		}
	}
	w, _ := look.Load(t.Context(), id)
	var stages []string
	for _, s := range w.Stages {
		stages = append(stages, fmt.Sprintf("%s:%s", s.Ref, s.Status))
	}
	left, _ := look.Pending(t.Context(), id)
	return fmt.Errorf("after a minute it is %s %v, with %+v left", w.Status, stages, left)
}

func (l *ledger) check(t *testing.T, id string) {
	look := memstore.Open(l.data, memstore.Config{})
	defer look.Close()
	w, err := look.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if w.Status != stabilize.Succeeded {
		t.Errorf("the workflow is %s: %v", w.Status, w.Failure)
	}
	for _, s := range w.Stages {
		if s.Status != stabilize.Succeeded || len(s.Tasks) != 1 || s.Tasks[0].Status != stabilize.Succeeded {
			t.Errorf("stage %s is %s", s.Ref, s.Status)
		}
	}
	way, err := stabilize.Get[string](w.StageByRef("e").Outputs, "way e")
	if err != nil || way != "[[[[]a]b [[]a]c]d]e" {
		t.Errorf("e was reached by %q, %v", way, err)
	}
	if len(l.wrong) > 0 {
		t.Errorf("went wrong: %s", strings.Join(l.wrong, "; "))
	}
	dead, err := look.ListDead(t.Context(), "", 10)
	if err != nil || len(dead) > 0 {
		t.Errorf("dead letters: %+v, %v", dead, err)
	}
}
