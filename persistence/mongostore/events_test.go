package mongostore_test

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stabilize-dev/go-stabilize/events"
	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/persistence/mongostore"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// A database of before the log is brought up to date when asked, with all that is in it;
// until then every call says that it is older.
func TestOlderDatabaseGetsALog(t *testing.T) {
	h := newHarness(t, servers.One())
	created := h.clock.Now()
	creation := func(id string) *persistence.Commit {
		c := &persistence.Commit{WorkflowID: id, Header: &stabilize.Header{ID: id, CreatedAt: created}}
		c.Events = []events.Event{{Type: events.WorkflowCreated, At: created}}
		events.Stamp(c.Events, id, created, 1)
		return c
	}
	old := creation("old")
	old.Events = nil
	if err := h.first.CommitBatch(t.Context(), []*persistence.Commit{old})[0]; err != nil {
		t.Fatal(err)
	}
	meta := h.db.Collection("meta")
	_, err1 := meta.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "schema"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: int64(1)}}}})
	_, err2 := meta.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "feed"}})
	if err := errors.Join(err1, err2, h.db.Collection("events").Drop(t.Context())); err != nil {
		t.Fatal(err)
	}
	open := func(migrate bool) persistence.Store {
		cfg := h.config(0)
		cfg.Migrate = migrate
		s, err := h.extra(mongostore.Open(t.Context(), cfg))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, err := open(false).Load(t.Context(), "old"); !errors.Is(err, stabilize.ErrSchemaMissing) {
		t.Errorf("a database of before the log, not migrated: %v", err)
	}
	s := open(true)
	if _, err := s.Load(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	if err := s.CommitBatch(t.Context(), []*persistence.Commit{creation("new")})[0]; err != nil {
		t.Fatal(err)
	}
	page, err := persistence.EventLogOf(s).Read(t.Context(), events.Query{})
	if err != nil || len(page.Events) != 1 || page.Events[0].WorkflowID != "new" {
		t.Errorf("the log is %+v, %v", page, err)
	}
}
