package sqlharness

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stabilize-dev/go-stabilize/conformance"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
)

// Unmigrated implements conformance.Migrator.
func (h *SQLite) Unmigrated(context.Context) (conformance.Database, error) {
	h.mu.Lock()
	h.empties++
	path := filepath.Join(h.cfg.Folder, fmt.Sprintf("empty-%d.db", h.empties))
	h.mu.Unlock()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	return &sqliteDatabase{h, path}, nil
}

type sqliteDatabase struct {
	h    *SQLite
	path string
}

// Open implements conformance.Database.
func (d *sqliteDatabase) Open(ctx context.Context, migrate bool) (persistence.Store, error) {
	return d.h.extra(sqlstore.Open(ctx, sqlstore.Config{Path: d.path, Migrate: migrate, Clock: d.h.clock}))
}

// Schema implements conformance.Database.
func (d *sqliteDatabase) Schema(ctx context.Context) (text string, err error) {
	err = d.do(func(db *sql.DB) error {
		var lines []string
		line := func(scan func(...any) error) error {
			var s string
			err := scan(&s)
			lines = append(lines, s)
			return err
		}
		if err := each(ctx, db, line, "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_master ORDER BY type, name"); err != nil {
			return err
		}
		migrated := strings.Contains(strings.Join(lines, "\n"), "table migrations:")
		if migrated {
			if err := each(ctx, db, line, "SELECT 'applied: ' || name FROM migrations ORDER BY id"); err != nil {
				return err
			}
		}
		text = strings.Join(lines, "\n")
		return nil
	})
	return text, err
}

// Newer implements conformance.Database.
func (d *sqliteDatabase) Newer(ctx context.Context) error {
	return d.exec(ctx, "INSERT INTO migrations (name, group_id) VALUES ('9999', 9)")
}

// Obstruct implements conformance.Database: the table that is made last is there.
func (d *sqliteDatabase) Obstruct(ctx context.Context) (func(context.Context) error, error) {
	return func(ctx context.Context) error { return d.exec(ctx, "DROP TABLE events") }, d.exec(ctx, "CREATE TABLE events (mine TEXT)")
}

func (d *sqliteDatabase) exec(ctx context.Context, text string) error {
	return d.do(func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, text)
		return err
	})
}

func (d *sqliteDatabase) do(f func(*sql.DB) error) error {
	db, err := look(d.path)
	if err != nil {
		return err
	}
	defer db.Close()
	return f(db)
}
