package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// Order is a row of the shop's own.
type Order struct {
	Number string `bun:",pk"`
	Cents  int
}

// An order and its workflow begin together or not at all.
func ExampleStore_Within() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sqlite, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		log.Fatal(err)
	}
	defer sqlite.Close()
	db := bun.NewDB(sqlite, sqlitedialect.New())
	if _, err := db.NewCreateTable().Model((*Order)(nil)).Exec(ctx); err != nil {
		log.Fatal(err)
	}

	// The store's tables are in the same database.
	store, err := sqlstore.Open(ctx, sqlstore.Config{Bun: db, Prefix: "wf_", Migrate: true})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	eng, err := engine.New(store)
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	_ = eng.RegisterTask("ship", stabilize.Func(func(_ context.Context, in struct{ Number string }) (string, error) {
		return "parcel for " + in.Number, nil
	}))
	go eng.Run(ctx)

	place := func(o Order) (id string, err error) {
		var requests *engine.Requests
		err = db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.NewInsert().Model(&o).Exec(ctx); err != nil {
				return err
			}
			requests = eng.Within(store.Within(tx))
			id, err = requests.Start(ctx, stabilize.NewWorkflow("shop", "order").
				Context("Number", o.Number).
				Add(stabilize.NewStage("ship").Do("ship")),
				engine.WithKey(o.Number))
			if err == nil && o.Cents <= 0 {
				err = errors.New("an order of nothing")
			}
			return err
		})
		if err == nil {
			requests.Committed(ctx) // workers here look at once; without it they look soon
		}
		return id, err
	}

	id, err := place(Order{Number: "A-17", Cents: 1250})
	if err != nil {
		log.Fatal(err)
	}
	w, err := eng.Wait(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s\n", w.Status, w.StageByRef("ship").Outputs["result"])

	id, err = place(Order{Number: "A-18"})
	_, missing := eng.Get(ctx, id)
	n, _ := db.NewSelect().Model((*Order)(nil)).Count(ctx)
	fmt.Println(err, errors.Is(missing, stabilize.ErrNotFound), n)
	// Output:
	// SUCCEEDED "parcel for A-17"
	// an order of nothing true 1
}
