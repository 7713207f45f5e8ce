package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// shop is a program with orders of its own and an engine, in one database.
type shop struct {
	*testing.T
	db    *bun.DB // the program's own connections
	dsn   string  // of a PostgreSQL
	store *sqlstore.Store
	eng   *engine.Engine
	open  func(change ...func(*sqlstore.Config)) *sqlstore.Store // further handles

	mu   sync.Mutex
	runs map[string]int // of the task "count", by the order's number
}

// inShops runs a test in each database.
func inShops(t *testing.T, test func(*shop), opts ...engine.Option) {
	t.Run("sqlite", func(t *testing.T) { test(sqliteShop(t, opts...)) })
	t.Run("postgres", func(t *testing.T) { test(postgresShop(t, opts...)) })
}

func realTime(c *sqlstore.Config) { c.Clock = nil }

func sqliteShop(t *testing.T, opts ...engine.Option) *shop {
	path := tempFile(t)
	s := &shop{T: t, open: func(change ...func(*sqlstore.Config)) *sqlstore.Store {
		return open(t, path, append([]func(*sqlstore.Config){realTime}, change...)...)
	}}
	s.store = s.open()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_txlock=immediate")
	s.must(err)
	t.Cleanup(func() { _ = db.Close() })
	s.db = bun.NewDB(db, sqlitedialect.New())
	s.begin(opts)
	return s
}

func postgresShop(t *testing.T, opts ...engine.Option) *shop {
	schema := server.Schema(t)
	s := &shop{T: t, dsn: searching(server.URL(t), schema), open: func(change ...func(*sqlstore.Config)) *sqlstore.Store {
		return openPostgres(t, schema, append([]func(*sqlstore.Config){realTime}, change...)...)
	}}
	s.store = s.open()
	db, err := sql.Open("pgx", s.dsn)
	s.must(err)
	t.Cleanup(func() { _ = db.Close() })
	s.db = bun.NewDB(db, pgdialect.New())
	s.begin(opts)
	return s
}

func (s *shop) begin(opts []engine.Option) {
	s.runs = map[string]int{}
	_, err := s.db.NewCreateTable().Model((*Order)(nil)).Exec(s.Context())
	s.must(err)
	s.eng = s.engine(s.store, opts...)
}

// longLease outlives every pause of a busy machine: a lease that lapses has an order run twice.
const longLease = time.Hour

// engine makes an engine whose tasks are those of the shop.
func (s *shop) engine(store persistence.Store, opts ...engine.Option) *engine.Engine {
	eng, err := engine.New(store, append([]engine.Option{
		engine.WithConfig(engine.Config{LeaseTTL: longLease}), engine.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
	s.must(err)
	s.must(eng.RegisterTask("count", stabilize.Func(func(_ context.Context, in struct{ Number string }) (stabilize.Result, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.runs[in.Number]++
		return stabilize.Success(), nil
	})))
	for _, name := range []string{"gate", "second gate"} {
		s.must(eng.RegisterTask(name, stabilize.Func(func(ctx context.Context, _ struct{}) (stabilize.Result, error) {
			if stabilize.ExecutionFrom(ctx).Signal == nil {
				return stabilize.Suspend("go"), nil
			}
			return stabilize.Success(), nil
		})))
	}
	return eng
}

// run runs workers until the test ends.
func (s *shop) run(engines ...*engine.Engine) {
	for _, eng := range engines {
		ctx, cancel := context.WithCancel(context.WithoutCancel(s.Context()))
		done := make(chan error, 1)
		go func() { done <- eng.Run(ctx) }()
		s.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				s.Errorf("Run: %v", err)
			}
		})
	}
}

// tx begins a transaction, which is rolled back with the test if it has not ended.
func (s *shop) tx(opts ...*sql.TxOptions) bun.Tx {
	s.Helper()
	var opt *sql.TxOptions
	if len(opts) > 0 {
		opt = opts[0]
	}
	tx, err := s.db.BeginTx(s.Context(), opt)
	s.must(err)
	s.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func (s *shop) within(tx bun.IDB) *engine.Requests { return s.eng.Within(s.store.Within(tx)) }

func (s *shop) insert(tx bun.IDB, number string) {
	s.Helper()
	_, err := tx.NewInsert().Model(&Order{Number: number, Cents: 1}).Exec(s.Context())
	s.must(err)
}

// spec is an order's workflow.
func spec(number string, tasks ...string) *stabilize.WorkflowSpec {
	w := stabilize.NewWorkflow("shop", "order").Context("Number", number)
	last := ""
	for _, task := range tasks {
		stage := stabilize.NewStage(task).Do(task)
		if last != "" {
			stage.After(last)
		}
		w.Add(stage)
		last = task
	}
	return w
}

// orders counts those committed.
func (s *shop) orders() int64 {
	s.Helper()
	n, err := s.db.NewSelect().Model((*Order)(nil)).Count(s.Context())
	s.must(err)
	return n
}

// rows counts those of a table of the store's.
func (s *shop) rows(table string) (n int) {
	s.Helper()
	s.must(s.db.NewSelect().TableExpr(table).ColumnExpr("count(*)").Scan(s.Context(), &n))
	return n
}

func (s *shop) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *shop) want(err, class error) {
	s.Helper()
	if !errors.Is(err, class) {
		s.Errorf("%v, want %v", err, class)
	}
}

// ends waits for a workflow's end.
func (s *shop) ends(id string, status stabilize.Status) *stabilize.Workflow {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Minute)
	defer cancel()
	w, err := s.eng.Wait(ctx, id)
	s.must(err)
	if w.Status != status {
		s.Errorf("workflow %s is %s, want %s", id, w.Status, status)
	}
	return w
}

func (s *shop) ran(number string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[number]
}
