package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Within returns the store as it is within a transaction of the caller's, so that
// rows of the caller's own and workflows are committed together or not at all:
//
//	err := db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
//		if _, err := tx.NewInsert().Model(&order).Exec(ctx); err != nil {
//			return err
//		}
//		_, err := eng.Within(store.Within(tx)).Start(ctx, spec, engine.WithKey(order.Number))
//		return err
//	})
//
// The transaction is of any *bun.DB on the database that holds the store's tables, with
// the driver of github.com/jackc/pgx/v5/stdlib, or in SQLite one whose errors
// Config.ErrorCode can read. What is changed through the view is durable, and seen
// by others, when the caller commits; a rollback leaves nothing of it. Every call
// is all or nothing by a savepoint of its own: after an error the transaction is as
// it was before the call and may be committed, but for the errors below that say
// otherwise. The view ends with the transaction, and its Close does nothing. Like the
// transaction it is for one goroutine at a time. Times are those of the store's Clock.
//
// Locks, which the transaction holds to its end; so keep it short, and within it ask
// nothing of the engine or the store but through the view:
//
//   - In PostgreSQL Load and CommitBatch lock the workflow's row, a start with a key that
//     key, and a commit with a place under a concurrency limit the limit. Whoever else
//     commits about them waits until the transaction ends, engine.Requests included;
//     what workers have to commit about others goes on (see TryBatch). Transactions that
//     name several workflows in different orders deadlock, one of them fails as
//     ErrTransient.
//   - In SQLite Load, CommitBatch, Delete and Prune take the write lock, of which there is one
//     for the file: nobody else writes until the transaction ends. A transaction that
//     will write begins better with it (BEGIN IMMEDIATE), and its connection wants a
//     busy timeout; a call of the view waits Config.BusyTimeout.
//
// Errors beside those of persistence.WorkflowStore:
//
//   - ErrInvalid before any I/O for a nil transaction and for one of another dialect.
//   - ErrTransient, when another transaction was in the way (SQLSTATE 40001, 40P01,
//     SQLITE_BUSY): roll back and run the whole transaction again. Under REPEATABLE READ
//     and SERIALIZABLE that is the answer for a workflow that changed since the
//     transaction began, and COMMIT itself may say so.
//   - ErrUnsupported for taking a place under a concurrency limit in PostgreSQL under
//     any isolation but READ COMMITTED: an older snapshot cannot count the places.
//   - The context's error ends the caller's transaction as well.
//   - ErrClosed when the transaction has ended, or an error before made PostgreSQL
//     refuse everything but its rollback.
//
// Given a *bun.DB or a bun.Conn, each call runs in a transaction of its own.
//
// Workers learn of what was committed by a notification of PostgreSQL, sent with the
// commit; without it (SQLite, Config.NoListen elsewhere) by polling, or at once by
// engine.Requests.Committed.
func (s *Store) Within(tx bun.IDB) persistence.WorkflowStore { return &within{s: s, db: tx} }

// within is a Store within a caller's transaction. It asks for no connection of the
// store's: a pool of one has given it to the caller.
type within struct {
	s  *Store
	db bun.IDB
}

var (
	_ persistence.WorkflowStore = (*within)(nil)
	_ persistence.Limits        = (*within)(nil)
)

// begin implements access.
func (v *within) begin(ctx context.Context) error {
	if err := v.s.begin(ctx); err != nil {
		return err
	}
	if absentTx(v.db) {
		return stabilize.Invalid("transaction", "is nil")
	}
	want := dialect.SQLite
	if v.s.pg != nil {
		want = dialect.PG
	}
	if got := v.db.Dialect().Name(); got != want {
		return stabilize.Invalid("transaction", "is of the dialect %s, the store of %s", got, want)
	}
	return nil
}

func absentTx(db bun.IDB) bool {
	switch db := db.(type) {
	case nil:
		return true
	case *bun.DB:
		return db == nil
	case bun.Tx:
		return db.Tx == nil
	case *bun.Tx:
		return db == nil || db.Tx == nil
	case bun.Conn:
		return db.Conn == nil
	case *bun.Conn:
		return db == nil || db.Conn == nil
	}
	return false
}

// ownTx reports that each call has a transaction of its own.
func (v *within) ownTx() bool {
	switch v.db.(type) {
	case *bun.DB, bun.Conn, *bun.Conn:
		return true
	}
	return false
}

// read implements access.
func (v *within) read(ctx context.Context, doing string, fn func(context.Context, *prepared) error) error {
	return v.run(ctx, doing, func(tx *wtx) error { return fn(tx.ctx, tx.reading()) })
}

// write implements access.
func (v *within) write(ctx context.Context, doing string, fn func(*wtx) error) error {
	return v.run(ctx, doing, func(tx *wtx) error {
		if err := v.lock(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	})
}

// lock takes the write lock in SQLite, unless the transaction has it.
func (v *within) lock(ctx context.Context, tx *wtx) error {
	if v.s.pg != nil {
		return nil
	}
	p := v.s.patience()
	return v.s.lockWrite(ctx, tx, &p)
}

// reading is what reads in the transaction.
func (t *wtx) reading() *prepared {
	st := &prepared{db: t.Tx, sql: t.Tx.Tx}
	for id := range statement(stCount) {
		if id.reads() {
			st.read[id] = textQuery{st.sql, t.texts[id], t.pg != nil}
		}
	}
	return st
}

// run runs fn in a savepoint, or in a transaction of its own, again when that can
// help: a key that another transaction has just taken, or the death of a message, is
// seen then, as far as the isolation lets it be; what else was in the way has spoiled
// the whole transaction.
func (v *within) run(ctx context.Context, doing string, fn func(*wtx) error) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	inner, leave, err := v.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	p := v.s.patience()
	for tries := 0; ; tries++ {
		err = v.once(inner, doing, fn)
		code, _ := sqlState(err)
		again := v.s.pg != nil && (code == stateUnique || code == stateMoved) && tries < 3 || v.ownTx() && v.s.isBusy(err) && p.wait(inner)
		if err == nil || persistence.Classified(err) || !again {
			break
		}
	}
	if errors.Is(err, errNothingToWrite) {
		return nil
	}
	return v.classify(ctx, doing, err)
}

func (v *within) classify(ctx context.Context, doing string, err error) error {
	if err == nil || persistence.Classified(err) || ctx.Err() != nil {
		return v.s.classifyOn(ctx, v.db, doing, err)
	}
	doing += " in the caller's transaction"
	switch code, _ := sqlState(err); {
	case errors.Is(err, sql.ErrTxDone), errors.Is(err, sql.ErrConnDone), code == stateAborted, code == stateNoTransaction:
		return failure(stabilize.ErrClosed, doing, err)
	}
	return v.s.classifyOn(ctx, v.db, doing, err)
}

// once runs fn once. The transaction is left as it was, or with all that fn did.
func (v *within) once(ctx context.Context, doing string, fn func(*wtx) error) error {
	// What undoes fn must run even if ctx has ended.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.s.cfg.CallTimeout)
	if v.s.pg == nil {
		cancel() // no statement is cut off
		whole, cancel = context.WithCancel(context.WithoutCancel(ctx))
	}
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	from := v.db
	if db, ok := from.(*bun.DB); ok { // wait for a connection as long as ctx lets us
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		from = conn
	}
	if err := v.checkConn(from); err != nil {
		return err
	}
	tx, err := from.BeginTx(whole, nil)
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			undo(tx)
		}
	}()
	t := &wtx{Tx: tx, ctx: whole, texts: &v.s.texts, pg: v.s.pg, guest: true}
	if v.s.pg != nil {
		t.ctx = ctx
		v.s.followClock(ctx, tx)
	}
	if v.s.statements.Load() == nil { // the schema was not seen yet
		if err := v.s.checkSchema(t.ctx, tx); err != nil {
			return err
		}
	}
	if err := fn(t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = tx.Commit()
	switch {
	case err == nil:
		kept = true
	case v.ownTx() && v.s.pg != nil:
		return outcome(doing, err)
	case v.ownTx() && !v.s.isBusy(err):
		return failure(stabilize.ErrUnknownOutcome, doing, err)
	}
	return err
}

// checkConn refuses a connection on which a transaction was begun by hand: PostgreSQL
// would have ours end it.
func (v *within) checkConn(from bun.IDB) error {
	var conn *sql.Conn
	switch c := from.(type) {
	case bun.Conn:
		conn = c.Conn
	case *bun.Conn:
		conn = c.Conn
	}
	if conn == nil || v.s.pg == nil {
		return nil
	}
	return conn.Raw(func(dc any) error {
		if c, ok := dc.(interface{ Conn() *pgx.Conn }); ok && c.Conn().PgConn().TxStatus() != 'I' {
			return stabilize.Invalid("transaction", "was begun on the connection by a statement; begin it with BeginTx and give that")
		}
		return nil
	})
}

// undo takes back what was done since the savepoint, or the transaction. If the
// savepoint cannot be gone back to, nobody may commit what came after it.
func undo(tx bun.Tx) {
	if err := tx.Rollback(); err != nil {
		_ = tx.Tx.Rollback() // the whole of it
		return
	}
	_ = tx.Commit() // releases the savepoint, which going back to it leaves; a transaction has ended
}

// CommitBatch implements persistence.WorkflowStore. Nothing of it is durable, and
// nobody here is told, until the caller commits.
func (v *within) CommitBatch(ctx context.Context, commits []*persistence.Commit) []error {
	errs, claimable := v.s.commitBatch(ctx, commits, func(ctx context.Context, work []change) (bool, error) {
		return v.s.commitEach(ctx, v, work)
	})
	v.s.ping(claimable && v.ownTx())
	return errs
}

// Load implements persistence.WorkflowStore. Nobody else changes the workflow
// afterwards until the transaction ends.
func (v *within) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	return load(ctx, locking{v, id}, id)
}

// locking is a transaction in which reading begins by locking a workflow.
type locking struct {
	*within

	id string
}

func (l locking) read(ctx context.Context, doing string, fn func(context.Context, *prepared) error) error {
	return l.write(ctx, doing, func(tx *wtx) error {
		if tx.pg != nil {
			if err := newBatch(tx, l.s.now()).readVersions([]string{l.id}); err != nil {
				return err
			}
		}
		return fn(tx.ctx, tx.reading())
	})
}

// Summary implements persistence.WorkflowStore.
func (v *within) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	return summary(ctx, v, id)
}

// Query implements persistence.WorkflowStore.
func (v *within) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	return v.s.query(ctx, v, q)
}

// Delete implements persistence.WorkflowStore.
func (v *within) Delete(ctx context.Context, ids ...string) error { return v.s.delete(ctx, v, ids) }

// Prune implements persistence.WorkflowStore.
func (v *within) Prune(ctx context.Context, finished ...*stabilize.Header) (int, error) {
	return v.s.prune(ctx, v, finished)
}

// Admissions implements persistence.WorkflowStore.
func (v *within) Admissions(ctx context.Context, key string) (persistence.Admissions, error) {
	return v.s.admissions(ctx, v, key)
}

// MaxPayload implements persistence.Limits.
func (v *within) MaxPayload() int64 { return v.s.MaxPayload() }

// Close implements persistence.WorkflowStore.
func (v *within) Close() error { return nil }

// checkIsolation refuses to count places in a snapshot that is older than the lock
// on them.
func (t *wtx) checkIsolation() error {
	if !t.guest {
		return nil
	}
	var level string
	if err := t.Tx.Tx.QueryRowContext(t.ctx, "SELECT current_setting('transaction_isolation')").Scan(&level); err != nil {
		return err
	}
	if level == "repeatable read" || level == "serializable" {
		return fmt.Errorf("sqlstore: a place under a concurrency limit is taken in a transaction of the isolation READ COMMITTED, not %s: %w", level, stabilize.ErrUnsupported)
	}
	return nil
}
