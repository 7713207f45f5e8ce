package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/stabilize-dev/go-stabilize/conformance/sqlharness"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// The commit itself wakes idle workers, of this process and of others.
func TestPostgresWithinNotifies(t *testing.T) {
	s := postgresShop(t, neverPolls())
	s.run(s.eng)
	tx := s.tx()
	id, err := s.within(tx).Start(t.Context(), spec("a", "count"))
	s.must(err)
	s.must(tx.Commit())
	s.ends(id, stabilize.Succeeded)
}

// A commit with a place under a limit tells other processes too.
func TestPostgresPlaceNotifies(t *testing.T) {
	s := postgresShop(t)
	listener := s.open()
	<-listener.Wake() // it listens
	create := creation("w")
	create.Messages = []queue.Outgoing{message("m", "w")}
	create.Admission = &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}
	commit(t, s.store, create)
	<-listener.Wake()
}

// What others did since the transaction began: READ COMMITTED sees it and loses
// nothing, a snapshot that is older says so, and the transaction is run again.
func TestPostgresWithinIsolation(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		t.Run(level.String(), func(t *testing.T) {
			s := postgresShop(t)
			id, err := s.eng.Start(t.Context(), spec("a", "gate"))
			s.must(err)
			attempt := func(between func()) error {
				tx := s.tx(&sql.TxOptions{Isolation: level})
				defer func() { _ = tx.Rollback() }()
				s.insert(tx, "a")
				between()
				if _, err := s.within(tx).Signal(t.Context(), id, "go", nil); err != nil {
					return err
				}
				return tx.Commit()
			}
			err = attempt(func() {
				_, err := s.eng.Signal(t.Context(), id, "go", nil)
				s.must(err)
			})
			if level != sql.LevelReadCommitted {
				s.want(err, stabilize.ErrTransient)
				err = attempt(func() {})
			}
			s.must(err)
			w, err := s.eng.Get(t.Context(), id)
			s.must(err)
			if len(w.Signals) != 2 || s.orders() != 1 {
				s.Errorf("%d signals, %d orders", len(w.Signals), s.orders())
			}
		})
	}
}

// A signal in a transaction waits for a commit under way and is decided after it.
func TestPostgresWithinWaitsForAWorker(t *testing.T) {
	s := postgresShop(t)
	id, err := s.eng.Start(t.Context(), spec("a", "gate"))
	s.must(err)
	first, second := s.tx(), s.tx()
	_, err = s.within(first).Signal(t.Context(), id, "go", nil)
	s.must(err)
	done := make(chan error, 1)
	go func() {
		_, err := s.within(second).Signal(t.Context(), id, "go", nil)
		done <- errors.Join(err, second.Commit())
	}()
	s.blocks()
	s.must(first.Commit())
	s.must(<-done)
	w, err := s.eng.Get(t.Context(), id)
	s.must(err)
	if len(w.Signals) != 2 {
		s.Errorf("%d signals", len(w.Signals))
	}
}

// The same key in two transactions is one workflow, also if the first is rolled back.
func TestPostgresWithinSameKey(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			s := postgresShop(t)
			first, second := s.tx(), s.tx()
			s.insert(first, "a")
			one, err := s.within(first).Start(t.Context(), spec("a", "count"), engine.WithKey("a"))
			s.must(err)
			var two string
			done := make(chan error, 1)
			go func() {
				var err error
				two, err = s.within(second).Start(t.Context(), spec("a", "count"), engine.WithKey("a"))
				done <- errors.Join(err, second.Commit())
			}()
			s.blocks()
			if kept {
				s.must(first.Commit())
			} else {
				s.must(first.Rollback())
			}
			s.must(<-done)
			if n := s.rows("workflows"); one != two || n != 1 || s.rows("messages") != 1 {
				s.Errorf("%s and %s, %d workflows, %d messages", one, two, n, s.rows("messages"))
			}
		})
	}
}

// A limit is counted under READ COMMITTED, and under nothing else.
func TestPostgresWithinLimit(t *testing.T) {
	s := postgresShop(t)
	limited := func(number string) *stabilize.WorkflowSpec {
		return spec(number, "gate").LimitConcurrent("limited", 1)
	}
	tx := s.tx()
	first, err := s.within(tx).Start(t.Context(), limited("1"))
	s.must(err)
	second, err := s.within(tx).Start(t.Context(), limited("2"))
	s.must(err)
	s.must(tx.Commit())
	for _, level := range []sql.IsolationLevel{sql.LevelRepeatableRead, sql.LevelSerializable} {
		tx = s.tx(&sql.TxOptions{Isolation: level})
		s.insert(tx, level.String())
		_, err = s.within(tx).Start(t.Context(), limited("3"))
		s.want(err, stabilize.ErrUnsupported)
		_, err = s.within(tx).Start(t.Context(), spec("4", "gate"))
		s.must(err)
		s.must(tx.Commit())
	}
	for id, want := range map[string]stabilize.Status{first: stabilize.Running, second: stabilize.Buffered} {
		w, err := s.eng.Get(t.Context(), id)
		s.must(err)
		if w.Status != want {
			s.Errorf("%s, want %s", w.Status, want)
		}
	}
	if n := s.rows("workflows"); n != 4 || s.orders() != 2 {
		s.Errorf("%d workflows, %d orders", n, s.orders())
	}
}

// A transaction that PostgreSQL refuses to go on with takes no more requests, and says
// why.
func TestPostgresWithinAborted(t *testing.T) {
	s := postgresShop(t)
	tx := s.tx()
	s.insert(tx, "a")
	if _, err := tx.NewInsert().Model(&Order{Number: "a"}).Exec(t.Context()); err == nil {
		t.Fatal("the same order twice")
	}
	_, err := s.within(tx).Start(t.Context(), spec("a", "count"))
	s.want(err, stabilize.ErrClosed)
	if state := (interface{ SQLState() string })(nil); !errors.As(err, &state) || state.SQLState() != "25P02" {
		s.Errorf("it does not say why: %v", err)
	}
}

// Transactions that name two workflows in opposite orders: one of them fails as a
// whole, and succeeds when it is run again.
func TestPostgresWithinDeadlock(t *testing.T) {
	s := postgresShop(t)
	var ids [2]string
	for i := range ids {
		id, err := s.eng.Start(t.Context(), spec(fmt.Sprint(i), "gate"))
		s.must(err)
		ids[i] = id
	}
	txs := [2]bun.Tx{s.tx(), s.tx()}
	signal := func(i, id int) error {
		_, err := s.within(txs[i]).Signal(t.Context(), ids[id], "go", nil)
		return err
	}
	for i := range txs {
		s.must(signal(i, i))
	}
	done := make(chan error, 1)
	go func() { // when it gives up it lets go of what the other waits for
		err := signal(0, 1)
		if err != nil {
			err = errors.Join(err, txs[0].Rollback())
		}
		done <- err
	}()
	err := signal(1, 0)
	if err != nil {
		s.must(txs[1].Rollback())
	}
	failed := 0
	for _, err := range []error{err, <-done} {
		if err != nil {
			failed++
			s.want(err, stabilize.ErrTransient)
		}
	}
	if failed != 1 {
		s.Errorf("%d failed", failed)
	}
}

// A caller that holds workflows for long keeps waiting what workers have to say about
// them, and nothing else, however many they are; and no task is run again for it.
func TestPostgresWithinHoldsNobodyUp(t *testing.T) {
	s := postgresShop(t)
	const held = 5 // more than batches are in flight
	s.store = s.open(func(c *sqlstore.Config) { c.CallTimeout, c.BusyTimeout = time.Hour, time.Hour })
	s.eng = s.engine(s.store)
	var runs atomic.Int64
	begun, release := make(chan struct{}, held), make(chan struct{})
	finish := sync.OnceFunc(func() { close(release) })
	defer finish()
	s.must(s.eng.RegisterTask("slow", stabilize.Func(func(context.Context, struct{}) (struct{}, error) {
		runs.Add(1)
		begun <- struct{}{}
		<-release
		return struct{}{}, nil
	})))
	s.run(s.eng)
	var ids [held]string
	for i := range ids {
		id, err := s.eng.Start(t.Context(), spec(fmt.Sprint("held", i), "slow", "gate"))
		s.must(err)
		ids[i] = id
		<-begun
	}
	tx := s.tx()
	for _, id := range ids {
		_, err := s.within(tx).Signal(t.Context(), id, "go", nil)
		s.must(err)
	}
	_, err := s.within(tx).Start(t.Context(), spec("key", "count"), engine.WithKey("key"))
	s.must(err)
	finish() // their results cannot be committed now
	waits, stop := context.WithCancel(t.Context())
	defer stop()
	type started struct {
		id  string
		err error
	}
	key := make(chan started, 1)
	go func() { // nor can this
		id, err := s.eng.Start(waits, spec("key", "count"), engine.WithKey("key"))
		key <- started{id, err}
	}()
	s.blocks()
	for round := range 3 {
		var others []string
		for i := range 20 {
			id, err := s.eng.Start(t.Context(), spec(fmt.Sprint("other", round, "-", i), "count"))
			s.must(err)
			others = append(others, id)
		}
		for _, id := range others {
			s.ends(id, stabilize.Succeeded)
		}
	}
	select {
	case got := <-key:
		s.Errorf("a start with the key of an open transaction: %+v", got)
	default:
	}
	s.must(tx.Commit())
	for _, id := range ids {
		s.ends(id, stabilize.Succeeded)
	}
	got := <-key
	s.must(got.err)
	s.ends(got.id, stabilize.Succeeded)
	if n := runs.Load(); n != held || s.ran("key") != 1 {
		s.Errorf("%d runs of %d tasks; the one with the key ran %d times", n, held, s.ran("key"))
	}
}

// A batch in which some commits are blocked, in every way: the others are applied.
func TestPostgresTryBatch(t *testing.T) {
	s := postgresShop(t)
	for _, id := range []string{"a", "b", "held"} {
		commit(t, s.store, creation(id))
	}
	tx := s.tx()
	view := s.store.Within(tx)
	_, err := view.Load(t.Context(), "held")
	s.must(err)
	unborn := creation("unborn")
	unborn.Admission = &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}
	s.must(view.CommitBatch(t.Context(), []*persistence.Commit{unborn})[0])

	touch := func(id string, version int64) *persistence.Commit {
		return &persistence.Commit{WorkflowID: id, Expect: version}
	}
	place := touch("b", 1)
	place.Admission = &persistence.Admission{Op: persistence.TakePlace, Key: "k", Limit: 1}
	check(s, "a set", s.store.TryBatch(t.Context(), []*persistence.Commit{
		touch("a", 1), touch("held", 1), creation("c"), creation("unborn"), touch("b", 7), nil,
	}), nil, "held", nil, "unborn", stabilize.ErrConflict, stabilize.ErrInvalid)
	check(s, "one after another", s.store.TryBatch(t.Context(),
		[]*persistence.Commit{touch("a", 2), touch("held", 1), touch("a", 3), place, touch("c", 1)}), nil, "held", nil, "b", nil)
	s.must(tx.Rollback())
	check(s, "afterwards", s.store.TryBatch(t.Context(), []*persistence.Commit{touch("held", 1), creation("unborn"), place}), nil, nil, nil)
}

// check compares the answers of a batch: a text is the workflow that is blocked.
func check(s *shop, name string, got []error, want ...any) {
	s.Helper()
	for i, err := range got {
		switch want := want[i].(type) {
		case nil:
			if err != nil {
				s.Errorf("%s: commit %d: %v", name, i, err)
			}
		case string:
			blocked, ok := errors.AsType[*persistence.BlockedError](err)
			if !ok || blocked.WorkflowID != want || !errors.Is(err, stabilize.ErrTransient) {
				s.Errorf("%s: commit %d: %v, want %s to be blocked", name, i, err, want)
			}
		case error:
			if !errors.Is(err, want) {
				s.Errorf("%s: commit %d: %v, want %v", name, i, err, want)
			}
		}
	}
}

// blocks returns when one of the shop's statements waits for a lock.
func (s *shop) blocks() {
	s.Helper()
	for n := 0; n == 0; {
		s.must(s.db.QueryRowContext(s.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND position(current_schema() in query) > 0`).Scan(&n))
	}
}

// Whoever works with pgx has its connection of the same transaction.
func TestPostgresWithinBesidePgx(t *testing.T) {
	s := postgresShop(t)
	config, err := pgxpool.ParseConfig(s.dsn)
	s.must(err)
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	s.must(err)
	defer pool.Close()
	db := bun.NewDB(stdlib.OpenDBFromPool(pool), pgdialect.New())
	defer db.Close()
	for _, kept := range []bool{false, true} {
		conn, err := db.Conn(t.Context())
		s.must(err)
		defer conn.Close()
		tx, err := conn.BeginTx(t.Context(), nil)
		s.must(err)
		s.must(conn.Raw(func(driver any) error {
			c := driver.(*stdlib.Conn).Conn()
			_, err := c.CopyFrom(t.Context(), pgx.Identifier{"orders"}, []string{"number", "cents"}, pgx.CopyFromRows([][]any{{"a", 1}, {"b", 2}}))
			return err
		}))
		_, err = s.within(tx).Start(t.Context(), spec("a", "count"))
		s.must(err)
		if kept {
			s.must(tx.Commit())
		} else {
			s.must(tx.Rollback())
		}
		if n, want := s.orders(), map[bool]int64{true: 2}[kept]; n != want || int64(s.rows("workflows")) != want/2 {
			s.Errorf("%d orders, %d workflows", n, s.rows("workflows"))
		}
	}
}

// What waits for the key of a limit that a caller holds is refused, and the rest applied,
// in a few round trips: the batch is not cut in halves until nothing waits.
func TestPostgresTryBatchUnderAHeldKey(t *testing.T) {
	h := sqlharness.NewPostgres(t, sqlharness.PostgresConfig{DSN: server.DSN(t)})
	store := h.Store().(*sqlstore.Store)
	s := &shop{T: t, db: bun.NewDB(rawPostgres(t, h.Schema()), pgdialect.New())}
	tx := s.tx()
	take := func(id string) *persistence.Commit {
		c := creation(id)
		c.Admission = &persistence.Admission{Op: persistence.TakePlace, Key: "k"}
		return c
	}
	s.must(store.Within(tx).CommitBatch(t.Context(), []*persistence.Commit{take("first")})[0])
	batch := []*persistence.Commit{creation("innocent")}
	want := []any{nil}
	for i := range 40 {
		id := fmt.Sprint("waits", i)
		batch, want = append(batch, take(id)), append(want, id)
	}
	before := h.Queries()
	check(s, "forty", store.TryBatch(t.Context(), batch), want...)
	// The whole batch, what is held (a transaction of two questions), the rest of it.
	if trips := h.Queries() - before; trips > 6 {
		t.Errorf("%d round trips", trips)
	}
	s.must(tx.Rollback())
}
