package mutant

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// Link makes a store that is in this process one that is reached over
// connections, so that these can be played with. Each method is one call to the
// database.
type Link struct {
	// Admit, if set, is asked before each call; its error is the call's.
	Admit func() error

	mu        sync.Mutex
	intercept func(executed bool) bool
	thawed    chan struct{} // nil: not frozen
	restarts  int
}

// Intercept implements conformance.Interceptor.
func (l *Link) Intercept(f func(executed bool) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.intercept = f
}

// Freeze implements conformance.Freezer.
func (l *Link) Freeze(context.Context) (func() error, error) {
	c := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.thawed = c
	return sync.OnceValue(func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(c)
		l.thawed = nil
		return nil
	}), nil
}

// Restart implements conformance.Restarter.
func (l *Link) Restart(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.restarts++
	return nil
}

func (l *Link) state() (intercept func(bool) bool, thawed chan struct{}, restarts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.intercept, l.thawed, l.restarts
}

// Handle returns the good store behind the link. The first handle is the one
// whose calls are intercepted.
func (l *Link) Handle(good persistence.Store, first bool) persistence.Store {
	_, _, now := l.state()
	return &remote{good: good, link: l, first: first, connected: now}
}

type remote struct {
	good  persistence.Store
	link  *Link
	first bool

	mu        sync.Mutex
	connected int // since so many restarts
}

var (
	errBroken = errors.New("the connection broke")
	errLost   = errors.Join(stabilize.ErrUnknownOutcome, errBroken)
)

// connect returns the number of restarts; an error if there was one meanwhile.
func (r *remote) connect() (int, error) {
	_, _, now := r.link.state()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.connected != now {
		r.connected = now
		return now, stabilize.Transient(errBroken)
	}
	return now, nil
}

// ask is one call to the database. If its reply is lost the error is lost.
func ask[R any](ctx context.Context, r *remote, lost error, call func() (R, error)) (R, error) {
	var none R
	if r.link.Admit != nil {
		if err := r.link.Admit(); err != nil {
			return none, err
		}
	}
	intercept, thawed, _ := r.link.state()
	if thawed != nil {
		select {
		case <-thawed:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
	restarts, err := r.connect()
	if err != nil {
		return none, err
	}
	if !r.first {
		intercept = nil
	}
	if intercept != nil && intercept(false) {
		return none, stabilize.Transient(errBroken)
	}
	got, err := call()
	if intercept != nil && intercept(true) {
		return none, lost
	}
	if _, _, now := r.link.state(); now != restarts {
		return none, lost
	}
	return got, err
}

func read[R any](ctx context.Context, r *remote, call func() (R, error)) (R, error) {
	return ask(ctx, r, stabilize.Transient(errBroken), call)
}

func write(ctx context.Context, r *remote, call func() error) error {
	_, err := ask(ctx, r, errLost, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (r *remote) CommitBatch(ctx context.Context, cs []*persistence.Commit) []error {
	return r.batch(ctx, cs, r.good.CommitBatch)
}

func (r *remote) TryBatch(ctx context.Context, cs []*persistence.Commit) []error {
	try := r.good.CommitBatch
	if t, ok := r.good.(persistence.Trier); ok {
		try = t.TryBatch
	}
	return r.batch(ctx, cs, try)
}

func (r *remote) batch(ctx context.Context, cs []*persistence.Commit, do func(context.Context, []*persistence.Commit) []error) []error {
	if len(cs) == 0 {
		return nil
	}
	errs, err := ask(ctx, r, errLost, func() ([]error, error) { return do(ctx, cs), nil })
	if err != nil {
		errs = make([]error, len(cs))
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

func (r *remote) Load(ctx context.Context, id string) (*stabilize.Workflow, error) {
	return read(ctx, r, func() (*stabilize.Workflow, error) { return r.good.Load(ctx, id) })
}

func (r *remote) Summary(ctx context.Context, id string) (*stabilize.Header, error) {
	return read(ctx, r, func() (*stabilize.Header, error) { return r.good.Summary(ctx, id) })
}

func (r *remote) Query(ctx context.Context, q persistence.Query) (persistence.Page, error) {
	return read(ctx, r, func() (persistence.Page, error) { return r.good.Query(ctx, q) })
}

func (r *remote) Delete(ctx context.Context, ids ...string) error {
	return write(ctx, r, func() error { return r.good.Delete(ctx, ids...) })
}

func (r *remote) Prune(ctx context.Context, finished ...*stabilize.Header) (int, error) {
	return ask(ctx, r, errLost, func() (int, error) { return r.good.Prune(ctx, finished...) })
}

func (r *remote) Admissions(ctx context.Context, key string) (persistence.Admissions, error) {
	return read(ctx, r, func() (persistence.Admissions, error) { return r.good.Admissions(ctx, key) })
}

func (r *remote) Refresh(ctx context.Context, id string, since int64) (*persistence.Delta, error) {
	return read(ctx, r, func() (*persistence.Delta, error) { return r.good.(persistence.Refresher).Refresh(ctx, id, since) })
}

func (r *remote) WaitingKeys(ctx context.Context) ([]persistence.WaitingKey, error) {
	return read(ctx, r, func() ([]persistence.WaitingKey, error) { return r.good.(persistence.WaitingKeys).WaitingKeys(ctx) })
}

func (r *remote) Unfinished(ctx context.Context, ids ...string) ([]string, error) {
	return read(ctx, r, func() ([]string, error) { return r.good.(persistence.Watcher).Unfinished(ctx, ids...) })
}

// EventLog implements persistence.EventKeeper.
func (r *remote) EventLog() events.Log {
	if good := persistence.EventLogOf(r.good); good != nil {
		return remoteLog{r, good}
	}
	return nil
}

type remoteLog struct {
	r    *remote
	good events.Log
}

func (l remoteLog) Read(ctx context.Context, q events.Query) (events.Page, error) {
	return read(ctx, l.r, func() (events.Page, error) { return l.good.Read(ctx, q) })
}

func (l remoteLog) Count(ctx context.Context, q events.Query) (int64, error) {
	return read(ctx, l.r, func() (int64, error) { return l.good.Count(ctx, q) })
}

func (l remoteLog) Get(ctx context.Context, id string) (*events.Event, error) {
	return read(ctx, l.r, func() (*events.Event, error) { return l.good.Get(ctx, id) })
}

func (l remoteLog) Last(ctx context.Context) (events.Position, error) {
	return read(ctx, l.r, func() (events.Position, error) { return l.good.Last(ctx) })
}

func (r *remote) Close() error { return r.good.Close() }

func (r *remote) Wake() <-chan struct{} { return r.good.(queue.Notifier).Wake() }

func (r *remote) Push(ctx context.Context, msgs ...queue.Outgoing) error {
	return write(ctx, r, func() error { return r.good.Push(ctx, msgs...) })
}

func (r *remote) Claim(ctx context.Context, w queue.Worker, room queue.Room) ([]queue.Delivery, error) {
	return ask(ctx, r, errLost, func() ([]queue.Delivery, error) { return r.good.Claim(ctx, w, room) })
}

func (r *remote) Ack(ctx context.Context, rs ...queue.Receipt) error {
	return write(ctx, r, func() error { return r.good.Ack(ctx, rs...) })
}

func (r *remote) Release(ctx context.Context, rc queue.Receipt, at time.Time, cause error) error {
	return write(ctx, r, func() error { return r.good.Release(ctx, rc, at, cause) })
}

func (r *remote) Return(ctx context.Context, rc queue.Receipt) error {
	return write(ctx, r, func() error { return r.good.Return(ctx, rc) })
}

func (r *remote) Heartbeat(ctx context.Context, w queue.Worker) (queue.Leases, error) {
	return ask(ctx, r, errLost, func() (queue.Leases, error) { return r.good.Heartbeat(ctx, w) })
}

func (r *remote) Retire(ctx context.Context, worker string) error {
	return write(ctx, r, func() error { return r.good.Retire(ctx, worker) })
}

func (r *remote) Pending(ctx context.Context, id string) ([]queue.Stored, error) {
	return read(ctx, r, func() ([]queue.Stored, error) { return r.good.Pending(ctx, id) })
}

func (r *remote) Depth(ctx context.Context) (queue.Depth, error) {
	return read(ctx, r, func() (queue.Depth, error) { return r.good.Depth(ctx) })
}

func (r *remote) ListDead(ctx context.Context, after string, limit int) ([]queue.DeadLetter, error) {
	return read(ctx, r, func() ([]queue.DeadLetter, error) { return r.good.ListDead(ctx, after, limit) })
}

func (r *remote) ReplayDead(ctx context.Context, id string) error {
	return write(ctx, r, func() error { return r.good.ReplayDead(ctx, id) })
}

func (r *remote) DiscardDead(ctx context.Context, id string) error {
	return write(ctx, r, func() error { return r.good.DiscardDead(ctx, id) })
}
