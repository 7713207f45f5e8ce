package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

type order struct {
	SKU   string
	Count int
}

type reservation struct {
	Reserved int
	Shelf    string
}

// A plain function is a task: its input is decoded from what the stage sees,
// its output becomes the stage's outputs, which the stages after it see.
func reserve(_ context.Context, in order) (reservation, error) {
	return reservation{Reserved: in.Count, Shelf: "7b"}, nil
}

func ship(_ context.Context, in reservation) (string, error) {
	return fmt.Sprintf("%d from shelf %s", in.Reserved, in.Shelf), nil
}

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	e, err := engine.Open(ctx, stores.DSN("memory:")) // "sqlite://orders.db" makes it durable
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	_ = e.RegisterTask("reserve", stabilize.Func(reserve))
	_ = e.RegisterTask("ship", stabilize.Func(ship))
	go e.Run(ctx)

	spec := stabilize.NewWorkflow("shop", "order").Add(
		stabilize.NewStage("reserve").Do("reserve").With("SKU", "A1").With("Count", 3),
		stabilize.NewStage("ship").After("reserve").Do("ship"),
	)
	id, err := e.Start(ctx, spec, engine.WithKey("order-17")) // once, however often it is called
	if err != nil {
		log.Fatal(err)
	}
	w, err := e.Wait(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	shipped, err := stabilize.Get[string](w.StageByRef("ship").Outputs, "result")
	fmt.Println(w.Status, shipped, err)
	// Output: SUCCEEDED 3 from shelf 7b <nil>
}

// A stage type plans the tasks of its stages, and stages around them.
type deploy struct{}

func (deploy) Tasks(*stabilize.Plan) ([]stabilize.TaskSpec, error) {
	return []stabilize.TaskSpec{{Type: "say", Name: "roll out"}}, nil
}

func (deploy) BeforeStages(*stabilize.Plan) ([]*stabilize.StageSpec, error) {
	return []*stabilize.StageSpec{stabilize.NewStage("drain").Do("say")}, nil
}

func ExampleEngine_RegisterStage() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	e, err := engine.Open(ctx, stores.DSN("memory:"))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	_ = e.RegisterStage("deploy", deploy{})
	_ = e.RegisterTask("say", stabilize.Func(func(ctx context.Context, _ struct{}) (struct{}, error) {
		x := stabilize.ExecutionFrom(ctx)
		fmt.Println(x.Stage.Ref, x.Task.Name)
		return struct{}{}, nil
	}))
	go e.Run(ctx)
	id, err := e.Start(ctx, stabilize.NewWorkflow("shop", "release").Add(stabilize.NewStage("web").OfType("deploy")))
	if err != nil {
		log.Fatal(err)
	}
	w, err := e.Wait(ctx, id)
	fmt.Println(w.Status, err)
	// Output:
	// web<drain say
	// web roll out
	// SUCCEEDED <nil>
}
