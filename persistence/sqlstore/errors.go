package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// failure is an error of the driver's under one class.
func failure(class error, doing string, cause error) error {
	return &persistence.Failure{Store: "sqlstore", Doing: doing, Class: class, Cause: cause}
}

// classify gives a driver's error its class. ctx is the caller's.
func (s *Store) classify(ctx context.Context, doing string, err error) error {
	return s.classifyOn(ctx, s.r, doing, err)
}

// classifyOn is classify for an error of db, which is asked about its schema.
func (s *Store) classifyOn(ctx context.Context, db bun.IDB, doing string, err error) error {
	if err == nil || persistence.Classified(err) {
		return err
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("sqlstore: %s: %w", doing, cause)
	}
	if s.gate.Closed() {
		return failure(stabilize.ErrClosed, doing, err)
	}
	if s.pg != nil {
		return s.classifyPostgres(ctx, db, doing, err)
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return failure(stabilize.ErrTransient, doing, err)
	}
	code, ok := s.cfg.ErrorCode(err)
	if !ok {
		if errors.Is(err, databaseClosed()) {
			return failure(stabilize.ErrClosed, doing, err)
		}
		return failure(stabilize.ErrInternal, doing, err)
	}
	if primary(code) == codeError {
		if missing := s.checkSchema(ctx, db); errors.Is(missing, stabilize.ErrSchemaMissing) {
			s.statements.Store(nil)
			return missing
		}
	}
	return failure(classOfCode(code), doing, err)
}

// databaseClosed returns the error of a closed *sql.DB, which database/sql does
// not export.
func databaseClosed() error {
	db := sql.OpenDB(&connector{})
	_ = db.Close()
	return db.Ping() //nolint:noctx // closed: it connects to nothing
}
