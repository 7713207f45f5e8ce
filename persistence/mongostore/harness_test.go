//go:build unix

package mongostore_test

import (
	"context"
	"testing"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/stabilize-dev/go-stabilize/conformance/mongoharness"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore/mongotest"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// harness is a database of its own with two handles on it, each by a link of its
// own, and a third way past both.
type harness struct {
	*mongoharness.Mongo

	clock         *stabilize.ManualClock
	links         [2]*mongotest.Link
	db            *mongo.Database
	first, second *mongostore.Store // before Reopen
}

func newHarness(t testing.TB, server *mongotest.Server, changes ...func(*mongostore.Config)) *harness {
	t.Helper()
	var seen plans
	h := &harness{Mongo: mongoharness.New(t, mongoharness.Config{Server: server, Change: func(cfg *mongostore.Config) {
		// Nothing may be sent that looks at everything.
		started := cfg.Monitor.Started
		cfg.Monitor.Started = func(ctx context.Context, e *event.CommandStartedEvent) {
			if err := seen.check(e); err != nil {
				t.Error(err)
			}
			started(ctx, e)
		}
		for _, change := range changes {
			change(cfg)
		}
	}})}
	h.clock, h.db, h.links = h.Clock(), h.Database(), [2]*mongotest.Link{h.Link(0), h.Link(1)}
	h.first, h.second = h.Handles()
	return h
}

func (h *harness) config(i int) mongostore.Config { return h.Config(i) }

func (h *harness) extra(s *mongostore.Store, err error) (persistence.Store, error) {
	return h.Keep(s, err)
}
