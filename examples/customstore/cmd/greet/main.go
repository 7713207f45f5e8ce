package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstore"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

type person struct {
	Name string `json:"name"`
}

func greet(_ context.Context, who person) (string, error) { return "hello " + who.Name, nil }

func count(_ context.Context, in struct {
	Result string `json:"result"`
}) (int, error) {
	return len(in.Result), nil
}

func run(ctx context.Context, path, name string, out io.Writer) (err error) {
	db, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store := boltstore.New(db, boltstore.Config{})
	defer store.Close()
	eng, err := engine.New(store)
	if err != nil {
		return err
	}
	defer eng.Close()
	err = errors.Join(eng.RegisterTask("greet", stabilize.Func(greet)), eng.RegisterTask("count", stabilize.Func(count)))
	if err != nil {
		return err
	}
	go func() {
		if err := eng.Run(ctx); err != nil {
			log.Print(err)
		}
	}()

	id, err := eng.Start(ctx, stabilize.NewWorkflow("greetings", name).Context("name", name).Add(
		stabilize.NewStage("greet").Do("greet"),
		stabilize.NewStage("count").After("greet").Do("count"),
	))
	if err != nil {
		return err
	}
	w, err := eng.Wait(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s has %s letters\n", w.Status, w.StageByRef("greet").Outputs["result"], w.StageByRef("count").Outputs["result"])
	page, err := eng.List(ctx, persistence.Query{Application: "greetings", Limit: 10})
	for _, h := range page.Workflows {
		fmt.Fprintf(out, "%s %s\n", h.Name, h.Status)
	}
	return err
}

func main() {
	path := flag.String("db", "greetings.db", "the `file`")
	name := flag.String("name", "world", "who is greeted")
	flag.Parse()
	if err := run(context.Background(), *path, *name, os.Stdout); err != nil {
		log.Fatal(err)
	}
}
