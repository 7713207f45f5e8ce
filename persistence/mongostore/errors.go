package mongostore

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// failure is an error of the driver's under one class.
func failure(class error, doing string, cause error) error {
	return &persistence.Failure{Store: "mongostore", Doing: doing, Class: class, Cause: cause}
}

// classify gives a driver's error its class. ctx is the caller's.
func (s *Store) classify(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if persistence.Classified(err) && (ctx.Err() == nil || !errors.Is(err, stabilize.ErrTransient)) {
		return err
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("mongostore: %s: %w (%v)", doing, cause, err)
	}
	if s.gate.Closed() || errors.Is(err, mongo.ErrClientDisconnected) {
		return failure(stabilize.ErrClosed, doing, err)
	}
	return failure(classOf(err), doing, err)
}

// Codes of a server's errors.
const (
	codeDuplicateKey    = 11000
	codeTooLarge        = 10334
	codeTooLargeAfter   = 17419 // an update would make the document too large
	codeTooLargeInsert  = 17280
	codeNoSuchConcern   = 79  // UnknownReplWriteConcern
	codeNoMajority      = 100 // UnsatisfiableWriteConcern
	codeNoMajorityReads = 148 // ReadConcernMajorityNotEnabled
	codeUnauthorized    = 13
)

// conflicts are the codes of a write that met another one and was broken off: a
// command may be sent again at once.
func conflicts() []int {
	return []int{
		112,      // WriteConflict
		16908292, // a deadlock in DocumentDB's engine on PostgreSQL
	}
}

// passing are the codes of what passes, of a server that says so before it does
// anything.
func passing() []int {
	return []int{
		10107, // NotWritablePrimary
		13435, // NotPrimaryNoSecondaryOk
		13436, // NotPrimaryOrSecondary
		134,   // ReadConcernMajorityNotAvailableYet
		43,    // CursorNotFound
		175,   // QueryPlanKilled
	}
}

// interrupted are the codes of what passes, of a server that may have done what it was
// asked for, or that does not know what another one did.
func interrupted() []int {
	return []int{
		6,     // HostUnreachable
		7,     // HostNotFound
		89,    // NetworkTimeout
		91,    // ShutdownInProgress
		189,   // PrimarySteppedDown
		262,   // ExceededTimeLimit
		9001,  // SocketException
		11600, // InterruptedAtShutdown
		11602, // InterruptedDueToReplStateChange
	}
}

// refusesUs reports that the server does not let this user in, or not do what is
// asked: it may be granted.
func refusesUs(err error) bool {
	_, in := errors.AsType[*auth.Error](err)
	return in && answered(err) || hasCode(err, codeUnauthorized)
}

// classOf finds the class by labels and codes; nothing is read off an error's text.
func classOf(err error) error {
	if tooLarge(err) {
		return stabilize.ErrTooLarge
	}
	if transient(err) || refusesUs(err) {
		return stabilize.ErrTransient
	}
	return stabilize.ErrInternal
}

func tooLarge(err error) bool {
	return errors.Is(err, driver.ErrDocumentTooLarge) || hasCode(err, codeTooLarge, codeTooLargeAfter, codeTooLargeInsert)
}

func transient(err error) bool {
	var labeled mongo.LabeledError
	if errors.As(err, &labeled) {
		for _, label := range []string{"TransientTransactionError", "RetryableWriteError", "NetworkError", "RetryableError", "SystemOverloadedError"} {
			if labeled.HasErrorLabel(label) {
				return true
			}
		}
	}
	if _, ok := errors.AsType[topology.ServerSelectionError](err); ok {
		return true
	}
	if _, ok := errors.AsType[topology.ConnectionError](err); ok {
		return true
	}
	if _, ok := errors.AsType[topology.WaitQueueTimeoutError](err); ok {
		return true
	}
	var pool driver.RetryablePoolError // it was cleared for a failure of another operation
	if errors.As(err, &pool) && pool.Retryable() {
		return true
	}
	return mongo.IsNetworkError(err) || mongo.IsTimeout(err) || concernFailed(err) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		conflicted(err) || hasCode(err, passing()...) || hasCode(err, interrupted()...)
}

// answered reports whether the server itself refused, or the driver in its place: then
// it is known that the command did nothing that it does not say.
func answered(err error) bool {
	var server mongo.ServerError
	if !errors.As(err, &server) {
		return errors.Is(err, driver.ErrDocumentTooLarge)
	}
	return !mongo.IsNetworkError(err) && !mongo.IsTimeout(err) && !server.HasErrorLabel("RetryableWriteError") &&
		!hasCode(err, interrupted()...) && !concernFailed(err)
}

// refused reports whether it makes no sense to ask again.
func refused(err error) bool { return answered(err) && !transient(err) }

// concernFailed reports whether a write was done but may not be durable.
func concernFailed(err error) bool {
	if one, ok := errors.AsType[mongo.WriteException](err); ok {
		return one.WriteConcernError != nil
	}
	if many, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		return many.WriteConcernError != nil
	}
	return false
}

func conflicted(err error) bool { return hasCode(err, conflicts()...) }

func duplicate(err error) bool { return hasCode(err, codeDuplicateKey) }

func hasCode(err error, codes ...int) bool {
	var server mongo.ServerError
	if !errors.As(err, &server) {
		return false
	}
	for _, code := range codes {
		if server.HasErrorCode(code) {
			return true
		}
	}
	return false
}
