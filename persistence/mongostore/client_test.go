//go:build unix

package mongostore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// clientOf returns a caller's client, made as he likes.
func clientOf(t *testing.T, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })
	return client
}

// How a caller's client writes documents of his own makes no difference to what the
// store writes.
func TestClientThatOmitsWhatIsEmpty(t *testing.T) {
	server := servers.One()
	habits := options.Client().SetBSONOptions(&options.BSONOptions{OmitEmpty: true, NilSliceAsEmpty: true, IntMinSize: true, DefaultDocumentM: true})
	for name, cfg := range map[string]mongostore.Config{
		"options": {URI: server.URI(t), Options: habits},
		"client":  {Client: clientOf(t, options.Client().ApplyURI(server.URI(t)), habits)},
	} {
		cfg.Database, cfg.Migrate = server.Database(t), true
		s, err := mongostore.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Push(t.Context(), queue.Outgoing{Message: queue.StartWaitingWorkflows{Key: "k"}}); err != nil {
			t.Error(err)
		}
		got, err := s.Claim(t.Context(), queue.Worker{ID: "worker", TTL: time.Minute}, queue.Room{Control: 1})
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %d messages were claimed, %v", name, len(got), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Writes that nobody answers are refused: a commit is what was answered.
func TestUnacknowledged(t *testing.T) {
	server := servers.One()
	none := options.Client().SetWriteConcern(writeconcern.Unacknowledged())
	for name, cfg := range map[string]mongostore.Config{
		"options": {URI: server.URI(t), Options: none},
		"client":  {Client: clientOf(t, options.Client().ApplyURI(server.URI(t)), none)},
	} {
		cfg.Database, cfg.Migrate, cfg.Concern = server.Database(t), true, mongostore.Local
		if s, err := mongostore.Open(t.Context(), cfg); !errors.Is(err, stabilize.ErrInvalid) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
