package sqlstore_test

import (
	"database/sql"
	"errors"
	"net/url"
	"sync"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Stores of the same tables know each other, however the schema is named.
func TestPostgresSameTablesUnderTwoNames(t *testing.T) {
	schema := server.Schema(t)
	named := openPostgres(t, schema)
	found := open(t, "", func(c *sqlstore.Config) { c.DSN = searching(server.URL(t), schema) })
	if a, b := sqlstore.Channel(named), sqlstore.Channel(found); a != b {
		t.Errorf("one notifies %s and the other %s", a, b)
	}
	other := openPostgres(t, server.Schema(t))
	if sqlstore.Channel(other) == sqlstore.Channel(named) {
		t.Error("two schemas have one channel")
	}
}

// A limit is exact whatever isolation the server has by default: ours is set on
// connections of our own, and others are refused.
func TestPostgresDefaultIsolation(t *testing.T) {
	schema := server.Schema(t)
	openPostgres(t, schema)
	dsn := func() string {
		u, _ := url.Parse(searching(server.URL(t), schema))
		q := u.Query()
		q.Set("default_transaction_isolation", "repeatable read")
		u.RawQuery = q.Encode()
		return u.String()
	}()
	config := func(c *sqlstore.Config) { c.DSN = dsn }
	handles := []*sqlstore.Store{open(t, "", config), open(t, "", config)}
	const starters = 8
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		commit(t, handles[0], creation(id))
	}
	took := make(chan string, starters)
	var all sync.WaitGroup
	for i := range starters {
		all.Go(func() {
			id := string(rune('a' + i))
			w := workflow(id)
			w.Status = stabilize.Running
			err := handles[i%2].CommitBatch(t.Context(), []*persistence.Commit{{WorkflowID: id, Expect: 1, Header: &w.Header,
				Admission: &persistence.Admission{Op: persistence.TakePlace, Key: "one", Limit: 1}}})[0]
			switch {
			case err == nil:
				took <- id
			case !errors.Is(err, stabilize.ErrNoPlace):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(took) != 1 {
		t.Errorf("%d took the one place", len(took))
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, given := range map[string]sqlstore.Config{
		"bun": {Bun: bun.NewDB(db, pgdialect.New())}, "database": {DB: db}, "pooler": {DSN: dsn, TransactionPooling: true},
	} {
		if _, err := sqlstore.Open(t.Context(), given); !errors.Is(err, stabilize.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
