package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/stabilize-dev/go-stabilize/persistence/stores"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

type order struct {
	Number string `json:"number"`
	Cents  int    `json:"cents"`
}

type payment struct {
	Receipt string `json:"receipt"`
}

// charge is a task: a plain function. What it returns is seen by later stages.
func charge(ctx context.Context, o order) (payment, error) {
	key := stabilize.ExecutionFrom(ctx).IdempotencyKey() // the same on every attempt
	receipt, err := bank(ctx, key, o)
	if err != nil {
		return payment{}, stabilize.Transient(err) // tried again, with growing delays; a plain error is final
	}
	return payment{Receipt: receipt}, nil
}

// bank stands for a service that charges once for each key.
func bank(_ context.Context, _ string, o order) (receipt string, err error) {
	return fmt.Sprintf("receipt %s/%d", o.Number, o.Cents), nil
}

func ship(_ context.Context, in struct {
	order
	payment
}) (string, error) {
	return "parcel for " + in.Number + ", " + in.Receipt, nil
}

func run(ctx context.Context, dsn string, out io.Writer) error {
	eng, err := engine.Open(ctx, stores.DSN(dsn))
	if err != nil {
		return err
	}
	defer eng.Close()
	if err := eng.RegisterTask("charge", stabilize.Func(charge)); err != nil {
		return err
	}
	if err := eng.RegisterTask("ship", stabilize.Func(ship)); err != nil {
		return err
	}
	go func() {
		if err := eng.Run(ctx); err != nil {
			log.Print(err)
		}
	}()

	id, err := eng.Start(ctx, stabilize.NewWorkflow("shop", "order").
		Context("number", "A-17").
		Context("cents", 1250).
		Add(
			stabilize.NewStage("charge").Do("charge"),
			stabilize.NewStage("ship").After("charge").Do("ship"),
		),
		engine.WithKey("A-17")) // however often it is started, A-17 is one workflow
	if err != nil {
		return err
	}
	w, err := eng.Wait(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s\n", w.Status, w.StageByRef("ship").Outputs["result"])
	return nil
}

func main() {
	if err := run(context.Background(), "sqlite://orders.db", os.Stdout); err != nil {
		log.Fatal(err)
	}
}
