package conformance

import (
	"context"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Harness is a fresh, empty backend for one clause, with handles on it. All
// handles take their time from Clock. The constructor is given the clause's
// *testing.T and registers its own cleanup there; Fatal in it means that the
// harness could not be made, which fails that clause, and the whole suite before
// any clause if it is the first: a suite makes one more, to see what it has. The
// clause closes nothing unless closing is what it tests. The powers below are optional: a harness has
// one by implementing its interface.
type Harness interface {
	// Store returns the first handle, the same at every call.
	Store() persistence.Store
	// Second returns another handle on the same data, as another process would
	// have, the same at every call.
	Second() persistence.Store
	// Reopen closes both handles and opens the data anew; the handle returned is
	// the first from then on.
	Reopen() persistence.Store
	Clock() *stabilize.ManualClock
}

// QueueHarness is Harness for those who have a queue alone.
type QueueHarness interface {
	Queue() queue.Queue
	Second() queue.Queue
	Reopen() queue.Queue
	Clock() *stabilize.ManualClock
	// Close closes one of the handles above.
	Close(queue.Queue) error
}

// Power names something that not every backend or harness has.
type Power string

// Powers of the handles, and powers to look into a database past them; those that
// make it hostile are in powers.go.
const (
	// CanRefresh: the handles are persistence.Refresher.
	CanRefresh Power = "Refresh"
	// CanListWaiting: the handles are persistence.WaitingKeys.
	CanListWaiting Power = "WaitingKeys"
	// CanWatch: the handles are persistence.Watcher.
	CanWatch Power = "Watch"
	// CanLogEvents: the handles are persistence.EventKeeper, and keep some.
	CanLogEvents Power = "EventLog"
	// CanTamperEvents: so they are, and the harness is an EventTamperer.
	CanTamperEvents Power = "TamperEvents"
	// CanBreakEvents: so they are, and the harness is an Interceptor.
	CanBreakEvents Power = "BreakEvents"
	// CanNotify: the handles are queue.Notifier.
	CanNotify Power = "Notify"
	// CanCountRows: the harness is a RowCounter.
	CanCountRows Power = "RowCounter"
	// CanTamper: the harness is a Tamperer.
	CanTamper Power = "Tamper"
	// CanSetVersion: the harness is a VersionSetter.
	CanSetVersion Power = "SetVersion"
	// CanLimit: the harness is a Limiter.
	CanLimit Power = "MaxPayload"
	// CanCountQueries: the harness is a QueryCounter.
	CanCountQueries Power = "QueryCounter"
	// CanExplain: the harness is an Explainer.
	CanExplain Power = "Explain"
)

// powers are all there are.
func powers() []Power {
	return append(append(DatabasePowers(), CanRefresh, CanListWaiting, CanWatch, CanLogEvents, CanBreakEvents, CanNotify, CanLimit), pastStore()...)
}

// pastStore are the powers by which a harness looks, or reaches, past the store: a
// clause that needs one fails as well when the harness does nothing.
func pastStore() []Power {
	return []Power{CanCountRows, CanTamper, CanTamperEvents, CanSetVersion, CanCountQueries, CanExplain}
}

// Lacking is a harness that declares which powers its backend does not have. A
// missing power that is not declared fails the suite, so that losing one is
// noticed; so does one that is declared and there, and a name that is no power.
type Lacking interface {
	Lacks() []Power
}

func lackedBy(harness any) []Power {
	if l, ok := Find[Lacking](harness); ok {
		return l.Lacks()
	}
	return nil
}

// RowCounter counts rows by table, the tables found by schema introspection and
// never listed by hand. Tables that hold nothing of workflows and messages
// (schema versions, worker leases) are left out by name.
type RowCounter interface {
	Rows(ctx context.Context) (map[string]int, error)
}

// Tables of a Tamperer.
const (
	TableWorkflows = "workflows"
	TableStages    = "stages"
	TableMessages  = "messages"
)

// Tamperer overwrites the stored body of a row, past the store. The body of a
// workflow or stage is what persistence.EncodeHeader and EncodeStage write, that
// of a message what queue.Encode writes.
type Tamperer interface {
	Tamper(ctx context.Context, table, id string, body []byte) error
}

// EventTamperer overwrites the stored form of an event, and of others of its commit if
// they are stored together, past the store. It is what persistence.EncodedEvents has as
// its body where a store keeps that.
type EventTamperer interface {
	TamperEvents(ctx context.Context, eventID string, body []byte) error
}

// VersionSetter moves a workflow and its stages to a version, past the store.
type VersionSetter interface {
	SetVersion(ctx context.Context, workflowID string, version int64) error
}

// Limiter tells the largest stored payload, in bytes.
type Limiter interface {
	MaxPayload() int64
}

// QueryCounter counts the round trips to the database made by the first handle.
type QueryCounter interface {
	Queries() int
}

// Explainer reports listings that read a whole table: one line for each.
type Explainer interface {
	FullScans(ctx context.Context, q persistence.Query) ([]string, error)
}

// OpenCounter counts what both handles have in use at this moment and must give
// back, by name: connections that are checked out, transactions, cursors. It is
// asked before and after each clause, the second time also when the clause has
// closed the handles, and nothing may have grown. A harness need not declare that
// it lacks it.
type OpenCounter interface {
	InUse(ctx context.Context) (map[string]int, error)
}

// has reports whether a backend has a power.
func has(p Power, harness any, handle any) bool {
	ok := true
	switch p {
	case "":
	case CanRefresh:
		_, ok = handle.(persistence.Refresher)
	case CanListWaiting:
		_, ok = handle.(persistence.WaitingKeys)
	case CanWatch:
		_, ok = handle.(persistence.Watcher)
	case CanLogEvents:
		ok = keepsEvents(handle)
	case CanTamperEvents:
		if _, ok = Find[EventTamperer](harness); ok {
			ok = keepsEvents(handle)
		}
	case CanBreakEvents:
		if _, ok = Find[Interceptor](harness); ok {
			ok = keepsEvents(handle)
		}
	case CanNotify:
		_, ok = handle.(queue.Notifier)
	case CanCountRows:
		_, ok = Find[RowCounter](harness)
	case CanTamper:
		_, ok = Find[Tamperer](harness)
	case CanSetVersion:
		_, ok = Find[VersionSetter](harness)
	case CanLimit:
		_, ok = Find[Limiter](harness)
	case CanCountQueries:
		_, ok = Find[QueryCounter](harness)
	case CanExplain:
		_, ok = Find[Explainer](harness)
	case CanIntercept:
		_, ok = Find[Interceptor](harness)
	case CanFreeze:
		_, ok = Find[Freezer](harness)
	case CanRestart:
		_, ok = Find[Restarter](harness)
	case CanOpenNarrow:
		_, ok = Find[NarrowOpener](harness)
	case CanOpenTenant:
		_, ok = Find[TenantOpener](harness)
	case CanOpenGiven:
		_, ok = Find[GivenOpener](harness)
	case CanMigrate:
		_, ok = Find[Migrator](harness)
	case CanHold:
		if _, ok = Find[Holder](harness); ok {
			_, ok = handle.(persistence.Trier)
		}
	default:
		ok = false
	}
	return ok
}

func keepsEvents(handle any) bool {
	k, ok := handle.(persistence.EventKeeper)
	return ok && k.EventLog() != nil
}

// Find returns a power of a harness, or of the one it wraps: a harness that
// wraps another says so with an Unwrap method that returns it.
func Find[P any](harness any) (P, bool) {
	for harness != nil {
		if p, ok := harness.(P); ok {
			return p, true
		}
		w, ok := harness.(interface{ Unwrap() any })
		if !ok {
			break
		}
		harness = w.Unwrap()
	}
	var none P
	return none, false
}

// AsQueue makes the queue's harness of a store's.
func AsQueue(h Harness) QueueHarness { return storeQueue{h} }

type storeQueue struct{ h Harness }

func (s storeQueue) Queue() queue.Queue            { return s.h.Store() }
func (s storeQueue) Second() queue.Queue           { return s.h.Second() }
func (s storeQueue) Reopen() queue.Queue           { return s.h.Reopen() }
func (s storeQueue) Clock() *stabilize.ManualClock { return s.h.Clock() }
func (s storeQueue) Unwrap() any                   { return s.h }
func (s storeQueue) Close(q queue.Queue) error     { return q.(persistence.Store).Close() }
