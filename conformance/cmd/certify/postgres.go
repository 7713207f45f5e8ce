package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// postgres is a harness of the PostgreSQL store, with a way past it into its
// schema. What it lacks, it lacks for the reasons of sqlite.
type postgres struct {
	*handles
	db     *sql.DB
	schema string
}

// newPostgres uses a schema of its own and drops it. dsn is ours, plain the
// driver's.
func newPostgres(t *testing.T, dsn, plain string) conformance.Harness {
	db, err := sql.Open("pgx", plain)
	if err != nil {
		t.Fatal("the DSN cannot be read")
	}
	db.SetMaxOpenConns(2)
	h := &postgres{db: db, schema: "certify_" + strings.ToLower(rand.Text()[:20])}
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), "DROP SCHEMA IF EXISTS "+h.schema+" CASCADE"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the DSN cannot be read")
	}
	q := u.Query()
	q.Set("schema", h.schema)
	u.RawQuery = q.Encode()
	clock := newClock()
	h.handles = newHandles(t, clock, func() (persistence.Store, error) {
		return engine.OpenStore(context.WithoutCancel(t.Context()), u.String(), engine.StoreConfig{Clock: clock})
	})
	return h
}

// Lacks implements conformance.Lacking.
func (h *postgres) Lacks() []conformance.Power { return (*sqlite)(nil).Lacks() }

// Rows implements conformance.RowCounter.
func (h *postgres) Rows(ctx context.Context) (map[string]int, error) {
	var names []string
	err := h.db.QueryRowContext(ctx, "SELECT coalesce(array_agg(tablename::text), '{}') FROM pg_tables WHERE schemaname = $1", h.schema).
		Scan((*textArray)(&names))
	if err != nil {
		return nil, err
	}
	rows := map[string]int{}
	for _, name := range names {
		if name == "workers" || strings.HasPrefix(name, "migration") {
			continue
		}
		var n int
		if err := h.db.QueryRowContext(ctx, "SELECT count(*) FROM "+h.schema+"."+name).Scan(&n); err != nil {
			return nil, err
		}
		rows[name] = n
	}
	return rows, nil
}

// textArray reads an array of plain names.
type textArray []string

// Scan implements sql.Scanner.
func (a *textArray) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("an array came as %T", value)
	}
	*a = strings.FieldsFunc(strings.Trim(text, "{}"), func(r rune) bool { return r == ',' })
	return nil
}

// Tamper implements conformance.Tamperer.
func (h *postgres) Tamper(ctx context.Context, table, id string, body []byte) error {
	return h.change(ctx, map[string]string{
		conformance.TableWorkflows: "UPDATE %s.headers SET body = $1 WHERE workflow_id = $2",
		conformance.TableStages:    "UPDATE %s.stages SET body = $1 WHERE id = $2",
		conformance.TableMessages:  "UPDATE %s.messages SET body = $1 WHERE id = $2",
	}[table], body, id)
}

// SetVersion implements conformance.VersionSetter.
func (h *postgres) SetVersion(ctx context.Context, id string, version int64) error {
	if err := h.change(ctx, "UPDATE %s.workflows SET version = $1 WHERE id = $2", version, id); err != nil {
		return err
	}
	return h.change(ctx, "UPDATE %s.stages SET version = $1 WHERE workflow_id = $2", version, id)
}

func (h *postgres) change(ctx context.Context, text string, args ...any) error {
	return (&sqlite{db: h.db}).change(ctx, fmt.Sprintf(text, h.schema), args...)
}
