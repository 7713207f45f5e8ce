package model_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stabilize-dev/go-stabilize/conformance/model"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// outcome is what a workflow came to.
type outcome struct {
	status     stabilize.Status
	executions []model.Execution
}

func (o outcome) String() string {
	out := o.status.String()
	for _, e := range o.executions {
		out += "\n  " + e.String()
	}
	return out
}

func play(g model.Graph) outcome {
	status, executions := g.Play()
	return outcome{status, executions}
}

// onEngine runs the graph on the engine, on the memory store in virtual time.
func onEngine(t *testing.T, g model.Graph, opts ...engine.Option) (o outcome, err error) {
	synctest.Test(t, func(t *testing.T) {
		o, err = runGraph(t, g, opts...)
	})
	return o, err
}

func runGraph(t *testing.T, g model.Graph, opts ...engine.Option) (outcome, error) {
	opts = append(opts, engine.WithLogger(slog.New(slog.DiscardHandler)),
		engine.WithConfig(engine.Config{MaxPoll: 10 * time.Second, LeaseTTL: time.Hour})) // virtual seconds cost, too
	e, err := engine.New(memstore.New(memstore.Config{}), opts...)
	if err != nil {
		return outcome{}, err
	}
	defer e.Close()
	ran := counter{calls: map[string]int{}}
	if err := e.RegisterTask("work", work(g, &ran)); err != nil {
		return outcome{}, err
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	defer func() {
		stop()
		<-done
	}()
	synctest.Wait()
	id, err := e.Start(ctx, specOf(g), engine.AllowUnsound())
	if err != nil {
		return outcome{}, err
	}
	if err := interfere(ctx, e, id, g); err != nil {
		return outcome{}, err
	}
	limit, cancel := context.WithTimeout(ctx, 1000*time.Hour)
	defer cancel()
	w, err := e.Wait(limit, id)
	if err == nil && g.Retry && w.Status != stabilize.Succeeded {
		if err := e.Retry(ctx, id, ""); err != nil {
			return outcome{}, err
		}
		w, err = e.Wait(limit, id)
	}
	if err != nil {
		w, _ = e.Get(ctx, id)
		return outcome{}, fmt.Errorf("waiting: %w; it is %s", err, told(w))
	}
	synctest.Wait()
	pending, err := e.Store().Pending(ctx, id)
	if err != nil || len(pending) > 0 {
		return outcome{}, fmt.Errorf("these messages are left: %+v (%w)", pending, err)
	}
	gates := map[string]bool{}
	for _, s := range g.Stages {
		gates[s.Ref] = s.Gate
	}
	o := outcome{status: w.Status}
	for _, s := range w.Stages {
		x := model.Execution{Ref: s.Ref, Status: s.Status, Reason: s.Reason}
		if task := s.Tasks[0]; task.Status == stabilize.Succeeded || task.Status == stabilize.Terminal {
			x.Ran = task.Failures + 1
			if gates[s.Ref] {
				x.Ran++
			}
			if seen := ran.of(task.ID); seen != x.Ran {
				return o, fmt.Errorf("the task of %s round %d was called %d times, and has %d failures", s.Ref, s.Round, seen, task.Failures)
			}
		}
		history := s.Superseded
		if parent := w.Stage(s.ParentID); parent != nil {
			history = parent.Superseded
		}
		if !history || x.Ran > 0 {
			o.executions = append(o.executions, x)
		}
	}
	slices.SortFunc(o.executions, func(a, b model.Execution) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	return o, nil
}

func told(w *stabilize.Workflow) string {
	if w == nil {
		return "gone"
	}
	out := w.Status.String()
	for _, s := range w.Stages {
		out += fmt.Sprintf(" %s#%d:%s", s.Ref, s.Round, s.Status)
	}
	return out
}

type counter struct {
	mu    sync.Mutex
	calls map[string]int
}

func (c *counter) add(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[key]++
	return c.calls[key]
}

func (c *counter) of(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[key]
}

// work does what the graph says of its stage.
func work(g model.Graph, ran *counter) stabilize.TaskType {
	stages := map[string]model.Stage{}
	for _, s := range g.Stages {
		stages[s.Ref] = s
	}
	retry := stabilize.RetryPolicy{MaxFailures: 100, Backoff: stabilize.Backoff{Initial: model.RetryDelay, Factor: 1}}
	return stabilize.Func(func(ctx context.Context, _ struct{}) (stabilize.Result, error) {
		x := stabilize.ExecutionFrom(ctx)
		ref, _, _ := strings.Cut(x.Stage.Ref, "[")
		s := stages[ref]
		ran.add(x.Task.ID)
		if s.Gate && x.Signal == nil && x.Task.Failures == 0 {
			return stabilize.Suspend(s.Ref), nil
		}
		select {
		case <-ctx.Done():
			return stabilize.Result{}, ctx.Err()
		case <-time.After(s.Takes + time.Duration(x.Stage.Known().Index)*model.InstanceTakes):
		}
		switch {
		case x.Task.Failures < s.Flaky:
			return stabilize.Result{}, stabilize.Transient(errors.New("not yet"))
		case s.Jumps > 0 && ran.add(s.Ref+" jumps") <= s.Jumps:
			return stabilize.JumpTo(s.JumpTo), nil
		case s.Fails && (ran.add(s.Ref+" fails") == 1 || !s.Recovers):
			return stabilize.Fail("it was to"), nil
		default:
			return stabilize.Success(), nil
		}
	}, stabilize.WithRetry(retry))
}

func specOf(g model.Graph) *stabilize.WorkflowSpec {
	w := stabilize.NewWorkflow("model", "graph").MaxJumps(1000)
	for _, s := range g.Stages {
		spec := stabilize.NewStage(s.Ref).After(s.After...).Joining(s.Join, s.N).OnFailure(s.Policy).Threads(s.Threads).Do("work")
		if s.Instances > 0 {
			spec.Instances(stabilize.Multi{Count: s.Instances, Limit: s.Limit})
		}
		if s.Disabled {
			spec.Disabled()
		}
		if s.Split != stabilize.SplitAnd {
			var branches []stabilize.Branch
			for _, down := range g.Stages {
				if !slices.Contains(down.After, s.Ref) {
					continue
				}
				if down.Ref == s.Default {
					branches = append(branches, stabilize.Otherwise(down.Ref))
				} else {
					branches = append(branches, stabilize.To(down.Ref, fmt.Sprint(slices.Contains(s.Chosen, down.Ref))))
				}
			}
			if s.Split == stabilize.SplitOr {
				spec.ChooseAll(branches...)
			} else {
				spec.ChooseOne(branches...)
			}
		}
		w.Add(spec)
	}
	return w
}

// interfere withdraws, pauses and cancels at the times the graph says.
func interfere(ctx context.Context, e *engine.Engine, id string, g model.Graph) error {
	type act struct {
		at time.Duration
		do func() error
	}
	var acts []act
	for ref, at := range g.Withdraw {
		acts = append(acts, act{at, func() error { return e.Withdraw(ctx, id, ref) }})
	}
	for ref, at := range g.Signal {
		acts = append(acts, act{at, func() error { _, err := e.Signal(ctx, id, ref, nil); return err }})
	}
	if g.Pause > 0 {
		acts = append(acts, act{g.Pause, func() error { return e.Pause(ctx, id, "") }}, act{g.Resume, func() error { return e.Resume(ctx, id, "") }})
	}
	if g.Cancel > 0 {
		acts = append(acts, act{g.Cancel, func() error { return e.Cancel(ctx, id, "", "") }})
	}
	slices.SortFunc(acts, func(a, b act) int { return int(a.at - b.at) })
	var now time.Duration
	for _, a := range acts {
		time.Sleep(a.at - now)
		now = a.at
		synctest.Wait()
		if err := a.do(); err != nil && !errors.Is(err, stabilize.ErrFinished) && !errors.Is(err, stabilize.ErrInvalidTransition) {
			return err
		}
	}
	return nil
}
