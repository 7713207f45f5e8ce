package enginebench

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// sqliteLimit is one connection of the driver that package sqlstore uses by
// default, with prepared statements.
type sqliteLimit struct {
	db   *sql.DB
	conn *sql.Conn
	work rawSteps

	swap, put, drop, add *sql.Stmt

	// bodies are encoded before: the limit is that of writing.
	bodies  map[string][]byte // by stage id
	message []byte
}

// The pragmas are those of package sqlstore's writing connection, the tables
// have nothing but what the writes need.
const sqliteRawSchema = `
	CREATE TABLE workflows (id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
	CREATE TABLE stages (workflow_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
		PRIMARY KEY (workflow_id, id)) WITHOUT ROWID;
	CREATE TABLE messages (id TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;`

func openSQLiteLimit(ctx context.Context, path, synchronous string) (limit, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String())
	if err != nil {
		return nil, err
	}
	l := &sqliteLimit{db: db, work: rawSteps{workflows: rawWorkflows(stabilize.SystemClock{}.Now())}, bodies: map[string][]byte{}}
	if err := l.prepare(ctx, synchronous); err != nil {
		_ = l.close()
		return nil, fmt.Errorf("raw limit: %w", err)
	}
	return l, nil
}

func (l *sqliteLimit) prepare(ctx context.Context, synchronous string) (err error) {
	if l.conn, err = l.db.Conn(ctx); err != nil {
		return err
	}
	for _, text := range []string{
		"PRAGMA journal_mode=WAL", "PRAGMA synchronous=" + synchronous, "PRAGMA cache_size=-16000", "PRAGMA temp_store=MEMORY",
		sqliteRawSchema,
	} {
		if _, err = l.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	for _, st := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&l.swap, "UPDATE workflows SET version = version + 1 WHERE id = ? AND version = ?"},
		{&l.put, "INSERT INTO stages (workflow_id, id, version, body) VALUES (?, ?, ?, ?) " +
			"ON CONFLICT (workflow_id, id) DO UPDATE SET version = excluded.version, body = excluded.body"},
		{&l.drop, "DELETE FROM messages WHERE id = ?"},
		{&l.add, "INSERT INTO messages (id, body) VALUES (?, ?)"},
	} {
		if *st.to, err = l.conn.PrepareContext(ctx, st.text); err != nil {
			return err
		}
	}
	return l.fill(ctx)
}

func (l *sqliteLimit) fill(ctx context.Context) error {
	return l.commit(ctx, func() error {
		for _, w := range l.work.workflows {
			if _, err := l.conn.ExecContext(ctx, "INSERT INTO workflows (id, version) VALUES (?, 1)", w.ID); err != nil {
				return err
			}
			for _, s := range w.Stages {
				body, err := persistence.EncodeStage(s)
				if err != nil {
					return err
				}
				l.bodies[s.ID] = body
				if err := l.putStage(ctx, w, s, 1); err != nil {
					return err
				}
			}
			body, err := queue.Encode(queue.RunTask{OfTask: queue.ToTask(w.ID, w.Stages[0].ID, w.Stages[0].Tasks[0].ID)})
			if err != nil {
				return err
			}
			l.message = body
			if _, err := l.add.ExecContext(ctx, rawMessage(w, 0), body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *sqliteLimit) steps(ctx context.Context, n, size int) error {
	for n > 0 {
		group := min(n, size)
		err := l.commit(ctx, func() error {
			for range group {
				if err := l.step(ctx, l.work.step()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		n -= group
	}
	return nil
}

// commit does fn's writes in one transaction, on the one connection there is.
func (l *sqliteLimit) commit(ctx context.Context, fn func() error) error {
	if _, err := l.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err // the database is thrown away
	}
	_, err := l.conn.ExecContext(ctx, "COMMIT")
	return err
}

func (l *sqliteLimit) step(ctx context.Context, s rawStep) error {
	res, err := l.swap.ExecContext(ctx, s.workflow.ID, s.version)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%w: the version changed %d rows, %w", stabilize.ErrInternal, n, err)
	}
	for _, st := range s.stages {
		if err := l.putStage(ctx, s.workflow, st, s.version+1); err != nil {
			return err
		}
	}
	if _, err := l.drop.ExecContext(ctx, s.old); err != nil {
		return err
	}
	_, err = l.add.ExecContext(ctx, s.new, l.message)
	return err
}

func (l *sqliteLimit) putStage(ctx context.Context, w *stabilize.Workflow, s *stabilize.Stage, version int64) error {
	_, err := l.put.ExecContext(ctx, w.ID, s.ID, version, l.bodies[s.ID])
	return err
}

func (l *sqliteLimit) close() error {
	for _, st := range []*sql.Stmt{l.swap, l.put, l.drop, l.add} {
		if st != nil {
			_ = st.Close()
		}
	}
	if l.conn != nil {
		_ = l.conn.Close()
	}
	return l.db.Close()
}
