//go:build unix

package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
	"github.com/stabilize-dev/go-stabilize/stabilize/engine"
)

// foreign are documents that somebody else has written into our collections, or damaged.
func foreign() map[string][]bson.D {
	doc := func(fields ...any) (d bson.D) {
		for i := 0; i < len(fields); i += 2 {
			d = append(d, bson.E{Key: fields[i].(string), Value: fields[i+1]})
		}
		return d
	}
	return map[string][]bson.D{
		"messages": {
			doc("_id", bson.NewObjectID()),
			doc("_id", bson.NewObjectID(), "q", "control", "due", int64(0), "seq", int64(0), "tx", ""),
			doc("_id", int32(7), "q", "work", "due", int64(0), "seq", int64(0), "tx", "", "rev", "r"),
			doc("_id", "many", "q", "control", "due", int64(0), "seq", int64(0), "tx", "", "rev", "r", "attempts", "many"),
			doc("_id", "odd"),
			doc("_id", "bare", "q", "work", "due", int64(0), "tx", ""),
			doc("_id", "spent", "q", "spent", "due", int64(0), "tx", ""),
			doc("_id", "marked", "q", "control", "tx", "x", "of", int32(5), "at", "w"),
			doc("_id", "undecided", "q", "control", "tx", "y", "of", "w", "at", "broken", "exp", "other"),
			doc("_id", bson.NewObjectID(), "q", "leased", "worker", "nobody", "fence", int64(1), "tx", ""),
			doc("_id", bson.NewObjectID(), "wf", "addressed", "q", "control", "due", "never", "tx", ""),
		},
		"workflows": {
			doc("_id", bson.NewObjectID(), "version", int64(1), "start", int64(1), "app", "theirs"),
			doc("_id", "theirs"),
			doc("_id", "broken", "rev", "r", "version", "one", "txs", "none"),
		},
		"admissions": {doc("_id", bson.NewObjectID()), doc("_id", "theirs"), doc("_id", "broken", "rev", "r", "holding", int32(5))},
		"workers":    {doc("_id", bson.NewObjectID(), "expires", int64(0)), doc("_id", "nobody", "expires", int64(0), "fence", "none")},
		"payloads":   {doc("_id", bson.NewObjectID())},
		"steps":      {doc("_id", int32(5), "txs", bson.A{}), doc("_id", "x", "txs", int32(5))},
		"meta":       {doc("_id", "theirs")},
	}
}

// Documents of others in our collections are passed over, or named where they are in the
// way; they stop no engine and no other commit.
func TestForeignDocuments(t *testing.T) {
	server := servers.One()
	db := server.Client(t).Database(server.Database(t))
	open := func() (*mongostore.Store, error) {
		return mongostore.Open(t.Context(), mongostore.Config{URI: server.URI(t), Database: db.Name(), Migrate: true, Patience: 20 * time.Millisecond})
	}
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Close())
	for collection, docs := range foreign() {
		for _, doc := range docs {
			_, err := db.Collection(collection).InsertOne(t.Context(), doc)
			must(err)
		}
	}
	s, err = open()
	must(err)
	defer s.Close()
	runBeside(t, s)

	names := func(what string, err error, collection, id string) {
		t.Helper()
		var corrupt *stabilize.CorruptError
		if !errors.Is(err, stabilize.ErrCorrupt) || !errors.As(err, &corrupt) || corrupt.Table != collection || id != "" && corrupt.ID != id {
			t.Errorf("%s: %v does not name %s of %s", what, err, id, collection)
		}
	}
	create := func(id, key string) *persistence.Commit {
		c := &persistence.Commit{WorkflowID: id, Header: &stabilize.Header{ID: id, Application: "app", Name: "n", Status: stabilize.Running, CreatedAt: time.Now()}}
		if key != "" {
			c.Admission = &persistence.Admission{Op: persistence.TakePlace, Key: key, Limit: 1}
		}
		return c
	}
	_, err = s.Load(t.Context(), "broken")
	names("loading", err, "workflows", "broken")
	if _, err = s.Load(t.Context(), "theirs"); !errors.Is(err, stabilize.ErrNotFound) {
		t.Errorf("loading what is no workflow: %v", err)
	}
	for range 2 { // as one of a batch, in any order
		errs := s.CommitBatch(t.Context(), []*persistence.Commit{create("theirs", ""), {WorkflowID: "broken", Expect: 1}, create("ours", "")})
		names("creating", errs[0], "workflows", "theirs")
		names("committing", errs[1], "workflows", "broken")
		must(errs[2])
		must(s.Delete(t.Context(), "ours"))
	}
	for _, key := range []string{"theirs", "broken"} {
		names("a place", s.CommitBatch(t.Context(), []*persistence.Commit{create("ours", key)})[0], "admissions", key)
	}
	names("discarding", s.CommitBatch(t.Context(), []*persistence.Commit{{Discard: []string{"odd", "other"}}})[0], "messages", "odd")
	_, err = s.Query(t.Context(), persistence.Query{Application: "theirs"})
	names("listing", err, "workflows", "")
	_, err = s.Pending(t.Context(), "addressed")
	names("looking for messages", err, "messages", "")
	idle := queue.Worker{ID: "idle", TTL: time.Minute}
	_, _ = s.Claim(t.Context(), idle, queue.Room{Control: 100, Work: 100}) // what the engine left
	for range 2 {
		_, err = s.Claim(t.Context(), idle, queue.Room{Control: 1, Work: 1})
		names("claiming", err, "messages", "")
	}
	if keys, err := s.WaitingKeys(t.Context()); err != nil || len(keys) > 0 {
		t.Errorf("waiting keys: %v, %v", keys, err)
	}
	if _, err := s.Depth(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Push(t.Context(), queue.Outgoing{ID: "bare", Message: queue.StartWaitingWorkflows{Key: "k"}}); !errors.Is(err, stabilize.ErrExists) {
		t.Errorf("pushing under an id that is theirs: %v", err)
	}
}

// runBeside has an engine run workflows to their end, and remove them.
func runBeside(t *testing.T, s *mongostore.Store) {
	t.Helper()
	e, err := engine.New(s, engine.WithConfig(engine.Config{SweepInterval: 10 * time.Millisecond}), engine.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RegisterTask("say", stabilize.Func(func(context.Context, struct{}) (string, error) { return "said", nil })); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	var ids []string
	for i := range 3 {
		id, err := e.Start(t.Context(), stabilize.NewWorkflow("app", fmt.Sprint("w", i)).LimitConcurrent("one", 1).
			Add(stabilize.NewStage("a").Do("say"), stabilize.NewStage("b").After("a").Do("say")))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		if w, err := e.Wait(t.Context(), id); err != nil || w.Status != stabilize.Succeeded {
			t.Errorf("it ended %v, %v", w, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	running.Wait()
	page, err := s.Query(t.Context(), persistence.Query{Application: "app"})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range page.Workflows[1:] {
		if n, err := s.Prune(t.Context(), h); err != nil || n != 1 {
			t.Errorf("pruned %d, %v", n, err)
		}
	}
	if err := s.Delete(t.Context(), ids...); err != nil {
		t.Error(err)
	}
}

// A record of the schema that is damaged, and one of another version, say so.
func TestForeignSchema(t *testing.T) {
	server := servers.One()
	db := server.Client(t).Database(server.Database(t))
	for value, want := range map[any]error{
		"one": stabilize.ErrCorrupt, bson.NewObjectID(): stabilize.ErrCorrupt, int64(0): stabilize.ErrSchemaMissing, int64(99): stabilize.ErrSchemaTooNew,
	} {
		prefix := fmt.Sprintf("p%d_", len(fmt.Sprint(value))+len(want.Error()))
		if _, err := db.Collection(prefix+"meta").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "schema"}, {Key: "n", Value: value}}); err != nil {
			t.Fatal(err)
		}
		s, err := mongostore.Open(t.Context(), mongostore.Config{URI: server.URI(t), Database: db.Name(), Prefix: prefix})
		if errors.Is(want, stabilize.ErrSchemaMissing) { // opened, and every call says so
			if err == nil {
				_, err = s.Load(t.Context(), "w")
				_ = s.Close()
			}
		}
		if !errors.Is(err, want) || errors.Is(want, stabilize.ErrCorrupt) && !strings.Contains(err.Error(), prefix+"meta") {
			t.Errorf("version %v: %v", value, err)
		}
	}
}
