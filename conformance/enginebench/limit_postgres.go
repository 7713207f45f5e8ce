package enginebench

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// postgresLimit is one statement for all the writes of one commit, on one
// connection of the driver that package sqlstore uses.
type postgresLimit struct {
	conn *sql.Conn
	work rawSteps
	text string

	// bodies are encoded before: the limit is that of writing.
	bodies  map[string][]byte // by stage id
	message []byte
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
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("raw limit: %w", err)
	}
	l := &postgresLimit{
		conn: conn, work: rawSteps{workflows: rawWorkflows(stabilize.SystemClock{}.Now())}, bodies: map[string][]byte{},
		text: strings.ReplaceAll(postgresRawStep, "{}", schema),
	}
	if err := l.prepare(ctx, schema); err != nil {
		_ = l.close()
		return nil, fmt.Errorf("raw limit: %w", err)
	}
	return l, nil
}

func (l *postgresLimit) prepare(ctx context.Context, schema string) error {
	for text := range strings.SplitSeq(strings.ReplaceAll(postgresRawSchema, "{}", schema), ";\n") {
		if _, err := l.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	// As package sqlstore sets up its connections.
	if _, err := l.conn.ExecContext(ctx, `SELECT set_config('plan_cache_mode', 'force_generic_plan', false),
		set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
		set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false)`); err != nil {
		return err
	}
	for _, w := range l.work.workflows {
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

func (l *postgresLimit) steps(ctx context.Context, n, size int) error {
	for n > 0 {
		group := min(n, size)
		if err := l.commit(ctx, group); err != nil {
			return err
		}
		n -= group
	}
	return nil
}

// commit does the writes of so many steps, each of another workflow.
func (l *postgresLimit) commit(ctx context.Context, group int) error {
	var ids, of, stages, old, added []string
	var versions, next []int64
	var bodies [][]byte
	for range group {
		s := l.work.step()
		ids, versions = append(ids, s.workflow.ID), append(versions, s.version)
		old, added = append(old, s.old), append(added, s.new)
		for _, st := range s.stages {
			of, stages = append(of, s.workflow.ID), append(stages, st.ID)
			next, bodies = append(next, s.version+1), append(bodies, l.bodies[st.ID])
		}
	}
	var n int
	if err := l.conn.QueryRowContext(ctx, l.text, ids, versions, of, stages, next, bodies, old, added, l.message).Scan(&n); err != nil {
		return err
	}
	if n != group {
		return fmt.Errorf("%w: of %d versions %d changed", stabilize.ErrInternal, group, n)
	}
	return nil
}

func (l *postgresLimit) close() error { return l.conn.Close() }
