package boltstore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/stabilize-dev/go-stabilize/examples/customstore/boltstore"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// A workflow is run on a file, which is then closed and opened again.
func Example() {
	dir, err := os.MkdirTemp("", "boltstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "work.db")

	var id string
	err = onFile(path, func(store *boltstore.Store) error {
		eng, err := engine.New(store)
		if err != nil {
			return err
		}
		defer eng.Close()
		err = eng.RegisterTask("greet", stabilize.Func(func(context.Context, struct{}) (string, error) { return "hello", nil }))
		if err != nil {
			return err
		}
		go func() { _ = eng.Run(ctx) }()
		if id, err = eng.Start(ctx, stabilize.NewWorkflow("app", "greeting").Add(stabilize.NewStage("greet").Do("greet"))); err != nil {
			return err
		}
		w, err := eng.Wait(ctx, id)
		if err == nil {
			fmt.Println("ran:", w.Status)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	err = onFile(path, func(store *boltstore.Store) error {
		w, err := store.Load(ctx, id)
		if err != nil {
			return err
		}
		page, err := store.Query(ctx, persistence.Query{Application: "app"})
		if err == nil {
			fmt.Printf("read: %s %s, %d in the list\n", w.Status, w.StageByRef("greet").Outputs["result"], len(page.Workflows))
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// ran: SUCCEEDED
	// read: SUCCEEDED "hello", 1 in the list
}

func onFile(path string, do func(*boltstore.Store) error) error {
	db, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	store := boltstore.New(db, boltstore.Config{})
	defer store.Close()
	return do(store)
}
