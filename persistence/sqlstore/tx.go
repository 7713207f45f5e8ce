package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// errNothingToWrite, returned by the function given to write, rolls back
// without being an error.
var errNothingToWrite = errors.New("nothing to write")

// wtx is one write transaction. Statements do not see the caller's context: a
// transaction ends as a whole.
type wtx struct {
	bun.Tx

	ctx   context.Context
	st    *prepared
	texts *[stCount]string // sent as they are; nil: prepared in st
	pg    *postgres        // nil: SQLite
	self  string           // what a notification says of its sender
	guest bool             // the transaction is the caller's
	used  [stCount]*sql.Stmt
}

func (t *wtx) stmt(id statement) *sql.Stmt {
	if t.used[id] == nil {
		t.used[id] = t.StmtContext(t.ctx, t.st.write[id])
	}
	return t.used[id]
}

// args brings arguments to the form of the database.
func (t *wtx) args(args []any) []any {
	if t.pg != nil {
		return textArgs(args)
	}
	return args
}

func (t *wtx) exec(id statement, args ...any) (sql.Result, error) {
	if t.texts != nil {
		return t.Tx.Tx.ExecContext(t.ctx, t.texts[id], t.args(args)...)
	}
	return t.stmt(id).ExecContext(t.ctx, args...)
}

// change is exec, returning how many rows it changed.
func (t *wtx) change(id statement, args ...any) (int64, error) {
	res, err := t.exec(id, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t *wtx) query(id statement, args ...any) (*sql.Rows, error) {
	if t.texts != nil {
		return t.Tx.Tx.QueryContext(t.ctx, t.texts[id], t.args(args)...)
	}
	return t.stmt(id).QueryContext(t.ctx, args...)
}

func (t *wtx) row(id statement, args ...any) *sql.Row {
	if t.texts != nil {
		return t.Tx.Tx.QueryRowContext(t.ctx, t.texts[id], t.args(args)...)
	}
	return t.stmt(id).QueryRowContext(t.ctx, args...)
}

// access is where a call of the store runs: on connections of the store's own, or
// in a caller's transaction.
type access interface {
	begin(ctx context.Context) error
	read(ctx context.Context, doing string, fn func(ctx context.Context, st *prepared) error) error
	write(ctx context.Context, doing string, fn func(*wtx) error) error
}

// write runs fn in a write transaction and commits it. fn may run more than
// once, always on a fresh transaction. Its error rolls back and is returned.
// ErrUnknownOutcome: the database did not say whether the commit is durable.
func (s *Store) write(ctx context.Context, doing string, fn func(*wtx) error) error {
	inner, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	st, err := s.ready(inner)
	if err != nil {
		return s.classify(ctx, doing, err)
	}
	if s.pg != nil {
		s.followClock(inner, s.r)
		if err = s.writePostgres(inner, doing, fn); errors.Is(err, errNothingToWrite) {
			return nil
		}
		return s.classify(ctx, doing, err)
	}
	select {
	case s.writer <- struct{}{}:
	case <-inner.Done():
		return s.classify(ctx, doing, inner.Err())
	}
	err = func() error {
		defer func() { <-s.writer }() // also if a message type panics while it is decoded
		p := s.patience()
		for {
			err := s.writeOnce(inner, doing, st, &p, fn)
			if err == nil || persistence.Classified(err) || !s.isBusy(err) || !p.wait(inner) {
				return err
			}
		}
	}()
	if errors.Is(err, errNothingToWrite) {
		return nil
	}
	return s.classify(ctx, doing, err)
}

func (s *Store) writeOnce(ctx context.Context, doing string, st *prepared, p *patience, fn func(*wtx) error) error {
	conn, err := s.w.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	whole := context.WithoutCancel(ctx)
	tx, err := conn.BeginTx(whole, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	t := &wtx{Tx: tx, ctx: whole, st: st}
	if err := s.lockWrite(ctx, t, p); err != nil {
		return err
	}
	if err := fn(t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		if s.isBusy(err) { // refused as a whole
			return err
		}
		return failure(stabilize.ErrUnknownOutcome, doing, err)
	}
	return nil
}

// read runs fn, which reads, again while the database is busy.
func (s *Store) read(ctx context.Context, doing string, fn func(ctx context.Context, st *prepared) error) error {
	inner, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	st, err := s.ready(inner)
	switch {
	case err != nil:
	case s.pg != nil:
		err = s.again(inner, func() error { return asStale(fn(inner, st)) })
	default:
		err = s.retryBusy(inner, func() error { return fn(inner, st) })
	}
	return s.classify(ctx, doing, err)
}

func (s *Store) retryBusy(ctx context.Context, fn func() error) error {
	p := s.patience()
	for {
		err := fn()
		if err == nil || persistence.Classified(err) || !s.isBusy(err) || !p.wait(ctx) {
			return err
		}
	}
}
