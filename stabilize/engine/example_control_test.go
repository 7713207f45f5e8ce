package engine_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/memstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

func memoryEngine() *engine.Engine {
	e, err := engine.New(memstore.Open(memstore.NewData(), memstore.Config{}), engine.WithConfig(engine.Config{LeaseTTL: time.Hour}))
	check(err)
	return e
}

// run runs an engine until what it returns is called.
func run(e *engine.Engine) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() {
		cancel()
		check(<-done)
		check(e.Close())
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// end runs a workflow of the stages to its end.
func end(e *engine.Engine, stages ...*stabilize.StageSpec) *stabilize.Workflow {
	ctx := context.Background()
	id, err := e.Start(ctx, stabilize.NewWorkflow("shop", "example").Add(stages...))
	check(err)
	w, err := e.Wait(ctx, id)
	check(err)
	return w
}

// A task that runs a workflow of its own and ends with that one's outputs.
func ExampleEngine_RegisterWorkflow() {
	e := memoryEngine()
	type in struct{ Amount int }
	check(e.RegisterTask("charge", stabilize.Func(func(_ context.Context, in in) (stabilize.Result, error) {
		return stabilize.Success().WithOutput("receipt", fmt.Sprintf("%d charged", in.Amount)), nil
	})))
	check(e.RegisterWorkflow("payment", func(x *stabilize.Execution) (*stabilize.WorkflowSpec, error) {
		amount, err := stabilize.Get[int](x.Context, "amount")
		return stabilize.NewWorkflow("shop", "payment").Context("amount", amount).
			Add(stabilize.NewStage("charge").Do("charge")), err
	}))
	defer run(e)()

	w := end(e, stabilize.NewStage("pay").With("amount", 42).Do("payment"))
	fmt.Println(w.Status, string(w.Result()["receipt"]))
	// Output: SUCCEEDED "42 charged"
}

// One run for each item of a list, two at a time; what they put out is folded.
func ExampleStageSpec_instances() {
	e := memoryEngine()
	type in struct {
		Item struct{ Price, Pieces int }
	}
	check(e.RegisterTask("price", stabilize.Func(func(_ context.Context, in in) (stabilize.Result, error) {
		return stabilize.Success().WithOutput("total", in.Item.Price*in.Item.Pieces), nil
	})))
	defer run(e)()

	w := end(e, stabilize.NewStage("lines").
		With("order", []map[string]int{{"price": 5, "pieces": 2}, {"price": 7, "pieces": 1}, {"price": 1, "pieces": 9}}).
		Do("price").
		Instances(stabilize.Multi{Over: "order", Limit: 2}).
		Reduce("total", "sum"))
	fmt.Println(w.Status, string(w.Result()["results"]), string(w.Result()["total"]))
	// Output: SUCCEEDED [{"total":10},{"total":7},{"total":9}] 26
}

// A body that is repeated until what it puts out is enough.
func ExampleStageSpec_RepeatUntil() {
	e := memoryEngine()
	type in struct{ Index, Found int }
	check(e.RegisterTask("search", stabilize.Func(func(_ context.Context, in in) (stabilize.Result, error) {
		return stabilize.Success().WithOutput("found", in.Found+in.Index), nil
	})))
	defer run(e)()

	w := end(e, stabilize.NewStage("collect").Do("search").RepeatUntil("found >= 6", 100))
	fmt.Println(w.Status, string(w.Result()["found"]), w.StageByRef("collect").State.Multi.Total)
	// Output: SUCCEEDED 6 4
}

// A stage of which one runs at a time, whatever workflow it is in and whichever
// process runs that.
func ExampleStageSpec_AcrossWorkflows() {
	e := memoryEngine()
	inside := 0 // guarded by the mutex of the stage
	check(e.RegisterTask("migrate", stabilize.Func(func(context.Context, struct{}) (stabilize.Result, error) {
		inside++
		defer func() { inside-- }()
		return stabilize.Success().WithOutput("alone", inside == 1), nil
	})))
	defer run(e)()

	ctx := context.Background()
	var ids []string
	for range 10 {
		id, err := e.Start(ctx, stabilize.NewWorkflow("shop", "migration").
			Add(stabilize.NewStage("m").Do("migrate").Mutex("database").AcrossWorkflows()))
		check(err)
		ids = append(ids, id)
	}
	alone := 0
	for _, id := range ids {
		w, err := e.Wait(ctx, id)
		check(err)
		if string(w.Result()["alone"]) == "true" {
			alone++
		}
	}
	fmt.Println(alone)
	// Output: 10
}
