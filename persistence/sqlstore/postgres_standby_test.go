package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// A primary with a synchronous standby dies while an engine works on both by one data
// source name, and the standby takes its place: what was committed is there, what has
// an unknown outcome is found out, and the engine goes on by itself.
func TestPostgresFailover(t *testing.T) {
	primary := &pgtest.Server{Local: true} // it dies
	t.Cleanup(primary.Stop)
	admin := openRaw(t, primary.URL(t))
	standby, err := primary.Standby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	run(t, admin, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	run(t, admin, "SELECT pg_reload_conf()")
	for sync := false; !sync; { // the server heeds it in a moment
		if err := admin.QueryRowContext(t.Context(), "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'").Scan(&sync); err != nil {
			t.Fatal(err)
		}
	}

	refused := func(dsn string, class error) {
		t.Helper()
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{DSN: dsn})
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, class) {
			t.Errorf("opened a standby: %v, want %v", err, class)
		}
		noSecret(t, err, pgtest.Password)
		t.Log(err)
	}
	refused(standby.DSN(t), stabilize.ErrInvalid)
	onlyStandby := standby.URL(t)
	onlyStandby.RawQuery += "&target_session_attrs=read-write"
	refused(onlyStandby.String(), stabilize.ErrTransient) // it may be promoted

	store := &troubled{Store: open(t, "", realTime, func(c *sqlstore.Config) { c.DSN = pgtest.Both(standby.URL(t), primary.URL(t)).String() })}
	eng, err := engine.New(store, engine.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := eng.RegisterTask("say", stabilize.Func(func(context.Context, struct{}) (string, error) { return "said", nil })); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		defer cancel() // nobody waits for what nobody does
		if err := eng.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer working.Wait()
	defer cancel()
	// It works before the primary dies: one that cannot begin is an error of Run.
	first, err := eng.Start(ctx, stabilize.NewWorkflow("app", "first").Add(stabilize.NewStage("a").Do("say")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eng.Wait(ctx, first); err != nil {
		t.Fatal(err)
	}

	o := &orders{T: t, eng: eng, keys: map[string]string{}, many: make(chan struct{}), promoted: make(chan struct{})}
	var starting sync.WaitGroup
	for i := range 4 {
		starting.Go(func() { o.start(i) })
	}
	<-o.many
	if err := primary.Kill(); err != nil {
		t.Error(err)
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Error(err)
	}
	close(o.promoted)
	starting.Wait()
	transient, unknown := store.refused.Load(), store.unknown.Load()
	t.Logf("of the commits of %d starts and their workflows %d were refused and %d of unknown outcome at first", len(o.keys), transient, unknown)
	if transient+unknown == 0 {
		t.Error("nobody noticed that the primary died")
	}
	for id := range o.keys {
		w, err := eng.Wait(ctx, id)
		if err != nil || w.Status != stabilize.Succeeded || len(w.Stages) != 2 {
			t.Fatalf("%s ended %v, %v", id, w, err)
		}
	}
}

// orders are workflows that are started all along, each with a key.
type orders struct {
	*testing.T
	eng            *engine.Engine
	many, promoted chan struct{}

	mu   sync.Mutex
	keys map[string]string // by the id that they were told
}

// start goes on until the standby was promoted, and a little longer.
func (o *orders) start(starter int) {
	for i, left := 0, 5; left > 0; i++ {
		select {
		case <-o.promoted:
			left--
		default:
		}
		key := fmt.Sprint(starter, "-", i)
		w := stabilize.NewWorkflow("app", "chain").Add(stabilize.NewStage("a").Do("say"), stabilize.NewStage("b").After("a").Do("say"))
		id, err := o.eng.Start(o.Context(), w, engine.WithKey(key))
		for tries := 0; err != nil; tries++ { // what the engine's own patience did not reach to
			noSecret(o.T, err, pgtest.Password)
			if class := classOfTrouble(err); class == nil || tries == 1000 {
				o.Errorf("starting: %v", err)
				return
			}
			<-o.promoted
			id, err = o.eng.Start(o.Context(), w, engine.WithKey(key))
		}
		o.told(id, key)
	}
}

func (o *orders) told(id, key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if other, twice := o.keys[id]; twice {
		o.Errorf("the keys %s and %s started one workflow", key, other)
	}
	o.keys[id] = key
	if len(o.keys) == 50 {
		close(o.many)
	}
}

// troubled counts the commits that a failing server gave trouble.
type troubled struct {
	*sqlstore.Store

	refused, unknown atomic.Int64
}

func (s *troubled) TryBatch(ctx context.Context, commits []*persistence.Commit) []error {
	errs := s.Store.TryBatch(ctx, commits)
	for _, err := range errs {
		switch classOfTrouble(err) {
		case stabilize.ErrTransient:
			s.refused.Add(1)
		case stabilize.ErrUnknownOutcome:
			s.unknown.Add(1)
		}
	}
	return errs
}

// classOfTrouble is the class of an error that trying again may mend, or nil.
func classOfTrouble(err error) error {
	for _, class := range []error{stabilize.ErrTransient, stabilize.ErrUnknownOutcome} {
		if errors.Is(err, class) {
			return class
		}
	}
	return nil
}
