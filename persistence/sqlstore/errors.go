package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// failure is a driver's error under its class. The driver's error is reached
// with errors.As and is not a class itself.
type failure struct {
	class error
	doing string
	cause error
}

func (f *failure) Error() string {
	return "sqlstore: " + f.doing + ": " + f.class.Error() + ": " + f.cause.Error()
}

func (f *failure) Is(target error) bool { return target == f.class }
func (f *failure) As(target any) bool   { return errors.As(f.cause, target) }

// classes lists what an error may already be.
func classes() []error {
	return []error{
		stabilize.ErrInvalid, stabilize.ErrNotFound, stabilize.ErrExists, stabilize.ErrConflict,
		stabilize.ErrLeaseLost, stabilize.ErrNoPlace, stabilize.ErrPlaceFree, stabilize.ErrTooLarge,
		stabilize.ErrCorrupt, stabilize.ErrClosed, stabilize.ErrTransient, stabilize.ErrUnknownOutcome,
		stabilize.ErrUnsupported, stabilize.ErrSchemaTooNew, stabilize.ErrSchemaMissing, stabilize.ErrInternal,
	}
}

func classified(err error) bool {
	for _, class := range classes() {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// classify gives a driver's error its class. ctx is the caller's.
func (s *Store) classify(ctx context.Context, doing string, err error) error {
	return s.classifyOn(ctx, s.r, doing, err)
}

// classifyOn is classify for an error of db, which is asked about its schema.
func (s *Store) classifyOn(ctx context.Context, db bun.IDB, doing string, err error) error {
	if err == nil || classified(err) {
		return err
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("sqlstore: %s: %w", doing, cause)
	}
	if s.gate.Closed() {
		return &failure{stabilize.ErrClosed, doing, err}
	}
	if s.pg != nil {
		return s.classifyPostgres(ctx, db, doing, err)
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return &failure{stabilize.ErrTransient, doing, err}
	}
	code, ok := s.cfg.ErrorCode(err)
	if !ok {
		if errors.Is(err, databaseClosed()) {
			return &failure{stabilize.ErrClosed, doing, err}
		}
		return &failure{stabilize.ErrInternal, doing, err}
	}
	if primary(code) == codeError {
		if missing := s.checkSchema(ctx, db); errors.Is(missing, stabilize.ErrSchemaMissing) {
			s.statements.Store(nil)
			return missing
		}
	}
	return &failure{classOfCode(code), doing, err}
}

// databaseClosed returns the error of a closed *sql.DB, which database/sql does
// not export.
func databaseClosed() error {
	db := sql.OpenDB(&connector{})
	_ = db.Close()
	return db.Ping() //nolint:noctx // closed: it connects to nothing
}
