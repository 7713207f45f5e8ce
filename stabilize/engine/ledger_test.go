package engine_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// ledgerVariable makes the test binary a worker on PostgreSQL: a ledgerWorker in JSON.
const ledgerVariable = "ENGINE_TEST_WORKER_POSTGRES"

// ledgerWorker is what a worker process is told.
type ledgerWorker struct {
	DSN, Schema string
	Worker      int // who it is in the ledger
	LeaseTTL    time.Duration
	Takes       time.Duration // each task run, at least
}

func (c ledgerWorker) environment(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return ledgerVariable + "=" + string(text)
}

// ledger is what is noted of task runs outside of the engine, in tables beside its
// own. Everything noted has a number, in the order of noting.
type ledger struct {
	db     *sql.DB
	schema string
}

const ledgerTables = `CREATE TABLE {}.runs (seq bigserial PRIMARY KEY, run text NOT NULL UNIQUE, task text NOT NULL,
		workflow text NOT NULL, stage text NOT NULL, attempt int NOT NULL, worker int NOT NULL, after_run text NOT NULL);
	CREATE TABLE {}.workers_known (worker int PRIMARY KEY, lease text NOT NULL, ttl bigint NOT NULL, fence bigint NOT NULL);
	CREATE TABLE {}.incidents (seq bigint PRIMARY KEY DEFAULT nextval('{}.runs_seq_seq'), what text NOT NULL, worker int NOT NULL);`

func openLedger(dsn, schema string) (*ledger, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	return &ledger{db, schema}, nil
}

func (l *ledger) text(q string) string { return strings.ReplaceAll(q, "{}", l.schema) }

// insist runs a statement until the server has done it or ctx ends: it may be away
// for a while, and the statement must bear being done twice.
func (l *ledger) insist(ctx context.Context, q string, args ...any) error {
	for {
		_, err := l.db.ExecContext(ctx, l.text(q), args...)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// incident is something after which tasks may run again.
type incident string

const (
	killing    incident = "killing"    // a worker is about to be killed
	restarting incident = "restarting" // the server is about to be
	restarted  incident = "restarted"  // it answers again
	lapsed     incident = "lapsed"     // a worker was silent for longer than its TTL, and lives
	robbed     incident = "robbed"     // a worker lost its leases without having been silent
)

func (l *ledger) happened(ctx context.Context, what incident, worker int) error {
	return l.insist(ctx, "INSERT INTO {}.incidents (what, worker) VALUES ($1, $2)", string(what), worker)
}

// carried is what goes from stage to stage: how many there were, and which run of the
// last one it is from.
type carried struct {
	N   int    `json:"n"`
	Run string `json:"run"`
}

// openLedgerWorker opens an engine whose task "carry" notes each of its runs before
// it does anything else.
func openLedgerWorker(ctx context.Context, text string) (*engine.Engine, error) {
	var c ledgerWorker
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	l, err := openLedger(c.DSN, c.Schema)
	if err != nil {
		return nil, err
	}
	e, err := openOnLedger(ctx, l, c)
	if err != nil {
		return nil, err
	}
	return e, e.RegisterTask("carry", stabilize.Func(func(ctx context.Context, in carried) (carried, error) {
		x := stabilize.ExecutionFrom(ctx)
		out := carried{N: in.N + 1, Run: rand.Text()}
		err := l.insist(ctx, `INSERT INTO {}.runs (run, task, workflow, stage, attempt, worker, after_run)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (run) DO NOTHING`,
			out.Run, x.IdempotencyKey(), x.Workflow.ID, x.Stage.Ref, x.Attempt, c.Worker, in.Run)
		if err != nil || c.Takes == 0 {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, context.Cause(ctx)
		case <-time.After(c.Takes):
			return out, nil
		}
	}))
}

// openOnLedger makes an engine on a store of its own.
func openOnLedger(ctx context.Context, l *ledger, c ledgerWorker) (*engine.Engine, error) {
	s, err := sqlstore.Open(ctx, sqlstore.Config{DSN: c.DSN, Schema: c.Schema, Migrate: true})
	if err != nil {
		return nil, err
	}
	return engine.New(&introduced{Store: s, ledger: l, worker: c.Worker},
		engine.WithConfig(engine.Config{LeaseTTL: c.LeaseTTL, Concurrency: 20}),
		engine.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))))
}

// introduced is a store whose worker notes under which lease it works.
type introduced struct {
	*sqlstore.Store // with all its powers

	ledger *ledger
	worker int
	fence  int64     // 0: not known yet
	last   time.Time // a heartbeat that succeeded was sent
}

// Heartbeat implements queue.Queue. An engine calls it before it claims anything, and
// from one goroutine at a time.
func (s *introduced) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	sent, first := time.Now(), s.fence == 0
	leases, err := s.Store.Heartbeat(ctx, w)
	if err != nil {
		return leases, err
	}
	// Half of it: clocks are measured, not known.
	if !first && leases.Fence != s.fence && time.Since(s.last) < w.TTL/2 {
		err = s.ledger.happened(ctx, robbed, s.worker)
	}
	s.fence, s.last = leases.Fence, sent
	if !first {
		return leases, err
	}
	return leases, s.ledger.insist(ctx, "INSERT INTO {}.workers_known (worker, lease, ttl, fence) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		s.worker, w.ID, int64(w.TTL), leases.Fence)
}

// question notes that a worker has lapsed, if it has: asked in its name, the queue
// tells under which fence it works by now.
func (l *ledger) question(ctx context.Context, q *sqlstore.Store, worker int) error {
	var w queue.Worker
	var fence int64
	if err := l.db.QueryRowContext(ctx, l.text("SELECT lease, ttl, fence FROM {}.workers_known WHERE worker = $1"), worker).Scan(&w.ID, &w.TTL, &fence); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return nil // it has not begun
		}
		return err
	}
	leases, err := q.Heartbeat(ctx, w)
	if err != nil || leases.Fence == fence {
		return err
	}
	return l.happened(ctx, lapsed, worker)
}

// ledgerRun is a row of runs.
type ledgerRun struct {
	seq                               int64
	run, task, workflow, stage, after string
	attempt, worker                   int
}

// runs returns all runs, by task in the order in which they were noted.
func (l *ledger) runs(ctx context.Context) (map[string][]ledgerRun, error) {
	rows, err := l.db.QueryContext(ctx, l.text("SELECT seq, run, task, workflow, stage, after_run, attempt, worker FROM {}.runs ORDER BY seq"))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	byTask := map[string][]ledgerRun{}
	for rows.Next() {
		var r ledgerRun
		if err := rows.Scan(&r.seq, &r.run, &r.task, &r.workflow, &r.stage, &r.after, &r.attempt, &r.worker); err != nil {
			return nil, err
		}
		byTask[r.task] = append(byTask[r.task], r)
	}
	return byTask, rows.Err()
}

// incidents are those of a ledger by kind, and within by worker, in order.
type incidents map[incident]map[int][]int64

func (l *ledger) incidents(ctx context.Context) (incidents, error) {
	rows, err := l.db.QueryContext(ctx, l.text("SELECT seq, what, worker FROM {}.incidents ORDER BY seq"))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := incidents{}
	for rows.Next() {
		var seq int64
		var what incident
		var worker int
		if err := rows.Scan(&seq, &what, &worker); err != nil {
			return nil, err
		}
		if all[what] == nil {
			all[what] = map[int][]int64{}
		}
		all[what][worker] = append(all[what][worker], seq)
	}
	return all, rows.Err()
}

// excuse says why a task that was run once was run again; empty: there is no reason.
func (i incidents) excuse(first, again ledgerRun) string {
	for _, at := range i[killing][first.worker] {
		if at < again.seq {
			return "its worker was killed"
		}
	}
	for n, from := range i[restarting][0] {
		if to := i[restarted][0]; first.seq < to[n] && from < again.seq {
			return "the server was restarted"
		}
	}
	if len(i[lapsed][first.worker]) > 0 { // noted later
		return "its worker was silent for too long"
	}
	return ""
}

// chainOf is a workflow of so many stages that carry.
func chainOf(name string, length int) *stabilize.WorkflowSpec {
	spec := stabilize.NewWorkflow("ledger", name).Context("n", 0).Context("run", "")
	for i := range length {
		s := stabilize.NewStage(fmt.Sprint("s", i)).Do("carry")
		if i > 0 {
			s.After(fmt.Sprint("s", i-1))
		}
		spec.Add(s)
	}
	return spec
}
