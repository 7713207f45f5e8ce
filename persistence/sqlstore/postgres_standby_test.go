package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore"
	"github.com/stabilize-dev/go-stabilize/persistence/sqlstore/pgtest"
	"github.com/stabilize-dev/go-stabilize/persistence/stores"
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

	eng, err := engine.Open(t.Context(), stores.DSN(pgtest.Both(standby.URL(t), primary.URL(t)).String()), engine.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	if err := eng.RegisterTask("say", stabilize.Func(func(context.Context, struct{}) (string, error) { return "said", nil })); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		if err := eng.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer working.Wait()
	defer cancel()

	const workflows, dies = 60, 20
	var ids []string
	unknown := 0
	fails := sync.OnceFunc(func() {
		if err := primary.Kill(); err != nil {
			t.Error(err)
		}
		working.Go(func() {
			if err := standby.Promote(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	for i := range workflows {
		w := stabilize.NewWorkflow("app", "chain").Add(stabilize.NewStage("a").Do("say"), stabilize.NewStage("b").After("a").Do("say"))
		if i == dies {
			go fails() // in the midst of what follows
		}
		for {
			id, err := eng.Start(ctx, w, engine.WithKey(fmt.Sprint("order ", i)))
			if err == nil {
				ids = append(ids, id)
				break
			}
			if !errors.Is(err, stabilize.ErrTransient) && !errors.Is(err, stabilize.ErrUnknownOutcome) {
				t.Fatalf("starting: %v", err)
			}
			noSecret(t, err, pgtest.Password)
			if unknown++; unknown > 10_000 {
				t.Fatalf("starting: %v", err)
			}
			time.Sleep(10 * time.Millisecond) // of a caller who tries again
		}
	}
	t.Logf("%d starts were refused, or of unknown outcome", unknown)
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			t.Errorf("two keys started workflow %s", id)
		}
		seen[id] = true
		w, err := eng.Wait(ctx, id)
		if err != nil || w.Status != stabilize.Succeeded || len(w.Stages) != 2 {
			t.Fatalf("%s ended %v, %v", id, w, err)
		}
	}
}
