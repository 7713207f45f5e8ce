package conformance

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/persistence"
)

// Powers over the connection between a store and its database, and over how a
// store is opened. A store within one process has no connection: its harness
// declares that it lacks them.
const (
	// CanIntercept: the harness is an Interceptor.
	CanIntercept Power = "Intercept"
	// CanFreeze: the harness is a Freezer.
	CanFreeze Power = "Freeze"
	// CanRestart: the harness is a Restarter.
	CanRestart Power = "Restart"
	// CanOpenNarrow: the harness is a NarrowOpener.
	CanOpenNarrow Power = "OpenNarrow"
	// CanOpenTenant: the harness is a TenantOpener.
	CanOpenTenant Power = "OpenTenant"
	// CanOpenGiven: the harness is a GivenOpener.
	CanOpenGiven Power = "OpenGiven"
	// CanMigrate: the harness is a Migrator.
	CanMigrate Power = "Migrate"
	// CanHold: the harness is a Holder, and the handles are persistence.Trier.
	CanHold Power = "Hold"
)

// DatabasePowers lists the powers above: what a harness declares lacking whose
// store has no database but the memory of its process.
func DatabasePowers() []Power {
	return []Power{CanIntercept, CanFreeze, CanRestart, CanOpenNarrow, CanOpenTenant, CanOpenGiven, CanMigrate, CanHold}
}

// Interceptor stands between the first handle and its database. For a store on
// database/sql, package sqlharness has one.
type Interceptor interface {
	// Intercept asks f at two moments of each call that the first handle makes to
	// its database: before it is sent, and when it was executed and the reply is
	// on its way. Everything that waits for the database is such a call, COMMIT
	// included, and the rows of a listing one by one if they are fetched so.
	//
	// f may wait, and is asked by several goroutines at once. If it returns true
	// the connection breaks at that moment: the call is not sent, or its reply is
	// lost; a transaction open on the connection is rolled back; the store is
	// given the error that its driver has for it; and the connection is of no more
	// use. Others, and new ones, are. Rolling back and closing are not asked for.
	// nil ends it.
	Intercept(f func(executed bool) (breaks bool))
}

// Freezer stops the database without ending a connection, as a stopped process
// or a network that drops everything does.
type Freezer interface {
	// Freeze stops it: every call of either handle waits until it is thawed or the
	// call's context ends, if the driver heeds that. The function returned thaws
	// it, and does nothing the second time.
	Freeze(ctx context.Context) (thaw func() error, err error)
}

// Restarter restarts the database while handles are open.
type Restarter interface {
	// Restart breaks all connections of both handles, the calls on their way
	// included, and returns when the database takes new ones. What was durable is
	// there.
	Restart(ctx context.Context) error
}

// The handles that the openers below return are closed by the clause, and again
// by the harness at its end, which is no error.

// NarrowOpener opens handles that have one connection.
type NarrowOpener interface {
	// OpenNarrow opens a further handle on the harness's data. It has one
	// connection to the database, for everything.
	OpenNarrow(ctx context.Context) (persistence.Store, error)
}

// TenantOpener opens stores that live beside each other in one database.
type TenantOpener interface {
	// OpenTenant opens the store of that name in the harness's database, made if
	// need be, by whatever tells stores apart there: a prefix of its tables or
	// keys, a schema. The name goes to the store as it is, and the store's error
	// comes back as it is. The harness's own handles are on another.
	OpenTenant(ctx context.Context, name string) (persistence.Store, error)
}

// GivenOpener opens stores on a database handle (a pool, a client, a file that is
// open) of the caller's.
type GivenOpener interface {
	// OpenGiven opens a further handle on the harness's data, either on a database
	// handle that it is given, or, if not given, on one that it opens itself.
	// usable tells whether that database handle can still be used.
	OpenGiven(ctx context.Context, given bool) (s persistence.Store, usable func(ctx context.Context) bool, err error)
}

// Migrator has databases whose schema is not that of the program.
type Migrator interface {
	// Unmigrated makes an empty database of its own, without schema.
	Unmigrated(ctx context.Context) (Database, error)
}

// Database is one of a Migrator's.
type Database interface {
	// Open opens a handle, and migrates if asked. The store's error comes back as
	// it is.
	Open(ctx context.Context, migrate bool) (persistence.Store, error)
	// Schema describes all that migrations make, and which of them the database
	// says were applied, without times. The same text: nothing was changed.
	Schema(ctx context.Context) (string, error)
	// Newer records a migration that this program does not know, as a later
	// version of it would.
	Newer(ctx context.Context) error
	// Obstruct puts something into the way of the last migration's last step. The
	// function returned takes it away.
	Obstruct(ctx context.Context) (clear func(ctx context.Context) error, err error)
}

// Holder has transactions of somebody else, of which no handle knows.
type Holder interface {
	// Hold begins one that changes a workflow, and keeps it open: a commit about that
	// workflow has to wait. The function returned rolls it back.
	Hold(ctx context.Context, workflowID string) (release func() error, err error)
}
