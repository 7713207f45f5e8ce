package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// neverPolls makes workers that find nothing unless they are told.
func neverPolls() engine.Option {
	return engine.WithConfig(engine.Config{MaxPoll: 24 * time.Hour, LeaseTTL: longLease})
}

func TestWithinCommitAndRollback(t *testing.T) {
	inShops(t, func(s *shop) {
		s.run(s.eng)
		tx := s.tx()
		s.insert(tx, "kept")
		kept, err := s.within(tx).Start(t.Context(), spec("kept", "count"), engine.WithKey("kept"))
		s.must(err)
		if _, err := s.eng.Get(t.Context(), kept); !errors.Is(err, stabilize.ErrNotFound) {
			s.Errorf("before the commit: %v", err)
		}
		s.must(tx.Commit())
		s.ends(kept, stabilize.Succeeded)

		tx = s.tx()
		s.insert(tx, "lost")
		view := s.within(tx)
		lost, err := view.Start(t.Context(), spec("lost", "count"), engine.WithKey("lost"))
		s.must(err)
		_, err = view.Get(t.Context(), lost)
		s.must(err)
		s.must(tx.Rollback())
		if _, err := s.eng.Get(t.Context(), lost); !errors.Is(err, stabilize.ErrNotFound) {
			s.Errorf("after the rollback: %v", err)
		}
		// Nothing in memory believes in it: the same key starts one now.
		again, err := s.eng.Start(t.Context(), spec("lost", "count"), engine.WithKey("lost"))
		s.must(err)
		s.ends(again, stabilize.Succeeded)
		if n := s.orders(); n != 1 || s.ran("kept") != 1 || s.ran("lost") != 1 {
			s.Errorf("%d orders; kept ran %d times, lost %d", n, s.ran("kept"), s.ran("lost"))
		}
	})
}

// Of a rollback to a savepoint of the caller's own, and of a rollback as a whole, no
// row is left.
func TestWithinLeavesNothing(t *testing.T) {
	inShops(t, func(s *shop) {
		tx := s.tx()
		s.insert(tx, "kept")
		inner, err := tx.BeginTx(t.Context(), nil)
		s.must(err)
		s.insert(inner, "lost")
		_, err = s.within(inner).Start(t.Context(), spec("lost", "count"))
		s.must(err)
		s.must(inner.Rollback())
		s.must(tx.Commit())
		for _, table := range []string{"workflows", "headers", "stages", "messages", "places"} {
			if n := s.rows(table); n != 0 {
				s.Errorf("%d rows of %s are left", n, table)
			}
		}
		if n := s.orders(); n != 1 {
			s.Errorf("%d orders", n)
		}
	})
}

// One request sees what those before it did in the transaction.
func TestWithinSeesItself(t *testing.T) {
	inShops(t, func(s *shop) {
		s.run(s.eng)
		tx := s.tx()
		view := s.within(tx)
		start := func(number string) string {
			id, err := view.Start(t.Context(), spec(number, "gate", "second gate"), engine.WithKey(number))
			s.must(err)
			return id
		}
		signalled, canceled := start("signalled"), start("canceled")
		for range 2 {
			delivered, err := view.Signal(t.Context(), signalled, "go", nil)
			s.must(err)
			if delivered {
				s.Error("a signal was delivered to what has not begun")
			}
		}
		s.must(view.Cancel(t.Context(), canceled, "me", "no money"))
		page, err := view.List(t.Context(), persistence.Query{})
		s.must(err)
		if len(page.Workflows) != 2 {
			s.Errorf("it lists %d workflows", len(page.Workflows))
		}
		s.must(tx.Commit())
		s.ends(signalled, stabilize.Succeeded)
		if w := s.ends(canceled, stabilize.Canceled); w.Cancel == nil || w.Cancel.Reason != "no money" {
			s.Errorf("canceled by %+v", w.Cancel)
		}
	})
}

// A running workflow is signalled and cancelled together with rows of the caller's.
func TestWithinRunningWorkflow(t *testing.T) {
	inShops(t, func(s *shop) {
		s.run(s.eng)
		var ids [3]string
		for i := range ids {
			id, err := s.eng.Start(t.Context(), spec(fmt.Sprint(i), "gate", "count"))
			s.must(err)
			ids[i] = id
			s.waits(id)
		}
		tx := s.tx()
		s.insert(tx, "lost")
		if delivered, err := s.within(tx).Signal(t.Context(), ids[0], "go", nil); err != nil || !delivered {
			s.Errorf("%v, %v", delivered, err)
		}
		s.must(s.within(tx).Cancel(t.Context(), ids[1], "me", ""))
		s.must(tx.Rollback())
		for _, id := range ids {
			w, err := s.eng.Get(t.Context(), id)
			s.must(err)
			if w.IsCanceled() || w.StageByRef("gate").Status != stabilize.Suspended {
				s.Errorf("after the rollback %s is %s, canceled %t", id, w.StageByRef("gate").Status, w.IsCanceled())
			}
		}
		tx = s.tx()
		s.insert(tx, "kept")
		view := s.within(tx)
		if delivered, err := view.Signal(t.Context(), ids[0], "go", nil); err != nil || !delivered {
			s.Errorf("%v, %v", delivered, err)
		}
		s.must(view.Cancel(t.Context(), ids[1], "me", ""))
		s.must(tx.Commit())
		s.ends(ids[0], stabilize.Succeeded)
		s.ends(ids[1], stabilize.Canceled)
		delivered, err := s.eng.Signal(t.Context(), ids[2], "go", nil)
		s.must(err)
		s.ends(ids[2], stabilize.Succeeded)
		if !delivered || s.ran("0") != 1 || s.ran("1") != 0 || s.ran("2") != 1 || s.orders() != 1 {
			s.Errorf("delivered %t; ran %d, %d, %d times; %d orders", delivered, s.ran("0"), s.ran("1"), s.ran("2"), s.orders())
		}
	})
}

// waits returns when a workflow's gate waits for its signal.
func (s *shop) waits(id string) {
	s.Helper()
	for {
		w, err := s.store.Load(s.Context(), id)
		s.must(err)
		if w.StageByRef("gate").Status == stabilize.Suspended {
			return
		}
	}
}

// After a refusal the transaction is as it was, and is committed.
func TestWithinRefusals(t *testing.T) {
	inShops(t, func(s *shop) {
		s.run(s.eng)
		ended, err := s.eng.Start(t.Context(), spec("ended", "count"), engine.WithKey("ended"))
		s.must(err)
		s.ends(ended, stabilize.Succeeded)
		running, err := s.eng.Start(t.Context(), spec("running", "gate"))
		s.must(err)
		s.waits(running)

		tx := s.tx()
		view := s.within(tx)
		s.insert(tx, "before")
		again, err := view.Start(t.Context(), spec("ended", "count"), engine.WithKey("ended"))
		s.must(err)
		if again != ended {
			s.Errorf("the key starts %s, not %s", again, ended)
		}
		s.want(view.Cancel(t.Context(), "nobody", "", ""), stabilize.ErrNotFound)
		s.want(view.Cancel(t.Context(), ended, "", ""), stabilize.ErrFinished)
		s.want(view.Resume(t.Context(), running, ""), stabilize.ErrInvalidTransition)
		_, err = view.Signal(t.Context(), running, "", nil)
		s.want(err, stabilize.ErrInvalid)
		_, err = view.Start(t.Context(), spec("unknown", "unknown"))
		s.want(err, stabilize.ErrInvalid)
		store := s.store.Within(tx)
		w, err := store.Load(t.Context(), running)
		s.must(err)
		late := &persistence.Commit{WorkflowID: running, Expect: w.Version - 1, Header: &w.Header}
		s.want(store.CommitBatch(t.Context(), []*persistence.Commit{late})[0], stabilize.ErrConflict)
		moved := *w.Stages[0]
		moved.Ref = "another"
		half := &persistence.Commit{WorkflowID: running, Expect: w.Version, Header: &w.Header, Stages: []*stabilize.Stage{&moved}}
		s.want(store.CommitBatch(t.Context(), []*persistence.Commit{half})[0], stabilize.ErrInvalid)
		s.insert(tx, "after")
		s.must(tx.Commit())

		now, err := s.eng.Get(t.Context(), running)
		s.must(err)
		if n := s.orders(); n != 2 || now.Version != w.Version || now.Stages[0].Version != w.Stages[0].Version {
			s.Errorf("%d orders; the workflow is at %d, and was at %d", n, now.Version, w.Version)
		}
	})
}

func TestWithinBadTransaction(t *testing.T) {
	inShops(t, func(s *shop) {
		_, isPostgres := s.db.Dialect().(*pgdialect.Dialect)
		var other *bun.DB // never reached: it has no database
		if isPostgres {
			other = bun.NewDB(sql.OpenDB(nil), sqlitedialect.New())
		} else {
			other = bun.NewDB(sql.OpenDB(nil), pgdialect.New())
		}
		for name, bad := range map[string]bun.IDB{
			"nil": nil, "a nil database": (*bun.DB)(nil), "no transaction": bun.Tx{}, "no connection": bun.Conn{}, "another dialect": other,
		} {
			view := s.within(bad)
			_, err := view.Start(t.Context(), spec("x", "count"))
			if !errors.Is(err, stabilize.ErrInvalid) {
				s.Errorf("%s: %v", name, err)
			}
			if _, err := view.Get(t.Context(), "x"); !errors.Is(err, stabilize.ErrInvalid) {
				s.Errorf("%s: %v", name, err)
			}
		}
		nobody := s.eng.Within(nil)
		s.want(nobody.Cancel(t.Context(), "x", "", ""), stabilize.ErrInvalid)
		_, err := nobody.Get(t.Context(), "x")
		s.want(err, stabilize.ErrInvalid)

		tx := s.tx()
		view := s.within(tx)
		s.must(tx.Commit())
		_, err = view.Start(t.Context(), spec("x", "count"))
		s.want(err, stabilize.ErrClosed)
		tx = s.tx()
		s.must(tx.Rollback())
		s.want(s.within(tx).Cancel(t.Context(), "x", "", ""), stabilize.ErrClosed)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		tx = s.tx()
		_, err = s.within(tx).Start(ended, spec("x", "count"))
		s.want(err, context.Canceled)
		s.must(s.store.Close())
		_, err = s.within(tx).Start(t.Context(), spec("x", "count"))
		s.want(err, stabilize.ErrClosed)
		s.insert(tx, "kept")
		s.must(tx.Commit())
		if n := s.orders(); n != 1 {
			s.Errorf("%d orders", n)
		}
	})
}

// Given a database or a connection, each call is a transaction of its own.
func TestWithinDatabase(t *testing.T) {
	inShops(t, func(s *shop) {
		s.run(s.eng)
		id, err := s.within(s.db).Start(t.Context(), spec("a", "gate"))
		s.must(err)
		s.waits(id)
		conn, err := s.db.Conn(t.Context())
		s.must(err)
		defer conn.Close()
		if delivered, err := s.within(conn).Signal(t.Context(), id, "go", nil); err != nil || !delivered {
			s.Errorf("%v, %v", delivered, err)
		}
		s.ends(id, stabilize.Succeeded)
		_, err = conn.ExecContext(t.Context(), "BEGIN")
		s.must(err)
		if _, err := s.within(conn).Start(t.Context(), spec("b", "count"), engine.WithKey("b")); err == nil {
			s.Error("a transaction begun by hand was taken for none")
		}
		_, err = conn.ExecContext(t.Context(), "ROLLBACK")
		s.must(err)
		if n := s.rows("workflows"); n != 1 {
			s.Errorf("%d workflows", n)
		}
	})
}

// A call whose context ends on the way leaves the transaction as it was.
func TestWithinCallEndsOnTheWay(t *testing.T) {
	inShops(t, func(s *shop) {
		clock := &stoppingClock{Clock: stabilize.SystemClock{}}
		store := s.open(onClock(clock))
		eng := s.engine(store, engine.WithClock(stabilize.SystemClock{}))
		tx := s.tx()
		s.insert(tx, "kept")
		ctx, cancel := context.WithCancel(t.Context())
		clock.stop = cancel
		_, err := eng.Within(store.Within(tx)).Start(ctx, spec("lost", "count"))
		s.want(err, context.Canceled)
		clock.stop = nil
		_, err = eng.Within(store.Within(tx)).Start(t.Context(), spec("kept", "count"))
		s.must(err)
		s.must(tx.Commit())
		if n, m := s.orders(), s.rows("workflows"); n != 1 || m != 1 || s.rows("messages") != 1 {
			s.Errorf("%d orders, %d workflows, %d messages", n, m, s.rows("messages"))
		}
	})
}

// stoppingClock calls stop when it is asked.
type stoppingClock struct {
	stabilize.Clock
	stop func()
}

func (c *stoppingClock) Now() time.Time {
	if c.stop != nil {
		c.stop()
	}
	return c.Clock.Now()
}

// A pool of one connection, which the transaction has, is enough for the store.
func TestWithinPoolOfOne(t *testing.T) {
	inShops(t, func(s *shop) {
		s.db.SetMaxOpenConns(1)
		store := s.open(func(c *sqlstore.Config) {
			c.Path, c.DSN, c.Schema, c.Bun, c.Migrate = "", "", "", s.db, false
		})
		s.store, s.eng = store, s.engine(store)
		sqlstore.MeasureAgain(store)
		tx := s.tx()
		s.insert(tx, "a")
		view := s.within(tx)
		id, err := view.Start(t.Context(), spec("a", "count"))
		s.must(err)
		s.want(view.Cancel(t.Context(), "nobody", "", ""), stabilize.ErrNotFound)
		s.must(view.Cancel(t.Context(), id, "", ""))
		s.must(tx.Commit())
		s.ends(id, stabilize.Canceled)

		// Nor does a schema that is not there ask for another.
		bare := s.open(func(c *sqlstore.Config) {
			c.Path, c.DSN, c.Schema, c.Bun, c.Migrate, c.Prefix = "", "", "", s.db, false, "bare_"
		})
		tx = s.tx()
		_, err = s.engine(bare).Within(bare.Within(tx)).Start(t.Context(), spec("b", "count"))
		s.want(err, stabilize.ErrSchemaMissing)
		s.insert(tx, "b")
		s.must(tx.Commit())
		if n := s.orders(); n != 2 {
			s.Errorf("%d orders", n)
		}
	})
}

// Workers of this process look when they are told of the commit, and the recorder
// hears of what happened then, and of nothing that was rolled back.
func TestWithinCommitted(t *testing.T) {
	var mu sync.Mutex
	heard := map[string]int{}
	recorder := events.RecorderFunc(func(_ context.Context, evs []events.Event) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range evs {
			if e.Type == events.WorkflowCreated {
				heard[e.WorkflowID]++
			}
		}
	})
	inShops(t, func(s *shop) {
		s.run(s.eng)
		first, err := s.eng.Start(t.Context(), spec("first", "count"))
		s.must(err)
		s.ends(first, stabilize.Succeeded) // from now on the workers wait to be told
		var ids []string
		for _, kept := range []bool{false, true} {
			tx := s.tx()
			view := s.within(tx)
			id, err := view.Start(t.Context(), spec("a", "count"))
			s.must(err)
			ids = append(ids, id)
			mu.Lock()
			if heard[id] > 0 {
				s.Error("the recorder heard before the commit")
			}
			mu.Unlock()
			if !kept {
				s.must(tx.Rollback())
				continue
			}
			s.must(tx.Commit())
			view.Committed(t.Context())
			view.Committed(t.Context())
		}
		s.ends(ids[1], stabilize.Succeeded)
		mu.Lock()
		defer mu.Unlock()
		if heard[ids[0]] != 0 || heard[ids[1]] != 1 {
			s.Errorf("the recorder heard %d times of what was rolled back, %d times of what was committed", heard[ids[0]], heard[ids[1]])
		}
	}, neverPolls(), engine.WithRecorder(recorder))
}

// Orders are placed, signalled and cancelled, or not, beside two engines under load:
// afterwards there are as many orders as workflows, and each has ended.
func TestWithinUnderLoad(t *testing.T) {
	inShops(t, func(s *shop) {
		other := s.engine(s.open())
		s.run(s.eng, other)
		const clerks, each = 4, 12
		var all sync.WaitGroup
		for clerk := range clerks {
			all.Go(func() {
				chance := rand.New(rand.NewPCG(1, uint64(clerk)))
				var open []string
				for i := range each {
					number := fmt.Sprintf("%d-%d", clerk, i)
					if id, kept := s.place(chance, number, open); kept {
						open = append(open, id)
					}
				}
				for _, id := range open {
					if _, err := other.Signal(t.Context(), id, "go", nil); err != nil && !errors.Is(err, stabilize.ErrFinished) {
						s.Error(err)
					}
				}
			})
		}
		all.Wait()
		page, err := s.eng.List(t.Context(), persistence.Query{Limit: 1000})
		s.must(err)
		if n := s.orders(); int(n) != len(page.Workflows) || n == 0 || n == clerks*each {
			s.Errorf("%d orders, %d workflows", n, len(page.Workflows))
		}
		for _, h := range page.Workflows {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			w, err := s.eng.Wait(ctx, h.ID)
			cancel()
			s.must(err)
			number, err := stabilize.Get[string](w.Context, "Number")
			s.must(err)
			if n := s.ran(number); w.Status == stabilize.Succeeded && n != 1 || w.Status != stabilize.Succeeded && w.Status != stabilize.Canceled {
				s.Errorf("order %s ended %s and ran %d times", number, w.Status, n)
			}
		}
	})
}

// place places an order, and perhaps asks something of an earlier one, in a
// transaction that is run again as long as others are in its way. It reports whether
// it was committed.
func (s *shop) place(chance *rand.Rand, number string, earlier []string) (id string, kept bool) {
	commits, cancels := chance.IntN(3) > 0, chance.IntN(4) == 0
	about := ""
	if len(earlier) > 0 {
		about = earlier[chance.IntN(len(earlier))]
	}
	rolledBack := errors.New("rolled back")
	for {
		err := s.db.RunInTx(s.Context(), nil, func(ctx context.Context, tx bun.Tx) (err error) {
			if _, err := tx.NewInsert().Model(&Order{Number: number}).Exec(ctx); err != nil {
				return err
			}
			view := s.within(tx)
			if about != "" && cancels {
				err = view.Cancel(ctx, about, "clerk", "")
			} else if about != "" {
				_, err = view.Signal(ctx, about, "go", nil, engine.SignalKey(number))
			}
			if err != nil && !errors.Is(err, stabilize.ErrFinished) {
				return err
			}
			if id, err = view.Start(ctx, spec(number, "gate", "count"), engine.WithKey(number)); err != nil || commits {
				return err
			}
			return rolledBack
		})
		switch {
		case err == nil:
			return id, true
		case errors.Is(err, rolledBack):
			return "", false
		case !errors.Is(err, stabilize.ErrTransient):
			s.Error(err)
			return "", false
		}
	}
}
