package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

//go:embed migrations/postgres/*.sql
var postgresMigrationFiles embed.FS

func isMissing(err error) bool { return errors.Is(err, stabilize.ErrSchemaMissing) }

// migrations returns what the program knows, oldest first.
func (s *Store) migrations() (migrate.MigrationSlice, error) {
	files := migrationFiles
	if s.pg != nil {
		files = postgresMigrationFiles
	}
	all := migrate.NewMigrations()
	if err := all.Discover(files); err != nil {
		return nil, fmt.Errorf("sqlstore: migrations: %w: %w", stabilize.ErrInternal, err)
	}
	return all.Sorted(), nil
}

// checkSchema compares the migrations applied with those known.
func (s *Store) checkSchema(ctx context.Context, db bun.IDB) error {
	known, err := s.migrations()
	if err != nil {
		return err
	}
	var applied []string
	err = s.retryBusy(ctx, func() error {
		applied = applied[:0]
		found, err := s.hasTable(ctx, db, "migrations")
		if err != nil || !found {
			return err
		}
		return db.NewSelect().TableExpr("?", s.table("migrations")).Column("name").Scan(ctx, &applied)
	})
	if err != nil {
		return err
	}
	have := make(map[string]bool, len(applied))
	for _, name := range applied {
		have[name] = true
	}
	for _, m := range known {
		if !have[m.Name] {
			return fmt.Errorf("sqlstore: migration %s was not applied: %w", m.String(), stabilize.ErrSchemaMissing)
		}
		delete(have, m.Name)
	}
	for name := range have {
		return fmt.Errorf("sqlstore: the database has migration %s, which this program does not know: %w", name, stabilize.ErrSchemaTooNew)
	}
	return nil
}

func (s *Store) hasTable(ctx context.Context, db bun.IDB, name string) (bool, error) {
	if s.pg != nil {
		return s.pg.hasTable(ctx, s, db, name)
	}
	return db.NewSelect().Table("sqlite_master").Where("type = 'table' AND name = ?", s.cfg.Prefix+name).Exists(ctx)
}

// migrate applies what is missing, each migration with its record in one
// transaction that holds the write lock: of several migrators one works and the
// others find the work done, and a crash leaves nothing half-made. bun's own
// lock table would stay locked after a crash.
func (s *Store) migrate(ctx context.Context) error {
	err := s.checkSchema(ctx, s.r)
	if !isMissing(err) {
		return err
	}
	known, err := s.migrations()
	if err != nil {
		return err
	}
	conn, err := s.w.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(dc any) error {
		single := sql.OpenDB(borrowed{conn: dc.(driver.Conn)})
		single.SetMaxOpenConns(1)
		defer single.Close()
		db := bun.NewDB(single, s.w.Dialect())
		for i := range known {
			if err := s.migrateTo(ctx, db, known[:i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) migrateTo(ctx context.Context, db *bun.DB, known migrate.MigrationSlice) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	begin := s.beginMigration
	if s.pg != nil {
		begin = s.pg.beginMigration(s)
	}
	if err := begin(ctx, db); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	defer func() {
		if err != nil {
			_, _ = db.ExecContext(ctx, "ROLLBACK")
		}
	}()
	steps := migrate.NewMigrations()
	for _, m := range known {
		m.MigratedAt = s.now()
		steps.Add(m)
	}
	m := migrate.NewMigrator(db, steps,
		migrate.WithTableName(s.cfg.Prefix+"migrations"),
		migrate.WithLocksTableName(s.cfg.Prefix+"migration_locks"),
		migrate.WithMarkAppliedOnSuccess(true),
		migrate.WithTemplateData(struct{ Prefix string }{s.cfg.Prefix}))
	if err = m.Init(ctx); err != nil {
		return err
	}
	if _, err = m.Migrate(ctx); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "COMMIT")
	return err
}

// beginMigration takes the write lock.
func (s *Store) beginMigration(ctx context.Context, db *bun.DB) error {
	p := s.patience()
	for {
		_, err := db.ExecContext(ctx, "BEGIN IMMEDIATE")
		if err == nil || !s.isBusy(err) || !p.wait(ctx) {
			return err
		}
	}
}

// borrowed makes a *sql.DB of one connection that belongs to another, so that
// all a migrator does happens in the transaction opened on it.
type borrowed struct{ conn driver.Conn }

func (b borrowed) Connect(context.Context) (driver.Conn, error) { return lent(b), nil }
func (b borrowed) Driver() driver.Driver                        { return nil }

type lent struct{ conn driver.Conn }

func (l lent) Prepare(query string) (driver.Stmt, error) { return l.conn.Prepare(query) }
func (l lent) Begin() (driver.Tx, error)                 { return nil, driver.ErrSkip }
func (l lent) Close() error                              { return nil }

// ExecContext implements driver.ExecerContext: what is prepared stays with a
// connection, and a pooler may give another one to close it on.
func (l lent) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c, ok := l.conn.(driver.ExecerContext); ok {
		return c.ExecContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}

// QueryContext implements driver.QueryerContext, as above.
func (l lent) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c, ok := l.conn.(driver.QueryerContext); ok {
		return c.QueryContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}
