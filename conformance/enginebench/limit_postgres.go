package enginebench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// postgresLimit is one statement for all the writes of one commit, on connections of
// the driver that package sqlstore uses: one, or those of a crowd.
type postgresLimit struct {
	postgresWriter

	crowd []*postgresWriter

	// bodies are encoded before: the limit is that of writing.
	bodies  map[string][]byte // by stage id
	message []byte
}

// postgresWriter has a connection and workflows of its own.
type postgresWriter struct {
	limit *postgresLimit
	conn  *sql.Conn
	work  rawSteps
	text  string
}

// The tables have nothing but what the writes need.
const postgresRawSchema = `CREATE SCHEMA {};
	CREATE TABLE {}.workflows (id text COLLATE "C" NOT NULL PRIMARY KEY, version bigint NOT NULL) WITH (fillfactor = 70);
	CREATE TABLE {}.stages (workflow_id text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, version bigint NOT NULL,
		body bytea NOT NULL, PRIMARY KEY (workflow_id, id)) WITH (fillfactor = 70);
	CREATE TABLE {}.messages (id text COLLATE "C" NOT NULL PRIMARY KEY, body bytea NOT NULL);`

const postgresRawStep = `WITH swapped AS (
		UPDATE {}.workflows w SET version = w.version + 1 FROM unnest($1::text[], $2::bigint[]) s (id, version)
		WHERE w.id = s.id AND w.version = s.version RETURNING 1),
	put AS (
		INSERT INTO {}.stages (workflow_id, id, version, body)
		SELECT * FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bytea[])
		ON CONFLICT (workflow_id, id) DO UPDATE SET version = excluded.version, body = excluded.body),
	dropped AS (DELETE FROM {}.messages WHERE id = ANY($7::text[])),
	added AS (INSERT INTO {}.messages (id, body) SELECT id, $9::bytea FROM unnest($8::text[]) m (id))
	SELECT count(*) FROM swapped`

func openPostgresLimit(ctx context.Context, db *sql.DB, schema string) (limit, error) {
	l := &postgresLimit{bodies: map[string][]byte{}}
	if err := l.open(ctx, db, schema); err != nil {
		_ = l.close()
		return nil, fmt.Errorf("raw limit: %w", err)
	}
	return l, nil
}

func (l *postgresLimit) open(ctx context.Context, db *sql.DB, schema string) error {
	now := stabilize.SystemClock{}.Now()
	if err := l.postgresWriter.connect(ctx, db, schema, l, rawWorkflows(now)); err != nil {
		return err
	}
	for text := range strings.SplitSeq(strings.ReplaceAll(postgresRawSchema, "{}", schema), ";\n") {
		if _, err := l.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	if err := l.fill(ctx, schema, l.work.workflows); err != nil {
		return err
	}
	each := rawGroup / rawConnections
	for all := rawWorkflows(now); len(all) > 0; all = all[each:] {
		w := &postgresWriter{}
		l.crowd = append(l.crowd, w)
		if err := w.connect(ctx, db, schema, l, all[:each]); err != nil {
			return err
		}
		if err := l.fill(ctx, schema, all[:each]); err != nil {
			return err
		}
	}
	return nil
}

func (w *postgresWriter) connect(ctx context.Context, db *sql.DB, schema string, l *postgresLimit, workflows []*stabilize.Workflow) (err error) {
	w.limit, w.work, w.text = l, rawSteps{workflows: workflows}, strings.ReplaceAll(postgresRawStep, "{}", schema)
	if w.conn, err = db.Conn(ctx); err != nil {
		return err
	}
	// As package sqlstore sets up its connections.
	_, err = w.conn.ExecContext(ctx, `SELECT set_config('plan_cache_mode', 'force_generic_plan', false),
		set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
		set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false)`)
	return err
}

// fill stores what the first steps find.
func (l *postgresLimit) fill(ctx context.Context, schema string, workflows []*stabilize.Workflow) error {
	for _, w := range workflows {
		if _, err := l.conn.ExecContext(ctx, "INSERT INTO "+schema+".workflows (id, version) VALUES ($1, 1)", w.ID); err != nil {
			return err
		}
		body, err := queue.Encode(queue.RunTask{OfTask: queue.ToTask(w.ID, w.Stages[0].ID, w.Stages[0].Tasks[0].ID)})
		if err != nil {
			return err
		}
		l.message = body
		if _, err := l.conn.ExecContext(ctx, "INSERT INTO "+schema+".messages (id, body) VALUES ($1, $2)", rawMessage(w, 0), body); err != nil {
			return err
		}
		for _, s := range w.Stages {
			if l.bodies[s.ID], err = persistence.EncodeStage(s); err != nil {
				return err
			}
			if _, err := l.conn.ExecContext(ctx, "INSERT INTO "+schema+".stages (workflow_id, id, version, body) VALUES ($1, $2, 1, $3)",
				w.ID, s.ID, l.bodies[s.ID]); err != nil {
				return err
			}
		}
	}
	return nil
}

// single implements crowd.
func (l *postgresLimit) single(ctx context.Context, n int) error {
	errs := make([]error, len(l.crowd))
	var all sync.WaitGroup
	for i, w := range l.crowd {
		share := (n + i) / len(l.crowd) // they add up to n
		all.Go(func() { errs[i] = w.steps(ctx, share, 1) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (w *postgresWriter) steps(ctx context.Context, n, size int) error {
	for n > 0 {
		group := min(n, size)
		if err := w.commit(ctx, group); err != nil {
			return err
		}
		n -= group
	}
	return nil
}

// commit does the writes of so many steps, each of another workflow.
func (w *postgresWriter) commit(ctx context.Context, group int) error {
	var ids, of, stages, old, added []string
	var versions, next []int64
	var bodies [][]byte
	for range group {
		s := w.work.step()
		ids, versions = append(ids, s.workflow.ID), append(versions, s.version)
		old, added = append(old, s.old), append(added, s.new)
		for _, st := range s.stages {
			of, stages = append(of, s.workflow.ID), append(stages, st.ID)
			next, bodies = append(next, s.version+1), append(bodies, w.limit.bodies[st.ID])
		}
	}
	var n int
	if err := w.conn.QueryRowContext(ctx, w.text, ids, versions, of, stages, next, bodies, old, added, w.limit.message).Scan(&n); err != nil {
		return err
	}
	if n != group {
		return fmt.Errorf("%w: of %d versions %d changed", stabilize.ErrInternal, group, n)
	}
	return nil
}

func (l *postgresLimit) close() error {
	var errs []error
	for _, w := range append(l.crowd, &l.postgresWriter) {
		if w.conn != nil {
			errs = append(errs, w.conn.Close())
		}
	}
	return errors.Join(errs...)
}
