package stabilize_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func ExampleNewWorkflow() {
	spec := stabilize.NewWorkflow("shop", "order").
		Context("order", "o-17").
		Add(
			stabilize.NewStage("reserve").Do("reserve-stock"),
			stabilize.NewStage("charge").After("reserve").Do("charge-card").With("currency", "EUR").Timeout(30*time.Second),
			stabilize.NewStage("label").After("reserve").Do("print-label"),
			stabilize.NewStage("ship").After("charge", "label").Do("call-courier", "notify"),
		)
	ids := stabilize.NewIDs(stabilize.SystemClock{}, nil)
	w, err := spec.Build(ids, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range w.TopologicalOrder() {
		fmt.Println(s.Ref, "waits for", s.Requisites, "and runs", len(s.Tasks))
	}
	// Output:
	// reserve waits for [] and runs 1
	// charge waits for [reserve] and runs 1
	// label waits for [reserve] and runs 1
	// ship waits for [charge label] and runs 2
}

func ExampleWorkflowSpec_Build() {
	_, err := stabilize.NewWorkflow("shop", "order").Add(
		stabilize.NewStage("charge").After("ship"),
		stabilize.NewStage("ship").After("charge"),
	).Build(stabilize.NewIDs(stabilize.SystemClock{}, nil), time.Now())
	fmt.Println(errors.Is(err, stabilize.ErrInvalid))
	fmt.Println(err)
	// Output:
	// true
	// invalid stage "charge" requisites: the stages wait for each other: charge → ship → charge
}

func ExampleFunc() {
	type order struct {
		ID     string `json:"id"`
		Amount int64  `json:"amount"`
	}
	type receipt struct {
		Number string `json:"number"`
	}
	charge := stabilize.Func(
		func(_ context.Context, in order) (receipt, error) {
			if in.Amount <= 0 {
				return receipt{}, stabilize.Permanent(errors.New("nothing to charge"))
			}
			return receipt{Number: "r-" + in.ID}, nil
		},
		stabilize.WithTimeout(10*time.Second),
		stabilize.WithRetry(stabilize.RetryPolicy{MaxFailures: 5}),
	)
	registry := stabilize.NewRegistry()
	if err := registry.AddTask("charge-card", charge); err != nil {
		fmt.Println(err)
	}

	// A test of a task needs no engine.
	in, _ := stabilize.ValuesOf(order{ID: "17", Amount: 100})
	result, err := charge.Execute(context.Background(), &stabilize.Execution{Context: in})
	fmt.Println(result.Status, string(result.Outputs["number"]), err)
	_, err = charge.Execute(context.Background(), &stabilize.Execution{})
	fmt.Println(err)
	// Output:
	// SUCCEEDED "r-17" <nil>
	// permanent failure: nothing to charge
}

func ExampleGet() {
	values, _ := stabilize.NewValues(map[string]any{"count": int64(1) << 60, "tags": []string{"new", "paid"}})
	count, _ := stabilize.Get[int64](values, "count") // not rounded on the way
	tags, _ := stabilize.Get[[]string](values, "tags")
	fmt.Println(count, tags)

	_, err := stabilize.Get[int](values, "price")
	fmt.Println(errors.Is(err, stabilize.ErrNotFound), err)
	_, err = stabilize.Get[int](values, "tags")
	fmt.Println(errors.Is(err, stabilize.ErrInvalid))
	// Output:
	// 1152921504606846976 [new paid]
	// true value "price" not found
	// true
}

func ExampleDraft() {
	w := &stabilize.Workflow{
		Header: stabilize.Header{ID: "w", Version: 4},
		Stages: []*stabilize.Stage{{ID: "s1", Ref: "build", Status: stabilize.Running}},
	}
	draft := stabilize.NewDraft(w)
	if err := draft.SetStageStatus("s1", stabilize.Succeeded, time.Now()); err != nil {
		fmt.Println(err)
	}
	_, stages, _ := draft.Changes()
	fmt.Println(len(stages), "stage to commit:", stages[0].Ref, stages[0].Status)
	draft.Rollback() // the commit was refused
	fmt.Println(w.Stage("s1").Status)
	// Output:
	// 1 stage to commit: build SUCCEEDED
	// RUNNING
}
