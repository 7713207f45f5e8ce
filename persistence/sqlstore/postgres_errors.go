package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// SQLSTATE codes (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	stateReadOnly      = "25006"
	stateUnique        = "23505"
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateLock          = "55P03"
	statePrivilege     = "42501"
	stateNoTable       = "42P01"
	stateNoColumn      = "42703"
	stateNoSchema      = "3F000"
	stateDuplicate     = "42P07"
	stateReplan        = "0A000"
	stateAborted       = "25P02"
	stateNoTransaction = "25P01"
	stateIdle          = "25P03" // see tuning
	stateMoved         = "22012" // division by zero: see setTexts
)

func sqlState(err error) (string, bool) {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && len(pe.Code) == 5 {
		return pe.Code, true
	}
	return "", false
}

// mayRetry reports that another transaction was in the way, or that we stood still in
// ours: it was rolled back, and the next will see what the other did. A key that is taken
// is one that another took after we looked.
func mayRetry(err error) bool {
	switch code, _ := sqlState(err); code {
	case stateSerialization, stateDeadlock, stateUnique, stateLock, stateMoved, stateIdle:
		return true
	}
	return false
}

// refusesUs reports that the server does not let this user in, or lets it do
// nothing here.
func refusesUs(code string) bool {
	switch code[:2] {
	case "28", "3D": // authorization, no such database
		return true
	}
	return code == statePrivilege || code == stateReadOnly || code == stateNoSchema || code == stateDuplicate
}

func classOfState(code string) error {
	switch code {
	case statePrivilege, stateUnique, stateReplan, stateMoved:
		return stabilize.ErrTransient // it may be granted, or freed
	case "XX001", "XX002":
		return stabilize.ErrCorrupt
	}
	switch code[:2] {
	case "08", "25", "28", "3D", "40", "53", "55", "57", "58":
		return stabilize.ErrTransient // the server or the way to it may get better, the error may not be ours
	case "54":
		return stabilize.ErrTooLarge
	}
	return stabilize.ErrInternal
}

// classifyPostgres is the part of classify that knows the database. ctx is the
// caller's, and has not ended.
func (s *Store) classifyPostgres(ctx context.Context, db bun.IDB, doing string, err error) error {
	if code, ok := sqlState(err); ok {
		if code == stateNoTable || code == stateNoSchema || code == stateNoColumn {
			if missing := s.checkSchema(ctx, db); isMissing(missing) {
				s.statements.Store(nil)
				return missing
			}
		}
		return failure(classOfState(code), doing, err)
	}
	if errors.Is(err, databaseClosed()) {
		return failure(stabilize.ErrClosed, doing, err)
	}
	if lostConnection(err) {
		return failure(stabilize.ErrTransient, doing, err)
	}
	return failure(stabilize.ErrInternal, doing, err)
}

// lostConnection reports that the way to the server failed, or our patience.
func lostConnection(err error) bool {
	var network net.Error
	var connect *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &connect) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// outcome tells what is known of a transaction whose end was answered with err.
// A server that says no has rolled back; one that goes away may have committed. The
// driver's word that it sent nothing is not taken: it says so of a COMMIT whose
// answer was lost. Nor is the context's error: it is the same whether the context
// ended before or while the answer was waited for.
func outcome(doing string, err error) error {
	var pe *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pe) && pe.SeverityUnlocalized == "ERROR":
		return err
	case errors.Is(err, sql.ErrTxDone) || errors.Is(err, driver.ErrBadConn):
		return err
	}
	return failure(stabilize.ErrUnknownOutcome, doing, err)
}
