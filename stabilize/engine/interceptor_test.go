package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/handlers"
	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// intercepted runs a test with a rig whose engine has the interceptors; they
// may use the rig.
func intercepted(t *testing.T, around func(r *rig) []handlers.Interceptor, test func(r *rig)) {
	t.Helper()
	onStores(t, func(t *testing.T, d data) {
		var r *rig
		opts := []engine.Option{engine.WithConfig(engine.Config{})}
		for i := range around(nil) {
			late := func(ctx context.Context, x *stabilize.Execution, phase stabilize.RunPhase, next handlers.Run) (stabilize.Result, error) {
				return around(r)[i](ctx, x, phase, next)
			}
			opts = append(opts, engine.WithInterceptors(late))
		}
		opts = append(opts, engine.WithConfig(engine.Config{Concurrency: 5})) // keeps them
		r = newRig(t, d, opts...)
		r.start()
		defer r.close()
		test(r)
	})
}

func around(r *rig, name string) handlers.Interceptor {
	return func(ctx context.Context, x *stabilize.Execution, phase stabilize.RunPhase, next handlers.Run) (stabilize.Result, error) {
		r.logf("%s>%s", name, phase)
		result, err := next(ctx, x)
		r.logf("%s<%v", name, err)
		return result, err
	}
}

func TestInterceptorsStandAroundEveryRunInOrder(t *testing.T) {
	intercepted(t, func(r *rig) []handlers.Interceptor {
		return []handlers.Interceptor{around(r, "1"), around(r, "2")}
	}, func(r *rig) {
		hook := func(context.Context, *stabilize.Execution) error { r.logf("hook"); return errors.New("unclean") }
		r.task("work", sleepy(0), stabilize.WithCleanup(hook))
		r.wantStatus(r.finish(stage("a").Do("work")), stabilize.Succeeded)
		r.wantLog("1>EXECUTE", "2>EXECUTE", "a.work", "2<<nil>", "1<<nil>", "1>CLEANUP", "2>CLEANUP", "hook", "2<unclean", "1<unclean")
	})
}

func TestAnInterceptorAnswersForTheRun(t *testing.T) {
	intercepted(t, func(r *rig) []handlers.Interceptor {
		return []handlers.Interceptor{
			handlers.After(func(_ context.Context, x *stabilize.Execution, _ stabilize.RunPhase, result stabilize.Result, err error) {
				r.logf("%s: %s, %v", x.Stage.Ref, result.Status, err)
			}),
			handlers.Before(func(_ context.Context, x *stabilize.Execution, _ stabilize.RunPhase) error {
				if x.Stage.Ref == "closed" {
					return stabilize.Permanent(errors.New("not now"))
				}
				return nil
			}),
			func(ctx context.Context, x *stabilize.Execution, _ stabilize.RunPhase, next handlers.Run) (stabilize.Result, error) {
				changed := *x
				changed.Context = x.Context.Clone()
				r.must(changed.Context.Set("who", "the interceptor"))
				result, err := next(ctx, &changed)
				if err == nil {
					err = result.Outputs.Set("seen", true)
				}
				return result, err
			},
		}
	}, func(r *rig) {
		r.must(r.RegisterTask("greet", stabilize.Func(func(_ context.Context, in struct {
			Who string `json:"who"`
		}) (map[string]any, error) {
			return map[string]any{"greeting": "hello " + in.Who}, nil
		})))
		out := r.finish(stage("open").Do("greet")).StageByRef("open").Outputs
		greeting, _ := stabilize.Get[string](out, "greeting")
		if seen, _ := stabilize.Get[bool](out, "seen"); greeting != "hello the interceptor" || !seen {
			r.Errorf("the outputs are %v", out)
		}
		w := r.finish(stage("closed").Do("ok"))
		r.wantStatus(w, stabilize.Terminal)
		if codeOf(w) != stabilize.CodeTaskFailed || !strings.Contains(w.Failure.Message, "not now") {
			r.Errorf("the failure is %+v", w.Failure)
		}
		r.wantLog("open: SUCCEEDED, <nil>", "closed: NOT_STARTED, permanent failure: not now")
	})
}

func TestAnInterceptorThatBreaksIsItsTasksTrouble(t *testing.T) {
	intercepted(t, func(*rig) []handlers.Interceptor {
		return []handlers.Interceptor{func(ctx context.Context, x *stabilize.Execution, _ stabilize.RunPhase, next handlers.Run) (stabilize.Result, error) {
			switch x.Stage.Ref {
			case "panics":
				panic("interceptor")
			case "hangs":
				<-ctx.Done()
				return stabilize.Result{}, context.Cause(ctx)
			case "busy":
				if x.Attempt < 3 {
					return stabilize.Result{}, stabilize.Transient(errors.New("busy"))
				}
			}
			return next(ctx, x)
		}}
	}, func(r *rig) {
		r.task("limited", sleepy(0), stabilize.WithTimeout(time.Minute))
		for ref, code := range map[string]string{"panics": stabilize.CodePanic, "hangs": stabilize.CodeTimeout, "busy": "", "fine": ""} {
			if w := r.finish(stage(ref).Do("limited")); codeOf(w) != code {
				r.Errorf("%s: it ended %s, %+v", ref, w.Status, w.Failure)
			}
		}
	})
}

func TestANilInterceptorIsRefused(t *testing.T) {
	_, err := engine.New(memstore.Open(memstore.NewData(), memstore.Config{}), engine.WithInterceptors(nil))
	if !errors.Is(err, stabilize.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "interceptor") {
		t.Errorf("the error is %v", err)
	}
}
